//! Starting tasks: each once, however often it is asked for, and across restarts of the server.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_ecs::operation::run_task::RunTaskError;
use aws_sdk_ecs::types::Task;
use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use tokio::time::Instant;

use super::super::{LaunchError, LaunchOrder, Observation};
use super::client::AwsCallError;
use super::size::Size;
use super::task_index::LAG;
use super::{EcsCore, status};

/// Launches at once. AWS starts 20 Fargate tasks a second and throttles whoever asks for more.
pub(super) const TURNS: usize = 20;
/// The pause between two launches of a run that AWS throttles or does not answer; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A start that AWS may have made, and whose task is not known.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnconfirmedStart {
    pub(super) since: Instant,
    /// How long the task may run at the most.
    pub(super) deadline: Duration,
}

impl EcsCore {
    /// A whole launch. It must be run to its end, since the ARN of a task that was started must not be lost.
    pub(super) async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        let run = order.run;
        let Some(_launching) = self.runs.begin_launch(run) else { return Ok(()) };
        if self.task_index.get(run).is_none() {
            let size = Size::of(order.cpu_millis, order.memory_mib, order.disk_mib).map_err(|message| {
                LaunchError { retryable: false, reason: Reason::LaunchRefused, message }
            })?;
            self.start(order, size).await?;
        }
        // A stop may have been asked for meanwhile, and waits.
        if let Err(stopped) = self.runs.ensure_open(run) {
            if let Some(entry) = self.task_index.get(run) {
                self.end(run, &entry).await?;
            }
            return Err(stopped);
        }
        Ok(())
    }

    /// Starts the task of an order, or finds the one that was started before. Retries while AWS throttles or does not answer,
    /// as long as the run is wanted: the same order again is answered with the same task, another would not be.
    async fn start(&self, order: &LaunchOrder, size: Size) -> Result<(), LaunchError> {
        let (run, mut wait, mut reported) = (order.run, FIRST_WAIT, None);
        loop {
            let turn = tokio::select! {
                turn = self.turns.acquire() => Some(turn),
                () = self.runs.wait_over(run) => None,
            };
            self.runs.ensure_open(run)?;
            let failed = match self.run_task(order, size).await {
                Ok(answered) => return answered,
                Err(failed) if failed.is_retried() => failed,
                Err(failed) => return Err(failed.error()),
            };
            drop(turn);
            if reported.as_ref() != Some(&failed.code) {
                let LaunchError { reason, message, .. } = failed.error();
                self.runs.publish(Observation::Progress { run, reason: Some(reason), message });
                reported = Some(failed.code);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.runs.wait_over(run) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Calls `RunTask` for an order. `Ok` where AWS answered, whether it started the task or not.
    async fn run_task(
        &self,
        order: &LaunchOrder,
        size: Size,
    ) -> Result<Result<(), LaunchError>, AwsCallError> {
        let doing = format!("starting the task {} on the cluster {}", order.run, self.task_template.cluster);
        let mut again = true;
        loop {
            let family = self.definitions.family(order.arch, size).await?;
            let tagged = !self.untagged.load(Ordering::Relaxed);
            // Before anything is sent: should this call be given up, the task may run nevertheless.
            let before = self.begin_start(order);
            let error = match self.task_template.input(order, &family, tagged).send_with(&self.starter).await
            {
                Ok(answer) => {
                    if let Some(arn) = answer.tasks().first().and_then(Task::task_arn) {
                        self.started(order.run, arn);
                        return Ok(Ok(()));
                    }
                    self.settle(order.run, before);
                    return Ok(Err(status::not_started(&doing, answer.failures())));
                }
                Err(error) => error,
            };
            if let Some(RunTaskError::ConflictException(conflict)) = error.as_service_error() {
                if let Some(arn) = conflict.resource_ids().first() {
                    self.started(order.run, arn);
                }
                let text = "the task was started before, with other settings of the server";
                self.progress(order.run, text);
                return Ok(Ok(()));
            }
            let failed = AwsCallError::of(&doing, &error);
            if !failed.is_doubtful() {
                self.settle(order.run, before);
            }
            if tagged && failed.denied_action() == Some("ecs:TagResource") {
                self.untagged.store(true, Ordering::Relaxed);
                self.progress(order.run, "ecs:TagResource is denied: tasks carry no tags");
            } else if failed.lacks_definition() && std::mem::take(&mut again) {
                self.definitions.forget(order.arch, size).await;
            } else {
                return Err(failed);
            }
        }
    }

    fn started(&self, run: RunName, arn: &str) {
        self.task_index.add(run, arn);
        self.settle(run, None);
    }

    /// Notes that the run's task may run from now on. Returns the note that it replaces.
    fn begin_start(&self, order: &LaunchOrder) -> Option<UnconfirmedStart> {
        self.unconfirmed()
            .insert(order.run, UnconfirmedStart { since: Instant::now(), deadline: order.deadline })
    }

    /// Notes that the last call started nothing, or a task that is known now; an earlier call may have started one.
    fn settle(&self, run: RunName, before: Option<UnconfirmedStart>) {
        match before {
            Some(earlier) => self.unconfirmed().insert(run, earlier),
            None => self.unconfirmed().remove(&run),
        };
    }

    /// Whether a run's task may run although it is not known. `listed` means that AWS listed the tasks, and this one is not
    /// among them.
    pub(super) fn may_live(&self, run: RunName, listed: bool) -> bool {
        let mut unconfirmed = self.unconfirmed();
        let Some(start) = unconfirmed.get(&run) else { return false };
        let over = start.since.elapsed() > if listed { LAG } else { start.deadline };
        if over {
            unconfirmed.remove(&run);
        }
        !over
    }

    fn unconfirmed(&self) -> MutexGuard<'_, HashMap<RunName, UnconfirmedStart>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
