//! Starts the actor of every open build, and restarts it from the ledger when it panics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::lifecycle::{Cause, Ending, Task, TaskState};
use bakery_core::names::BuildId;
use bakery_core::reason::Reason;
use bakery_core::wire::build::{PublishState, Verdict};
use bakery_core::wire::log::Frame;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actor::{Actor, ActorFactory, Stopping};
use super::actors::Actors;
use super::error::InternalError;
use super::ledger::{LedgerError, NewBuild, OpenBuild, Transition};
use super::log_error;
use super::metrics::Counts;
use super::panics::panic_message;
use super::pending_stops::PendingStops;
use super::run_slots::RunSlots;
use super::sessions::Sessions;
use super::state::{BuildState, FirstCause};
use super::store::BuildStore;
use super::timing::Timing;
use crate::clock::Clock;
use crate::spawn::Tasks;

/// A build whose actors have panicked so often ends as lost.
const MAX_PANICS: u32 = 3;

/// Starts and restarts actors.
pub(super) struct Supervisor {
    pub(super) factory: ActorFactory,
    pub(super) actors: Actors,
    pub(super) store: BuildStore,
    pub(super) sessions: Sessions,
    pub(super) slots: RunSlots,
    pub(super) stops: PendingStops,
    pub(super) counts: Arc<Counts>,
    pub(super) timing: Timing,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    /// Ends actors, but no container: the next start adopts those.
    pub(super) stopping: CancellationToken,
    /// The actors, so that a stop can wait for their last commits.
    pub(super) running: TaskTracker,
    /// Held while a build gets its actor: it must never have two.
    pub(super) starting: tokio::sync::Mutex<()>,
}

/// What the search for an open build's actor finds.
enum ActorSearch {
    /// It runs.
    Running,
    /// A new one, which has to be run.
    New(Box<Actor>),
    /// The build has ended.
    Ended,
}

impl Supervisor {
    /// Commits a new build and starts its actor. False if its owner has used the idempotency key before.
    pub(super) async fn accept(
        self: &Arc<Self>,
        new: NewBuild<'_>,
        open: OpenBuild,
    ) -> Result<bool, LedgerError> {
        // Until the actor is known here nobody else may start one from the ledger.
        let _starting = self.starting.lock().await;
        if !self.store.ledger.insert(&new, &open).await? {
            return Ok(false);
        }
        let build = open.state.id;
        let (actor, handle) = self.factory.actor(new.owner, open, Vec::new());
        self.actors.insert(build, handle);
        self.spawn(build, actor);
        Ok(true)
    }

    /// Starts the actor of an open build that has none; false if the build has ended.
    pub(super) async fn ensure_actor(self: &Arc<Self>, build: BuildId) -> Result<bool, InternalError> {
        if self.stopping.is_cancelled() {
            // The next start adopts it, if it is open.
            let state = self.store.ledger.state(build).await?;
            return if state.is_none_or(|state| state.ended.is_some()) {
                Ok(false)
            } else {
                Err(InternalError::Stopping)
            };
        }
        self.adopt(build).await
    }

    /// The same, also while the server stops.
    pub(super) async fn adopt(self: &Arc<Self>, build: BuildId) -> Result<bool, InternalError> {
        match self.find_or_make(build).await? {
            ActorSearch::Running => Ok(true),
            ActorSearch::Ended => Ok(false),
            ActorSearch::New(actor) => {
                self.spawn(build, *actor);
                Ok(true)
            }
        }
    }

    /// Why no actor has taken a message; `None` if the build has ended. An open build that never got an actor gets one
    /// for whoever asks again.
    pub(super) async fn why_no_actor(self: &Arc<Self>, build: BuildId) -> Option<InternalError> {
        // An actor that has panicked is restarted by those who saw it panic, after a pause.
        let panicked = self.actors.knows(build) && !self.stopping.is_cancelled();
        let open = if panicked { Ok(true) } else { self.ensure_actor(build).await };
        match open {
            Ok(true) => Some(InternalError::NoActor),
            Ok(false) => None,
            Err(error) => Some(error),
        }
    }

    /// Ends an open build as lost, with everything of it stopped. Changes nothing if it has an actor.
    pub(super) async fn end_as_lost(&self, build: BuildId) -> Result<(), InternalError> {
        let _starting = self.starting.lock().await;
        // A cancel starts an actor while this waits for the lock or for its next try; should that one panic too, the
        // build is given up anew.
        if self.actors.drives(build) {
            return Ok(());
        }
        let before = self.store.ledger.state(build).await?;
        if let Some(before) = before.filter(|state| state.outcome.is_none()) {
            let now = self.clock.now();
            let (after, change) = lost(&before, now);
            self.store.ledger.commit(&after, &change).await?;
            self.counts.step(&before, &after, now);
            for (index, record) in before.tasks.iter().enumerate() {
                if matches!(record.task.state, TaskState::Planned { .. }) {
                    self.slots.free(before.run(index));
                }
            }
            for (run, platform) in change.stops {
                self.stops.add(run, platform, Duration::ZERO);
            }
        }
        self.store.finish_log(build).await?;
        self.forget(build);
        Ok(())
    }

