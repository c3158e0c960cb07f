//! One open log: its file, its writer, and the requests that wait for the writer.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bakery_core::names::{BuildId, RunName};
use bakery_core::wire::log::BlockHeader;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::file::{FrameIndex, LogFile, Tip};
use super::relay_metrics::RelayMetrics;
use super::writer::{AppendRequest, Writer};
use super::{LogError, lock, stored};

/// Requests are combined into one write of up to about this many bytes.
const COMBINED: usize = 256 << 10;

/// One open log.
pub(super) struct Log {
    pub file: LogFile,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    /// Requests that are appended once the writer is free.
    inbox: Mutex<VecDeque<AppendRequest>>,
}

impl Log {
    /// Opens an existing log, with a new writer.
    pub(super) fn open(
        build: BuildId,
        path: &Path,
        mut writer: Writer,
        metrics: RelayMetrics,
    ) -> io::Result<Self> {
        let mut index = FrameIndex::default();
        let (handle, end, next, epochs) = stored::open(path, &mut |at, header| {
            index.add(header.seq, at);
            writer.recall(header);
        })?;
        let tip = Tip { end, next, ended: writer.has_ended() };
        Ok(Self {
            file: LogFile::new(build, handle, epochs, index, tip, metrics),
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            inbox: Mutex::default(),
        })
    }

    /// Gives the writer to `work`, on a thread for blocking work. It is completed even where the caller goes away, so the
    /// file and the writer's memory always agree.
    pub(super) async fn write<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&mut Writer, &LogFile) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let build = self.file.build;
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || work(&mut writer, &self.file)).await;
        done.unwrap_or_else(|panic| Err(not_written(build, io::Error::other(panic))))
    }

    /// Appends blocks of one run. Requests that arrive during a write are combined into the next one.
    pub(super) async fn append(
        self: Arc<Self>,
        run: RunName,
        blocks: Vec<(BlockHeader, Bytes)>,
    ) -> Result<u64, LogError> {
        let build = self.file.build;
        let (reply, mut result) = oneshot::channel();
        lock(&self.inbox).push_back(AppendRequest { run, blocks, reply });
        loop {
            let mut writer = tokio::select! {
                biased;
                result = &mut result => {
                    let gone = |_| Err(not_written(build, io::Error::other("the writer has stopped")));
                    return result.unwrap_or_else(gone);
                }
                writer = Arc::clone(&self.writer).lock_owned() => writer,
            };
            let log = Arc::clone(&self);
            let work = move || {
                let requests = log.next_requests();
                writer.append(&log.file, requests);
            };
            let done = tokio::task::spawn_blocking(work).await;
            done.map_err(|panic| not_written(build, io::Error::other(panic)))?;
        }
    }

    /// The next requests in order, for one write.
    fn next_requests(&self) -> Vec<AppendRequest> {
        let (mut requests, mut size) = (Vec::new(), 0);
        let mut inbox = lock(&self.inbox);
        while size < COMBINED
            && let Some(request) = inbox.pop_front()
        {
            size += request.size();
            requests.push(request);
        }
        requests
    }
}

fn not_written(build: BuildId, source: io::Error) -> LogError {
    LogError::Io { build, doing: "written", source }
}
