//! The one state machine of a task: what happens to it, and what has to be done about it.
//!
//! Two witnesses speak of a run: the agent's report says *what* came of it, the platform's exit says *that it is over*.
//! The report wins, and its absence is never read as success. A second attempt starts only after the platform said that
//! the first container is gone, or confirmed that it has stopped it: never beside a container that may live.
//!
//! There is no clock here: deadlines, graces and silences arrive as events.

use serde::{Deserialize, Serialize};

use crate::image::Digest;
use crate::limits;
use crate::reason::{Fault, Reason};
use crate::wire::build::TaskPhase;
use crate::wire::run::{Stage, TaskResult};

/// Why something did not go on: a word for machines and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The machine's word.
    pub reason: Reason,
    /// The sentence.
    pub text: String,
}

impl Cause {
    /// A cause of a reason and a sentence, which is cut to [`limits::TEXT_BYTES`].
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: limits::clip(text.into()) }
    }
}

/// One task with the attempt that it is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Current or last attempt, from 1.
    pub attempt: u8,
    /// Where it stands.
    pub state: TaskState,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TaskState {
    /// Waits for a place on its platform, or for the targets before it.
    Planned {
        /// Why the attempt before this one ended.
        before: Option<Cause>,
    },
    /// Ordered from the platform; no agent has spoken yet.
    Launching {
        /// What the platform said last.
        last: Option<Cause>,
    },
    /// The attempt has failed, another may help, and the platform has not yet confirmed that nothing lives.
    Retreating {
        /// Why it failed.
        cause: Cause,
        /// True where an agent had spoken and has said so itself; else the launch has failed.
        #[serde(default)]
        spoken: bool,
    },
    /// Its agent has spoken.
    Running {
        /// How far it has come.
        stage: Stage,
    },
    /// The container is gone; the report may still come.
    Closing {
        /// What the platform said of the end.
        exit: Cause,
        /// How far it had come; `None` where no agent ever spoke.
        stage: Option<Stage>,
    },
    /// Over for ever.
    Settled {
        /// How.
        ending: Ending,
    },
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Ending {
    /// Baked.
    Baked {
        /// Digest of the image's manifest.
        digest: Digest,
    },
    /// Failed by its own doing.
    Failed {
        /// Why.
        cause: Cause,
    },
    /// Lost by ours or the platform's.
    Lost {
        /// Why.
        cause: Cause,
    },
    /// Ran into a limit.
    TimedOut {
        /// Which.
        cause: Cause,
    },
    /// Cancelled.
    Cancelled {
        /// By what.
        cause: Cause,
    },
}

impl Ending {
    /// Why it did not end well; `None` where it did.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Baked { .. } => None,
            Self::Failed { cause }
            | Self::Lost { cause }
            | Self::TimedOut { cause }
            | Self::Cancelled { cause } => Some(cause),
        }
    }

    /// The ending that a report tells of.
    fn of(result: TaskResult) -> Self {
        let (reason, text) = match result {
            TaskResult::Baked { digest } => return Self::Baked { digest },
            TaskResult::Failed { reason, text, .. } => (reason, text),
            // The server asks for an end only after it has settled the task, so nobody of ours asked here.
            TaskResult::Cancelled => {
                (Reason::AgentLost, "the agent was ended from outside, not by this server".to_owned())
            }
        };
        let cause = Cause::new(reason, text);
        match (reason, reason.fault()) {
            (Reason::TaskTimeout, _) => Self::TimedOut { cause },
            (_, Fault::Build) => Self::Failed { cause },
            (_, Fault::Platform) => Self::Lost { cause },
            (_, Fault::Asked) => Self::Cancelled { cause },
        }
    }
}

/// What happens to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// Its platform has a place for it.
    SlotFree,
    /// The platform has something to say about the launch; without a reason it is only worth a line in the log.
    Progress(Option<Reason>, String),
    /// The platform refused the launch, or did not answer.
    LaunchFailed {
        /// True where the platform says that another attempt may help.
        retryable: bool,
        /// Why.
        cause: Cause,
    },
    /// The agent has not spoken in time; the text names the limit.
    ProvisionDeadline(String),
    /// The platform confirmed that it has stopped the container, or that there is none.
    StopConfirmed,
    /// The agent has traded its token for the order.
    AgentSeen,
    /// The agent has come this far.
    Heard(Stage),
    /// The agent has not spoken for a while.
    AgentSilent,
    /// The agent has reported, and says in which stage its work ended.
    Reported(TaskResult, Stage),
    /// The platform says that the container is gone.
    Gone(Cause),
    /// The time in which a report could follow its container is over.
    GraceOver,
    /// A second agent has tried to bind the run.
    SecondBinder(String),
    /// Somebody cancelled the build.
    CancelAsked(String),
    /// Another task, which this one cannot do without, did not end well.
    SiblingFailed(String),
    /// The task has run into its time limit; the text names the limit and the stage.
    DeadlinePassed(String),
}

