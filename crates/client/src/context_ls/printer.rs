//! Prints entries as they are found.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bakery_context::{Listed, Reason};
use bakery_core::terminal::escaped;
use bakery_core::units::format_bytes;
use serde::Serialize;

use crate::cli::ListOptions;
use crate::render::{defuse, defuse_json};

/// An entry that is sent. Keys may be added, but are never changed.
#[derive(Debug, Serialize)]
struct SentEntry<'e> {
    path: &'e str,
    bytes: u64,
    /// Of a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'e str>,
}

/// An entry that is left out.
#[derive(Debug, Serialize)]
struct DroppedEntry<'e> {
    path: &'e str,
    /// `ignored`, `git` or `credentials`
    reason: &'static str,
    /// The lines that exclude it, one of each context that contains it.
    lines: Vec<IgnoringLine<'e>>,
}

#[derive(Debug, Serialize)]
struct IgnoringLine<'e> {
    file: &'e str,
    line: usize,
    text: &'e str,
}

/// Prints a list, entry by entry; of the largest files, at its end.
pub(super) struct Printer<'p, W> {
    out: W,
    options: &'p ListOptions,
    /// The folders whose entries are printed.
    below: Vec<PathBuf>,
    /// The largest files so far, the smallest of them first.
    largest: BinaryHeap<Reverse<(u64, Reverse<String>)>>,
    printed: u64,
    files: u64,
    bytes: u64,
}

impl<'p, W: Write> Printer<'p, W> {
    pub(super) fn new(out: W, options: &'p ListOptions, below: Vec<PathBuf>) -> Self {
        Self { out, options, below, largest: BinaryHeap::new(), printed: 0, files: 0, bytes: 0 }
    }

    /// Files and links that are sent, and their bytes.
    pub(super) fn sent(&self) -> (u64, u64) {
        (self.files, self.bytes)
    }

    pub(super) fn entry(&mut self, entry: Listed) -> io::Result<()> {
        let (Listed::File { path, .. } | Listed::Link { path, .. } | Listed::LeftOut { path, .. }) = &entry
        else {
            return Ok(());
        };
        if !self.below.iter().any(|folder| Path::new(path).starts_with(folder)) {
            return Ok(());
        }
        match entry {
            Listed::LeftOut { path, reason } if self.options.dropped => self.dropped(&path, &reason),
            Listed::LeftOut { .. } | Listed::Folder { .. } => Ok(()),
            Listed::File { path, bytes } => {
                self.files += 1;
                self.bytes += bytes;
                match self.options.largest {
                    _ if self.options.dropped => Ok(()),
                    Some(count) => {
                        self.largest.push(Reverse((bytes, Reverse(path))));
                        if self.largest.len() > count {
                            self.largest.pop();
                        }
                        Ok(())
                    }
                    None => self.sent_entry(&SentEntry { path: &path, bytes, target: None }),
                }
            }
            Listed::Link { path, target } => {
                self.files += 1;
                let is_listed = !self.options.dropped && self.options.largest.is_none();
                let entry = SentEntry { path: &path, bytes: 0, target: Some(&target) };
                if is_listed { self.sent_entry(&entry) } else { Ok(()) }
            }
        }
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        for Reverse((bytes, Reverse(path))) in std::mem::take(&mut self.largest).into_sorted_vec() {
            self.sent_entry(&SentEntry { path: &path, bytes, target: None })?;
        }
        if self.options.json {
            if self.printed == 0 {
                self.begin()?;
            }
            writeln!(self.out, "\n]}}")?;
        }
        self.out.flush()
    }

    fn sent_entry(&mut self, entry: &SentEntry<'_>) -> io::Result<()> {
        if self.options.json {
            return self.json(entry);
        }
        match entry.target {
            None => writeln!(self.out, "{:>8}  {}", format_bytes(entry.bytes), shown(entry.path)),
            Some(target) => writeln!(self.out, "{:>8}  {} -> {}", "link", shown(entry.path), shown(target)),
        }
    }

    fn dropped(&mut self, path: &str, reason: &Reason) -> io::Result<()> {
        let (reason, lines, why) = match reason {
            Reason::Rules(lines) => ("ignored", lines.as_slice(), ""),
            Reason::Git => ("git", &[][..], "`.git` is not sent (`context.git`)"),
            Reason::Credentials => ("credentials", &[][..], "it may hold credentials of git"),
        };
        if self.options.json {
            let lines = lines.iter().map(|it| IgnoringLine {
                file: &it.file,
                line: it.rule.line,
                text: &it.rule.text,
            });
            return self.json(&DroppedEntry { path, reason, lines: lines.collect() });
        }
        let lines: Vec<_> = lines.iter().map(|line| format!("{line}: {}", line.rule.text)).collect();
        writeln!(self.out, "{}\t{}", shown(path), shown(&format!("{}{why}", lines.join(", "))))
    }

    fn json(&mut self, entry: &impl Serialize) -> io::Result<()> {
        if self.printed == 0 {
            self.begin()?;
        } else {
            self.out.write_all(b",")?;
        }
        self.printed += 1;
        write!(self.out, "\n  {}", defuse_json(&serde_json::to_string(entry)?))
    }

    fn begin(&mut self) -> io::Result<()> {
        let key = if self.options.dropped { "dropped" } else { "files" };
        write!(self.out, "{{\"{key}\": [")
    }
}

/// A text on one line, without anything that a terminal or a CI system executes.
fn shown(text: &str) -> String {
    let line: Cow<'_, str> = escaped(text);
    defuse(&line).into_owned()
}
