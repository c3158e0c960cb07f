//! One owner per build: commands and events come in, are decided on by the pure half, committed, and carried out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::message;
use bakery_core::names::{BuildId, Platform, RunName};
use bakery_core::spec::TaskSpec;
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::log::{Frame, Level, LogLine, Source};
use bakery_core::wire::run::{OrderRequest, TaskOrder, TaskReport};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::error::RunError;
use super::ledger::{OpenBuild, Transition};
use super::sessions::SessionHash;
use super::state::BuildState;
use super::{Shared, sleep_until};
use crate::logs::LogError;

mod agent;
mod deadlines;
mod effects;
mod step;

use deadlines::{Deadline, TaskClock};
pub(super) use step::Event;
use step::{BuildEffect, InFlight, Step};

/// A step that could not be committed, or a log that could not be written, is tried again after this pause.
const AGAIN: Duration = Duration::from_secs(1);

/// What an owner is told.
pub(super) enum Message {
    /// Something has happened.
    Happens(Event),
    /// Everything that a platform holds.
    Held { platform: Platform, live: Arc<HashSet<RunName>> },
    /// The platform has fallen silent, or answers again.
    Silence(Platform),
    /// The platform was asked about a run and holds it, or could not be asked.
    StillThere(RunName, Option<message::Message>),
    /// An agent trades its token for its order.
    Bind { run: RunName, request: OrderRequest, reply: oneshot::Sender<Result<TaskOrder, RunError>> },
    /// An agent reports; answers whether the report settled its task.
    Report { run: RunName, report: TaskReport, missing: u64, reply: oneshot::Sender<bool> },
    /// Nothing of the ended build lives, or that takes too long.
    Vacated,
    /// Somebody cancels the build.
    Cancel { text: String, reply: oneshot::Sender<()> },
}

/// The way to an owner.
#[derive(Clone)]
pub(super) struct Mailbox(mpsc::UnboundedSender<Message>);

impl Mailbox {
    /// False where the owner is gone: its build has ended, or the server stops.
    pub(super) fn tell(&self, message: Message) -> bool {
        self.0.send(message).is_ok()
    }

    /// False where nobody will hear any more.
    pub(super) fn lives(&self) -> bool {
        !self.0.is_closed()
    }
}

/// What others know of an owner.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) owner: Arc<str>,
    pub(super) mailbox: Mailbox,
    pub(super) state: watch::Receiver<Arc<BuildState>>,
    /// How many owners of the build have panicked in this life of the server.
    pub(super) panics: u32,
}

/// The owner of one build.
pub(super) struct Actor {
    shared: Arc<Shared>,
    id: BuildId,
    specs: Vec<TaskSpec>,
    context: ContextRef,
    sessions: HashMap<RunName, SessionHash>,
    state: BuildState,
    shown: watch::Sender<Arc<BuildState>>,
    in_flight: InFlight,
    clocks: Vec<TaskClock>,
    launching: HashMap<RunName, AbortHandle>,
    /// Publishings by target; dropping one withdraws it.
    publishing: HashMap<usize, DropGuard>,
    /// Platforms of which the log says that they do not answer.
    silent: HashSet<Platform>,
    /// Committed, and not yet in the log.
    pending_frames: VecDeque<Frame>,
    mailbox: Mailbox,
    messages: mpsc::UnboundedReceiver<Message>,
    /// Committed, and held back until nothing of the build lives.
    end: Option<Frame>,
    done: bool,
}

/// The server stops: what is not committed stays undone, and the next start takes it up.
struct Stopping;

