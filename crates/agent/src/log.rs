//! The task's log: messages are masked, encoded and appended to the spool.

use std::sync::Arc;

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

    /// Writes a message of the agent itself, one line or several.
    pub fn message(&self, level: Level, text: &str) {
        let mut writer = self.writer(Source::Agent, level);
        writer.push(text.as_bytes(), |_| {});
        writer.flush(|_| {});
    }

    /// A writer for one stream of output.
    pub fn writer(&self, source: Source, level: Level) -> Writer {
        Writer {
            spool: Arc::clone(&self.spool),
            lines: Lines::new(Arc::clone(&self.masker)),
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
        self.write(on_line, |lines, emit| lines.push(chunk, &mut |text, more| emit(text, more)));
    }

    /// Ends an incomplete line.
    pub fn flush(&mut self, on_line: impl FnMut(&str)) {
        self.write(on_line, |lines, emit| lines.flush(&mut |text, more| emit(text, more)));
    }

    fn write(
        &mut self,
        mut on_line: impl FnMut(&str),
        work: impl FnOnce(&mut Lines, &mut dyn FnMut(&str, bool)),
    ) {
        let head = head(clock::now(), self.source, self.level);
        let (batch, mut count) = (&mut self.batch, 0);
        batch.clear();
        work(&mut self.lines, &mut |text, more| {
            encode(&head, text, more, batch);
            on_line(text);
            count += 1;
            // A large chunk is appended in parts: this bounds the size of a batch.
            if batch.len() >= bakery_core::limits::BLOCK_BYTES {
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
fn encode(head: &[u8], text: &str, more: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(head);
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
    out.extend_from_slice(if more { b",\"more\":true}\n" } else { b"}\n" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakery_core::wire::log::LogLine;

    #[test]
    fn encoded_lines_are_those_of_serde() {
        for (source, level) in [(Source::Kaniko, Level::Info), (Source::PostScript, Level::Error)] {
            for (msg, more) in [("a \"b\"\\ \u{1b}[31m ü\t", false), ("", true)] {
                let ts: Timestamp = "2026-11-22T18:30:00.250Z".parse().unwrap();
                let mut bytes = Vec::new();
                encode(&head(ts, source, level), msg, more, &mut bytes);
                let line = LogLine { ts, src: source, lvl: level, msg: msg.to_owned(), more, hint: None };
                assert_eq!(String::from_utf8(bytes).unwrap(), serde_json::to_string(&line).unwrap() + "\n");
            }
        }
    }
}
