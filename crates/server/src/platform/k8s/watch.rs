//! One watch of Jobs, one of pods and one of events for all runs of this installation, with a full resync after every
//! lost connection.

use std::sync::Arc;
use std::time::Duration;

use bakery_core::message::Message;
use bakery_core::names::RunName;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as K8sEvent, Pod};
use kube::api::{ListParams, PropagationPolicy};
use kube::runtime::watcher::{self, Error, Event, watcher};
use tokio::time::Instant;

use super::super::observation_stream::{ObservationQueue, ObservationSource, observations};
use super::super::{Availability, Observation};
use super::K8sCore;
use super::run_tracker::{RunTracker, TrackerContext};

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const STEADY: Duration = Duration::from_millis(500);
/// How long one watch request lasts: a connection that died silently is noticed a few seconds later.
const WATCH_SECONDS: u32 = 45;

type Feed<K> = BoxStream<'static, Result<Event<K>, Error>>;

struct Feeds {
    jobs: Feed<Job>,
    pods: Feed<Pod>,
    events: Feed<K8sEvent>,
}

/// An item of one of the feeds.
enum Item {
    Job(Box<Event<Job>>),
    Pod(Box<Event<Pod>>),
    Event(Box<Event<K8sEvent>>),
}

struct K8sWatch {
    core: Arc<K8sCore>,
    feeds: Option<Feeds>,
    tracker: RunTracker,
    queue: ObservationQueue,
    /// When the feeds, all open again, will have lasted long enough to count: a watch may be refused where a list is not.
    steady: Option<Instant>,
    wait: Duration,
}

pub(super) fn watch(core: Arc<K8sCore>) -> BoxStream<'static, Observation> {
    let queue = ObservationQueue::new(&core.runs);
    observations(K8sWatch {
        core,
        feeds: None,
        tracker: RunTracker::default(),
        queue,
        steady: None,
        wait: FIRST_WAIT,
    })
}

impl ObservationSource for K8sWatch {
    fn queue(&mut self) -> &mut ObservationQueue {
        &mut self.queue
    }

    async fn advance(&mut self) {
        let feeds = self.feeds.get_or_insert_with(|| {
            self.tracker.begin();
            Feeds::open(&self.core)
        });
        tokio::select! {
            () = tokio::time::sleep_until(self.steady.unwrap_or_else(Instant::now)), if self.steady.is_some() => {
                self.core.availability.set(Availability::Available);
                (self.steady, self.wait) = (None, FIRST_WAIT);
            }
            item = feeds.next() => match item {
                Ok(item) => self.apply(item).await,
                Err(error) => self.handle_error(&error).await,
            },
            () = self.queue.receive(), if self.tracker.is_synced() => {}
        }
    }

    /// Removes the Job. The next resync reports the end again where it cannot be removed now.
    async fn remove(&mut self, run: RunName) {
        if self.core.runs.is_removing(run) {
            return;
        }
        if let Err(error) = self.core.remove(run, PropagationPolicy::Background).await {
            tracing::warn!(%run, %error, "an ended Job could not be removed; retrying after the next reconnect");
        }
    }
}

impl K8sWatch {
    async fn apply(&mut self, item: Item) {
        let core = Arc::clone(&self.core);
        let was_synced = self.tracker.is_synced();
        if let Item::Job(event) = &item
            && let Event::Apply(job) = &**event
            && let Some(run) = core.created_after_stop(job)
            && let Err(error) = core.remove(run, PropagationPolicy::Foreground).await
        {
            tracing::warn!(%run, %error, "a Job that was created after its stop could not be removed");
        }
        let mut context =
            TrackerContext { template: &core.template, runs: &core.runs, out: &mut self.queue.ready };
        match item {
            Item::Job(event) => self.tracker.job(*event, &mut context),
            Item::Pod(event) => self.tracker.pod(*event, &mut context),
            Item::Event(event) => self.tracker.event(&event, &mut context),
        }
        if !was_synced && self.tracker.is_synced() {
            self.steady = Some(Instant::now() + STEADY);
        }
        for run in self.tracker.take_unverified() {
            let params = ListParams::default().labels(&core.template.selector_of(run));
            match core.cluster.call("looking up a pod", core.cluster.pods().list(&params)).await {
                Ok(pods) => {
                    let mut context = TrackerContext {
                        template: &core.template,
                        runs: &core.runs,
                        out: &mut self.queue.ready,
                    };
                    self.tracker.verified(run, pods.items.first(), &mut context);
                }
                // The resync that follows asks for the same lookup.
                Err(failed) => {
                    self.report_outage(failed.error.message).await;
                    return;
                }
            }
        }
    }

    async fn handle_error(&mut self, error: &Error) {
        let cause = match error {
            Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => {
                self.core.cluster.text_of(error)
            }
            Error::WatchError(status) => status.message.clone(),
            Error::NoResourceVersion => error.to_string(),
        };
        // That a connection ends is normal. It is an outage only where the next one is refused.
        let ended = matches!(error, Error::WatchFailed(_) | Error::WatchError(_));
        if ended && self.tracker.is_synced() && self.steady.is_none() {
            tracing::debug!(cause, "a watch has ended; everything is listed anew");
            self.feeds = None;
            return;
        }
        self.report_outage(format!("watching the namespace {}: {cause}", self.core.cluster.namespace).into())
            .await;
    }

    async fn report_outage(&mut self, outage: Message) {
        tracing::warn!(error = %outage, hint = outage.hint, "the cluster cannot be watched; retrying");
        self.core.availability.set(Availability::Unavailable(outage));
        (self.feeds, self.steady) = (None, None);
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}

impl K8sCore {
    /// The run of a Job that a launch created after its stop had found nothing to delete.
    fn created_after_stop(&self, job: &Job) -> Option<RunName> {
        let run = self.template.run_of(job.metadata.labels.as_ref())?;
        let stopped = self.runs.is_removing(run) && !self.runs.has_ended(run);
        (stopped && job.metadata.deletion_timestamp.is_none()).then_some(run)
    }
}

impl Feeds {
    fn open(core: &K8sCore) -> Self {
        let all = watcher::Config::default().timeout(WATCH_SECONDS);
        let ours = all.clone().labels(&core.template.selector());
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

/// The next item of a watcher's stream, which never ends.
async fn one<K>(feed: &mut (impl Stream<Item = Result<Event<K>, Error>> + Unpin)) -> Result<Event<K>, Error> {
    feed.next().await.unwrap_or(Err(Error::NoResourceVersion))
}