/// What has to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the platform for a container.
    Launch,
    /// End the container now, and keep trying until the platform confirms it.
    Stop,
    /// End the container if it does not end by itself.
    StopIfItLingers,
    /// Ask the platform whether the container lives, and say so in the log.
    AskPlatform,
    /// Wait for the report for a few seconds.
    StartGrace,
    /// Wait a little, then queue for a place again.
    QueueAgain,
    /// Write it into the build's log.
    Say(String),
    /// A report speaks of another digest than the one that the task has settled with.
    Contradiction(Digest),
}

impl Task {
    /// A task that nothing has happened to.
    pub const fn new() -> Self {
        Self { attempt: 1, state: TaskState::Planned { before: None } }
    }

    /// How it ended; `None` while it is open.
    pub fn ending(&self) -> Option<&Ending> {
        match &self.state {
            TaskState::Settled { ending } => Some(ending),
            _ => None,
        }
    }

    /// Where it stands, as readers see it.
    pub fn phase(&self) -> TaskPhase {
        match &self.state {
            TaskState::Planned { .. } => TaskPhase::Planned,
            TaskState::Launching { .. } | TaskState::Retreating { spoken: false, .. } => TaskPhase::Launching,
            TaskState::Running { .. } => TaskPhase::Running,
            TaskState::Closing { .. } | TaskState::Retreating { spoken: true, .. } => TaskPhase::Closing,
            TaskState::Settled { ending } => match ending {
                Ending::Baked { .. } => TaskPhase::Baked,
                Ending::Failed { .. } => TaskPhase::Failed,
                Ending::Lost { .. } => TaskPhase::Lost,
                Ending::TimedOut { .. } => TaskPhase::TimedOut,
                Ending::Cancelled { .. } => TaskPhase::Cancelled,
            },
        }
    }

    /// What went wrong so far, or what it waits for.
    pub fn cause(&self) -> Option<&Cause> {
        match &self.state {
            TaskState::Planned { before } => before.as_ref(),
            TaskState::Launching { last } => last.as_ref(),
            TaskState::Retreating { cause, .. } => Some(cause),
            TaskState::Running { .. } => None,
            TaskState::Closing { exit, .. } => Some(exit),
            TaskState::Settled { ending } => ending.cause(),
        }
    }

    fn at(&self, state: TaskState) -> Self {
        Self { attempt: self.attempt, state }
    }

    fn settled(&self, ending: Ending) -> Self {
        self.at(TaskState::Settled { ending })
    }

    fn again(&self, cause: Cause) -> Self {
        Self { attempt: self.attempt + 1, state: TaskState::Planned { before: Some(cause) } }
    }

    fn has_attempts_left(&self) -> bool {
        self.attempt < limits::ATTEMPTS
    }
}

impl Default for Task {
    fn default() -> Self {
        Self::new()
    }
}

/// What becomes of `task` when `event` happens to its `attempt`, and what has to be done about it.
///
/// Total: an event that means nothing in a state, or that speaks of an older attempt, changes nothing.
pub fn next(task: &Task, attempt: u8, event: TaskEvent) -> (Task, Vec<Effect>) {
    if attempt != task.attempt {
        return (task.clone(), Vec::new());
    }
    if let TaskState::Settled { ending } = &task.state {
        return (task.clone(), late(ending, event));
    }
    match event {
        TaskEvent::Reported(result, stage) => reported(task, Ending::of(result), stage),
        TaskEvent::CancelAsked(text) => {
            let cause = Cause::new(Reason::Cancelled, text);
            end(task, Ending::Cancelled { cause })
        }
        TaskEvent::SiblingFailed(text) => {
            let cause = Cause::new(Reason::SiblingFailed, text);
            end(task, Ending::Cancelled { cause })
        }
        TaskEvent::DeadlinePassed(text) => {
            let cause = Cause::new(Reason::TaskTimeout, text);
            end(task, Ending::TimedOut { cause })
        }
        TaskEvent::SecondBinder(text) => {
            let cause = Cause::new(Reason::SecondBinder, text);
            end(task, Ending::Lost { cause })
        }
        event => open(task, event),
    }
}

