//! Kaniko's last words become a reason. Its exit code alone says little: 1 is a wrong flag, a missing file, a refused
//! password and a `RUN` that ended with 1.

use bakery_core::reason::Reason;

use crate::failure::Failure;
use crate::process::Exit;

/// How Kaniko ended, and what it said.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Its exit.
    pub exit: Exit,
    /// Its last lines.
    pub tail: &'a [String],
    /// Processes that the kernel ended for want of memory meanwhile.
    pub oom_kills: u64,
    /// The registry that is pushed to.
    pub registry: Option<&'a str>,
}

/// What a failure of Kaniko's is called.
pub fn executor(evidence: &Evidence<'_>) -> Failure {
    let tail: Vec<String> = evidence.tail.iter().map(|line| plain(line)).collect();
    let verdict = last_error(&tail);
    let (reason, hint) = classify(evidence, &tail, verdict);
    let said = verdict.or_else(|| tail.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty()));
    let what = match reason {
        Reason::OutOfMemory => "the kernel ended a process for want of memory",
        Reason::DiskFull => "the disk of the task is full",
        Reason::CredentialsRefused => "a registry refused the credentials",
        Reason::RegistryUnreachable => "a registry did not answer",
        Reason::PushRefused => "the registry refused the push",
        Reason::ContextIncomplete => "something that the build names is not in the context",
        _ => "Kaniko failed",
    };
    let said = said.map(|said| format!(": {}", short(said))).unwrap_or_default();
    Failure {
        reason,
        text: format!("{what} ({}){said}", evidence.exit),
        hint,
        exit_code: Some(evidence.exit.code()),
        tail: evidence.tail.to_vec(),
    }
}

/// What a failure of a script is called. `reason` says which script.
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
        text: format!("{reason} ({})", evidence.exit),
        hint,
        exit_code: Some(evidence.exit.code()),
        tail: evidence.tail.to_vec(),
    }
}

const NO_SPACE: &str = "No space left on device";
const LOCAL_HINT: &str =
    "inside the task `localhost` is the task itself: name the registry's host as other machines reach it";

/// What Kaniko says before it leaves because of itself.
const LAST_WORDS: [&str; 6] = [
    "error building image:",
    "error pushing image:",
    "error checking push permissions:",
    "error resolving ",
    "error changing to root dir:",
    "Error: ",
];
const REFUSED: [&str; 8] = [
    "unauthorized",
    "401 unauthorized",
    "403 forbidden",
    "status code 401",
    "status code 403",
    "denied: ",
    "authentication required",
    "no basic auth credentials",
];
const SILENT: [&str; 9] = [
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
const UNTRUSTED: [&str; 2] = ["server gave http response to https client", "x509: "];
const MISSING: [&str; 5] = [
    "please provide a valid path to a dockerfile",
    "failed to get fileinfo for",
    "failed to find one of the sources",
    "no source files were specified",
    "copy failed: no source files",
];

fn classify(evidence: &Evidence<'_>, tail: &[String], verdict: Option<&str>) -> (Reason, Option<String>) {
    if evidence.oom_kills > 0 {
        return (Reason::OutOfMemory, Some(Reason::OutOfMemory.hint().to_owned()));
    }
    // What a RUN prints about its own lack of space counts as well: nobody else's disk is near.
    if tail.iter().any(|line| line.to_ascii_lowercase().contains("no space left on device")) {
        return (Reason::DiskFull, Some(Reason::DiskFull.hint().to_owned()));
    }
    // Only Kaniko's own last words count for the rest: a RUN may print `connection refused` about anything.
    let Some(verdict) = verdict else { return (Reason::ExecutorFailed, None) };
    let lower = verdict.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // Not the resolver's address, which is often a loopback one too.
    let dialled =
        ["dial tcp 127.0.0.1:", "dial tcp [::1]:", "//localhost:"].iter().any(|it| verdict.contains(it));
    let named = evidence.registry.is_some_and(|registry| {
        ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| registry.starts_with(host))
    });
    if lower.contains("failed to execute command") {
        return (Reason::ExecutorFailed, Some("the `RUN` above failed: its own lines say why".to_owned()));
    }
    if says(&REFUSED) {
        return (Reason::CredentialsRefused, Some(Reason::CredentialsRefused.hint().to_owned()));
    }
    if says(&UNTRUSTED) {
        let hint = "a registry that speaks plain HTTP must be named in INSECURE_REGISTRIES of the server";
        return (Reason::RegistryUnreachable, Some(hint.to_owned()));
    }
    if says(&SILENT) {
        let hint = if dialled || named { LOCAL_HINT } else { Reason::RegistryUnreachable.hint() };
        return (Reason::RegistryUnreachable, Some(hint.to_owned()));
    }
    if says(&MISSING) {
        return (Reason::ContextIncomplete, Some(Reason::ContextIncomplete.hint().to_owned()));
    }
    if says(&["manifest_unknown", "manifest unknown", "name_unknown", "name unknown"]) {
        let hint = "a base image, or its tag, is not in that registry".to_owned();
        return (Reason::ExecutorFailed, Some(hint));
    }
    if says(&["unknown flag:", "unknown shorthand flag:", "invalid argument "])
        && verdict.starts_with("Error: ")
    {
        let hint =
            "this Kaniko does not take an option of `kaniko`: `bakery-client plan` shows what it is told";
        return (Reason::ExecutorFailed, Some(hint.to_owned()));
    }
    if verdict.starts_with("error pushing image:") || verdict.starts_with("error checking push permissions:")
    {
        return (Reason::PushRefused, None);
    }
    (Reason::ExecutorFailed, None)
}

fn last_error(tail: &[String]) -> Option<&str> {
    tail.iter()
        .rev()
        .map(|line| line.trim())
        .find(|line| LAST_WORDS.iter().any(|words| line.starts_with(words)))
}

/// Without colours and what else a terminal would obey.
pub(crate) fn plain(line: &str) -> String {
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

fn short(text: &str) -> String {
    let end = text.char_indices().nth(500).map_or(text.len(), |(end, _)| end);
    if end < text.len() { format!("{} ...", &text[..end]) } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
