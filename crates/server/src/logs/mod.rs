//! Build logs: one append-only file per build, the only source of truth about its log. They are synced here.
//!
//! A file holds frames exactly as followers receive them (`bakery_core::wire::log`), so nothing is decoded in between: an
//! append counts newlines, assigns the block its position in the build's order and writes the same bytes; a reader gets
//! byte ranges. What is acknowledged was written to the kernel (it survives `kill -9`) and is on disk within about a
//! second, or at once by [`Logs::sync`].
//!
//! # Epochs
//! When a file is opened and does not end with a complete frame, the incomplete end is removed and the log's epoch
//! increases. The epoch is stored durably before anything is written, together with the first sequence number that is
//! reused. A cursor of an older epoch is moved back to the lowest such number since. So a follower misses nothing; if it
//! had received what was removed, the same lines arrive again with the same `run` and `first`, by which it detects them.

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

#[cfg(test)]
mod bounds_tests;
mod claims;
mod file;
mod follow;
mod log;
mod recent;
mod relay_metrics;
mod room;
mod stored;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn_tests;
mod writer;

use log::Log;
use relay_metrics::RelayMetrics;
use room::LogRoom;
use writer::Writer;

use crate::disk::DataDisk;

/// Dirty files are synced this often.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// A file that was not used for this long is closed.
const IDLE: Duration = Duration::from_mins(1);

