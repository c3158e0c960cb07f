//! What a launcher knows of runs beyond what its platform keeps: which launches are under way, and which runs are over.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use tokio::sync::{Notify, broadcast};

use super::{Exit, LaunchError, Observation};

/// Runs that are over are remembered so many at a time, so that the same order again starts nothing new.
const REMEMBERED: usize = 4096;
/// Observations of launches that a slow watcher may be behind.
const TOLD: usize = 1024;

/// Launches under way, and runs that are over.
#[derive(Debug)]
pub(super) struct Runs {
    known: Mutex<Known>,
    /// To whoever watches; nobody may.
    tell: broadcast::Sender<Observation>,
    /// Woken when a launch or a run is over, or the platform holds nothing of a run any more.
    changed: Notify,
}

impl Default for Runs {
    fn default() -> Self {
        Self { known: Mutex::default(), tell: broadcast::Sender::new(TOLD), changed: Notify::new() }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// Launches under way, and how many of each: the platform may not list them yet.
    launching: HashMap<RunName, usize>,
    /// Runs that were stopped or have ended; the exit once it is known.
    past: HashMap<RunName, Option<Exit>>,
    /// Those of `past` that the platform was told to remove ...
    leaving: HashSet<RunName>,
    /// ... and those of which it holds nothing any more.
    removed: HashSet<RunName>,
    /// `past` in order of arrival.
    order: VecDeque<RunName>,
}

/// A launch under way; over when dropped.
pub(super) struct Launching<'a>(&'a Runs, RunName);

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

impl Runs {
    /// A launch begins; `None` where the run is over already, so that the order is answered and starts nothing.
    pub(super) fn launch(&self, run: RunName) -> Option<Launching<'_>> {
        *self.lock().launching.entry(run).or_default() += 1;
        let launching = Launching(self, run);
        if let Some(exit) = self.past(run) {
            // The watcher may have missed it.
            self.tell(Observation::Gone { run, exit });
            return None;
        }
        Some(launching)
    }

    /// Tells whoever watches.
    pub(super) fn tell(&self, observation: Observation) {
        let _ = self.tell.send(observation);
    }

    /// What is told from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Observation> {
        self.tell.subscribe()
    }

    /// The launches under way.
    pub(super) fn launching(&self) -> HashSet<RunName> {
        self.lock().launching.keys().copied().collect()
    }

    /// The run is over: stopped (`None`), or ended like this.
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
            known.leaving.remove(&oldest);
            known.removed.remove(&oldest);
        }
        drop(known);
        self.changed.notify_waiters();
    }

    /// The platform was told to remove what it holds of a run that is over.
    pub(super) fn leaves(&self, run: RunName) {
        let mut known = self.lock();
        if known.past.contains_key(&run) {
            known.leaving.insert(run);
        }
    }

    /// Whether the platform was told to remove what it holds of the run.
    pub(super) fn is_leaving(&self, run: RunName) -> bool {
        self.lock().leaving.contains(&run)
    }

    /// The platform holds nothing of a run that is over.
    pub(super) fn removed(&self, run: RunName) {
        let mut known = self.lock();
        if known.past.contains_key(&run) {
            known.removed.insert(run);
        }
        drop(known);
        self.changed.notify_waiters();
    }

    /// Waits until [`Runs::is_removed`].
    pub(super) async fn removal(&self, run: RunName) {
        self.until(|known| known.removed.contains(&run)).await;
    }

    /// Waits until no launch of the run is under way.
    pub(super) async fn launched(&self, run: RunName) {
        self.until(|known| !known.launching.contains_key(&run)).await;
    }

    /// Waits until the run is over: stopped, or ended.
    pub(super) async fn over(&self, run: RunName) {
        self.until(|known| known.past.contains_key(&run)).await;
    }

    async fn until(&self, so: impl Fn(&Known) -> bool) {
        loop {
            // Listening before looking: what changes in between is not missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if so(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Whether it is known that the platform holds nothing of the run.
    pub(super) fn is_removed(&self, run: RunName) -> bool {
        self.lock().removed.contains(&run)
    }

    /// The exit of a run that is over, `None` where it is not.
    pub(super) fn past(&self, run: RunName) -> Option<Exit> {
        let stopped = || Exit { code: None, reason: None, message: "the run was stopped".into() };
        self.lock().past.get(&run).map(|exit| exit.clone().unwrap_or_else(stopped))
    }

    /// Whether the run is over, and its end was seen.
    pub(super) fn has_ended(&self, run: RunName) -> bool {
        matches!(self.lock().past.get(&run), Some(Some(_)))
    }

    /// An error where the run was stopped or has ended since its launch began.
    pub(super) fn check(&self, run: RunName) -> Result<(), LaunchError> {
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
