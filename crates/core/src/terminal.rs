//! What a terminal makes of a text: escape sequences (ECMA-48), control characters and invisible characters.
//!
//! Whoever shows untrusted text and whoever searches it for secrets must read it in the same way.

use std::borrow::Cow;
use std::ops::Range;

/// A part of a text, by its effect on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Text that is shown, tabs included.
    Text,
    /// `\n`.
    LineEnd,
    /// A character that takes no room and moves nothing.
    ZeroWidth,
    /// Another control character, or one that changes the direction or the line breaks of the text.
    Control,
    /// An escape sequence.
    Sequence,
}

/// The parts of `text` in order; together they are the whole text. An incomplete sequence ends at the first byte that
/// cannot belong to it, and every one at the end of its line.
pub fn parts(text: &[u8]) -> impl Iterator<Item = (Range<usize>, Part)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let (len, part) = first(rest);
        let range = at..at + len;
        at = range.end;
        Some((range, part))
    })
}

/// Whether all of `text` is certainly shown as it is. Without a branch for each byte: most texts are plain.
pub fn is_plain(text: &[u8]) -> bool {
    text.chunks(256).all(|chunk| !chunk.iter().fold(false, |any, &byte| any | may_be_special(byte)))
}

/// `text` on one line, complete: what could move, hide or reorder what is displayed is written as an escape sequence of
/// Rust (`\n`, `\u{1b}`).
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_shown(c) { out.push(c) } else { out.extend(c.escape_default()) }
    }
    Cow::Owned(out)
}

/// Whether a character by itself moves, hides and reorders nothing.
fn is_shown(c: char) -> bool {
    let mut bytes = [0; 4];
    let part = parts(c.encode_utf8(&mut bytes).as_bytes()).next();
    matches!(part, Some((_, Part::Text | Part::ZeroWidth)))
}

/// Whether this byte can begin a part that is not text. Line ends are not counted.
fn may_be_special(byte: u8) -> bool {
    matches!(byte, 0..=0x08 | 0x0b..=0x1f | 0x7f | 0xc2 | 0xd8 | 0xe1 | 0xe2 | 0xef)
}

/// The length and kind of the first part of a text that is not empty.
fn first(text: &[u8]) -> (usize, Part) {
    match text {
        [0x1b, ..] => (escape(text), Part::Sequence),
        // The introducers of sequences as single characters (C1).
        [0xc2, 0x9b, rest @ ..] => (2 + control_sequence(rest), Part::Sequence),
        [0xc2, 0x90 | 0x98 | 0x9d..=0x9f, rest @ ..] => (2 + control_string(rest), Part::Sequence),
        [0xc2, 0x80..=0x9f, ..] | [0xd8, 0x9c, ..] => (2, Part::Control),
        // The soft hyphen, Mongolian and other separators, joiners, invisible operators, variation selectors.
        [0xc2, 0xad, ..] => (2, Part::ZeroWidth),
        [0xe1, 0xa0, 0x8e, ..]
        | [0xe2, 0x80, 0x8b..=0x8d, ..]
        | [0xe2, 0x81, 0xa0..=0xa4, ..]
        | [0xef, 0xb8, 0x80..=0x8f, ..] => (3, Part::ZeroWidth),
        [0xe2, 0x80, 0x8e..=0x8f | 0xa8..=0xae, ..]
        | [0xe2, 0x81, 0xa6..=0xa9, ..]
        | [0xef, 0xbb, 0xbf, ..] => (3, Part::Control),
        [b'\n', ..] => (1, Part::LineEnd),
        [0..=0x08 | 0x0b..=0x1f | 0x7f, ..] => (1, Part::Control),
        [_, rest @ ..] => {
            let shown = rest.iter().take_while(|&&byte| byte != b'\n' && !may_be_special(byte)).count();
            (1 + shown, Part::Text)
        }
        [] => (0, Part::Text),
    }
}

/// The length of the sequence that an escape character begins.
fn escape(text: &[u8]) -> usize {
    match text.get(1) {
        Some(b'[') => 2 + control_sequence(&text[2..]),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => 2 + control_string(&text[2..]),
        // Any other escape: intermediate bytes and one final byte.
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

/// The length of a command string (title, clipboard, ...) with its terminator.
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

    fn only(text: &str, wanted: Part) -> String {
        let found = parts(text.as_bytes()).filter(|(_, part)| *part == wanted);
        found.map(|(range, _)| std::str::from_utf8(&text.as_bytes()[range]).unwrap()).collect()
    }

    #[test]
    fn a_text_is_divided_as_a_terminal_reads_it() {
        for (text, shown) in [
            ("a\tb\nö✓—c", "a\tbö✓—c"),
            ("a\0b\rc\x08d\x7fe", "abcde"),
            ("\x1b[1;31mred\x1b[0m \x1b(Bplain", "red plain"),
            ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\u{9d}x\u{9c}c", "abc"),
            ("\x1b]0;no end\nnext", "next"),
            ("a\u{9b}31mb\u{85}c\u{200b}d\u{202e}e\u{feff}f\u{61c}g", "abcdefg"),
            ("\x1b", ""),
            ("\x1b[", ""),
        ] {
            assert_eq!(only(text, Part::Text), shown, "{text:?}");
            assert!(!is_plain(text.as_bytes()) || text.replace('\n', "") == shown);
            let whole = parts(text.as_bytes()).fold(0, |end, (range, _)| {
                assert_eq!(range.start, end);
                range.end
            });
            assert_eq!(whole, text.len());
        }
        assert_eq!(only("\x1b[1mx\u{9b}2J\x1b]0;t\x07", Part::Sequence), "\x1b[1m\u{9b}2J\x1b]0;t\x07");
        let hidden = "\u{ad}\u{180e}\u{200b}\u{2060}\u{2064}\u{fe0f}";
        assert_eq!(only(&format!("a{hidden}b"), Part::ZeroWidth), hidden);
        assert!(is_plain(b"plain\ttext\n") && !is_plain(&[b"x".repeat(999), b"\r".to_vec()].concat()));
    }
}
