//! The Dockerfile: a file, or a text.

use super::*;

#[test]
fn an_entry_replaces_either_kind_with_its_own() {
    let entries = "
bake:
- {}
- kaniko: { dockerfile: own.Dockerfile }
- kaniko: { dockerfile-inline: FROM own }
- kaniko: { dockerfile-inline: '' }
- kaniko: { dockerfile: '' }
- kaniko: { dockerfile: '', dockerfile-inline: FROM own }
";
    let planned = |line: &str| {
        let shown = |task: TaskSpec| task.kaniko.dockerfile_inline.unwrap_or(task.kaniko.dockerfile);
        let tasks = tasks(&format!("{}{entries}", baked(line)));
        tasks.into_iter().map(shown).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(planned("dockerfile-inline: |\n  FROM a\n  RUN b"), @"
    FROM a
    RUN b

    own.Dockerfile
    FROM own
    Dockerfile
    FROM a
    RUN b

    FROM own
    ");
    insta::assert_snapshot!(planned("dockerfile: a.Dockerfile"), @"
    a.Dockerfile
    own.Dockerfile
    FROM own
    a.Dockerfile
    Dockerfile
    FROM own
    ");
}

#[test]
fn both_and_too_long_a_text_are_mistakes() {
    let both = "dockerfile: x\ndockerfile-inline: FROM x";
    insta::assert_snapshot!(report(&baked(both)), @"
    config.yaml:6:24: global.kaniko.dockerfile-inline: `dockerfile` is set too
      hint: keep one of them
    ");
    let of = |len: usize| baked(&format!("dockerfile-inline: {}", "x".repeat(len)));
    assert!(resolve(&of(crate::limits::DOCKERFILE_BYTES)).is_ok());
    insta::assert_snapshot!(report(&of(crate::limits::DOCKERFILE_BYTES + 1)), @"
    config.yaml:5:24: global.kaniko.dockerfile-inline: too long
      hint: at most 128 KiB: write it to a file, and name that in `dockerfile`
    ");
    insta::assert_snapshot!(report(&baked("dockerfile-inline: [FROM x]")), @"config.yaml:5:24: global.kaniko.dockerfile-inline: expected a single value, found a list");
}
