//! One line of an ignore file, compiled.

use std::fmt;

/// One element of a compiled pattern. Characters are `u32` so that bytes outside UTF-8 keep an identity of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(u32),
    /// `?`: one character other than the slash.
    AnyChar,
    /// `*`: any characters other than the slash.
    Star,
    /// `**` before something: nothing, or anything that ends with a slash.
    Folders,
    /// `**` at the end: anything.
    Rest,
    /// `[a-z]`, `[^a-z]`; as in moby a slash may be a member.
    Class {
        negated: bool,
        ranges: Vec<(u32, u32)>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// No wildcard at all.
    Exact(Vec<u8>),
    /// Literal text, then `**`: a byte prefix, not a folder (`foo**` matches `foobar/x`).
    Prefix(Vec<u8>),
    /// `**`, then literal text: a byte suffix (`**foo` matches `barfoo`); `**/foo` also matches `foo` itself.
    Suffix(Vec<u8>),
    Glob(Vec<Token>),
}

/// One rule of an ignore file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    form: Form,
    exception: bool,
}

/// Why a pattern is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPattern {
    /// `!` without a pattern.
    EmptyException,
    /// `[` without its `]`, an empty class or an incomplete range.
    Class,
    /// `\` as the last character.
    Escape,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyException => "a pattern is missing after `!`",
            Self::Class => "the character class after `[` is not complete (example: `[a-z]`)",
            Self::Escape => "the `\\` at the end escapes nothing",
        })
    }
}

impl Pattern {
    /// Compiles a cleaned pattern (see [`super::IgnoreFile`]); a leading `!` makes it an exception.
    pub(super) fn compile(text: &[u8]) -> Result<Self, BadPattern> {
        let (exception, text) = match text {
            [b'!', rest @ ..] => (true, rest),
            all => (false, all),
        };
        if exception && text.is_empty() {
            return Err(BadPattern::EmptyException);
        }
        Ok(Self { form: form(text)?, exception })
    }

    /// Whether this is a `!` rule.
    pub fn is_exception(&self) -> bool {
        self.exception
    }

    /// Whether the rule matches exactly this path (slashes between its parts, none around them).
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.form {
            Form::Exact(text) => text == path,
            Form::Prefix(text) => path.starts_with(text),
            Form::Suffix(text) => path.ends_with(text) || text.strip_prefix(b"/") == Some(path),
            Form::Glob(tokens) => {
                literal_start_agrees(tokens, path)
                    && run(tokens, path).is_some_and(|states| states[tokens.len()])
            }
        }
    }

    /// Whether the rule may match a path below this folder. May be wrongly `true`, never wrongly `false`.
    pub fn may_match_below(&self, folder: &[u8]) -> bool {
        let inside = [folder, b"/"].concat();
        match &self.form {
            Form::Exact(text) => text.starts_with(&inside),
            Form::Prefix(text) => text.starts_with(&inside) || inside.starts_with(text),
            Form::Suffix(_) => true,
            Form::Glob(tokens) => run(tokens, &inside).is_some(),
        }
    }
}

fn form(text: &[u8]) -> Result<Form, BadPattern> {
    let tokens = tokenise(text)?;
    let literal = |tokens: &[Token]| tokens.iter().all(|token| matches!(token, Token::Char(_)));
    // moby has these special cases too, with slightly different results; it skips them if the pattern has an escape.
    if !text.contains(&b'\\') && !text.contains(&b']') {
        match tokens.as_slice() {
            all if literal(all) => return Ok(Form::Exact(text.to_vec())),
            [Token::Folders | Token::Rest, rest @ ..] if literal(rest) => {
                return Ok(Form::Suffix(text[2..].to_vec()));
            }
            [start @ .., Token::Rest] if literal(start) => {
                let end = text.iter().position(|&byte| byte == b'*').unwrap_or(text.len());
                return Ok(Form::Prefix(text[..end].to_vec()));
            }
            _ => {}
        }
    }
    Ok(Form::Glob(tokens))
}

