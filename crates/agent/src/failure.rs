//! Why a task did not bake: a result for the report, never an error of the agent's.

use std::collections::VecDeque;
use std::path::Path;

use bakery_core::limits::REPORT_TAIL_LINES;
use bakery_core::reason::Reason;

use crate::ends::Cause;

/// Characters that a report quotes of one line.
const QUOTE_CHARS: usize = 1000;

/// What stops the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A step has failed.
    Failed(Failure),
    /// The run was ended from outside.
    Ended(Cause),
}

/// How a step has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The machine's word.
    pub reason: Reason,
    /// One sentence for people.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Exit code of the process that failed.
    pub exit_code: Option<i32>,
    /// Its last lines.
    pub tail: Vec<String>,
}

impl Failure {
    /// A failure of the agent's own steps.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), hint: None, exit_code: None, tail: Vec::new() }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Something of the agent's own could not be read or written.
    pub fn disk(path: &Path, error: &std::io::Error) -> Self {
        let text = format!("`{}`: {error}", path.display());
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::new(Reason::DiskFull, text).hint(Reason::DiskFull.hint());
        }
        Self::new(Reason::Internal, text)
    }

    /// The sentence with its hint, on one line.
    pub fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} (hint: {hint})", self.text),
            None => self.text.clone(),
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The last lines of one process. The help that a command of Kaniko's kind prints behind its error is left out: it is
/// longer than all that is kept, and the error would be lost behind it.
#[derive(Debug, Default)]
pub struct Tail {
    lines: VecDeque<String>,
    helping: bool,
}

impl Tail {
    /// Takes one more.
    pub fn push(&mut self, line: &str) {
        self.helping = if self.helping {
            is_help(line)
        } else {
            line == "Usage:" && self.lines.back().is_some_and(|last| last.starts_with("Error: "))
        };
        if self.helping {
            return;
        }
        if self.lines.len() == REPORT_TAIL_LINES {
            self.lines.pop_front();
        }
        let end = line.char_indices().nth(QUOTE_CHARS).map_or(line.len(), |(end, _)| end);
        self.lines.push_back(line[..end].to_owned());
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// True for what follows the `Usage:` of cobra, the library of Kaniko's command line: headings, and what is indented
/// below them.
fn is_help(line: &str) -> bool {
    line.is_empty() || line.starts_with(' ') || line.ends_with(':') || line.starts_with("Use \"")
}
