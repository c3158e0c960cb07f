//! A stream of bytes becomes log messages: cut at line ends, secrets hidden, bounded, and always valid UTF-8.

use std::ops::Range;
use std::sync::Arc;

use bakery_core::limits::{BLOCK_BYTES, LINE_BYTES};

use crate::mask::{self, Masker};

/// Bytes that the JSON around a message may take.
const FRAME_BYTES: usize = 512;
/// A message of this length fits into a block even where each of its bytes is escaped in six.
const SAFE_BYTES: usize = (BLOCK_BYTES - FRAME_BYTES) / 6;

/// Cuts one stream into messages. Holds at most one message and the length of the longest secret, and one chunk.
///
/// A line end is `\n` or `\r\n`; a `\r` elsewhere belongs to the message. A message that is longer than [`LINE_BYTES`],
/// or that would not fit into a block once it is escaped, is cut; no cut lets a part of a secret through.
#[derive(Debug)]
pub struct Lines {
    masker: Arc<Masker>,
    /// The beginning of a line whose end has not been seen.
    open: Vec<u8>,
    /// Bytes at the beginning of `open` that belong to a secret whose beginning was in the message before.
    hidden: usize,
    /// True while `open` continues a line of which a message has been made.
    continued: bool,
    scratch: Vec<u8>,
}

impl Lines {
    /// An empty stream.
    pub fn new(masker: Arc<Masker>) -> Self {
        Self { masker, open: Vec::new(), hidden: 0, continued: false, scratch: Vec::new() }
    }

    /// Takes the next chunk; `emit` gets every message that it completes, and whether the message's line goes on.
    pub fn push(&mut self, chunk: &[u8], emit: &mut impl FnMut(&str, bool)) {
        let mut rest = chunk;
        if !self.open.is_empty() || self.continued {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.open.extend_from_slice(rest);
                return self.cut(emit);
            };
            self.open.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.close(true, emit);
        }
        // Secrets never hold a line end: one search tells about all whole lines of the chunk.
        let clean = !self.masker.finds(rest);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', rest) {
            let line = &rest[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let spans = if clean { Vec::new() } else { self.masker.spans(line) };
            whole(line, &spans, &mut self.scratch, emit);
            start = end + 1;
        }
        self.open.extend_from_slice(&rest[start..]);
        self.cut(emit);
    }

    /// Emits what has come of a line without an end, if anything has: the stream is over, or quiet for now.
    pub fn flush(&mut self, emit: &mut impl FnMut(&str, bool)) {
        if !self.open.is_empty() || self.continued {
            self.close(false, emit);
        }
    }

    fn close(&mut self, ended: bool, emit: &mut impl FnMut(&str, bool)) {
        let mut line = std::mem::take(&mut self.open);
        if ended && line.last() == Some(&b'\r') {
            line.pop();
        }
        let spans = self.spans(&line);
        whole(&line, &spans, &mut self.scratch, emit);
        line.clear();
        self.open = line;
        self.hidden = 0;
        self.continued = false;
    }

    /// Makes messages of an open line that is too long already.
    fn cut(&mut self, emit: &mut impl FnMut(&str, bool)) {
        // A secret that begins before a cut ends within the longest secret's length behind it.
        let room = LINE_BYTES + self.masker.longest();
        if self.open.len() <= room {
            return;
        }
        let open = std::mem::take(&mut self.open);
        let spans = self.spans(&open);
        let mut at = 0;
        while open.len() - at > room {
            let end = boundary(&open, at + LINE_BYTES);
            piece(&open, at..end, &spans, &mut self.scratch, true, emit);
            at = end;
        }
        self.hidden =
            spans.iter().find(|span| span.start < at && at < span.end).map_or(0, |span| span.end - at);
        self.continued = true;
        self.open = open;
        self.open.drain(..at);
    }

    /// What is to be hidden in `line`, the rest of a secret at its beginning included.
    fn spans(&self, line: &[u8]) -> Vec<Range<usize>> {
        let mut spans = self.masker.spans(line);
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

/// Emits a line whose end is known.
fn whole(line: &[u8], spans: &[Range<usize>], scratch: &mut Vec<u8>, emit: &mut impl FnMut(&str, bool)) {
    let mut at = 0;
    while line.len() - at > LINE_BYTES {
        let end = boundary(line, at + LINE_BYTES);
        piece(line, at..end, spans, scratch, true, emit);
        at = end;
    }
    piece(line, at..line.len(), spans, scratch, false, emit);
}

fn piece(
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
    fit(&String::from_utf8_lossy(bytes), more, emit);
}

/// Emits `text` in as few messages as the limits allow.
fn fit(text: &str, more: bool, emit: &mut impl FnMut(&str, bool)) {
    let mut rest = text;
    while rest.len() > SAFE_BYTES {
        let mut escaped = 0;
        let end = rest.char_indices().find(|&(at, c)| {
            escaped += match c {
                '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
                c if c < ' ' => 6,
                c => c.len_utf8(),
            };
            escaped > BLOCK_BYTES - FRAME_BYTES || at + c.len_utf8() > LINE_BYTES
        });
        let Some((end, _)) = end else { break };
        emit(&rest[..end], true);
        rest = &rest[end..];
    }
    emit(rest, more);
}

/// The last place at or before `at` that does not cut a character.
fn boundary(bytes: &[u8], at: usize) -> usize {
    (0..4)
        .map(|back| at - back)
        .find(|&at| bytes.get(at).is_none_or(|byte| byte & 0xC0 != 0x80))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests;
