//! Messages become encoded lines in the spool.

use std::sync::Arc;

use bakery_core::wire::log::{Level, Source};
use jiff::Timestamp;

use crate::clock;
use crate::lines::Lines;
use crate::mask::Masker;
use crate::shipper::spool::Spool;

/// The task's log. Cheap to clone; whoever writes, secrets are hidden.
#[derive(Debug, Clone)]
pub struct Log {
    spool: Arc<Spool>,
    masker: Arc<Masker>,
}

impl Log {
    /// A log that hides what `masker` knows and keeps its lines in `spool`.
    pub fn new(spool: Arc<Spool>, masker: Arc<Masker>) -> Self {
        Self { spool, masker }
    }

    /// What hides secrets here.
    pub fn masker(&self) -> &Arc<Masker> {
        &self.masker
    }

    /// Writes a text of the agent's own, one line or several.
    pub fn say(&self, level: Level, text: &str) {
        let mut writer = self.writer(Source::Agent, level);
        writer.push(text.as_bytes(), |_| {});
        writer.flush(|_| {});
    }

    /// Writes the output of one process, or of whoever else `source` is.
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

/// One stream of output on its way into the log.
#[derive(Debug)]
pub struct Writer {
    spool: Arc<Spool>,
    lines: Lines,
    source: Source,
    level: Level,
    batch: Vec<u8>,
}

impl Writer {
    /// Takes the next bytes, cut anywhere. `seen` gets every message as it goes into the log.
    pub fn push(&mut self, chunk: &[u8], seen: impl FnMut(&str)) {
        self.write(seen, |lines, emit| lines.push(chunk, &mut |text, more| emit(text, more)));
    }

    /// Ends a line that has no end yet.
    pub fn flush(&mut self, seen: impl FnMut(&str)) {
        self.write(seen, |lines, emit| lines.flush(&mut |text, more| emit(text, more)));
    }

    fn write(
        &mut self,
        mut seen: impl FnMut(&str),
        work: impl FnOnce(&mut Lines, &mut dyn FnMut(&str, bool)),
    ) {
        let head = head(clock::now(), self.source, self.level);
        let (batch, mut count) = (&mut self.batch, 0);
        batch.clear();
        work(&mut self.lines, &mut |text, more| {
            encode(&head, text, more, batch);
            seen(text);
            count += 1;
            // A flood reaches the spool in pieces, so that no chunk makes a batch of any size.
            if batch.len() >= bakery_core::limits::BLOCK_BYTES {
                self.spool.append(batch, count);
                batch.clear();
                count = 0;
            }
        });
        self.spool.append(batch, count);
    }
}

/// The beginning of each encoded line of one moment and source.
fn head(ts: Timestamp, source: Source, level: Level) -> Vec<u8> {
    let level = match level {
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Info | Level::Unknown => "info",
    };
    format!(r#"{{"ts":"{ts}","src":"{}","lvl":"{level}","msg":"#, source.as_str()).into_bytes()
}

/// Appends one [`bakery_core::wire::log::LogLine`] and its line end. Written by hand: a task may print a hundred thousand a second.
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
    fn lines_are_those_of_the_wire() {
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
