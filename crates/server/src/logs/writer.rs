//! The one hand that writes a log, and what it has to remember.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt;

use bakery_core::limits;
use bakery_core::names::RunName;
use bakery_core::wire::log::{self, BlockHeader, Frame, FrameHeader, LogLine};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::LogError;
use super::log::Log;
use super::stored::count_lines;
use super::traffic::Taken;

/// Dropped lines are told of at the first one, and then each time they are this many more and as many as all told
/// before: an agent that counts up lines it never had fills no disk, it gets some 50 frames at most.
const GAP_EVERY: u64 = 100_000;

/// Bytes of a frame's header, about.
pub(super) const HEADER_ROOM: usize = 160;

/// What the writer knows of a log besides its end.
pub(super) struct Writer {
    /// Bytes kept of one run at most.
    bound: u64,
    ended: bool,
    /// After a failed write that could not be taken back: only opening anew helps.
    broken: bool,
    runs: HashMap<RunName, Lines>,
}

/// The lines of one run so far.
#[derive(Debug, Clone, Copy)]
struct Lines {
    /// The number wanted next.
    next: u64,
    /// Bytes kept, headers included: of tiny blocks they are the most.
    kept: u64,
    /// Dropped, and no `Gap` tells of them yet.
    untold: u64,
    /// Dropped, and a `Gap` tells of them.
    told: u64,
    /// True once a line was dropped; then all are: what is kept is the beginning, without holes.
    full: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self { next: 1, kept: 0, untold: 0, told: 0, full: false }
    }
}

/// Blocks of one run that somebody waits to have appended.
pub(super) struct Request {
    pub run: RunName,
    pub blocks: Vec<(BlockHeader, Bytes)>,
    pub reply: oneshot::Sender<Result<u64, LogError>>,
}

impl Request {
    /// Bytes that its frames take, about.
    pub(super) fn room(&self) -> usize {
        self.blocks.iter().map(|(_, payload)| payload.len() + HEADER_ROOM).sum()
    }
}

/// Frames on their way to the file.
struct Batch {
    bytes: Vec<u8>,
    frames: Vec<(u64, u64)>,
    at: u64,
    next: u64,
    ended: bool,
    taken: Taken,
}

impl Batch {
    fn new(log: &Log, room: usize) -> Self {
        let tip = log.tip();
        Self {
            bytes: Vec::with_capacity(room),
            frames: Vec::new(),
            at: tip.end,
            next: tip.next,
            ended: tip.ended,
            taken: Taken::default(),
        }
    }

    fn push(&mut self, frame: Frame, payload: &[u8]) {
        // A header beyond its limit would be taken for a torn end when the log is opened again.
        let frame = frame.bounded();
        self.frames.push((self.next, self.at + self.bytes.len() as u64));
        // Payloads are bounded by `limits::BLOCK_BYTES` long before they come here.
        let header =
            FrameHeader { len: u32::try_from(payload.len()).unwrap_or(u32::MAX), seq: self.next, frame };
        self.next += header.frame.width();
        self.ended |= matches!(header.frame, Frame::End { .. });
        log::encode(&header, payload, &mut self.bytes);
    }
}

impl Writer {
    pub(super) fn new(bound: u64) -> Self {
        Self { bound, ended: false, broken: false, runs: HashMap::new() }
    }

    /// Takes a stored frame into account.
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
                run.told = run.told.saturating_add(lines);
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

    /// See [`super::Logs::append_all`]. All requests become one write; each is answered for itself.
    pub(super) fn append(&mut self, log: &Log, requests: Vec<Request>) {
        let room = requests.iter().map(Request::room).sum();
        let mut batch = Batch::new(log, room);
        let mut runs: HashMap<RunName, Lines> = HashMap::new();
        let mut answers = Vec::new();
        for Request { run, blocks, reply } in requests {
            let lines = runs.entry(run).or_insert_with(|| self.runs.get(&run).copied().unwrap_or_default());
            answers.push((reply, self.stage(run, lines, &blocks, &mut batch)));
        }
        let taken = batch.taken;
        let failed = self.commit(log, batch).err();
        if failed.is_none() {
            log.traffic.took(taken);
            self.runs.extend(runs);
        }
        for (reply, answer) in answers {
            let answer = match &failed {
                None => answer,
                Some(error) => Err(LogError::Io {
                    build: log.build,
                    doing: "written",
                    source: std::io::Error::other(error.to_string()),
                }),
            };
            // Who has gone away does not need the answer.
            let _ = reply.send(answer);
        }
    }

