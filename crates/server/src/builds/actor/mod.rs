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
use super::ledger::{Open, Transition};
use super::sessions::SessionHash;
use super::state::BuildState;
use super::{Shared, sleep_until};
use crate::logs::LogError;

mod agent;
mod decide;
mod timers;
mod work;

pub(super) use decide::Event;
use decide::{Step, Todo, UnderWay};
use timers::{Due, Timer};

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
pub(super) struct Inbox(mpsc::UnboundedSender<Message>);

impl Inbox {
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
    pub(super) inbox: Inbox,
    pub(super) state: watch::Receiver<Arc<BuildState>>,
    /// How many owners of the build have panicked in this life of the server.
    pub(super) falls: u32,
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
    under_way: UnderWay,
    timers: Vec<Timer>,
    launching: HashMap<RunName, AbortHandle>,
    /// Publishings by target; dropping one withdraws it.
    publishing: HashMap<usize, DropGuard>,
    /// Platforms of which the log says that they do not answer.
    silent: HashSet<Platform>,
    /// Committed, and not yet in the log.
    owed: VecDeque<Frame>,
    inbox: Inbox,
    messages: mpsc::UnboundedReceiver<Message>,
    /// Committed, and held back until nothing of the build lives.
    end: Option<Frame>,
    done: bool,
}

/// The server stops: what is not committed stays undone, and the next start takes it up.
struct Stopping;

impl Actor {
    /// Takes over an open build; `owed` are the frames that its log does not have yet.
    pub(super) fn new(shared: Arc<Shared>, owner: &str, open: Open, owed: Vec<Frame>) -> (Self, Handle) {
        let (tell, messages) = mpsc::unbounded_channel();
        let inbox = Inbox(tell);
        let shown = watch::Sender::new(Arc::new(open.state.clone()));
        let handle = Handle { owner: owner.into(), inbox: inbox.clone(), state: shown.subscribe(), falls: 0 };
        let actor = Self {
            id: open.state.id,
            specs: open.spec.services.into_iter().flat_map(|service| service.tasks).collect(),
            context: open.context,
            sessions: open.sessions,
            timers: open.state.tasks.iter().map(|_| Timer::new()).collect(),
            state: open.state,
            shown,
            under_way: UnderWay::default(),
            launching: HashMap::new(),
            publishing: HashMap::new(),
            silent: HashSet::new(),
            owed: owed.into(),
            inbox,
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
                    Some(message) => self.hear(message).await?,
                    None => return Ok(()),
                },
                () = sleep_until(due.map(|(at, ..)| at)) => {
                    // Agents speak without waking anybody: what was due when the wait began need not be any more.
                    if let Some((at, place, due)) = self.next_due() && at <= Instant::now() {
                        self.fire(place, due).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn hear(&mut self, message: Message) -> Result<(), Stopping> {
        match message {
            Message::Happens(event) => self.take(event).await,
            Message::Held { platform, live } => {
                self.compare(platform, &live);
                Ok(())
            }
            Message::Silence(platform) => {
                self.heed(platform).await;
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
        let step = decide::step(&self.state, &mut self.under_way, self.shared.clock.now(), event);
        let mut change = Transition::between(&self.state, &step.state);
        change.frames.clone_from(&step.frames);
        change.duties = step.duties.iter().map(|duty| (duty.run, self.platform(duty.run))).collect();
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
        for (place, record) in before.tasks.iter().enumerate() {
            let over =
                self.state.tasks[place].task.attempt != record.task.attempt || self.state.settled(place);
            if over {
                self.shared.sessions.close(self.state.run_of(place, record.task.attempt));
            }
        }
        let end = step.frames.pop_if(|frame| matches!(frame, Frame::End { .. }));
        self.owed.extend(step.frames);
        self.pay().await;
        for (run, level, text) in step.says {
            self.say(run, level, text).await;
        }
        for duty in step.duties {
            if let Some(launch) = self.launching.remove(&duty.run) {
                launch.abort();
            }
            self.shared.duties.stop(duty.run, self.platform(duty.run), duty.lingers);
        }
        // It follows once nothing of the build lives.
        self.end = end.or(self.end.take());
        for todo in step.todo {
            self.act(todo);
        }
        let shared = Arc::clone(&self.shared);
        for platform in shared.launchers.keys() {
            self.heed(*platform).await;
        }
        let now = self.shared.clock.now();
        for (timer, record) in self.timers.iter_mut().zip(&self.state.tasks) {
            timer.see(record, &self.shared.settings, now);
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

    /// Appends committed frames to the log; what cannot be written stays owed, unless the log has been removed.
    async fn pay(&mut self) {
        while let Some(frame) = self.owed.front() {
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
            self.owed.pop_front();
        }
    }

    async fn say(&self, run: Option<RunName>, lvl: Level, message: impl Into<message::Message>) {
        let message::Message { text: msg, hint } = message.into();
        let line = LogLine { ts: self.shared.clock.now(), src: Source::Server, lvl, msg, more: false, hint };
        if let Err(error) = self.shared.logs.note(self.id, run, vec![line]).await {
            complain(self.id, &error, "a note could not be written to the log");
        }
    }

    fn next_due(&self) -> Option<(Instant, usize, Due)> {
        let next = |(place, timer): (usize, &Timer)| {
            let heard = self.shared.sessions.get(self.state.run(place)).map(|(bound, _)| bound.last_heard());
            let (at, due) = timer.next(&self.state.tasks[place], &self.shared.settings, heard)?;
            Some((at, place, due))
        };
        self.timers.iter().enumerate().filter_map(next).min_by_key(|(at, ..)| *at)
    }

    async fn fire(&mut self, place: usize, due: Due) -> Result<(), Stopping> {
        match due {
            Due::Requeue => {
                self.timers[place].requeue = None;
                self.act(Todo::Enqueue(place));
                return Ok(());
            }
            Due::Silence => self.timers[place].asked(),
            _ => {}
        }
        let record = &self.state.tasks[place];
        let attempt = record.task.attempt;
        match timers::event(due, record, &self.shared.settings) {
            Some(event) => self.take(Event::Task { place, attempt, event }).await,
            None => Ok(()),
        }
    }

    fn is_current(&self, run: RunName) -> bool {
        let place = usize::from(run.task.index);
        place < self.state.tasks.len() && self.state.run(place) == run && !self.state.settled(place)
    }

    fn platform(&self, run: RunName) -> Platform {
        self.state.blueprint.tasks[usize::from(run.task.index)].platform
    }
}

pub(super) fn complain(build: BuildId, error: &(impl StdError + 'static), what: &'static str) {
    tracing::error!(%build, error = error as &dyn StdError, "{what}");
}
