//! Starting tasks: each once, however often and by whichever life of the server it is asked for.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_ecs::operation::run_task::RunTaskError;
use aws_sdk_ecs::types::Task;
use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use tokio::time::Instant;

use super::super::{LaunchError, LaunchOrder};
use super::book::LAG;
use super::cloud::Refused;
use super::size::Size;
use super::{Core, seen};

/// Launches at once. AWS starts 20 Fargate tasks a second and throttles whoever asks for more.
pub(super) const TURNS: usize = 20;
/// Between two launches of a run that AWS throttles or does not answer, beyond the SDK's own patience; doubled up to the
/// longest.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A run that AWS may have started, and whose task is not known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    pub(super) since: Instant,
    /// How long a task may live at the most.
    pub(super) deadline: Duration,
}

impl Core {
    /// Everything that a launch is; to be run to its end, since a task that is started is to be known.
    pub(super) async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        let run = order.run;
        let Some(_launching) = self.runs.launch(run) else { return Ok(()) };
        if self.book.get(run).is_none() {
            let size = Size::of(order.cpu_millis, order.memory_mib).map_err(|text| LaunchError {
                retryable: false,
                reason: Reason::LaunchRefused,
                text,
            })?;
            self.start(order, size).await?;
        }
        // A stop may have come meanwhile, and waits.
        if let Err(stopped) = self.runs.check(run) {
            if let Some(entry) = self.book.get(run) {
                self.end(run, &entry).await?;
            }
            return Err(stopped);
        }
        Ok(())
    }

    /// Starts the task of an order, or finds the one that was started before. AWS that throttles or does not answer is
    /// waited for as long as anybody wants the run: the same order again is answered by the same task, another would not be.
    async fn start(&self, order: &LaunchOrder, size: Size) -> Result<(), LaunchError> {
        let mut wait = FIRST_WAIT;
        loop {
            let turn = self.turns.acquire().await;
            self.runs.check(order.run)?;
            let refused = match self.ask(order, size).await {
                Ok(answered) => return answered,
                Err(refused) if refused.may_pass() => refused.error(),
                Err(refused) => return Err(refused.error()),
            };
            drop(turn);
            if wait == FIRST_WAIT {
                self.progress(order.run, refused.text);
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
                    if let Some(RunTaskError::ConflictException(conflict)) = error.as_service_error() {
                        self.started_before(order, conflict.resource_ids());
                        return Ok(Ok(()));
                    }
                    let refused = Refused::of(&doing, &error);
                    if tagged && refused.denied_action() == Some("ecs:TagResource") {
                        self.untagged.store(true, Ordering::Relaxed);
                        self.progress(order.run, "ecs:TagResource is denied: tasks carry no tags".to_owned());
                        continue;
                    } else if refused.lacks_definition() && std::mem::take(&mut again) {
                        self.definitions.forget(order.arch, size).await;
                        continue;
                    } else if refused.is_doubtful() {
                        self.doubt(order);
                    }
                    return Err(refused);
                }
            };
            self.doubts().remove(&order.run);
            return Ok(match answer.tasks().first().and_then(Task::task_arn) {
                Some(arn) => {
                    self.book.add(order.run, arn);
                    Ok(())
                }
                None => Err(seen::refused(&doing, answer.failures())),
            });
        }
    }

    /// The same order was started before with other words, by a server with other settings.
    fn started_before(&self, order: &LaunchOrder, tasks: &[String]) {
        match tasks.first() {
            Some(arn) => self.book.add(order.run, arn),
            None => self.doubt(order),
        }
        self.progress(order.run, "the task was started before, with other settings of the server".to_owned());
    }

    fn doubt(&self, order: &LaunchOrder) {
        let doubt = Doubt { since: Instant::now(), deadline: order.deadline };
        self.doubts().entry(order.run).or_insert(doubt);
    }

    /// Whether a run's task may live although it is not known; `listed`: AWS lists tasks to us, and this one is not among
    /// them.
    pub(super) fn may_live(&self, run: RunName, listed: bool) -> bool {
        let mut doubts = self.doubts();
        let Some(doubt) = doubts.get(&run) else { return false };
        let over = doubt.since.elapsed() > if listed { LAG } else { doubt.deadline };
        if over {
            doubts.remove(&run);
        }
        !over
    }

    fn doubts(&self) -> MutexGuard<'_, HashMap<RunName, Doubt>> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
