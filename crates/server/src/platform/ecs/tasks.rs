//! Tasks that were started: finding, describing, stopping and listing them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use aws_sdk_ecs::types::{DesiredStatus, Task};
use bakery_core::message::Message;
use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use tokio::time::Instant;

use super::super::{Exit, LaunchError, Observation};
use super::EcsCore;
use super::client::AwsCallError;
use super::status::{self, ObservedTaskStatus};
use super::task_index::TaskEntry;

/// Tasks in one `DescribeTasks`: AWS's bound.
pub(super) const BATCH_SIZE: usize = 100;
/// How long a task that is to end may end by itself before it is looked up and stopped.
const BY_ITSELF: Duration = Duration::from_secs(3);
/// The pause between two looks at what the watch reported about it.
const LOOK: Duration = Duration::from_secs(5);
/// How long a task that is to end may go without a report of the watch before it is looked up here.
const UNWATCHED: Duration = Duration::from_secs(10);
/// How long an end may take before the stop fails, to be retried by the caller.
const PATIENCE: Duration = Duration::from_secs(100);

/// Tasks of one cluster, at most [`BATCH_SIZE`].
pub(super) struct TaskBatch<'e> {
    /// Region, account and cluster.
    pub(super) location: &'e str,
    /// It is not where the present settings start tasks.
    pub(super) foreign: bool,
    pub(super) entries: Vec<&'e (RunName, TaskEntry)>,
}

impl TaskBatch<'_> {
    pub(super) fn arns(&self) -> Vec<String> {
        self.entries.iter().map(|(_, entry)| entry.arn.clone()).collect()
    }
}

impl EcsCore {
    pub(super) fn progress(&self, run: RunName, message: impl Into<Message>) {
        self.runs.publish(Observation::Progress { run, reason: None, message: message.into() });
    }

    /// Whether a run's task is known, or can be found. An error where it may run and cannot be found.
    pub(super) async fn locate(&self, run: RunName) -> Result<bool, LaunchError> {
        if self.task_index.get(run).is_some() {
            return Ok(true);
        }
        let listed = match self.find(run).await {
            Ok(true) => return Ok(true),
            Ok(false) => true,
            Err(failed) if failed.is_denied() => false,
            Err(failed) => return Err(failed.error()),
        };
        if self.may_live(run, listed) {
            let message = format!("AWS may have started the task {run}, and its ARN is not known").into();
            return Err(LaunchError { retryable: true, reason: Reason::PlatformUnreachable, message });
        }
        Ok(false)
    }

    /// Finds the task of a run by its `startedBy`, and adds it to the index. One that has ended is not found this way.
    pub(super) async fn find(&self, run: RunName) -> Result<bool, AwsCallError> {
        // AWS accepts no other filter beside this one, and lists tasks that are to run.
        let call = self
            .ecs
            .list_tasks()
            .cluster(&self.task_template.cluster)
            .started_by(self.task_template.started_by(run));
        let answer = call
            .send()
            .await
            .map_err(|error| AwsCallError::of(format!("looking for the task {run}"), &error))?;
        let found = answer.task_arns().first();
        if let Some(arn) = found {
            self.task_index.add(run, arn);
        }
        Ok(found.is_some())
    }

    /// Makes sure that a known task ends, and waits for that. Relies on what the watch reports; where nobody watches, AWS is
    /// asked here.
    pub(super) async fn end_and_wait(&self, run: RunName) -> Result<(), LaunchError> {
        self.task_index.with(run, TaskEntry::mark_ending);
        self.hurry.notify_one();
        let (begun, mut pause, mut stopped) = (Instant::now(), BY_ITSELF, false);
        while tokio::time::timeout(pause, self.runs.wait_removed(run)).await.is_err() {
            pause = LOOK;
            let Some(entry) = self.task_index.get(run) else { return Ok(()) };
            if begun.elapsed() > PATIENCE {
                let message = format!("the task {run} has not ended yet").into();
                return Err(LaunchError { retryable: true, reason: Reason::PlatformUnreachable, message });
            }
            let unavailable = !self.availability.subscribe().borrow().is_available();
            let status = match entry.was_ending(LOOK) {
                Some(true) => ObservedTaskStatus::Ending(String::new()),
                Some(false) => ObservedTaskStatus::Open(String::new()),
                None if unavailable || begun.elapsed() < UNWATCHED => continue,
                None => self.look_up(run, &entry).await?,
            };
            match status {
                ObservedTaskStatus::Over(exit) => {
                    self.runs.remember(run, Some(exit.clone()));
                    self.task_index.remove(run);
                    self.runs.mark_removed(run);
                    self.runs.publish(Observation::Gone { run, exit });
                    return Ok(());
                }
                ObservedTaskStatus::Open(_) if !stopped => {
                    self.end(run, &entry).await?;
                    stopped = true;
                }
                ObservedTaskStatus::Open(_) | ObservedTaskStatus::Ending(_) => {}
            }
        }
        Ok(())
    }

