//! Delivers the log to the server: reads the spool and sends it in segments until every line is acknowledged.
//!
//! A segment is one POST of blocks, streamed as lines are written and closed at [`limits::SEGMENT_BYTES`] or
//! [`limits::SEGMENT_AGE`]. The response contains the number of the line that the server wants next, and whether the
//! run is cancelled. While no lines are written, an empty segment is sent every [`HEARTBEAT`]. After a broken
//! connection an empty segment asks which lines the server has, and sending continues from there, so no line is lost or
//! duplicated. Memory use is constant: one block, and the spool's sparse index.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bakery_core::limits;
use bakery_core::names::RunName;
use bakery_core::wire::log::{self, BlockHeader};
use bakery_core::wire::run::{SegmentAck, Stage};
use bakery_link::{LinkError, RunApi};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::stream::{self, Stream};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::spool::{Block, Extent, Position, Spool};
use crate::spawn::spawn;

pub mod spool;

/// Interval of empty segments while there is nothing to send: a cancel arrives within this time.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Maximum size of a block in bytes, unless a single line is longer.
const TARGET_BLOCK_BYTES: usize = 64 << 10;
/// Maximum size of a block's header in bytes.
const HEADER_BYTES: usize = 256;
/// Time limit for one segment and its response.
const SEGMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Shortest and longest pause before a segment that failed is sent again.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What the server wants the run to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServerSignal {
    /// Continue.
    #[default]
    Continue,
    /// The run is cancelled.
    Cancel,
    /// The server no longer accepts this run's requests; the text is its error.
    Rejected(String),
}

/// The log could not be delivered completely.
#[derive(Debug, Error)]
pub enum ShipError {
    /// The server rejected the log; the text is its error.
    #[error("the server rejected this run's log: {0}")]
    Rejected(String),
    /// The time limit was exceeded.
    #[error("the server acknowledged only {acknowledged} of {lines} lines within {} s", .within.as_secs())]
    TimedOut {
        /// Lines that the server acknowledged.
        acknowledged: u64,
        /// Total number of lines.
        lines: u64,
        /// The time limit.
        within: Duration,
    },
}

/// A running delivery.
#[derive(Debug)]
pub struct Shipper {
    spool: Arc<Spool>,
    stage: watch::Sender<Stage>,
    signal: watch::Receiver<ServerSignal>,
    acknowledged: watch::Receiver<u64>,
    task: JoinHandle<Result<(), String>>,
}

impl Shipper {
    /// Starts to send the lines of `spool`, including those that are written later.
    pub fn start(runs: RunApi, run: RunName, spool: Arc<Spool>) -> Self {
        let stage = watch::Sender::new(Stage::Prepare);
        let (signal_sender, signal) = watch::channel(ServerSignal::Continue);
        let (acknowledge, acknowledged) = watch::channel(0);
        let delivery = Delivery { runs, run, spool: Arc::clone(&spool), signal: signal_sender, acknowledge };
        let task = spawn("shipper", delivery.run(stage.clone(), stage.subscribe()));
        Self { spool, stage, signal, acknowledged, task }
    }

    /// The current stage of the run. A new value is sent to the server immediately.
    pub fn stage(&self) -> &watch::Sender<Stage> {
        &self.stage
    }

    /// The latest signal of the server.
    pub fn signal(&self) -> watch::Receiver<ServerSignal> {
        self.signal.clone()
    }

    /// Closes the spool and waits until the server has acknowledged every line.
    pub async fn finish(self, within: Duration) -> Result<(), ShipError> {
        self.spool.close();
        let mut task = self.task;
        match timeout(within, &mut task).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(text))) => Err(ShipError::Rejected(text)),
            Ok(Err(_)) | Err(_) => {
                task.abort();
                let (acknowledged, lines) = (*self.acknowledged.borrow(), self.spool.lines());
                Err(ShipError::TimedOut { acknowledged, lines, within })
            }
        }
    }
}

struct Delivery {
    runs: RunApi,
    run: RunName,
    spool: Arc<Spool>,
    signal: watch::Sender<ServerSignal>,
    acknowledge: watch::Sender<u64>,
}

