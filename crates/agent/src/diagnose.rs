//! Derives the reason for a failure: from facts (how a process ended, killed processes, the disk), then from the error with
//! which Kaniko itself ended, and never from what a `RUN` step has printed. The exit code alone is ambiguous: Kaniko exits
//! with 1 for an invalid flag, a missing file, a rejected password and a `RUN` that exits with 1.

use bakery_core::message::Message;
use bakery_core::reason::Reason;

use crate::failure::Failure;
use crate::process::Exit;
use crate::run_steps::EndedStep;

/// What is known about a process that failed.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Its exit code or signal.
    pub exit: Exit,
    /// The last lines of its output; Kaniko's without those of `RUN` steps, if these have outputs of their own.
    pub tail: &'a [String],
    /// Number of processes that were killed (out of memory) while it ran.
    pub oom_kills: u64,
    /// The registry of the image to push.
    pub registry: Option<&'a str>,
    /// How the last `RUN` step ended, if that is known.
    pub step: Option<&'a EndedStep>,
    /// Whether the disk is full now.
    pub disk_is_full: bool,
}

/// What Kaniko was doing when it failed, by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// A `RUN` step ran and ended.
    Run,
    /// It pushed the image, or asked whether it may.
    Push,
    /// It read an image from a registry.
    Fetch,
    /// It crashed.
    Crash,
    /// Something else.
    Other,
}

/// The failure of a Kaniko run.
pub fn executor(evidence: &Evidence<'_>) -> Failure {
    let tail: Vec<String> = evidence.tail.iter().map(|line| without_controls(line)).collect();
    let error = last_error(&tail);
    let doing = Doing::of(error);
    let (reason, hint) = classify(evidence, doing, error);
    let step = evidence.step.filter(|_| doing == Doing::Run);
    let last = || tail.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty());
    // The error of a step that has an output of its own says nothing more than its exit code does.
    let quoted = if step.is_some() { None } else { error.or_else(last) };
    let what = match (reason, doing) {
        (Reason::OutOfMemory, _) => "a process was killed by the kernel: out of memory (OOM)",
        (Reason::DiskFull, _) => "the task's disk is full",
        (Reason::CredentialsRefused, _) => "a registry refused the credentials",
        (Reason::RegistryUnreachable, _) => "a registry did not answer",
        (Reason::PushRefused, _) => "the registry refused the push",
        (Reason::ContextIncomplete, _) => "a file that the build needs is not in the context",
        (_, Doing::Run) => "a RUN step failed",
        (_, Doing::Crash) => "Kaniko crashed",
        _ => "Kaniko failed",
    };
    let quoted = quoted.map(|line| format!(": {}", shortened(line))).unwrap_or_default();
    let exit = step.map_or(evidence.exit, |step| step.exit);
    Failure {
        reason,
        message: Message { text: format!("{what} ({exit}){quoted}"), hint },
        exit_code: Some(evidence.exit.code()),
        tail: step.map_or(evidence.tail, |step| &step.tail).to_vec(),
    }
}

/// The failure of a script. `reason` is that of the script.
pub fn script(reason: Reason, evidence: &Evidence<'_>) -> Failure {
    let fact = if evidence.oom_kills > 0 {
        Some(Reason::OutOfMemory)
    } else {
        evidence.disk_is_full.then_some(Reason::DiskFull)
    };
    Failure {
        reason: fact.unwrap_or(reason),
        message: Message {
            text: format!("{} ({})", fact.unwrap_or(reason), evidence.exit),
            hint: fact.map(|fact| fact.hint().to_owned()),
        },
        exit_code: Some(evidence.exit.code()),
        tail: evidence.tail.to_vec(),
    }
}

const LOCAL_HINT: &str = "in a task, `localhost` is the task's own container: use a host name of the registry that other machines can reach";

