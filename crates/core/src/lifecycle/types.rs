//! The states, events and effects of a task.

use serde::{Deserialize, Serialize};

use crate::image::Digest;
use crate::message::Message;
use crate::reason::{Fault, Reason};
use crate::wire::build::TaskPhase;
use crate::wire::run::{Stage, TaskResult};

/// Why something failed: a code for machines and a message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The machine-readable code.
    pub reason: Reason,
    /// What happened.
    pub text: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Cause {
    /// A cause of a reason and a message, which is cut to [`crate::limits::TEXT_BYTES`].
    pub fn new(reason: Reason, message: impl Into<Message>) -> Self {
        let Message { text, hint } = message.into().clipped();
        Self { reason, text, hint }
    }

    /// Text and hint.
    pub fn message(&self) -> Message {
        Message { text: self.text.clone(), hint: self.hint.clone() }
    }

    /// `text`, with what the platform had reported before, and its hint.
    pub(super) fn after(reason: Reason, text: &str, platform: &Self) -> Self {
        let text = format!("{text}; the platform reported: {}", platform.text);
        Self::new(reason, Message { text, hint: platform.hint.clone() })
    }
}

/// One task and its attempt.
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
    /// Waits for a run slot of its platform, or for the targets before it.
    Planned {
        /// Why the attempt before this one ended.
        before: Option<Cause>,
    },
    /// The platform was asked for the container; its agent is not connected yet.
    Launching {
        /// The problem that the platform reported last, unless the launch has progressed since.
        last: Option<Cause>,
    },
    /// The attempt has failed, another may help, and the platform has not confirmed yet that the container is stopped.
    Retreating {
        /// Why it failed.
        cause: Cause,
        /// True if an agent was connected and reported the failure itself; else the launch has failed.
        #[serde(rename = "spoken", default)]
        connected: bool,
    },
    /// Its agent is connected.
    Running {
        /// How far it has come.
        stage: Stage,
        /// The problem that the platform reported last.
        #[serde(default)]
        trouble: Option<Cause>,
    },
    /// The container is gone; the report may still come.
    Closing {
        /// How it ended, as the platform reports it.
        exit: Cause,
        /// How far it had come; `None` if no agent was ever connected.
        stage: Option<Stage>,
    },
    /// It has ended and stays as it is.
    Settled {
        /// How it ended.
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
    /// The build as described failed.
    Failed {
        /// Why.
        cause: Cause,
    },
    /// Bakery or the platform failed it.
    Lost {
        /// Why.
        cause: Cause,
    },
    /// A time limit was exceeded.
    TimedOut {
        /// Which one.
        cause: Cause,
    },
    /// Cancelled.
    Cancelled {
        /// By whom or what.
        cause: Cause,
    },
}

impl Ending {
    /// Why it failed; `None` if it succeeded.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Baked { .. } => None,
            Self::Failed { cause }
            | Self::Lost { cause }
            | Self::TimedOut { cause }
            | Self::Cancelled { cause } => Some(cause),
        }
    }

    /// The ending that a report stands for.
    pub(super) fn of(result: TaskResult) -> Self {
        let (reason, message) = match result {
            TaskResult::Baked { digest } => return Self::Baked { digest },
            TaskResult::Failed { reason, text, hint, .. } => (reason, Message { text, hint }),
            // The server cancels a run only after it has settled the task, so it did not request this end.
            TaskResult::Cancelled => {
                (Reason::AgentLost, "the agent was stopped from outside, not by this server".into())
            }
        };
        Self::by(Cause::new(reason, message))
    }

    /// The ending that a cause stands for.
    pub(super) fn by(cause: Cause) -> Self {
        match (cause.reason, cause.reason.fault()) {
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
    /// Its platform has a run slot for it.
    SlotFree,
    /// The platform reports on the launch: a problem with a reason, or progress, which ends the problem.
    Progress(Option<Reason>, Message),
    /// The platform refused the launch, or did not answer.
    LaunchFailed {
        /// True if another attempt may help, as the platform reports.
        retryable: bool,
        /// Why.
        cause: Cause,
    },
    /// The agent has not connected in time; the text names the limit.
    ProvisionDeadline(String),
    /// The platform confirmed that it has stopped the container, or that there is none.
    StopConfirmed,
    /// The agent has exchanged its launch token for the task order.
    AgentConnected,
    /// The agent has come this far.
    StageReached(Stage),
    /// There has been no contact with the agent for a while.
    ContactLost,
    /// The agent has reported its result, and the stage in which its work ended.
    Reported(TaskResult, Stage),
    /// The platform reports that the container is gone.
    Gone(Cause),
    /// The time in which a report could follow its container has passed.
    GraceOver,
    /// A second agent has tried to bind the run.
    SecondBinder(String),
    /// Somebody cancelled the build.
    Cancelled(String),
    /// Another task that this one depends on has failed.
    SiblingFailed(String),
    /// The task has run into its time limit, or a failed attempt's container was not stopped in time; the text names
    /// the limit.
    DeadlinePassed(String),
}

/// What has to be done after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEffect {
    /// Ask the platform for a container.
    Launch,
    /// End the container now, and keep trying until the platform confirms it.
    Stop,
    /// End the container if it does not end by itself.
    StopIfItLingers,
    /// Ask the platform whether the container still exists, and note the answer in the log.
    AskPlatform,
    /// Wait a little, then queue for a run slot again.
    QueueAgain,
    /// Write this line into the build's log.
    Note(Message),
    /// A late report names another digest than the one that the task has settled with.
    Contradiction(Digest),
}

impl Task {
    /// A new task: planned, at its first attempt.
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
            TaskState::Launching { .. } | TaskState::Retreating { connected: false, .. } => {
                TaskPhase::Launching
            }
            TaskState::Running { .. } => TaskPhase::Running,
            TaskState::Closing { .. } | TaskState::Retreating { connected: true, .. } => TaskPhase::Closing,
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

    pub(super) fn at(&self, state: TaskState) -> Self {
        Self { attempt: self.attempt, state }
    }

    pub(super) fn settled(&self, ending: Ending) -> Self {
        self.at(TaskState::Settled { ending })
    }

    pub(super) fn again(&self, cause: Cause) -> Self {
        Self { attempt: self.attempt + 1, state: TaskState::Planned { before: Some(cause) } }
    }
}

impl Default for Task {
    fn default() -> Self {
        Self::new()
    }
}
