//! A line of a Dockerfile with a mark below it.

use crate::dockerfile::{Dockerfile, Span};
use crate::mask::{Form, MASK, Mask};
use crate::terminal::escaped;

/// How many characters of a line are shown.
const WIDTH: usize = 100;
/// How many of them at most before the mark.
const BEFORE: usize = 40;
/// What stands for the rest.
const CUT: &str = "...";

/// A line, and what is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) line: String,
    /// Empty if the place cannot be shown.
    pub(super) mark: String,
}

/// Shows the line in which `span` begins. `hidden` are the parts of the file that are secrets.
pub(super) fn excerpt(file: &Dockerfile, span: Span, hidden: &[Span], mask: &Mask) -> Option<Excerpt> {
    let text = &file.text;
    let whole = text.line(text.position(span.start).line);
    let bytes = text.bytes(whole);
    let kept = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    let end = whole.start + kept;
    if whole.start == end || span.start > end {
        return None;
    }
    let shown = |start: usize, end: usize| {
        let mut line = String::new();
        let mut at = start;
        let inside = hidden.iter().filter(|it| it.start < end && it.end > start && it.start < it.end);
        for secret in inside {
            if secret.end <= at {
                continue;
            }
            line += &text.text(Span { start: at, end: secret.start.max(at) });
            line += MASK;
            at = secret.end.min(end);
        }
        line += &text.text(Span { start: at, end });
        escaped_but_tabs(&mask.text(&line, Form::Script))
    };
    let line = shown(whole.start, end);
    let before = shown(whole.start, span.start);
    let marked_end = span.end.clamp(span.start, end);
    let upto = shown(whole.start, marked_end).chars().count();
    // With a secret across its beginning, the mark has no place.
    if !line.starts_with(&before) {
        return Some(Excerpt { line: cut(&line, 0, 0).0, mark: String::new() });
    }
    let start = before.chars().count();
    let (line, offset) = cut(&line, start, upto);
    let start = start - offset.0 + offset.1;
    let room = line.chars().count().saturating_sub(start);
    let length = (upto + offset.1).saturating_sub(offset.0 + start).clamp(1, room.max(1));
    let blank = |c: char| if c == '\t' { c } else { ' ' };
    let below: String = line.chars().take(start).map(blank).collect();
    Some(Excerpt { line, mark: below + &"^".repeat(length) })
}

/// The part of a long line around the mark; how many characters were cut at its beginning, and put there.
fn cut(line: &str, start: usize, end: usize) -> (String, (usize, usize)) {
    let count = line.chars().count();
    if count <= WIDTH {
        return (line.to_owned(), (0, 0));
    }
    let first = if end.max(start + 1) <= WIDTH { 0 } else { start.saturating_sub(BEFORE) };
    let mut shown = String::new();
    if first > 0 {
        shown += CUT;
    }
    shown.extend(line.chars().skip(first).take(WIDTH));
    if first + WIDTH < count {
        shown += CUT;
    }
    (shown, (first, if first > 0 { CUT.len() } else { 0 }))
}

/// A tab is as wide below the line as in it.
fn escaped_but_tabs(text: &str) -> String {
    text.split_inclusive('\t')
        .map(|part| match part.strip_suffix('\t') {
            Some(part) => format!("{}\t", escaped(part)),
            None => escaped(part).into_owned(),
        })
        .collect()
}
