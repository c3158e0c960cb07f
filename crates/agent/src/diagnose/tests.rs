use super::*;

/// What executor 1.27.5 prints about an unknown option.
const HELP: &str = include_str!("unknown-flag.txt");

fn evidence(exit: Exit, tail: &[String]) -> Evidence<'_> {
    Evidence { exit, tail, oom_kills: 0, registry: None, step: None, disk_is_full: false }
}

fn failure_line(exit: Exit, tail: &[&str], oom_kills: u64, registry: &str) -> String {
    let tail: Vec<String> = tail.iter().map(|&line| line.to_owned()).collect();
    let failure = executor(&Evidence { oom_kills, registry: Some(registry), ..evidence(exit, &tail) });
    assert_eq!((failure.exit_code, failure.tail.len()), (Some(exit.code()), tail.len()));
    format!("{:?}: {}", failure.reason, failure.message.rendered())
}

/// Exit, last lines, out-of-memory kills, registry of the image to push.
const CASES: &[(Exit, &[&str], u64, &str)] = &[
    (
        Exit::Code(3),
        &[
            "curl: (7) connection refused",
            "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 3",
        ],
        0,
        "reg.test",
    ),
    (
        Exit::Code(1),
        &[
            "error checking push permissions: checking push permission for \"reg.test/a\": POST https://reg.test/v2/a/blobs/uploads/: UNAUTHORIZED: authentication required; []",
        ],
        0,
        "reg.test",
    ),
    (
        Exit::Code(1),
        &[
            "error building image: unable to complete operation after 0 attempts, last error: GET https://reg.test/v2/base/manifests/1: unexpected status code 403 Forbidden",
        ],
        0,
        "reg.test",
    ),
    (
        Exit::Code(1),
        &[
            "error checking push permissions: checking push permission for \"localhost:5000/a\": creating push check transport for localhost:5000 failed: Get \"http://localhost:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
        ],
        0,
        "localhost:5000",
    ),
    (
        Exit::Code(1),
        &[
            "error building image: Get \"https://nowhere.test/v2/\": dial tcp: lookup nowhere.test on 127.0.0.11:53: no such host",
        ],
        0,
        "reg.test",
    ),
    (
        Exit::Code(1),
        &[
            "error building image: Get \"https://10.0.0.1:5000/v2/\": http: server gave HTTP response to HTTPS client",
        ],
        0,
        "10.0.0.1:5000",
    ),
    (
        Exit::Code(1),
        &[
            "Usage:",
            "  executor [flags]",
            "error resolving dockerfile path: please provide a valid path to a Dockerfile within the build context with --dockerfile",
        ],
        0,
        "reg.test",
    ),
    (
        Exit::Code(1),
        &[
            "error building image: error building stage: failed to optimize instructions: failed to get files used from context: failed to get fileinfo for /kaniko/bakery/ctx/nope: lstat /kaniko/bakery/ctx/nope: no such file or directory",
        ],
        0,
        "reg.test",
    ),
    (
        Exit::Code(1),
        &[
            "error building image: GET https://reg.test/v2/base/manifests/9: MANIFEST_UNKNOWN: manifest unknown; map[Tag:9]",
        ],
        0,
        "reg.test",
    ),
    (
        Exit::Code(1),
        &[
            "error pushing image: failed to push to destination reg.test/a:1: PUT https://reg.test/v2/a/manifests/1: TAG_INVALID: immutable",
        ],
        0,
        "reg.test",
    ),
    (
        Exit::Code(1),
        &[
            "cp: write error: No space left on device",
            "error building image: error building stage: failed to execute command: exit status 1",
        ],
        0,
        "reg.test",
    ),
    (
        Exit::Code(255),
        &[
            "error building image: error building stage: failed to execute command: waiting for process to exit: signal: killed",
        ],
        1,
        "reg.test",
    ),
    (
        Exit::Signal(9),
        &["\u{1b}[36mINFO\u{1b}[0m[0001] Taking snapshot of full filesystem...", ""],
        0,
        "reg.test",
    ),
    (
        Exit::Code(1),
        &[
            "\u{1b}[31merror building image: parsing dockerfile: dockerfile parse error line 2: unknown instruction: RUNN\u{1b}[0m",
        ],
        0,
        "reg.test",
    ),
    (Exit::Code(2), &[], 0, "reg.test"),
];

#[test]
fn the_reason_and_the_hint_come_from_kanikos_last_lines() {
    let text: Vec<_> = CASES
        .iter()
        .map(|&(exit, tail, kills, registry)| failure_line(exit, tail, kills, registry))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn the_usage_text_after_an_error_does_not_hide_it() {
    let report = |after: &[&'static str]| {
        let mut tail = crate::failure::Tail::default();
        for line in ["INFO[0000] before"].into_iter().chain(HELP.lines()).chain(after.iter().copied()) {
            tail.push(line);
        }
        let tail = tail.lines();
        let lines: Vec<_> = tail.iter().map(String::as_str).collect();
        format!("{}\n{}", failure_line(Exit::Code(1), &lines, 0, "reg.test"), lines.join("\n"))
    };
    insta::assert_snapshot!(report(&[]), @r"
    ExecutorFailed: Kaniko failed (exit code 1): Error: unknown flag: --foo
    hint: this version of Kaniko does not support an option of `kaniko`: `bakery-client plan` prints all options
    INFO[0000] before
    Error: unknown flag: --foo
    ");
    // A command in a `RUN` may print a usage text too.
    let last = "error building image: error building stage: failed to execute command: exit status 1";
    insta::assert_snapshot!(report(&["make: *** [all] Error 1", last]), @r"
    ExecutorFailed: Kaniko failed (exit code 1): error building image: error building stage: failed to execute command: exit status 1
    hint: a `RUN` step failed: see its output above
    INFO[0000] before
    Error: unknown flag: --foo
    make: *** [all] Error 1
    error building image: error building stage: failed to execute command: exit status 1
    ");
}

#[test]
fn the_reason_of_a_failed_script_may_be_memory_or_disk() {
    let tail = ["x".to_owned()];
    let full = ["tar: No space left on device".to_owned()];
    let failed = |tail: &[String], oom_kills| {
        let evidence = Evidence { exit: Exit::Code(3), tail, oom_kills, registry: None };
        script(Reason::PreScriptFailed, &evidence)
    };
    assert_eq!(failed(&tail, 0).message, Message::new("the pre-script failed (exit code 3)"));
    assert_eq!(failed(&tail, 1).reason, Reason::OutOfMemory);
    assert_eq!(failed(&full, 0).reason, Reason::DiskFull);
}

#[test]
fn terminal_control_sequences_are_removed() {
    assert_eq!(without_controls("\u{1b}[1;31mred\u{1b}[0m \u{1b}x\u{7}bell\r"), "red xbell");
}
