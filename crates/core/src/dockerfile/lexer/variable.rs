//! Variables in a text: which value each one becomes.

use crate::dockerfile::lexer::{LexError, LexResult, LexerRun, Lookup, Piece};
use crate::dockerfile::pattern::{PatternError, ShellPattern, reversed, reversed_pattern};

impl<'v> LexerRun<'_, 'v> {
    /// The name of a variable: digits, one character that is special to a shell, or a word.
    fn name(&mut self) -> String {
        let start = self.at;
        match self.peek() {
            Some(c) if c.is_numeric() => {
                while self.peek().is_some_and(char::is_numeric) {
                    self.next();
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                self.next();
            }
            _ => {
                while self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    self.next();
                }
            }
        }
        self.text[start..self.at].to_owned()
    }

    pub(super) fn dollar(&mut self) -> LexResult<Piece> {
        let start = self.at;
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            return if name.is_empty() { Ok("$".to_owned().into()) } else { self.plain(&name, start) };
        }
        self.next();
        match self.peek() {
            None => return Err((LexError::Brace, start)),
            Some('{' | '}' | ':') => return Err((LexError::Name, start)),
            Some(_) => {}
        }
        let name = self.name();
        let mut operator = self.next().map(String::from).unwrap_or_default();
        match operator.as_str() {
            "}" => self.plain(&name, start),
            ":" => {
                operator.extend(self.next());
                self.modified(start, name, &operator)
            }
            "+" | "-" | "?" | "#" | "%" => self.modified(start, name, &operator),
            "/" => self.replacement(start, &name),
            _ => Err((LexError::Operator { name, operator }, start)),
        }
    }

    fn value(&mut self, name: &str) -> LexResult<Lookup<'v>> {
        let found = (self.lexer.lookup)(name);
        match found {
            Lookup::Set(value) => self.charge(value.len())?,
            Lookup::Unset => drop(self.unset.insert(name.to_owned())),
            Lookup::Unknown => {}
        }
        Ok(found)
    }

    fn plain(&mut self, name: &str, start: usize) -> LexResult<Piece> {
        let written = &self.text[start..self.at];
        let keep = self.lexer.keep_unset;
        Ok(match self.value(name)? {
            Lookup::Set(value) => value.to_owned().into(),
            Lookup::Unset if keep => written.to_owned().into(),
            Lookup::Unset => Piece::default(),
            Lookup::Unknown => unknown(name),
        })
    }

    /// What follows an operator, until the closing brace.
    fn rest(&mut self, start: usize, stop: char, raw_escapes: bool) -> LexResult<Piece> {
        match self.until(Some(stop), raw_escapes) {
            Ok((piece, _)) => Ok(piece),
            // Whatever is not closed swallowed the brace.
            Err((LexError::Quote(_) | LexError::Brace | LexError::Slash, _)) if self.peek().is_none() => {
                Err((if stop == '/' { LexError::Slash } else { LexError::Brace }, start))
            }
            Err(error) => Err(error),
        }
    }

    fn modified(&mut self, start: usize, name: String, operator: &str) -> LexResult<Piece> {
        let null_is_unset = operator.starts_with(':');
        let kind = operator.trim_start_matches(':').to_owned();
        let is_pattern = kind == "#" || kind == "%";
        let wrong = |name| Err((LexError::Operator { name, operator: operator.to_owned() }, start));
        if null_is_unset && is_pattern {
            return wrong(name);
        }
        let begin = self.at;
        let word = self.rest(start, '}', is_pattern)?;
        let written = &self.text[begin..self.at - 1];
        let keep = self.lexer.keep_unset;
        let value = match self.value(&name)? {
            Lookup::Unset if keep => {
                return Ok(Piece {
                    text: format!("${{{name}{operator}{}}}", word.text),
                    unknown: word.unknown,
                });
            }
            Lookup::Unknown if matches!(kind.as_str(), "-" | "+" | "?" | "#" | "%") => {
                return Ok(unknown(&name));
            }
            Lookup::Unset | Lookup::Unknown => None,
            Lookup::Set(value) => Some(value.to_owned()),
        };
        let is_missing = value.as_ref().is_none_or(|value| null_is_unset && value.is_empty());
        match kind.as_str() {
            "-" if is_missing => Ok(word),
            "+" if is_missing => Ok(Piece::default()),
            "+" => Ok(word),
            "?" if is_missing => {
                let is_set = value.is_some();
                // As it is written: the value of a variable may be a secret.
                Err((LexError::Required { name, why: written.to_owned(), is_set }, start))
            }
            "-" | "?" => Ok(value.unwrap_or_default().into()),
            "#" | "%" if !word.unknown.is_empty() => Ok(word),
            "#" | "%" => {
                let (pattern, greedy) = match word.text.strip_prefix(&kind) {
                    Some(pattern) => (pattern, true),
                    None => (word.text.as_str(), false),
                };
                let value = value.unwrap_or_default();
                self.charge(steps(pattern, &value))?;
                let kept = if kind == "#" {
                    ShellPattern::new(pattern, greedy).and_then(|it| it.without_prefix(&value))
                } else {
                    ShellPattern::new(&reversed_pattern(pattern), greedy)
                        .and_then(|it| it.without_prefix(&reversed(&value)))
                        .map(|kept| reversed(&kept))
                };
                kept.map(Piece::from).map_err(|error| (of_pattern(error), start))
            }
            _ => wrong(name),
        }
    }

    fn replacement(&mut self, start: usize, name: &str) -> LexResult<Piece> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.rest(start, '/', true)?;
        let by = self.rest(start, '}', true)?;
        let keep = self.lexer.keep_unset;
        let value = match self.value(name)? {
            Lookup::Unset if keep => {
                let text = format!("${{{name}/{}/{}}}", pattern.text, by.text);
                let unknown = pattern.unknown.into_iter().chain(by.unknown).collect();
                return Ok(Piece { text, unknown });
            }
            Lookup::Unknown => return Ok(unknown(name)),
            Lookup::Unset => String::new(),
            Lookup::Set(value) => value.to_owned(),
        };
        if !pattern.unknown.is_empty() || !by.unknown.is_empty() {
            let unknown = pattern.unknown.into_iter().chain(by.unknown).collect();
            return Ok(Piece { text: String::new(), unknown });
        }
        self.charge(steps(&pattern.text, &value))?;
        let text = ShellPattern::new(&pattern.text, true)
            .and_then(|it| it.replaced(&value, &by.text, all, self.lexer.budget.get()))
            .map_err(|error| (of_pattern(error), start))?;
        self.charge(text.len())?;
        Ok(text.into())
    }
}

/// What the work of a pattern is worth in bytes.
fn steps(pattern: &str, value: &str) -> usize {
    pattern.len().saturating_mul(value.len()) / 16
}

fn unknown(name: &str) -> Piece {
    Piece { text: String::new(), unknown: [name.to_owned()].into() }
}

fn of_pattern(error: PatternError) -> LexError {
    match error {
        PatternError::Escape => LexError::Pattern,
        PatternError::Long => LexError::Long,
    }
}
