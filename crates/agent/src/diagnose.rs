//! Derives the reason for a failure from the last lines of Kaniko's output. The exit code alone is ambiguous: Kaniko
//! exits with 1 for an invalid flag, a missing file, a rejected password and a `RUN` that exits with 1.

use bakery_core::message::Message;
use bakery_core::reason::Reason;

use crate::failure::Failure;
use crate::process::Exit;

/// What is known about a process that failed.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Its exit code or signal.
    pub exit: Exit,
    /// The last lines of its output.
    pub tail: &'a [String],
    /// Number of processes that were killed (out of memory) while it ran.
    pub oom_kills: u64,
    /// The registry of the image to push.
    pub registry: Option<&'a str>,
}

/// The failure of a Kaniko run.
pub fn executor(evidence: &Evidence<'_>) -> Failure {
    let tail: Vec<String> = evidence.tail.iter().map(|line| without_controls(line)).collect();
    let error = last_error(&tail);
    let (reason, hint) = classify(evidence, &tail, error);
    let quoted = error.or_else(|| tail.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty()));
    let what = match reason {
        Reason::OutOfMemory => "a process was killed by the kernel: out of memory (OOM)",
        Reason::DiskFull => "the task's disk is full",
        Reason::CredentialsRefused => "a registry refused the credentials",
        Reason::RegistryUnreachable => "a registry did not answer",
        Reason::PushRefused => "the registry refused the push",
        Reason::ContextIncomplete => "a file that the build needs is not in the context",
        _ => "Kaniko failed",
    };
    let quoted = quoted.map(|line| format!(": {}", shortened(line))).unwrap_or_default();
    Failure {
        reason,
        message: Message { text: format!("{what} ({}){quoted}", evidence.exit), hint },
        exit_code: Some(evidence.exit.code()),
        tail: evidence.tail.to_vec(),
    }
}

/// The failure of a script. `reason` is that of the script.
pub fn script(reason: Reason, evidence: &Evidence<'_>) -> Failure {
    let (reason, hint) = if evidence.oom_kills > 0 {
        (Reason::OutOfMemory, Some(Reason::OutOfMemory.hint().to_owned()))
    } else if evidence.tail.iter().any(|line| line.contains(NO_SPACE)) {
        (Reason::DiskFull, Some(Reason::DiskFull.hint().to_owned()))
    } else {
        (reason, None)
    };
    Failure {
        reason,
        message: Message { text: format!("{reason} ({})", evidence.exit), hint },
        exit_code: Some(evidence.exit.code()),
        tail: evidence.tail.to_vec(),
    }
}

const NO_SPACE: &str = "No space left on device";
const LOCAL_HINT: &str = "in a task, `localhost` is the task's own container: use a host name of the registry that other machines can reach";

/// How the error with which Kaniko exits can begin.
const ERROR_PREFIXES: [&str; 6] = [
    "error building image:",
    "error pushing image:",
    "error checking push permissions:",
    "error resolving ",
    "error changing to root dir:",
    "Error: ",
];
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
const NOT_FOUND: [&str; 5] = [
    "please provide a valid path to a dockerfile",
    "failed to get fileinfo for",
    "failed to find one of the sources",
    "no source files were specified",
    "copy failed: no source files",
];

/// The reason of a Kaniko failure and its hint. `error` is the error with which Kaniko exited, if it printed one.
fn classify(evidence: &Evidence<'_>, tail: &[String], error: Option<&str>) -> (Reason, Option<String>) {
    if evidence.oom_kills > 0 {
        return (Reason::OutOfMemory, Some(Reason::OutOfMemory.hint().to_owned()));
    }
    // In the output of a RUN too: its disk is the task's disk.
    if tail.iter().any(|line| line.to_ascii_lowercase().contains("no space left on device")) {
        return (Reason::DiskFull, Some(Reason::DiskFull.hint().to_owned()));
    }
    // Everything else is looked for in Kaniko's own error only: a RUN may print `connection refused` for any reason.
    let Some(error) = error else { return (Reason::ExecutorFailed, None) };
    let lower = error.to_ascii_lowercase();
    let contains = |patterns: &[&str]| patterns.iter().any(|pattern| lower.contains(pattern));
    // The address that was dialled, not that of the DNS resolver, which is often a loopback address too.
    let dialled =
        ["dial tcp 127.0.0.1:", "dial tcp [::1]:", "//localhost:"].iter().any(|it| error.contains(it));
    let named = evidence.registry.is_some_and(|registry| {
        ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| registry.starts_with(host))
    });
    if lower.contains("failed to execute command") {
        return (Reason::ExecutorFailed, Some("a `RUN` step failed: see its output above".to_owned()));
    }
    if contains(&UNAUTHORIZED) {
        return (Reason::CredentialsRefused, Some(Reason::CredentialsRefused.hint().to_owned()));
    }
    if contains(&TLS_FAILED) {
        let hint = "a registry that uses plain HTTP must be listed in INSECURE_REGISTRIES of the server";
        return (Reason::RegistryUnreachable, Some(hint.to_owned()));
    }
    if contains(&UNREACHABLE) {
        let hint = if dialled || named { LOCAL_HINT } else { Reason::RegistryUnreachable.hint() };
        return (Reason::RegistryUnreachable, Some(hint.to_owned()));
    }
    if contains(&NOT_FOUND) {
        return (Reason::ContextIncomplete, Some(Reason::ContextIncomplete.hint().to_owned()));
    }
    if contains(&["manifest_unknown", "manifest unknown", "name_unknown", "name unknown"]) {
        let hint = "a base image, or its tag, does not exist in that registry".to_owned();
        return (Reason::ExecutorFailed, Some(hint));
    }
    if contains(&["unknown flag:", "unknown shorthand flag:", "invalid argument "])
        && error.starts_with("Error: ")
    {
        let hint = "this version of Kaniko does not support an option of `kaniko`: `bakery-client plan` prints all options";
        return (Reason::ExecutorFailed, Some(hint.to_owned()));
    }
    if error.starts_with("error pushing image:") || error.starts_with("error checking push permissions:") {
        return (Reason::PushRefused, None);
    }
    (Reason::ExecutorFailed, None)
}

fn last_error(tail: &[String]) -> Option<&str> {
    tail.iter()
        .rev()
        .map(|line| line.trim())
        .find(|line| ERROR_PREFIXES.iter().any(|prefix| line.starts_with(prefix)))
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