    async fn find_or_make(&self, build: BuildId) -> Result<ActorSearch, InternalError> {
        let _starting = self.starting.lock().await;
        if self.actors.drives(build) {
            return Ok(ActorSearch::Running);
        }
        let Some(open) = self.store.ledger.load(build).await? else {
            if self.actors.panics(build) > 0 {
                // Its actor may have panicked after the end was committed and before it was in the log.
                self.store.finish_log(build).await?;
            }
            self.forget(build);
            return Ok(ActorSearch::Ended);
        };
        let owner = self.store.ledger.owner(build).await?.unwrap_or_default();
        let missing = self.store.missing_frames(build, open.frames.clone()).await?;
        let (actor, handle) = self.factory.actor(&owner, open, missing);
        self.actors.insert(build, handle);
        Ok(ActorSearch::New(Box::new(actor)))
    }

    fn spawn(self: &Arc<Self>, build: BuildId, actor: Actor) {
        let supervised = Arc::clone(self).supervise(build, actor);
        drop(self.tasks.spawn("build", self.running.track_future(supervised)));
    }

    /// Runs one actor of the build after the other, until it has ended or too many of them have panicked.
    async fn supervise(self: Arc<Self>, build: BuildId, mut actor: Actor) {
        loop {
            // What a panic leaves half done is dropped with the actor; the next one knows the ledger alone.
            let panic = match AssertUnwindSafe(actor.run()).catch_unwind().await {
                // Before the mailbox closes: a request that finds it closed would look like a panic.
                Ok(Ok(())) => return self.forget(build),
                Ok(Err(Stopping)) => return,
                Err(panic) => panic,
            };
            drop(actor);
            let panics = self.actors.count_panic(build).unwrap_or(MAX_PANICS);
            tracing::error!(%build, panics, panic = panic_message(&*panic), "the actor of a build has panicked");
            if panics >= MAX_PANICS {
                return self.give_up(build).await;
            }
            let pause = self.timing.back_off.saturating_mul(1 << panics);
            match self.restart(build, pause).await {
                Some(next) => actor = *next,
                None => return,
            }
        }
    }

    /// `None` if nothing is left to do here: the build has an actor already, it has ended, or the server stops.
    async fn restart(&self, build: BuildId, pause: Duration) -> Option<Box<Actor>> {
        loop {
            self.stopping.run_until_cancelled(tokio::time::sleep(pause)).await?;
            match self.find_or_make(build).await {
                Ok(ActorSearch::New(actor)) => return Some(actor),
                Ok(ActorSearch::Running | ActorSearch::Ended) => return None,
                Err(error) => log_error(build, &error, "the actor of a build cannot be restarted; retrying"),
            }
        }
    }

    async fn give_up(&self, build: BuildId) {
        while let Err(error) = self.end_as_lost(build).await {
            log_error(build, &error, "a build whose actors have panicked cannot be ended; retrying");
            let pause = tokio::time::sleep(self.timing.stop_retry_max);
            if self.stopping.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// The build has ended and its log says so.
    fn forget(&self, build: BuildId) {
        self.actors.remove(build);
        self.sessions.forget(build);
    }
}

/// The build with everything that is open in it lost by the server, and what that changes.
fn lost(before: &BuildState, now: Timestamp) -> (BuildState, Transition) {
    let text =
        format!("the server failed {MAX_PANICS} times while it drove this build; see the server's log");
    let cause = Cause::new(Reason::Internal, text);
    let (mut after, mut frames, mut stops) = (before.clone(), Vec::new(), Vec::new());
    for index in 0..before.tasks.len() {
        if before.settled(index) {
            continue;
        }
        let run = before.run(index);
        let attempt = run.attempt;
        let state = TaskState::Settled { ending: Ending::Lost { cause: cause.clone() } };
        if !matches!(before.tasks[index].task.state, TaskState::Planned { .. }) {
            stops.push((run, before.platform(run)));
        }
        let task = Task { attempt, state };
        let (reason, text, hint) = (Some(cause.reason), Some(cause.text.clone()), cause.hint.clone());
        frames.push(Frame::State { run, phase: task.phase(), reason, text, hint });
        after.tasks[index].task = task;
    }
    for target in 0..after.publishes.len() {
        if after.publishes[target] == Some(PublishState::Pending) {
            let (reason, text, hint) = (cause.reason, cause.text.clone(), cause.hint.clone());
            after.publishes[target] = Some(PublishState::Failed { reason, text, hint });
            frames.extend(after.publish_view(target).map(|publish| Frame::Published { publish }));
        }
    }
    after.first_cause.get_or_insert(FirstCause { cause, verdict: Verdict::Lost });
    let outcome = after.conclude();
    after.outcome = Some(outcome.clone());
    after.ended = Some(now);
    frames.push(Frame::End { outcome });
    let change = Transition { frames, stops, ..Transition::between(before, &after) };
    (after, change)
}
