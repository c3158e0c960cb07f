//! Renders frames as text: simple, plain or JSON. Pure.

use std::borrow::Cow;
use std::io::Write as _;

use bakery_core::message::{self, Message};
use bakery_core::names::{BuildId, RunName};
use bakery_core::wire::build::{BuildOutcome, PublishState, PublishView, TaskPhase, Verdict};
use bakery_core::wire::log::{Frame, FrameHeader, Level, LogLine, Source};
use jiff::Timestamp;
use serde::Serialize;

use crate::exit;
use crate::labels::Labels;

mod sanitize;
#[cfg(test)]
mod tests;

pub use sanitize::{Colours, clean};

/// `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text with colours.
    #[default]
    Simple,
    /// Text without escape sequences.
    Plain,
    /// One JSON object per line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "simple" => Ok(Self::Simple),
            "plain" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// Colours of tasks by index: cyan, magenta, yellow, blue, green, and their bright variants. Red is reserved for errors.
const TASK_COLOURS: [u8; 10] = [36, 35, 33, 34, 32, 96, 95, 93, 94, 92];

/// Renders the log of one build.
#[derive(Debug)]
pub struct Renderer {
    format: LogFormat,
    colours: Colours,
    build: BuildId,
    labels: Labels,
    /// Time of the last line. Frames without lines have no time of their own and get this one.
    last: Timestamp,
}

/// One entry of the log, independent of the format.
struct Entry<'a> {
    ts: Timestamp,
    level: Level,
    message: &'a str,
    hint: Option<&'a str>,
    run: Option<RunName>,
    source: Source,
    seq: u64,
    more: bool,
}

/// The documented keys in the documented order. `more` and `hint` are left out if they do not apply.
#[derive(Serialize)]
struct JsonEntry<'a> {
    ts: Timestamp,
    level: Level,
    message: &'a str,
    build: BuildId,
    service: Option<&'a str>,
    task: Option<u16>,
    source: Source,
    seq: u64,
    /// The line was too long and continues in the next entry of its task.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<Cow<'a, str>>,
}

impl Renderer {
    /// A renderer for one build. `no_colour` removes the colours of [`LogFormat::Simple`]. `created` is when the build was
    /// accepted: the time of the entries before the first line.
    pub fn new(
        format: LogFormat,
        no_colour: bool,
        build: BuildId,
        labels: Labels,
        created: Timestamp,
    ) -> Self {
        let keep = format == LogFormat::Simple && !no_colour;
        let colours = if keep { Colours::Keep } else { Colours::Strip };
        Self { format, colours, build, labels, last: created }
    }

    /// Appends the output of one frame, without its first `skip` lines, which have been shown before.
    pub fn frame(&mut self, header: &FrameHeader, payload: &[u8], skip: u64, out: &mut Vec<u8>) {
        match &header.frame {
            Frame::Lines { run, .. } => self.lines(false, Some(*run), header.seq, payload, skip, out),
            Frame::Note { run, .. } => self.lines(true, *run, header.seq, payload, skip, out),
            Frame::State { run, phase, reason, text, hint } => {
                let cause =
                    exit::reason_and_text(reason.map(bakery_core::reason::Reason::text), text.as_deref());
                if let Some((level, text)) = phase_text(*phase, &cause) {
                    let message = Message { text, hint: hint.clone() };
                    self.event(level, &message, Some(*run), header.seq, out);
                }
            }
            Frame::Published { publish } => {
                if let Some((level, message)) = publish_message(publish) {
                    self.event(level, &message, None, header.seq, out);
                }
            }
            Frame::Gap { run, lines } => {
                let text = format!("{lines} lines were not stored: the log of this task is full");
                self.event(Level::Warn, &text.into(), Some(*run), header.seq, out);
            }
            Frame::End { outcome } => self.end(outcome, header.seq, out),
            Frame::Beat | Frame::Unknown => {}
        }
    }

