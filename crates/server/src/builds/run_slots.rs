//! Run slots on platforms (`MAX_RUNS`), and the queue for them: first come, first served.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bakery_core::lifecycle::TaskEvent;
use bakery_core::names::{BuildId, Platform, RunName};
use tokio::sync::Notify;

use super::actor::{Event, Mailbox, Message};

/// The places of every platform.
pub(super) struct RunSlots {
    queues: Mutex<BTreeMap<Platform, PlatformQueue>>,
    freed: Notify,
}

struct PlatformQueue {
    max: usize,
    /// Runs whose containers may live.
    held: HashSet<RunName>,
    waiting: VecDeque<(RunName, Mailbox)>,
}

/// How one platform's places are taken.
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
        Self { queues: Mutex::new(queues), freed: Notify::new() }
    }

    /// Queues a run; its owner is told by `SlotFree`.
    pub(super) fn enqueue(&self, platform: Platform, run: RunName, owner: Mailbox) {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(&platform) else {
            // A platform that is no longer configured: the launch will say so.
            owner.tell(slot_free(run));
            return;
        };
        let known = queue.held.contains(&run) || queue.waiting.iter().any(|(other, _)| *other == run);
        if !known {
            queue.waiting.push_back((run, owner));
            queue.grant();
        }
    }

    /// A run that is there already, found at start.
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
        self.freed.notify_waiters();
    }

    /// Waits until no container of the build can live any more.
    pub(super) async fn vacated(&self, build: BuildId) {
        loop {
            // Listening before looking: what is freed in between is not missed.
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let lives = |queue: &PlatformQueue| queue.held.iter().any(|run| run.task.build == build);
            if !self.lock().values().any(lives) {
                return;
            }
            freed.await;
        }
    }

    /// How many are before the run in its queue; `None` where it does not wait.
    pub(super) fn ahead(&self, run: RunName) -> Option<u32> {
        let queues = self.lock();
        let index =
            queues.values().find_map(|queue| queue.waiting.iter().position(|(other, _)| *other == run))?;
        u32::try_from(index).ok()
    }

    /// How the places are taken now.
    pub(super) fn usage(&self) -> Vec<SlotUsage> {
        let taken = |(&platform, queue): (&Platform, &PlatformQueue)| SlotUsage {
            platform,
            max: queue.max,
            held: queue.held.len(),
            waiting: queue.waiting.len(),
        };
        self.lock().iter().map(taken).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Platform, PlatformQueue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlatformQueue {
    fn grant(&mut self) {
        while self.held.len() < self.max {
            let Some((run, owner)) = self.waiting.pop_front() else { return };
            // An owner that is gone has no use for the slot.
            if owner.tell(slot_free(run)) {
                self.held.insert(run);
            }
        }
    }
}

fn slot_free(run: RunName) -> Message {
    Message::Happens(Event::of_run(run, TaskEvent::SlotFree))
}
