//! The state of one build, as the ledger keeps it and as readers see it. No secrets here.

use std::sync::Arc;

use bakery_core::image::ImageRef;
use bakery_core::lifecycle::{Cause, Ending, Task, TaskState};
use bakery_core::names::{Arch, BuildId, Platform, RunName, TaskId};
use bakery_core::plan::BuildPlan;
use bakery_core::reason::{Fault, Reason};
use bakery_core::wire::build::{
    BuildOutcome, BuildPhase, BuildView, PublishState, PublishView, PublishedImage, TargetView, TaskView,
    Verdict,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far the end of a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// It runs.
    Open,
    /// It is to end: it was cancelled, or has timed out.
    Asked,
    /// It has ended.
    Final,
}

/// The plan with everything filled in that only the server knows, and without secrets. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResolvedPlan {
    pub(super) targets: Vec<TargetPlan>,
    pub(super) tasks: Vec<TaskPlan>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TargetPlan {
    pub(super) name: String,
    pub(super) after: Vec<usize>,
    /// Indexes of its tasks.
    pub(super) tasks: Vec<usize>,
    pub(super) destination: Option<ImageRef>,
    /// More names for the same.
    #[serde(default)]
    pub(super) tags: Vec<ImageRef>,
    /// True where the destination is an index that the server publishes.
    pub(super) index: bool,
}

impl TargetPlan {
    /// Every name that it publishes.
    pub(super) fn names(&self) -> impl Iterator<Item = &ImageRef> {
        self.destination.iter().chain(&self.tags)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TaskPlan {
    pub(super) target: usize,
    pub(super) arch: Arch,
    pub(super) platform: Platform,
    pub(super) cpu_millis: u32,
    pub(super) memory_mib: u32,
    /// What the task requests; a build of the version before has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) disk_mib: Option<u32>,
    /// The task's own time limit, instead of `BUILD_TASK_TIMEOUT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout_seconds: Option<u64>,
    pub(super) push_to: Option<ImageRef>,
    /// Where it is pushed besides: one name for each of the target's `tags`.
    #[serde(default)]
    pub(super) also_push_to: Vec<ImageRef>,
    /// How long the platform may keep the container; fixed here, because a relaunch must not differ.
    pub(super) keep_seconds: u64,
}

/// Where a task runs, and what it gets there.
#[derive(Debug, Clone, Copy)]
pub(super) struct TaskResources {
    pub(super) platform: Platform,
    pub(super) cpu_millis: u32,
    pub(super) memory_mib: u32,
    pub(super) disk_mib: Option<u32>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) keep_seconds: u64,
}

impl ResolvedPlan {
    pub(super) fn of(plan: &BuildPlan, resources: &[TaskResources]) -> Self {
        let targets = plan
            .targets
            .iter()
            .map(|target| TargetPlan {
                name: target.name.clone(),
                after: target.after.clone(),
                tasks: target.tasks.iter().map(|task| usize::from(task.index)).collect(),
                destination: target.publish.as_ref().map(|publish| publish.destination.clone()),
                tags: target.publish.as_ref().map(|publish| publish.tags.clone()).unwrap_or_default(),
                index: target.publish.as_ref().is_some_and(|publish| publish.is_index),
            })
            .collect();
        let mut planned: Vec<_> = plan.tasks().collect();
        planned.sort_by_key(|(_, task)| task.index);
        let tasks = planned
            .into_iter()
            .zip(resources)
            .map(|((target, task), resources)| TaskPlan {
                target,
                arch: task.spec.arch,
                platform: resources.platform,
                cpu_millis: resources.cpu_millis,
                memory_mib: resources.memory_mib,
                disk_mib: resources.disk_mib,
                timeout_seconds: resources.timeout_seconds,
                push_to: task.push_to.clone(),
                also_push_to: task.also_push_to.clone(),
                keep_seconds: resources.keep_seconds,
            })
            .collect();
        Self { targets, tasks }
    }
}

/// One task as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct TaskRecord {
    pub(super) task: Task,
    /// When the platform was asked, in this attempt.
    pub(super) launched: Option<Timestamp>,
    /// True once the platform has accepted the launch; until then a restart asks again.
    pub(super) answered: bool,
}

/// Why a build failed: the first cause in time, with the name of its task in the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FirstCause {
    pub(super) cause: Cause,
    pub(super) verdict: Verdict,
}