/// The rows of the table that depend on the state.
fn open(task: &Task, event: TaskEvent) -> (Task, Vec<Effect>) {
    let same = || (task.clone(), Vec::new());
    match (&task.state, event) {
        (TaskState::Planned { .. }, TaskEvent::SlotFree) => {
            (task.at(TaskState::Launching { last: None }), vec![Effect::Launch])
        }
        (TaskState::Launching { .. }, TaskEvent::AgentSeen) => {
            (task.at(TaskState::Running { stage: Stage::Prepare }), Vec::new())
        }
        (TaskState::Launching { last }, TaskEvent::Progress(reason, text)) => {
            let last = reason.map(|reason| Cause::new(reason, text.clone())).or_else(|| last.clone());
            (task.at(TaskState::Launching { last }), vec![Effect::Say(text)])
        }
        (TaskState::Running { .. }, TaskEvent::Progress(_, text)) => (task.clone(), vec![Effect::Say(text)]),
        (TaskState::Launching { .. }, TaskEvent::LaunchFailed { retryable, cause }) => {
            retreat(task, retryable, cause)
        }
        (TaskState::Launching { last }, TaskEvent::ProvisionDeadline(text)) => {
            let cause = match last {
                Some(last) => {
                    Cause::new(last.reason, format!("{text}; the platform's last word: {}", last.text))
                }
                None => Cause::new(Reason::ProvisionTimeout, text),
            };
            retreat(task, cause.reason.retryable(), cause)
        }
        (TaskState::Retreating { cause, .. }, TaskEvent::StopConfirmed | TaskEvent::Gone(_)) => {
            (task.again(cause.clone()), vec![Effect::QueueAgain])
        }
        (TaskState::Running { stage }, TaskEvent::Heard(heard)) => {
            (task.at(TaskState::Running { stage: heard.max(*stage) }), Vec::new())
        }
        (TaskState::Running { .. }, TaskEvent::AgentSilent) => (task.clone(), vec![Effect::AskPlatform]),
        (TaskState::Launching { .. }, TaskEvent::Gone(exit)) => {
            (task.at(TaskState::Closing { exit, stage: None }), vec![Effect::StartGrace])
        }
        (TaskState::Running { stage }, TaskEvent::Gone(exit)) => {
            (task.at(TaskState::Closing { exit, stage: Some(*stage) }), vec![Effect::StartGrace])
        }
        (TaskState::Closing { exit, stage }, TaskEvent::GraceOver) => {
            if may_try_again(task, exit, *stage) {
                (task.again(exit.clone()), vec![Effect::QueueAgain])
            } else {
                (task.settled(Ending::Lost { cause: exit.clone() }), Vec::new())
            }
        }
        _ => same(),
    }
}

/// The run's own word on what came of it. One that a second attempt may mend is no end, as for a run that was lost so.
fn reported(task: &Task, ending: Ending, stage: Stage) -> (Task, Vec<Effect>) {
    let heard = match &task.state {
        // The agent enters its last stage before it reports; what came before that only the report still tells.
        TaskState::Running { stage: heard } | TaskState::Closing { stage: Some(heard), .. }
            if *heard < Stage::Report =>
        {
            stage.max(*heard)
        }
        _ => stage,
    };
    match (&task.state, ending) {
        (
            TaskState::Launching { .. } | TaskState::Running { .. } | TaskState::Closing { .. },
            Ending::Lost { cause },
        ) if may_try_again(task, &cause, Some(heard)) => {
            let say = Effect::Say(format!("{}: trying once more", cause.text));
            if matches!(task.state, TaskState::Closing { .. }) {
                (task.again(cause), vec![say, Effect::QueueAgain])
            } else {
                (task.at(TaskState::Retreating { cause, spoken: true }), vec![say, Effect::Stop])
            }
        }
        // The same again: its answer got lost.
        (TaskState::Retreating { spoken: true, .. }, Ending::Lost { .. }) => (task.clone(), Vec::new()),
        (TaskState::Closing { .. }, ending) => (task.settled(ending), Vec::new()),
        (_, ending) => (task.settled(ending), vec![Effect::StopIfItLingers]),
    }
}

/// True where a second attempt may help and cannot harm: from the push on a registry may know the image, and a
/// post-script may have told the world.
fn may_try_again(task: &Task, cause: &Cause, stage: Option<Stage>) -> bool {
    let harmless = stage.is_none_or(|stage| stage < Stage::Push);
    harmless && cause.reason.retryable() && task.has_attempts_left()
}

/// A launch that came to nothing: another attempt once nothing lives, or the end.
fn retreat(task: &Task, retryable: bool, cause: Cause) -> (Task, Vec<Effect>) {
    if retryable && task.has_attempts_left() {
        let say = Effect::Say(format!("{}: trying once more", cause.text));
        (task.at(TaskState::Retreating { cause, spoken: false }), vec![say, Effect::Stop])
    } else {
        (task.settled(Ending::Lost { cause }), vec![Effect::Stop])
    }
}

/// An end that did not come from the run itself.
fn end(task: &Task, ending: Ending) -> (Task, Vec<Effect>) {
    let lives = !matches!(task.state, TaskState::Planned { .. } | TaskState::Closing { .. });
    (task.settled(ending), if lives { vec![Effect::Stop] } else { Vec::new() })
}

/// A settled task stays as it is; a report that contradicts a success is worth knowing of.
fn late(ending: &Ending, event: TaskEvent) -> Vec<Effect> {
    match (ending, event) {
        (Ending::Baked { digest }, TaskEvent::Reported(TaskResult::Baked { digest: other }, _))
            if *digest != other =>
        {
            vec![Effect::Contradiction(other)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
