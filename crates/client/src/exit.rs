//! How the client exits: a code for scripts, messages for people.

use std::process::ExitCode;

use bakery_core::message::Message;
use bakery_core::names::BuildId;
use bakery_core::report::{Finding, Report};
use bakery_core::wire::build::{BuildOutcome, Verdict};
use bakery_link::LinkError;

/// The client's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: success.
    Success,
    /// 1: the build as described failed, or somebody else cancelled it.
    BuildFailed,
    /// 2: files, options or settings have mistakes.
    BadInput,
    /// 3: the server cannot be reached, or the result of the build is unknown.
    Unknown,
    /// 4: the server, its platform or this machine failed.
    Internal,
    /// 130: interrupted.
    Interrupted,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::BuildFailed => 1,
            Self::BadInput => 2,
            Self::Unknown => 3,
            Self::Internal => 4,
            Self::Interrupted => 130,
        }
    }

    /// The code for the end of a build; `cancel_requested` if this client requested its cancellation.
    pub fn of(outcome: &BuildOutcome, cancel_requested: bool) -> Self {
        match outcome.verdict {
            Verdict::Baked => Self::Success,
            Verdict::Cancelled if cancel_requested => Self::Interrupted,
            Verdict::Failed | Verdict::Cancelled => Self::BuildFailed,
            Verdict::Lost | Verdict::Unknown => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why the client exits with a code other than 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, in the order in which it is shown. Nothing is shown if it is empty.
    pub messages: Vec<Message>,
}

impl Failure {
    /// One message.
    pub fn new(exit: Exit, message: impl Into<Message>) -> Self {
        Self { exit, messages: vec![message.into()] }
    }

    /// A mistake in the user's files, options or settings.
    pub fn input(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::BadInput, Message::new(text).with_hint(hint))
    }

    /// A failure of this machine that neither the user's files nor the server caused.
    pub fn local(text: impl Into<String>) -> Self {
        Self::new(Exit::Internal, Message::new(text))
    }

    /// Nothing is shown.
    pub const fn silent(exit: Exit) -> Self {
        Self { exit, messages: Vec::new() }
    }

    /// The server can no longer be reached while the build is running.
    pub fn lost_contact(id: BuildId, error: &LinkError) -> Self {
        let hint = format!("`bakery-client logs {id}` shows the rest of its log");
        let unknown = Message::new(format!("the outcome of build {id} is unknown")).with_hint(hint);
        Self { exit: Exit::Unknown, messages: vec![Message::new(error.to_string()), unknown] }
    }

    /// Both failures, with the exit code of the first. A failure that is the same as the first is not repeated.
    pub fn and(mut self, other: Self) -> Self {
        if self != other {
            self.messages.extend(other.messages);
        }
        self
    }

    /// All messages, each with its hint on an indented line.
    pub fn rendered(&self) -> String {
        let messages: Vec<_> = self.messages.iter().map(Message::indented).collect();
        messages.join("\n")
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let exit = match &error {
            LinkError::Unreachable { .. } | LinkError::Protocol { .. } => Exit::Unknown,
            LinkError::Refused(problem) if problem.status >= 500 || problem.status == 429 => Exit::Internal,
            LinkError::Settings { .. } | LinkError::Refused(_) => Exit::BadInput,
        };
        Self::new(exit, Message::of(&error))
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        let count = report.mistakes.len();
        let head = if count == 1 { "one mistake".to_owned() } else { format!("{count} mistakes") };
        // Each location is at the beginning of its line, where editors and CI systems look for it.
        let mistakes = report.mistakes.iter().map(Finding::message);
        Self { exit: Exit::BadInput, messages: [Message::from(head)].into_iter().chain(mistakes).collect() }
    }
}

/// How a build ended, in one sentence, with a hint unless it succeeded or was cancelled by this client.
///
/// The outcome's own hint takes precedence over that of its reason. A server of a version without hints may have put one
/// into the text; then both are shown.
pub fn summary(id: BuildId, outcome: &BuildOutcome, exit: Exit) -> Message {
    let of_reason = outcome.reason.filter(|_| !matches!(exit, Exit::Success | Exit::Interrupted));
    let hint = outcome.hint.clone().or_else(|| of_reason.map(|reason| reason.hint().to_owned()));
    Message { text: sentence(id, outcome), hint }
}

