//! The task's log: messages are masked, encoded and appended to the spool.

use std::sync::Arc;

use bakery_core::limits;
use bakery_core::message::Message;
use bakery_core::wire::log::{Level, Source};
use jiff::Timestamp;

use crate::clock;
use crate::lines::Lines;
use crate::mask::Masker;
use crate::shipper::spool::Spool;

/// The task's log. Secrets are masked in everything that is written to it. Clones write to the same log.
#[derive(Debug, Clone)]
pub struct Log {
    spool: Arc<Spool>,
    masker: Arc<Masker>,
}

impl Log {
    /// A log that masks the secrets of `masker` and appends its lines to `spool`.
    pub fn new(spool: Arc<Spool>, masker: Arc<Masker>) -> Self {
        Self { spool, masker }
    }

    /// The masker of this log.
    pub fn masker(&self) -> &Arc<Masker> {
        &self.masker
    }

    /// Writes a message of the agent itself, one line or several; the last line has the hint. A message with a hint is
    /// cut to [`limits::TEXT_BYTES`], so that both fit into one block.
    pub fn message(&self, level: Level, message: impl Into<Message>) {
        let mut message: Message = message.into();
        if let Some(hint) = &mut message.hint {
            // Masked before it is cut: a part of a secret would not be found.
            *hint = self.masker.text(hint).into_owned();
            message.text = self.masker.text(&message.text).into_owned();
            message = message.clipped();
        }
        let mut writer = self.writer(Source::Agent, level);
        // The hint belongs to the last line, which must not have ended before it; without a text, it is the text.
        let text = message.text.trim_end_matches(['\r', '\n']);
        let text = if text.is_empty() { message.hint.take() } else { Some(text.to_owned()) };
        writer.push(text.unwrap_or_default().as_bytes(), |_| {});
        writer.end(message.hint.as_deref());
    }

    /// A writer for one stream of output.
    pub fn writer(&self, source: Source, level: Level) -> Writer {
        let masker = Arc::clone(&self.masker);
        let is_script = matches!(source, Source::PreScript | Source::PostScript);
        Writer {
            spool: Arc::clone(&self.spool),
            lines: if is_script { Lines::with_commands(masker) } else { Lines::new(masker) },
            source,
            level,
            batch: Vec::new(),
        }
    }
}

/// Writes one stream of output to the log.
#[derive(Debug)]
pub struct Writer {
    spool: Arc<Spool>,
    lines: Lines,
    source: Source,
    level: Level,
    batch: Vec<u8>,
}

impl Writer {
    /// Writes the next bytes, which may end anywhere in a line. `on_line` is called with every message of the log.
    pub fn push(&mut self, chunk: &[u8], on_line: impl FnMut(&str)) {
        self.write(None, on_line, |lines, emit| lines.push(chunk, &mut |text, more| emit(text, more)));
    }

    /// Ends an incomplete line.
    pub fn flush(&mut self, on_line: impl FnMut(&str)) {
        self.write(None, on_line, |lines, emit| lines.flush(&mut |text, more| emit(text, more)));
    }

    /// Ends an incomplete line, and adds the hint to it.
    fn end(&mut self, hint: Option<&str>) {
        self.write(hint, |_| {}, |lines, emit| lines.flush(&mut |text, more| emit(text, more)));
    }

    fn write(
        &mut self,
        hint: Option<&str>,
        mut on_line: impl FnMut(&str),
        work: impl FnOnce(&mut Lines, &mut dyn FnMut(&str, bool)),
    ) {
        let head = head(clock::now(), self.source, self.level);
        let (batch, mut count) = (&mut self.batch, 0);
        batch.clear();
        work(&mut self.lines, &mut |text, more| {
            encode(&head, text, more, hint.filter(|_| !more), batch);
            on_line(text);
            count += 1;
            // A large chunk is appended in parts: this bounds the size of a batch.
            if batch.len() >= limits::BLOCK_BYTES {
                self.spool.append(batch, count);
                batch.clear();
                count = 0;
            }
        });
        self.spool.append(batch, count);
    }
}

/// The part of an encoded line before its message; the same for all lines of one time and source.
fn head(ts: Timestamp, source: Source, level: Level) -> Vec<u8> {
    let level = match level {
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Info | Level::Unknown => "info",
    };
    format!(r#"{{"ts":"{ts}","src":"{}","lvl":"{level}","msg":"#, source.as_str()).into_bytes()
}

/// Appends one encoded [`bakery_core::wire::log::LogLine`] and a line end. Hand-written because a task may print a
/// hundred thousand lines a second.
fn encode(head: &[u8], text: &str, more: bool, hint: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(head);
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
    if more {
        out.extend_from_slice(b",\"more\":true");
    }
    if let Some(hint) = hint {
        out.extend_from_slice(b",\"hint\":");
        let _ = serde_json::to_writer(&mut *out, hint);
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipper::spool::Position;
    use bakery_core::mask::Secrets;
    use bakery_core::wire::log::LogLine;

    #[test]
    fn encoded_lines_are_those_of_serde() {
        for (source, level) in [(Source::Kaniko, Level::Info), (Source::PostScript, Level::Error)] {
            for (msg, more, hint) in [
                ("a \"b\"\\ \u{1b}[31m ü\t", false, None),
                ("", true, None),
                ("c", false, Some("set `d` to \"e\"")),
            ] {
                let ts: Timestamp = "2026-11-22T18:30:00.250Z".parse().unwrap();
                let mut bytes = Vec::new();
                encode(&head(ts, source, level), msg, more, hint, &mut bytes);
                let hint = hint.map(str::to_owned);
                let line = LogLine { ts, src: source, lvl: level, msg: msg.to_owned(), more, hint };
                assert_eq!(String::from_utf8(bytes).unwrap(), serde_json::to_string(&line).unwrap() + "\n");
            }
        }
    }

    #[test]
    fn the_hint_of_a_message_is_masked_and_belongs_to_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::create(&folder.path().join("spool")).unwrap());
        let mut secrets = Secrets::default();
        secrets.add("hunter2");
        let log = Log::new(Arc::clone(&spool), Arc::new(Masker::new(secrets).unwrap()));
        log.message(Level::Warn, Message::new("one\ntwo hunter2").with_hint("change hunter2"));
        log.message(Level::Info, "three");
        log.message(Level::Warn, Message::new("four\n").with_hint("change four"));
        log.message(Level::Warn, Message::new("").with_hint("change five"));
        let beyond = "x".repeat(limits::TEXT_BYTES - 4) + "hunter2";
        log.message(Level::Error, Message::new(beyond.clone()).with_hint(beyond));

        let (block, _) = spool.read(Position::START, limits::BLOCK_BYTES).unwrap().unwrap();
        let lines = block.payload.split_inclusive(|byte| *byte == b'\n');
        let lines: Vec<LogLine> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        let (last, lines) = lines.split_last().unwrap();
        let lines: Vec<_> = lines.iter().map(|line| (line.msg.as_str(), line.hint.as_deref())).collect();
        assert_eq!(
            lines,
            [
                ("one", None),
                ("two ***", Some("change ***")),
                ("three", None),
                ("four", Some("change four")),
                ("change five", None)
            ]
        );
        let hint = last.hint.as_deref().unwrap();
        assert!(last.msg.len() <= limits::TEXT_BYTES && hint.len() <= limits::TEXT_BYTES);
        assert!(last.msg.ends_with("x***") && hint.ends_with("x***"));
    }
}
