//! One watch of Jobs, one of pods and one of events for all runs of this installation, with a full resync after every
//! lost connection.

use std::sync::Arc;
use std::time::Duration;

use bakery_core::message::Message;
use bakery_core::names::RunName;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Happening, Pod};
use kube::api::{ListParams, PropagationPolicy};
use kube::runtime::watcher::{self, Error, Event, watcher};
use tokio::time::Instant;

use super::super::telling::{self, Telling, stream_of};
use super::super::{Availability, Observation};
use super::Core;
use super::board::{Around, Board};

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const STEADY: Duration = Duration::from_millis(500);
/// How long one watch request lasts: a connection that has died without a word is noticed a few seconds later.
const WATCH_SECONDS: u32 = 45;

type Feed<K> = BoxStream<'static, Result<Event<K>, Error>>;

struct Feeds {
    jobs: Feed<Job>,
    pods: Feed<Pod>,
    events: Feed<Happening>,
}

/// What the feeds have brought.
enum Item {
    Job(Box<Event<Job>>),
    Pod(Box<Event<Pod>>),
    Event(Box<Event<Happening>>),
}

struct Watch {
    core: Arc<Core>,
    feeds: Option<Feeds>,
    board: Board,
    telling: Telling,
    /// When the feeds, whole again, will have held long enough to be believed: a watch may be refused where a list is not.
    steady: Option<Instant>,
    wait: Duration,
}

pub(super) fn watch(core: Arc<Core>) -> BoxStream<'static, Observation> {
    let telling = Telling::of(&core.runs);
    stream_of(Watch { core, feeds: None, board: Board::default(), telling, steady: None, wait: FIRST_WAIT })
}

impl telling::Watch for Watch {
    fn telling(&mut self) -> &mut Telling {
        &mut self.telling
    }

    async fn advance(&mut self) {
        let feeds = self.feeds.get_or_insert_with(|| {
            self.board.begin();
            Feeds::open(&self.core)
        });
        tokio::select! {
            () = tokio::time::sleep_until(self.steady.unwrap_or_else(Instant::now)), if self.steady.is_some() => {
                self.core.availability.set(Availability::Available);
                (self.steady, self.wait) = (None, FIRST_WAIT);
            }
            item = feeds.next() => match item {
                Ok(item) => self.take(item).await,
                Err(error) => self.lost(&error).await,
            },
            () = self.telling.hear(), if self.board.is_synced() => {}
        }
    }

    /// Removes the Job. What cannot be removed now is told again by the next resync.
    async fn clear(&mut self, run: RunName) {
        if self.core.runs.is_leaving(run) {
            return;
        }
        if let Err(error) = self.core.remove(run, PropagationPolicy::Background).await {
            tracing::warn!(%run, %error, "an ended Job could not be removed; the next connection tries again");
        }
    }
}

impl Watch {
    async fn take(&mut self, item: Item) {
        let core = Arc::clone(&self.core);
        let was_synced = self.board.is_synced();
        if let Item::Job(event) = &item
            && let Event::Apply(job) = &**event
            && let Some(run) = core.late(job)
            && let Err(error) = core.remove(run, PropagationPolicy::Foreground).await
        {
            tracing::warn!(%run, %error, "a Job that came after its stop could not be removed");
        }
        let mut around = Around { house: &core.house, runs: &core.runs, out: &mut self.telling.ready };
        match item {
            Item::Job(event) => self.board.job(*event, &mut around),
            Item::Pod(event) => self.board.pod(*event, &mut around),
            Item::Event(event) => self.board.event(&event, &mut around),
        }
        if !was_synced && self.board.is_synced() {
            self.steady = Some(Instant::now() + STEADY);
        }
        for run in self.board.doubts() {
            let params = ListParams::default().labels(&core.house.selector_of(run));
            match core.cluster.call("looking for a pod", core.cluster.pods().list(&params)).await {
                Ok(pods) => {
                    let mut around =
                        Around { house: &core.house, runs: &core.runs, out: &mut self.telling.ready };
                    self.board.answer(run, pods.items.first(), &mut around);
                }
                // The resync that follows comes to the same doubt.
                Err(refused) => {
                    self.broken(refused.error.message).await;
                    return;
                }
            }
        }
    }

    async fn lost(&mut self, error: &Error) {
        let why = match error {
            Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => {
                self.core.cluster.words(error)
            }
            Error::WatchError(status) => status.message.clone(),
            Error::NoResourceVersion => error.to_string(),
        };
        // A connection that ends is none that is refused: only where the next is, something is the matter.
        let ended = matches!(error, Error::WatchFailed(_) | Error::WatchError(_));
        if ended && self.board.is_synced() && self.steady.is_none() {
            tracing::debug!(why, "a watch has ended; everything is listed anew");
            self.feeds = None;
            return;
        }
        self.broken(format!("watching the namespace {}: {why}", self.core.cluster.namespace).into()).await;
    }

    async fn broken(&mut self, why: Message) {
        tracing::warn!(%why, hint = why.hint, "the cluster cannot be watched; trying again");
        self.core.availability.set(Availability::Unavailable(why));
        (self.feeds, self.steady) = (None, None);
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}

impl Core {
    /// The run of a Job that a launch made after it had been given up, and its stop had found nothing.
    fn late(&self, job: &Job) -> Option<RunName> {
        let run = self.house.run_of(job.metadata.labels.as_ref())?;
        let stopped = self.runs.is_leaving(run) && !self.runs.has_ended(run);
        (stopped && job.metadata.deletion_timestamp.is_none()).then_some(run)
    }
}

impl Feeds {
    fn open(core: &Core) -> Self {
        let all = watcher::Config::default().timeout(WATCH_SECONDS);
        let ours = all.clone().labels(&core.house.selector());
        let cluster = &core.cluster;
        Self {
            jobs: watcher(cluster.jobs(), ours.clone()).boxed(),
            pods: watcher(cluster.pods(), ours).boxed(),
            // Events carry no labels.
            events: watcher(cluster.events(), all).boxed(),
        }
    }

    async fn next(&mut self) -> Result<Item, Error> {
        tokio::select! {
            item = one(&mut self.jobs) => Ok(Item::Job(Box::new(item?))),
            item = one(&mut self.pods) => Ok(Item::Pod(Box::new(item?))),
            item = one(&mut self.events) => Ok(Item::Event(Box::new(item?))),
        }
    }
}

/// A watcher's stream has no end.
async fn one<K>(feed: &mut (impl Stream<Item = Result<Event<K>, Error>> + Unpin)) -> Result<Event<K>, Error> {
    feed.next().await.unwrap_or(Err(Error::NoResourceVersion))
}
