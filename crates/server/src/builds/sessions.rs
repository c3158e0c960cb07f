//! Sessions of agents: which agent has bound a run, and its last contact.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bakery_core::lifecycle::TaskEvent;
use bakery_core::names::{BuildId, RunName};
use bakery_core::secret::Secret;
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::run::Stage;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use super::events::BuildEvent;
use super::mailbox::Mailbox;
use super::state::RunEnd;

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
    bound: Arc<BoundRun>,
    actor: Option<Mailbox>,
}

impl RunSession {
    /// Records contact with the agent, which has come this far.
    pub fn contact(&self, stage: Stage) {
        let mut last = self.bound.last_contact.lock().unwrap_or_else(PoisonError::into_inner);
        let further = stage > last.1;
        *last = (Instant::now(), stage.max(last.1));
        if let (true, Some(actor)) = (further, &self.actor) {
            actor.post(BuildEvent::Run(self.run, TaskEvent::StageReached(stage)));
        }
    }

    /// True once the run is to end: it was cancelled, has timed out, or has been settled otherwise.
    pub fn cancelled(&self) -> bool {
        self.bound.over.load(Ordering::Acquire)
    }

    /// True once the run has ended: nothing that its agent asks or sends is answered. A run that is cancelled or has timed
    /// out ends later than [`RunSession::cancelled`] says so: its agent may still send what the log misses.
    pub fn ended(&self) -> bool {
        self.bound.ended.load(Ordering::Acquire)
    }
}

/// A bound run.
pub(super) struct BoundRun {
    sha256: SessionHash,
    context: ContextRef,
    last_contact: Mutex<(Instant, Stage)>,
    over: AtomicBool,
    ended: AtomicBool,
}

impl BoundRun {
    pub(super) fn new(sha256: SessionHash, context: ContextRef, stage: Stage, end: RunEnd) -> Arc<Self> {
        let last_contact = Mutex::new((Instant::now(), stage));
        let bound =
            Self { sha256, context, last_contact, over: AtomicBool::default(), ended: AtomicBool::default() };
        bound.end(end);
        Arc::new(bound)
    }

    /// An end is never taken back.
    fn end(&self, end: RunEnd) {
        self.over.fetch_or(end != RunEnd::Open, Ordering::AcqRel);
        self.ended.fetch_or(end == RunEnd::Final, Ordering::AcqRel);
    }

    /// The session, if `secret` is its own. `actor` learns how far the agent comes.
    pub(super) fn session(
        self: &Arc<Self>,
        run: RunName,
        secret: &Secret,
        actor: Option<Mailbox>,
    ) -> Option<RunSession> {
        let known = same(&self.sha256, &hash(secret));
        known.then(|| RunSession { run, context: self.context.clone(), bound: Arc::clone(self), actor })
    }
}

/// The runs, each with the mailbox of its build's actor.
type BoundRuns = HashMap<RunName, (Arc<BoundRun>, Mailbox)>;

/// The bound runs of open builds. Clones are handles to the same.
#[derive(Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<BoundRuns>>);

impl Sessions {
    pub(super) fn add(&self, run: RunName, bound: Arc<BoundRun>, actor: Mailbox) {
        self.lock().insert(run, (bound, actor));
    }

    /// The run and the way to its build's actor.
    pub(super) fn get(&self, run: RunName) -> Option<(Arc<BoundRun>, Mailbox)> {
        self.lock().get(&run).cloned()
    }

    /// When the run's agent was last in contact.
    pub(super) fn last_contact(&self, run: RunName) -> Option<Instant> {
        let runs = self.lock();
        let (bound, _) = runs.get(&run)?;
        let last = bound.last_contact.lock().unwrap_or_else(PoisonError::into_inner);
        Some(last.0)
    }

    /// The run is to end, or has ended.
    pub(super) fn end(&self, run: RunName, end: RunEnd) {
        if let Some((bound, _)) = self.lock().get(&run) {
            bound.end(end);
        }
    }

    /// The build has ended; the ledger still knows its sessions.
    pub(super) fn forget(&self, build: BuildId) {
        self.lock().retain(|run, _| run.task.build != build);
    }

    fn lock(&self) -> MutexGuard<'_, BoundRuns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
