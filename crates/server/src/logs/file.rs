//! The file of one open log: where it ends, and what its readers need.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bakery_core::names::BuildId;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::lock;
use super::recent::Recent;
use super::relay_metrics::RelayMetrics;
use super::stored::{self, Epochs};

/// One index entry per this many bytes: finding a cursor reads at most this much.
const INDEX_EVERY: u64 = 1 << 20;

/// The end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    /// The log's size in bytes.
    pub end: u64,
    /// The number of the next line or frame.
    pub next: u64,
    /// True once the frame `End` is there.
    pub ended: bool,
}

/// Sequence number and offset of some frames, about one per [`INDEX_EVERY`].
#[derive(Default)]
pub(super) struct FrameIndex(Vec<(u64, u64)>);

impl FrameIndex {
    /// Adds a frame, unless the last entry is near.
    pub(super) fn add(&mut self, seq: u64, at: u64) {
        if self.0.last().is_none_or(|(_, last)| at - last >= INDEX_EVERY) {
            self.0.push((seq, at));
        }
    }

    /// The offset of a frame at or before `seq`.
    fn before(&self, seq: u64) -> u64 {
        let i = self.0.partition_point(|(first, _)| *first <= seq);
        i.checked_sub(1).map_or(0, |i| self.0[i].1)
    }
}

/// What the writer updates for the readers with each write.
struct ReadState {
    index: FrameIndex,
    recent: Recent,
}

/// The file of one open log. The writer extends it; any number of readers read it meanwhile.
pub(super) struct LogFile {
    pub build: BuildId,
    pub handle: File,
    pub epochs: Epochs,
    pub metrics: RelayMetrics,
    read_state: Mutex<ReadState>,
    tip: watch::Sender<Tip>,
    /// The offsets of the followers; dead where they have left.
    followers: Mutex<Vec<Weak<AtomicU64>>>,
    dirty: AtomicBool,
    touched: Mutex<Instant>,
}

impl LogFile {
    /// An opened file with the index of its frames.
    pub(super) fn new(
        build: BuildId,
        handle: File,
        epochs: Epochs,
        index: FrameIndex,
        tip: Tip,
        metrics: RelayMetrics,
    ) -> Self {
        Self {
            build,
            handle,
            epochs,
            metrics,
            read_state: Mutex::new(ReadState { index, recent: Recent::default() }),
            tip: watch::Sender::new(tip),
            followers: Mutex::default(),
            dirty: AtomicBool::new(false),
            touched: Mutex::new(Instant::now()),
        }
    }

    /// Shows readers what the writer has appended. `frames` are sequence number and offset of each frame in it.
    pub(super) fn extended(&self, appended: &Bytes, frames: &[(u64, u64)], next: u64, ended: bool) {
        self.dirty.store(true, Ordering::Release);
        let end = self.tip().end;
        {
            let mut state = lock(&self.read_state);
            for (seq, at) in frames {
                state.index.add(*seq, *at);
            }
            state.recent.push(end, appended.clone());
        }
        self.tip.send_replace(Tip { end: end + appended.len() as u64, next, ended });
    }

    pub(super) fn tip(&self) -> Tip {
        *self.tip.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Tip> {
        self.tip.subscribe()
    }

    /// Registers a follower at offset `at`. It keeps its offset in the result, until that is dropped.
    pub(super) fn follower(&self, at: u64) -> Arc<AtomicU64> {
        let offset = Arc::new(AtomicU64::new(at));
        let mut followers = lock(&self.followers);
        followers.retain(|other| other.strong_count() > 0);
        followers.push(Arc::downgrade(&offset));
        offset
    }

    /// How many bytes each follower is behind the log's end.
    pub(super) fn lags(&self) -> Vec<u64> {
        let end = self.tip().end;
        let offsets = lock(&self.followers).iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
        offsets.into_iter().map(|offset| end.saturating_sub(offset.load(Ordering::Relaxed))).collect()
    }

    /// At most `most` bytes at `at`; `None` where they are no longer in memory.
    pub(super) fn recent(&self, at: u64, most: usize) -> Option<Bytes> {
        lock(&self.read_state).recent.get(at, most)
    }

    /// The offset of the frame that contains `seq`; the log's end where it does not exist yet.
    pub(super) fn offset_of(&self, seq: u64) -> io::Result<u64> {
        let tip = self.tip();
        if seq >= tip.next {
            return Ok(tip.end);
        }
        let from = lock(&self.read_state).index.before(seq);
        let mut found = tip.end;
        stored::each_frame(&self.handle, from, tip.end, &mut |at, header| {
            let here = seq < header.seq + header.frame.width();
            if here {
                found = at;
            }
            !here
        })?;
        Ok(found)
    }

    /// Returns when everything written so far is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.dirty.swap(false, Ordering::AcqRel)
            && let Err(error) = self.handle.sync_data()
        {
            self.dirty.store(true, Ordering::Release);
            return Err(error);
        }
        Ok(())
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    pub(super) fn touch(&self) {
        *lock(&self.touched) = Instant::now();
    }

    pub(super) fn idle_for(&self, idle: Duration) -> bool {
        lock(&self.touched).elapsed() >= idle
    }
}
