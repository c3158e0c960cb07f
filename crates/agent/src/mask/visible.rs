//! The part of a text that a reader sees: without control characters, escape sequences and invisible characters.
//!
//! A secret with such bytes inside it would not be found, and a terminal, or the client, would still show it whole.

use std::ops::Range;

/// What a reader sees of a text, and where it stands in the text.
#[derive(Debug, Default)]
pub(crate) struct VisibleText {
    pub(crate) bytes: Vec<u8>,
    /// The offset of each of the bytes.
    offsets: Vec<usize>,
}

impl VisibleText {
    /// What a reader sees of `text`.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut visible = Self::default();
        each(text, |at| {
            visible.bytes.push(text[at]);
            visible.offsets.push(at);
        });
        visible
    }

    /// The range of the text for a range of the visible bytes that is not empty.
    pub(crate) fn range(&self, visible: Range<usize>) -> Range<usize> {
        self.offsets[visible.start]..self.offsets[visible.end - 1] + 1
    }

    /// How many visible bytes there are before an offset of the text.
    pub(crate) fn before(&self, offset: usize) -> usize {
        self.offsets.partition_point(|at| *at < offset)
    }
}

/// The visible bytes of `text`; lines stay lines.
pub(crate) fn visible(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    each(text, |at| bytes.push(text[at]));
    bytes
}

/// Whether all of `text` is certainly visible. Without a branch for each byte: most of a log is plain text.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let may_hide = |byte: u8| matches!(byte, 0..=0x08 | 0x0b..=0x1f | 0x7f | 0xc2 | 0xd8 | 0xe2 | 0xef);
    text.chunks(256).all(|chunk| !chunk.iter().fold(false, |any, &byte| any | may_hide(byte)))
}

/// Calls `take` with the offset of each visible byte.
fn each(text: &[u8], mut take: impl FnMut(usize)) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        at += match (byte, rest) {
            (0x1b, _) => escape(rest),
            // The introducers of sequences as single characters (C1).
            (0xc2, [_, 0x9b, ..]) => 2 + control_sequence(&rest[2..]),
            (0xc2, [_, 0x90 | 0x98 | 0x9d..=0x9f, ..]) => 2 + control_string(&rest[2..]),
            (0xc2, [_, 0x80..=0x9f, ..]) | (0xd8, [_, 0x9c, ..]) => 2,
            (0xe2, [_, 0x80, 0x8b..=0x8f | 0xa8..=0xae, ..] | [_, 0x81, 0xa0 | 0xa6..=0xa9, ..])
            | (0xef, [_, 0xbb, 0xbf, ..]) => 3,
            (b'\n' | b'\t', _) => {
                take(at);
                1
            }
            (..0x20 | 0x7f, _) => 1,
            _ => {
                take(at);
                1
            }
        };
    }
}

/// The length of the sequence that an escape character begins.
fn escape(text: &[u8]) -> usize {
    match text.get(1) {
        Some(b'[') => 2 + control_sequence(&text[2..]),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => 2 + control_string(&text[2..]),
        _ => {
            let between = text[1..].iter().take_while(|byte| (b' '..=b'/').contains(byte)).count();
            let last = text.get(1 + between).is_some_and(|byte| (b'0'..=b'~').contains(byte));
            1 + between + usize::from(last)
        }
    }
}

/// The length of parameters and final byte.
fn control_sequence(text: &[u8]) -> usize {
    let params = text.iter().take_while(|byte| (b' '..=b'?').contains(byte)).count();
    params + usize::from(text.get(params).is_some_and(|byte| (b'@'..=b'~').contains(byte)))
}

/// The length of a command string with its terminator; it ends with the line at the latest.
fn control_string(text: &[u8]) -> usize {
    let end = (0..text.len()).find_map(|at| match &text[at..] {
        [b'\n', ..] => Some(at),
        [0x07, ..] => Some(at + 1),
        [0x1b, b'\\', ..] | [0xc2, 0x9c, ..] => Some(at + 2),
        _ => None,
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_reader_sees_is_left() {
        for (text, seen) in [
            ("a\tb\nö✓—c", "a\tb\nö✓—c"),
            ("a\0b\rc\x08d\x7fe", "abcde"),
            ("\x1b[1;31mred\x1b[0m \x1b(Bplain", "red plain"),
            ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\u{9d}x\u{9c}c", "abc"),
            ("\x1b]0;no end\nnext", "\nnext"),
            ("a\u{9b}31mb\u{85}c\u{200b}d\u{202e}e\u{feff}f\u{61c}g", "abcdefg"),
            ("\x1b", ""),
            ("\x1b[", ""),
        ] {
            assert_eq!(visible(text.as_bytes()), seen.as_bytes(), "{text:?}");
            assert!(!is_plain(text.as_bytes()) || text == seen);
        }
        assert!(
            is_plain("plain\ttext\n".as_bytes()) && !is_plain(&[b"x".repeat(999), b"\r".to_vec()].concat())
        );
        let text = VisibleText::of(b"a\x1b[1mbc\0d");
        assert_eq!((text.range(1..4), text.before(5)), (5..9, 1));
    }
}
