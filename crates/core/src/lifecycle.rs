//! The one state machine of a task: what happens to it, and what has to be done about it.
//!
//! A run has two sources: its agent reports *what* the result is, its platform reports *that the container has ended*.
//! The agent's report takes precedence, and a missing report never counts as success. A second attempt starts only
//! after the platform has reported the end of the first container or confirmed its stop: never beside a container that
//! may still run.
//!
//! There is no clock here: deadlines and lost contact arrive as events.

mod types;

pub use self::types::{Cause, Ending, Task, TaskEffect, TaskEvent, TaskState};
use crate::limits;
use crate::message::Message;
use crate::reason::Reason;
use crate::wire::run::{Stage, TaskResult};

/// The next state of `task` after `event` in its `attempt`, and the effects to carry out.
///
/// Total: an event that does not apply to a state, or is about another attempt, changes nothing.
pub fn next(task: &Task, attempt: u8, event: TaskEvent) -> (Task, Vec<TaskEffect>) {
    if attempt != task.attempt {
        return (task.clone(), Vec::new());
    }
    if let TaskState::Settled { ending } = &task.state {
        return (task.clone(), late(ending, event));
    }
    match event {
        TaskEvent::Reported(result, stage) => reported(task, Ending::of(result), stage),
        TaskEvent::Cancelled(text) => {
            let cause = Cause::new(Reason::Cancelled, text);
            end(task, Ending::Cancelled { cause })
        }
        TaskEvent::SiblingFailed(text) => {
            let cause = Cause::new(Reason::SiblingFailed, text);
            end(task, Ending::Cancelled { cause })
        }
        TaskEvent::DeadlinePassed(text) => {
            let ending = match &task.state {
                // The attempt has already failed of something else: what took too long is the stop of its container.
                TaskState::Retreating { cause, .. } => {
                    let text = format!("{}; {text}", cause.text);
                    let hint = cause.hint.clone();
                    Ending::Lost { cause: Cause::new(cause.reason, Message { text, hint }) }
                }
                TaskState::Running { trouble: Some(trouble), .. } => {
                    Ending::TimedOut { cause: Cause::after(Reason::TaskTimeout, &text, trouble) }
                }
                _ => Ending::TimedOut { cause: Cause::new(Reason::TaskTimeout, text) },
            };
            end(task, ending)
        }
        TaskEvent::SecondBinder(text) => {
            let cause = Cause::new(Reason::SecondBinder, text);
            end(task, Ending::Lost { cause })
        }
        event => open(task, event),
    }
}

/// The transitions that depend on the state.
fn open(task: &Task, event: TaskEvent) -> (Task, Vec<TaskEffect>) {
    let same = || (task.clone(), Vec::new());
    match (&task.state, event) {
        (TaskState::Planned { .. }, TaskEvent::SlotFree) => {
            (task.at(TaskState::Launching { last: None }), vec![TaskEffect::Launch])
        }
        (TaskState::Launching { .. }, TaskEvent::AgentConnected) => {
            (task.at(TaskState::Running { stage: Stage::Prepare, trouble: None }), Vec::new())
        }
        (TaskState::Launching { .. }, TaskEvent::Progress(reason, message)) => {
            let last = reason.map(|reason| Cause::new(reason, message.clone()));
            (task.at(TaskState::Launching { last }), vec![TaskEffect::Note(message)])
        }
        (TaskState::Running { stage, .. }, TaskEvent::Progress(reason, message)) => {
            // What delays a launch is still noted, but explains nothing once the agent is connected.
            let trouble =
                reason.filter(|reason| ends_tasks(*reason)).map(|reason| Cause::new(reason, message.clone()));
            (task.at(TaskState::Running { stage: *stage, trouble }), vec![TaskEffect::Note(message)])
        }
        (TaskState::Launching { .. }, TaskEvent::LaunchFailed { retryable, cause }) => {
            retreat(task, retryable, cause)
        }
        (TaskState::Launching { last }, TaskEvent::ProvisionDeadline(text)) => {
            let cause = match last {
                Some(last) => Cause::after(last.reason, &text, last),
                None => Cause::new(Reason::ProvisionTimeout, text),
            };
            retreat(task, cause.reason.retryable(), cause)
        }
        (TaskState::Retreating { cause, connected: true }, TaskEvent::Gone(exit)) => {
            let cause = with_platform_reason(cause.clone(), Some(&exit));
            if cause.reason.retryable() {
                (task.again(cause), vec![TaskEffect::QueueAgain])
            } else {
                (task.settled(Ending::by(cause)), Vec::new())
            }
        }
        (TaskState::Retreating { cause, .. }, TaskEvent::StopConfirmed | TaskEvent::Gone(_)) => {
            (task.again(cause.clone()), vec![TaskEffect::QueueAgain])
        }
        (TaskState::Running { stage, trouble }, TaskEvent::StageReached(reached)) => {
            let stage = reached.max(*stage);
            (task.at(TaskState::Running { stage, trouble: trouble.clone() }), Vec::new())
        }
        (TaskState::Running { .. }, TaskEvent::ContactLost) => (task.clone(), vec![TaskEffect::AskPlatform]),
        (TaskState::Launching { .. }, TaskEvent::Gone(exit)) => {
            (task.at(TaskState::Closing { exit, stage: None }), Vec::new())
        }
        (TaskState::Running { stage, .. }, TaskEvent::Gone(exit)) => {
            (task.at(TaskState::Closing { exit, stage: Some(*stage) }), Vec::new())
        }
        (TaskState::Closing { exit, stage }, TaskEvent::GraceOver) => {
            if may_try_again(task, exit, *stage) {
                (task.again(exit.clone()), vec![TaskEffect::QueueAgain])
            } else {
                (task.settled(Ending::Lost { cause: exit.clone() }), Vec::new())
            }
        }
        _ => same(),
    }
}