impl Delivery {
    /// `_keep_open` keeps the stage channel open until the delivery is done.
    async fn run(
        self,
        _keep_open: watch::Sender<Stage>,
        mut stage: watch::Receiver<Stage>,
    ) -> Result<(), String> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(RETRY_PAUSE.0)
            .with_max_delay(RETRY_PAUSE.1)
            .with_jitter()
            .without_max_times();
        let mut extent = self.spool.watch();
        let mut pauses = backoff.build();
        let mut position = Position::START;
        // After a failure it is unknown which lines arrived: an empty segment asks the server.
        let mut probe = false;
        loop {
            if !probe {
                let done = *extent.borrow();
                if done.closed && position.line > done.lines {
                    return Ok(());
                }
                tokio::select! {
                    () = ready(&mut extent, position.line) => {}
                    _ = stage.changed() => {}
                    () = sleep(HEARTBEAT) => {}
                }
            }
            let now = *stage.borrow_and_update();
            let reached = Arc::new(Mutex::new(position));
            let heartbeat = probe || extent.borrow().lines < position.line;
            let segment = (!heartbeat).then(|| self.segment(stage.clone(), Arc::clone(&reached)));
            let answer = timeout(SEGMENT_TIMEOUT, self.send(now, segment)).await;
            let sent = *reached.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(Ok(ack)) => {
                    if ack.cancel && *self.signal.borrow() == ServerSignal::Continue {
                        self.signal.send_replace(ServerSignal::Cancel);
                    }
                    probe = false;
                    let before = position;
                    position = self.position_after(ack, sent);
                    self.acknowledge.send_replace(position.line - 1);
                    if position.line > before.line || heartbeat {
                        if position.line > before.line {
                            pauses = backoff.build();
                        }
                        continue;
                    }
                    // The server accepted no line: send again, but after a pause.
                }
                Ok(Err(error)) if is_rejection(&error) => {
                    self.signal.send_replace(ServerSignal::Rejected(error.to_string()));
                    return Err(error.to_string());
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a log segment was not accepted; retrying");
                    probe = true;
                }
                Err(_) => {
                    tracing::warn!("no response to a log segment; retrying");
                    probe = true;
                }
            }
            sleep(pauses.next().unwrap_or(HEARTBEAT)).await;
        }
    }

    async fn send<S>(&self, stage: Stage, segment: Option<S>) -> Result<SegmentAck, LinkError>
    where
        S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    {
        match segment {
            Some(body) => self.runs.send_logs(stage, body).await,
            None => self.runs.send_logs(stage, stream::empty::<Result<Bytes, Infallible>>()).await,
        }
    }

    /// The position from which to continue after a response. `sent` is the position after the last line that was sent.
    fn position_after(&self, ack: SegmentAck, sent: Position) -> Position {
        if ack.next == sent.line {
            return sent;
        }
        let last = self.spool.lines() + 1;
        if ack.next > last {
            tracing::error!(next = ack.next, last, "the server requests a line that was never written");
        }
        match self.spool.position_of(ack.next.clamp(1, last)) {
            Ok(position) => position,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                sent
            }
        }
    }

    /// The body of one segment. `reached` is updated to the position after the last block that was read.
    fn segment(
        &self,
        stage: watch::Receiver<Stage>,
        reached: Arc<Mutex<Position>>,
    ) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static + use<> {
        let segment = Segment {
            run: self.run,
            spool: Arc::clone(&self.spool),
            extent: self.spool.watch(),
            stage,
            left: limits::SEGMENT_BYTES,
            deadline: Instant::now() + limits::SEGMENT_AGE,
            reached,
        };
        stream::try_unfold(segment, |mut segment| async {
            Ok::<_, std::io::Error>(segment.next().await?.map(|block| (block, segment)))
        })
        .map_ok(|block| stream::iter(block.map(Ok)))
        .try_flatten()
    }
}

struct Segment {
    run: RunName,
    spool: Arc<Spool>,
    extent: watch::Receiver<Extent>,
    stage: watch::Receiver<Stage>,
    left: usize,
    deadline: Instant,
    reached: Arc<Mutex<Position>>,
}

impl Segment {
    /// The next block: its header, and its payload without a copy. `None` at the end of the segment.
    async fn next(&mut self) -> std::io::Result<Option<[Bytes; 2]>> {
        let position = *self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() >= self.deadline {
            return Ok(None);
        }
        tokio::select! {
            () = ready(&mut self.extent, position.line) => {}
            _ = self.stage.changed() => return Ok(None),
            () = sleep_until(self.deadline) => return Ok(None),
        }
        let available = self.left.saturating_sub(HEADER_BYTES);
        // This read does not block in practice: recently written data is in the page cache.
        let mut read = self.spool.read(position, available.min(TARGET_BLOCK_BYTES))?;
        if read.is_none() {
            read = self.spool.read(position, available.min(limits::BLOCK_BYTES))?;
        }
        let Some((Block { first, lines, payload }, next)) = read else { return Ok(None) };
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        log::encode_header(&BlockHeader { run: self.run, first, lines, len }, &mut header);
        self.left = self.left.saturating_sub(header.len() + payload.len());
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(Some([header.into(), payload.into()]))
    }
}

/// Waits until the lines from `line` on should be sent: there are enough of them, they are old enough, or the spool is
/// closed.
async fn ready(extent: &mut watch::Receiver<Extent>, line: u64) {
    let due = |extent: &Extent| extent.closed || extent.flushed >= line;
    // The caller keeps the spool, and with it the sender, alive.
    let available = extent.wait_for(|extent| due(extent) || extent.lines >= line).await.map(|extent| *extent);
    if available.is_ok_and(|extent| !due(&extent)) {
        let _ = timeout(limits::FLUSH_AGE, extent.wait_for(due)).await;
    }
}

/// Whether the error is permanent: the server does not accept, or no longer accepts, this agent's session for the run.
pub(crate) fn is_rejection(error: &LinkError) -> bool {
    matches!(error.status(), Some(401 | 403 | 404 | 409 | 410))
}
