//! What a launcher keeps about runs beyond what its platform holds: which launches are under way, and which runs have
//! ended.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use tokio::sync::{Notify, broadcast};

use super::{Exit, LaunchError, Observation};

/// How many ended runs are remembered, so that the same order again starts nothing new.
const REMEMBERED: usize = 4096;
/// How many published observations a slow watch may be behind.
const PUBLISHED: usize = 1024;

/// Launches under way, and ended runs.
#[derive(Debug)]
pub(super) struct RunRegistry {
    known: Mutex<Known>,
    /// To the platform's watches, of which there may be none.
    published: broadcast::Sender<Observation>,
    /// Woken when a launch or a run has ended, or the platform holds nothing of a run any more.
    changed: Notify,
}

impl Default for RunRegistry {
    fn default() -> Self {
        Self { known: Mutex::default(), published: broadcast::Sender::new(PUBLISHED), changed: Notify::new() }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// Launches under way, and how many of each: the platform may not list them yet.
    launching: HashMap<RunName, usize>,
    /// Runs that were stopped or have ended; the exit once it is known.
    past: HashMap<RunName, Option<Exit>>,
    /// Those of `past` that the platform was asked to remove ...
    removing: HashSet<RunName>,
    /// ... and those of which it holds nothing any more.
    removed: HashSet<RunName>,
    /// `past` in order of arrival.
    order: VecDeque<RunName>,
}

/// A launch under way; it ends when dropped.
pub(super) struct Launching<'a>(&'a RunRegistry, RunName);

impl Drop for Launching<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.0.lock().launching.entry(self.1) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        self.0.changed.notify_waiters();
    }
}

impl RunRegistry {
    /// Notes that a launch begins; `None` if the run has already ended, so that the order is answered and starts nothing.
    pub(super) fn begin_launch(&self, run: RunName) -> Option<Launching<'_>> {
        *self.lock().launching.entry(run).or_default() += 1;
        let launching = Launching(self, run);
        if let Some(exit) = self.exit_of(run) {
            // The watch may have missed it.
            self.publish(Observation::Gone { run, exit });
            return None;
        }
        Some(launching)
    }

    /// Sends an observation to the platform's watches.
    pub(super) fn publish(&self, observation: Observation) {
        let _ = self.published.send(observation);
    }

    /// The observations that are published from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Observation> {
        self.published.subscribe()
    }

    /// The launches under way.
    pub(super) fn launching(&self) -> HashSet<RunName> {
        self.lock().launching.keys().copied().collect()
    }

    /// Notes that the run has ended: stopped (`None`), or with this exit.
    pub(super) fn remember(&self, run: RunName, exit: Option<Exit>) {
        let mut known = self.lock();
        match known.past.entry(run) {
            Entry::Occupied(mut entry) => {
                if exit.is_some() {
                    entry.insert(exit);
                }
                return;
            }
            Entry::Vacant(new) => new.insert(exit),
        };
        known.order.push_back(run);
        if known.order.len() > REMEMBERED
            && let Some(oldest) = known.order.pop_front()
        {
            known.past.remove(&oldest);
            known.removing.remove(&oldest);
            known.removed.remove(&oldest);
        }
        drop(known);
        self.changed.notify_waiters();
    }

    /// Notes that the platform was asked to remove what it holds of an ended run.
    pub(super) fn mark_removing(&self, run: RunName) {
        let mut known = self.lock();
        if known.past.contains_key(&run) {
            known.removing.insert(run);
        }
    }

    /// Whether the platform was asked to remove what it holds of the run.
    pub(super) fn is_removing(&self, run: RunName) -> bool {
        self.lock().removing.contains(&run)
    }

    /// Notes that the platform holds nothing of an ended run.
    pub(super) fn mark_removed(&self, run: RunName) {
        let mut known = self.lock();
        if known.past.contains_key(&run) {
            known.removed.insert(run);
        }
        drop(known);
        self.changed.notify_waiters();
    }

    /// Waits until [`RunRegistry::is_removed`].
    pub(super) async fn wait_removed(&self, run: RunName) {
        self.until(|known| known.removed.contains(&run)).await;
    }

    /// Waits until no launch of the run is under way.
    pub(super) async fn wait_launched(&self, run: RunName) {
        self.until(|known| !known.launching.contains_key(&run)).await;
    }

    /// Waits until the run has ended or was stopped.
    pub(super) async fn wait_over(&self, run: RunName) {
        self.until(|known| known.past.contains_key(&run)).await;
    }

    async fn until(&self, condition: impl Fn(&Known) -> bool) {
        loop {
            // Subscribed before the look, so that no change in between is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if condition(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Whether it is known that the platform holds nothing of the run.
    pub(super) fn is_removed(&self, run: RunName) -> bool {
        self.lock().removed.contains(&run)
    }

    /// The exit of an ended run; `None` if it has not ended.
    pub(super) fn exit_of(&self, run: RunName) -> Option<Exit> {
        let stopped = || Exit { code: None, reason: None, message: "the run was stopped".into() };
        self.lock().past.get(&run).map(|exit| exit.clone().unwrap_or_else(stopped))
    }

    /// Whether the run has ended, and its exit is known.
    pub(super) fn has_ended(&self, run: RunName) -> bool {
        matches!(self.lock().past.get(&run), Some(Some(_)))
    }

    /// An error where the run was stopped or has ended since its launch began.
    pub(super) fn ensure_open(&self, run: RunName) -> Result<(), LaunchError> {
        if !self.lock().past.contains_key(&run) {
            return Ok(());
        }
        let message = format!("the run {run} was stopped before its container started").into();
        Err(LaunchError { retryable: false, reason: Reason::Cancelled, message })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