impl Actor {
    /// Takes over an open build; `pending_frames` are the frames that its log does not have yet.
    pub(super) fn new(
        shared: Arc<Shared>,
        owner: &str,
        open: OpenBuild,
        pending_frames: Vec<Frame>,
    ) -> (Self, Handle) {
        let (tell, messages) = mpsc::unbounded_channel();
        let mailbox = Mailbox(tell);
        let shown = watch::Sender::new(Arc::new(open.state.clone()));
        let handle =
            Handle { owner: owner.into(), mailbox: mailbox.clone(), state: shown.subscribe(), panics: 0 };
        let actor = Self {
            id: open.state.id,
            specs: open.spec.services.into_iter().flat_map(|service| service.tasks).collect(),
            context: open.context,
            sessions: open.sessions,
            clocks: open.state.tasks.iter().map(|_| TaskClock::new()).collect(),
            state: open.state,
            shown,
            in_flight: InFlight::default(),
            launching: HashMap::new(),
            publishing: HashMap::new(),
            silent: HashSet::new(),
            pending_frames: pending_frames.into(),
            mailbox,
            messages,
            end: None,
            done: false,
            shared,
        };
        // Before anybody can ask: an agent of the last life must find its session.
        actor.adopt();
        (actor, handle)
    }

    /// Drives the build to its end, or until the server stops.
    pub(super) async fn run(mut self) {
        let build = self.id;
        if self.drive().await.is_ok() {
            self.shared.forget(build);
        }
    }

