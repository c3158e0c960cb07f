//! `.env` files, in the grammar of Compose.

use std::collections::{BTreeMap, BTreeSet};

use crate::interpolate::{Filled, InterpolationError, Syntax, interpolate_within};
use crate::limits;
use crate::message::Message;
use crate::report::{Findings, Location, Report};
use crate::vars::{Layered, Vars};

/// Reads a `.env` file. `file` is its name in messages. `vars` is the process environment: it takes precedence over
/// earlier lines when a value refers to a variable, and a bare `NAME` takes its value from it.
///
/// `NAME=value` or `NAME: value`, `export` before it or not; `#` comments at a line's start and after a blank; single
/// quotes are literal and may span lines; double quotes support escapes; unquoted and double-quoted values are
/// interpolated. Messages name the variable, never its value.
pub fn dotenv(file: &str, text: &str, vars: &dyn Vars) -> Result<BTreeMap<String, String>, Report> {
    let mut findings = Findings::default();
    let known = gather_dotenv(file, text, vars, &mut findings);
    findings.finish(known).map(|(known, _)| known)
}

/// As [`dotenv`], but returns what could be read and adds the mistakes to `findings`: one bad line does not hide
/// mistakes elsewhere.
pub fn gather_dotenv(
    file: &str,
    text: &str,
    vars: &dyn Vars,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    read(file, text, vars, findings, |_, _| {})
}

/// The names in a `.env` whose values hold that of one of `secrets`, directly or by way of another name, each with the
/// first of them. A name that the environment has itself is none of the file's; if it is empty there, a setting still
/// takes the file's value.
pub(super) fn taken_from<'s>(
    text: &str,
    environment: &dyn Vars,
    secrets: &BTreeMap<String, &'s str>,
) -> BTreeMap<String, &'s str> {
    let is_set = |name: &str| environment.get(name).is_some();
    let mut taken: BTreeMap<String, &'s str> = BTreeMap::new();
    read("", text, environment, &mut Findings::default(), |name, used| {
        let source = used.iter().find_map(|used| {
            if is_set(used) { secrets.get(used).copied() } else { taken.get(used).copied() }
        });
        match source.filter(|_| environment.get(name).is_none_or(|value| value.is_empty())) {
            Some(secret) => taken.insert(name.to_owned(), secret),
            None => taken.remove(name),
        };
    });
    taken
}

/// Reads a file. `take` is called for each name, with the variables whose values are a part of its value.
fn read(
    file: &str,
    text: &str,
    vars: &dyn Vars,
    findings: &mut Findings,
    mut take: impl FnMut(&str, &BTreeSet<String>),
) -> BTreeMap<String, String> {
    let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = DotenvReader { rest, line: 1, left: limits::INTERPOLATED_BYTES };
    let mut known = BTreeMap::new();
    while reader.skip_to_statement() {
        let start = DotenvReader { ..reader };
        match reader.statement(&known, vars) {
            Ok((name, Some(filled))) => {
                take(&name, &filled.used);
                known.insert(name, filled.text);
            }
            Ok((_, None)) => {}
            Err(StatementError { name, message }) => {
                let location = Location { line: start.line, col: 1, path: name, ..Location::file(file) };
                findings.mistake(location, message);
                reader = DotenvReader { left: reader.left, ..start };
                reader.skip_line();
            }
        }
    }
    known
}

struct DotenvReader<'t> {
    rest: &'t str,
    line: usize,
    /// How many bytes the values of the rest of the file may have: each may hold those before it twice.
    left: usize,
}

/// What is wrong with a statement.
struct StatementError {
    name: String,
    message: Message,
}

impl StatementError {
    fn form(name: &str, message: &str) -> Self {
        let message = Message::new(message).with_hint("write NAME=value, one per line");
        Self { name: name.to_owned(), message }
    }
}

impl<'t> DotenvReader<'t> {
    /// Past blanks, empty lines and comments; false at the end.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let trimmed = self.rest.trim_start();
            self.line += self.rest[..self.rest.len() - trimmed.len()].matches('\n').count();
            self.rest = trimmed;
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.skip_line();
        }
    }

    fn skip_line(&mut self) -> &'t str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        line
    }

    /// The name of a statement, and its value if it has one.
    fn statement(
        &mut self,
        known: &BTreeMap<String, String>,
        vars: &dyn Vars,
    ) -> Result<(String, Option<Filled>), StatementError> {
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with(is_blank)
        {
            self.rest = after.trim_start_matches(is_blank);
        }
        let legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
        let end = self.rest.find(|c| !legal(c)).unwrap_or(self.rest.len());
        let (name, after) = self.rest.split_at(end);
        if name.is_empty() {
            return Err(StatementError::form("", "the line does not begin with a variable's name"));
        }
        let after = after.trim_start_matches(is_blank);
        let name = name.to_owned();
        if let Some(value) = after.strip_prefix(['=', ':']) {
            let text = value.trim_start_matches(is_blank);
            // `NAME= # comment` has no value, and `NAME=#f00` has one. (Compose reads the former as `# comment`.)
            if text.starts_with('#') && text.len() < value.len() {
                self.rest = text;
                self.skip_line();
                return Ok((name, Some(Filled::default())));
            }
            self.rest = text;
            let value = self.value(&name, known, vars)?;
            Ok((name, Some(value)))
        } else if after.is_empty() || after.starts_with(['\n', '#']) {
            self.skip_line();
            let value = vars.get(&name);
            let value = value.map(|text| Filled { text, used: [name.clone()].into(), ..Filled::default() });
            Ok((name, value))
        } else {
            Err(StatementError::form(&name, "the name is not followed by `=`"))
        }
    }

    fn value(
        &mut self,
        name: &str,
        known: &BTreeMap<String, String>,
        vars: &dyn Vars,
    ) -> Result<Filled, StatementError> {
        let error = |error: &InterpolationError| StatementError {
            name: name.to_owned(),
            message: Message::of(error),
        };
        let limit = self.left;
        let fill = |text: &str| {
            let lookup = Layered { upper: vars, lower: known };
            interpolate_within(limit, Syntax::Compose, text, &lookup).map_err(|found| error(&found))
        };
        let open = || StatementError::form(name, "the quote is not closed");
        let value = match self.rest.chars().next() {
            Some('\'') => {
                let text = self.quoted('\'').ok_or_else(open)?;
                Ok(Filled { text, ..Filled::default() })
            }
            Some('"') => fill(&unescape(&self.quoted('"').ok_or_else(open)?)),
            _ => {
                let line = self.skip_line();
                fill(line.split_once(" #").map_or(line, |(value, _)| value).trim_end())
            }
        }?;
        self.left =
            self.left.checked_sub(value.text.len()).ok_or_else(|| error(&InterpolationError::Long))?;
        Ok(value)
    }

    /// The text between quotes, with only the quote itself unescaped; `None` if they are not closed.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.line += self.rest[..at].matches('\n').count();
                self.rest = &self.rest[at + 1..];
                return Some(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some((_, next)) if next == quote => text.push(next),
                Some((_, next)) => text.extend(['\\', next]),
                None => text.push('\\'),
            }
        }
        None
    }
}