/// How the error with which Kaniko exits can begin, also after an output without a line end.
const ERRORS: [&str; 4] =
    ["error building image:", "error pushing image:", PUSH_CHECK, "error changing to root dir:"];
/// How it can begin at the start of a line.
const ERROR_LINES: [&str; 4] = ["error resolving ", "Error: ", "panic: ", "fatal error: "];
const PUSH_CHECK: &str = "error checking push permissions:";
/// How Kaniko reports the end of a `RUN`; what comes before "waiting" is about any instruction.
const RUN_ENDED: &str = "failed to execute command: waiting for process to exit";
/// Where Kaniko keeps the files that later stages copy, followed by the number of their stage.
const STAGE_FILES: &str = "/deps/";
const UNAUTHORIZED: [&str; 8] = [
    "unauthorized",
    "401 unauthorized",
    "403 forbidden",
    "status code 401",
    "status code 403",
    "denied: ",
    "authentication required",
    "no basic auth credentials",
];
const UNREACHABLE: [&str; 9] = [
    "connection refused",
    "no such host",
    "i/o timeout",
    "tls handshake timeout",
    "network is unreachable",
    "no route to host",
    "server misbehaving",
    "connection reset by peer",
    "context deadline exceeded",
];
const TLS_FAILED: [&str; 2] = ["server gave http response to https client", "x509: "];
const NOT_FOUND: [&str; 6] = [
    "please provide a valid path to a dockerfile",
    "failed to get fileinfo for",
    "failed to get relative files:",
    "failed to find one of the sources",
    "no source files were specified",
    "copy failed: no source files",
];
const UNKNOWN_IMAGE: [&str; 4] = ["manifest_unknown", "manifest unknown", "name_unknown", "name unknown"];
const TOO_MANY: [&str; 3] = ["toomanyrequests", "too many requests", "429 "];

impl Doing {
    fn of(error: Option<&str>) -> Self {
        let Some(error) = error else { return Self::Other };
        if error.starts_with("panic: ") || error.starts_with("fatal error: ") {
            Self::Crash
        } else if error.contains(RUN_ENDED) {
            Self::Run
        } else if error.starts_with("error pushing image:") || error.starts_with(PUSH_CHECK) {
            Self::Push
        } else if error.contains("/v2/") || error.contains("attempts, last error:") {
            Self::Fetch
        } else {
            Self::Other
        }
    }
}

