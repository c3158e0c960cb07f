//! One loop that asks AWS for the status of tasks, a hundred a call: often for those that are being started or whose end is
//! waited for, now and then for those whose agents are connected. ECS pushes no status by itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ecs::types::Task;
use bakery_core::names::RunName;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use super::super::observation_stream::{ObservationQueue, ObservationSource, observations};
use super::super::{Availability, Exit, Observation};
use super::client::AwsCallError;
use super::status::{self, ObservedTaskStatus};
use super::task_index::{Interest, TaskEntry};
use super::tasks::{BATCH_SIZE, forgotten};
use super::{EcsCore, NO_TASK};

/// The pause between two rounds over the tasks that are waited for.
const TICK: Duration = Duration::from_secs(2);
/// The shortest pause between two rounds, however urgent the next one is.
const SHORTEST: Duration = Duration::from_millis(500);
/// The pause between two calls about tasks with connected agents: fewer than 0.1 a second, however many there are.
const PATROL: Duration = Duration::from_secs(12);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

struct EcsWatch {
    core: Arc<EcsCore>,
    queue: ObservationQueue,
    synced: bool,
    last: Instant,
    next: Instant,
    patrol: Instant,
    /// The run after which the patrol continues.
    after: Option<RunName>,
    /// The pause before AWS is asked again where it did not answer; `None` while it does.
    wait: Option<Duration>,
    /// Clusters of earlier settings whose tasks cannot be asked about, and for which that was logged.
    inaccessible: HashSet<String>,
}

pub(super) fn watch(core: Arc<EcsCore>) -> BoxStream<'static, Observation> {
    let (queue, now) = (ObservationQueue::new(&core.runs), Instant::now());
    let watch = EcsWatch {
        core,
        queue,
        synced: false,
        last: now,
        next: now,
        patrol: now,
        after: None,
        wait: None,
        inaccessible: HashSet::new(),
    };
    observations(watch)
}

impl ObservationSource for EcsWatch {
    fn queue(&mut self) -> &mut ObservationQueue {
        &mut self.queue
    }

    async fn advance(&mut self) {
        if !self.synced {
            self.synced = true;
            let synced = self.resync();
            self.queue.ready.push_back(synced);
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(self.next) => {
                self.round().await;
                self.core.asked.notify_waiters();
            }
            // Not while AWS throttles.
            () = self.core.hurry.notified(), if self.wait.is_none() => {
                self.next = self.next.min(self.last + SHORTEST);
            }
            () = self.queue.receive() => {}
        }
    }

    /// Removes the run from the index. AWS removes the task by itself.
    async fn remove(&mut self, run: RunName) {
        self.core.task_index.remove(run);
        self.core.runs.mark_removed(run);
    }
}

impl EcsWatch {
    fn resync(&self) -> Observation {
        let mut live: HashSet<RunName> = self.core.task_index.all().into_iter().map(|(run, _)| run).collect();
        live.extend(self.core.runs.launching());
        Observation::Synced { live: live.into_iter().collect() }
    }

    /// Asks about all tasks that are due.
    async fn round(&mut self) {
        self.last = Instant::now();
        self.next = self.last + TICK;
        let mut due = self.entries(|interest| interest != Interest::None);
        if self.last >= self.patrol {
            self.patrol = self.last + PATROL;
            due.extend(self.patrolled());
        }
        match self.ask(&due).await {
            Ok(false) => {}
            Ok(true) => {
                self.wait = None;
                self.core.availability.set(Availability::Available);
            }
            Err(failed) => {
                tracing::warn!(error = %failed, "AWS cannot be asked about tasks; retrying");
                self.core.availability.set(Availability::Unavailable(failed.error().message));
                let wait = self.wait.unwrap_or(TICK);
                self.next = Instant::now() + wait;
                self.wait = Some((wait * 2).min(LONGEST_WAIT));
            }
        }
    }

    /// Asks AWS about tasks. Returns whether a call concerned our own cluster.
    async fn ask(&mut self, due: &[(RunName, TaskEntry)]) -> Result<bool, AwsCallError> {
        let core = Arc::clone(&self.core);
        let own = core.task_template.cluster.as_str();
        let mut asked = false;
        for batch in core.batches(due) {
            let cluster = batch.entries[0].1.cluster();
            match core.describe(cluster, batch.arns()).await {
                Ok(tasks) => self.apply(&batch.entries, &tasks),
                Err(failed) if !batch.foreign => return Err(failed),
                // The cluster is gone with all its tasks.
                Err(failed) if failed.code == "ClusterNotFoundException" => self.apply(&batch.entries, &[]),
                Err(failed) => {
                    if self.inaccessible.insert(batch.location.to_owned()) {
                        let location = batch.location;
                        tracing::warn!(error = %failed, location, "tasks of another cluster cannot be asked about");
                    }
                }
            }
            asked |= !batch.foreign;
        }
        if !asked && self.wait.is_some() {
            // No task is left to ask about, but whether AWS answers again must be found out.
            core.describe(own, vec![NO_TASK.to_owned()]).await?;
            asked = true;
        }
        Ok(asked)
    }

    fn entries(&self, which: impl Fn(Interest) -> bool) -> Vec<(RunName, TaskEntry)> {
        self.core.task_index.all().into_iter().filter(|(_, entry)| which(entry.interest)).collect()
    }

    /// The next batch of the tasks with connected agents, in turn.
    fn patrolled(&mut self) -> Vec<(RunName, TaskEntry)> {
        let connected = self.entries(|interest| interest == Interest::None);
        let from = connected.partition_point(|(run, _)| self.after.is_some_and(|after| *run <= after));
        let from = if from == connected.len() { 0 } else { from };
        let batch: Vec<_> = connected.into_iter().skip(from).take(BATCH_SIZE).collect();
        self.after = batch.last().map(|(run, _)| *run);
        batch
    }

    fn apply(&mut self, batch: &[&(RunName, TaskEntry)], tasks: &[Task]) {
        let found: HashMap<&str, &Task> =
            tasks.iter().filter_map(|task| Some((task.task_arn()?, task))).collect();
        for (run, entry) in batch {
            match found.get(entry.arn.as_str()).map(|task| status::task(task)) {
                Some(ObservedTaskStatus::Over(exit)) => self.gone(*run, exit),
                Some(ObservedTaskStatus::Open(status)) => self.status(*run, entry, &status, false),
                Some(ObservedTaskStatus::Ending(status)) => self.status(*run, entry, &status, true),
                None if self.core.task_index.with(*run, TaskEntry::is_missing) == Some(true) => {
                    self.gone(*run, forgotten());
                }
                None => {}
            }
        }
    }

    fn status(&mut self, run: RunName, entry: &TaskEntry, status: &str, ending: bool) {
        let new = self.core.task_index.with(run, |entry| entry.found(status, ending)) == Some(true);
        if new && entry.interest == Interest::Start {
            let message = format!("the task is {status}").into();
            self.queue.ready.push_back(Observation::Progress { run, reason: None, message });
        }
    }

    fn gone(&mut self, run: RunName, exit: Exit) {
        self.core.runs.remember(run, Some(exit.clone()));
        self.queue.ready.push_back(Observation::Gone { run, exit });
    }
}
