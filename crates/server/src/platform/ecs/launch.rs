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

use super::super::{LaunchError, LaunchOrder, Observation};
use super::book::LAG;
use super::cloud::Refused;
use super::size::Size;
use super::{Core, seen};

/// Launches at once. AWS starts 20 Fargate tasks a second and throttles whoever asks for more.
pub(super) const TURNS: usize = 20;
/// Between two launches of a run that AWS throttles or does not answer; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

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
            let size = Size::of(order.cpu_millis, order.memory_mib).map_err(|message| LaunchError {
                retryable: false,
                reason: Reason::LaunchRefused,
                message,
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
        let (run, mut wait, mut told) = (order.run, FIRST_WAIT, None);
        loop {
            let turn = tokio::select! {
                turn = self.turns.acquire() => Some(turn),
                () = self.runs.over(run) => None,
            };
            self.runs.check(run)?;
            let refused = match self.ask(order, size).await {
                Ok(answered) => return answered,
                Err(refused) if refused.is_waited_for() => refused,
                Err(refused) => return Err(refused.error()),
            };
            drop(turn);
            if told.as_ref() != Some(&refused.code) {
                let LaunchError { reason, message, .. } = refused.error();
                self.runs.tell(Observation::Progress { run, reason: Some(reason), message });
                told = Some(refused.code);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.runs.over(run) => {}
            }
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
            // Before anything is sent: whatever becomes of us, the run may live from now on.
            let before = self.doubt(order);
            let error = match self.house.input(order, &family, tagged).send_with(&self.starter).await {
                Ok(answer) => {
                    if let Some(arn) = answer.tasks().first().and_then(Task::task_arn) {
                        self.started(order.run, arn);
                        return Ok(Ok(()));
                    }
                    self.settle(order.run, before);
                    return Ok(Err(seen::refused(&doing, answer.failures())));
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
            let refused = Refused::of(&doing, &error);
            if !refused.is_doubtful() {
                self.settle(order.run, before);
            }
            if tagged && refused.denied_action() == Some("ecs:TagResource") {
                self.untagged.store(true, Ordering::Relaxed);
                self.progress(order.run, "ecs:TagResource is denied: tasks carry no tags");
            } else if refused.lacks_definition() && std::mem::take(&mut again) {
                self.definitions.forget(order.arch, size).await;
            } else {
                return Err(refused);
            }
        }
    }

    fn started(&self, run: RunName, arn: &str) {
        self.book.add(run, arn);
        self.settle(run, None);
    }

    /// From now on the run may live; gives what was so before.
    fn doubt(&self, order: &LaunchOrder) -> Option<Doubt> {
        self.doubts().insert(order.run, Doubt { since: Instant::now(), deadline: order.deadline })
    }

    /// The last call has started nothing, or what is known; an earlier one may have.
    fn settle(&self, run: RunName, before: Option<Doubt>) {
        match before {
            Some(doubt) => self.doubts().insert(run, doubt),
            None => self.doubts().remove(&run),
        };
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
