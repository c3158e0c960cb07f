//! The log's way to the server: from the spool, in segments, until every line is acknowledged.
//!
//! A segment is one POST of blocks, sent as the lines come and closed at [`limits::SEGMENT_BYTES`] or
//! [`limits::SEGMENT_AGE`]; its answer says which line the server wants next and whether the run is to end. While
//! nothing is written an empty segment asks every [`HEARTBEAT`]. After a broken connection the server is asked first
//! what it has, and the spool is read again from there: nothing is lost and nothing doubled, however often it breaks.
//! Memory is constant: a block, and the spool's sparse index.

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

use self::spool::{Block, Extent, Place, Spool};
use crate::spawn::spawn;

pub mod spool;

/// How often the server is asked while there is nothing to send: a cancel is heard within this time.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Bytes of an ordinary block; only a line that is longer makes a larger one.
const SEND_BYTES: usize = 64 << 10;
/// Bytes that a block's header can take.
const HEADER_BYTES: usize = 256;
/// A segment whose answer is not there after this long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server has told the run so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Told {
    /// Nothing but numbers.
    #[default]
    GoOn,
    /// The run is to end.
    Cancel,
    /// The server does not take this run's words any more, and says why.
    Dismissed(String),
}

/// The log could not be delivered whole.
#[derive(Debug, Error)]
pub enum NotShipped {
    /// The server does not take it.
    #[error("the server does not take this run's log: {0}")]
    Dismissed(String),
    /// The time is over.
    #[error("the server has acknowledged {acknowledged} of {lines} lines within {} s", .within.as_secs())]
    TimeOver {
        /// Lines that the server is known to have.
        acknowledged: u64,
        /// Lines in all.
        lines: u64,
        /// The time.
        within: Duration,
    },
}

/// A running delivery.
#[derive(Debug)]
pub struct Shipper {
    spool: Arc<Spool>,
    stage: watch::Sender<Stage>,
    told: watch::Receiver<Told>,
    acknowledged: watch::Receiver<u64>,
    task: JoinHandle<Result<(), String>>,
}

impl Shipper {
    /// Begins to send what is in `spool` and what will be.
    pub fn start(runs: RunApi, run: RunName, spool: Arc<Spool>) -> Self {
        let stage = watch::Sender::new(Stage::Prepare);
        let (tell, told) = watch::channel(Told::GoOn);
        let (acknowledge, acknowledged) = watch::channel(0);
        let delivery = Delivery { runs, run, spool: Arc::clone(&spool), tell, acknowledge };
        let task = spawn("shipper", delivery.run(stage.clone(), stage.subscribe()));
        Self { spool, stage, told, acknowledged, task }
    }

    /// Says how far the run has come; the server hears of it at once.
    pub fn stage(&self) -> &watch::Sender<Stage> {
        &self.stage
    }

    /// What the server says.
    pub fn told(&self) -> watch::Receiver<Told> {
        self.told.clone()
    }

    /// Closes the spool and waits until the server has every line.
    pub async fn finish(self, within: Duration) -> Result<(), NotShipped> {
        self.spool.close();
        let mut task = self.task;
        match timeout(within, &mut task).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(text))) => Err(NotShipped::Dismissed(text)),
            Ok(Err(_)) | Err(_) => {
                task.abort();
                let (acknowledged, lines) = (*self.acknowledged.borrow(), self.spool.lines());
                Err(NotShipped::TimeOver { acknowledged, lines, within })
            }
        }
    }
}

struct Delivery {
    runs: RunApi,
    run: RunName,
    spool: Arc<Spool>,
    tell: watch::Sender<Told>,
    acknowledge: watch::Sender<u64>,
}

