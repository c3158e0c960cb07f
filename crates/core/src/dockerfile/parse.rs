//! From lines to instructions.

use crate::dockerfile::arguments;
use crate::dockerfile::flags;
use crate::dockerfile::heredoc::{HeredocWord, heredoc, heredoc_words};
use crate::dockerfile::lines::{self, LineReader, LogicalLine, Slice};
use crate::dockerfile::problems::Problems;
use crate::dockerfile::split::{self, JsonList, json_list};
use crate::dockerfile::text::Span;
use crate::dockerfile::tree::{Heredoc, Instruction, Kind};
use crate::message::Message;
use crate::report::{did_you_mean, nearest, shown};

/// The instructions.
const KEYWORDS: [&str; 18] = [
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "LABEL",
    "EXPOSE",
    "CMD",
    "ENTRYPOINT",
    "HEALTHCHECK",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
    "MAINTAINER",
    "ONBUILD",
];

/// Instructions whose heredocs are read.
const WITH_HEREDOCS: [&str; 3] = ["RUN", "COPY", "ADD"];

/// An instruction as it is split first.
struct Head<'l> {
    slice: Slice<'l>,
    keyword: Slice<'l>,
    /// The keyword in upper case.
    name: String,
    flags: Vec<split::RawFlag<'l>>,
    arguments: Slice<'l>,
}

impl<'l> Head<'l> {
    fn of(slice: Slice<'l>, escape: char) -> Self {
        let slice = slice.trimmed();
        let (keyword, rest) = split::first_word(slice);
        let end = slice.after(slice.text().len());
        let (flags, arguments) = rest.map_or((Vec::new(), end), |rest| split::flags(rest, escape));
        Self { slice, keyword, name: keyword.text().to_uppercase(), flags, arguments: arguments.trimmed() }
    }

    /// Whether `<<` in it begins a heredoc.
    fn takes_heredocs(&self) -> bool {
        let known = WITH_HEREDOCS.contains(&self.name.as_str());
        known && !matches!(json_list(self.arguments), JsonList::Texts(_))
    }
}

/// What a misspelt keyword (in upper case) was probably meant to be; `None` if it is right, or not like any.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    if KEYWORDS.contains(&name) { None } else { nearest(name, &KEYWORDS) }
}

/// Reads the instruction that begins on a line.
pub(super) fn instruction(
    lines: &mut LineReader<'_>,
    first: (usize, Span),
    escape: char,
    problems: &mut Problems<'_>,
) -> Instruction {
    let mut line = lines.logical(first, escape);
    let mut last = line.last;
    let line_problems = std::mem::take(&mut line.long);
    let head = Head::of(line.slice(), escape);
    for number in line_problems {
        let text = "the line is longer than 65535 bytes";
        let hint = "end lines with the escape character, or put the text in a file";
        problems.mistake(problems.text.line(number).start, &head.name, Message::new(text).with_hint(hint));
    }
    for &number in &line.empty {
        let text =
            "an empty line between lines of one instruction will be a mistake in later versions of BuildKit";
        problems.notice(problems.text.line(number).start, &head.name, text);
    }
    let nested = (head.name == "ONBUILD").then(|| Head::of(head.arguments, escape));
    let taker = nested.as_ref().unwrap_or(&head);
    let mut heredocs = Vec::new();
    if taker.takes_heredocs() {
        match heredoc_words(&line) {
            Ok(words) => read_heredocs(words, lines, &head, &mut last, &mut heredocs, problems),
            Err(error) => problems.mistake(first.1.start, &head.name, error.to_string()),
        }
    } else if meant(&head.name).is_some_and(|it| WITH_HEREDOCS.contains(&it)) {
        skip_heredocs(&line, lines, &mut last, problems);
    }
    let end = problems.text.without_newline(problems.text.line(last)).end;
    let span = Span { start: line.begin, end: end.max(head.slice.span().end) };
    check_nul(&head, &heredocs, problems);
    build(head, heredocs, Extent { span, lines: (line.first, last), escape }, problems)
}

/// Where an instruction is, and how words in it are escaped.
#[derive(Clone, Copy)]
struct Extent {
    span: Span,
    lines: (usize, usize),
    escape: char,
}

fn read_heredocs(
    words: Vec<(HeredocWord, Span)>,
    lines: &mut LineReader<'_>,
    head: &Head<'_>,
    last: &mut usize,
    heredocs: &mut Vec<Heredoc>,
    problems: &mut Problems<'_>,
) {
    for word in words {
        let (name, at) = (word.0.name.clone(), word.1);
        if let Some((heredoc, end)) = heredoc(word, lines, problems.text) {
            *last = end;
            heredocs.push(heredoc);
        } else {
            *last = lines.mark() - 1;
            let text = format!("the heredoc `{}` has no end", shown(&name));
            let hint = format!("write a line that is `{}` and nothing else below its text", shown(&name));
            problems.mistake(at.start, &head.name, Message::new(text).with_hint(hint));
            break;
        }
    }
}

