//! The text of an end for people, the same on every platform.

use std::fmt::Write as _;

use bakery_core::message::Message;
use bakery_core::reason::Reason;

use super::Exit;

/// How many lines of a failed container's own output are quoted.
pub(super) const TAIL_LINES: usize = 20;
/// The most bytes of one of these lines.
const TAIL_LINE_BYTES: usize = 500;

/// What a platform gives about an end.
#[derive(Debug, Default)]
pub(super) struct End<'a> {
    /// The exit code, where the container ran.
    pub(super) code: Option<i32>,
    /// The cause, where the platform names one itself.
    pub(super) reason: Option<Reason>,
    /// The platform's own sentence.
    pub(super) detail: Option<&'a str>,
    /// What to do about the cause that the sentence names.
    pub(super) hint: Option<&'a str>,
    /// The last lines that the container wrote itself.
    pub(super) tail: &'a [String],
    /// What to do where the machine cannot run the image's architecture.
    pub(super) arch_hint: &'a str,
}

impl Exit {
    /// The exit that follows from an end. Where the platform gives no reason, its sentence or the output may.
    pub(super) fn of(end: &End<'_>) -> Self {
        let End { code, detail, tail, .. } = *end;
        let detail = detail.filter(|detail| !detail.is_empty());
        let mentioned =
            |part: &str| tail.iter().map(String::as_str).chain(detail).any(|line| line.contains(part));
        let reason = end.reason.or_else(|| {
            if mentioned("exec format error") {
                Some(Reason::NoSuchArch)
            } else if mentioned("no space left on device") && code != Some(0) {
                Some(Reason::DiskFull)
            } else {
                None
            }
        });
        let mut text = match code {
            Some(137) => "the container was killed (exit code 137)".to_owned(),
            Some(code) => format!("the container exited with code {code}"),
            None => "the container is gone".to_owned(),
        };
        if let Some(reason) = reason {
            let _ = write!(text, ": {reason}");
        }
        if let Some(detail) = detail {
            let _ = write!(text, ": {detail}");
        }
        if code != Some(0) && !tail.is_empty() {
            text.push_str("; its last output:");
            for line in tail {
                let _ = write!(text, "\n  {line}");
            }
        }
        let hint = if reason == Some(Reason::NoSuchArch) { Some(end.arch_hint) } else { end.hint };
        Self { code, reason, message: Message { text, hint: hint.map(str::to_owned) } }
    }
}

/// The last lines of an output, each cut and without control characters.
pub(super) fn tail_of(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let clean = |line: &&str| -> String {
        let printable = line.chars().filter(|c| !c.is_control());
        printable
            .scan(0, |len, c| {
                *len += c.len_utf8();
                (*len <= TAIL_LINE_BYTES).then_some(c)
            })
            .collect()
    };
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_names_its_cause() {
        let end = |code, output: &str| {
            let tail = [output.to_owned()];
            Exit::of(&End { code: Some(code), tail: &tail, arch_hint: "emulate", ..End::default() })
        };
        let crashed = end(2, "panic: no url").message;
        assert_eq!(crashed, "the container exited with code 2; its last output:\n  panic: no url".into());
        let quiet = end(0, "panic: no url");
        assert_eq!((quiet.reason, quiet.message), (None, "the container exited with code 0".into()));
        let foreign = end(1, "exec /kaniko/bakery-agent: exec format error");
        assert_eq!(foreign.reason, Some(Reason::NoSuchArch));
        assert_eq!(foreign.message.hint.as_deref(), Some("emulate"));
        let full = end(1, "no space left on device");
        assert_eq!(full.reason, Some(Reason::DiskFull));
    }

    #[test]
    fn quoted_output_is_bounded_and_printable() {
        let long = format!("first\n\n\x1b[31mred\x1b[0m\r\n{}\n", "ü".repeat(1000));
        let tail = tail_of(long.as_bytes());
        assert_eq!(tail[..2], ["first", "[31mred[0m"]);
        assert_eq!(tail[2].len(), TAIL_LINE_BYTES);
        assert_eq!(tail_of("x\n".repeat(100).as_bytes()).len(), TAIL_LINES);
    }
}