impl Delivery {
    /// `_alive` keeps the stage from ending before the delivery does.
    async fn run(
        self,
        _alive: watch::Sender<Stage>,
        mut stage: watch::Receiver<Stage>,
    ) -> Result<(), String> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .with_jitter()
            .without_max_times();
        let mut extent = self.spool.watch();
        let mut pauses = backoff.build();
        let mut place = Place::START;
        // After a failure nobody knows what arrived: an empty segment asks.
        let mut ask = false;
        loop {
            if !ask {
                let done = *extent.borrow();
                if done.closed && place.line > done.lines {
                    return Ok(());
                }
                tokio::select! {
                    () = ready(&mut extent, place.line) => {}
                    _ = stage.changed() => {}
                    () = sleep(HEARTBEAT) => {}
                }
            }
            let now = *stage.borrow_and_update();
            let reached = Arc::new(Mutex::new(place));
            let heartbeat = ask || extent.borrow().lines < place.line;
            let segment = (!heartbeat).then(|| self.segment(stage.clone(), Arc::clone(&reached)));
            let answer = timeout(PATIENCE, self.send(now, segment)).await;
            let sent = *reached.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(Ok(ack)) => {
                    if ack.cancel && *self.tell.borrow() == Told::GoOn {
                        self.tell.send_replace(Told::Cancel);
                    }
                    ask = false;
                    let before = place;
                    place = self.place(ack, sent);
                    self.acknowledge.send_replace(place.line - 1);
                    if place.line > before.line || heartbeat {
                        if place.line > before.line {
                            pauses = backoff.build();
                        }
                        continue;
                    }
                    // The server has taken none of it: ask again, but not in a hot loop.
                }
                Ok(Err(error)) if is_dismissal(&error) => {
                    self.tell.send_replace(Told::Dismissed(error.to_string()));
                    return Err(error.to_string());
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a log segment was not taken");
                    ask = true;
                }
                Err(_) => {
                    tracing::warn!("no answer to a log segment");
                    ask = true;
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

    /// Where to go on after an answer.
    fn place(&self, ack: SegmentAck, sent: Place) -> Place {
        if ack.next == sent.line {
            return sent;
        }
        let last = self.spool.lines() + 1;
        if ack.next > last {
            tracing::error!(next = ack.next, last, "the server wants a line that was never written");
        }
        match self.spool.place(ack.next.clamp(1, last)) {
            Ok(place) => place,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                sent
            }
        }
    }

    /// The body of one segment. Records in `reached` how far it has read.
    fn segment(
        &self,
        stage: watch::Receiver<Stage>,
        reached: Arc<Mutex<Place>>,
    ) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static + use<> {
        let segment = Segment {
            run: self.run,
            spool: Arc::clone(&self.spool),
            extent: self.spool.watch(),
            stage,
            left: limits::SEGMENT_BYTES,
            ends: Instant::now() + limits::SEGMENT_AGE,
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
    ends: Instant,
    reached: Arc<Mutex<Place>>,
}

impl Segment {
    /// The next block: its header and, uncopied, its payload.
    async fn next(&mut self) -> std::io::Result<Option<[Bytes; 2]>> {
        let place = *self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() >= self.ends {
            return Ok(None);
        }
        tokio::select! {
            () = ready(&mut self.extent, place.line) => {}
            _ = self.stage.changed() => return Ok(None),
            () = sleep_until(self.ends) => return Ok(None),
        }
        let room = self.left.saturating_sub(HEADER_BYTES);
        // Reading does not wait: what was written a moment ago is in the page cache.
        let mut read = self.spool.read(place, room.min(SEND_BYTES))?;
        if read.is_none() {
            read = self.spool.read(place, room.min(limits::BLOCK_BYTES))?;
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

/// Waits until lines from `line` on are worth sending: enough of them, or old enough; or until no more will come.
async fn ready(extent: &mut watch::Receiver<Extent>, line: u64) {
    let ripe = |extent: &Extent| extent.closed || extent.flushed >= line;
    // The spool, and with it the other end, lives as long as whoever waits here.
    let there = extent.wait_for(|extent| ripe(extent) || extent.lines >= line).await.map(|extent| *extent);
    if there.is_ok_and(|extent| !ripe(&extent)) {
        let _ = timeout(limits::FLUSH_AGE, extent.wait_for(ripe)).await;
    }
}

/// True where asking again cannot help: the run is not, or no longer, this agent's.
pub(crate) fn is_dismissal(error: &LinkError) -> bool {
    matches!(error.status(), Some(401 | 403 | 404 | 409 | 410))
}
