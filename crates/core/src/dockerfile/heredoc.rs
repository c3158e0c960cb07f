//! Heredocs: which words of an instruction begin one, and the lines that belong to it.

use std::cell::Cell;

use crate::dockerfile::lexer::{LexError, LexResult, Lexed, Lexer, Lookup, Quotes};
use crate::dockerfile::lines::{LineReader, LogicalLine};
use crate::dockerfile::text::{DockerfileText, Span};
use crate::dockerfile::tree::Heredoc;

/// The beginning of a heredoc: `0<<-"EOF"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeredocWord {
    pub(super) name: String,
    pub(super) descriptor: u64,
    pub(super) expand: bool,
    pub(super) chomp: bool,
}

/// Reads with quotes as they are or taken away, and with no variable set.
fn lexed(text: &str, quotes: Quotes, raw_escapes: bool) -> LexResult<Lexed> {
    let lookup = |_: &str| Lookup::Unset;
    // Here the escape character is always the backslash.
    let lexer = Lexer {
        escape: '\\',
        quotes,
        raw_escapes,
        keep_unset: true,
        lookup: &lookup,
        budget: &Cell::new(usize::MAX),
    };
    lexer.read(text)
}

/// The heredoc that a word begins; `None` if it begins none.
pub(super) fn heredoc_word(word: &str) -> Option<HeredocWord> {
    let digits = word.find(|c: char| !c.is_ascii_digit())?;
    let (descriptor, rest) = word.split_at(digits);
    let rest = rest.strip_prefix("<<")?;
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let rest = rest.trim_start_matches(['\t', '\n', '\x0C', '\r', ' ']);
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let (plain, quoted) = (lexed(rest, Quotes::Removed, false).ok()?, lexed(rest, Quotes::Kept, false).ok()?);
    let ([plain], [quoted]) = (&plain.words[..], &quoted.words[..]) else { return None };
    let count = |text: &str| text.matches(['\'', '"']).count();
    Some(HeredocWord {
        name: plain.text.clone(),
        descriptor: if descriptor.is_empty() { 0 } else { descriptor.parse().unwrap_or(u64::MAX) },
        expand: count(&plain.text) == count(&quoted.text),
        chomp,
    })
}

/// The words of an instruction that begin heredocs. A text whose quotes are not closed has none.
pub(super) fn heredoc_words(line: &LogicalLine) -> Result<Vec<(HeredocWord, Span)>, LexError> {
    if !line.text.contains("<<") {
        return Ok(Vec::new());
    }
    match lexed(&line.text, Quotes::Kept, true) {
        Ok(lexed) => Ok(lexed
            .words
            .iter()
            .filter_map(|word| Some((heredoc_word(&word.text)?, line.span(word.at.start, word.at.end))))
            .collect()),
        Err((error @ LexError::Deep, _)) => Err(error),
        Err(_) => Ok(Vec::new()),
    }
}

/// The lines of a heredoc; `None` if nothing ends it.
pub(super) fn heredoc(
    (word, at): (HeredocWord, Span),
    lines: &mut LineReader<'_>,
    text: &DockerfileText,
) -> Option<(Heredoc, usize)> {
    let HeredocWord { name, descriptor, expand, chomp } = word;
    let mut body: Option<Span> = None;
    while let Some((number, span)) = lines.line() {
        let terminator = text.without_newline(span);
        let bytes = text.bytes(terminator);
        let tabs = if chomp { bytes.iter().take_while(|byte| **byte == b'\t').count() } else { 0 };
        if &bytes[tabs..] == name.as_bytes() {
            let body = body.unwrap_or(Span { start: span.start, end: span.start });
            return Some((Heredoc { name, descriptor, expand, chomp, word: at, body, terminator }, number));
        }
        body = Some(Span { start: body.map_or(span.start, |body| body.start), end: span.end });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Option<(String, u64, bool, bool)> {
        heredoc_word(text).map(|it| (it.name, it.descriptor, it.expand, it.chomp))
    }

    #[test]
    fn every_form_begins_a_heredoc() {
        let is = |name: &str, descriptor, expand, chomp| Some((name.to_owned(), descriptor, expand, chomp));
        assert_eq!(word("<<EOF"), is("EOF", 0, true, false));
        assert_eq!(word("<<-EOF"), is("EOF", 0, true, true));
        assert_eq!(word("<<- \t'E O F'"), is("E O F", 0, false, true));
        assert_eq!(word("3<<\"E\"OF"), is("EOF", 3, false, false));
        assert_eq!(word("<<E\\'F"), is("E'F", 0, true, false));
        assert_eq!(word("99999999999999999999<<A"), is("A", u64::MAX, true, false));
        for text in ["", "<", "<<", "<<<A", "<<A<<B", "a<<A", "<<A B", "<<\"\"", "<<-", "<<'A", "1"] {
            assert_eq!(word(text), None, "{text}");
        }
    }
}