/// How a build ended, in one sentence.
pub fn sentence(id: BuildId, outcome: &BuildOutcome) -> String {
    let verdict = match outcome.verdict {
        Verdict::Baked => "baked",
        Verdict::Failed => "failed",
        Verdict::Lost => "was lost",
        Verdict::Cancelled => "was cancelled",
        Verdict::Unknown => "ended with a result that this client does not support",
    };
    let reason = outcome.reason.as_ref().map(|reason| reason.text());
    let cause = reason_and_text(reason, outcome.text.as_deref());
    if cause.is_empty() { format!("build {id} {verdict}") } else { format!("build {id} {verdict}: {cause}") }
}

/// A reason's text and a more specific text, joined; only the latter if it contains the former.
pub fn reason_and_text(reason: Option<&str>, text: Option<&str>) -> String {
    match (reason, text.filter(|text| !text.is_empty())) {
        (Some(reason), Some(text)) if text.contains(reason) => text.to_owned(),
        (Some(reason), Some(text)) => format!("{reason}: {text}"),
        (Some(reason), None) => reason.to_owned(),
        (None, Some(text)) => text.to_owned(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakery_core::reason::Reason;
    use bakery_core::wire::problem::Problem;

    fn outcome(verdict: Verdict, reason: Option<Reason>, text: Option<&str>) -> BuildOutcome {
        BuildOutcome { verdict, reason, text: text.map(str::to_owned), hint: None, images: Vec::new() }
    }

    #[test]
    fn the_verdict_decides_the_code() {
        let code = |verdict, asked| Exit::of(&outcome(verdict, None, None), asked).code();
        assert_eq!([Verdict::Baked, Verdict::Failed, Verdict::Lost].map(|v| code(v, true)), [0, 1, 4]);
        assert_eq!((code(Verdict::Cancelled, true), code(Verdict::Cancelled, false)), (130, 1));
        assert_eq!(code(Verdict::Unknown, false), 4);
    }

    #[test]
    fn a_refusal_is_bad_input_unless_the_server_is_to_blame() {
        let code = |status| {
            let problem = Problem { status, title: "no".into(), ..Problem::default() };
            Failure::from(LinkError::Refused(Box::new(problem))).exit.code()
        };
        assert_eq!([400, 401, 404, 413, 422, 429, 500, 503, 507].map(code), [2, 2, 2, 2, 2, 4, 4, 4, 4]);
    }

    #[test]
    fn an_outcomes_own_hint_takes_precedence_over_that_of_its_reason() {
        let id = BuildId::new(1, 2);
        let hint = |own: Option<&str>, exit| {
            let outcome = outcome(Verdict::Failed, Some(Reason::DiskFull), Some("full"));
            summary(id, &BuildOutcome { hint: own.map(str::to_owned), ..outcome }, exit).hint
        };
        assert_eq!(hint(None, Exit::BuildFailed).as_deref(), Some(Reason::DiskFull.hint()));
        assert_eq!(hint(Some("write less"), Exit::BuildFailed).as_deref(), Some("write less"));
        assert_eq!(hint(None, Exit::Interrupted), None);
    }

    #[test]
    fn a_hint_in_the_text_of_an_older_server_is_shown_as_it_is() {
        let text = "full\nhint: write less";
        let old = outcome(Verdict::Failed, Some(Reason::DiskFull), Some(text));
        let shown = Failure::new(Exit::BuildFailed, summary(BuildId::new(1, 2), &old, Exit::BuildFailed));
        assert!(shown.rendered().contains(text), "{}", shown.rendered());
    }

    #[test]
    fn the_summary_contains_the_reason_once() {
        let id = BuildId::new(1, 2);
        let text = |reason, text| {
            sentence(id, &outcome(Verdict::Failed, reason, text)).replace(&id.to_string(), "ID")
        };
        let kaniko = Some(Reason::ExecutorFailed);
        assert_eq!(
            text(kaniko, Some("shop: Kaniko failed with 7")),
            "build ID failed: shop: Kaniko failed with 7"
        );
        assert_eq!(text(kaniko, Some("exit code 7")), "build ID failed: Kaniko failed: exit code 7");
        assert_eq!(text(None, None), "build ID failed");
    }
}
