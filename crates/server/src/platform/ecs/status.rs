//! The status and the end of a task as ECS shows it. Pure.

use aws_sdk_ecs::types::{Container, Failure, Task, TaskStopCode};
use bakery_core::message::Message;
use bakery_core::reason::Reason;

use super::super::exit::End;
use super::super::{Exit, LaunchError};
use super::aws_messages;
use super::definition::CONTAINER;

/// AWS's message where the agent ended by itself. It adds nothing to the exit code.
const ENDED_BY_ITSELF: &str = "Essential container in task exited";

/// The status of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ObservedTaskStatus {
    /// Not ended, and not asked to end; AWS's status, for people.
    Open(String),
    /// On its way to its end.
    Ending(String),
    /// Ended, and how.
    Over(Exit),
}

/// The status of a task. It has ended when its container has: Fargate takes half a minute more to remove the rest.
pub(super) fn task(task: &Task) -> ObservedTaskStatus {
    let status = task.last_status().unwrap_or_default();
    let agent = agent(task);
    let exited =
        agent.is_some_and(|agent| agent.last_status() == Some("STOPPED") && agent.exit_code().is_some());
    if status == "STOPPED" || exited && task.stop_code().is_some() {
        ObservedTaskStatus::Over(ended(task))
    } else if task.desired_status() == Some("STOPPED") {
        ObservedTaskStatus::Ending(status.to_lowercase())
    } else {
        ObservedTaskStatus::Open(status.to_lowercase())
    }
}

fn agent(task: &Task) -> Option<&Container> {
    task.containers().iter().find(|container| container.name() == Some(CONTAINER))
}

fn ended(task: &Task) -> Exit {
    let agent = agent(task);
    let texts = [task.stopped_reason(), agent.and_then(Container::reason)].into_iter().flatten();
    let text = texts.filter(|text| *text != ENDED_BY_ITSELF).collect::<Vec<_>>().join("; ");
    let meaning = aws_messages::of(&text);
    let reason = reason_of(task.stop_code(), meaning.map(|(reason, _)| reason));
    Exit::of(&End {
        code: agent.and_then(Container::exit_code),
        reason,
        detail: Some(&text),
        hint: meaning.and_then(|(_, hint)| hint),
        arch_hint: aws_messages::ARCH,
        tail: &[],
    })
}

/// The reason of a stop code, where `known` is that of the message beside it.
fn reason_of(code: Option<&TaskStopCode>, known: Option<Reason>) -> Option<Reason> {
    match code {
        Some(TaskStopCode::SpotInterruption) => Some(Reason::SpotReclaimed),
        Some(TaskStopCode::TerminationNotice) => Some(Reason::Evicted),
        Some(TaskStopCode::TaskFailedToStart) => known.or(Some(Reason::LaunchRefused)),
        _ => known,
    }
}

/// The launch error of a `RunTask` that was answered and started nothing.
pub(super) fn not_started(doing: &str, failures: &[Failure]) -> LaunchError {
    let text = |failure: &Failure| {
        let reason = failure.reason().unwrap_or("no reason given").to_owned();
        failure.detail().map_or(reason.clone(), |detail| format!("{reason}: {detail}"))
    };
    let text = failures.iter().map(text).collect::<Vec<_>>().join("; ");
    let text = if text.is_empty() { "ECS started no task and gave no reason".to_owned() } else { text };
    let (reason, hint) = aws_messages::of(&text).unwrap_or((Reason::NoCapacity, None));
    let message = Message { text: format!("{doing}: {text}"), hint: hint.map(str::to_owned) };
    LaunchError { retryable: reason.retryable(), reason, message }
}

#[cfg(test)]
mod tests;
