//! The task's log on the task's own disk, kept whole until the end: the server may want any line again.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bakery_core::limits::{BLOCK_BYTES, FLUSH_BYTES, TASK_LOG_BYTES};
use tokio::sync::watch;

/// The spool keeps a little more than the server does, so that what is dropped here would be dropped there.
pub const SPOOL_BYTES: u64 = TASK_LOG_BYTES + 4 * BLOCK_BYTES as u64;
/// The index knows a place about every so many bytes: some thousand places for the largest spool.
const MARK_BYTES: u64 = 128 << 10;

/// Encoded lines, numbered from 1. One file that only grows, a small buffer before it, and a sparse index.
///
/// Lines beyond the bound, or that the disk did not take, are not kept but counted, and only their number is shipped:
/// thus every line that was written has its number on the server's side too.
#[derive(Debug)]
pub struct Spool {
    file: File,
    bound: u64,
    state: Mutex<State>,
    extent: watch::Sender<Extent>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Lines written so far, dropped ones included.
    pub lines: u64,
    /// Those of them that are worth sending at once: enough has come together. Mere counts can wait.
    pub flushed: u64,
    /// Nothing will follow.
    pub closed: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes and lines in the file.
    bytes: u64,
    kept: u64,
    /// What is not in the file yet.
    tail: Vec<u8>,
    tail_lines: u64,
    /// Every so often: a line's number and its place in the file.
    marks: Vec<Place>,
    /// Lines that were dropped.
    dropped: u64,
    closed: bool,
}

/// A line's number and where it begins in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// Its first byte.
    pub offset: u64,
}

impl Place {
    /// The first line.
    pub const START: Self = Self { line: 1, offset: 0 };
}

/// Lines that belong together on the wire.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the first line.
    pub first: u64,
    /// How many.
    pub lines: u32,
    /// Their bytes; none where they were dropped.
    pub payload: Vec<u8>,
}

impl Spool {
    /// A new spool in a new file (mode 0600).
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::bounded(path, SPOOL_BYTES)
    }

    /// A spool that keeps at most `bound` bytes.
    pub fn bounded(path: &Path, bound: u64) -> io::Result<Self> {
        let file =
            File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let state = Mutex::default();
        Ok(Self { file, bound, state, extent: watch::Sender::default() })
    }

    /// Appends `lines` encoded lines, each ended by `\n`, together at most about [`BLOCK_BYTES`] long, none longer than that. Never waits for the network.
    pub fn append(&self, batch: &[u8], lines: u64) {
        if lines == 0 {
            return;
        }
        let mut state = self.state();
        if state.dropped > 0 || state.bytes + (state.tail.len() + batch.len()) as u64 > self.bound {
            state.dropped += lines;
        } else {
            state.tail.extend_from_slice(batch);
            state.tail_lines += lines;
            if state.tail.len() >= FLUSH_BYTES {
                self.write(&mut state);
            }
        }
        self.tell(&state);
    }

    /// Says that nothing will follow.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.tell(&state);
    }

    /// Tells how much there is, whenever there is more.
    pub fn watch(&self) -> watch::Receiver<Extent> {
        self.extent.subscribe()
    }

    /// Lines written so far, dropped ones included.
    pub fn lines(&self) -> u64 {
        self.state().lines()
    }

    /// The lines from `from` on, at most `max` bytes of them, and the place behind them. `None` where there is none,
    /// or where not even one fits into `max`.
    pub fn read(&self, from: Place, max: usize) -> io::Result<Option<(Block, Place)>> {
        let (bytes, kept, all) = {
            let mut state = self.state();
            if from.line > state.kept {
                self.write(&mut state);
                self.tell(&state);
            }
            (state.bytes, state.kept, state.lines())
        };
        if from.line > all {
            return Ok(None);
        }
        if from.line > kept {
            // From the first that was dropped on nothing is kept: what is in the file is a beginning without holes.
            let lines = u32::try_from(all + 1 - from.line).unwrap_or(u32::MAX);
            let next = Place { line: from.line + u64::from(lines), ..from };
            return Ok(Some((Block { first: from.line, lines, payload: Vec::new() }, next)));
        }
        let len = usize::try_from(bytes - from.offset).unwrap_or(usize::MAX).min(max);
        let mut payload = vec![0; len];
        self.file.read_exact_at(&mut payload, from.offset)?;
        let Some(end) = memchr::memrchr(b'\n', &payload) else { return Ok(None) };
        payload.truncate(end + 1);
        let lines = count(&payload);
        let next = Place { line: from.line + u64::from(lines), offset: from.offset + payload.len() as u64 };
        Ok(Some((Block { first: from.line, lines, payload }, next)))
    }

    /// Where `line` begins. A number beyond the last line is the place behind it.
    pub fn place(&self, line: u64) -> io::Result<Place> {
        let (mut at, kept, bytes) = {
            let mut state = self.state();
            self.write(&mut state);
            let behind = state.marks.partition_point(|mark| mark.line <= line);
            let at = if behind == 0 { Place::START } else { state.marks[behind - 1] };
            (at, state.kept, state.bytes)
        };
        if line > kept {
            return Ok(Place { line: line.min(self.lines() + 1), offset: bytes });
        }
        let mut chunk = vec![0; 64 << 10];
        while at.line < line {
            let len = self.file.read_at(&mut chunk, at.offset)?;
            let mut used = len;
            for end in memchr::memchr_iter(b'\n', &chunk[..len]) {
                at.line += 1;
                if at.line == line {
                    used = end + 1;
                    break;
                }
            }
            if len == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            at.offset += used as u64;
        }
        Ok(at)
    }

    /// Puts the buffer into the file.
    fn write(&self, state: &mut State) {
        if state.tail.is_empty() {
            return;
        }
        let tail = std::mem::take(&mut state.tail);
        let lines = std::mem::take(&mut state.tail_lines);
        match (&self.file).write_all(&tail) {
            Ok(()) => {
                let known = state.marks.last().map_or(0, |mark| mark.offset);
                if state.bytes >= known + MARK_BYTES {
                    state.marks.push(Place { line: state.kept + 1, offset: state.bytes });
                }
                state.bytes += tail.len() as u64;
                state.kept += lines;
            }
            Err(error) => {
                tracing::error!(%error, "the spool cannot be written");
                state.dropped += lines;
            }
        }
        state.tail = tail;
        state.tail.clear();
    }

    fn tell(&self, state: &State) {
        self.extent.send_replace(Extent { lines: state.lines(), flushed: state.kept, closed: state.closed });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lines(&self) -> u64 {
        self.kept + self.tail_lines + self.dropped
    }
}

fn count(payload: &[u8]) -> u32 {
    u32::try_from(memchr::memchr_iter(b'\n', payload).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