    /// Writes encoded lines. Only those of a note may be the server's.
    fn lines(
        &mut self,
        note: bool,
        run: Option<RunName>,
        seq: u64,
        payload: &[u8],
        skip: u64,
        out: &mut Vec<u8>,
    ) {
        let lines = payload.split_inclusive(|&b| b == b'\n');
        for (seq, line) in (seq..).zip(lines).skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if let Ok(LogLine { ts, src, lvl, msg, more, hint }) = serde_json::from_slice(line) {
                self.last = ts;
                let hint = hint.as_deref();
                // A server of the last version stores what an agent claims.
                let source = if src == Source::Server && !note { Source::Unknown } else { src };
                self.write(&Entry { ts, level: lvl, message: &msg, hint, run, source, seq, more }, out);
            } else {
                // A line that cannot be parsed comes from a newer or a defective writer. It is shown anyway.
                let message = &String::from_utf8_lossy(line);
                let (ts, level, source) = (self.last, Level::Info, Source::Unknown);
                let entry = Entry { ts, level, message, hint: None, run, source, seq, more: false };
                self.write(&entry, out);
            }
        }
    }

    /// A message of the server that is not a line of the log. A text of several lines becomes several entries; the last
    /// one has the hint.
    fn event(&self, level: Level, message: &Message, run: Option<RunName>, seq: u64, out: &mut Vec<u8>) {
        let (ts, source) = (self.last, Source::Server);
        let mut lines = message.text.lines().peekable();
        while let Some(line) = lines.next() {
            let hint = message.hint.as_deref().filter(|_| lines.peek().is_none());
            self.write(&Entry { ts, level, message: line, hint, run, source, seq, more: false }, out);
        }
    }

    fn end(&self, outcome: &BuildOutcome, seq: u64, out: &mut Vec<u8>) {
        for image in &outcome.images {
            let archs: Vec<_> = image.archs.iter().map(|arch| arch.as_str()).collect();
            let text = format!("{}@{} ({})", image.destination, image.digest, archs.join(", "));
            self.event(Level::Info, &text.into(), None, seq, out);
        }
        let level = match outcome.verdict {
            Verdict::Baked => Level::Info,
            Verdict::Cancelled => Level::Warn,
            _ => Level::Error,
        };
        let message = Message { text: exit::sentence(self.build, outcome), hint: outcome.hint.clone() };
        self.event(level, &message, None, seq, out);
    }

    /// Writes an entry: in JSON as one object, as text with the hint on a line of its own.
    fn write(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        if self.format == LogFormat::Json {
            self.write_json(entry, out);
            return;
        }
        if entry.hint.is_none() {
            self.write_text(entry, entry.message, out);
            return;
        }
        for line in message::rendered(entry.message, entry.hint).lines() {
            self.write_text(entry, line, out);
        }
    }

    fn write_json(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let task = entry.run.map(|run| run.task.index);
        let object = JsonEntry {
            ts: entry.ts,
            level: if entry.level == Level::Unknown { Level::Info } else { entry.level },
            message: &clean(entry.message, self.colours),
            build: self.build,
            service: task.and_then(|task| self.labels.get(&task)?.service.as_deref()),
            task,
            source: entry.source,
            seq: entry.seq,
            more: entry.more,
            hint: entry.hint.map(|hint| clean(hint, self.colours)),
        };
        // Writing plain values into memory cannot fail.
        let start = out.len();
        let _ = serde_json::to_writer(&mut *out, &object);
        if out[start..].windows(2).any(|pair| pair == b"##") {
            let text = defuse_json(&String::from_utf8_lossy(&out[start..])).into_owned();
            out.truncate(start);
            out.extend_from_slice(text.as_bytes());
        }
        out.push(b'\n');
    }

    /// Writes one line. It begins with our prefix: CI systems execute `::command::` only at the beginning of a line.
    fn write_text(&self, entry: &Entry<'_>, line: &str, out: &mut Vec<u8>) {
        let mut line = clean(line, self.colours);
        // A CI system may remove colours before it looks for commands.
        if let Cow::Owned(plain) = defuse(&clean(&line, Colours::Strip)) {
            line = plain.into();
        }
        let (prefix, colour) = self.prefix(entry.run);
        let keep = self.colours == Colours::Keep;
        // Writing into memory cannot fail.
        let _ = match (keep, entry.level) {
            (false, _) => write!(out, "{prefix} {line}"),
            (true, Level::Error) if entry.source == Source::Server => {
                write!(out, "\x1b[{colour}m{prefix}{} \x1b[31m{line}{}", sanitize::RESET, sanitize::RESET)
            }
            (true, _) => {
                // A colour that the build did not reset must not affect the next prefix.
                let reset = if line.contains('\x1b') { sanitize::RESET } else { "" };
                write!(out, "\x1b[{colour}m{prefix}{} {line}{reset}", sanitize::RESET)
            }
        };
        out.push(b'\n');
    }

    fn prefix(&self, run: Option<RunName>) -> (String, u8) {
        let Some(run) = run else { return ("[bakery]".to_owned(), 1) };
        let index = run.task.index;
        let colour = TASK_COLOURS[usize::from(index) % TASK_COLOURS.len()];
        let text = match self.labels.get(&index) {
            Some(label) => {
                let platform = label.platform.map_or("?", bakery_core::names::Platform::as_str);
                format!("[{platform}][{}]", label.task)
            }
            None => format!("[?][task {index}]"),
        };
        (text, colour)
    }
}

