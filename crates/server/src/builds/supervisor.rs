//! Who drives a build: every open build has one owner, and one that panics is raised again from the ledger.

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

use super::Shared;
use super::actor::{Actor, complain};
use super::error::InternalError;
use super::ledger::Transition;
use super::panics::words;
use super::state::{BuildState, FirstCause};

/// An owner that has panicked so often is not raised again: its build is given up.
const MAX_PANICS: u32 = 3;

/// What the search for an open build's owner finds.
enum Found {
    Owner,
    /// A new one, which has to be started.
    Raised(Box<Actor>),
    /// The build has ended.
    Ended,
}

impl Shared {
    /// Gives an open build an owner where it has lost its own, or never got one; false where it has ended.
    pub(super) async fn ensure_actor(self: &Arc<Self>, build: BuildId) -> Result<bool, InternalError> {
        if self.stopping.is_cancelled() {
            // The next start adopts it, if it is open.
            let ended = self.ledger.state(build).await?.is_none_or(|state| state.ended.is_some());
            return if ended { Ok(false) } else { Err(InternalError::Stopping) };
        }
        self.adopt(build).await
    }

    /// Starts the owner of an open build that has none; false where it has ended.
    pub(super) async fn adopt(self: &Arc<Self>, build: BuildId) -> Result<bool, InternalError> {
        match self.raise(build).await? {
            Found::Owner => Ok(true),
            Found::Ended => Ok(false),
            Found::Raised(actor) => {
                let life = Arc::clone(self).supervise(build, *actor);
                drop(self.tasks.spawn("build", self.owners.track_future(life)));
                Ok(true)
            }
        }
    }

    async fn raise(self: &Arc<Self>, build: BuildId) -> Result<Found, InternalError> {
        let _adopting = self.adopting.lock().await;
        let panics = match self.lock().get(&build) {
            Some(handle) if handle.mailbox.lives() => return Ok(Found::Owner),
            Some(handle) => handle.panics,
            None => 0,
        };
        let Some(open) = self.ledger.load(build).await? else {
            if panics > 0 {
                // Its owner may have fallen after the end was committed and before it was in the log.
                self.finish_log(build).await?;
            }
            self.forget(build);
            return Ok(Found::Ended);
        };
        let owner = self.ledger.owner(build).await?.unwrap_or_default();
        let pending_frames = self.pending_frames(build, open.frames.clone()).await?;
        let (actor, mut handle) = Actor::new(Arc::clone(self), &owner, open, pending_frames);
        handle.panics = panics;
        self.lock().insert(build, handle);
        Ok(Found::Raised(Box::new(actor)))
    }

    /// Drives a build by one owner after the other, until it has ended or too many of them have panicked.
    async fn supervise(self: Arc<Self>, build: BuildId, mut actor: Actor) {
        // What a panic leaves half done is dropped with the owner; the next one knows the ledger alone.
        while let Err(panic) = AssertUnwindSafe(actor.run()).catch_unwind().await {
            let panics = self.count_panic(build);
            tracing::error!(%build, panics, panic = words(&*panic), "the owner of an open build has panicked");
            if panics >= MAX_PANICS {
                return self.give_up(build).await;
            }
            let wait = self.settings.timing.back_off.saturating_mul(1 << panics);
            match self.raise_later(build, wait).await {
                Some(next) => actor = *next,
                None => return,
            }
        }
    }

    fn count_panic(&self, build: BuildId) -> u32 {
        let mut open = self.lock();
        let Some(handle) = open.get_mut(&build) else { return MAX_PANICS };
        handle.panics += 1;
        handle.panics
    }

    /// `None` where nothing is left to do here: somebody else has raised an owner, the build has ended, or the server
    /// stops.
    async fn raise_later(self: &Arc<Self>, build: BuildId, wait: Duration) -> Option<Box<Actor>> {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = tokio::time::sleep(wait) => {}
            }
            match self.raise(build).await {
                Ok(Found::Raised(actor)) => return Some(actor),
                Ok(Found::Owner | Found::Ended) => return None,
                Err(error) => complain(build, &error, "an open build cannot be taken up; trying again"),
            }
        }
    }

    /// Ends a build that nobody can drive: as our failure, with everything of it stopped.
    async fn give_up(self: &Arc<Self>, build: BuildId) {
        while let Err(error) = self.end_as_lost(build).await {
            complain(build, &error, "a build that cannot be driven cannot be ended; trying again");
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(self.settings.timing.stop_retry_max) => {}
            }
        }
    }

    /// Changes nothing where the build has an owner again.
    pub(super) async fn end_as_lost(&self, build: BuildId) -> Result<(), InternalError> {
        let _adopting = self.adopting.lock().await;
        // A cancel raises one while this waits for the lock or for its next try; should that one fall too, the build
        // is given up anew.
        if self.lock().get(&build).is_some_and(|handle| handle.mailbox.lives()) {
            return Ok(());
        }
        if let Some(before) = self.ledger.state(build).await?.filter(|state| state.outcome.is_none()) {
            let now = self.clock.now();
            let (after, change) = lost(&before, now);
            self.ledger.commit(&after, &change).await?;
            self.counts.step(&before, &after, now);
            for index in 0..before.tasks.len() {
                if matches!(before.tasks[index].task.state, TaskState::Planned { .. }) {
                    self.run_slots.free(before.run(index));
                }
            }
            for (run, platform) in change.stops {
                self.stops.stop(run, platform, false);
            }
        }
        self.finish_log(build).await?;
        self.forget(build);
        Ok(())
    }

    /// Why nobody heard what was said to a build's owner; `None` where the build has ended. An open build that never got
    /// an owner gets one for whoever asks again.
    pub(super) async fn unheard(self: &Arc<Self>, build: BuildId) -> Option<InternalError> {
        // An owner that has fallen is raised by those who saw it fall, after a pause.
        let fallen = self.lock().contains_key(&build) && !self.stopping.is_cancelled();
        let open = if fallen { Ok(true) } else { self.ensure_actor(build).await };
        match open {
            Ok(true) => Some(InternalError::NoActor),
            Ok(false) => None,
            Err(error) => Some(error),
        }
    }

    /// What is committed and not in the log: the log has a prefix of it.
    async fn pending_frames(
        &self,
        build: BuildId,
        mut committed: Vec<Frame>,
    ) -> Result<Vec<Frame>, InternalError> {
        self.logs.create(build).await?;
        let ours = |frame: &Frame| {
            matches!(frame, Frame::State { .. } | Frame::Published { .. } | Frame::End { .. })
        };
        let there = self.logs.frames(build).await?.iter().filter(|header| ours(&header.frame)).count();
        Ok(committed.split_off(there.min(committed.len())))
    }

    /// A build that has ended in the ledger, but perhaps not yet in its log.
    pub(super) async fn finish_log(&self, build: BuildId) -> Result<(), InternalError> {
        let committed = self.ledger.frames(build).await?;
        for frame in self.pending_frames(build, committed).await? {
            self.logs.frame(build, frame).await?;
        }
        self.logs.sync(build).await?;
        Ok(self.ledger.log_is_whole(build).await?)
    }

    /// The build has ended and its log says so.
    pub(super) fn forget(&self, build: BuildId) {
        self.lock().remove(&build);
        self.sessions.forget(build);
    }
}

/// The build with everything that is open in it lost by us, and what that changes.
fn lost(before: &BuildState, now: Timestamp) -> (BuildState, Transition) {
    let text =
        format!("the server failed on its own side {MAX_PANICS} times in this build; its own log says how");
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
            stops.push((run, before.plan.tasks[index].platform));
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