/// One build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuildState {
    pub(super) id: BuildId,
    pub(super) created: Timestamp,
    pub(super) plan: Arc<ResolvedPlan>,
    pub(super) tasks: Vec<TaskRecord>,
    /// One for each target; `None` if nothing is published.
    pub(super) publishes: Vec<Option<PublishState>>,
    pub(super) first_cause: Option<FirstCause>,
    pub(super) outcome: Option<BuildOutcome>,
    pub(super) ended: Option<Timestamp>,
}

impl BuildState {
    pub(super) fn new(id: BuildId, created: Timestamp, plan: ResolvedPlan) -> Self {
        let publishes =
            plan.targets.iter().map(|target| target.destination.as_ref().map(|_| PublishState::Pending));
        Self {
            id,
            created,
            tasks: vec![TaskRecord::default(); plan.tasks.len()],
            publishes: publishes.collect(),
            plan: Arc::new(plan),
            first_cause: None,
            outcome: None,
            ended: None,
        }
    }

    /// The name of a task's current attempt.
    pub(super) fn run(&self, index: usize) -> RunName {
        let attempt = self.tasks[index].task.attempt;
        // A plan has at most `limits::TASKS` tasks.
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        RunName { task: TaskId { build: self.id, index }, attempt }
    }

    /// A task's name for people.
    pub(super) fn label(&self, index: usize) -> String {
        let plan = &self.plan.tasks[index];
        format!("{} ({})", self.plan.targets[plan.target].name, plan.arch)
    }

    /// The platform of a run's task.
    pub(super) fn platform(&self, run: RunName) -> Platform {
        self.plan.tasks[usize::from(run.task.index)].platform
    }

    /// Whether the run is the current attempt at an open task.
    pub(super) fn is_current(&self, run: RunName) -> bool {
        let index = usize::from(run.task.index);
        index < self.tasks.len() && self.run(index) == run && !self.settled(index)
    }

    /// How far the end of this run has come. A cancelled agent, and one that has exceeded its time, may still send the last
    /// lines of its log.
    pub(super) fn run_end(&self, run: RunName) -> RunEnd {
        let record = self.tasks.get(usize::from(run.task.index)).filter(|it| it.task.attempt == run.attempt);
        match record.map(|record| &record.task.state) {
            Some(TaskState::Settled { ending: Ending::Cancelled { .. } | Ending::TimedOut { .. } }) => {
                RunEnd::Asked
            }
            Some(TaskState::Settled { .. }) | None => RunEnd::Final,
            Some(_) => RunEnd::Open,
        }
    }

    /// Whether a task waits for a run slot of the platform, or for its container to be started.
    pub(super) fn waits_for(&self, platform: Platform) -> bool {
        let tasks = self.tasks.iter().zip(&self.plan.tasks);
        tasks.filter(|(_, plan)| plan.platform == platform).any(|(record, _)| match record.task.state {
            TaskState::Planned { .. } | TaskState::Retreating { .. } => true,
            TaskState::Launching { .. } => !record.answered,
            _ => false,
        })
    }

    pub(super) fn settled(&self, index: usize) -> bool {
        self.tasks[index].task.ending().is_some()
    }

    /// Every task of the target is baked.
    pub(super) fn baked(&self, target: usize) -> bool {
        self.plan.targets[target]
            .tasks
            .iter()
            .all(|&index| matches!(self.tasks[index].task.ending(), Some(Ending::Baked { .. })))
    }

    /// A task of the target, or its publishing, has ended without success.
    pub(super) fn failed(&self, target: usize) -> bool {
        let failed = |&index: &usize| {
            self.tasks[index].task.ending().is_some_and(|ending| !matches!(ending, Ending::Baked { .. }))
        };
        self.plan.targets[target].tasks.iter().any(failed)
            || matches!(self.publishes[target], Some(PublishState::Failed { .. }))
    }

    /// The target has succeeded.
    pub(super) fn good(&self, target: usize) -> bool {
        self.baked(target) && matches!(self.publishes[target], None | Some(PublishState::Done { .. }))
    }

    /// Nothing of the target is left to do.
    pub(super) fn over(&self, target: usize) -> bool {
        self.plan.targets[target].tasks.iter().all(|&index| self.settled(index))
            && self.publishes[target] != Some(PublishState::Pending)
    }

    pub(super) fn publish_view(&self, target: usize) -> Option<PublishView> {
        let plan = &self.plan.targets[target];
        let (destination, tags) = (plan.destination.clone()?, plan.tags.clone());
        Some(PublishView { destination, tags, state: self.publishes[target].clone()? })
    }