    async fn look_up(&self, run: RunName, entry: &TaskEntry) -> Result<ObservedTaskStatus, LaunchError> {
        let tasks =
            self.describe(entry.cluster(), vec![entry.arn.clone()]).await.map_err(|failed| failed.error())?;
        Ok(match tasks.first() {
            Some(task) => status::task(task),
            None if self.task_index.with(run, TaskEntry::is_missing) == Some(true) => {
                ObservedTaskStatus::Over(forgotten())
            }
            None => ObservedTaskStatus::Ending("unknown".to_owned()),
        })
    }

    /// Stops a task. One that AWS no longer finds has stopped.
    pub(super) async fn end(&self, run: RunName, entry: &TaskEntry) -> Result<(), LaunchError> {
        let call =
            self.ecs.stop_task().cluster(entry.cluster()).task(&entry.arn).reason("stopped by bakery-server");
        let Err(error) = call.send().await else { return Ok(()) };
        let failed = AwsCallError::of(format!("stopping the task {run}"), &error);
        if failed.is_denied() {
            if self.task_index.with(run, TaskEntry::deny_stop) == Some(true) {
                let hint = "without ecs:StopTask the task runs until its own deadline";
                self.progress(run, Message::new(failed.to_string()).with_hint(hint));
            }
        } else if failed.text.contains("was not found") {
            return Ok(());
        }
        Err(failed.error())
    }

    /// Finds tasks of this installation that run and are not in the index, and adds them.
    pub(super) async fn find_all(&self) -> Result<(), AwsCallError> {
        let known: HashSet<String> = self.task_index.all().into_iter().map(|(_, entry)| entry.arn).collect();
        let cluster = &self.task_template.cluster;
        let call = self.ecs.list_tasks().cluster(cluster).desired_status(DesiredStatus::Running);
        let mut pages = call.into_paginator().send();
        let mut arns = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsCallError::of("listing tasks", &error))?;
            arns.extend(page.task_arns.unwrap_or_default());
        }
        arns.retain(|arn| !known.contains(arn));
        for batch in arns.chunks(BATCH_SIZE) {
            for task in self.describe(cluster, batch.to_vec()).await? {
                if let (Some(run), Some(arn)) =
                    (self.task_template.run_of(task.started_by()), task.task_arn())
                {
                    self.task_index.add(run, arn);
                }
            }
        }
        Ok(())
    }

    /// Tasks in batches that one call can ask about, those of our cluster first: AWS refuses tasks of two clusters in one
    /// call.
    pub(super) fn batches<'e>(&self, entries: &'e [(RunName, TaskEntry)]) -> Vec<TaskBatch<'e>> {
        let mut locations = BTreeMap::<_, Vec<_>>::new();
        for entry in entries {
            locations.entry((!self.is_ours(&entry.1), entry.1.location())).or_default().push(entry);
        }
        let batches = locations.into_iter().flat_map(|((foreign, location), entries)| {
            let batch =
                |batch: &[&'e (RunName, TaskEntry)]| TaskBatch { location, foreign, entries: batch.to_vec() };
            entries.chunks(BATCH_SIZE).map(batch).collect::<Vec<_>>()
        });
        batches.collect()
    }

    /// Whether a task is where the present settings start tasks.
    fn is_ours(&self, entry: &TaskEntry) -> bool {
        let region = entry.arn.split(':').nth(3);
        entry.cluster() == self.task_template.cluster && region == Some(self.task_template.region.as_str())
    }

    /// Describes at most [`BATCH_SIZE`] tasks; those that AWS does not find are left out.
    pub(super) async fn describe(&self, cluster: &str, arns: Vec<String>) -> Result<Vec<Task>, AwsCallError> {
        let call = self.ecs.describe_tasks().cluster(cluster).set_tasks(Some(arns));
        let answer = call.send().await.map_err(|error| AwsCallError::of("describing tasks", &error))?;
        Ok(answer.tasks.unwrap_or_default())
    }

    /// Deregisters old task definitions. A failure is logged and has no other effect.
    pub(super) async fn tidy(&self) {
        let entries = self.task_index.all();
        let work = async {
            let mut used = HashSet::new();
            for batch in self.batches(&entries).into_iter().filter(|batch| !batch.foreign) {
                let tasks = self.describe(&self.task_template.cluster, batch.arns()).await?;
                // A task that has ended uses none, even where its end was not reported yet.
                let live = tasks
                    .into_iter()
                    .filter(|task| !matches!(status::task(task), ObservedTaskStatus::Over(_)));
                used.extend(live.filter_map(|task| task.task_definition_arn));
            }
            self.definitions.clean_up(&used).await
        };
        match work.await {
            Ok(gone) => tracing::info!(gone, "old task definitions were deregistered"),
            Err(failed) => tracing::warn!(error = %failed, "old task definitions were not deregistered"),
        }
    }
}

/// The exit of a task that AWS no longer finds, which is so an hour after its end.
pub(super) fn forgotten() -> Exit {
    Exit { code: None, reason: None, message: "ECS no longer finds the task".into() }
}
