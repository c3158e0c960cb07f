//! One loop that asks AWS what became of tasks, a hundred a call: of those that are being started or whose end somebody
//! waits for, often; of those whose agents speak, now and then. ECS tells nothing by itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ecs::types::Task;
use bakery_core::names::RunName;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use super::super::telling::{self, Telling, stream_of};
use super::super::{Exit, Observation};
use super::Core;
use super::book::{Entry, Interest};
use super::seen::{self, Standing};
use super::tasks::BATCH;

/// Between two rounds over the tasks that somebody waits for.
const TICK: Duration = Duration::from_secs(2);
/// Between two calls about tasks whose agents speak: at most 0.1 a second, however many there are.
const PATROL: Duration = Duration::from_secs(10);
/// AWS may not know yet of a task that it has just started.
const LAG: Duration = Duration::from_mins(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

struct Watch {
    core: Arc<Core>,
    telling: Telling,
    begun: bool,
    next: Instant,
    patrol: Instant,
    /// Where the patrol goes on.
    after: Option<RunName>,
    wait: Duration,
}

pub(super) fn watch(core: Arc<Core>) -> BoxStream<'static, Observation> {
    let (telling, now) = (Telling::of(&core.runs), Instant::now());
    stream_of(Watch { core, telling, begun: false, next: now, patrol: now, after: None, wait: TICK })
}

impl telling::Watch for Watch {
    fn telling(&mut self) -> &mut Telling {
        &mut self.telling
    }

    async fn advance(&mut self) {
        if !self.begun {
            self.begun = true;
            let synced = self.synced();
            self.telling.ready.push_back(synced);
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(self.next) => self.round().await,
            () = self.core.hurry.notified() => self.round().await,
            () = self.telling.hear() => {}
        }
    }

    /// AWS removes a task by itself; what goes is the note of it.
    async fn clear(&mut self, run: RunName) {
        self.core.book.remove(run);
        self.core.runs.removed(run);
    }
}

impl Watch {
    fn synced(&self) -> Observation {
        let mut live: HashSet<RunName> = self.core.book.all().into_iter().map(|(run, _)| run).collect();
        live.extend(self.core.runs.launching());
        Observation::Synced { live: live.into_iter().collect() }
    }

    /// Asks about everything that is due.
    async fn round(&mut self) {
        self.next = Instant::now() + TICK;
        let mut due: Vec<(RunName, Entry)> =
            self.core.book.all().into_iter().filter(|(_, entry)| entry.interest != Interest::None).collect();
        if Instant::now() >= self.patrol {
            self.patrol = Instant::now() + PATROL;
            due.extend(self.patrolled());
        }
        for batch in due.chunks(BATCH) {
            match self.core.describe(batch.iter().map(|(_, entry)| entry.arn.clone()).collect()).await {
                Ok(tasks) => {
                    self.wait = TICK;
                    self.core.silence.found(None);
                    self.take(batch, &tasks);
                }
                Err(refused) => {
                    tracing::warn!(%refused, "AWS cannot be asked about tasks; trying again");
                    self.core.silence.found(Some(refused.to_string()));
                    self.next = Instant::now() + self.wait;
                    self.wait = (self.wait * 2).min(LONGEST_WAIT);
                    return;
                }
            }
        }
    }

    /// The next batch of those whose agents speak, in turn.
    fn patrolled(&mut self) -> Vec<(RunName, Entry)> {
        let speaking: Vec<_> =
            self.core.book.all().into_iter().filter(|(_, entry)| entry.interest == Interest::None).collect();
        let from = speaking.partition_point(|(run, _)| self.after.is_some_and(|after| *run <= after));
        let from = if from == speaking.len() { 0 } else { from };
        let batch: Vec<_> = speaking.into_iter().skip(from).take(BATCH).collect();
        self.after = batch.last().map(|(run, _)| *run);
        batch
    }

    fn take(&mut self, batch: &[(RunName, Entry)], tasks: &[Task]) {
        let found: HashMap<&str, &Task> =
            tasks.iter().filter_map(|task| Some((task.task_arn()?, task))).collect();
        for (run, entry) in batch {
            match found.get(entry.arn.as_str()).map(|task| seen::task(task)) {
                Some(Standing::Over(exit)) => self.gone(*run, exit),
                Some(Standing::Open(status)) => self.status(*run, entry, &status),
                // AWS forgets a task an hour after its end, and knows nothing of one that has just been started.
                None if entry.since.elapsed() > LAG || entry.status.is_some() => {
                    let text = "ECS knows nothing of the task any more".to_owned();
                    self.gone(*run, Exit { code: None, reason: None, text });
                }
                None => {}
            }
        }
    }

    fn status(&mut self, run: RunName, entry: &Entry, status: &str) {
        self.core.book.with(run, |entry| entry.lives(false));
        if entry.status.as_deref() != Some(status) {
            self.core.book.with(run, |entry| entry.status = Some(status.to_owned()));
            if entry.interest == Interest::Start {
                let text = format!("the task is {status}");
                self.telling.ready.push_back(Observation::Progress { run, reason: None, text });
            }
        }
    }

    fn gone(&mut self, run: RunName, exit: Exit) {
        self.core.runs.remember(run, Some(exit.clone()));
        self.telling.ready.push_back(Observation::Gone { run, exit });
    }
}