/// Applies the agent's report. A failure that a second attempt may fix ends only the attempt, as a lost run does.
fn reported(task: &Task, ending: Ending, stage: Stage) -> (Task, Vec<TaskEffect>) {
    let reached = match &task.state {
        // The agent enters its last stage before it reports; only the report names the stage before that.
        TaskState::Running { stage: reached, .. } | TaskState::Closing { stage: Some(reached), .. }
            if *reached < Stage::Report =>
        {
            stage.max(*reached)
        }
        _ => stage,
    };
    let platform = match &task.state {
        TaskState::Running { trouble, .. } => trouble.as_ref(),
        TaskState::Closing { exit, .. } => Some(exit),
        _ => None,
    };
    let ending = match ending {
        Ending::Lost { cause } => Ending::by(with_platform_reason(cause, platform)),
        ending => ending,
    };
    match (&task.state, ending) {
        (
            TaskState::Launching { .. } | TaskState::Running { .. } | TaskState::Closing { .. },
            Ending::Lost { cause },
        ) if may_try_again(task, &cause, Some(reached)) => {
            let note = once_more(&cause);
            if matches!(task.state, TaskState::Closing { .. }) {
                (task.again(cause), vec![note, TaskEffect::QueueAgain])
            } else {
                (task.at(TaskState::Retreating { cause, connected: true }), vec![note, TaskEffect::Stop])
            }
        }
        // A repeated report: the response to the first one was lost.
        (TaskState::Retreating { connected: true, .. }, Ending::Lost { .. }) => (task.clone(), Vec::new()),
        (TaskState::Closing { .. }, ending) => (task.settled(ending), Vec::new()),
        (_, ending) => (task.settled(ending), vec![TaskEffect::StopIfItLingers]),
    }
}

/// Whether a reason that the platform gives explains the end of a connected agent.
fn ends_tasks(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DiskFull | Reason::Evicted | Reason::NodeLost | Reason::OutOfMemory | Reason::SpotReclaimed
    )
}

/// An evicted agent cannot report why. If the platform does, its reason is used, and the text has both.
fn with_platform_reason(cause: Cause, platform: Option<&Cause>) -> Cause {
    match platform {
        Some(platform)
            if cause.reason == Reason::Evicted
                && platform.reason != Reason::Evicted
                && ends_tasks(platform.reason) =>
        {
            Cause::after(platform.reason, &cause.text, platform)
        }
        _ => cause,
    }
}

fn once_more(cause: &Cause) -> TaskEffect {
    let text = format!("{}: retrying once", cause.text);
    TaskEffect::Note(Message { text, hint: cause.hint.clone() })
}

fn has_attempts_left(task: &Task) -> bool {
    task.attempt < limits::ATTEMPTS
}

/// True if a second attempt may help and cannot harm: from the push on a registry may have the image, and a
/// post-script may have had effects outside.
fn may_try_again(task: &Task, cause: &Cause, stage: Option<Stage>) -> bool {
    let harmless = stage.is_none_or(|stage| stage < Stage::Push);
    harmless && cause.reason.retryable() && has_attempts_left(task)
}

/// A launch that failed: another attempt once no container can run, or the end.
fn retreat(task: &Task, retryable: bool, cause: Cause) -> (Task, Vec<TaskEffect>) {
    if retryable && has_attempts_left(task) {
        let note = once_more(&cause);
        (task.at(TaskState::Retreating { cause, connected: false }), vec![note, TaskEffect::Stop])
    } else {
        (task.settled(Ending::Lost { cause }), vec![TaskEffect::Stop])
    }
}

/// An end that did not come from the run itself.
fn end(task: &Task, ending: Ending) -> (Task, Vec<TaskEffect>) {
    let may_run = !matches!(task.state, TaskState::Planned { .. } | TaskState::Closing { .. });
    (task.settled(ending), if may_run { vec![TaskEffect::Stop] } else { Vec::new() })
}

/// A settled task stays as it is; a report that contradicts a success is recorded.
fn late(ending: &Ending, event: TaskEvent) -> Vec<TaskEffect> {
    match (ending, event) {
        (Ending::Baked { digest }, TaskEvent::Reported(TaskResult::Baked { digest: other }, _))
            if *digest != other =>
        {
            vec![TaskEffect::Contradiction(other)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
