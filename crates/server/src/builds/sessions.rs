//! Who speaks for a run: the session that bound it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bakery_core::lifecycle::TaskEvent;
use bakery_core::names::{BuildId, RunName};
use bakery_core::secret::Secret;
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::run::Stage;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::actor::{Event, Mailbox, Message};

/// SHA-256 of a session secret: all that is kept of it.
pub(super) type SessionHash = [u8; 32];

/// The hash of a session secret.
pub(super) fn hash(session: &Secret) -> SessionHash {
    Sha256::digest(session.expose().as_bytes()).into()
}

/// Compares in constant time.
pub(super) fn same(one: &SessionHash, other: &SessionHash) -> bool {
    one.ct_eq(other).into()
}

/// One call of a bound agent.
#[derive(Clone)]
pub struct RunSession {
    /// The run.
    pub run: RunName,
    /// Its build's context.
    pub context: ContextRef,
    bound: Arc<Bound>,
    owner: Option<Mailbox>,
}

impl RunSession {
    /// The agent has spoken, and has come this far.
    pub fn heard(&self, stage: Stage) {
        let mut last = self.bound.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let further = stage > last.1;
        *last = (Instant::now(), stage.max(last.1));
        if let (true, Some(owner)) = (further, &self.owner) {
            owner.tell(Message::Happens(Event::of_run(self.run, TaskEvent::StageReached(stage))));
        }
    }

    /// True once the run is to end: it was cancelled, has timed out, or has been settled otherwise.
    pub fn cancelled(&self) -> bool {
        *self.bound.over.borrow()
    }

    /// Changes to true when [`RunSession::cancelled`] does.
    pub fn watch_cancelled(&self) -> watch::Receiver<bool> {
        self.bound.over.subscribe()
    }
}

/// A bound run.
pub(super) struct Bound {
    sha256: SessionHash,
    context: ContextRef,
    heard: Mutex<(Instant, Stage)>,
    over: watch::Sender<bool>,
}

impl Bound {
    pub(super) fn new(sha256: SessionHash, context: ContextRef, stage: Stage, over: bool) -> Arc<Self> {
        let heard = Mutex::new((Instant::now(), stage));
        Arc::new(Self { sha256, context, heard, over: watch::Sender::new(over) })
    }

    /// The session, where `secret` is its own.
    pub(super) fn session(
        self: &Arc<Self>,
        run: RunName,
        secret: &Secret,
        owner: Option<Mailbox>,
    ) -> Option<RunSession> {
        let known = same(&self.sha256, &hash(secret));
        known.then(|| RunSession { run, context: self.context.clone(), bound: Arc::clone(self), owner })
    }

    /// When the agent has last spoken.
    pub(super) fn last_heard(&self) -> Instant {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whatever the agent still sends is of no use.
    pub(super) fn close(&self) {
        self.over.send_replace(true);
    }
}

/// The bound runs of open builds.
#[derive(Default)]
pub(super) struct Sessions {
    runs: Mutex<HashMap<RunName, (Arc<Bound>, Mailbox)>>,
}

impl Sessions {
    pub(super) fn add(&self, run: RunName, bound: Arc<Bound>, owner: Mailbox) {
        self.lock().insert(run, (bound, owner));
    }

    pub(super) fn get(&self, run: RunName) -> Option<(Arc<Bound>, Mailbox)> {
        self.lock().get(&run).cloned()
    }

    pub(super) fn close(&self, run: RunName) {
        if let Some((bound, _)) = self.lock().get(&run) {
            bound.close();
        }
    }

    /// The build has ended; the ledger still knows its sessions.
    pub(super) fn forget(&self, build: BuildId) {
        self.lock().retain(|run, _| run.task.build != build);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunName, (Arc<Bound>, Mailbox)>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
