//! The actor of one build: it turns messages and deadlines into events, and runs what follows from each.

use std::collections::HashMap;
use std::sync::Arc;

use bakery_core::names::RunName;
use bakery_core::spec::TaskSpec;
use bakery_core::wire::log::Frame;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::actors::ActorHandle;
use super::context_store::ContextStore;
use super::events::BuildEvent;
use super::ledger::{OpenBuild, Transition};
use super::mailbox::{ActorMessage, Inbox, mailbox};
use super::metrics::Counts;
use super::pending_stops::PendingStops;
use super::run_slots::RunSlots;
use super::sessions::{SessionHash, Sessions};
use super::settings::{BuildsSettings, Publisher};
use super::state::BuildState;
use super::step::{Step, StepMemory, step};
use super::store::BuildStore;
use super::{Launchers, sleep_until};
use crate::clock::Clock;
use crate::spawn::Tasks;

mod agents;
mod containers;
mod deadlines;
mod effects;
mod journal;
mod publications;
mod side_work;

use agents::Agents;
use containers::Containers;
use deadlines::{Deadline, Deadlines};
use journal::Journal;
use publications::Publications;
use side_work::SideWork;

/// Makes actors, and gives each part of one what it may touch.
pub(super) struct ActorFactory {
    pub(super) store: BuildStore,
    pub(super) launchers: Launchers,
    pub(super) slots: RunSlots,
    pub(super) stops: PendingStops,
    pub(super) sessions: Sessions,
    pub(super) contexts: Arc<dyn ContextStore>,
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) counts: Arc<Counts>,
    pub(super) settings: Arc<BuildsSettings>,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) stopping: CancellationToken,
}

/// The actor of one build.
pub(super) struct Actor {
    state: BuildState,
    /// The same for readers.
    shown: watch::Sender<Arc<BuildState>>,
    memory: StepMemory,
    inbox: Inbox,
    journal: Journal,
    containers: Containers,
    agents: Agents,
    publications: Publications,
    deadlines: Deadlines,
    counts: Arc<Counts>,
    clock: Clock,
    stopping: CancellationToken,
    /// The log says that nothing follows.
    closed: bool,
}

/// The server stops: what is not committed stays undone, and the next start resumes it.
#[derive(Debug)]
pub(super) struct Stopping;

impl ActorFactory {
    /// The actor of an open build, and what others know of it; `missing` are the frames that its log does not have yet.
    pub(super) fn actor(&self, owner: &str, open: OpenBuild, missing: Vec<Frame>) -> (Actor, ActorHandle) {
        let OpenBuild { state, spec, context, sessions, frames: _ } = open;
        let specs: Arc<[TaskSpec]> = spec.services.into_iter().flat_map(|service| service.tasks).collect();
        let (mailbox, inbox) = mailbox(state.id);
        let (store, clock, stopping) = (self.store.clone(), self.clock.clone(), self.stopping.clone());
        let (tasks, settings) = (self.tasks.clone(), Arc::clone(&self.settings));
        let side_work = SideWork { tasks, stopping: stopping.clone(), mailbox: mailbox.clone() };
        let key = Arc::clone(store.ledger.key());
        let journal = Journal::new(state.id, store, clock.clone(), stopping.clone(), missing);
        let containers = Containers {
            launchers: Arc::clone(&self.launchers),
            slots: self.slots.clone(),
            stops: self.stops.clone(),
            settings: Arc::clone(&settings),
            key,
            side_work: side_work.clone(),
            launching: HashMap::new(),
        };
        let agents = Agents {
            sessions: self.sessions.clone(),
            contexts: Arc::clone(&self.contexts),
            settings: Arc::clone(&settings),
            mailbox: mailbox.clone(),
            context,
            specs,
            bound: sessions,
        };
        let publisher = Arc::clone(&self.publisher);
        let publications = Publications { publisher, side_work, under_way: HashMap::new() };
        let shown = watch::Sender::new(Arc::new(state.clone()));
        let handle = ActorHandle { owner: owner.into(), mailbox, state: shown.subscribe() };
        // Before anybody can ask: an agent that is connected already must find its session.
        agents.adopt(&state);
        containers.adopt(&state);
        for &run in agents.bound.keys() {
            containers.agent_connected(run, state.platform(run));
        }
        let actor = Actor {
            memory: StepMemory::default(),
            deadlines: Deadlines::new(state.tasks.len(), settings),
            counts: Arc::clone(&self.counts),
            state,
            shown,
            inbox,
            journal,
            containers,
            agents,
            publications,
            clock,
            stopping,
            closed: false,
        };
        (actor, handle)
    }
}

