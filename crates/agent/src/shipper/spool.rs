//! The task's log on local disk, kept completely until the end of the run: the server may request any line again.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bakery_core::limits::{BLOCK_BYTES, FLUSH_BYTES, TASK_LOG_BYTES};
use tokio::sync::watch;

/// Maximum size of the spool in bytes: a little more than the server keeps of a task's log.
pub const SPOOL_BYTES: u64 = TASK_LOG_BYTES + 4 * BLOCK_BYTES as u64;
/// Distance between two entries of the index in bytes: a few thousand entries for the largest spool.
const INDEX_BYTES: u64 = 128 << 10;

/// Encoded lines, numbered from 1: an append-only file, a small write buffer, and a sparse index.
///
/// Lines that exceed the size limit, or could not be written, are only counted, and only their number is sent to the
/// server. So every line has the same number on the server.
#[derive(Debug)]
pub struct Spool {
    file: File,
    max_bytes: u64,
    state: Mutex<State>,
    extent: watch::Sender<Extent>,
}

/// The size of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Lines written so far, including dropped ones.
    pub lines: u64,
    /// Lines to send without delay: a full buffer of them was written to the file. Dropped lines are not included.
    pub flushed: u64,
    /// No more lines will be written.
    pub closed: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes and lines in the file.
    bytes: u64,
    kept: u64,
    /// Bytes and lines in the write buffer.
    buffer: Vec<u8>,
    buffered: u64,
    /// The positions of some lines, in order.
    index: Vec<Position>,
    /// Number of dropped lines.
    dropped: u64,
    closed: bool,
}

/// The position of a line: its number and its offset in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line's number, from 1.
    pub line: u64,
    /// The offset of its first byte.
    pub offset: u64,
}

impl Position {
    /// The position of the first line.
    pub const START: Self = Self { line: 1, offset: 0 };
}

/// Consecutive lines that are sent as one block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the first line.
    pub first: u64,
    /// Number of lines.
    pub lines: u32,
    /// The encoded lines; empty if they were dropped.
    pub payload: Vec<u8>,
}

impl Spool {
    /// Creates a spool in a new file (mode 0600).
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, SPOOL_BYTES)
    }

    /// Creates a spool that keeps at most `max_bytes`.
    pub fn with_limit(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let file =
            File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let state = Mutex::default();
        Ok(Self { file, max_bytes, state, extent: watch::Sender::default() })
    }

    /// Appends `lines` encoded lines, each terminated by `\n` and at most [`BLOCK_BYTES`] long, as is the whole batch,
    /// approximately. Never waits for the network.
    pub fn append(&self, batch: &[u8], lines: u64) {
        if lines == 0 {
            return;
        }
        let mut state = self.state();
        if state.dropped > 0 || state.bytes + (state.buffer.len() + batch.len()) as u64 > self.max_bytes {
            state.dropped += lines;
        } else {
            state.buffer.extend_from_slice(batch);
            state.buffered += lines;
            if state.buffer.len() >= FLUSH_BYTES {
                self.write(&mut state);
            }
        }
        self.publish(&state);
    }

    /// Marks the end of the log: no more lines will be appended.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.publish(&state);
    }

    /// Subscribes to the size of the spool.
    pub fn watch(&self) -> watch::Receiver<Extent> {
        self.extent.subscribe()
    }

    /// Lines written so far, including dropped ones.
    pub fn lines(&self) -> u64 {
        self.state().lines()
    }

    /// Reads the lines from `from` on, at most `max` bytes, and returns them with the position after them. `None` if
    /// there are none, or if not even one fits into `max`.
    pub fn read(&self, from: Position, max: usize) -> io::Result<Option<(Block, Position)>> {
        let (bytes, kept, all) = {
            let mut state = self.state();
            if from.line > state.kept {
                self.write(&mut state);
                self.publish(&state);
            }
            (state.bytes, state.kept, state.lines())
        };
        if from.line > all {
            return Ok(None);
        }
        if from.line > kept {
            // Once a line is dropped, all later ones are: the file contains the first lines without a gap.
            let lines = u32::try_from(all + 1 - from.line).unwrap_or(u32::MAX);
            let next = Position { line: from.line + u64::from(lines), ..from };
            return Ok(Some((Block { first: from.line, lines, payload: Vec::new() }, next)));
        }
        let len = usize::try_from(bytes - from.offset).unwrap_or(usize::MAX).min(max);
        let mut payload = vec![0; len];
        self.file.read_exact_at(&mut payload, from.offset)?;
        let Some(end) = memchr::memrchr(b'\n', &payload) else { return Ok(None) };
        payload.truncate(end + 1);
        let lines = count(&payload);
        let next =
            Position { line: from.line + u64::from(lines), offset: from.offset + payload.len() as u64 };
        Ok(Some((Block { first: from.line, lines, payload }, next)))
    }

    /// The position of `line`; for a number after the last line, the position after it.
    pub fn position_of(&self, line: u64) -> io::Result<Position> {
        let (mut at, kept, bytes) = {
            let mut state = self.state();
            self.write(&mut state);
            let after = state.index.partition_point(|position| position.line <= line);
            let at = if after == 0 { Position::START } else { state.index[after - 1] };
            (at, state.kept, state.bytes)
        };
        if line > kept {
            return Ok(Position { line: line.min(self.lines() + 1), offset: bytes });
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

    /// Writes the buffer to the file.
    fn write(&self, state: &mut State) {
        if state.buffer.is_empty() {
            return;
        }
        let buffer = std::mem::take(&mut state.buffer);
        let lines = std::mem::take(&mut state.buffered);
        match (&self.file).write_all(&buffer) {
            Ok(()) => {
                let indexed = state.index.last().map_or(0, |position| position.offset);
                if state.bytes >= indexed + INDEX_BYTES {
                    state.index.push(Position { line: state.kept + 1, offset: state.bytes });
                }
                state.bytes += buffer.len() as u64;
                state.kept += lines;
            }
            Err(error) => {
                tracing::error!(%error, "the spool cannot be written");
                state.dropped += lines;
            }
        }
        state.buffer = buffer;
        state.buffer.clear();
    }

    fn publish(&self, state: &State) {
        self.extent.send_replace(Extent { lines: state.lines(), flushed: state.kept, closed: state.closed });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lines(&self) -> u64 {
        self.kept + self.buffered + self.dropped
    }
}

fn count(payload: &[u8]) -> u32 {
    u32::try_from(memchr::memchr_iter(b'\n', payload).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
