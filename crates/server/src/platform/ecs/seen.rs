//! The pure half of watching: what ECS shows of a task becomes words and endings.

use aws_sdk_ecs::types::{Container, Failure, Task, TaskStopCode};
use bakery_core::message::Message;
use bakery_core::reason::Reason;

use super::super::exit::End;
use super::super::{Exit, LaunchError};
use super::definition::CONTAINER;
use super::meaning;

/// What AWS says where the agent ended by itself: nothing that its exit code does not say.
const ENDED_BY_ITSELF: &str = "Essential container in task exited";

/// What a task has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not over, and nobody has asked it to end; its status, for people.
    Open(String),
    /// On its way to its end.
    Ending(String),
    /// Over, and how.
    Over(Exit),
}

/// What ECS shows of a task. It is over with its container: Fargate takes half a minute more to put the rest away.
pub(super) fn task(task: &Task) -> Standing {
    let status = task.last_status().unwrap_or_default();
    let agent = agent(task);
    let exited =
        agent.is_some_and(|agent| agent.last_status() == Some("STOPPED") && agent.exit_code().is_some());
    if status == "STOPPED" || exited && task.stop_code().is_some() {
        Standing::Over(ended(task))
    } else if task.desired_status() == Some("STOPPED") {
        Standing::Ending(status.to_lowercase())
    } else {
        Standing::Open(status.to_lowercase())
    }
}

fn agent(task: &Task) -> Option<&Container> {
    task.containers().iter().find(|container| container.name() == Some(CONTAINER))
}

fn ended(task: &Task) -> Exit {
    let agent = agent(task);
    let said = [task.stopped_reason(), agent.and_then(Container::reason)].into_iter().flatten();
    let said = said.filter(|said| *said != ENDED_BY_ITSELF).collect::<Vec<_>>().join("; ");
    let meaning = meaning::of(&said);
    let reason = of_code(task.stop_code(), meaning.map(|(reason, _)| reason));
    Exit::of(&End {
        code: agent.and_then(Container::exit_code),
        reason,
        detail: Some(&said),
        hint: meaning.and_then(|(_, hint)| hint),
        arch_hint: meaning::ARCH,
        tail: &[],
    })
}

fn of_code(code: Option<&TaskStopCode>, meant: Option<Reason>) -> Option<Reason> {
    match code {
        Some(TaskStopCode::SpotInterruption) => Some(Reason::SpotReclaimed),
        Some(TaskStopCode::TerminationNotice) => Some(Reason::Evicted),
        Some(TaskStopCode::TaskFailedToStart) => meant.or(Some(Reason::LaunchRefused)),
        _ => meant,
    }
}

/// `RunTask` was answered, and started nothing.
pub(super) fn refused(doing: &str, failures: &[Failure]) -> LaunchError {
    let words = |failure: &Failure| {
        let reason = failure.reason().unwrap_or("no reason given").to_owned();
        failure.detail().map_or(reason.clone(), |detail| format!("{reason}: {detail}"))
    };
    let said = failures.iter().map(words).collect::<Vec<_>>().join("; ");
    let said = if said.is_empty() { "ECS started no task and gave no reason".to_owned() } else { said };
    let (reason, hint) = meaning::of(&said).unwrap_or((Reason::NoCapacity, None));
    let message = Message { text: format!("{doing}: {said}"), hint: hint.map(str::to_owned) };
    LaunchError { retryable: reason.retryable(), reason, message }
}

#[cfg(test)]
mod tests;
