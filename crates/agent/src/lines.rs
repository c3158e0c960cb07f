//! Splits a stream of bytes into log messages: one per line, with secrets masked, of bounded length, valid UTF-8.

use std::ops::Range;
use std::sync::Arc;

use bakery_core::limits::{BLOCK_BYTES, LINE_BYTES};
use bakery_core::mask::{self, Matcher, VisibleText};

use crate::mask::Masker;

/// Maximum size of the JSON around a message, in bytes.
const OVERHEAD_BYTES: usize = 512;
/// A message of this length fits into a block even if each of its bytes is escaped to six.
const SAFE_BYTES: usize = (BLOCK_BYTES - OVERHEAD_BYTES) / 6;

/// What a script writes to have the rest of the line masked from then on, as in GitHub's workflows.
const ADD_MASK: &[u8] = b"::add-mask::";

/// Splits one stream into messages. Buffers at most one message, the length of the longest secret, and one chunk.
///
/// A line end is `\n` or `\r\n`; any other `\r` is part of the message. A line that is longer than [`LINE_BYTES`], or
/// too long for a block once it is escaped, is split into several messages; a secret is masked even if it is split.
/// Control characters are kept, unless so many follow each other in a long line that a secret could span them.
#[derive(Debug)]
pub struct Lines {
    masker: Arc<Masker>,
    /// That of `masker` at `version`.
    matcher: Arc<Matcher>,
    version: usize,
    /// Whether the stream may add secrets to the masker.
    commands: bool,
    /// The beginning of a line whose end has not arrived yet.
    open: Vec<u8>,
    /// Bytes at the beginning of `open` that belong to a secret that began in the previous message.
    hidden: usize,
    /// True if a part of the open line was emitted already.
    continued: bool,
    scratch: Vec<u8>,
}

impl Lines {
    /// An empty stream.
    pub fn new(masker: Arc<Masker>) -> Self {
        let (version, matcher) = (masker.version(), masker.matcher());
        let (open, scratch) = (Vec::new(), Vec::new());
        Self { masker, matcher, version, commands: false, open, hidden: 0, continued: false, scratch }
    }

    /// An empty stream whose lines `::add-mask::TEXT` add TEXT to the masker, and are not emitted.
    pub fn with_commands(masker: Arc<Masker>) -> Self {
        Self { commands: true, ..Self::new(masker) }
    }

