//! One open log: its file, its end, its writer.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bakery_core::names::{BuildId, RunName};
use bakery_core::wire::log::BlockHeader;
use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::recent::Recent;
use super::stored::{self, Epochs};
use super::traffic::Traffic;
use super::writer::{Request, Writer};
use super::{LogError, lock};

/// One entry of the index per this many bytes: a cursor is found by reading at most this much.
const INDEX_EVERY: u64 = 1 << 20;

/// Requests are gathered into one write up to about this many bytes.
const GATHERED: usize = 256 << 10;

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    /// Its bytes.
    pub end: u64,
    /// The number of the next line or frame.
    pub next: u64,
    /// True once `End` is there.
    pub ended: bool,
}

/// What readers share with the writer.
#[derive(Default)]
struct Shared {
    /// Number and place of frames, about one per [`INDEX_EVERY`].
    index: Vec<(u64, u64)>,
    recent: Recent,
}

/// One open log.
pub(super) struct Log {
    pub build: BuildId,
    pub file: File,
    pub epochs: Epochs,
    pub traffic: Traffic,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    /// What is to be appended once the writer is free.
    inbox: Mutex<VecDeque<Request>>,
    shared: Mutex<Shared>,
    tip: watch::Sender<Tip>,
    /// The places of those who follow; dead where they have left.
    followers: Mutex<Vec<Weak<AtomicU64>>>,
    dirty: AtomicBool,
    touched: Mutex<Instant>,
}

impl Log {
    /// Opens a log that is there.
    pub(super) fn open(build: BuildId, path: &Path, bound: u64, traffic: Traffic) -> io::Result<Self> {
        let mut shared = Shared::default();
        let mut writer = Writer::new(bound);
        let (file, end, next, epochs) = stored::open(path, &mut |at, header| {
            shared.mark(header.seq, at);
            writer.recall(header);
        })?;
        let tip = Tip { end, next, ended: writer.has_ended() };
        Ok(Self {
            build,
            file,
            epochs,
            traffic,
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            inbox: Mutex::default(),
            shared: Mutex::new(shared),
            tip: watch::Sender::new(tip),
            followers: Mutex::default(),
            dirty: AtomicBool::new(false),
            touched: Mutex::new(Instant::now()),
        })
    }

    /// Lends the one writer to `work`, off the async threads. It goes on to its end even where the caller goes away,
    /// so what is written and what is remembered never part.
    pub(super) async fn write<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&mut Writer, &Self) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let build = self.build;
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || work(&mut writer, &self)).await;
        done.unwrap_or_else(|panic| Err(lost(build, io::Error::other(panic))))
    }

    /// Appends blocks of one run. While one write is under way what else comes is gathered, and becomes the next.
    pub(super) async fn append(
        self: Arc<Self>,
        run: RunName,
        blocks: Vec<(BlockHeader, Bytes)>,
    ) -> Result<u64, LogError> {
        let build = self.build;
        let (reply, mut answer) = oneshot::channel();
        lock(&self.inbox).push_back(Request { run, blocks, reply });
        loop {
            let mut writer = tokio::select! {
                biased;
                answer = &mut answer => return answer.unwrap_or_else(|_| Err(lost(build, io::Error::other("its writer is gone")))),
                writer = Arc::clone(&self.writer).lock_owned() => writer,
            };
            let log = Arc::clone(&self);
            let work = move || {
                let requests = log.gather();
                writer.append(&log, requests);
            };
            tokio::task::spawn_blocking(work).await.map_err(|panic| lost(build, io::Error::other(panic)))?;
        }
    }

    /// The next requests in order: at least one, where there is one.
    fn gather(&self) -> Vec<Request> {
        let (mut requests, mut room) = (Vec::new(), 0);
        let mut inbox = lock(&self.inbox);
        while room < GATHERED
            && let Some(request) = inbox.pop_front()
        {
            room += request.room();
            requests.push(request);
        }
        requests
    }

    /// Publishes what the writer has written at the end. `frames` are number and place of each frame in it.
    pub(super) fn grown(&self, piece: &Bytes, frames: &[(u64, u64)], next: u64, ended: bool) {
        self.dirty.store(true, Ordering::Release);
        let end = self.tip().end;
        {
            let mut shared = lock(&self.shared);
            for (seq, at) in frames {
                shared.mark(*seq, *at);
            }
            shared.recent.push(end, piece.clone());
        }
        self.tip.send_replace(Tip { end: end + piece.len() as u64, next, ended });
    }

    pub(super) fn tip(&self) -> Tip {
        *self.tip.borrow()
    }

    /// Somebody follows from `at` on, and keeps its place here until it is dropped.
    pub(super) fn follower(&self, at: u64) -> Arc<AtomicU64> {
        let place = Arc::new(AtomicU64::new(at));
        let mut followers = lock(&self.followers);
        followers.retain(|other| other.strong_count() > 0);
        followers.push(Arc::downgrade(&place));
        place
    }

    /// How many bytes each follower is behind the log's end.
    pub(super) fn behind(&self) -> Vec<u64> {
        let end = self.tip().end;
        let places = lock(&self.followers).iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
        places.into_iter().map(|place| end.saturating_sub(place.load(Ordering::Relaxed))).collect()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Tip> {
        self.tip.subscribe()
    }

    /// The bytes at `at` where they are still in memory.
    pub(super) fn recent(&self, at: u64, most: usize) -> Option<Bytes> {
        lock(&self.shared).recent.get(at, most)
    }

    /// The place of the frame that contains `seq`; the log's end where it is not there yet.
    pub(super) fn offset_of(&self, seq: u64) -> io::Result<u64> {
        let tip = self.tip();
        if seq >= tip.next {
            return Ok(tip.end);
        }
        let from = lock(&self.shared).before(seq);
        let mut found = tip.end;
        stored::each_frame(&self.file, from, tip.end, &mut |at, header| {
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
            && let Err(error) = self.file.sync_data()
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

impl Shared {
    fn mark(&mut self, seq: u64, at: u64) {
        if self.index.last().is_none_or(|(_, last)| at - last >= INDEX_EVERY) {
            self.index.push((seq, at));
        }
    }

    /// A place to look for `seq` from.
    fn before(&self, seq: u64) -> u64 {
        let i = self.index.partition_point(|(first, _)| *first <= seq);
        i.checked_sub(1).map_or(0, |i| self.index[i].1)
    }
}

fn lost(build: BuildId, source: io::Error) -> LogError {
    LogError::Io { build, doing: "written", source }
}
