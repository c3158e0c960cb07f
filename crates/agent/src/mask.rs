//! Masking of secrets before a line is written to the spool: in plain text, base64, URLs and JSON.
//!
//! Texts shorter than [`SHORTEST`] bytes are not masked: they would match in half of the log. A secret of several lines
//! is masked line by line, because the log consists of lines.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use thiserror::Error;

mod forms;

/// The text that replaces a secret in the log.
pub const MASK: &str = "***";
/// Minimum length of a secret that is masked, in bytes.
pub const SHORTEST: usize = 4;

/// The patterns of the secrets exceed the limits of the search automaton.
#[derive(Debug, Error)]
#[error("the task has too many or too long secrets to mask them in the log")]
pub struct TooManySecrets(#[source] aho_corasick::BuildError);

/// A collection of secrets to mask.
#[derive(Default)]
pub struct Secrets {
    patterns: BTreeSet<Vec<u8>>,
}

impl Secrets {
    /// Adds `text` in every form in which it may be printed.
    pub fn add(&mut self, text: &str) {
        forms::of(text, &mut |form| {
            self.patterns.insert(form);
        });
    }

    /// Adds a login: the password, and `user:password` in base64 as in basic authentication.
    pub fn add_login(&mut self, username: &str, password: &str) {
        self.add(password);
        if password.len() >= SHORTEST {
            forms::base64_whole(format!("{username}:{password}").as_bytes(), &mut |form| {
                self.patterns.insert(form);
            });
        }
    }

    /// Adds the password of `user:password@` in a URL, if there is one.
    pub fn add_userinfo_of(&mut self, url: &str) {
        let Some((_, rest)) = url.split_once("://") else { return };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let Some((userinfo, _)) = authority.rsplit_once('@') else { return };
        if let Some((user, password)) = userinfo.split_once(':') {
            self.add_login(user, password);
        }
    }
}

/// Finds and masks secrets.
#[derive(Debug, Default)]
pub struct Masker {
    /// Answers quickly whether there is any match.
    any: Option<AhoCorasick>,
    /// Finds every match, including overlapping ones.
    every: Option<AhoCorasick>,
    longest: usize,
}

impl Masker {
    /// A masker for these secrets.
    pub fn new(secrets: &Secrets) -> Result<Self, TooManySecrets> {
        if secrets.patterns.is_empty() {
            return Ok(Self::default());
        }
        let build = |kind| {
            AhoCorasick::builder().match_kind(kind).build(&secrets.patterns).map(Some).map_err(TooManySecrets)
        };
        Ok(Self {
            any: build(MatchKind::LeftmostFirst)?,
            every: build(MatchKind::Standard)?,
            longest: secrets.patterns.iter().map(Vec::len).max().unwrap_or(0),
        })
    }

    /// Whether `bytes` contain a secret.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.any.as_ref().is_some_and(|any| any.is_match(bytes))
    }

    /// Length of the longest pattern in bytes.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The ranges of `bytes` to mask, in order and disjoint. Overlapping secrets are one range.
    pub fn spans(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        let Some(every) = self.every.as_ref().filter(|_| self.is_match(bytes)) else { return spans };
        let mut found: Vec<_> = every.find_overlapping_iter(bytes).map(|found| found.range()).collect();
        found.sort_unstable_by_key(|range| range.start);
        for range in found {
            match spans.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => spans.push(range),
            }
        }
        spans
    }

    /// `text` with its secrets masked.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let spans = self.spans(text.as_bytes());
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        render(text.as_bytes(), 0..text.len(), &spans, &mut out);
        Cow::Owned(String::from_utf8_lossy(&out).into_owned())
    }
}

/// Appends the part `range` of `bytes` to `out`, with `spans` (disjoint, in order) masked.
pub(crate) fn render(bytes: &[u8], range: Range<usize>, spans: &[Range<usize>], out: &mut Vec<u8>) {
    let mut at = range.start;
    for span in spans {
        let (start, end) = (span.start.max(range.start), span.end.min(range.end));
        if start >= end {
            continue;
        }
        out.extend_from_slice(&bytes[at..start]);
        out.extend_from_slice(MASK.as_bytes());
        at = end;
    }
    out.extend_from_slice(&bytes[at..range.end]);
}

#[cfg(test)]
mod tests;
