//! BuildKit's shell lexer: takes quotes away, replaces variables, and splits into words.
//!
//! `$NAME`, `${NAME}`, and `${NAME` followed by an operator, a text and `}`: `:-`, `-`, `:+`, `+`, `:?` and `?` as in a
//! shell; `#`, `##`, `%` and `%%` take a pattern away; `/pattern/text` and `//pattern/text` replace it. A variable that
//! nobody knows (it may come from the base image) makes what depends on it unknown, and nothing else.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;

use thiserror::Error;

use crate::limits;

mod variable;

/// Maximum nesting depth of variables.
const DEPTH: usize = 64;

/// What is known about a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup<'v> {
    Set(&'v str),
    Unset,
    /// It may be set in the base image.
    Unknown,
}

/// What becomes of quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// They are taken away.
    Removed,
    /// They stay.
    Kept,
    /// They mean nothing, as in the body of a heredoc.
    Ordinary,
}

/// How a text is read.
#[derive(Clone, Copy)]
pub(super) struct Lexer<'v> {
    /// The escape character.
    pub(super) escape: char,
    pub(super) quotes: Quotes,
    /// Escape characters stay.
    pub(super) raw_escapes: bool,
    /// What is not set stays as it is written.
    pub(super) keep_unset: bool,
    /// The values of variables.
    pub(super) lookup: &'v dyn Fn(&str) -> Lookup<'v>,
    /// Bytes that may still be read and put in place of variables. It gets less.
    pub(super) budget: &'v Cell<usize>,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lexed {
    /// The text as one value.
    pub(super) text: String,
    /// The same split at white space outside of quotes.
    pub(super) words: Vec<LexedWord>,
    /// The variables that nobody knows; if there are any, `text` and `words` mean nothing.
    pub(super) unknown: BTreeSet<String>,
    /// The variables that are not set.
    pub(super) unset: BTreeSet<String>,
}

/// One of several words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LexedWord {
    pub(super) text: String,
    /// Where it is in what was read.
    pub(super) at: Range<usize>,
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum LexError {
    #[error("a {0} has no closing {0}")]
    Quote(char),
    #[error("`${{` has no closing `}}`")]
    Brace,
    #[error("`${{NAME/pattern` has no `/` after the pattern")]
    Slash,
    #[error("`${{` is not followed by a variable's name")]
    Name,
    #[error("`${{{name}{operator}` is not a valid expression")]
    Operator { name: String, operator: String },
    #[error("the variable {name} {}", required(why, *is_set))]
    Required { name: String, why: String, is_set: bool },
    #[error("in the pattern of a variable, `\\` does not stand before `*`, `?` or `\\`")]
    Pattern,
    #[error("variables are nested deeper than {DEPTH} levels")]
    Deep,
    #[error("with its variables replaced, the file has more than {} bytes", limits::INTERPOLATED_BYTES)]
    Long,
}

fn required(why: &str, is_set: bool) -> String {
    match (why, is_set) {
        ("", true) => "is empty, and must have a value".to_owned(),
        ("", false) => "is not set, and must have a value".to_owned(),
        (why, _) => format!("is required: {why}"),
    }
}

/// An error, and the byte at which it was found.
pub(super) type LexResult<T> = Result<T, (LexError, usize)>;

impl Lexer<'_> {
    /// Reads a text.
    pub(super) fn read(&self, text: &str) -> LexResult<Lexed> {
        let mut run = LexerRun {
            lexer: self,
            text,
            // As Go's scanner does it.
            at: if text.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 },
            raw_escapes: self.raw_escapes,
            depth: 0,
            buffer: String::new(),
            unset: BTreeSet::new(),
        };
        run.charge(text.len())?;
        let (piece, words) = run.until(None, self.raw_escapes)?;
        Ok(Lexed { text: piece.text, words, unknown: piece.unknown, unset: run.unset })
    }
}

/// A part of the result.
#[derive(Default)]
struct Piece {
    text: String,
    unknown: BTreeSet<String>,
}

impl Piece {
    fn push(&mut self, other: Self) {
        self.text.push_str(&other.text);
        self.unknown.extend(other.unknown);
    }
}

impl From<String> for Piece {
    fn from(text: String) -> Self {
        Self { text, unknown: BTreeSet::new() }
    }
}

/// A text that is being read.
struct LexerRun<'r, 'v> {
    lexer: &'r Lexer<'v>,
    text: &'r str,
    at: usize,
    raw_escapes: bool,
    depth: usize,
    /// The word that is being read. There is one for all levels: a variable with a default cuts the word before it, for
    /// BuildKit too.
    buffer: String,
    unset: BTreeSet<String>,
}

/// The words of one level.
#[derive(Default)]
struct WordList {
    words: Vec<LexedWord>,
    in_word: bool,
    begin: usize,
}

