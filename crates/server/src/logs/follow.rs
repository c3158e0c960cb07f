//! Reads a log from an offset, and follows it as it grows.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bakery_core::wire::log::{self, Frame, FrameHeader};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::file::Tip;
use super::log::Log;
use super::{LogError, blocking};

/// The maximum size of a chunk in bytes.
const CHUNK: usize = 256 << 10;

/// A reader of a busy log wakes up at most this often, and reads all that was appended.
const WAKE_INTERVAL: Duration = Duration::from_millis(2);

/// One reader: its offset in the log, without any of its bytes.
struct LogReader {
    log: Arc<Log>,
    tip: watch::Receiver<Tip>,
    at: u64,
    /// The offset to stop at; `None` = follow.
    until: Option<u64>,
    /// The offset for the metrics of followers; `None` = not a follower.
    published: Option<Arc<AtomicU64>>,
    /// A beat is sent after this much time without new bytes.
    beat: Duration,
    /// When it woke up last.
    woken: Option<Instant>,
}

/// The log's bytes from the frame at `at` on; see [`super::Logs::follow`].
pub(super) fn stream(
    log: Arc<Log>,
    at: u64,
    follow: bool,
    beat: Duration,
) -> impl Stream<Item = Result<Bytes, LogError>> {
    let tip = log.file.watch();
    let until = (!follow).then(|| log.file.tip().end);
    let published = follow.then(|| log.file.follower(at));
    let reader = Some(LogReader { log, tip, at, until, published, beat, woken: None });
    stream::unfold(reader, |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(None) => None,
            Ok(Some(chunk)) => Some((Ok(chunk), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl LogReader {
    async fn next(&mut self) -> Result<Option<Bytes>, LogError> {
        loop {
            let tip = *self.tip.borrow_and_update();
            let end = self.until.unwrap_or(tip.end);
            if self.at < end {
                let chunk = self.read(end).await?;
                self.at += chunk.len() as u64;
                self.log.file.metrics.sent(chunk.len());
                if let Some(published) = &self.published {
                    published.store(self.at, Ordering::Relaxed);
                }
                return Ok(Some(chunk));
            }
            if self.until.is_some() || tip.ended {
                return Ok(None);
            }
            // At the log's end, hence between two frames: a beat can be inserted here.
            match tokio::time::timeout(self.beat, self.tip.changed()).await {
                Ok(Ok(())) => self.wake().await,
                Ok(Err(_)) => return Ok(None),
                Err(_) => return Ok(Some(beat(tip.next))),
            }
        }
    }

    /// New bytes were appended. A single line is forwarded at once.
    async fn wake(&mut self) {
        self.log.file.touch();
        if let Some(woken) = self.woken {
            tokio::time::sleep_until(woken + WAKE_INTERVAL).await;
        }
        self.woken = Some(Instant::now());
    }

    async fn read(&self, end: u64) -> Result<Bytes, LogError> {
        let most = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(CHUNK);
        if let Some(chunk) = self.log.file.recent(self.at, most) {
            return Ok(chunk);
        }
        let (log, at) = (Arc::clone(&self.log), self.at);
        blocking(log.file.build, "read", move || {
            let mut chunk = vec![0; most];
            log.file.handle.read_exact_at(&mut chunk, at)?;
            Ok(chunk.into())
        })
        .await
    }
}

fn beat(seq: u64) -> Bytes {
    let mut bytes = Vec::new();
    log::encode(&FrameHeader { len: 0, seq, frame: Frame::Beat }, &[], &mut bytes);
    bytes.into()
}
