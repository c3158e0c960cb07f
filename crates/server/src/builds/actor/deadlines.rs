//! When a task has to be looked at again. Deadlines are stored as wall time and measured on the monotonic clock.

use std::sync::Arc;
use std::time::Duration;

use bakery_core::lifecycle::{TaskEvent, TaskState};
use bakery_core::names::RunName;
use bakery_core::units::format_duration;
use bakery_core::wire::run::Stage;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::builds::events::BuildEvent;
use crate::builds::settings::BuildsSettings;
use crate::builds::state::{BuildState, TaskPlan, TaskRecord};

/// The agent ends itself at the deadline and reports why; the server ends it this much later.
const BACKSTOP: Duration = Duration::from_secs(5);

/// What a task waits for, by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    /// The end of the pause before another attempt.
    BackOff,
    /// The first contact of the agent (`BUILD_PROVISION_TIMEOUT`).
    Provision,
    /// The end of the task (its `timeout`, or `BUILD_TASK_TIMEOUT`).
    Task,
    /// The next contact with the agent.
    Contact,
    /// The report of a container that has ended.
    Report,
}

/// The deadlines of a build's tasks.
pub(super) struct Deadlines {
    clocks: Vec<TaskClock>,
    settings: Arc<BuildsSettings>,
}

/// The clock of one task.
#[derive(Debug)]
struct TaskClock {
    /// Attempt and kind of state that `since` is about.
    key: (u8, u8),
    since: Instant,
    provision: Option<Instant>,
    deadline: Option<Instant>,
    /// When the platform was last asked about an agent without contact.
    asked: Instant,
    back_off: Option<Instant>,
}

impl Deadlines {
    pub(super) fn new(tasks: usize, settings: Arc<BuildsSettings>) -> Self {
        Self { clocks: (0..tasks).map(|_| TaskClock::new()).collect(), settings }
    }

    /// Takes note of where the tasks stand.
    pub(super) fn observe(&mut self, state: &BuildState, wall: Timestamp) {
        let tasks = state.tasks.iter().zip(&state.plan.tasks);
        for (clock, (record, plan)) in self.clocks.iter_mut().zip(tasks) {
            clock.observe(record, &self.settings, TimeLimit::of(plan, &self.settings), wall);
        }
    }

    /// The next deadline: when, of which task, and which.
    pub(super) fn next(
        &self,
        state: &BuildState,
        last_contact: impl Fn(RunName) -> Option<Instant>,
    ) -> Option<(Instant, usize, Deadline)> {
        let next = |(index, clock): (usize, &TaskClock)| {
            let last_contact = last_contact(state.run(index));
            let (at, deadline) = clock.next(&state.tasks[index], &self.settings, last_contact)?;
            Some((at, index, deadline))
        };
        self.clocks.iter().enumerate().filter_map(next).min_by_key(|(at, ..)| *at)
    }

    /// The event that a passed deadline is.
    pub(super) fn fire(&mut self, index: usize, deadline: Deadline, state: &BuildState) -> BuildEvent {
        let run = state.run(index);
        let clock = &mut self.clocks[index];
        let event = match deadline {
            Deadline::BackOff => {
                clock.back_off = None;
                return BuildEvent::BackOffOver(run);
            }
            Deadline::Contact => {
                clock.asked = Instant::now();
                TaskEvent::ContactLost
            }
            Deadline::Provision => {
                let limit = format_duration(self.settings.provision_timeout);
                let text = format!("BUILD_PROVISION_TIMEOUT ({limit}) exceeded: the agent has not connected");
                TaskEvent::ProvisionDeadline(text)
            }
            Deadline::Task => {
                let limit = TimeLimit::of(&state.plan.tasks[index], &self.settings);
                TaskEvent::DeadlinePassed(limit.exceeded_in(&state.tasks[index].task.state))
            }
            Deadline::Report => TaskEvent::GraceOver,
        };
        BuildEvent::Run(run, event)
    }

    /// The task is queued again after a pause.
    pub(super) fn back_off(&mut self, run: RunName) {
        let until = Instant::now() + self.settings.timing.back_off;
        self.clocks[usize::from(run.task.index)].back_off = Some(until);
    }

    /// The task is not queued again.
    pub(super) fn end_back_off(&mut self, run: RunName) {
        self.clocks[usize::from(run.task.index)].back_off = None;
    }

    /// Seconds until the task has to end.
    pub(super) fn seconds_left(&self, index: usize) -> u64 {
        let deadline = self.clocks[index].deadline;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.unwrap_or_default().as_secs().max(1)
    }
}

impl TaskClock {
    fn new() -> Self {
        let now = Instant::now();
        Self { key: (0, 0), since: now, provision: None, deadline: None, asked: now, back_off: None }
    }

    fn observe(&mut self, record: &TaskRecord, settings: &BuildsSettings, limit: TimeLimit, wall: Timestamp) {
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
        self.deadline = at(limit.time);
        if !matches!(record.task.state, TaskState::Planned { .. }) {
            self.back_off = None;
        }
    }

    fn next(
        &self,
        record: &TaskRecord,
        settings: &BuildsSettings,
        last_contact: Option<Instant>,
    ) -> Option<(Instant, Deadline)> {
        let deadline = self.deadline.map(|at| (at, Deadline::Task));
        match &record.task.state {
            TaskState::Planned { .. } => self.back_off.map(|at| (at, Deadline::BackOff)),
            TaskState::Launching { .. } => {
                let provision = self.provision.map(|at| (at, Deadline::Provision));
                [provision, deadline].into_iter().flatten().min_by_key(|(at, _)| *at)
            }
            // The platform has as long to confirm a stop as it has for a start, also if the attempt failed late.
            TaskState::Retreating { .. } => {
                self.deadline.map(|at| (at.max(self.since + settings.provision_timeout), Deadline::Task))
            }
            TaskState::Running { stage, .. } => {
                let end = self.deadline.map(|at| {
                    let at = at + BACKSTOP;
                    // A finished task whose report is on its way has time for that, but not for ever.
                    if *stage == Stage::Report { at.max(self.since + settings.result_timeout) } else { at }
                });
                let last_contact = last_contact.unwrap_or(self.since).max(self.asked);
                let contact = (last_contact + settings.timing.no_contact, Deadline::Contact);
                let end = end.map(|at| (at, Deadline::Task));
                [end, Some(contact)].into_iter().flatten().min_by_key(|(at, _)| *at)
            }
            TaskState::Closing { .. } => Some((self.since + settings.timing.report_grace, Deadline::Report)),
            TaskState::Settled { .. } => None,
        }
    }
}

/// The time limit of one task.
#[derive(Debug, Clone, Copy)]
struct TimeLimit {
    /// What sets it, for people.
    name: &'static str,
    time: Duration,
}

impl TimeLimit {
    fn of(plan: &TaskPlan, settings: &BuildsSettings) -> Self {
        match plan.timeout_seconds {
            Some(seconds) => Self { name: "`timeout`", time: Duration::from_secs(seconds) },
            None => Self { name: "BUILD_TASK_TIMEOUT", time: settings.task_timeout },
        }
    }

    /// The text for a task that exceeds it in this state.
    fn exceeded_in(self, state: &TaskState) -> String {
        let reached = match state {
            TaskState::Retreating { .. } => {
                return "the platform has not confirmed that the container is stopped".to_owned();
            }
            TaskState::Running { stage, .. } => stage.as_str(),
            _ => "launch",
        };
        format!("{} ({}) exceeded in stage `{reached}`", self.name, format_duration(self.time))
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
