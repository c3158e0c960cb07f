//! Tasks that were started: finding, describing, stopping and listing them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use aws_sdk_ecs::types::{DesiredStatus, Task};
use bakery_core::message::Message;
use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use tokio::time::Instant;

use super::super::{Exit, LaunchError, Observation};
use super::Core;
use super::book::Entry;
use super::cloud::Refused;
use super::seen::{self, Standing};

/// Tasks in one `DescribeTasks`: AWS's bound.
pub(super) const BATCH: usize = 100;
/// How long a task whose end is due may still be seen to end by itself before it is looked at and stopped.
const BY_ITSELF: Duration = Duration::from_secs(3);
/// Between two looks at what the watch has seen of it.
const LOOK: Duration = Duration::from_secs(5);
/// How long nothing may be seen of a task that is to end before it is looked at here.
const UNWATCHED: Duration = Duration::from_secs(10);
/// How long an end may take before whoever has asked for it asks again.
const PATIENCE: Duration = Duration::from_secs(100);

/// Entries of one cluster, at most [`BATCH`].
pub(super) struct Batch<'e> {
    /// Region, account and cluster.
    pub(super) place: &'e str,
    /// It is not where today's settings start tasks.
    pub(super) strange: bool,
    pub(super) entries: Vec<&'e (RunName, Entry)>,
}

impl Batch<'_> {
    pub(super) fn arns(&self) -> Vec<String> {
        self.entries.iter().map(|(_, entry)| entry.arn.clone()).collect()
    }
}

impl Core {
    pub(super) fn progress(&self, run: RunName, message: impl Into<Message>) {
        self.runs.tell(Observation::Progress { run, reason: None, message: message.into() });
    }

    /// Whether a run's task is known, or can be found. One that may live and cannot be found is an error.
    pub(super) async fn locate(&self, run: RunName) -> Result<bool, LaunchError> {
        if self.book.get(run).is_some() {
            return Ok(true);
        }
        let listed = match self.find(run).await {
            Ok(true) => return Ok(true),
            Ok(false) => true,
            Err(refused) if refused.is_denied() => false,
            Err(refused) => return Err(refused.error()),
        };
        if self.may_live(run, listed) {
            let message = format!("AWS may have started the task {run} and cannot tell which it is").into();
            return Err(LaunchError { retryable: true, reason: Reason::PlatformUnreachable, message });
        }
        Ok(false)
    }

    /// Looks for the task of a run by whose it is, and takes note of it. One that has ended is not found so.
    pub(super) async fn find(&self, run: RunName) -> Result<bool, Refused> {
        // AWS takes no other filter beside this one, and lists what is to run.
        let call = self.ecs.list_tasks().cluster(&self.house.cluster).started_by(self.house.started_by(run));
        let answer =
            call.send().await.map_err(|error| Refused::of(format!("looking for the task {run}"), &error))?;
        let found = answer.task_arns().first();
        if let Some(arn) = found {
            self.book.add(run, arn);
        }
        Ok(found.is_some())
    }

    /// Sees to it that a known task ends, and waits for that. What the watch has seen of it counts; where nobody watches
    /// AWS is asked here.
    pub(super) async fn conclude(&self, run: RunName) -> Result<(), LaunchError> {
        self.book.with(run, Entry::leave);
        self.hurry.notify_one();
        let (begun, mut pause, mut stopped) = (Instant::now(), BY_ITSELF, false);
        while tokio::time::timeout(pause, self.runs.removal(run)).await.is_err() {
            pause = LOOK;
            let Some(entry) = self.book.get(run) else { return Ok(()) };
            if begun.elapsed() > PATIENCE {
                let message = format!("the task {run} has not ended yet").into();
                return Err(LaunchError { retryable: true, reason: Reason::PlatformUnreachable, message });
            }
            let unavailable = !self.availability.subscribe().borrow().is_available();
            let standing = match entry.was_ending(LOOK) {
                Some(true) => Standing::Ending(String::new()),
                Some(false) => Standing::Open(String::new()),
                None if unavailable || begun.elapsed() < UNWATCHED => continue,
                None => self.look(run, &entry).await?,
            };
            match standing {
                Standing::Over(exit) => {
                    self.runs.remember(run, Some(exit.clone()));
                    self.book.remove(run);
                    self.runs.removed(run);
                    self.runs.tell(Observation::Gone { run, exit });
                    return Ok(());
                }
                Standing::Open(_) if !stopped => {
                    self.end(run, &entry).await?;
                    stopped = true;
                }
                Standing::Open(_) | Standing::Ending(_) => {}
            }
        }
        Ok(())
    }