fn tokenise(text: &[u8]) -> Result<Vec<Token>, BadPattern> {
    let chars = characters(text);
    let mut rest = chars.as_slice();
    let mut tokens = Vec::with_capacity(rest.len());
    while let [first, after @ ..] = rest {
        rest = after;
        tokens.push(match char::from_u32(*first) {
            Some('*') if rest.first() == Some(&u32::from(b'*')) => {
                rest = &rest[1..];
                if rest.first() == Some(&u32::from(b'/')) {
                    rest = &rest[1..];
                }
                if rest.is_empty() { Token::Rest } else { Token::Folders }
            }
            Some('*') => Token::Star,
            Some('?') => Token::AnyChar,
            Some('\\') => {
                let (escaped, after) = rest.split_first().ok_or(BadPattern::Escape)?;
                rest = after;
                Token::Char(*escaped)
            }
            Some('[') => class(&mut rest)?,
            _ => Token::Char(*first),
        });
    }
    Ok(tokens)
}

/// The grammar of Go's `filepath.Match`: `[` [ `^` ] { character | lo `-` hi } `]`.
fn class(rest: &mut &[u32]) -> Result<Token, BadPattern> {
    let negated = rest.first() == Some(&u32::from(b'^'));
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&u32::from(b']')) && !ranges.is_empty() {
            *rest = &rest[1..];
            return Ok(Token::Class { negated, ranges });
        }
        let low = member(rest)?;
        let mut high = low;
        if rest.first() == Some(&u32::from(b'-')) {
            *rest = &rest[1..];
            high = member(rest)?;
        }
        if high < low {
            return Err(BadPattern::Class);
        }
        ranges.push((low, high));
    }
}

fn member(rest: &mut &[u32]) -> Result<u32, BadPattern> {
    let (&first, after) = rest.split_first().ok_or(BadPattern::Class)?;
    *rest = after;
    match char::from_u32(first) {
        Some('-' | ']') => Err(BadPattern::Class),
        Some('\\') => {
            let (&escaped, after) = rest.split_first().ok_or(BadPattern::Class)?;
            *rest = after;
            Ok(escaped)
        }
        _ => Ok(first),
    }
}

/// The characters of a path; a byte that is not UTF-8 becomes a character outside of Unicode.
fn characters(bytes: &[u8]) -> Vec<u32> {
    let mut all = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        all.extend(chunk.valid().chars().map(u32::from));
        all.extend(chunk.invalid().iter().map(|&byte| 0x11_0000 + u32::from(byte)));
    }
    all
}

/// Rejects most paths without running the automaton.
fn literal_start_agrees(tokens: &[Token], path: &[u8]) -> bool {
    let ascii = tokens.iter().map_while(|token| match token {
        Token::Char(c) if *c < 0x80 => u8::try_from(*c).ok(),
        _ => None,
    });
    let mut bytes = path.iter();
    ascii.into_iter().all(|want| bytes.next() == Some(&want))
}

/// Runs the pattern as an automaton with all alternatives in parallel: linear in the path, whatever the pattern.
/// Returns the states that are active after the last character; `None` as soon as none is.
fn run(tokens: &[Token], text: &[u8]) -> Option<Vec<bool>> {
    const SLASH: u32 = b'/' as u32;
    let mut now = vec![false; tokens.len() + 1];
    enter(tokens, &mut now, 0);
    let mut next = vec![false; tokens.len() + 1];
    for c in characters(text) {
        next.fill(false);
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| now[*at]) {
            let (stays, advances) = match token {
                Token::Char(want) => (false, *want == c),
                Token::AnyChar => (false, c != SLASH),
                Token::Star => (c != SLASH, c != SLASH),
                Token::Folders => (true, c == SLASH),
                Token::Rest => (true, true),
                Token::Class { negated, ranges } => {
                    (false, ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated)
                }
            };
            next[at] |= stays;
            if advances {
                enter(tokens, &mut next, at + 1);
            }
        }
        std::mem::swap(&mut now, &mut next);
        if !now.contains(&true) {
            return None;
        }
    }
    Some(now)
}

/// Activates the state before token `at`, and those after tokens that may match nothing.
fn enter(tokens: &[Token], states: &mut [bool], mut at: usize) {
    states[at] = true;
    while matches!(tokens.get(at), Some(Token::Star | Token::Folders | Token::Rest)) {
        at += 1;
        states[at] = true;
    }
}