impl Actor {
    /// Drives the build until it has ended and its log says so, or until the server stops.
    pub(super) async fn run(&mut self) -> Result<(), Stopping> {
        // Only now: whatever changes from here on arrives in the mailbox.
        self.memory.outages = self.containers.outages();
        self.apply_event(BuildEvent::Started).await?;
        while !self.closed {
            let next = self.next_deadline();
            let stopping = self.stopping.clone();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Err(Stopping),
                message = self.inbox.next() => self.handle_message(message).await?,
                () = sleep_until(next.map(|(at, ..)| at)) => {
                    // Contact with an agent wakes nobody: what was due when the wait began need not be any more.
                    if let Some((at, index, deadline)) = self.next_deadline() && at <= Instant::now() {
                        let event = self.deadlines.fire(index, deadline, &self.state);
                        self.apply_event(event).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn handle_message(&mut self, message: ActorMessage) -> Result<(), Stopping> {
        // Whoever has gone without waiting for the answer asks again.
        match message {
            ActorMessage::Event(event) => self.apply_event(event).await?,
            ActorMessage::Bind { run, request, reply } => {
                let _ = reply.send(self.bind(run, &request).await?);
            }
            ActorMessage::Report { run, report, missing, reply } => {
                let _ = reply.send(self.report(run, report, missing).await?);
            }
            ActorMessage::Cancel { text, reply } => {
                self.apply_event(BuildEvent::Cancelled(text)).await?;
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    /// One step: decide, commit, publish the new state, run the effects. In this order: what is not committed has not
    /// happened.
    async fn apply_event(&mut self, event: BuildEvent) -> Result<(), Stopping> {
        self.apply_with_session(event, None).await
    }

    /// The same, with a session that is committed in the same transaction.
    async fn apply_with_session(
        &mut self,
        event: BuildEvent,
        session: Option<(RunName, SessionHash)>,
    ) -> Result<(), Stopping> {
        let step = step(&self.state, &mut self.memory, self.clock.now(), event);
        let mut change = Transition::between(&self.state, &step.state);
        change.frames.clone_from(&step.frames);
        change.stops = step.stops().map(|run| (run, step.state.platform(run))).collect();
        change.session = session;
        if !change.is_empty() {
            self.journal.commit(&step.state, &change).await?;
        }
        self.after_commit(step).await
    }

    async fn after_commit(&mut self, step: Step) -> Result<(), Stopping> {
        let before = std::mem::replace(&mut self.state, step.state);
        self.counts.step(&before, &self.state, self.clock.now());
        self.shown.send_replace(Arc::new(self.state.clone()));
        for (index, record) in before.tasks.iter().enumerate() {
            if self.state.tasks[index].task.attempt != record.task.attempt || self.state.settled(index) {
                let run = before.run(index);
                self.agents.end(run, self.state.run_end(run));
            }
        }
        self.journal.append(step.frames).await;
        for effect in step.effects {
            self.run_effect(effect).await?;
        }
        self.deadlines.observe(&self.state, self.clock.now());
        Ok(())
    }

    fn next_deadline(&self) -> Option<(Instant, usize, Deadline)> {
        self.deadlines.next(&self.state, |run| self.agents.last_contact(run))
    }
}
