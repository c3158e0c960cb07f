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
            "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 1",
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
    let last = "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 1";
    insta::assert_snapshot!(report(&["make: *** [all] Error 1", last]), @r"
    ExecutorFailed: a RUN step failed (exit code 1): error building image: error building stage: failed to execute command: waiting for process to exit: exit status 1
    hint: see its output above
    INFO[0000] before
    Error: unknown flag: --foo
    make: *** [all] Error 1
    error building image: error building stage: failed to execute command: waiting for process to exit: exit status 1
    ");
}

#[test]
fn the_reason_of_a_failed_script_may_be_memory_or_disk() {
    let tail = ["x".to_owned()];
    let full = ["tar: No space left on device".to_owned()];
    let failed = |tail: &[String], oom_kills, disk_is_full| {
        let evidence = Evidence { oom_kills, disk_is_full, ..evidence(Exit::Code(3), tail) };
        script(Reason::PreScriptFailed, &evidence)
    };
    assert_eq!(failed(&tail, 0, false).message, Message::new("the pre-script failed (exit code 3)"));
    assert_eq!(failed(&tail, 1, false).reason, Reason::OutOfMemory);
    assert_eq!(failed(&tail, 0, true).reason, Reason::DiskFull);
    assert_eq!(failed(&full, 0, false).reason, Reason::PreScriptFailed, "the words are the script's");
}

/// The error with which Kaniko ends, and what is said about it.
fn said(lines: &[&str], step: Option<&EndedStep>, disk_is_full: bool) -> String {
    let tail: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
    let failure = executor(&Evidence { step, disk_is_full, ..evidence(Exit::Code(1), &tail) });
    format!("{:?}: {}\n{:?}", failure.reason, failure.message.rendered(), failure.tail)
}

#[test]
fn case_23_the_words_of_a_step_are_not_its_reason() {
    let ended = "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 3";
    let step = |line: &str| EndedStep { exit: Exit::Code(3), tail: vec![line.to_owned()] };
    let watch = "Error: watch /src: inotify_add_watch: no space left on device";
    insta::assert_snapshot!(said(&[ended], Some(&step(watch)), false), @r#"
    ExecutorFailed: a RUN step failed (exit code 3)
    hint: see its output above
    ["Error: watch /src: inotify_add_watch: no space left on device"]
    "#);
    // Without an output of its own, and when the disk is full indeed.
    insta::assert_snapshot!(said(&[watch, ended], None, false), @r#"
    ExecutorFailed: a RUN step failed (exit code 1): error building image: error building stage: failed to execute command: waiting for process to exit: exit status 3
    hint: see its output above
    ["Error: watch /src: inotify_add_watch: no space left on device", "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 3"]
    "#);
    insta::assert_snapshot!(said(&[ended], Some(&step("x")), true), @r#"
    DiskFull: the task's disk is full (exit code 3)
    hint: give the task a larger `disk` (ECS, Kubernetes), or let the build write less
    ["x"]
    "#);
}

#[test]
fn the_cases_of_the_executor_are_named() {
    let stage = "error building image: error building stage: failed to optimize instructions: failed to get files used from context: ";
    let (missing, several) = (
        format!(
            "{stage}failed to get fileinfo for /kaniko/deps/0/gone: lstat /kaniko/deps/0/gone: no such file"
        ),
        format!(
            "{stage}failed to get relative files: lstat /kaniko/bakery/ctx/gone: no such file or directory"
        ),
    );
    let table: [(&str, &[&str], &str); 7] = [
        (
            "error-glued-to-output",
            &[
                "no newlineerror building image: error building stage: failed to execute command: waiting for process to exit: exit status 3",
            ],
            "ExecutorFailed: a RUN step failed (exit code 1): error building image: error building stage: failed to execute command: waiting for process to exit: exit status 3\nhint: see its output above",
        ),
        (
            "kaniko-panics",
            &[
                "panic: runtime error: index out of range [-1]",
                "",
                "goroutine 1 [running]:",
                "\tmain.go:30 +0x5b",
            ],
            "ExecutorFailed: Kaniko crashed (exit code 1): panic: runtime error: index out of range [-1]\nhint: this is a fault of Kaniko, often with a Dockerfile that it does not support",
        ),
        (
            "copy-from-stage-missing",
            &[&missing],
            "ExecutorFailed: Kaniko failed (exit code 1): \nhint: `COPY --from`: stage 0 (counted from 0) does not have that file",
        ),
        (
            "copy-several-one-missing",
            &[&several],
            "ContextIncomplete: a file that the build needs is not in the context (exit code 1): \nhint: check the path, `kaniko.context-path`, and whether an ignore file excludes it",
        ),
        (
            "25-repository-not-there",
            &[
                "error checking push permissions: checking push permission for \"reg.test/missing/app:1\": POST https://reg.test/v2/missing/app/blobs/uploads/: NAME_UNKNOWN: The repository with name 'missing/app' does not exist in the registry with id '1'",
            ],
            "PushRefused: the registry refused the push (exit code 1): \nhint: create the repository of the destination first: this registry does not create it by a push",
        ),
        (
            "26-immutable-tag",
            &[
                "error pushing image: failed to push to destination reg.test/a:1: PUT https://reg.test/v2/a/manifests/1: TAG_INVALID: The image tag '1' already exists in the 'a' repository and cannot be overwritten because the repository is immutable.",
            ],
            "PushRefused: the registry refused the push (exit code 1): \nhint: the tag exists, and the registry does not let it be overwritten: push under another tag",
        ),
        (
            "too many requests",
            &[
                "error building image: unable to complete operation after 3 attempts, last error: GET https://index.docker.io/v2/library/alpine/manifests/3: TOOMANYREQUESTS: You have reached your pull rate limit.",
            ],
            "RegistryUnreachable: a registry did not answer (exit code 1): \nhint: the registry limits the number of requests: try again later, or log in for a higher limit",
        ),
    ];
    for (case, lines, expected) in table {
        // Kaniko's error itself is quoted.
        let quoted = expected.replace(": \n", &format!(": {}\n", lines.last().unwrap()));
        assert_eq!(failure_line(Exit::Code(1), lines, 0, "reg.test"), quoted, "{case}");
    }
}

#[test]
fn terminal_control_sequences_are_removed() {
    assert_eq!(without_controls("\u{1b}[1;31mred\u{1b}[0m \u{1b}x\u{7}bell\r"), "red xbell");
}
