//! Finds secrets in lines.

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::AhoCorasick;

use crate::mask::MASK;
use crate::mask::visible::{VisibleText, visible};
use crate::mask::wrapped::WrappedForms;
use crate::terminal;

/// Finds the [`Secrets`](super::Secrets) that it was made of.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    /// Answers quickly whether there is any match.
    any: Option<AhoCorasick>,
    /// Finds every match, including overlapping ones.
    every: Option<AhoCorasick>,
    longest: usize,
    wrapped: WrappedForms,
}

impl Matcher {
    pub(super) fn new(any: AhoCorasick, every: AhoCorasick, longest: usize, wrapped: WrappedForms) -> Self {
        Self { any: Some(any), every: Some(every), longest, wrapped }
    }

    /// `text`, which is one line, with its secrets masked.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        masked(text, &self.spans(text.as_bytes()))
    }

    /// Whether `bytes`, which may be many lines, contain a secret that is not wrapped.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.any.as_ref().is_some_and(|any| {
            any.is_match(bytes) || !terminal::is_plain(bytes) && any.is_match(&visible(bytes))
        })
    }

    /// Length of the longest pattern in bytes.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The ranges of `line` to mask, in order and disjoint. Overlapping secrets are one range.
    pub fn spans(&self, line: &[u8]) -> Vec<Range<usize>> {
        let (Some(any), Some(every)) = (&self.any, &self.every) else { return Vec::new() };
        let mut found = Vec::new();
        let in_text = |text: &[u8], found: &mut Vec<Range<usize>>| {
            if any.is_match(text) {
                join(every.find_overlapping_iter(text).map(|found| found.range()), found);
            }
        };
        in_text(line, &mut found);
        if terminal::is_plain(line) {
            self.wrapped.search(line, &mut found);
        } else {
            let seen = VisibleText::of(line);
            let mut inside = Vec::new();
            in_text(&seen.bytes, &mut inside);
            self.wrapped.search(&seen.bytes, &mut inside);
            found.extend(inside.into_iter().map(|range| seen.range(range)));
        }
        merged(found)
    }

    /// The ranges of `line` to mask if no other secret than a wrapped one can be in it.
    pub fn wrapped_spans(&self, line: &[u8]) -> Vec<Range<usize>> {
        // No encoding has a blank in it: most lines end here.
        if memchr::memchr(b' ', line.trim_ascii()).is_some() {
            return Vec::new();
        }
        if !terminal::is_plain(line) {
            return self.spans(line);
        }
        let mut found = Vec::new();
        self.wrapped.search(line, &mut found);
        merged(found)
    }
}

/// Appends ranges that come in the order of their ends, and joins those that touch: many secrets may overlap.
fn join(ranges: impl Iterator<Item = Range<usize>>, found: &mut Vec<Range<usize>>) {
    for mut range in ranges {
        while let Some(last) = found.pop_if(|last| last.end >= range.start) {
            range.start = range.start.min(last.start);
        }
        found.push(range);
    }
}

/// In order and disjoint; ranges that touch become one.
pub(super) fn merged(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    found.sort_unstable_by_key(|range| range.start);
    for range in found {
        match spans.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => spans.push(range),
        }
    }
    spans
}

/// Appends the part `range` of `bytes` to `out`, with `spans` (disjoint, in order) masked.
pub fn render(bytes: &[u8], range: Range<usize>, spans: &[Range<usize>], out: &mut Vec<u8>) {
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

/// `text` with `spans` (disjoint, in order) masked.
pub(super) fn masked<'t>(text: &'t str, spans: &[Range<usize>]) -> Cow<'t, str> {
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    render(text.as_bytes(), 0..text.len(), spans, &mut out);
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
