//! The one state machine of a task: what happens to it, and what has to be done about it.
//!
//! Two witnesses speak of a run: the agent's report says *what* came of it, the platform's exit says *that it is over*.
//! The report wins, and its absence is never read as success. A second attempt starts only after the platform said that
//! the first container is gone, or confirmed that it has stopped it: never beside a container that may live.
//!
//! There is no clock here: deadlines, graces and silences arrive as events.

mod task;

pub use self::task::{Cause, Effect, Ending, Task, TaskEvent, TaskState};
use crate::message::Message;
use crate::reason::Reason;
use crate::wire::run::{Stage, TaskResult};

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
            let ending = match &task.state {
                // The attempt has failed before, and of something else: what took too long is its container's stop.
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

/// The rows of the table that depend on the state.
fn open(task: &Task, event: TaskEvent) -> (Task, Vec<Effect>) {
    let same = || (task.clone(), Vec::new());
    match (&task.state, event) {
        (TaskState::Planned { .. }, TaskEvent::SlotFree) => {
            (task.at(TaskState::Launching { last: None }), vec![Effect::Launch])
        }
        (TaskState::Launching { .. }, TaskEvent::AgentSeen) => {
            (task.at(TaskState::Running { stage: Stage::Prepare, trouble: None }), Vec::new())
        }
        (TaskState::Launching { .. }, TaskEvent::Progress(reason, message)) => {
            let last = reason.map(|reason| Cause::new(reason, message.clone()));
            (task.at(TaskState::Launching { last }), vec![Effect::Say(message)])
        }
        (TaskState::Running { stage, .. }, TaskEvent::Progress(reason, message)) => {
            // What hinders a launch is worth a line, and means nothing to an agent that has spoken.
            let trouble =
                reason.filter(|reason| ends_tasks(*reason)).map(|reason| Cause::new(reason, message.clone()));
            (task.at(TaskState::Running { stage: *stage, trouble }), vec![Effect::Say(message)])
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
        (TaskState::Retreating { cause, spoken: true }, TaskEvent::Gone(exit)) => {
            let cause = told_better(cause.clone(), Some(&exit));
            if cause.reason.retryable() {
                (task.again(cause), vec![Effect::QueueAgain])
            } else {
                (task.settled(Ending::by(cause)), Vec::new())
            }
        }
        (TaskState::Retreating { cause, .. }, TaskEvent::StopConfirmed | TaskEvent::Gone(_)) => {
            (task.again(cause.clone()), vec![Effect::QueueAgain])
        }
        (TaskState::Running { stage, trouble }, TaskEvent::Heard(heard)) => {
            let stage = heard.max(*stage);
            (task.at(TaskState::Running { stage, trouble: trouble.clone() }), Vec::new())
        }
        (TaskState::Running { .. }, TaskEvent::AgentSilent) => (task.clone(), vec![Effect::AskPlatform]),
        (TaskState::Launching { .. }, TaskEvent::Gone(exit)) => {
            (task.at(TaskState::Closing { exit, stage: None }), vec![Effect::StartGrace])
        }
        (TaskState::Running { stage, .. }, TaskEvent::Gone(exit)) => {
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
        TaskState::Running { stage: heard, .. } | TaskState::Closing { stage: Some(heard), .. }
            if *heard < Stage::Report =>
        {
            stage.max(*heard)
        }
        _ => stage,
    };
    let said = match &task.state {
        TaskState::Running { trouble, .. } => trouble.as_ref(),
        TaskState::Closing { exit, .. } => Some(exit),
        _ => None,
    };
    let ending = match ending {
        Ending::Lost { cause } => Ending::by(told_better(cause, said)),
        ending => ending,
    };
    match (&task.state, ending) {
        (
            TaskState::Launching { .. } | TaskState::Running { .. } | TaskState::Closing { .. },
            Ending::Lost { cause },
        ) if may_try_again(task, &cause, Some(heard)) => {
            let say = once_more(&cause);
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

/// Whether a platform's word explains the end of an agent that has spoken.
fn ends_tasks(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DiskFull | Reason::Evicted | Reason::NodeLost | Reason::OutOfMemory | Reason::SpotReclaimed
    )
}

/// An agent that is taken away does not know why. Where the platform does, its reason counts, and both their words.
fn told_better(cause: Cause, said: Option<&Cause>) -> Cause {
    match said {
        Some(said)
            if cause.reason == Reason::Evicted
                && said.reason != Reason::Evicted
                && ends_tasks(said.reason) =>
        {
            Cause::after(said.reason, &cause.text, said)
        }
        _ => cause,
    }
}

fn once_more(cause: &Cause) -> Effect {
    let text = format!("{}: trying once more", cause.text);
    Effect::Say(Message { text, hint: cause.hint.clone() })
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
        let say = once_more(&cause);
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
mod tests;
