//! Removes escape sequences from untrusted text, except for colours.
//!
//! Log text comes from inside builds. Cursor movements, titles, clipboard and hyperlink commands, carriage returns and
//! direction overrides could change what is already displayed, so only harmless SGR sequences (ECMA-48, 8.3.117: colours,
//! bold, faint, italic, underlined, negative) are kept.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::CharIndices;

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
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\x1b' => {
                if let Some(sgr) = escape(text, at, &mut chars).filter(|_| colours == Colours::Keep) {
                    out.push_str(sgr);
                }
            }
            // The same introducers as single characters (C1). Colours in this form are rare and are removed too.
            '\u{9b}' => {
                control_sequence(&mut chars);
            }
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => control_string(&mut chars),
            c if is_unsafe(c) => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// `text` on one line, complete: what could move, hide or reorder what is displayed is written as an escape sequence of
/// Rust (`\n`, `\u{1b}`).
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Control characters except the tab, and characters that change the direction or the line breaks of the text.
fn is_unsafe(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    invisible || (c.is_control() && c != '\t')
}

/// Reads the sequence after an escape character. Returns the whole sequence if it is a harmless SGR sequence.
fn escape<'a>(text: &'a str, at: usize, chars: &mut Peekable<CharIndices<'_>>) -> Option<&'a str> {
    match chars.peek()?.1 {
        '[' => {
            chars.next();
            let end = control_sequence(chars)?;
            let sequence = &text[at..end];
            let params = sequence.strip_prefix("\x1b[")?.strip_suffix('m')?;
            (sequence.len() <= SEQUENCE_BYTES && is_harmless(params)).then_some(sequence)
        }
        ']' | 'P' | 'X' | '^' | '_' => {
            chars.next();
            control_string(chars);
            None
        }
        // Any other escape: intermediate bytes and one final byte.
        _ => {
            while chars.next_if(|(_, c)| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|(_, c)| ('0'..='~').contains(c));
            None
        }
    }
}

/// Reads up to the final byte of a control sequence and returns the offset behind it. An incomplete sequence ends at the
/// first invalid character.
fn control_sequence(chars: &mut Peekable<CharIndices<'_>>) -> Option<usize> {
    while chars.next_if(|(_, c)| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|(_, c)| ('@'..='~').contains(c)).map(|(at, c)| at + c.len_utf8())
}

/// Reads a command string (title, clipboard, ...) up to its terminator or the end of the text.
fn control_string(chars: &mut Peekable<CharIndices<'_>>) {
    while let Some((_, c)) = chars.next() {
        match c {
            '\x07' | '\u{9c}' => return,
            '\x1b' if chars.next_if(|(_, c)| *c == '\\').is_some() => return,
            _ => {}
        }
    }
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
