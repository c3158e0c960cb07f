//! The writer of a log: the only code that appends to its file, and its memory of each run.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bakery_core::limits;
use bakery_core::names::RunName;
use bakery_core::wire::log::{self, BlockHeader, Frame, FrameHeader, LogLine};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::LogError;
use super::claims;
use super::file::LogFile;
use super::relay_metrics::AppendCounts;
use super::room::LogRoom;

use crate::disk;

/// A `Gap` frame is written at the first dropped line, and then whenever this many more, and as many as all reported
/// before, were dropped: an agent that reports lines it never had cannot fill the disk, it gets about 50 frames.
const GAP_EVERY: u64 = 100_000;

/// Approximate bytes of a frame's header.
pub(super) const HEADER_ROOM: usize = 160;

/// The writer of one log.
pub(super) struct Writer {
    /// Bytes kept of one run at most.
    bound: u64,
    /// What the disk has for lines of agents.
    room: Arc<LogRoom>,
    ended: bool,
    /// True after a failed write that could not be undone: the log must be opened again.
    broken: bool,
    runs: HashMap<RunName, RunLines>,
}

/// The lines of one run so far.
#[derive(Debug, Clone, Copy)]
struct RunLines {
    /// The number of the next expected line.
    next: u64,
    /// Bytes kept, headers included: they dominate where blocks are small.
    kept: u64,
    /// Dropped lines that no `Gap` frame reports yet.
    unreported: u64,
    /// Dropped lines that a `Gap` frame reports.
    reported: u64,
    /// True once a line was dropped; all later ones are too, so the kept part is a beginning without holes.
    full: bool,
}

impl Default for RunLines {
    fn default() -> Self {
        Self { next: 1, kept: 0, unreported: 0, reported: 0, full: false }
    }
}

/// A request to append blocks of one run.
pub(super) struct AppendRequest {
    pub run: RunName,
    pub blocks: Vec<(BlockHeader, Bytes)>,
    pub reply: oneshot::Sender<Result<u64, LogError>>,
}

impl AppendRequest {
    /// Approximate bytes of its frames.
    pub(super) fn size(&self) -> usize {
        self.blocks.iter().map(|(_, payload)| payload.len() + HEADER_ROOM).sum()
    }
}

/// Encoded frames for one write.
struct FrameBatch {
    bytes: Vec<u8>,
    frames: Vec<(u64, u64)>,
    at: u64,
    next: u64,
    ended: bool,
    counts: AppendCounts,
}

impl FrameBatch {
    fn new(file: &LogFile, capacity: usize) -> Self {
        let tip = file.tip();
        Self {
            bytes: Vec::with_capacity(capacity),
            frames: Vec::new(),
            at: tip.end,
            next: tip.next,
            ended: tip.ended,
            counts: AppendCounts::default(),
        }
    }

    fn push(&mut self, frame: Frame, payload: &[u8]) {
        // A header above its limit would be treated as an incomplete end when the log is opened again.
        let frame = frame.bounded();
        self.frames.push((self.next, self.at + self.bytes.len() as u64));
        // Payloads were checked against `limits::BLOCK_BYTES`.
        let header =
            FrameHeader { len: u32::try_from(payload.len()).unwrap_or(u32::MAX), seq: self.next, frame };
        self.next += header.frame.width();
        self.ended |= matches!(header.frame, Frame::End { .. });
        log::encode(&header, payload, &mut self.bytes);
    }
}

impl Writer {
    pub(super) fn new(bound: u64, room: Arc<LogRoom>) -> Self {
        Self { bound, room, ended: false, broken: false, runs: HashMap::new() }
    }