impl WordList {
    fn raw(&mut self, text: &str, buffer: &mut String, at: usize) {
        if buffer.is_empty() {
            self.begin = at;
        }
        buffer.push_str(text);
        self.in_word = true;
    }

    fn char(&mut self, c: char, buffer: &mut String, at: usize) {
        if !c.is_whitespace() {
            self.raw(c.encode_utf8(&mut [0; 4]), buffer, at);
        } else if self.in_word && !buffer.is_empty() {
            self.end(buffer, at);
        }
    }

    fn end(&mut self, buffer: &mut String, at: usize) {
        if !buffer.is_empty() {
            self.words.push(LexedWord { text: std::mem::take(buffer), at: self.begin..at });
            self.in_word = false;
        }
    }
}

impl LexerRun<'_, '_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Takes from the budget.
    fn charge(&self, bytes: usize) -> LexResult<()> {
        match self.lexer.budget.get().checked_sub(bytes) {
            Some(rest) => {
                self.lexer.budget.set(rest);
                Ok(())
            }
            None => self.error(LexError::Long),
        }
    }

    fn error<T>(&self, error: LexError) -> LexResult<T> {
        Err((error, self.at))
    }

    /// Everything until a character, which is taken too, or until the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> LexResult<(Piece, Vec<LexedWord>)> {
        if self.depth > DEPTH {
            return self.error(LexError::Deep);
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let result = self.until_stop(stop);
        self.raw_escapes = outer;
        self.depth -= 1;
        result
    }

    fn until_stop(&mut self, stop: Option<char>) -> LexResult<(Piece, Vec<LexedWord>)> {
        let (mut piece, mut list) = (Piece::default(), WordList::default());
        self.buffer.clear();
        while let Some(c) = self.peek() {
            let at = self.at;
            match c {
                _ if Some(c) == stop => {
                    self.next();
                    list.end(&mut self.buffer, at);
                    return Ok((piece, list.words));
                }
                '$' => {
                    let found = self.dollar()?;
                    for c in found.text.chars() {
                        list.char(c, &mut self.buffer, at);
                    }
                    piece.push(found);
                }
                '<' | '\'' | '"' if c == '<' || self.lexer.quotes != Quotes::Ordinary => {
                    let found = match c {
                        '<' => self.angle(),
                        '\'' => self.single_quote()?,
                        _ => self.double_quote()?,
                    };
                    list.raw(&found.text, &mut self.buffer, at);
                    piece.push(found);
                }
                c if c == self.lexer.escape => {
                    self.next();
                    if self.raw_escapes {
                        list.raw(c.encode_utf8(&mut [0; 4]), &mut self.buffer, at);
                        piece.text.push(c);
                    }
                    let Some(c) = self.next() else { break };
                    list.raw(c.encode_utf8(&mut [0; 4]), &mut self.buffer, at);
                    piece.text.push(c);
                }
                c => {
                    self.next();
                    list.char(c, &mut self.buffer, at);
                    piece.text.push(c);
                }
            }
        }
        if stop.is_some() {
            return self.error(LexError::Brace);
        }
        list.end(&mut self.buffer, self.at);
        Ok((piece, list.words))
    }

    fn single_quote(&mut self) -> LexResult<Piece> {
        let start = self.at + 1;
        let Some(len) = self.text[start..].find('\'') else { return self.error(LexError::Quote('\'')) };
        let (from, to) = if self.lexer.quotes == Quotes::Kept {
            (start - 1, start + len + 1)
        } else {
            (start, start + len)
        };
        let text = self.text[from..to].to_owned();
        self.at = start + len + 1;
        Ok(text.into())
    }

    fn double_quote(&mut self) -> LexResult<Piece> {
        let start = self.at;
        self.next();
        let quote = if self.lexer.quotes == Quotes::Kept { "\"" } else { "" };
        let mut piece = Piece::from(quote.to_owned());
        let escape = self.lexer.escape;
        while let Some(c) = self.peek() {
            if c == '$' {
                piece.push(self.dollar()?);
                continue;
            }
            self.next();
            if c == '"' {
                piece.text.push_str(quote);
                return Ok(piece);
            }
            if c == escape {
                if self.raw_escapes {
                    piece.text.push(c);
                }
                match self.peek() {
                    // The escape character at the end is left out.
                    None => continue,
                    Some(next) if next == '"' || next == '$' || next == escape => {
                        self.next();
                        piece.text.push(next);
                        continue;
                    }
                    Some(_) => {}
                }
            }
            piece.text.push(c);
        }
        Err((LexError::Quote('"'), start))
    }

    /// `<<` and the blanks after it belong to the word that follows; a single `<` is itself.
    fn angle(&mut self) -> Piece {
        let start = self.at;
        self.next();
        if self.peek() == Some('<') {
            self.next();
            while matches!(self.peek(), Some('\t' | '\r' | ' ')) {
                self.next();
            }
        }
        self.text[start..self.at].to_owned().into()
    }
}
