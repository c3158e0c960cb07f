//! Frames become text: simple, plain or JSON. Pure.

use std::borrow::Cow;
use std::io::Write as _;

use bakery_core::names::{BuildId, RunName};
use bakery_core::wire::build::{BuildOutcome, PublishState, PublishView, TaskPhase, Verdict};
use bakery_core::wire::log::{Frame, FrameHeader, Level, LogLine, Source};
use jiff::Timestamp;
use serde::Serialize;

use crate::exit;
use crate::labels::Labels;

mod ansi;
#[cfg(test)]
mod tests;

pub use ansi::{Colours, clean};

/// `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text in colours.
    #[default]
    Simple,
    /// Text without any escape.
    Plain,
    /// One object a line.
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

/// Colours of tasks, by their places: cyan, magenta, yellow, blue, green, and the same bright. Red is for errors.
const TASK_COLOURS: [u8; 10] = [36, 35, 33, 34, 32, 96, 95, 93, 94, 92];

/// Renders one build's log.
#[derive(Debug)]
pub struct Renderer {
    format: LogFormat,
    colours: Colours,
    build: BuildId,
    labels: Labels,
    /// Frames without lines have no time of their own: they happened after the last line before them.
    last: Timestamp,
}

/// One line of output before it has a form.
struct Entry<'a> {
    ts: Timestamp,
    level: Level,
    message: &'a str,
    run: Option<RunName>,
    source: Source,
    seq: u64,
    more: bool,
}

/// The promised keys in the promised order.
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
    /// The line was too long and goes on in the next entry of its task.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

impl Renderer {
    /// A renderer for one build. `no_colour` takes the colours from [`LogFormat::Simple`]; `created` is when the build
    /// was accepted: the time of what the log tells before its first line.
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

    /// Appends one frame's output, without its first `skip` lines (they have been shown before).
    pub fn frame(&mut self, header: &FrameHeader, payload: &[u8], skip: u64, out: &mut Vec<u8>) {
        match &header.frame {
            Frame::Lines { run, .. } => self.lines(Some(*run), header.seq, payload, skip, out),
            Frame::Note { run, .. } => self.lines(*run, header.seq, payload, skip, out),
            Frame::State { run, phase, reason, text, .. } => {
                let why =
                    exit::reason_and_text(reason.map(bakery_core::reason::Reason::text), text.as_deref());
                if let Some((level, message)) = phase_words(*phase, &why) {
                    self.said(level, &message, Some(*run), header.seq, out);
                }
            }
            Frame::Published { publish } => {
                if let Some((level, message)) = publish_words(publish) {
                    self.said(level, &message, None, header.seq, out);
                }
            }
            Frame::Gap { run, lines } => {
                let message = format!("{lines} lines are not kept: the log of this task is full");
                self.said(Level::Warn, &message, Some(*run), header.seq, out);
            }
            Frame::End { outcome } => self.end(outcome, header.seq, out),
            Frame::Beat | Frame::Unknown => {}
        }
    }