    /// Updates the memory from a stored frame.
    pub(super) fn recall(&mut self, header: &FrameHeader) {
        match header.frame {
            Frame::Lines { run, first, lines } => {
                let run = self.runs.entry(run).or_default();
                run.next = first.saturating_add(u64::from(lines));
                run.kept += u64::from(header.len) + HEADER_ROOM as u64;
            }
            Frame::Gap { run, lines } => {
                let run = self.runs.entry(run).or_default();
                run.next = run.next.saturating_add(lines);
                run.reported = run.reported.saturating_add(lines);
                run.full = true;
            }
            Frame::End { .. } => self.ended = true,
            _ => {}
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn next_of(&self, run: RunName) -> u64 {
        self.runs.get(&run).map_or(1, |lines| lines.next)
    }

    /// See [`super::Logs::append_all`]. All requests become one write; each gets its own reply.
    pub(super) fn append(&mut self, file: &LogFile, requests: Vec<AppendRequest>) {
        let capacity = requests.iter().map(AppendRequest::size).sum();
        let mut batch = FrameBatch::new(file, capacity);
        let mut runs: HashMap<RunName, RunLines> = HashMap::new();
        let mut replies = Vec::new();
        for AppendRequest { run, blocks, reply } in requests {
            let lines = runs.entry(run).or_insert_with(|| self.runs.get(&run).copied().unwrap_or_default());
            replies.push((reply, self.stage(run, lines, &blocks, &mut batch)));
        }
        let counts = batch.counts;
        // Measured here, once for each write and on a thread that may block: other logs write too.
        let failed = if batch.bytes.is_empty() || self.room.has(batch.bytes.len() as u64) {
            self.commit(file, batch).err()
        } else {
            Some(LogError::DiskFull(file.build))
        };
        if failed.is_none() {
            file.metrics.appended(counts);
            self.runs.extend(runs);
        }
        for (reply, result) in replies {
            let result = match &failed {
                None => result,
                Some(LogError::DiskFull(build)) => Err(LogError::DiskFull(*build)),
                Some(LogError::Io { source, .. }) if disk::is_full(source) => {
                    Err(LogError::DiskFull(file.build))
                }
                Some(error) => Err(LogError::Io {
                    build: file.build,
                    doing: "written",
                    source: std::io::Error::other(error.to_string()),
                }),
            };
            // A caller that went away does not need the result.
            let _ = reply.send(result);
        }
    }

    /// Adds the new lines of one request to the batch.
    fn stage(
        &self,
        run: RunName,
        lines: &mut RunLines,
        blocks: &[(BlockHeader, Bytes)],
        batch: &mut FrameBatch,
    ) -> Result<u64, LogError> {
        for (header, payload) in blocks {
            check(run, header, payload).map_err(|detail| LogError::BadBlock { run, detail })?;
            if header.first > lines.next {
                break;
            }
            let known = lines.next - header.first;
            if known >= u64::from(header.lines) {
                continue;
            }
            let (fresh, payload) = skip(payload, known, header.lines);
            let first = lines.next;
            lines.next += u64::from(fresh);
            batch.counts.lines += u64::from(fresh);
            batch.counts.bytes += payload.len() as u64;
            if self.ended {
                continue;
            }
            let size = (payload.len() + HEADER_ROOM) as u64;
            if lines.full || header.is_gap() || lines.kept + size > self.bound {
                lines.unreported += u64::from(fresh);
                batch.counts.dropped += u64::from(fresh);
                if !lines.full || lines.unreported >= GAP_EVERY.max(lines.reported) {
                    lines.report(run, batch);
                }
            } else {
                lines.kept += size;
                batch.push(Frame::Lines { run, first, lines: fresh }, payload);
            }
        }
        Ok(lines.next)
    }

    /// Appends lines of the server, in as many frames as they need.
    pub(super) fn note(
        &mut self,
        file: &LogFile,
        run: Option<RunName>,
        lines: &[LogLine],
    ) -> Result<(), LogError> {
        let mut batch = FrameBatch::new(file, 0);
        let (mut payload, mut count) = (Vec::new(), 0);
        for line in lines {
            let mut text = Vec::new();
            // A plain struct of strings and numbers: serializing it into memory cannot fail.
            if serde_json::to_writer(&mut text, line).is_err() || text.len() >= limits::BLOCK_BYTES {
                continue;
            }
            text.push(b'\n');
            if payload.len() + text.len() > limits::BLOCK_BYTES {
                batch.push(Frame::Note { run, lines: count }, &payload);
                payload.clear();
                count = 0;
            }
            payload.append(&mut text);
            count += 1;
        }
        if count > 0 {
            batch.push(Frame::Note { run, lines: count }, &payload);
        }
        self.commit(file, batch)
    }

    /// Appends a frame without lines.
    pub(super) fn frame(&mut self, file: &LogFile, frame: Frame) -> Result<(), LogError> {
        if matches!(frame, Frame::End { .. }) {
            self.report_gaps(file)?;
        }
        let mut batch = FrameBatch::new(file, 0);
        batch.push(frame, &[]);
        self.commit(file, batch)
    }

    /// Writes `Gap` frames for all dropped lines that none reports yet.
    pub(super) fn report_gaps(&mut self, file: &LogFile) -> Result<(), LogError> {
        let mut batch = FrameBatch::new(file, 0);
        // In the order of run names, so that the same events always produce the same file.
        let mut unreported: BTreeMap<_, _> =
            self.runs.iter().filter(|(_, lines)| lines.unreported > 0).map(|(run, l)| (*run, *l)).collect();
        for (run, lines) in &mut unreported {
            lines.report(*run, &mut batch);
        }
        self.commit(file, batch)?;
        self.runs.extend(unreported);
        Ok(())
    }

    /// Writes a batch at the log's end and shows it to readers. A failed write leaves the log unchanged.
    fn commit(&mut self, file: &LogFile, batch: FrameBatch) -> Result<(), LogError> {
        let io = |doing, source| LogError::Io { build: file.build, doing, source };
        if batch.bytes.is_empty() || self.ended {
            return Ok(());
        }
        if self.broken {
            return Err(io("written", std::io::Error::other("an earlier write failed halfway")));
        }
        if let Err(error) = file.handle.write_all_at(&batch.bytes, batch.at) {
            self.broken = file.handle.set_len(batch.at).is_err();
            return Err(io("written", error));
        }
        self.ended = batch.ended;
        file.extended(&batch.bytes.into(), &batch.frames, batch.next, batch.ended);
        Ok(())
    }
}

impl RunLines {
    fn report(&mut self, run: RunName, batch: &mut FrameBatch) {
        batch.push(Frame::Gap { run, lines: self.unreported }, &[]);
        self.reported += self.unreported;
        self.unreported = 0;
        self.full = true;
    }
}

/// Checks a block against its header. The error continues a sentence that starts with the block.
fn check(run: RunName, header: &BlockHeader, payload: &[u8]) -> Result<(), &'static str> {
    if header.run != run {
        return Err("it belongs to another run");
    }
    if header.first == 0 {
        return Err("line numbers start at 1");
    }
    if header.len as usize != payload.len() {
        return Err("its length differs from its header");
    }
    if payload.len() > limits::BLOCK_BYTES {
        return Err("it exceeds the maximum length");
    }
    let found = claims::read(payload);
    if !header.is_gap() && found.count != header.lines as usize {
        return Err("its number of lines differs from its header");
    }
    if found.forged {
        return Err("a line has no source, several, or the server");
    }
    if payload.last().is_some_and(|&b| b != b'\n') {
        return Err("its last line is not terminated");
    }
    // Far above any real log, and low enough that no sum overflows.
    if header.first > u64::MAX >> 2 {
        return Err("its line numbers are too high");
    }
    Ok(())
}

/// `payload` without its first `known` lines, and how many lines that leaves.
fn skip(payload: &[u8], known: u64, lines: u32) -> (u32, &[u8]) {
    let Some(last_known) = usize::try_from(known).unwrap_or(usize::MAX).checked_sub(1) else {
        return (lines, payload);
    };
    let mut ends = payload.iter().enumerate().filter(|(_, b)| **b == b'\n');
    let from = ends.nth(last_known).map_or(payload.len(), |(at, _)| at + 1);
    (lines - u32::try_from(known).unwrap_or(lines), &payload[from..])
}
