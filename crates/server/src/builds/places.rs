//! Places on platforms (`MAX_RUNS`), and the queue for them: first come, first served.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bakery_core::lifecycle::TaskEvent;
use bakery_core::names::{BuildId, Platform, RunName};
use tokio::sync::Notify;

use super::actor::{Event, Inbox, Message};

/// The places of every platform.
pub(super) struct Places {
    rooms: Mutex<BTreeMap<Platform, Room>>,
    freed: Notify,
}

struct Room {
    max: usize,
    /// Runs whose containers may live.
    held: HashSet<RunName>,
    waiting: VecDeque<(RunName, Inbox)>,
}

/// How one platform's places are taken.
pub(super) struct Taken {
    pub(super) platform: Platform,
    pub(super) max: usize,
    pub(super) held: usize,
    pub(super) waiting: usize,
}

impl Places {
    pub(super) fn new(max: impl IntoIterator<Item = (Platform, usize)>) -> Self {
        let room = |max: usize| Room { max: max.max(1), held: HashSet::new(), waiting: VecDeque::new() };
        let rooms = max.into_iter().map(|(platform, max)| (platform, room(max))).collect();
        Self { rooms: Mutex::new(rooms), freed: Notify::new() }
    }

    /// Queues a run; its owner is told by `SlotFree`.
    pub(super) fn enqueue(&self, platform: Platform, run: RunName, owner: Inbox) {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(&platform) else {
            // A platform that is no longer configured: the launch will say so.
            owner.tell(slot_free(run));
            return;
        };
        let known = room.held.contains(&run) || room.waiting.iter().any(|(other, _)| *other == run);
        if !known {
            room.waiting.push_back((run, owner));
            room.grant();
        }
    }

    /// A run that is there already, found at start.
    pub(super) fn hold(&self, platform: Platform, run: RunName) {
        if let Some(room) = self.lock().get_mut(&platform) {
            room.held.insert(run);
        }
    }

    /// The run needs no place, or does not need it any more.
    pub(super) fn free(&self, run: RunName) {
        for room in self.lock().values_mut() {
            room.held.remove(&run);
            room.waiting.retain(|(other, _)| *other != run);
            room.grant();
        }
        self.freed.notify_waiters();
    }

    /// Waits until no container of the build can live any more.
    pub(super) async fn vacated(&self, build: BuildId) {
        loop {
            // Listening before looking: what is freed in between is not missed.
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let lives = |room: &Room| room.held.iter().any(|run| run.task.build == build);
            if !self.lock().values().any(lives) {
                return;
            }
            freed.await;
        }
    }

    /// How many are before the run in its queue; `None` where it does not wait.
    pub(super) fn ahead(&self, run: RunName) -> Option<u32> {
        let rooms = self.lock();
        let place =
            rooms.values().find_map(|room| room.waiting.iter().position(|(other, _)| *other == run))?;
        u32::try_from(place).ok()
    }

    /// How the places are taken now.
    pub(super) fn taken(&self) -> Vec<Taken> {
        let taken = |(&platform, room): (&Platform, &Room)| Taken {
            platform,
            max: room.max,
            held: room.held.len(),
            waiting: room.waiting.len(),
        };
        self.lock().iter().map(taken).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Platform, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn grant(&mut self) {
        while self.held.len() < self.max {
            let Some((run, owner)) = self.waiting.pop_front() else { return };
            // An owner that is gone has no use for the place.
            if owner.tell(slot_free(run)) {
                self.held.insert(run);
            }
        }
    }
}

fn slot_free(run: RunName) -> Message {
    Message::Happens(Event::of_run(run, TaskEvent::SlotFree))
}
