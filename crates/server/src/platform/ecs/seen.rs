//! The pure half of watching: what ECS shows of a task becomes words and endings.

use aws_sdk_ecs::types::{Container, Failure, Task, TaskStopCode};
use bakery_core::reason::Reason;

use super::super::exit::End;
use super::super::{Exit, LaunchError};
use super::definition::CONTAINER;

/// What AWS says where the agent ended by itself: nothing that its exit code does not say.
const ENDED_BY_ITSELF: &str = "Essential container in task exited";

/// What a task has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not over; its status, for people.
    Open(String),
    /// Over, and how.
    Over(Exit),
}

/// What ECS shows of a task.
pub(super) fn task(task: &Task) -> Standing {
    let status = task.last_status().unwrap_or_default();
    if status == "STOPPED" { Standing::Over(ended(task)) } else { Standing::Open(status.to_lowercase()) }
}

fn ended(task: &Task) -> Exit {
    let agent = task.containers().iter().find(|container| container.name() == Some(CONTAINER));
    let said = [task.stopped_reason(), agent.and_then(Container::reason)].into_iter().flatten();
    let said = said.filter(|said| *said != ENDED_BY_ITSELF).collect::<Vec<_>>().join("; ");
    let reason = of_code(task.stop_code(), &said).or_else(|| of_words(&said));
    Exit::of(&End {
        code: agent.and_then(Container::exit_code),
        reason,
        said: Some(&said),
        arch_hint: "AGENT_IMAGE must be an index with both architectures",
        ..End::default()
    })
}

fn of_code(code: Option<&TaskStopCode>, said: &str) -> Option<Reason> {
    match code? {
        TaskStopCode::SpotInterruption => Some(Reason::SpotReclaimed),
        TaskStopCode::TerminationNotice => Some(Reason::Evicted),
        TaskStopCode::TaskFailedToStart => of_words(said).or(Some(Reason::LaunchRefused)),
        _ => None,
    }
}

/// The reasons that AWS gives as sentences only. Source: AWS, "Amazon ECS stopped tasks error messages".
fn of_words(said: &str) -> Option<Reason> {
    let has = |words: &str| said.contains(words);
    if has("OutOfMemory") {
        Some(Reason::OutOfMemory)
    } else if has("CannotPull") || has("pull image") || has("image Manifest does not contain") {
        Some(Reason::ImagePull)
    } else if has("exec format error") {
        Some(Reason::NoSuchArch)
    } else if has("Capacity is unavailable")
        || has("RESOURCE:")
        || has("Timeout waiting for network interface")
    {
        Some(Reason::NoCapacity)
    } else if has("Spot") && has("interrupted") {
        Some(Reason::SpotReclaimed)
    } else if has("no space left on device") || has("CannotCreateContainerError: API error (500): devmapper")
    {
        Some(Reason::DiskFull)
    } else {
        None
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
    let reason = of_words(&said).unwrap_or(Reason::NoCapacity);
    let hint = if reason == Reason::NoCapacity {
        "\nhint: name subnets of several availability zones in ECS_SUBNETS; ECS_CAPACITY=spot-then-fargate tries on demand after Spot"
    } else {
        ""
    };
    LaunchError { retryable: reason.retryable(), reason, text: format!("{doing}: {said}{hint}") }
}

#[cfg(test)]
mod tests;
