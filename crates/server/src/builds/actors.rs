//! The actors of open builds, as the rest of the server sees them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bakery_core::names::BuildId;
use tokio::sync::watch;

use super::events::BuildEvent;
use super::mailbox::{ActorMessage, Mailbox};
use super::state::BuildState;

/// One build's actor.
pub(super) struct ActorHandle {
    /// The tenant whose build it is.
    pub(super) owner: Arc<str>,
    pub(super) mailbox: Mailbox,
    pub(super) state: watch::Receiver<Arc<BuildState>>,
}

struct OpenActor {
    handle: ActorHandle,
    /// How many actors of the build have panicked since the server started.
    panics: u32,
}

/// All of them. Clones are handles to the same.
#[derive(Clone, Default)]
pub(super) struct Actors(Arc<Mutex<HashMap<BuildId, OpenActor>>>);

impl Actors {
    /// Posts an event to the build's actor; false if it has none: the build has ended, or never was.
    pub(super) fn post(&self, build: BuildId, event: BuildEvent) -> bool {
        self.mailbox(build).is_some_and(|mailbox| mailbox.post(event))
    }

    /// Posts an event to every actor.
    pub(super) fn post_all(&self, event: &BuildEvent) {
        for open in self.lock().values() {
            open.handle.mailbox.post(event.clone());
        }
    }

    /// Sends a request to the build's actor; false if it has none.
    pub(super) async fn request(&self, build: BuildId, request: ActorMessage) -> bool {
        match self.mailbox(build) {
            Some(mailbox) => mailbox.request(request).await,
            None => false,
        }
    }

    /// Where an open build stands.
    pub(super) fn state(&self, build: BuildId) -> Option<Arc<BuildState>> {
        self.lock().get(&build).map(|open| Arc::clone(&open.handle.state.borrow()))
    }

    /// Where every open build stands.
    pub(super) fn states(&self) -> HashMap<BuildId, Arc<BuildState>> {
        let open = self.lock();
        open.iter().map(|(build, open)| (*build, Arc::clone(&open.handle.state.borrow()))).collect()
    }

    /// Whose build it is, if it is open.
    pub(super) fn owner(&self, build: BuildId) -> Option<Arc<str>> {
        self.lock().get(&build).map(|open| Arc::clone(&open.handle.owner))
    }

    /// Whether the build has an actor, or had one that has panicked.
    pub(super) fn knows(&self, build: BuildId) -> bool {
        self.lock().contains_key(&build)
    }

    /// Whether an actor drives the build now.
    pub(super) fn drives(&self, build: BuildId) -> bool {
        self.lock().get(&build).is_some_and(|open| open.handle.mailbox.is_open())
    }

    /// How many actors of the build have panicked.
    pub(super) fn panics(&self, build: BuildId) -> u32 {
        self.lock().get(&build).map_or(0, |open| open.panics)
    }

    /// Counts a panic of the build's actor, and returns how many there were; `None` if the build is not known any more.
    pub(super) fn count_panic(&self, build: BuildId) -> Option<u32> {
        let mut open = self.lock();
        let actor = open.get_mut(&build)?;
        actor.panics += 1;
        Some(actor.panics)
    }

    /// The build has this actor from now on.
    pub(super) fn insert(&self, build: BuildId, handle: ActorHandle) {
        let mut open = self.lock();
        let panics = open.get(&build).map_or(0, |before| before.panics);
        open.insert(build, OpenActor { handle, panics });
    }

    /// The build has ended, and so has its actor.
    pub(super) fn remove(&self, build: BuildId) {
        self.lock().remove(&build);
    }

    fn mailbox(&self, build: BuildId) -> Option<Mailbox> {
        self.lock().get(&build).map(|open| open.handle.mailbox.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BuildId, OpenActor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Actors {
    /// Where the build stands, as it changes; ends with its actor.
    pub(super) fn watch(&self, build: BuildId) -> Option<watch::Receiver<Arc<BuildState>>> {
        self.lock().get(&build).map(|open| open.handle.state.clone())
    }
}
