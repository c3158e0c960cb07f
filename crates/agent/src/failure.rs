//! Failures of a task. They are results that are reported to the server, not errors of the agent.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bakery_core::limits::REPORT_TAIL_LINES;
use bakery_core::message::{Hint, Message};
use bakery_core::reason::Reason;

use crate::termination::TerminationCause;

/// Maximum length of a quoted line in a report, in characters.
const QUOTE_CHARS: usize = 1000;

/// Why the work stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A step failed.
    Failed(Failure),
    /// The run was terminated from outside.
    Terminated(TerminationCause),
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The machine-readable reason code.
    pub reason: Reason,
    /// What happened, in one sentence, and what to do about it.
    pub message: Message,
    /// Exit code of the process that failed; `None` where no process was involved.
    pub exit_code: Option<i32>,
    /// Its last lines.
    pub tail: Vec<String>,
}

impl Failure {
    /// A failure of one of the agent's own steps, without a process.
    pub fn new(reason: Reason, message: impl Into<Message>) -> Self {
        Self { reason, message: message.into(), exit_code: None, tail: Vec::new() }
    }

    /// A failure with the text and the hint of an error.
    pub fn of(reason: Reason, error: &(impl Hint + fmt::Display)) -> Self {
        Self::new(reason, Message::of(error))
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { message: self.message.with_hint(hint), ..self }
    }

    /// A file of the agent's own could not be read or written.
    pub fn io(path: &Path, error: &std::io::Error) -> Self {
        let text = format!("`{}`: {error}", path.display());
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::new(Reason::DiskFull, text).with_hint(Reason::DiskFull.hint());
        }
        Self::new(Reason::Internal, text)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The last lines of one process, at most [`REPORT_TAIL_LINES`]. The usage text that Kaniko prints after an error about
/// its options is left out: it is longer than the tail and would displace the error.
#[derive(Debug, Default)]
pub struct Tail {
    lines: VecDeque<String>,
    in_usage: bool,
}

impl Tail {
    /// Appends a line.
    pub fn push(&mut self, line: &str) {
        self.in_usage = if self.in_usage {
            is_usage(line)
        } else {
            line == "Usage:" && self.lines.back().is_some_and(|last| last.starts_with("Error: "))
        };
        if self.in_usage {
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

/// A [`Tail`] that the reader of an output fills. Clones are the same tail.
#[derive(Debug, Clone, Default)]
pub struct SharedTail(Arc<Mutex<Tail>>);

impl SharedTail {
    /// Appends a line.
    pub fn push(&self, line: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }
}

/// True for a line of the text after `Usage:` in the output of cobra, Kaniko's command-line library: headings and the
/// indented lines below them.
fn is_usage(line: &str) -> bool {
    line.is_empty() || line.starts_with(' ') || line.ends_with(':') || line.starts_with("Use \"")
}
