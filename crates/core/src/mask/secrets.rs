//! The secrets to look for, as patterns: in plain text and in the usual encodings.
//!
//! Texts shorter than [`SHORTEST`] bytes are not looked for: they would match in half of a log. A secret of several lines is
//! looked for line by line, because what is searched consists of lines.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use thiserror::Error;

use crate::mask::encodings::{self, Forms};
use crate::mask::matcher::Matcher;
use crate::mask::visible::visible;
use crate::mask::wrapped::WrappedForms;
use crate::mask::{SHORTEST, pieces};
use crate::terminal;

/// Patterns of more bytes are not made into a DFA: for some texts (`xxxx...`) that takes the square of their length.
const DFA_BYTES: usize = 16 << 10;

/// The patterns of the secrets exceed the limits of the search automaton.
#[derive(Debug, Error)]
#[error("the task has too many or too long secrets to mask them")]
pub struct TooManySecrets(#[source] aho_corasick::BuildError);

/// A collection of secrets to mask.
#[derive(Debug, Default)]
pub struct Secrets {
    patterns: BTreeSet<Vec<u8>>,
    wrapped: WrappedForms,
}

impl Secrets {
    /// Adds `text` in every form in which it may be printed.
    pub fn add(&mut self, text: &str) {
        for piece in pieces(text) {
            encodings::of(&piece, self);
        }
        // With the line end that a file has: what precedes it is encoded differently.
        if text.len() != text.trim().len() && !pieces(text).is_empty() {
            encodings::base64_whole(text.as_bytes(), self);
        }
    }

    /// Adds a login: the password, and `user:password` in base64 as in basic authentication.
    pub fn add_login(&mut self, username: &str, password: &str) {
        self.add(password);
        if password.len() >= SHORTEST {
            encodings::base64_whole(format!("{username}:{password}").as_bytes(), self);
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

    /// What finds them.
    pub fn matcher(&self) -> Result<Matcher, TooManySecrets> {
        if self.patterns.is_empty() {
            return Ok(Matcher::default());
        }
        let bytes: usize = self.patterns.iter().map(Vec::len).sum();
        let kind = (bytes > DFA_BYTES).then_some(AhoCorasickKind::ContiguousNFA);
        let build = |matches| {
            let mut builder = AhoCorasick::builder();
            builder.match_kind(matches).kind(kind).build(&self.patterns).map_err(TooManySecrets)
        };
        let longest = self.patterns.iter().map(Vec::len).max().unwrap_or(0);
        let (any, every) = (build(MatchKind::LeftmostFirst)?, build(MatchKind::Standard)?);
        Ok(Matcher::new(any, every, longest, self.wrapped.clone()))
    }
}

impl Forms for Secrets {
    /// The text consists of lines, so a form with a line end is never found.
    fn literal(&mut self, text: Vec<u8>) {
        if text.contains(&b'\n') || text.len() < SHORTEST {
            return;
        }
        if !terminal::is_plain(&text) {
            let seen = visible(&text);
            if seen.len() >= SHORTEST {
                self.patterns.insert(seen);
            }
        }
        self.patterns.insert(text);
    }

    fn base64(&mut self, text: &[u8]) {
        self.wrapped.add_base64(text);
    }

    fn hex(&mut self, text: &[u8]) {
        self.wrapped.add_hex(text);
    }
}