/// What CI systems execute anywhere in a line, after `##`: Azure Pipelines and GitHub, Azure Pipelines, `TeamCity`.
const COMMANDS: [&str; 3] = ["[", "vso[", "teamcity["];

/// Breaks up what CI systems execute as a command anywhere in a line: `##[command]`, `##vso[command]`,
/// `##teamcity[command]`.
pub fn defuse(text: &str) -> Cow<'_, str> {
    let is_command = |rest: &str| {
        let rest = rest.trim_start_matches('#');
        COMMANDS
            .iter()
            .any(|word| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
    };
    if !text.match_indices("##").any(|(at, _)| is_command(&text[at..])) {
        return Cow::Borrowed(text);
    }
    let mut broken = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if c == '#' && broken.ends_with('#') {
            broken.push(' ');
        }
        broken.push(c);
    }
    Cow::Owned(broken)
}

/// The same JSON, escaped so that no CI system finds a command in it.
pub fn defuse_json(json: &str) -> Cow<'_, str> {
    if json.contains("##") { Cow::Owned(json.replace("##", "#\\u0023")) } else { Cow::Borrowed(json) }
}

/// The text for a task's new phase; `None` if there is nothing to show.
fn phase_text(phase: TaskPhase, cause: &str) -> Option<(Level, String)> {
    let (level, text) = match phase {
        TaskPhase::Planned | TaskPhase::Closing | TaskPhase::Unknown if cause.is_empty() => return None,
        TaskPhase::Planned => (Level::Info, "waiting"),
        TaskPhase::Launching => (Level::Info, "launching"),
        TaskPhase::Running => (Level::Info, "running"),
        TaskPhase::Closing => (Level::Warn, "its container is gone"),
        TaskPhase::Baked => (Level::Info, "baked"),
        TaskPhase::Failed => (Level::Error, "failed"),
        TaskPhase::Lost => (Level::Error, "lost"),
        TaskPhase::TimedOut => (Level::Error, "timed out"),
        TaskPhase::Cancelled => (Level::Warn, "cancelled"),
        TaskPhase::Unknown => (Level::Info, "in a phase that this client does not support"),
    };
    Some((
        level,
        if cause.is_empty() || cause == text { text.to_owned() } else { format!("{text}: {cause}") },
    ))
}

fn publish_message(publish: &PublishView) -> Option<(Level, Message)> {
    let destination = &publish.destination;
    match &publish.state {
        PublishState::Pending | PublishState::Unknown => None,
        PublishState::Done { digest } => {
            let tags: Vec<_> = publish.tags.iter().map(ToString::to_string).collect();
            let mut text = format!("published {destination}@{digest}");
            if !tags.is_empty() {
                text = format!("{text}, also as {}", tags.join(", "));
            }
            Some((Level::Info, text.into()))
        }
        PublishState::Failed { reason, text, hint } => {
            let cause = exit::reason_and_text(Some(reason.text()), Some(text));
            let text = format!("publishing {destination} failed: {cause}");
            Some((Level::Error, Message { text, hint: hint.clone() }))
        }
    }
}