    async fn look(&self, run: RunName, entry: &Entry) -> Result<Standing, LaunchError> {
        let tasks = self
            .describe(entry.cluster(), vec![entry.arn.clone()])
            .await
            .map_err(|refused| refused.error())?;
        Ok(match tasks.first() {
            Some(task) => seen::task(task),
            None if self.book.with(run, Entry::misses) == Some(true) => Standing::Over(forgotten()),
            None => Standing::Ending("unknown".to_owned()),
        })
    }

    /// Stops a task. One that AWS does not know any more is stopped.
    pub(super) async fn end(&self, run: RunName, entry: &Entry) -> Result<(), LaunchError> {
        let call =
            self.ecs.stop_task().cluster(entry.cluster()).task(&entry.arn).reason("stopped by bakery-server");
        let Err(error) = call.send().await else { return Ok(()) };
        let refused = Refused::of(format!("stopping the task {run}"), &error);
        if refused.is_denied() {
            if self.book.with(run, Entry::deny) == Some(true) {
                let hint = "without ecs:StopTask the task runs into its own deadline";
                self.progress(run, Message::new(refused.to_string()).with_hint(hint));
            }
        } else if refused.said.contains("was not found") {
            return Ok(());
        }
        Err(refused.error())
    }

    /// Looks for tasks of this installation that run and are not in the book, and takes note of them.
    pub(super) async fn find_all(&self) -> Result<(), Refused> {
        let known: HashSet<String> = self.book.all().into_iter().map(|(_, entry)| entry.arn).collect();
        let cluster = &self.house.cluster;
        let call = self.ecs.list_tasks().cluster(cluster).desired_status(DesiredStatus::Running);
        let mut pages = call.into_paginator().send();
        let mut arns = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Refused::of("listing tasks", &error))?;
            arns.extend(page.task_arns.unwrap_or_default());
        }
        arns.retain(|arn| !known.contains(arn));
        for batch in arns.chunks(BATCH) {
            for task in self.describe(cluster, batch.to_vec()).await? {
                if let (Some(run), Some(arn)) = (self.house.run_of(task.started_by()), task.task_arn()) {
                    self.book.add(run, arn);
                }
            }
        }
        Ok(())
    }

    /// Entries that one call can ask about, ours first: AWS refuses tasks of two clusters in one call.
    pub(super) fn batches<'e>(&self, entries: &'e [(RunName, Entry)]) -> Vec<Batch<'e>> {
        let mut places = BTreeMap::<_, Vec<_>>::new();
        for entry in entries {
            places.entry((!self.is_ours(&entry.1), entry.1.place())).or_default().push(entry);
        }
        let batches = places.into_iter().flat_map(|((strange, place), entries)| {
            let batch = |batch: &[&'e (RunName, Entry)]| Batch { place, strange, entries: batch.to_vec() };
            entries.chunks(BATCH).map(batch).collect::<Vec<_>>()
        });
        batches.collect()
    }

    /// Whether a task is where today's settings start tasks.
    fn is_ours(&self, entry: &Entry) -> bool {
        let region = entry.arn.split(':').nth(3);
        entry.cluster() == self.house.cluster && region == Some(self.house.region.as_str())
    }

    /// What AWS knows of at most [`BATCH`] tasks; one that it does not know is left out.
    pub(super) async fn describe(&self, cluster: &str, arns: Vec<String>) -> Result<Vec<Task>, Refused> {
        let call = self.ecs.describe_tasks().cluster(cluster).set_tasks(Some(arns));
        let answer = call.send().await.map_err(|error| Refused::of("asking ECS about tasks", &error))?;
        Ok(answer.tasks.unwrap_or_default())
    }

    /// Old task definitions go; what cannot be done keeps nobody from anything.
    pub(super) async fn tidy(&self) {
        let entries = self.book.all();
        let work = async {
            let mut used = HashSet::new();
            for batch in self.batches(&entries).into_iter().filter(|batch| !batch.strange) {
                let tasks = self.describe(&self.house.cluster, batch.arns()).await?;
                // One that has ended uses nothing, also where nobody has seen its end yet.
                let live = tasks.into_iter().filter(|task| !matches!(seen::task(task), Standing::Over(_)));
                used.extend(live.filter_map(|task| task.task_definition_arn));
            }
            self.definitions.clean_up(&used).await
        };
        match work.await {
            Ok(gone) => tracing::info!(gone, "old task definitions were deregistered"),
            Err(refused) => tracing::warn!(%refused, "old task definitions stay"),
        }
    }
}

/// How a task ended that AWS knows nothing of any more, which is so an hour after its end.
pub(super) fn forgotten() -> Exit {
    Exit { code: None, reason: None, message: "ECS knows nothing of the task any more".into() }
}