/// Why an operation on a log failed.
#[derive(Debug, Error)]
pub enum LogError {
    /// No such build, or its log was removed.
    #[error("build {0} has no log")]
    Missing(BuildId),
    /// An agent sent an invalid block of lines.
    #[error("invalid log block of run {run}: {detail}")]
    BadBlock {
        /// The run that sent it.
        run: RunName,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The disk has no room for lines of agents: it is full, or the rest is the ledger's. Nothing was stored.
    #[error("the disk of the server's data folder is full: lines of build {0} cannot be stored now")]
    DiskFull(BuildId),
    /// The file system returned an error.
    #[error("the log of build {build} cannot be {doing}")]
    Io {
        /// Whose log.
        build: BuildId,
        /// The operation, as a participle.
        doing: &'static str,
        /// The error.
        #[source]
        source: io::Error,
    },
}

type LogCell = Arc<OnceCell<Arc<Log>>>;

/// All logs of this server; cheap to clone.
#[derive(Clone)]
pub struct Logs {
    folder: Arc<Path>,
    open: Arc<Mutex<HashMap<BuildId, LogCell>>>,
    kept_per_run: u64,
    room: Arc<LogRoom>,
    metrics: RelayMetrics,
}

impl Logs {
    /// Opens the folder, and creates it where it does not exist. Files are opened when they are needed.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.into(),
            open: Arc::default(),
            kept_per_run: limits::TASK_LOG_BYTES,
            room: Arc::default(),
            metrics: RelayMetrics::default(),
        })
    }

    /// Keeps at most this many bytes of each run, instead of [`limits::TASK_LOG_BYTES`].
    pub fn with_bound(mut self, bytes_per_run: u64) -> Self {
        self.kept_per_run = bytes_per_run;
        self
    }

    /// Lines of agents leave the ledger's reserve of this disk free.
    pub fn on_disk(mut self, disk: DataDisk) -> Self {
        self.room = Arc::new(LogRoom::on(disk));
        self
    }

    /// Creates the log of a new build. Does nothing where it exists.
    pub async fn create(&self, build: BuildId) -> Result<(), LogError> {
        let path = self.path(build);
        blocking(build, "created", move || stored::create(&path)).await
    }

    /// Appends one block of an agent; see [`Logs::append_all`].
    pub async fn append(&self, build: BuildId, header: BlockHeader, payload: Bytes) -> Result<u64, LogError> {
        self.append_all(build, header.run, vec![(header, payload)]).await
    }

    /// Appends blocks of one run in order and returns the number of the next expected line.
    ///
    /// Lines that exist already are dropped, so a block may be sent again. At a gap everything from there on is dropped:
    /// the result is lower than the sender expects, and it resends from there. Lines above the limit per run are counted
    /// and become [`Frame::Gap`]. After the build's end lines are acknowledged and dropped. [`LogError::DiskFull`] stores
    /// and counts nothing, so that the sender keeps its lines and sends them again.
    pub async fn append_all(
        &self,
        build: BuildId,
        run: RunName,
        blocks: Vec<(BlockHeader, Bytes)>,
    ) -> Result<u64, LogError> {
        let log = self.log(build).await?;
        if run.task.build != build {
            return Err(LogError::BadBlock { run, detail: "its run belongs to another build" });
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
        log.write(move |writer, file| writer.note(file, run, &lines)).await
    }

    /// Appends a frame without lines: `State`, `Published`, `End`. Nothing is stored after `End`.
    pub async fn frame(&self, build: BuildId, frame: Frame) -> Result<(), LogError> {
        let log = self.log(build).await?;
        log.write(move |writer, file| writer.frame(file, frame)).await
    }

    /// Every stored frame without lines, in order. A restart compares them with the ledger.
    pub async fn frames(&self, build: BuildId) -> Result<Vec<FrameHeader>, LogError> {
        let log = self.log(build).await?;
        let end = log.file.tip().end;
        blocking(build, "read", move || {
            let mut frames = Vec::new();
            stored::each_frame(&log.file.handle, 0, end, &mut |_, header| {
                if !matches!(header.frame, Frame::Lines { .. } | Frame::Note { .. }) {
                    frames.push(header);
                }
                true
            })?;
            Ok(frames)
        })
        .await
    }

    /// The number of the next expected line of a run, from 1.
    pub async fn next(&self, run: RunName) -> Result<u64, LogError> {
        let log = self.log(run.task.build).await?;
        log.write(move |writer, _| Ok(writer.next_of(run))).await
    }

    /// Returns when everything appended so far is on disk, including `Gap` frames for all dropped lines.
    pub async fn sync(&self, build: BuildId) -> Result<(), LogError> {
        let log = self.log(build).await?;
        Arc::clone(&log).write(Writer::report_gaps).await?;
        blocking(build, "synced", move || log.file.sync()).await
    }

    /// The log's epoch.
    pub async fn epoch(&self, build: BuildId) -> Result<u32, LogError> {
        Ok(self.log(build).await?.file.epochs.current())
    }

    /// The log from a cursor on, beginning with the frame that contains the cursor's sequence number.
    ///
    /// With `follow` the stream continues as the log grows, has a `Beat` after [`limits::HEARTBEAT`] without new bytes, and
    /// ends after `End`; without, it ends at the log's current end. Chunks end anywhere, have at most 256 KiB, and are
    /// read when they are polled for: a slow reader costs one chunk and delays nobody. Bytes before an error are valid.
    pub async fn follow(
        &self,
        build: BuildId,
        from: Cursor,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<Bytes, LogError>>, LogError> {
        let log = self.log(build).await?;
        let seq = log.file.epochs.start(from);
        let locate = Arc::clone(&log);
        let at = blocking(build, "read", move || locate.file.offset_of(seq)).await?;
        Ok(follow::stream(log, at, follow, limits::HEARTBEAT).boxed())
    }

    /// Removes the log of a build. Existing readers can continue; new ones do not find it.
    pub async fn remove(&self, build: BuildId) -> Result<(), LogError> {
        lock(&self.open).remove(&build);
        let path = self.path(build);
        blocking(build, "removed", move || stored::remove(&path)).await
    }

    /// The size on disk of every log, in bytes.
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

    /// Syncs dirty logs every second and closes idle ones, until `stop`; then syncs a last time.
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
            for log in logs.into_iter().filter(|log| log.file.is_dirty()) {
                let build = log.file.build;
                if let Err(error) = blocking(build, "synced", move || log.file.sync()).await {
                    tracing::error!(%build, error = &error as &dyn std::error::Error, "a log could not be synced");
                }
            }
            if stopping {
                return;
            }
        }
    }

    /// Closes files that are not in use and were not used for `idle`.
    fn close_idle(&self, idle: Duration) {
        lock(&self.open).retain(|_, cell| {
            // Cells are cloned only under this lock, and logs only from cells: a count of one means that nobody else has
            // one, nor is about to get one.
            Arc::strong_count(cell) > 1
                || cell.get().is_none_or(|log| {
                    Arc::strong_count(log) > 1 || log.file.is_dirty() || !log.file.idle_for(idle)
                })
        });
    }

    async fn log(&self, build: BuildId) -> Result<Arc<Log>, LogError> {
        let cell = Arc::clone(lock(&self.open).entry(build).or_default());
        let path = self.path(build);
        let writer = Writer::new(self.kept_per_run, Arc::clone(&self.room));
        let metrics = self.metrics.clone();
        let opened = cell
            .get_or_try_init(|| async {
                blocking(build, "opened", move || Log::open(build, &path, writer, metrics).map(Arc::new))
                    .await
            })
            .await
            .cloned();
        match opened {
            Ok(log) => {
                log.file.touch();
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

/// Ignores poisoning: every change under these locks is a single assignment.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs file work on a thread for blocking work. It is completed even where the caller goes away.
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