/// `\n \t \r \a \b \f \v \" \\` and octal `\0ooo`; `\$` becomes `$$`, which stays a dollar sign.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let simple = match after.chars().next() {
            Some('n') => Some("\n"),
            Some('t') => Some("\t"),
            Some('r') => Some("\r"),
            Some('a') => Some("\x07"),
            Some('b') => Some("\x08"),
            Some('f') => Some("\x0c"),
            Some('v') => Some("\x0b"),
            Some('"') => Some("\""),
            Some('\\') => Some("\\"),
            Some('$') => Some("$$"),
            _ => None,
        };
        let octal = after.get(1..4).filter(|_| after.starts_with('0'));
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(simple) = simple {
            out.push_str(simple);
            rest = &after[1..];
        } else if let Some(byte) = octal {
            out.push(char::from(byte));
            rest = &after[4..];
        } else {
            out.push('\\');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env() -> BTreeMap<String, String> {
        BTreeMap::from([("HOST".to_owned(), "outer".to_owned()), ("EMPTY".to_owned(), String::new())])
    }

    fn read(text: &str) -> Vec<(String, String)> {
        dotenv(".env", text, &env()).unwrap().into_iter().collect()
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        for (line, name, value) in [
            ("A=b", "A", "b"),
            ("A: b", "A", "b"),
            ("A = b c  # d", "A", "b c"),
            ("A=b#c", "A", "b#c"),
            ("A= # c", "A", ""),
            ("A=#f00", "A", "#f00"),
            ("A=", "A", ""),
            ("\u{feff}export  A=b\r\n", "A", "b"),
            ("A='$HOST \\n # \\' x'", "A", "$HOST \\n # ' x"),
            (r#"A="$HOST\n\t\"q\" \$HOST \0101 \q""#, "A", "outer\n\t\"q\" $HOST A \\q"),
            ("A=\"two\nlines\"", "A", "two\nlines"),
            ("A=${NO:-d}-$HOST", "A", "d-outer"),
            ("HOST\n", "HOST", "outer"),
            ("HOST # inherited", "HOST", "outer"),
            ("a.b-c[0]=1", "a.b-c[0]", "1"),
            ("# A=1\n\n  # B=2\nC=3", "C", "3"),
        ] {
            assert_eq!(read(line), [(name.to_owned(), value.to_owned())], "{line}");
        }
        assert_eq!(read("NOWHERE\n#\n"), []);
    }

    #[test]
    fn the_process_wins_over_earlier_lines() {
        let map = dotenv(".env", "HOST=inner\nA=$HOST\nB=$A\nEMPTY=x\nC=${EMPTY:-d}", &env()).unwrap();
        assert_eq!((map["A"].as_str(), map["B"].as_str(), map["C"].as_str()), ("outer", "outer", "d"));
        assert_eq!(map["HOST"], "inner");
    }

    #[test]
    fn every_mistake_has_its_line_and_no_value() {
        let text = "A=1\n= x\nB C=hunter2\nD=${hunter2\n\nE='hunter2\n";
        let report = dotenv(".env", text, &env()).unwrap_err().to_string();
        assert!(!report.contains("hunter2"), "{report}");
        insta::assert_snapshot!(report, @r"
        .env:2:1: the line does not begin with a variable's name
          hint: write NAME=value, one per line
        .env:3:1: B: the name is not followed by `=`
          hint: write NAME=value, one per line
        .env:4:1: D: `${` is not followed by a variable's name, an operator or `}`
          hint: `$$` is a dollar sign
        .env:6:1: E: the quote is not closed
          hint: write NAME=value, one per line
        ");
    }

    #[test]
    fn values_cannot_grow_without_bound() {
        let doubling = (1..40).fold("A0=xxxxxxxx\n".to_owned(), |text, nth| {
            let before = nth - 1;
            text + &format!("A{nth}=$A{before}$A{before}\n")
        });
        let report = dotenv(".env", &doubling, &env()).unwrap_err().to_string();
        let expected = ".env:20:1: A19: with its variables replaced, the file has more than 4194304 bytes";
        assert!(report.starts_with(expected), "{report}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in r#"([A-B=:#'"\\$ \n{}-]|export |\\0|ü){0,60}"#) {
            let _ = dotenv("f", &text, &env());
        }
    }
}
