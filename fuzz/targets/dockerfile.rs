//! A Dockerfile, read and evaluated: its parts are within the file, the work is bounded, and no build argument shows in a
//! message.
#![no_main]

use std::collections::BTreeMap;

use bakery_core::dockerfile::{self, BaseConfig, BuildInput, Expansion};
use bakery_core::limits;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "hunter2-of-the-build";

fuzz_target!(|bytes: &[u8]| {
    let file = dockerfile::read("Dockerfile", bytes);
    let mut end = 0;
    for instruction in &file.instructions {
        assert!(end <= instruction.span.start && instruction.span.end <= bytes.len());
        assert!(instruction.heredocs.iter().all(|it| it.terminator.end <= instruction.span.end));
        end = instruction.span.end;
    }
    let args = BTreeMap::from([("TOKEN".to_owned(), SECRET.to_owned()), ("A".to_owned(), "alpine".to_owned())]);
    let config = BaseConfig {
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        onbuild: vec!["ENV B=$A$TOKEN".to_owned(), "COPY --from=0 $B /x".to_owned()],
    };
    for images in [BTreeMap::new(), BTreeMap::from([("alpine".to_owned(), config)])] {
        let evaluation = file.evaluate(&BuildInput {
            args: &args,
            target: None,
            target_platform: "linux/arm64",
            build_platform: "linux/amd64",
            images: &images,
        });
        let instructions = evaluation.stages.iter().flat_map(|stage| &stage.instructions);
        let texts = instructions.flat_map(|it| it.expansions()).filter_map(|(_, it)| Expansion::known(it));
        assert!(texts.map(str::len).sum::<usize>() <= 2 * limits::INTERPOLATED_BYTES);
        let found = [&file.mistakes, &file.notices, &evaluation.mistakes, &evaluation.notices];
        for finding in found.into_iter().flatten() {
            assert!(!finding.text.is_empty() && finding.location.line <= file.text.lines());
            assert!(!finding.rendered().contains(SECRET), "{finding}");
        }
    }
});
