//! A finding, as a person and as a program reads it.

use serde::Serialize;

use super::excerpt::Excerpt;
use super::severity::Severity;
use super::table::general::MISTAKE;
use crate::message::Message;
use crate::report::Location;

/// Something found in a Dockerfile. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DockerfileFinding {
    /// `BK201`.
    pub code: &'static str,
    /// How serious it is.
    pub level: Severity,
    /// The Dockerfile as the user knows it, or the option.
    pub file: String,
    /// From 1; 0 if no line is meant.
    pub line: usize,
    /// In characters, from 1; 0 if no line is meant.
    pub column: usize,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line.
    #[serde(skip)]
    pub(super) excerpt: Option<Excerpt>,
}

impl DockerfileFinding {
    /// A Dockerfile that cannot be read.
    pub fn unreadable(file: &str, message: Message) -> Self {
        let Message { text, hint } = message;
        let file = file.to_owned();
        let code = MISTAKE.code.unwrap_or_default();
        Self { code, level: MISTAKE.severity(), file, line: 0, column: 0, text, hint, excerpt: None }
    }

    /// Whether nothing is built because of it.
    pub fn is_error(&self) -> bool {
        self.level == Severity::Error
    }

    /// `file:line:col: error[BK201]: text`, below it the line with a mark; and the hint.
    pub fn message(&self) -> Message {
        let Self { code, level, line, column, .. } = self;
        let place = Location { line: *line, col: *column, ..Location::file(&self.file) };
        let mut text = format!("{place}: {level}[{code}]: {}", self.text);
        if let Some(Excerpt { line, mark }) = &self.excerpt {
            text = format!("{text}\n    {line}");
            if !mark.is_empty() {
                text = format!("{text}\n    {mark}");
            }
        }
        Message { text, hint: self.hint.clone() }
    }
}

/// The findings as a document, `{"findings": [...]}`. Keys may be added, but are never changed.
pub fn document(findings: &[DockerfileFinding]) -> serde_json::Value {
    serde_json::json!({ "findings": findings })
}
