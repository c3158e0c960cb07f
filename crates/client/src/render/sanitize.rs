//! Removes escape sequences from untrusted text, except for colours.
//!
//! Log text comes from inside builds. Cursor movements, titles, clipboard and hyperlink commands, carriage returns and
//! direction overrides could change what is already displayed, so only harmless SGR sequences (ECMA-48, 8.3.117: colours,
//! bold, faint, italic, underlined, negative) are kept.

use std::borrow::Cow;
use std::ops::Range;

use bakery_core::terminal::{self, Part};

/// Resets all colours.
pub(super) const RESET: &str = "\x1b[0m";
/// Maximum length of a colour sequence in bytes.
const SEQUENCE_BYTES: usize = 64;

/// Whether colours are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Colours are kept.
    Keep,
    /// Colours are removed like all other sequences.
    Strip,
}

/// `text` without anything that could move, hide or reorder what is displayed. Tabs are kept.
pub fn clean(text: &str, colours: Colours) -> Cow<'_, str> {
    let is_kept = |range: &Range<usize>, part| match part {
        Part::Text | Part::ZeroWidth => true,
        Part::Sequence => colours == Colours::Keep && is_harmless_sgr(&text[range.clone()]),
        Part::Control | Part::LineEnd => false,
    };
    let parts = || terminal::parts(text.as_bytes());
    if parts().all(|(range, part)| is_kept(&range, part)) {
        return Cow::Borrowed(text);
    }
    let kept = parts().filter(|(range, part)| is_kept(range, *part));
    Cow::Owned(kept.map(|(range, _)| &text[range]).collect())
}

/// Whether a sequence is one of those that are kept. Colours as single characters (C1) are rare, and not among them.
fn is_harmless_sgr(sequence: &str) -> bool {
    let params = sequence.strip_prefix("\x1b[").and_then(|rest| rest.strip_suffix('m'));
    sequence.len() <= SEQUENCE_BYTES && params.is_some_and(is_harmless)
}

/// Whether the SGR parameters only change the look of characters and keep them visible; concealed (8) and blinking text
/// are not allowed.
fn is_harmless(params: &str) -> bool {
    let mut rest = params.split([';', ':']).map(|param| match param {
        "" => Some(0_u16),
        param => param.parse().ok(),
    });
    while let Some(param) = rest.next() {
        let allowed = match param {
            Some(38 | 48 | 58) => match rest.next().flatten() {
                Some(5) => rest.next().flatten().is_some(),
                Some(2) => (0..3).all(|_| rest.next().flatten().is_some()),
                _ => false,
            },
            Some(param) => {
                matches!(param, 0..=4 | 7 | 9 | 21..=25 | 27 | 29..=37 | 39..=47 | 49 | 59 | 90..=97 | 100..=107)
            }
            None => false,
        };
        if !allowed {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Cow<'_, str> {
        clean(text, Colours::Keep)
    }

    #[test]
    fn only_colours_are_kept() {
        for colour in ["\x1b[31m", "\x1b[m", "\x1b[1;38;5;200m", "\x1b[48;2;1;2;3m", "\x1b[0;97m"] {
            assert_eq!(kept(&format!("a{colour}b")), format!("a{colour}b"), "{colour:?}");
            assert_eq!(clean(&format!("a{colour}b"), Colours::Strip), "ab", "{colour:?}");
        }
        for other in [
            "\x1b[2J",
            "\x1b[1A",
            "\x1b[K",
            "\x1b[?25l",
            "\x1b[6n",
            "\x1b[8m",
            "\x1b[38;5m",
            "\x1b[5m",
            "\x1b[>4;2m",
            "\x1b]0;title\x07",
            "\x1b]52;c;aGk=\x1b\\",
            "\x1b]8;;http://a.test\x1b\\",
            "\x1bP1$r\x1b\\",
            "\x1b_x\u{9c}",
            "\x1bc",
            "\x1b(0",
            "\x1b7",
            "\u{9b}2J",
            "\u{9d}0;t\x07",
            "\u{85}",
            "\r",
            "\x08",
            "\x07",
            "\0",
            "\x7f",
            "\n",
            "\u{202e}",
            "\u{2066}",
            "\u{200f}",
            "\u{2028}",
            "\u{feff}",
            "\u{61c}",
        ] {
            assert_eq!(kept(&format!("a{other}b")), "ab", "{other:?}");
        }
    }

    #[test]
    fn incomplete_sequences_do_not_remove_other_text() {
        assert_eq!(kept("a\x1b"), "a");
        assert_eq!(kept("a\x1b[31"), "a");
        assert_eq!(kept("a\x1b[31\u{e4}b"), "a\u{e4}b");
        assert_eq!(kept("a\x1b\x1b[31mb"), "a\x1b[31mb");
        let long = format!("a\x1b[{}mb", "0;".repeat(200));
        assert_eq!(kept(&long), "ab");
    }

    #[test]
    fn ordinary_text_is_not_copied() {
        assert!(matches!(kept("\tnaïve ☃ text"), Cow::Borrowed(_)));
    }
}