    fn lines(&mut self, run: Option<RunName>, seq: u64, payload: &[u8], skip: u64, out: &mut Vec<u8>) {
        let lines = payload.split_inclusive(|&b| b == b'\n');
        for (seq, line) in (seq..).zip(lines).skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if let Ok(LogLine { ts, src, lvl, msg, more, .. }) = serde_json::from_slice(line) {
                self.last = ts;
                self.write(&Entry { ts, level: lvl, message: &msg, run, source: src, seq, more }, out);
            } else {
                // A line of a newer or a broken writer is still worth seeing.
                let message = &String::from_utf8_lossy(line);
                let (ts, level, source) = (self.last, Level::Info, Source::Unknown);
                self.write(&Entry { ts, level, message, run, source, seq, more: false }, out);
            }
        }
    }

    /// What the server says beside stored lines; a text of several lines becomes several.
    fn said(&self, level: Level, text: &str, run: Option<RunName>, seq: u64, out: &mut Vec<u8>) {
        let (ts, source) = (self.last, Source::Server);
        for message in text.lines() {
            self.write(&Entry { ts, level, message, run, source, seq, more: false }, out);
        }
    }

    fn end(&self, outcome: &BuildOutcome, seq: u64, out: &mut Vec<u8>) {
        for image in &outcome.images {
            let archs: Vec<_> = image.archs.iter().map(|arch| arch.as_str()).collect();
            let message = format!("{}@{} ({})", image.destination, image.digest, archs.join(", "));
            self.said(Level::Info, &message, None, seq, out);
        }
        let level = match outcome.verdict {
            Verdict::Baked => Level::Info,
            Verdict::Cancelled => Level::Warn,
            _ => Level::Error,
        };
        self.said(level, &exit::sentence(self.build, outcome), None, seq, out);
    }

    fn write(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let message = clean(entry.message, self.colours);
        if self.format == LogFormat::Json {
            self.write_json(entry, &message, out);
        } else {
            self.write_text(entry, &defuse(&message), out);
        }
        out.push(b'\n');
    }

    fn write_json(&self, entry: &Entry<'_>, message: &str, out: &mut Vec<u8>) {
        let task = entry.run.map(|run| run.task.index);
        let entry = JsonEntry {
            ts: entry.ts,
            level: if entry.level == Level::Unknown { Level::Info } else { entry.level },
            message,
            build: self.build,
            service: task.and_then(|task| self.labels.get(&task)?.service.as_deref()),
            task,
            source: entry.source,
            seq: entry.seq,
            more: entry.more,
        };
        // Writing plain values into memory cannot fail.
        let start = out.len();
        let _ = serde_json::to_writer(&mut *out, &entry);
        if message.contains("##") {
            // The same JSON, spelled so that no CI system finds its commands in it.
            let text = String::from_utf8_lossy(&out[start..]).replace("##", "#\\u0023");
            out.truncate(start);
            out.extend_from_slice(text.as_bytes());
        }
    }

    /// Every line begins with a prefix of ours: a CI system takes `::command::` only at the beginning of a line.
    fn write_text(&self, entry: &Entry<'_>, message: &str, out: &mut Vec<u8>) {
        let (prefix, colour) = self.prefix(entry.run);
        let keep = self.colours == Colours::Keep;
        // Writing into memory cannot fail.
        let _ = match (keep, entry.level) {
            (false, _) => write!(out, "{prefix} {message}"),
            (true, Level::Error) if entry.source == Source::Server => {
                write!(out, "\x1b[{colour}m{prefix}{} \x1b[31m{message}{}", ansi::RESET, ansi::RESET)
            }
            (true, _) => {
                // A colour that the build leaves on must not run into our next prefix.
                let reset = if message.contains('\x1b') { ansi::RESET } else { "" };
                write!(out, "\x1b[{colour}m{prefix}{} {message}{reset}", ansi::RESET)
            }
        };
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

/// Breaks what CI systems take for a command anywhere in a line: `##[command]` and `##vso[command]`.
pub fn defuse(text: &str) -> Cow<'_, str> {
    let is_command = |rest: &str| {
        let rest = rest.trim_start_matches('#');
        rest.starts_with('[') || rest.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("vso["))
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

/// A task's new phase in words; `None` where it says nothing to a reader.
fn phase_words(phase: TaskPhase, why: &str) -> Option<(Level, String)> {
    let (level, word) = match phase {
        TaskPhase::Planned | TaskPhase::Closing | TaskPhase::Unknown if why.is_empty() => return None,
        TaskPhase::Planned => (Level::Info, "waiting"),
        TaskPhase::Launching => (Level::Info, "launching"),
        TaskPhase::Running => (Level::Info, "running"),
        TaskPhase::Closing => (Level::Warn, "its container is gone"),
        TaskPhase::Baked => (Level::Info, "baked"),
        TaskPhase::Failed => (Level::Error, "failed"),
        TaskPhase::Lost => (Level::Error, "lost"),
        TaskPhase::TimedOut => (Level::Error, "timed out"),
        TaskPhase::Cancelled => (Level::Warn, "cancelled"),
        TaskPhase::Unknown => (Level::Info, "in a phase that this client does not know"),
    };
    Some((level, if why.is_empty() || why == word { word.to_owned() } else { format!("{word}: {why}") }))
}

fn publish_words(publish: &PublishView) -> Option<(Level, String)> {
    let destination = &publish.destination;
    match &publish.state {
        PublishState::Pending | PublishState::Unknown => None,
        PublishState::Done { digest } => Some((Level::Info, format!("published {destination}@{digest}"))),
        PublishState::Failed { reason, text, .. } => {
            let why = exit::reason_and_text(Some(reason.text()), Some(text));
            Some((Level::Error, format!("publishing {destination} failed: {why}")))
        }
    }
}
