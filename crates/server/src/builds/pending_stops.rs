//! Stops of containers, each retried until its platform confirms it.
//!
//! A pending stop is committed to the ledger before it is in the table here, and struck out when it is confirmed, so
//! that it outlives its build and the server. The table holds one entry for each container at most.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bakery_core::lifecycle::TaskEvent;
use bakery_core::names::{Platform, RunName};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::actors::Actors;
use super::events::BuildEvent;
use super::ledger::Ledger;
use super::panics::{RestartBackoff, catch_panic};
use super::run_slots::RunSlots;
use super::timing::Timing;
use super::{Launchers, sleep_until};

/// A platform that has not answered a stop within this time is asked again.
const STOP_TIMEOUT: Duration = Duration::from_mins(2);

/// How long a stopping server waits until the containers of settled runs are removed.
const LAST_STOPS_TIMEOUT: Duration = Duration::from_secs(8);

/// The table of pending stops. Clones are handles to the same.
#[derive(Clone, Default)]
pub(super) struct PendingStops(Arc<StopTable>);

#[derive(Default)]
struct StopTable {
    stops: Mutex<HashMap<RunName, PendingStop>>,
    changed: Notify,
}

struct PendingStop {
    platform: Platform,
    /// When the platform is to be asked; `None` while it is being asked.
    due: Option<Instant>,
    tries: u32,
}

impl PendingStops {
    /// Stops this container after `pause`, in which it may end by itself.
    pub(super) fn add(&self, run: RunName, platform: Platform, pause: Duration) {
        let due = Instant::now() + pause;
        let added = PendingStop { platform, due: Some(due), tries: 0 };
        let mut stops = self.lock();
        let stop = stops.entry(run).or_insert(added);
        stop.due = stop.due.map(|before| before.min(due));
        self.0.changed.notify_one();
    }

    /// The platform reports that the container has ended: what is left of it is removed now.
    pub(super) fn ended(&self, run: RunName) {
        if let Some(stop) = self.lock().get_mut(&run) {
            stop.due = stop.due.map(|before| before.min(Instant::now()));
            self.0.changed.notify_one();
        }
    }

    /// Takes what is due now; with it, when the next one is.
    fn take_due(&self) -> (Vec<(RunName, Platform)>, Option<Instant>) {
        let now = Instant::now();
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for (run, stop) in self.lock().iter_mut() {
            match stop.due {
                Some(at) if at <= now => {
                    stop.due = None;
                    due.push((*run, stop.platform));
                }
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        (due, next)
    }

    fn confirmed(&self, run: RunName) {
        self.lock().remove(&run);
    }

    fn failed(&self, run: RunName, timing: &Timing) {
        if let Entry::Occupied(mut entry) = self.lock().entry(run) {
            let stop = entry.get_mut();
            let pause = timing.stop_retry.saturating_mul(1 << stop.tries.min(16));
            stop.tries += 1;
            stop.due = Some(Instant::now() + pause.min(timing.stop_retry_max));
        }
    }

    /// After a panic of the loop: makes every stop that was in progress due again.
    fn resume(&self) {
        let now = Instant::now();
        for stop in self.lock().values_mut() {
            stop.due.get_or_insert(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunName, PendingStop>> {
        self.0.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a platform to stop a container, and strikes the stop out of the ledger once that is confirmed.
pub(super) struct Stopper {
    pub(super) launchers: Launchers,
    pub(super) ledger: Ledger,
}

impl Stopper {
    /// Whether the platform has confirmed that the container is stopped and removed.
    async fn stop(&self, run: RunName, platform: Platform) -> bool {
        let Some(launcher) = self.launchers.get(&platform) else {
            tracing::warn!(%run, %platform, "cannot stop a container: its platform is no longer configured");
            return false;
        };
        match tokio::time::timeout(STOP_TIMEOUT, launcher.stop(&run)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%run, %platform, %error, hint = error.message.hint, "stopping a container failed; retrying");
                return false;
            }
            Err(_) => {
                tracing::warn!(%run, %platform, "stopping a container timed out; retrying");
                return false;
            }
        }
        match self.ledger.stop_confirmed(run).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%run, error = &error as &dyn std::error::Error, "a confirmed stop cannot be struck out of the ledger; retrying");
                false
            }
        }
    }

    /// Tries every pending stop of the ledger once, while the server stops. The next start retries what fails.
    pub(super) async fn stop_all_once(&self) {
        let pending = match self.ledger.pending_stops().await {
            Ok(pending) => pending,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the pending stops cannot be read; the next start retries them");
                return;
            }
        };
        let stops = pending.into_iter().map(|(run, platform)| catch_panic("stop", self.stop(run, platform)));
        if tokio::time::timeout(LAST_STOPS_TIMEOUT, futures_util::future::join_all(stops)).await.is_err() {
            tracing::warn!("not every ended container was removed in time; the next start retries");
        }
    }
}

/// The loop that works off the table.
pub(super) struct StopLoop {
    pub(super) pending: PendingStops,
    pub(super) stopper: Stopper,
    pub(super) slots: RunSlots,
    pub(super) actors: Actors,
    pub(super) timing: Timing,
    pub(super) stopping: CancellationToken,
}

impl StopLoop {
    /// Runs until the server stops.
    pub(super) async fn run(self) {
        let mut backoff = RestartBackoff::new(self.timing.back_off);
        while catch_panic("pending stops", self.serve()).await.is_none()
            && backoff.pause(&self.stopping).await
        {
            self.pending.resume();
        }
    }

    async fn serve(&self) {
        let mut asking = FuturesUnordered::new();
        loop {
            let (due, next) = self.pending.take_due();
            for (run, platform) in due {
                asking.push(async move {
                    (run, catch_panic("stop", self.stopper.stop(run, platform)).await.unwrap_or(false))
                });
            }
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                Some((run, confirmed)) = asking.next() => self.settle(run, confirmed),
                () = self.pending.0.changed.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    fn settle(&self, run: RunName, confirmed: bool) {
        if confirmed {
            self.pending.confirmed(run);
            self.slots.free(run);
            self.actors.post(run.task.build, BuildEvent::Run(run, TaskEvent::StopConfirmed));
        } else {
            self.pending.failed(run, &self.timing);
        }
    }
}