    /// Takes what is new of one request into the batch.
    fn stage(
        &self,
        run: RunName,
        lines: &mut Lines,
        blocks: &[(BlockHeader, Bytes)],
        batch: &mut Batch,
    ) -> Result<u64, LogError> {
        for (header, payload) in blocks {
            check(run, header, payload).map_err(|why| LogError::BadBlock { run, why })?;
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
            batch.taken.lines += u64::from(fresh);
            batch.taken.bytes += payload.len() as u64;
            if self.ended {
                continue;
            }
            let size = (payload.len() + HEADER_ROOM) as u64;
            if lines.full || header.is_gap() || lines.kept + size > self.bound {
                lines.untold += u64::from(fresh);
                batch.taken.dropped += u64::from(fresh);
                if !lines.full || lines.untold >= GAP_EVERY.max(lines.told) {
                    lines.tell(run, batch);
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
        log: &Log,
        run: Option<RunName>,
        lines: &[LogLine],
    ) -> Result<(), LogError> {
        let mut batch = Batch::new(log, 0);
        let (mut payload, mut count) = (Vec::new(), 0);
        for line in lines {
            let mut text = Vec::new();
            // A plain struct of texts and numbers: writing it into memory cannot fail.
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
        self.commit(log, batch)
    }

    /// Appends a frame without lines.
    pub(super) fn frame(&mut self, log: &Log, frame: Frame) -> Result<(), LogError> {
        if matches!(frame, Frame::End { .. }) {
            self.tell_gaps(log)?;
        }
        let mut batch = Batch::new(log, 0);
        batch.push(frame, &[]);
        self.commit(log, batch)
    }

    /// Tells of every dropped line that no `Gap` tells of yet.
    pub(super) fn tell_gaps(&mut self, log: &Log) -> Result<(), LogError> {
        let mut batch = Batch::new(log, 0);
        // In the order of names, so that the same events always give the same file.
        let mut untold: BTreeMap<_, _> =
            self.runs.iter().filter(|(_, lines)| lines.untold > 0).map(|(run, l)| (*run, *l)).collect();
        for (run, lines) in &mut untold {
            lines.tell(*run, &mut batch);
        }
        self.commit(log, batch)?;
        self.runs.extend(untold);
        Ok(())
    }

    /// Writes a batch at the log's end and shows it to readers; a failure leaves the log as it was.
    fn commit(&mut self, log: &Log, batch: Batch) -> Result<(), LogError> {
        let io = |doing, source| LogError::Io { build: log.build, doing, source };
        if batch.bytes.is_empty() || self.ended {
            return Ok(());
        }
        if self.broken {
            return Err(io("written", std::io::Error::other("an earlier write has failed half-way")));
        }
        if let Err(error) = log.file.write_all_at(&batch.bytes, batch.at) {
            self.broken = log.file.set_len(batch.at).is_err();
            return Err(io("written", error));
        }
        self.ended = batch.ended;
        log.grown(&batch.bytes.into(), &batch.frames, batch.next, batch.ended);
        Ok(())
    }
}

impl Lines {
    fn tell(&mut self, run: RunName, batch: &mut Batch) {
        batch.push(Frame::Gap { run, lines: self.untold }, &[]);
        self.told += self.untold;
        self.untold = 0;
        self.full = true;
    }
}

/// Whether a block is what its header says.
fn check(run: RunName, header: &BlockHeader, payload: &[u8]) -> Result<(), &'static str> {
    if header.run != run {
        return Err("it names another run");
    }
    if header.first == 0 {
        return Err("lines count from 1");
    }
    if header.len as usize != payload.len() {
        return Err("its length is not that of its header");
    }
    if payload.len() > limits::BLOCK_BYTES {
        return Err("it is too long");
    }
    if !header.is_gap() && count_lines(payload) != header.lines as usize {
        return Err("it does not have as many lines as its header says");
    }
    if payload.last().is_some_and(|&b| b != b'\n') {
        return Err("its last line has no end");
    }
    // Far beyond any honest log, and nothing behind it can overflow.
    if header.first > u64::MAX >> 2 {
        return Err("its numbers are too high");
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
