//! Masking of secrets before a line is written to the spool: in plain text and in the usual encodings.
//!
//! Texts shorter than [`bakery_core::mask::SHORTEST`] bytes are not masked: they would match in half of the log. A
//! secret of several lines is masked line by line, because the log consists of lines. Control characters and escape
//! sequences inside a secret do not hide it: the visible text is searched too.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use bakery_core::mask::pieces;
use thiserror::Error;

use crate::mask::visible::VisibleText;
use crate::mask::wrapped::WrappedForms;

mod forms;
pub(crate) mod visible;
mod wrapped;

/// The text that replaces a secret in the log.
pub const MASK: &str = "***";
/// How many texts a task's scripts may add, and how many bytes in total: each takes time and memory.
const ADDED: (usize, usize) = (100, 128 << 10);

/// Patterns of more bytes are not made into a DFA: for some texts (`xxxx...`) that takes the square of their length.
const DFA_BYTES: usize = 16 << 10;

/// The patterns of the secrets exceed the limits of the search automaton.
#[derive(Debug, Error)]
#[error("the task has too many or too long secrets to mask them in the log")]
pub struct TooManySecrets(#[source] aho_corasick::BuildError);

/// A collection of secrets to mask.
#[derive(Debug, Default)]
pub struct Secrets {
    patterns: BTreeSet<Vec<u8>>,
    wrapped: WrappedForms,
    /// How many texts and bytes were added since the masker was made.
    added: (usize, usize),
}

impl Secrets {
    /// Adds `text` in every form in which it may be printed.
    pub fn add(&mut self, text: &str) {
        for piece in pieces(text) {
            forms::of(&piece, self);
        }
        // With the line end that a file has: what precedes it is encoded differently.
        if text.len() != text.trim().len() && !pieces(text).is_empty() {
            forms::base64_whole(text.as_bytes(), self);
        }
    }

    /// Adds a login: the password, and `user:password` in base64 as in basic authentication.
    pub fn add_login(&mut self, username: &str, password: &str) {
        self.add(password);
        if password.len() >= bakery_core::mask::SHORTEST {
            forms::base64_whole(format!("{username}:{password}").as_bytes(), self);
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

    /// Adds one pattern. The log consists of lines, so one with a line end is never found.
    fn insert(&mut self, pattern: Vec<u8>) {
        if pattern.contains(&b'\n') || pattern.len() < bakery_core::mask::SHORTEST {
            return;
        }
        if !visible::is_plain(&pattern) {
            let seen = visible::visible(&pattern);
            if seen.len() >= bakery_core::mask::SHORTEST {
                self.patterns.insert(seen);
            }
        }
        self.patterns.insert(pattern);
    }

    fn matcher(&self) -> Result<Matcher, TooManySecrets> {
        if self.patterns.is_empty() {
            return Ok(Matcher::default());
        }
        let bytes: usize = self.patterns.iter().map(Vec::len).sum();
        let kind = (bytes > DFA_BYTES).then_some(AhoCorasickKind::ContiguousNFA);
        let build = |matches| {
            let mut builder = AhoCorasick::builder();
            builder.match_kind(matches).kind(kind).build(&self.patterns).map(Some).map_err(TooManySecrets)
        };
        Ok(Matcher {
            any: build(MatchKind::LeftmostFirst)?,
            every: build(MatchKind::Standard)?,
            longest: self.patterns.iter().map(Vec::len).max().unwrap_or(0),
            wrapped: self.wrapped.clone(),
        })
    }
}

/// Finds and masks secrets. More can be added while it is used.
#[derive(Debug, Default)]
pub struct Masker {
    state: Mutex<MaskerState>,
    version: AtomicUsize,
}

/// The secrets of a masker, and what finds those of `version`: it is made when it is needed, not for every addition.
#[derive(Debug, Default)]
struct MaskerState {
    secrets: Secrets,
    matcher: Arc<Matcher>,
    version: usize,
}

impl Masker {
    /// A masker for these secrets.
    pub fn new(secrets: Secrets) -> Result<Self, TooManySecrets> {
        let matcher = Arc::new(secrets.matcher()?);
        let state = Mutex::new(MaskerState { secrets, matcher, version: 0 });
        Ok(Self { state, version: AtomicUsize::new(0) })
    }

    /// Masks `text` too from now on. False if there are too many already.
    pub fn add(&self, text: &str) -> bool {
        let secrets = &mut self.lock().secrets;
        let (count, bytes) = (secrets.added.0 + 1, secrets.added.1 + text.len());
        if count > ADDED.0 || bytes > ADDED.1 {
            return false;
        }
        secrets.added = (count, bytes);
        secrets.add(text);
        self.version.fetch_add(1, Ordering::Release);
        true
    }

    /// A number that changes whenever a secret was added.
    pub(crate) fn version(&self) -> usize {
        self.version.load(Ordering::Acquire)
    }

    /// What finds the secrets that are known now.
    pub(crate) fn matcher(&self) -> Arc<Matcher> {
        let mut state = self.lock();
        let version = self.version();
        if state.version != version {
            state.version = version;
            // What may be added is far below the limits of an automaton; the secrets of the task stay masked in any case.
            if let Ok(matcher) = state.secrets.matcher() {
                state.matcher = Arc::new(matcher);
            }
        }
        Arc::clone(&state.matcher)
    }

    fn lock(&self) -> MutexGuard<'_, MaskerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `text` with its secrets masked.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let spans = self.matcher().spans(text.as_bytes());
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        render(text.as_bytes(), 0..text.len(), &spans, &mut out);
        Cow::Owned(String::from_utf8_lossy(&out).into_owned())
    }
}

/// Finds the secrets that were known when it was made.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    /// Answers quickly whether there is any match.
    any: Option<AhoCorasick>,
    /// Finds every match, including overlapping ones.
    every: Option<AhoCorasick>,
    longest: usize,
    wrapped: WrappedForms,
}

impl Matcher {
    /// Whether `bytes`, which may be many lines, contain a secret that is not wrapped.
    pub(crate) fn is_match(&self, bytes: &[u8]) -> bool {
        self.any.as_ref().is_some_and(|any| {
            any.is_match(bytes) || !visible::is_plain(bytes) && any.is_match(&visible::visible(bytes))
        })
    }

    /// Length of the longest pattern in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// The ranges of `line` to mask, in order and disjoint. Overlapping secrets are one range.
    pub(crate) fn spans(&self, line: &[u8]) -> Vec<Range<usize>> {
        let (Some(any), Some(every)) = (&self.any, &self.every) else { return Vec::new() };
        let mut found = Vec::new();
        let in_text = |text: &[u8], found: &mut Vec<Range<usize>>| {
            if any.is_match(text) {
                found.extend(every.find_overlapping_iter(text).map(|found| found.range()));
            }
        };
        in_text(line, &mut found);
        if visible::is_plain(line) {
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
    pub(crate) fn wrapped_spans(&self, line: &[u8]) -> Vec<Range<usize>> {
        // No encoding has a blank in it: most lines end here.
        if memchr::memchr(b' ', line.trim_ascii()).is_some() {
            return Vec::new();
        }
        if !visible::is_plain(line) {
            return self.spans(line);
        }
        let mut found = Vec::new();
        self.wrapped.search(line, &mut found);
        merged(found)
    }
}

fn merged(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
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