/// Leaves out the heredocs of a misspelt instruction, so that their lines are not taken for instructions.
fn skip_heredocs(line: &LogicalLine, lines: &mut LineReader<'_>, last: &mut usize, problems: &Problems<'_>) {
    for word in heredoc_words(line).unwrap_or_default() {
        let mark = lines.mark();
        match heredoc(word, lines, problems.text) {
            Some((_, end)) => *last = end,
            None => lines.back_to(mark),
        }
    }
}

/// No program can be given a NUL byte.
fn check_nul(head: &Head<'_>, heredocs: &[Heredoc], problems: &mut Problems<'_>) {
    let spans = heredocs.iter().map(|heredoc| heredoc.body);
    for span in [head.slice.span()].into_iter().chain(spans) {
        if let Some(at) = memchr::memchr(0, problems.text.bytes(span)) {
            problems.mistake(span.start + at, &head.name, "there is a NUL byte");
            break;
        }
    }
}

fn build(head: Head<'_>, heredocs: Vec<Heredoc>, place: Extent, problems: &mut Problems<'_>) -> Instruction {
    let Head { keyword, name, flags: raw, arguments, .. } = head;
    let flags: Vec<_> = raw.iter().map(flags::flag).collect();
    let mut instruction = Instruction {
        keyword: keyword.word(),
        span: place.span,
        lines: place.lines,
        flags,
        arguments: arguments.word(),
        heredocs,
        kind: Kind::Broken,
    };
    if !KEYWORDS.contains(&name.as_str()) {
        problems.mistake(keyword.span().start, "", unknown(keyword.text()));
        return instruction;
    }
    let kind = if name == "ONBUILD" {
        onbuild(arguments, &instruction, place, problems)
    } else {
        arguments::kind(&name, arguments, &instruction, place.escape, problems)
    };
    let ignores_flags = matches!(name.as_str(), "ARG" | "STOPSIGNAL")
        || matches!(&kind, Some(Kind::Healthcheck(check)) if check.command.is_none());
    if let (true, Some(flag)) = (ignores_flags, instruction.flags.first()) {
        let text = format!("`--{}` has no effect here", shown(&flag.name));
        problems.notice(flag.span.start, &name, text);
    }
    let is_right = flags::check_characters(&name, &instruction.flags, problems)
        && (ignores_flags || flags::check(&name, &instruction.flags, problems));
    if let (true, Some(kind)) = (is_right, kind) {
        instruction.kind = kind;
    }
    instruction
}

fn unknown(keyword: &str) -> Message {
    if keyword.is_empty() {
        return Message::new("there is no instruction after the escape character");
    }
    let message = Message::new(format!("`{}` is not an instruction", shown(keyword)));
    if keyword.contains(|c: char| c.is_whitespace()) {
        return message.with_hint("the blank in it is not an ordinary one; write it anew");
    }
    message.with_hint(did_you_mean(keyword, &KEYWORDS))
}

/// ONBUILD: what is wrong in its instruction is for those who use the image, unless nobody could read it.
///
/// A build that uses the image reads the instruction as a file of its own, in which the escape character is a backslash.
fn onbuild(
    arguments: Slice<'_>,
    outer: &Instruction,
    place: Extent,
    problems: &mut Problems<'_>,
) -> Option<Kind> {
    let written = Head::of(arguments, place.escape);
    let unreadable = arguments::unreadable(&written.name, written.arguments, place.escape);
    let nested = Head::of(lines::without_continuation(arguments, '\\'), '\\');
    let at = nested.keyword.span().start;
    if arguments.text().is_empty() {
        problems.mistake(place.span.start, "ONBUILD", "an instruction is missing");
        return None;
    }
    if matches!(written.name.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
        problems.mistake(at, "ONBUILD", format!("{} is not allowed after ONBUILD", written.name));
        return None;
    }
    let span = Span { start: at, end: place.span.end };
    if let Some((at, message)) = unreadable {
        problems.mistake(at, &written.name, message);
        return None;
    }
    problems.is_harmless = true;
    let place = Extent { span, escape: '\\', ..place };
    let trigger = build(nested, outer.heredocs.clone(), place, problems);
    problems.is_harmless = false;
    Some(Kind::Onbuild(Box::new(trigger)))
}
