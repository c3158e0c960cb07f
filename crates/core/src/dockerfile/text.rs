//! The bytes of a Dockerfile, and where its parts are in them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::report::Location;

/// What stands before the first line and belongs to none.
const BOM: &[u8] = &[0xEF, 0xBB, 0xBF];

/// A part of the file: its bytes from `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

/// A place in the file as an editor counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// The text of a Dockerfile, byte for byte as it was given.
#[derive(Debug, Clone)]
pub struct DockerfileText {
    name: Arc<str>,
    bytes: Arc<[u8]>,
    /// Where each line begins; there is at least one.
    starts: Vec<usize>,
}

impl DockerfileText {
    pub(super) fn new(name: &str, bytes: &[u8]) -> Self {
        let first = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
        let mut starts = vec![first];
        starts.extend(memchr::memchr_iter(b'\n', bytes).map(|at| at + 1));
        Self { name: name.into(), bytes: bytes.into(), starts }
    }

    /// The name of the file as the user knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All bytes, a byte order mark included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of a part.
    pub fn bytes(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start..span.end).unwrap_or_default()
    }

    /// A part as text. A byte that is not UTF-8 is `U+FFFD`, as for BuildKit.
    pub fn text(&self, span: Span) -> Cow<'_, str> {
        let bytes = self.bytes(span);
        std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(lossy(bytes)), Cow::Borrowed)
    }

    /// The line and the column of a byte.
    pub fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts[line - 1];
        let before = self.bytes.get(start..offset).unwrap_or_default();
        Position { line, column: lossy_chars(before) + 1 }
    }

    /// Where a part begins, for a finding about `path`.
    pub(super) fn location(&self, offset: usize, path: &str) -> Location {
        let Position { line, column } = self.position(offset);
        Location { source: self.name.clone(), line, col: column, path: path.to_owned() }
    }

    /// The number of lines; the file ends with an empty one if its last line is ended.
    pub fn lines(&self) -> usize {
        self.starts.len()
    }

    /// A line (from 1) with its newline.
    pub fn line(&self, line: usize) -> Span {
        let end = self.starts.get(line).copied().unwrap_or(self.bytes.len());
        Span { start: self.starts.get(line - 1).copied().unwrap_or(end).min(end), end }
    }

    /// A part without the newlines at its end.
    pub(super) fn without_newline(&self, span: Span) -> Span {
        let bytes = self.bytes(span);
        let kept = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        Span { end: span.start + kept, ..span }
    }
}

/// One character for each byte that is not UTF-8.
pub(super) fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()));
    }
    text
}

fn lossy_chars(bytes: &[u8]) -> usize {
    bytes.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &DockerfileText, offset: usize) -> (usize, usize) {
        let Position { line, column } = text.position(offset);
        (line, column)
    }

    #[test]
    fn columns_are_characters_as_an_editor_counts_them() {
        let text = DockerfileText::new("Dockerfile", b"\xEF\xBB\xBFFROM a\r\nRUN \xC3\xBC x\xFFy\n");
        assert_eq!(at(&text, 3), (1, 1));
        assert_eq!(at(&text, 8), (1, 6));
        assert_eq!(at(&text, 11), (2, 1));
        assert_eq!(at(&text, 18), (2, 7), "after a character of two bytes");
        assert_eq!(at(&text, 20), (2, 9), "a byte that is no character is one");
        assert_eq!(text.lines(), 3);
        assert_eq!(text.bytes(text.line(1)), b"FROM a\r\n");
        assert_eq!(text.bytes(text.without_newline(text.line(1))), b"FROM a");
        assert_eq!(text.bytes(text.line(3)), b"");
        assert_eq!(text.text(text.line(2)), "RUN ü x\u{FFFD}y\n");
        let empty = DockerfileText::new("", b"");
        assert_eq!((at(&empty, 0), empty.lines()), ((1, 1), 1));
    }
}
