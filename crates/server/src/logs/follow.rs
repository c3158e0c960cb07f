//! A reader's way through a log.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bakery_core::wire::log::{self, Frame, FrameHeader};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::log::{Log, Tip};
use super::{LogError, blocking};

/// Bytes of one chunk at most.
const CHUNK: usize = 256 << 10;

/// In a flood a reader wakes up this often at most, and takes all that has come.
const NAP: Duration = Duration::from_millis(2);

/// One reader. Holds nothing of the log but a place in it.
struct Reader {
    log: Arc<Log>,
    tip: watch::Receiver<Tip>,
    at: u64,
    /// Where to stop; `None` = follow.
    until: Option<u64>,
    /// The place again, where it counts as a follower's.
    shown: Option<Arc<AtomicU64>>,
    /// A beat after this much quiet.
    beat: Duration,
    /// When it has last woken up.
    woken: Option<Instant>,
}

/// The log's bytes from the frame at `at` on; see [`super::Logs::follow`].
pub(super) fn stream(
    log: Arc<Log>,
    at: u64,
    follow: bool,
    beat: Duration,
) -> impl Stream<Item = Result<Bytes, LogError>> {
    let tip = log.watch();
    let until = (!follow).then(|| log.tip().end);
    let shown = follow.then(|| log.follower(at));
    let reader = Some(Reader { log, tip, at, until, shown, beat, woken: None });
    stream::unfold(reader, |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(None) => None,
            Ok(Some(chunk)) => Some((Ok(chunk), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, LogError> {
        loop {
            let tip = *self.tip.borrow_and_update();
            let end = self.until.unwrap_or(tip.end);
            if self.at < end {
                let chunk = self.read(end).await?;
                self.at += chunk.len() as u64;
                self.log.traffic.sent(chunk.len());
                if let Some(shown) = &self.shown {
                    shown.store(self.at, Ordering::Relaxed);
                }
                return Ok(Some(chunk));
            }
            if self.until.is_some() || tip.ended {
                return Ok(None);
            }
            // At the log's end, hence between two frames: a beat may stand here.
            match tokio::time::timeout(self.beat, self.tip.changed()).await {
                Ok(Ok(())) => self.wake().await,
                Ok(Err(_)) => return Ok(None),
                Err(_) => return Ok(Some(beat(tip.next))),
            }
        }
    }

    /// There is something new. A lone line is passed on at once.
    async fn wake(&mut self) {
        self.log.touch();
        if let Some(woken) = self.woken {
            tokio::time::sleep_until(woken + NAP).await;
        }
        self.woken = Some(Instant::now());
    }

    async fn read(&self, end: u64) -> Result<Bytes, LogError> {
        let most = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(CHUNK);
        if let Some(chunk) = self.log.recent(self.at, most) {
            return Ok(chunk);
        }
        let (log, at) = (Arc::clone(&self.log), self.at);
        blocking(log.build, "read", move || {
            let mut chunk = vec![0; most];
            log.file.read_exact_at(&mut chunk, at)?;
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
