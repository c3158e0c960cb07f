//! What a Dockerfile may hold, and every difference to Docker.

use bakery_core::kaniko::PINNED_VERSION;
use bakery_core::preflight::{ALL, Construct, Treatment};

use super::{head, table};

/// The sections, in the order of the table.
const SECTIONS: [&str; 5] =
    ["Mistakes, stages, secrets", "RUN", "COPY and ADD", "Flags", "What is as with Docker"];

pub(super) fn text() -> String {
    let about = format!(
        "What a Dockerfile may hold. It is read as BuildKit reads it, and built by Kaniko {PINNED_VERSION}, which treats some \
         constructs in another way than Docker. `bakery-client check` finds them, and so does every build before it packs \
         anything: an error ends it with exit code 2, a warning is shown. Only stages that the target needs are searched, and \
         a value that only the base image has is never guessed. Where a task has a pre-script, which may change the \
         Dockerfile, everything is a warning.\n\n\
         A line `# bakery: allow=BK201,BK301` in the Dockerfile, below its directives (`# syntax=`, `# escape=`), or the \
         option `--allow BK201,BK301` lets findings pass: the image is then what Kaniko makes of it."
    );
    let mut text = head("Dockerfiles", &about);
    for (title, constructs) in SECTIONS.into_iter().zip(ALL) {
        if constructs.iter().all(|it| it.treatment == Treatment::Exact) {
            let rows: Vec<_> =
                constructs.iter().map(|it| [it.written.to_owned(), it.docker.to_owned()]).collect();
            table(&mut text, title, ["Construct", "What it does"], &rows);
        } else {
            let rows: Vec<_> = constructs.iter().map(row).collect();
            let columns = ["Code", "Construct", "Docker", "Kaniko", "Bakery", "Instead"];
            table(&mut text, title, columns, &rows);
        }
    }
    text
}

fn row(construct: &Construct) -> [String; 6] {
    let Construct { code, written, docker, kaniko, hint, .. } = construct;
    let treatment = match construct.treatment {
        Treatment::Exact => "exact".to_owned(),
        Treatment::Flag(flag) => format!("exact with `{flag}` in `env`, else an error"),
        Treatment::Said => "a warning".to_owned(),
        Treatment::Refused => "an error".to_owned(),
    };
    let code = code.unwrap_or_default();
    [code, written, docker, kaniko, &treatment, hint].map(str::to_owned)
}
