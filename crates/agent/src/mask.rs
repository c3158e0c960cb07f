//! Secrets are hidden before a line reaches the spool: raw, in base64, in URLs and in JSON.
//!
//! Texts of fewer than [`SHORTEST`] bytes are not hidden: they would hide half of the log and are no secrets. A secret
//! of several lines is hidden line by line, since lines are what the log knows.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use thiserror::Error;

mod forms;

/// What stands in the log where a secret was.
pub const MASK: &str = "***";
/// Bytes of the shortest secret that is hidden.
pub const SHORTEST: usize = 4;

/// The secrets do not fit into a search.
#[derive(Debug, Error)]
#[error("the task's secrets are too many or too long to be hidden in the log")]
pub struct TooMuch(#[source] aho_corasick::BuildError);

/// Collects what must not be seen.
#[derive(Default)]
pub struct Secrets {
    patterns: BTreeSet<Vec<u8>>,
}

impl Secrets {
    /// Hides `text` in every form that it may be printed in.
    pub fn add(&mut self, text: &str) {
        forms::of(text, &mut |form| {
            self.patterns.insert(form);
        });
    }

    /// Hides a login: the password, and the `user:password` of basic authentication in base64.
    pub fn add_login(&mut self, username: &str, password: &str) {
        self.add(password);
        if password.len() >= SHORTEST {
            forms::base64_whole(format!("{username}:{password}").as_bytes(), &mut |form| {
                self.patterns.insert(form);
            });
        }
    }

    /// Hides the password inside a URL's `user:password@`, if there is one.
    pub fn add_userinfo_of(&mut self, url: &str) {
        let Some((_, rest)) = url.split_once("://") else { return };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let Some((userinfo, _)) = authority.rsplit_once('@') else { return };
        if let Some((user, password)) = userinfo.split_once(':') {
            self.add_login(user, password);
        }
    }
}

/// Finds and hides secrets.
#[derive(Debug, Default)]
pub struct Masker {
    /// Says fast that there is nothing.
    quick: Option<AhoCorasick>,
    /// Finds every occurrence, overlapping ones too.
    every: Option<AhoCorasick>,
    longest: usize,
}

impl Masker {
    /// A masker of these secrets.
    pub fn new(secrets: &Secrets) -> Result<Self, TooMuch> {
        if secrets.patterns.is_empty() {
            return Ok(Self::default());
        }
        let build = |kind| {
            AhoCorasick::builder().match_kind(kind).build(&secrets.patterns).map(Some).map_err(TooMuch)
        };
        Ok(Self {
            quick: build(MatchKind::LeftmostFirst)?,
            every: build(MatchKind::Standard)?,
            longest: secrets.patterns.iter().map(Vec::len).max().unwrap_or(0),
        })
    }

    /// True where `bytes` hold something to hide.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.quick.as_ref().is_some_and(|quick| quick.is_match(bytes))
    }

    /// Bytes of the longest form of a secret.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// What is to be hidden in `bytes`, in order, disjoint. Overlapping secrets are one range.
    pub fn spans(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        let Some(every) = self.every.as_ref().filter(|_| self.finds(bytes)) else { return spans };
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

    /// `text` with its secrets hidden.
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

/// Appends the part `range` of `bytes` to `out`, with `spans` (disjoint, in order) hidden.
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
