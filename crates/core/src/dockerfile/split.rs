//! How an instruction is split: keyword, flags, and arguments of several forms.

use crate::dockerfile::lines::Slice;
use crate::dockerfile::text::Span;
use crate::dockerfile::tree::Word;

/// What separates words; other white space does not.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0B' | '\x0C' | '\r' | ' ')
}

impl Slice<'_> {
    pub(super) fn word(self) -> Word {
        Word { text: self.text().to_owned(), span: self.span() }
    }
}

/// The first word, and what follows the blanks after it.
pub(super) fn first_word(slice: Slice<'_>) -> (Slice<'_>, Option<Slice<'_>>) {
    let text = slice.text();
    let Some(end) = text.find(is_blank) else { return (slice, None) };
    let rest = text[end..].find(|c| !is_blank(c)).map_or(text.len(), |len| end + len);
    (slice.part(0, end), Some(slice.after(rest)))
}

/// All words.
pub(super) fn blank_words(slice: Slice<'_>) -> Vec<Slice<'_>> {
    let (mut words, mut rest) = (Vec::new(), slice);
    while !rest.text().is_empty() {
        let (word, after) = first_word(rest);
        words.push(word);
        let Some(after) = after else { break };
        rest = after;
    }
    words
}

/// A flag as it is written.
#[derive(Debug, Clone)]
pub(super) struct RawFlag<'l> {
    /// Without quotes and escape characters.
    pub(super) text: String,
    pub(super) slice: Slice<'l>,
}

impl RawFlag<'_> {
    /// Where a part of the text is written: the whole flag if quotes or escape characters were taken away before it.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        if self.text == self.slice.text() { self.slice.part(start, end).span() } else { self.slice.span() }
    }
}

/// The flags at the beginning, and what follows them.
pub(super) fn flags(slice: Slice<'_>, escape: char) -> (Vec<RawFlag<'_>>, Slice<'_>) {
    let (text, mut flags, mut at) = (slice.text(), Vec::new(), 0);
    loop {
        at = text[at..].find(|c: char| !is_blank(c)).map_or(text.len(), |len| at + len);
        if !text[at..].starts_with("--") {
            return (flags, slice.after(at));
        }
        let (flag, end) = flag(&text[at..], escape);
        let (start, end) = (at, at + end);
        if flag == "--" {
            return (flags, slice.after(end));
        }
        flags.push(RawFlag { text: flag, slice: slice.part(start, end) });
        at = end;
    }
}

/// A word without its quotes and escape characters, and where it ends.
fn flag(text: &str, escape: char) -> (String, usize) {
    let (mut word, mut quote) = (String::new(), None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if is_blank(c) => return (word, at),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            _ => word.push(c),
        }
    }
    (word, text.len())
}

/// Words with quotes in them, which stay: white space between quotes, or after the escape character, is part of a word.
pub(super) fn quoted_words(slice: Slice<'_>, escape: char) -> Vec<Slice<'_>> {
    let text = slice.text();
    let (mut words, mut begin, mut quote) = (Vec::new(), None, None);
    let mut chars = text.char_indices();
    // Without an escape character at the end, which escapes nothing.
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        let Some(start) = begin else {
            if !c.is_whitespace() {
                begin = Some(at);
                quote = (c == '\'' || c == '"').then_some(c);
                if c == escape && chars.next().is_none() {
                    end = at;
                }
            }
            continue;
        };
        match quote {
            None if c.is_whitespace() => {
                words.push(slice.part(start, at));
                begin = None;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some('\'') if c == escape => {}
            _ if c == escape => end = if chars.next().is_none() { at } else { end },
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    words.extend(begin.filter(|start| *start < end).map(|start| slice.part(start, end)));
    words
}

/// What a text in brackets is.
#[derive(Debug)]
pub(super) enum JsonList {
    /// A list of texts.
    Texts(Vec<Word>),
    /// A list with something else in it.
    Others(Span),
    /// Not JSON.
    No,
}

/// Reads a text that may be a JSON list of texts.
pub(super) fn json_list(slice: Slice<'_>) -> JsonList {
    let slice = slice.trimmed();
    let text = slice.text();
    if !text.starts_with('[') {
        return JsonList::No;
    }
    let blanks = |at: usize| {
        let rest = &text[at..];
        at + rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len()
    };
    let (mut words, mut at) = (Vec::new(), blanks(1));
    if text[at..].starts_with(']') {
        return if at + 1 == text.len() { JsonList::Texts(words) } else { JsonList::No };
    }
    loop {
        let Some((value, len)) = text[at..].strip_prefix('"').and_then(json_text) else {
            let is_json = serde_json::from_str::<Vec<serde::de::IgnoredAny>>(text).is_ok();
            return if is_json { JsonList::Others(slice.part(at, at + 1).span()) } else { JsonList::No };
        };
        let end = at + 1 + len;
        words.push(Word { text: value, span: slice.part(at, end).span() });
        at = blanks(end);
        match text.as_bytes().get(at) {
            Some(b',') => at = blanks(at + 1),
            Some(b']') if at + 1 == text.len() => return JsonList::Texts(words),
            _ => return JsonList::No,
        }
        if at == text.len() {
            return JsonList::No;
        }
    }
}

/// A JSON text after its first quote, and how long it is with the last one. Half of a surrogate pair is `U+FFFD`, as for Go.
fn json_text(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, at + 1)),
            '\0'..='\x1F' => return None,
            '\\' => match chars.next()?.1 {
                c @ ('"' | '\\' | '/') => out.push(c),
                'b' => out.push('\x08'),
                'f' => out.push('\x0C'),
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                'u' => {
                    let first = hex(&mut chars)?;
                    let mut after = chars.clone();
                    let second = match (after.next(), after.next()) {
                        (Some((_, '\\')), Some((_, 'u'))) => hex(&mut after),
                        _ => None,
                    };
                    match char::decode_utf16([first].into_iter().chain(second)).next() {
                        Some(Ok(c)) => {
                            if c.len_utf16() == 2 {
                                chars = after;
                            }
                            out.push(c);
                        }
                        _ => out.push(char::REPLACEMENT_CHARACTER),
                    }
                }
                _ => return None,
            },
            c => out.push(c),
        }
    }
    None
}

fn hex(chars: &mut std::str::CharIndices<'_>) -> Option<u16> {
    (0..4).try_fold(0, |value, _| Some(value << 4 | u16::try_from(chars.next()?.1.to_digit(16)?).ok()?))
}
