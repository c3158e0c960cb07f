//! Run slots of platforms (`MAX_RUNS`), and the queue for them: first come, first served.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bakery_core::lifecycle::TaskEvent;
use bakery_core::names::{BuildId, Platform, RunName};
use tokio::sync::Notify;

use super::events::BuildEvent;
use super::mailbox::Mailbox;

/// The run slots of every platform. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct RunSlots(Arc<SlotTable>);

struct SlotTable {
    queues: Mutex<BTreeMap<Platform, PlatformQueue>>,
    freed: Notify,
}

struct PlatformQueue {
    max: usize,
    /// Runs whose containers may still run.
    held: HashSet<RunName>,
    waiting: VecDeque<(RunName, Mailbox)>,
}

/// How many run slots of one platform are in use.
pub(super) struct SlotUsage {
    pub(super) platform: Platform,
    pub(super) max: usize,
    pub(super) held: usize,
    pub(super) waiting: usize,
}

impl RunSlots {
    pub(super) fn new(max: impl IntoIterator<Item = (Platform, usize)>) -> Self {
        let queue =
            |max: usize| PlatformQueue { max: max.max(1), held: HashSet::new(), waiting: VecDeque::new() };
        let queues = max.into_iter().map(|(platform, max)| (platform, queue(max))).collect();
        Self(Arc::new(SlotTable { queues: Mutex::new(queues), freed: Notify::new() }))
    }

    /// Queues a run; `SlotFree` is posted to its actor once it has a slot.
    pub(super) fn enqueue(&self, platform: Platform, run: RunName, actor: Mailbox) {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(&platform) else {
            // A platform that is no longer configured: the launch reports it.
            actor.post(slot_free(run));
            return;
        };
        let known = queue.held.contains(&run) || queue.waiting.iter().any(|(other, _)| *other == run);
        if !known {
            queue.waiting.push_back((run, actor));
            queue.grant();
        }
    }

    /// Gives a slot to a run whose container was found at start.
    pub(super) fn hold(&self, platform: Platform, run: RunName) {
        if let Some(queue) = self.lock().get_mut(&platform) {
            queue.held.insert(run);
        }
    }

    /// The run needs no slot, or does not need it any more.
    pub(super) fn free(&self, run: RunName) {
        for queue in self.lock().values_mut() {
            queue.held.remove(&run);
            queue.waiting.retain(|(other, _)| *other != run);
            queue.grant();
        }
        self.0.freed.notify_waiters();
    }

    /// Waits until no container of the build can run any more.
    pub(super) async fn vacated(&self, build: BuildId) {
        loop {
            // Waiting begins before the look: what is freed in between is not missed.
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            let holds = |queue: &PlatformQueue| queue.held.iter().any(|run| run.task.build == build);
            if !self.lock().values().any(holds) {
                return;
            }
            freed.await;
        }
    }

    /// How many are before the run in its queue; `None` if it does not wait.
    pub(super) fn ahead(&self, run: RunName) -> Option<u32> {
        let queues = self.lock();
        let position =
            queues.values().find_map(|queue| queue.waiting.iter().position(|(other, _)| *other == run))?;
        u32::try_from(position).ok()
    }

    /// How many slots are in use now.
    pub(super) fn usage(&self) -> Vec<SlotUsage> {
        let usage = |(&platform, queue): (&Platform, &PlatformQueue)| SlotUsage {
            platform,
            max: queue.max,
            held: queue.held.len(),
            waiting: queue.waiting.len(),
        };
        self.lock().iter().map(usage).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Platform, PlatformQueue>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlatformQueue {
    fn grant(&mut self) {
        while self.held.len() < self.max {
            let Some((run, actor)) = self.waiting.pop_front() else { return };
            // An actor that is gone has no use for the slot.
            if actor.post(slot_free(run)) {
                self.held.insert(run);
            }
        }
    }
}

fn slot_free(run: RunName) -> BuildEvent {
    BuildEvent::Run(run, TaskEvent::SlotFree)
}
