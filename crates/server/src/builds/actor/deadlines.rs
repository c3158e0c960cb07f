//! When a task has to be looked at again. Deadlines are stored as wall time and measured on the monotonic clock.

use std::time::Duration;

use bakery_core::lifecycle::{TaskEvent, TaskState};
use bakery_core::units::format_duration;
use bakery_core::wire::run::Stage;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::builds::settings::BuildsSettings;
use crate::builds::state::TaskRecord;

/// The agent ends itself at the deadline and says why; the server ends it this much later.
const BACKSTOP: Duration = Duration::from_secs(5);

/// What a task waits for, by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    Requeue,
    Provision,
    Deadline,
    Silence,
    Grace,
}

/// The clock of one task.
#[derive(Debug)]
pub(super) struct TaskClock {
    /// Attempt and kind of state that `since` speaks of.
    key: (u8, u8),
    since: Instant,
    provision: Option<Instant>,
    deadline: Option<Instant>,
    /// When the platform was last asked about a silent agent.
    asked: Instant,
    pub(super) requeue: Option<Instant>,
}

impl TaskClock {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { key: (0, 0), since: now, provision: None, deadline: None, asked: now, requeue: None }
    }

    /// Takes note of the task's state.
    pub(super) fn see(&mut self, record: &TaskRecord, settings: &BuildsSettings, wall: Timestamp) {
        let key = (record.task.attempt, kind(&record.task.state));
        if self.key == key {
            return;
        }
        let now = Instant::now();
        (self.key, self.since, self.asked) = (key, now, now);
        let at = |limit: Duration| {
            let launched = record.launched?;
            let passed = u64::try_from(wall.as_millisecond() - launched.as_millisecond()).unwrap_or_default();
            Some(now + limit.saturating_sub(Duration::from_millis(passed)))
        };
        self.provision = at(settings.provision_timeout);
        self.deadline = at(settings.task_timeout);
        if !matches!(record.task.state, TaskState::Planned { .. }) {
            self.requeue = None;
        }
    }

    /// The platform has been asked just now.
    pub(super) fn asked(&mut self) {
        self.asked = Instant::now();
    }

    /// Seconds until the task's deadline.
    pub(super) fn seconds_left(&self) -> u64 {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.unwrap_or_default().as_secs().max(1)
    }

    /// What comes next and when.
    pub(super) fn next(
        &self,
        record: &TaskRecord,
        settings: &BuildsSettings,
        last_heard: Option<Instant>,
    ) -> Option<(Instant, Deadline)> {
        let deadline = self.deadline.map(|at| (at, Deadline::Deadline));
        match &record.task.state {
            TaskState::Planned { .. } => self.requeue.map(|at| (at, Deadline::Requeue)),
            TaskState::Launching { .. } => {
                let provision = self.provision.map(|at| (at, Deadline::Provision));
                [provision, deadline].into_iter().flatten().min_by_key(|(at, _)| *at)
            }
            // The platform has as long to confirm a stop as it has for a start, also where the attempt failed late.
            TaskState::Retreating { .. } => {
                self.deadline.map(|at| (at.max(self.since + settings.provision_timeout), Deadline::Deadline))
            }
            TaskState::Running { stage, .. } => {
                let end = self.deadline.map(|at| {
                    let at = at + BACKSTOP;
                    // A finished task whose report is on its way has time for that, but not for ever.
                    if *stage == Stage::Report { at.max(self.since + settings.result_timeout) } else { at }
                });
                let heard = last_heard.unwrap_or(self.since).max(self.asked);
                let silence = (heard + settings.timing.agent_silent, Deadline::Silence);
                [end.map(|at| (at, Deadline::Deadline)), Some(silence)]
                    .into_iter()
                    .flatten()
                    .min_by_key(|(at, _)| *at)
            }
            TaskState::Closing { .. } => Some((self.since + settings.timing.report_grace, Deadline::Grace)),
            TaskState::Settled { .. } => None,
        }
    }
}

/// The event that a passed deadline is.
pub(super) fn event(due: Deadline, record: &TaskRecord, settings: &BuildsSettings) -> Option<TaskEvent> {
    match due {
        Deadline::Requeue => None,
        Deadline::Provision => Some(TaskEvent::ProvisionDeadline(format!(
            "BUILD_PROVISION_TIMEOUT ({}) is over and the agent has not spoken",
            format_duration(settings.provision_timeout)
        ))),
        Deadline::Deadline => {
            let stage = match &record.task.state {
                TaskState::Retreating { .. } => {
                    let text = "the platform has not confirmed that the container is stopped";
                    return Some(TaskEvent::DeadlinePassed(text.to_owned()));
                }
                TaskState::Running { stage, .. } => stage.as_str(),
                _ => "launch",
            };
            let limit = format_duration(settings.task_timeout);
            Some(TaskEvent::DeadlinePassed(format!("BUILD_TASK_TIMEOUT ({limit}) is over in stage {stage}")))
        }
        Deadline::Silence => Some(TaskEvent::ContactLost),
        Deadline::Grace => Some(TaskEvent::GraceOver),
    }
}

fn kind(state: &TaskState) -> u8 {
    match state {
        TaskState::Planned { .. } => 1,
        TaskState::Launching { .. } => 2,
        TaskState::Retreating { .. } => 3,
        TaskState::Running { stage: Stage::Report, .. } => 4,
        TaskState::Running { .. } => 5,
        TaskState::Closing { .. } => 6,
        TaskState::Settled { .. } => 7,
    }
}