/// The reason of a Kaniko failure and its hint. `error` is the error with which Kaniko exited, if it printed one.
fn classify(evidence: &Evidence<'_>, doing: Doing, error: Option<&str>) -> (Reason, Option<String>) {
    let of = |reason: Reason| (reason, Some(reason.hint().to_owned()));
    let failed = |hint: &str| (Reason::ExecutorFailed, Some(hint.to_owned()));
    if evidence.oom_kills > 0 {
        return of(Reason::OutOfMemory);
    }
    let lower = error.unwrap_or_default().to_ascii_lowercase();
    let contains = |patterns: &[&str]| patterns.iter().any(|pattern| lower.contains(pattern));
    // A step prints such words for limits of watches and queues too: for its end the disk itself is asked.
    if evidence.disk_is_full || (doing != Doing::Run && contains(&["no space left on device"])) {
        return of(Reason::DiskFull);
    }
    let Some(error) = error else { return (Reason::ExecutorFailed, None) };
    // The address that was dialled, not that of the DNS resolver, which is often a loopback address too.
    let dialled =
        ["dial tcp 127.0.0.1:", "dial tcp [::1]:", "//localhost:"].iter().any(|it| error.contains(it));
    let named = evidence.registry.is_some_and(|registry| {
        ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| registry.starts_with(host))
    });
    match doing {
        Doing::Run => return failed("see its output above"),
        Doing::Crash => {
            return failed("this is a fault of Kaniko, often with a Dockerfile that it does not support");
        }
        Doing::Push | Doing::Fetch | Doing::Other => {}
    }
    if contains(&UNAUTHORIZED) {
        return of(Reason::CredentialsRefused);
    }
    if contains(&TLS_FAILED) {
        let hint = "a registry that uses plain HTTP must be listed in INSECURE_REGISTRIES of the server";
        return (Reason::RegistryUnreachable, Some(hint.to_owned()));
    }
    if contains(&UNREACHABLE) {
        let hint = if dialled || named { LOCAL_HINT } else { Reason::RegistryUnreachable.hint() };
        return (Reason::RegistryUnreachable, Some(hint.to_owned()));
    }
    if contains(&TOO_MANY) && doing != Doing::Other {
        let hint =
            "the registry limits the number of requests: try again later, or log in for a higher limit";
        return (Reason::RegistryUnreachable, Some(hint.to_owned()));
    }
    if doing == Doing::Push {
        let hint = if contains(&["name_unknown", "name unknown", "repository does not exist"]) {
            Some("create the repository of the destination first: this registry does not create it by a push")
        } else if contains(&["immutable"]) {
            Some("the tag exists, and the registry does not let it be overwritten: push under another tag")
        } else {
            None
        };
        return (Reason::PushRefused, hint.map(str::to_owned));
    }
    if contains(&NOT_FOUND) {
        return stage_of(error).map_or_else(
            || of(Reason::ContextIncomplete),
            |stage| failed(&format!("`COPY --from`: stage {stage} (counted from 0) does not have that file")),
        );
    }
    if contains(&UNKNOWN_IMAGE) {
        return failed("a base image, or its tag, does not exist in that registry");
    }
    if contains(&["unknown flag:", "unknown shorthand flag:", "invalid argument "])
        && error.starts_with("Error: ")
    {
        return failed(
            "this version of Kaniko does not support an option of `kaniko`: `bakery-client plan` prints all options",
        );
    }
    (Reason::ExecutorFailed, None)
}

/// The stage whose files a path in the error is among.
fn stage_of(error: &str) -> Option<usize> {
    let (_, rest) = error.split_once(STAGE_FILES)?;
    rest.split_once('/')?.0.parse().ok()
}

fn last_error(tail: &[String]) -> Option<&str> {
    let begin = |line: &str| {
        // Kaniko logs the commands of the Dockerfile too.
        let is_logged = !message(line).is_empty();
        let anywhere = ERRORS.iter().filter(|_| !is_logged).filter_map(|prefix| line.find(prefix)).min();
        anywhere.or_else(|| ERROR_LINES.iter().any(|prefix| line.starts_with(prefix)).then_some(0))
    };
    // A crash is followed by the stacks of all threads; nothing of them is an error line.
    tail.iter().rev().map(|line| line.trim()).find_map(|line| begin(line).map(|at| &line[at..]))
}

/// The message of a line of Kaniko's log, `INFO[0001] MESSAGE`; empty for any other line. Kaniko logs each command of a
/// Dockerfile too, so only the beginning of a message says what it is about.
pub(crate) fn message(line: &str) -> &str {
    let message = line.split_once('[').and_then(|(level, rest)| {
        let (seconds, message) = rest.split_once("] ")?;
        let is_level = level.len() == 4 && level.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_time = seconds.len() >= 4 && seconds.bytes().all(|byte| byte.is_ascii_digit());
        (is_level && is_time).then_some(message)
    });
    message.unwrap_or_default()
}

/// Removes colours and other control sequences of terminals.
pub(crate) fn without_controls(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ECMA-48: a control sequence ends with a byte from `@` to `~`.
            if chars.as_str().starts_with('[') {
                chars.next();
                chars.by_ref().find(|c| ('@'..='~').contains(c));
            }
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out
}

fn shortened(text: &str) -> String {
    let end = text.char_indices().nth(500).map_or(text.len(), |(end, _)| end);
    if end < text.len() { format!("{} ...", &text[..end]) } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