    async fn drive(&mut self) -> Result<(), Stopping> {
        self.take(Event::Begin).await?;
        while !self.done {
            let due = self.next_due();
            let stopping = self.shared.stopping.clone();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Err(Stopping),
                message = self.messages.recv() => match message {
                    Some(message) => self.handle_message(message).await?,
                    None => return Ok(()),
                },
                () = sleep_until(due.map(|(at, ..)| at)) => {
                    // Agents speak without waking anybody: what was due when the wait began need not be any more.
                    if let Some((at, index, due)) = self.next_due() && at <= Instant::now() {
                        self.fire(index, due).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn handle_message(&mut self, message: Message) -> Result<(), Stopping> {
        match message {
            Message::Happens(event) => self.take(event).await,
            Message::Held { platform, live } => {
                self.compare(platform, &live);
                Ok(())
            }
            Message::Silence(platform) => {
                self.report_outage(platform).await;
                Ok(())
            }
            Message::StillThere(run, words) => {
                if let Some(words) = words.filter(|_| self.is_current(run)) {
                    self.say(Some(run), Level::Warn, words).await;
                }
                Ok(())
            }
            Message::Bind { run, request, reply } => {
                let answer = self.bind(run, &request).await?;
                // An agent that has hung up asks again.
                let _ = reply.send(answer);
                Ok(())
            }
            Message::Report { run, report, missing, reply } => {
                let settled = self.report(run, report, missing).await?;
                let _ = reply.send(settled);
                Ok(())
            }
            Message::Vacated => self.finish().await,
            Message::Cancel { text, reply } => {
                self.take(Event::Cancel(text)).await?;
                let _ = reply.send(());
                Ok(())
            }
        }
    }

    /// One step: decide, commit, tell, act. In this order: what is not committed has not happened.
    async fn take(&mut self, event: Event) -> Result<(), Stopping> {
        self.take_with(event, None).await
    }

    async fn take_with(
        &mut self,
        event: Event,
        session: Option<(RunName, SessionHash)>,
    ) -> Result<(), Stopping> {
        let step = step::step(&self.state, &mut self.in_flight, self.shared.clock.now(), event);
        let mut change = Transition::between(&self.state, &step.state);
        change.frames.clone_from(&step.frames);
        change.stops = step.stops.iter().map(|stop| (stop.run, self.platform(stop.run))).collect();
        change.session = session;
        if !change.is_empty() {
            self.commit(&step.state, &change).await?;
        }
        self.tell(step).await;
        Ok(())
    }

    /// Everything that follows a commit.
    async fn tell(&mut self, mut step: Step) {
        let before = std::mem::replace(&mut self.state, step.state);
        self.shared.counts.step(&before, &self.state, self.shared.clock.now());
        self.shown.send_replace(Arc::new(self.state.clone()));
        for (index, record) in before.tasks.iter().enumerate() {
            let over =
                self.state.tasks[index].task.attempt != record.task.attempt || self.state.settled(index);
            if over {
                self.shared.sessions.close(self.state.run_of(index, record.task.attempt));
            }
        }
        let end = step.frames.pop_if(|frame| matches!(frame, Frame::End { .. }));
        self.pending_frames.extend(step.frames);
        self.flush_frames().await;
        for (run, level, text) in step.says {
            self.say(run, level, text).await;
        }
        for stop in step.stops {
            if let Some(launch) = self.launching.remove(&stop.run) {
                launch.abort();
            }
            self.shared.stops.stop(stop.run, self.platform(stop.run), stop.lingers);
        }
        // It follows once nothing of the build lives.
        self.end = end.or(self.end.take());
        for effects in step.effects {
            self.act(effects);
        }
        let shared = Arc::clone(&self.shared);
        for platform in shared.launchers.keys() {
            self.report_outage(*platform).await;
        }
        let now = self.shared.clock.now();
        for (clock, record) in self.clocks.iter_mut().zip(&self.state.tasks) {
            clock.see(record, &self.shared.settings, now);
        }
    }

    async fn commit(&self, state: &BuildState, change: &Transition) -> Result<(), Stopping> {
        while let Err(error) = self.shared.ledger.commit(state, change).await {
            complain(self.id, &error, "a step could not be committed; trying again");
            self.pause().await?;
        }
        Ok(())
    }

    async fn pause(&self) -> Result<(), Stopping> {
        tokio::select! {
            () = self.shared.stopping.cancelled() => Err(Stopping),
            () = tokio::time::sleep(AGAIN) => Ok(()),
        }
    }

    /// Appends committed frames to the log; what cannot be written stays pending, unless the log has been removed.
    async fn flush_frames(&mut self) {
        while let Some(frame) = self.pending_frames.front() {
            match self.shared.logs.frame(self.id, frame.clone()).await {
                Ok(()) => {}
                Err(error @ LogError::Missing(_)) => {
                    complain(self.id, &error, "a frame has no log to be written to; it is dropped");
                }
                Err(error) => {
                    complain(self.id, &error, "a frame could not be written to the log");
                    return;
                }
            }
            self.pending_frames.pop_front();
        }
    }

    async fn say(&self, run: Option<RunName>, lvl: Level, message: impl Into<message::Message>) {
        let message::Message { text: msg, hint } = message.into();
        let line = LogLine { ts: self.shared.clock.now(), src: Source::Server, lvl, msg, more: false, hint };
        if let Err(error) = self.shared.logs.note(self.id, run, vec![line]).await {
            complain(self.id, &error, "a note could not be written to the log");
        }
    }

    fn next_due(&self) -> Option<(Instant, usize, Deadline)> {
        let next = |(index, clock): (usize, &TaskClock)| {
            let heard = self.shared.sessions.get(self.state.run(index)).map(|(bound, _)| bound.last_heard());
            let (at, due) = clock.next(&self.state.tasks[index], &self.shared.settings, heard)?;
            Some((at, index, due))
        };
        self.clocks.iter().enumerate().filter_map(next).min_by_key(|(at, ..)| *at)
    }

    async fn fire(&mut self, index: usize, due: Deadline) -> Result<(), Stopping> {
        match due {
            Deadline::Requeue => {
                self.clocks[index].requeue = None;
                self.act(BuildEffect::Enqueue(index));
                return Ok(());
            }
            Deadline::Silence => self.clocks[index].asked(),
            _ => {}
        }
        let record = &self.state.tasks[index];
        let attempt = record.task.attempt;
        match deadlines::event(due, record, &self.shared.settings) {
            Some(event) => self.take(Event::Task { index, attempt, event }).await,
            None => Ok(()),
        }
    }

    fn is_current(&self, run: RunName) -> bool {
        let index = usize::from(run.task.index);
        index < self.state.tasks.len() && self.state.run(index) == run && !self.state.settled(index)
    }

    fn platform(&self, run: RunName) -> Platform {
        self.state.plan.tasks[usize::from(run.task.index)].platform
    }
}

pub(super) fn complain(build: BuildId, error: &(impl StdError + 'static), what: &'static str) {
    tracing::error!(%build, error = error as &dyn StdError, "{what}");
}