    /// How it ended, once everything has ended.
    pub(super) fn conclude(&self) -> BuildOutcome {
        let images = (0..self.publishes.len()).flat_map(|target| {
            let plan = &self.plan.targets[target];
            let digest = match &self.publishes[target] {
                Some(PublishState::Done { digest }) => Some(digest),
                _ => None,
            };
            let mut archs: Vec<_> = plan.tasks.iter().map(|&index| self.plan.tasks[index].arch).collect();
            archs.sort_unstable();
            archs.dedup();
            let names = digest.into_iter().flat_map(|digest| plan.names().map(move |name| (name, digest)));
            names.map(move |(name, digest)| PublishedImage {
                destination: name.clone(),
                digest: digest.clone(),
                archs: archs.clone(),
            })
        });
        let first = self.first_cause.as_ref();
        BuildOutcome {
            verdict: first.map_or(Verdict::Baked, |first| first.verdict),
            reason: first.map(|first| first.cause.reason),
            text: first.map(|first| first.cause.text.clone()),
            hint: first.and_then(|first| first.cause.hint.clone()),
            images: images.collect(),
        }
    }

    pub(super) fn phase(&self) -> BuildPhase {
        if self.outcome.is_some() {
            return BuildPhase::Ended;
        }
        let untouched = |record: &TaskRecord| record.task == Task::new();
        if self.tasks.iter().all(untouched) {
            BuildPhase::Queued
        } else if self.tasks.iter().all(|record| record.task.ending().is_some()) {
            BuildPhase::Publishing
        } else {
            BuildPhase::Baking
        }
    }

    /// What readers see; `ahead` returns how many tasks are before one in its platform's queue.
    pub(super) fn view(&self, ahead: impl Fn(RunName) -> Option<u32>) -> BuildView {
        let targets = self.plan.targets.iter().enumerate().map(|(target, plan)| TargetView {
            name: plan.name.clone(),
            tasks: plan.tasks.iter().map(|&index| self.task_view(index, &ahead)).collect(),
            publish: self.publish_view(target),
        });
        BuildView {
            id: self.id,
            phase: self.phase(),
            created: self.created,
            ended: self.ended,
            targets: targets.collect(),
            outcome: self.outcome.clone(),
        }
    }

    fn task_view(&self, index: usize, ahead: &impl Fn(RunName) -> Option<u32>) -> TaskView {
        let (plan, task) = (&self.plan.tasks[index], &self.tasks[index].task);
        let waits = matches!(task.state, TaskState::Planned { .. });
        TaskView {
            index: u16::try_from(index).unwrap_or(u16::MAX),
            arch: plan.arch,
            platform: plan.platform,
            attempt: task.attempt,
            phase: task.phase(),
            ahead: if waits { ahead(self.run(index)) } else { None },
            reason: task.cause().map(|cause| cause.reason),
            text: task.cause().map(|cause| cause.text.clone()),
            hint: task.cause().and_then(|cause| cause.hint.clone()),
            digest: match task.ending() {
                Some(Ending::Baked { digest }) => Some(digest.clone()),
                _ => None,
            },
        }
    }
}

/// The verdict that a task's cause leads to.
pub(super) fn verdict_of_task(reason: Reason) -> Verdict {
    match reason.fault() {
        Fault::Build => Verdict::Failed,
        Fault::Platform => Verdict::Lost,
        Fault::Asked => Verdict::Cancelled,
    }
}

/// The verdict that a failed publishing leads to. A registry that accepted the images a moment ago and is unreachable now
/// is not the user's fault.
pub(super) fn verdict_of_publish(reason: Reason) -> Verdict {
    if reason == Reason::RegistryUnreachable { Verdict::Lost } else { verdict_of_task(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_the_version_before_is_read_and_requests_nothing() {
        let before = r#"{"target":0,"arch":"amd64","platform":"ecs","cpu_millis":500,"memory_mib":2048,"push_to":null,"keep_seconds":1500}"#;
        let task: TaskPlan = serde_json::from_str(before).unwrap();
        assert_eq!((task.disk_mib, task.timeout_seconds, task.keep_seconds), (None, None, 1500));
        let requesting = TaskPlan { disk_mib: Some(1024), timeout_seconds: Some(60), ..task };
        let stored = serde_json::to_string(&requesting).unwrap();
        assert_eq!(serde_json::from_str::<TaskPlan>(&stored).unwrap(), requesting);
    }
}
