//! Who is listening: one append-only file per build, the only truth about its log.
//!
//! A file holds frames exactly as followers get them (`bakery_core::wire::log`), so nothing is decoded on the way: an
//! append counts newlines, gives the block its place in the build's order and writes the same bytes; a reader is sent
//! byte ranges. What is acknowledged has been handed to the kernel (it survives `kill -9`) and is on disk within about
//! a second, or at once by [`Logs::sync`].
//!
//! # Epochs
//! When a file is opened and its end is no whole frame, the end is cut and the log's epoch goes up: stored durably,
//! together with the number from which on numbers are given anew, before anything is written. A cursor of an older
//! epoch is taken back to the lowest such number since. So a follower misses nothing; where it had been shown what was
//! cut, the same lines come again with the same `run` and `first`, by which it knows them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bakery_core::limits;
use bakery_core::names::{BuildId, RunName};
use bakery_core::wire::log::{BlockHeader, Cursor, Frame, FrameHeader, LogLine};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

mod follow;
mod log;
mod recent;
mod stored;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn;
mod traffic;
mod writer;

use log::Log;
use traffic::Traffic;
use writer::Writer;

/// Dirty files are synced this often.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// A file that nobody has used for this long is closed.
const IDLE: Duration = Duration::from_mins(1);

/// Why a log did not do as it was told.
#[derive(Debug, Error)]
pub enum LogError {
    /// No such build, or its log has been removed.
    #[error("there is no log of build {0}")]
    Missing(BuildId),
    /// An agent sent what is no block of lines.
    #[error("a block of {run} is refused: {why}")]
    BadBlock {
        /// The run that sent it.
        run: RunName,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file system did not do as it was told.
    #[error("the log of build {build} cannot be {doing}")]
    Io {
        /// Whose log.
        build: BuildId,
        /// What was tried, as a participle.
        doing: &'static str,
        /// What came back.
        #[source]
        source: io::Error,
    },
}

type Cell = Arc<OnceCell<Arc<Log>>>;

/// All logs of this server; cheap to clone.
#[derive(Clone)]
pub struct Logs {
    folder: Arc<Path>,
    open: Arc<Mutex<HashMap<BuildId, Cell>>>,
    kept_per_run: u64,
    traffic: Traffic,
}

impl Logs {
    /// Opens the folder, making it where it is not there. Files are opened when they are needed.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.into(),
            open: Arc::default(),
            kept_per_run: limits::TASK_LOG_BYTES,
            traffic: Traffic::default(),
        })
    }

    /// The same with another bound than [`limits::TASK_LOG_BYTES`] on what is kept of one attempt.
    pub fn with_bound(mut self, bytes_per_run: u64) -> Self {
        self.kept_per_run = bytes_per_run;
        self
    }

    /// Makes the log of a new build. Does nothing where it is there already.
    pub async fn create(&self, build: BuildId) -> Result<(), LogError> {
        let path = self.path(build);
        blocking(build, "created", move || stored::create(&path)).await
    }

    /// Appends one block of an agent; see [`Logs::append_all`].
    pub async fn append(&self, build: BuildId, header: BlockHeader, payload: Bytes) -> Result<u64, LogError> {
        self.append_all(build, header.run, vec![(header, payload)]).await
    }

    /// Appends blocks of one run in order and returns the number of the line wanted next.
    ///
    /// Lines that are there already are dropped, so a block may be sent again. At a gap everything from there on is
    /// dropped: the answer is lower than the sender expects, and it goes back. Beyond the bound lines are
    /// counted and become [`Frame::Gap`]. After the build's end lines are acknowledged and dropped.
    pub async fn append_all(
        &self,
        build: BuildId,
        run: RunName,
        blocks: Vec<(BlockHeader, Bytes)>,
    ) -> Result<u64, LogError> {
        let log = self.log(build).await?;
        if run.task.build != build {
            return Err(LogError::BadBlock { run, why: "its run is not of this build" });
        }
        log.append(run, blocks).await
    }

    /// Appends lines of the server about a run or the whole build.
    pub async fn note(
        &self,
        build: BuildId,
        run: Option<RunName>,
        lines: Vec<LogLine>,
    ) -> Result<(), LogError> {
        let log = self.log(build).await?;
        log.write(move |writer, log| writer.note(log, run, &lines)).await
    }

    /// Appends a frame without lines: `State`, `Published`, `End`. Nothing is stored after `End`.
    pub async fn frame(&self, build: BuildId, frame: Frame) -> Result<(), LogError> {
        let log = self.log(build).await?;
        log.write(move |writer, log| writer.frame(log, frame)).await
    }

    /// Every stored frame that has no lines, in order: what a restart compares with the ledger.
    pub async fn frames(&self, build: BuildId) -> Result<Vec<FrameHeader>, LogError> {
        let log = self.log(build).await?;
        let end = log.tip().end;
        blocking(build, "read", move || {
            let mut frames = Vec::new();
            stored::each_frame(&log.file, 0, end, &mut |_, header| {
                if !matches!(header.frame, Frame::Lines { .. } | Frame::Note { .. }) {
                    frames.push(header);
                }
                true
            })?;
            Ok(frames)
        })
        .await
    }

    /// The number of the line that is wanted next of a run, from 1.
    pub async fn next(&self, run: RunName) -> Result<u64, LogError> {
        let log = self.log(run.task.build).await?;
        log.write(move |writer, _| Ok(writer.next_of(run))).await
    }

    /// Returns when everything appended so far is on disk; dropped lines that no `Gap` tells of yet are told of first.
    pub async fn sync(&self, build: BuildId) -> Result<(), LogError> {
        let log = self.log(build).await?;
        Arc::clone(&log).write(Writer::tell_gaps).await?;
        blocking(build, "synced", move || log.sync()).await
    }

    /// The log's epoch.
    pub async fn epoch(&self, build: BuildId) -> Result<u32, LogError> {
        Ok(self.log(build).await?.epochs.current())
    }

    /// The log from a cursor on, beginning with the frame that contains the cursor's number.
    ///
    /// With `follow` it goes on as the log grows, has a `Beat` after [`limits::BEAT`] of quiet, and ends after `End`;
    /// without, it ends at the log's present end. Chunks are cut anywhere, at most 256 KiB long, and read when they are
    /// polled for: a slow reader costs one chunk and holds nobody. What was read before an error is good.
    pub async fn follow(
        &self,
        build: BuildId,
        from: Cursor,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<Bytes, LogError>>, LogError> {
        let log = self.log(build).await?;
        let seq = log.epochs.start(from);
        let locate = Arc::clone(&log);
        let at = blocking(build, "read", move || locate.offset_of(seq)).await?;
        Ok(follow::stream(log, at, follow, limits::BEAT).boxed())
    }

    /// Removes the log of a build. Who is reading it may read on; nothing else finds it any more.
    pub async fn remove(&self, build: BuildId) -> Result<(), LogError> {
        lock(&self.open).remove(&build);
        let path = self.path(build);
        blocking(build, "removed", move || stored::remove(&path)).await
    }

    /// Bytes on disk of every log.
    pub fn sizes(&self) -> io::Result<BTreeMap<BuildId, u64>> {
        let mut sizes = BTreeMap::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let build = name.to_str().and_then(|name| name.strip_suffix(".log"));
            if let Some(build) = build.and_then(|build| build.parse().ok()) {
                sizes.insert(build, entry.metadata()?.len());
            }
        }
        Ok(sizes)
    }

    /// Syncs what is dirty every second and closes what is idle, until `stop`; then syncs a last time.
    pub async fn keep(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(SYNC_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                _ = tick.tick() => false,
            };
            self.close_idle(IDLE);
            let logs: Vec<_> = lock(&self.open).values().filter_map(|cell| cell.get().cloned()).collect();
            for log in logs.into_iter().filter(|log| log.is_dirty()) {
                let build = log.build;
                if let Err(error) = blocking(build, "synced", move || log.sync()).await {
                    tracing::error!(%build, error = &error as &dyn std::error::Error, "log not synced");
                }
            }
            if stopping {
                return;
            }
        }
    }

    /// Closes files that nobody uses and nobody has used for `idle`.
    fn close_idle(&self, idle: Duration) {
        lock(&self.open).retain(|_, cell| {
            // Cells are given out only under this lock, and handles only from cells: counts of one mean that nobody
            // else has one, nor is about to take one.
            Arc::strong_count(cell) > 1
                || cell
                    .get()
                    .is_none_or(|log| Arc::strong_count(log) > 1 || log.is_dirty() || !log.idle_for(idle))
        });
    }

    async fn log(&self, build: BuildId) -> Result<Arc<Log>, LogError> {
        let cell = Arc::clone(lock(&self.open).entry(build).or_default());
        let (path, bound, traffic) = (self.path(build), self.kept_per_run, self.traffic.clone());
        let opened = cell
            .get_or_try_init(|| async {
                blocking(build, "opened", move || Log::open(build, &path, bound, traffic).map(Arc::new)).await
            })
            .await
            .cloned();
        match opened {
            Ok(log) => {
                log.touch();
                Ok(log)
            }
            Err(error) => {
                let mut open = lock(&self.open);
                if open.get(&build).is_some_and(|there| Arc::ptr_eq(there, &cell) && there.get().is_none()) {
                    open.remove(&build);
                }
                match error {
                    LogError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                        Err(LogError::Missing(build))
                    }
                    error => Err(error),
                }
            }
        }
    }

    fn path(&self, build: BuildId) -> PathBuf {
        self.folder.join(format!("{build}.log"))
    }
}

/// A lock whose holder has panicked is taken all the same: every change under these locks is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs file work off the async threads. It goes on to its end even where the caller goes away.
async fn blocking<T: Send + 'static>(
    build: BuildId,
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, LogError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(|source| LogError::Io {
        build,
        doing,
        source,
    })
}