    /// Adds the next chunk. `emit` is called with every completed message, and whether its line continues.
    pub fn push(&mut self, chunk: &[u8], emit: &mut impl FnMut(&str, bool)) {
        self.refresh();
        let mut rest = chunk;
        if !self.open.is_empty() || self.continued {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.open.extend_from_slice(rest);
                return self.split(emit);
            };
            self.open.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.close(true, emit);
        }
        // Patterns contain no line end, so one search covers all complete lines of the chunk.
        let mut clean = !self.matcher.is_match(rest);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', rest) {
            let line = &rest[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            start = end + 1;
            if let Some(secret) = self.command(line) {
                self.add_mask(secret, emit);
                continue;
            }
            if self.refresh() {
                clean = !self.matcher.is_match(&rest[start..]) && !self.matcher.is_match(line);
            }
            let spans = if clean { self.matcher.wrapped_spans(line) } else { self.matcher.spans(line) };
            emit_line(line, &spans, &mut self.scratch, emit);
        }
        self.open.extend_from_slice(&rest[start..]);
        self.split(emit);
    }

    /// Emits an incomplete line, if there is one: at the end of the stream, or when it pauses.
    pub fn flush(&mut self, emit: &mut impl FnMut(&str, bool)) {
        self.refresh();
        if !self.open.is_empty() || self.continued {
            self.close(false, emit);
        }
    }

    /// Takes the secrets that were added since; true if there are any.
    fn refresh(&mut self) -> bool {
        let version = self.masker.version();
        let is_old = version != self.version;
        if is_old {
            (self.version, self.matcher) = (version, self.masker.matcher());
        }
        is_old
    }

    /// The text that a line adds to the masker.
    fn command<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        if !self.commands || self.continued {
            return None;
        }
        line.trim_ascii_start().strip_prefix(ADD_MASK)
    }

    /// Adds a text to the masker; reports one that is not masked.
    fn add_mask(&self, secret: &[u8], emit: &mut impl FnMut(&str, bool)) {
        let text = String::from_utf8_lossy(secret);
        // What GitHub's commands escape.
        let text = text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
        if let Err(why) = self.masker.add(&text) {
            emit(&format!("::add-mask:: has no effect on this text: {why}"), false);
        }
    }

    fn close(&mut self, ended: bool, emit: &mut impl FnMut(&str, bool)) {
        let mut line = std::mem::take(&mut self.open);
        if ended && line.last() == Some(&b'\r') {
            line.pop();
        }
        if let Some(secret) = self.command(&line) {
            self.add_mask(secret, emit);
        } else {
            let spans = self.spans(&line);
            emit_line(&line, &spans, &mut self.scratch, emit);
        }
        line.clear();
        self.open = line;
        self.hidden = 0;
        self.continued = false;
    }

    /// Emits the first parts of an open line that is too long already.
    fn split(&mut self, emit: &mut impl FnMut(&str, bool)) {
        self.refresh();
        // A secret that begins before a split ends at most the longest secret's length after it.
        let longest = self.matcher.longest();
        let limit = LINE_BYTES + longest;
        if self.open.len() <= limit {
            return;
        }
        if let Some(text) = self.command(&self.open) {
            // One byte too many is enough to say so at its end.
            let excess = text.len().saturating_sub(LINE_BYTES + 1);
            self.open.truncate(self.open.len() - excess);
            return;
        }
        let open = std::mem::take(&mut self.open);
        let spans = self.spans(&open);
        // What follows a split has to hold the rest of a secret: as many bytes as a reader sees.
        let seen = VisibleText::of(&open);
        let mut at = 0;
        while open.len() - at > limit && seen.bytes.len() - seen.before(at + LINE_BYTES) >= longest {
            let end = boundary(&open, at + LINE_BYTES);
            emit_part(&open, at..end, &spans, &mut self.scratch, true, emit);
            at = end;
        }
        if at > 0 {
            let cut = spans.iter().find(|span| span.start < at && at < span.end);
            self.hidden = cut.map_or(0, |span| span.end - at);
            self.continued = true;
        }
        self.open = open;
        self.open.drain(..at);
        if self.open.len() > limit {
            let VisibleText { bytes, .. } = VisibleText::of(&self.open);
            self.hidden = VisibleText::of(&self.open[..self.hidden]).bytes.len();
            self.open = bytes;
        }
    }

    /// The ranges to mask in `line`, including the rest of a secret at its beginning.
    fn spans(&self, line: &[u8]) -> Vec<Range<usize>> {
        let mut spans = self.matcher.spans(line);
        if self.hidden > 0 {
            let mut end = self.hidden.min(line.len());
            spans.retain(|span| {
                let joined = span.start <= end;
                if joined {
                    end = end.max(span.end);
                }
                !joined
            });
            spans.insert(0, 0..end);
        }
        spans
    }
}

/// Emits a complete line.
fn emit_line(line: &[u8], spans: &[Range<usize>], scratch: &mut Vec<u8>, emit: &mut impl FnMut(&str, bool)) {
    let mut at = 0;
    while line.len() - at > LINE_BYTES {
        let end = boundary(line, at + LINE_BYTES);
        emit_part(line, at..end, spans, scratch, true, emit);
        at = end;
    }
    emit_part(line, at..line.len(), spans, scratch, false, emit);
}

/// Emits the part `range` of a line.
fn emit_part(
    line: &[u8],
    range: Range<usize>,
    spans: &[Range<usize>],
    scratch: &mut Vec<u8>,
    more: bool,
    emit: &mut impl FnMut(&str, bool),
) {
    let bytes = if spans.is_empty() {
        &line[range]
    } else {
        scratch.clear();
        mask::render(line, range, spans, scratch);
        scratch
    };
    emit_text(&String::from_utf8_lossy(bytes), more, emit);
}

/// Emits `text` in as few messages as the limits allow.
fn emit_text(text: &str, more: bool, emit: &mut impl FnMut(&str, bool)) {
    let mut rest = text;
    while rest.len() > SAFE_BYTES {
        let mut escaped = 0;
        let end = rest.char_indices().find(|&(at, c)| {
            escaped += match c {
                '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
                c if c < ' ' => 6,
                c => c.len_utf8(),
            };
            escaped > BLOCK_BYTES - OVERHEAD_BYTES || at + c.len_utf8() > LINE_BYTES
        });
        let Some((end, _)) = end else { break };
        emit(&rest[..end], true);
        rest = &rest[end..];
    }
    emit(rest, more);
}

/// The last character boundary at or before `at`.
fn boundary(bytes: &[u8], at: usize) -> usize {
    (0..4)
        .map(|back| at - back)
        .find(|&at| bytes.get(at).is_none_or(|byte| byte & 0xC0 != 0x80))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests;
