//! Lines that end with the escape character continue on the next one: the text of an instruction, and where each of its
//! characters is in the file.

use crate::dockerfile::text::{DockerfileText, Span};

/// A line is at most this long for BuildKit, without its newline.
const LINE_BYTES: usize = (64 << 10) - 1;

/// The text of one instruction without its continuations.
#[derive(Debug, Default)]
pub(super) struct LogicalLine {
    pub(super) text: String,
    segments: Vec<Segment>,
    /// Where its first line begins, after white space.
    pub(super) begin: usize,
    /// Its first and its last line in the file, with the comments and empty lines between them.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Lines that have only blanks, between others.
    pub(super) empty: Vec<usize>,
    /// Lines that are too long.
    pub(super) long: Vec<usize>,
}

/// A part of the text that is a part of the file.
#[derive(Debug, Clone, Copy)]
struct Segment {
    text: usize,
    source: usize,
    /// One byte that is not UTF-8, which is a character of three bytes in the text.
    is_byte: bool,
}

impl LogicalLine {
    fn push(&mut self, bytes: &[u8], mut source: usize) {
        for chunk in bytes.utf8_chunks() {
            if !chunk.valid().is_empty() {
                self.segments.push(Segment { text: self.text.len(), source, is_byte: false });
                self.text.push_str(chunk.valid());
                source += chunk.valid().len();
            }
            for _ in chunk.invalid() {
                self.segments.push(Segment { text: self.text.len(), source, is_byte: true });
                self.text.push(char::REPLACEMENT_CHARACTER);
                source += 1;
            }
        }
    }

    /// The byte of the file at which the character at `offset` of the text begins.
    fn source(&self, offset: usize) -> usize {
        let after = self.segments.partition_point(|segment| segment.text <= offset);
        let Some(segment) = after.checked_sub(1).and_then(|at| self.segments.get(at)) else {
            return self.begin;
        };
        segment.source + if segment.is_byte { 0 } else { offset - segment.text }
    }

    /// The part of the file that holds a part of the text, with the continuations in it.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        if start >= end {
            // An empty part stands after the character before it.
            let at = self.end_of(start);
            return Span { start: at, end: at };
        }
        Span { start: self.source(start), end: self.end_of(end) }
    }

    /// The byte of the file after the character that ends at `offset` of the text.
    fn end_of(&self, offset: usize) -> usize {
        let after = self.segments.partition_point(|segment| segment.text < offset);
        match after.checked_sub(1).and_then(|at| self.segments.get(at)) {
            Some(segment) if segment.is_byte => segment.source + 1,
            Some(segment) => segment.source + offset - segment.text,
            None => self.begin,
        }
    }

    /// All of it.
    pub(super) fn slice(&self) -> Slice<'_> {
        Slice { line: self, start: 0, end: self.text.len() }
    }
}

/// A part of a logical line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice<'l> {
    line: &'l LogicalLine,
    start: usize,
    end: usize,
}

impl<'l> Slice<'l> {
    pub(super) fn text(self) -> &'l str {
        &self.line.text[self.start..self.end]
    }

    pub(super) fn span(self) -> Span {
        self.line.span(self.start, self.end)
    }

    /// A part of it, from one offset to before another.
    pub(super) fn part(self, start: usize, end: usize) -> Self {
        Self { start: self.start + start, end: self.start + end, ..self }
    }

    /// What follows an offset.
    pub(super) fn after(self, start: usize) -> Self {
        self.part(start, self.end - self.start)
    }

    /// Without white space at both ends.
    pub(super) fn trimmed(self) -> Self {
        let text = self.text();
        let start = text.len() - text.trim_start().len();
        self.part(start, start + text[start..].trim_end().len())
    }
}

/// The lines of a file, one after the other.
#[derive(Debug)]
pub(super) struct LineReader<'t> {
    text: &'t DockerfileText,
    /// The next line, from 1.
    next: usize,
}

impl<'t> LineReader<'t> {
    pub(super) fn new(text: &'t DockerfileText) -> Self {
        Self { text, next: 1 }
    }

    /// The next line with its newline, and its number; `None` at the end of the file.
    pub(super) fn line(&mut self) -> Option<(usize, Span)> {
        let span = self.text.line(self.next);
        if span.start == span.end {
            return None;
        }
        self.next += 1;
        Some((self.next - 1, span))
    }

    /// Where the next line is, to come back to it.
    pub(super) fn mark(&self) -> usize {
        self.next
    }

    /// Goes back to a line.
    pub(super) fn back_to(&mut self, mark: usize) {
        self.next = mark;
    }

    /// The instruction that begins on this line, with the lines on which it continues.
    pub(super) fn logical(&mut self, (number, span): (usize, Span), escape: char) -> LogicalLine {
        let bytes = self.text.bytes(self.text.without_newline(span));
        let indent = bytes.len() - without_indent(bytes).len();
        let begin = span.start + indent;
        let mut line = LogicalLine { begin, first: number, last: number, ..LogicalLine::default() };
        let mut continues = line.add(&bytes[indent..], begin, escape);
        line.check_length(span, self.text);
        while continues {
            let Some((number, span)) = self.line() else { break };
            line.last = number;
            let bytes = self.text.bytes(self.text.without_newline(span));
            let begins = without_indent(bytes);
            line.check_length(span, self.text);
            if begins.is_empty() {
                line.empty.push(number);
            } else if !begins.starts_with(b"#") {
                continues = line.add(bytes, span.start, escape);
            }
        }
        line
    }
}

impl LogicalLine {
    /// Adds a line; whether it continues on the next.
    fn add(&mut self, bytes: &[u8], source: usize, escape: char) -> bool {
        let kept = continued(bytes, escape);
        self.push(kept.unwrap_or(bytes), source);
        kept.is_some()
    }

    fn check_length(&mut self, span: Span, text: &DockerfileText) {
        let bytes = text.bytes(span);
        if bytes.strip_suffix(b"\n").unwrap_or(bytes).len() > LINE_BYTES {
            self.long.push(self.last);
        }
    }
}

/// The text before the escape character at the end of a line, after which there may be blanks; `None` if there is none,
/// or if it is escaped itself.
fn continued(bytes: &[u8], escape: char) -> Option<&[u8]> {
    let escape = u8::try_from(escape).ok()?;
    let end = bytes.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'))?;
    (bytes[end] == escape && (end == 0 || bytes[end - 1] != escape)).then(|| &bytes[..end])
}

/// The same for a text.
#[cfg(test)]
pub(super) fn continuation(text: &str, escape: char) -> Option<&str> {
    continued(text.as_bytes(), escape).and_then(|kept| text.get(..kept.len()))
}

/// A part that ends with the escape character, without it.
pub(super) fn without_continuation(slice: Slice<'_>, escape: char) -> Slice<'_> {
    continued(slice.text().as_bytes(), escape).map_or(slice, |kept| slice.part(0, kept.len()))
}

/// A line without the white space at its beginning.
pub(super) fn without_indent(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    loop {
        // Decoding a few bytes is enough: a line may be long.
        let head = &rest[..rest.len().min(4)];
        let valid = head.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        match valid.chars().next() {
            Some(c) if c.is_whitespace() => rest = &rest[c.len_utf8()..],
            _ => return rest,
        }
    }
}
