//! Parser directives: `# name=value` in the first lines of a file.

use std::collections::BTreeSet;

use crate::dockerfile::lines::without_indent;
use crate::dockerfile::text::{DockerfileText, Span, lossy};

/// The directives that there are; any other comment ends them.
const NAMES: [&str; 3] = ["syntax", "escape", "check"];

/// A directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// `syntax`, `escape` or `check`, in lower case.
    pub name: String,
    /// What follows the equals sign.
    pub value: String,
    /// Its line, without the newline.
    pub span: Span,
}

/// Reads directives line by line until a line is none.
#[derive(Debug)]
pub(super) struct DirectiveReader {
    marker: &'static str,
    seen: BTreeSet<&'static str>,
    done: bool,
}

impl DirectiveReader {
    pub(super) fn new(marker: &'static str) -> Self {
        Self { marker, seen: BTreeSet::new(), done: false }
    }

    /// The directive of a line; an error if there was one of this name.
    pub(super) fn line(&mut self, text: &DockerfileText, span: Span) -> Result<Option<Directive>, Directive> {
        if self.done {
            return Ok(None);
        }
        let found = lossy(text.bytes(span)).strip_prefix(self.marker).and_then(name_and_value);
        let Some((name, value)) = found else {
            self.done = true;
            return Ok(None);
        };
        let directive = Directive { name: name.to_owned(), value, span };
        if self.seen.insert(name) { Ok(Some(directive)) } else { Err(directive) }
    }
}

/// The name of a directive that there is, and its value.
fn name_and_value(text: &str) -> Option<(&'static str, String)> {
    // Only these are blanks here.
    let blank = |c: char| matches!(c, '\t' | '\n' | '\x0C' | '\r' | ' ');
    let (name, value) = text.trim_start().split_once('=')?;
    let name = name.trim_end_matches(blank).to_ascii_lowercase();
    let name = NAMES.into_iter().find(|known| *known == name)?;
    let trimmed = value.trim_matches(blank);
    // A value is never empty: if there are blanks alone, the last one is the value.
    let value = if trimmed.is_empty() { value.get(value.len().checked_sub(1)?..)? } else { trimmed };
    Some((name, value.to_owned()))
}

/// The frontend that a file asks for, where Docker looks for it: also below a `#!` line, and after `//`.
pub(super) fn syntax(text: &DockerfileText) -> Option<Directive> {
    let first = text.without_newline(text.line(1));
    let begin = if text.bytes(first).starts_with(b"#!") { 2 } else { 1 };
    ["#", "//"].into_iter().find_map(|marker| {
        let mut reader = DirectiveReader::new(marker);
        for line in begin..=text.lines() {
            match reader.line(text, text.without_newline(text.line(line))) {
                Ok(Some(directive)) if directive.name == "syntax" => return Some(directive),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
        None
    })
}

/// A line without its indent.
pub(super) fn outdented(text: &DockerfileText, span: Span) -> Span {
    let bytes = text.bytes(span);
    Span { start: span.end - without_indent(bytes).len(), ..span }
}
