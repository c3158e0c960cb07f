//! How a client ends: a code for machines, words for people.

use std::fmt;
use std::process::ExitCode;

use bakery_core::names::BuildId;
use bakery_core::report::Report;
use bakery_core::wire::build::{BuildOutcome, Verdict};
use bakery_link::LinkError;

/// The client's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: what was asked for is done.
    Good,
    /// 1: the build as described failed, or somebody else cancelled it.
    Failed,
    /// 2: files, options or settings have mistakes.
    Input,
    /// 3: the server is out of reach, or how the build ends is unknown.
    Unknown,
    /// 4: the server or the platform failed.
    Ours,
    /// 130: interrupted.
    Interrupted,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Failed => 1,
            Self::Input => 2,
            Self::Unknown => 3,
            Self::Ours => 4,
            Self::Interrupted => 130,
        }
    }

    /// The code of a build's end. `asked` = this client has asked for its cancellation.
    pub fn of(outcome: &BuildOutcome, asked: bool) -> Self {
        match outcome.verdict {
            Verdict::Baked => Self::Good,
            Verdict::Cancelled if asked => Self::Interrupted,
            Verdict::Failed | Verdict::Cancelled => Self::Failed,
            Verdict::Lost | Verdict::Unknown => Self::Ours,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a client ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// With this code.
    pub exit: Exit,
    /// What happened; empty = nothing is said.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Failure {
    /// A mistake of the user's.
    pub fn input(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit: Exit::Input, text: text.into(), hint: Some(hint.into()) }
    }

    /// Something on this machine that neither the user's files nor the server can help.
    pub fn ours(text: impl Into<String>) -> Self {
        Self { exit: Exit::Ours, text: text.into(), hint: None }
    }

    /// Both, where neither hides the other: what each says stands on lines of its own, once.
    pub fn and(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        let hint = self.hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        Self { exit: self.exit, text: format!("{}{hint}\n{}", self.text, other.text), hint: other.hint }
    }

    /// Ends without a word: who would read it has gone.
    pub const fn quiet(exit: Exit) -> Self {
        Self { exit, text: String::new(), hint: None }
    }

    /// The build runs, and this client no longer sees it.
    pub fn lost_sight(id: BuildId, why: &LinkError) -> Self {
        Self {
            exit: Exit::Unknown,
            text: format!("{why}\nthe outcome of build {id} is unknown"),
            hint: Some(format!("`bakery-client logs {id}` follows on")),
        }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let exit = match &error {
            LinkError::Unreachable { .. } | LinkError::Protocol { .. } => Exit::Unknown,
            LinkError::Refused(problem) if problem.status >= 500 || problem.status == 429 => Exit::Ours,
            LinkError::Settings { .. } | LinkError::Refused(_) => Exit::Input,
        };
        Self { exit, hint: error.hint(), text: error.to_string() }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        let count = report.mistakes.len();
        let head = if count == 1 { "one mistake".to_owned() } else { format!("{count} mistakes") };
        // Each place stands at the beginning of its line, where editors and CI systems look for it.
        Self { exit: Exit::Input, text: format!("{head}\n{report}"), hint: None }
    }
}

/// How a build ended, in one sentence for standard error.
pub fn sentence(id: BuildId, outcome: &BuildOutcome) -> String {
    let verdict = verdict(outcome.verdict);
    let why = why(outcome);
    if why.is_empty() { format!("build {id} {verdict}") } else { format!("build {id} {verdict}: {why}") }
}

/// A verdict as the end of a sentence.
pub const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Baked => "baked",
        Verdict::Failed => "failed",
        Verdict::Lost => "was lost",
        Verdict::Cancelled => "was cancelled",
        Verdict::Unknown => "ended in a way that this client does not know",
    }
}

/// The reason and the words of a bad end, each once; empty for a good one.
pub fn why(outcome: &BuildOutcome) -> String {
    reason_and_text(outcome.reason.as_ref().map(|reason| reason.text()), outcome.text.as_deref())
}

/// What to do about a bad end, unless its words say so already, or it is what was asked for.
pub fn hint(outcome: &BuildOutcome, exit: Exit) -> Option<String> {
    let said = outcome.text.as_deref().is_some_and(|text| text.contains("hint: "));
    let reason = outcome.reason.filter(|_| !said && exit != Exit::Interrupted)?;
    Some(reason.hint().to_owned())
}

/// Joins a machine's reason and a person's text, unless one says the other already.
pub fn reason_and_text(reason: Option<&str>, text: Option<&str>) -> String {
    match (reason, text.filter(|text| !text.is_empty())) {
        (Some(reason), Some(text)) if text.contains(reason) => text.to_owned(),
        (Some(reason), Some(text)) => format!("{reason}: {text}"),
        (Some(reason), None) => reason.to_owned(),
        (None, Some(text)) => text.to_owned(),
        (None, None) => String::new(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
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
    fn verdicts_decide_the_code() {
        let code = |verdict, asked| Exit::of(&outcome(verdict, None, None), asked).code();
        assert_eq!([Verdict::Baked, Verdict::Failed, Verdict::Lost].map(|v| code(v, true)), [0, 1, 4]);
        assert_eq!((code(Verdict::Cancelled, true), code(Verdict::Cancelled, false)), (130, 1));
        assert_eq!(code(Verdict::Unknown, false), 4);
    }

    #[test]
    fn refusals_are_the_users_unless_the_server_is_to_blame() {
        let code = |status| {
            let problem = Problem { status, title: "no".into(), ..Problem::default() };
            Failure::from(LinkError::Refused(Box::new(problem))).exit.code()
        };
        assert_eq!([400, 401, 404, 413, 422, 429, 500, 503].map(code), [2, 2, 2, 2, 2, 4, 4, 4]);
    }

    #[test]
    fn a_bad_end_has_a_hint_unless_its_words_have_one() {
        let hint = |text, exit| hint(&outcome(Verdict::Failed, Some(Reason::DiskFull), text), exit);
        assert_eq!(hint(Some("full"), Exit::Failed).as_deref(), Some(Reason::DiskFull.hint()));
        assert_eq!(hint(Some("full (hint: write less)"), Exit::Failed), None);
        assert_eq!(hint(None, Exit::Interrupted), None);
    }

    #[test]
    fn the_end_says_the_reason_once() {
        let id = BuildId::new(1, 2);
        let say = |reason, text| {
            sentence(id, &outcome(Verdict::Failed, reason, text)).replace(&id.to_string(), "ID")
        };
        let kaniko = Some(Reason::ExecutorFailed);
        assert_eq!(
            say(kaniko, Some("shop: Kaniko failed with 7")),
            "build ID failed: shop: Kaniko failed with 7"
        );
        assert_eq!(say(kaniko, Some("exit code 7")), "build ID failed: Kaniko failed: exit code 7");
        assert_eq!(say(None, None), "build ID failed");
    }
}
