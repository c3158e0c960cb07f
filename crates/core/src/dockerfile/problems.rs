//! Mistakes and notices while a Dockerfile is read, each at its place.

use crate::dockerfile::text::DockerfileText;
use crate::limits;
use crate::message::Message;
use crate::report::{Finding, Findings, Mistake, Notice};

/// A mistake that is not reported yet: the byte at which it is, and what it is.
pub(super) type Wrong = (usize, Message);

/// What was found in a file.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    pub(super) text: &'t DockerfileText,
    findings: Findings,
    /// What is wrong in an instruction that this build does not run stops nothing.
    pub(super) is_harmless: bool,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t DockerfileText) -> Self {
        Self { text, findings: Findings::default(), is_harmless: false }
    }

    /// Whether a report has no room for more. Making their texts can be left out then.
    pub(super) fn is_full(&self) -> bool {
        let found = if self.is_harmless { &self.findings.notices } else { &self.findings.mistakes };
        found.len() >= limits::FINDINGS
    }

    /// Adds a mistake at a byte of the file, about an instruction or a part of it.
    pub(super) fn mistake(&mut self, at: usize, path: &str, message: impl Into<Message>) {
        if self.is_full() {
            return;
        }
        let location = self.text.location(at, path);
        if self.is_harmless {
            self.findings.notice(location, message);
        } else {
            self.findings.mistake(location, message);
        }
    }

    /// Adds a notice.
    pub(super) fn notice(&mut self, at: usize, path: &str, message: impl Into<Message>) {
        if self.findings.notices.len() >= limits::FINDINGS {
            return;
        }
        self.findings.notice(self.text.location(at, path), message);
    }

    /// Takes over what was found with `other`.
    pub(super) fn absorb(&mut self, other: Self) {
        for Finding { location, text, hint } in other.findings.mistakes {
            let message = Message { text, hint };
            if self.is_harmless {
                self.findings.notice(location, message);
            } else {
                self.findings.mistake(location, message);
            }
        }
        for Finding { location, text, hint } in other.findings.notices {
            self.findings.notice(location, Message { text, hint });
        }
    }

    /// Both, from top to bottom.
    pub(super) fn into_findings(self) -> (Vec<Mistake>, Vec<Notice>) {
        let Findings { mut mistakes, mut notices, .. } = self.findings;
        mistakes.sort_by_key(|it| (it.location.line, it.location.col));
        notices.sort_by_key(|it| (it.location.line, it.location.col));
        (mistakes, notices)
    }
}
