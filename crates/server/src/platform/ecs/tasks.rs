//! Calls about tasks: starting, finding, stopping, listing and describing them.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_ecs::types::{DesiredStatus, Task};
use bakery_core::names::RunName;

use super::super::{LaunchError, LaunchOrder, Observation};
use super::book::Entry;
use super::cloud::Refused;
use super::size::Size;
use super::{Core, seen};

/// Tasks in one `DescribeTasks`: AWS's bound.
pub(super) const BATCH: usize = 100;
/// Launches at once. AWS starts 20 Fargate tasks a second and throttles whoever asks for more.
pub(super) const TURNS: usize = 20;
/// Between two launches of a run that AWS throttles, beyond the SDK's own patience; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Core {
    /// Old task definitions go; what cannot be done is no reason not to start.
    pub(super) async fn tidy(&self) {
        let work = async {
            let mut used = HashSet::new();
            let arns: Vec<String> = self.book.all().into_iter().map(|(_, entry)| entry.arn).collect();
            for batch in arns.chunks(BATCH) {
                let tasks = self.describe(batch.to_vec()).await?;
                used.extend(tasks.into_iter().filter_map(|task| task.task_definition_arn));
            }
            self.definitions.clean_up(&used).await
        };
        match work.await {
            Ok(gone) => tracing::info!(gone, "old task definitions were deregistered"),
            Err(refused) => tracing::warn!(%refused, "old task definitions stay"),
        }
    }

    fn progress(&self, run: RunName, text: String) {
        self.runs.tell(Observation::Progress { run, reason: None, text });
    }

    /// Starts the task of an order, or finds the one that was started before. AWS that throttles is waited for as long as
    /// anybody wants the run.
    pub(super) async fn start(&self, order: &LaunchOrder, size: Size) -> Result<(), LaunchError> {
        let mut wait = FIRST_WAIT;
        loop {
            let turn = self.turns.acquire().await;
            self.runs.check(order.run)?;
            let refused = match self.ask(order, size).await {
                Ok(answered) => return answered,
                Err(refused) if refused.is_throttled() => refused,
                Err(refused) => return Err(refused.error()),
            };
            drop(turn);
            if wait == FIRST_WAIT {
                self.progress(order.run, format!("{refused}; waiting"));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Asks for the task of an order; what AWS answers, or that it refuses to.
    async fn ask(&self, order: &LaunchOrder, size: Size) -> Result<Result<(), LaunchError>, Refused> {
        let doing = format!("starting the task {} on the cluster {}", order.run, self.house.cluster);
        let mut again = true;
        loop {
            let family = self.definitions.family(order.arch, size).await?;
            let tagged = !self.untagged.load(Ordering::Relaxed);
            let answer = match self.house.input(order, &family, tagged).send_with(&self.ecs).await {
                Ok(answer) => answer,
                Err(error) => {
                    let refused = Refused::of(&doing, &error);
                    if refused.code == "ConflictException" {
                        return Ok(self.started_before(order.run).await);
                    } else if tagged && refused.denied_action() == Some("ecs:TagResource") {
                        self.untagged.store(true, Ordering::Relaxed);
                        self.progress(order.run, "ecs:TagResource is denied: tasks carry no tags".to_owned());
                        continue;
                    } else if refused.lacks_definition() && std::mem::take(&mut again) {
                        self.definitions.forget(order.arch, size).await;
                        continue;
                    }
                    return Err(refused);
                }
            };
            let started = answer.tasks().first().and_then(Task::task_arn);
            return Ok(match started {
                Some(arn) => {
                    self.book.add(order.run, arn);
                    self.hurry.notify_one();
                    Ok(())
                }
                None => Err(seen::refused(&doing, answer.failures())),
            });
        }
    }

    /// The same order was started before with other words, by a server with other settings.
    async fn started_before(&self, run: RunName) -> Result<(), LaunchError> {
        let looked = async {
            if !self.find(run).await? {
                self.find_all(DesiredStatus::Stopped).await?;
            }
            Ok::<_, Refused>(())
        };
        match looked.await {
            Ok(()) => {}
            Err(refused) if refused.is_denied() => {}
            Err(refused) => return Err(refused.error()),
        }
        if self.book.get(run).is_none() {
            // It may live, so nothing else may be started; what becomes of it its agent has to tell.
            self.unseen().insert(run);
            let text =
                "the task was started before with other settings, and cannot be looked at (ecs:ListTasks)";
            self.progress(run, text.to_owned());
        }
        Ok(())
    }

    /// Whether a run's task was started, and cannot be found.
    pub(super) fn is_unseen(&self, run: RunName) -> bool {
        self.unseen().contains(&run)
    }

    fn unseen(&self) -> MutexGuard<'_, HashSet<RunName>> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a run's task lives, as far as AWS lets us look.
    pub(super) async fn lives(&self, run: RunName) -> Result<bool, LaunchError> {
        match self.find(run).await {
            Ok(found) => Ok(found),
            Err(refused) if refused.is_denied() => Ok(false),
            Err(refused) => Err(refused.error()),
        }
    }

    /// Looks for the task of a run by whose it is, and takes note of it. One that has ended is not found so.
    async fn find(&self, run: RunName) -> Result<bool, Refused> {
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

    /// Stops a task. One that AWS does not know any more is stopped.
    pub(super) async fn end(&self, run: RunName, arn: &str) -> Result<(), LaunchError> {
        let call =
            self.ecs.stop_task().cluster(&self.house.cluster).task(arn).reason("stopped by bakery-server");
        let Err(error) = call.send().await else { return Ok(()) };
        let refused = Refused::of(format!("stopping the task {run}"), &error);
        if refused.is_denied() {
            if self.book.with(run, Entry::deny) == Some(true) {
                let hint = "without ecs:StopTask the task runs into its own deadline";
                self.progress(run, format!("{refused}\nhint: {hint}"));
            }
        } else if refused.said.contains("was not found") {
            return Ok(());
        }
        Err(refused.error())
    }

    /// Looks for tasks of this installation that are not in the book, and takes note of them.
    pub(super) async fn find_all(&self, status: DesiredStatus) -> Result<(), Refused> {
        let known: HashSet<String> = self.book.all().into_iter().map(|(_, entry)| entry.arn).collect();
        let mut pages =
            self.ecs.list_tasks().cluster(&self.house.cluster).desired_status(status).into_paginator().send();
        let mut arns = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Refused::of("listing tasks", &error))?;
            arns.extend(page.task_arns.unwrap_or_default());
        }
        arns.retain(|arn| !known.contains(arn));
        for batch in arns.chunks(BATCH) {
            for task in self.describe(batch.to_vec()).await? {
                if let (Some(run), Some(arn)) = (self.house.run_of(task.started_by()), task.task_arn()) {
                    self.book.add(run, arn);
                }
            }
        }
        Ok(())
    }

    /// What AWS knows of at most [`BATCH`] tasks; one that it does not know is left out.
    pub(super) async fn describe(&self, arns: Vec<String>) -> Result<Vec<Task>, Refused> {
        let call = self.ecs.describe_tasks().cluster(&self.house.cluster).set_tasks(Some(arns));
        let answer = call.send().await.map_err(|error| Refused::of("asking ECS about tasks", &error))?;
        Ok(answer.tasks.unwrap_or_default())
    }
}
