//! The patterns of `${NAME#pattern}`, `${NAME%pattern}` and `${NAME/pattern/text}`: `*`, `?`, and `\` before one of these.
//!
//! A table over the pattern and the text replaces backtracking: the work is the product of their lengths, which is bounded.

/// Steps that one pattern may take.
const STEPS: usize = 1 << 22;

/// What one place of a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatternPart {
    One(char),
    Any,
    Star,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternError {
    /// `\` stands before something else.
    Escape,
    /// Pattern and value are too long.
    Long,
}

/// A pattern.
#[derive(Debug)]
pub(super) struct ShellPattern {
    places: Vec<PatternPart>,
    /// Whether a star takes as much as it can.
    greedy: bool,
}

impl ShellPattern {
    pub(super) fn new(pattern: &str, greedy: bool) -> Result<Self, PatternError> {
        let mut places = Vec::new();
        let mut chars = pattern.strip_prefix('\u{FEFF}').unwrap_or(pattern).chars().peekable();
        while let Some(c) = chars.next() {
            places.push(match c {
                '*' => PatternPart::Star,
                '?' => PatternPart::Any,
                '\\' => match chars.peek() {
                    Some('}' | '/') => continue,
                    Some(&next @ ('*' | '?' | '\\')) => {
                        chars.next();
                        PatternPart::One(next)
                    }
                    _ => return Err(PatternError::Escape),
                },
                c => PatternPart::One(c),
            });
        }
        Ok(Self { places, greedy })
    }

    /// For each place of a text at which a match begins, where it ends.
    fn ends(&self, text: &[char]) -> Result<Vec<Option<usize>>, PatternError> {
        if (self.places.len() + 1).saturating_mul(text.len() + 1) > STEPS {
            return Err(PatternError::Long);
        }
        // From the last place of the pattern to the first: where a match of the rest ends.
        let mut rest: Vec<Option<usize>> = (0..=text.len()).map(Some).collect();
        for place in self.places.iter().rev() {
            let mut ends = vec![None; text.len() + 1];
            for at in (0..=text.len()).rev() {
                let next = text.get(at).copied();
                // No wildcard takes a newline.
                let wild = next.is_some_and(|c| c != '\n');
                ends[at] = match place {
                    PatternPart::One(c) if next == Some(*c) => rest[at + 1],
                    PatternPart::Any if wild => rest[at + 1],
                    PatternPart::One(_) | PatternPart::Any => None,
                    PatternPart::Star => {
                        let more = if wild { ends[at + 1] } else { None };
                        if self.greedy { more.or(rest[at]) } else { rest[at].or(more) }
                    }
                };
            }
            rest = ends;
        }
        Ok(rest)
    }

    /// The text without what the pattern matches at its beginning.
    pub(super) fn without_prefix(&self, text: &str) -> Result<String, PatternError> {
        let chars: Vec<char> = text.chars().collect();
        let end = self.ends(&chars)?[0].unwrap_or(0);
        Ok(chars[end..].iter().collect())
    }

    /// The text with the first match replaced, or all of them; `limit` is how long it may become.
    pub(super) fn replaced(
        &self,
        text: &str,
        by: &str,
        all: bool,
        limit: usize,
    ) -> Result<String, PatternError> {
        let chars: Vec<char> = text.chars().collect();
        let ends = self.ends(&chars)?;
        let (mut out, mut copied, mut at) = (String::new(), 0, 0);
        while let Some(start) = (at..=chars.len()).find(|start| ends[*start].is_some()) {
            let end = ends[start].unwrap_or(start);
            out.extend(&chars[copied..start]);
            if !all {
                out.push_str(by);
                copied = end;
                break;
            }
            // An empty match right after another one is none.
            if end > copied || start == 0 {
                expand(by, &chars[start..end], &mut out);
            }
            copied = end;
            at = end.max(at + 1);
            if out.len() > limit {
                return Err(PatternError::Long);
            }
        }
        out.extend(&chars[copied.min(chars.len())..]);
        Ok(out)
    }
}

/// Appends a replacement as Go's regular expressions do: `$0` is the match, any other `$name` is nothing.
fn expand(template: &str, found: &[char], out: &mut String) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let (braced, inner) = after.strip_prefix('{').map_or((false, after), |inner| (true, inner));
        let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, after_name) = inner.split_at(end);
        let after_name = if braced { after_name.strip_prefix('}') } else { Some(after_name) };
        match after_name {
            Some(after_name) if !name.is_empty() => {
                if name == "0" {
                    out.extend(found);
                }
                rest = after_name;
            }
            _ => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
}

/// A text from its end to its beginning.
pub(super) fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// A pattern from its end to its beginning; `\` stays before its character.
pub(super) fn reversed_pattern(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let (mut pieces, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let len = if chars[at] == '\\' && at + 1 < chars.len() { 2 } else { 1 };
        pieces.push(&chars[at..at + len]);
        at += len;
    }
    pieces.into_iter().rev().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(pattern: &str, greedy: bool, text: &str) -> Result<String, PatternError> {
        ShellPattern::new(pattern, greedy)?.without_prefix(text)
    }

    #[test]
    fn a_prefix_is_the_shortest_or_the_longest() {
        assert_eq!(prefix("*/", false, "a/b/c").as_deref(), Ok("b/c"));
        assert_eq!(prefix("*/", true, "a/b/c").as_deref(), Ok("c"));
        assert_eq!(prefix("??", true, "abc").as_deref(), Ok("c"));
        assert_eq!(prefix("x", true, "abc").as_deref(), Ok("abc"));
        assert_eq!(prefix("*c", true, "a\nc").as_deref(), Ok("a\nc"));
        assert_eq!(prefix(r"\*\/", true, "*/c").as_deref(), Ok("c"));
        assert_eq!(prefix(r"\a", true, "a"), Err(PatternError::Escape));
        assert_eq!(prefix("a\\", true, "a"), Err(PatternError::Escape));
        assert_eq!(reversed_pattern(r"a\*b\"), r"\b\*a");
        let long = "*a".repeat(4000);
        assert_eq!(prefix(&long, true, &"b".repeat(60_000)), Err(PatternError::Long));
    }

    #[test]
    fn replacements_are_gos() {
        let replaced = |pattern, text, by, all| {
            ShellPattern::new(pattern, true).unwrap().replaced(text, by, all, 1000).unwrap()
        };
        assert_eq!(replaced("b", "abcb", "X", false), "aXcb");
        assert_eq!(replaced("b", "abcb", "X", true), "aXcX");
        assert_eq!(replaced("", "ab", "-", true), "-a-b-");
        assert_eq!(replaced("*", "ab", "-", true), "-");
        assert_eq!(replaced("b", "abb", "[$0${0}$1$x$$]$-", true), "a[bb$]$-[bb$]$-");
        assert_eq!(replaced("b", "abb", "$0", false), "a$0b");
    }
}
