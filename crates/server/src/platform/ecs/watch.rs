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
use super::super::{Availability, Exit, Observation};
use super::book::{Entry, Interest};
use super::cloud::Refused;
use super::seen::{self, Standing};
use super::tasks::{BATCH, forgotten};
use super::{Core, NOBODYS};

/// Between two rounds over the tasks that somebody waits for.
const TICK: Duration = Duration::from_secs(2);
/// The least between two rounds, however much somebody hurries.
const SPACE: Duration = Duration::from_millis(500);
/// Between two calls about tasks whose agents speak: fewer than 0.1 a second, however many there are.
const PATROL: Duration = Duration::from_secs(12);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

struct Watch {
    core: Arc<Core>,
    telling: Telling,
    begun: bool,
    last: Instant,
    next: Instant,
    patrol: Instant,
    /// Where the patrol goes on.
    after: Option<RunName>,
    /// Until AWS is asked again after it did not answer; `None` while it does.
    wait: Option<Duration>,
    /// Clusters of other days whose tasks cannot be asked about, and that was said.
    strange: HashSet<String>,
}

pub(super) fn watch(core: Arc<Core>) -> BoxStream<'static, Observation> {
    let (telling, now) = (Telling::of(&core.runs), Instant::now());
    let watch = Watch {
        core,
        telling,
        begun: false,
        last: now,
        next: now,
        patrol: now,
        after: None,
        wait: None,
        strange: HashSet::new(),
    };
    stream_of(watch)
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
            () = tokio::time::sleep_until(self.next) => {
                self.round().await;
                self.core.asked.notify_waiters();
            }
            // AWS that throttles is not hurried.
            () = self.core.hurry.notified(), if self.wait.is_none() => {
                self.next = self.next.min(self.last + SPACE);
            }
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
            Err(refused) => {
                tracing::warn!(%refused, "AWS cannot be asked about tasks; trying again");
                self.core.availability.set(Availability::Unavailable(refused.error().message));
                let wait = self.wait.unwrap_or(TICK);
                self.next = Instant::now() + wait;
                self.wait = Some((wait * 2).min(LONGEST_WAIT));
            }
        }
    }

    /// Asks AWS about tasks; whether it was asked about our own cluster.
    async fn ask(&mut self, due: &[(RunName, Entry)]) -> Result<bool, Refused> {
        let core = Arc::clone(&self.core);
        let own = core.house.cluster.as_str();
        let mut asked = false;
        for batch in core.batches(due) {
            let cluster = batch.entries[0].1.cluster();
            match core.describe(cluster, batch.arns()).await {
                Ok(tasks) => self.take(&batch.entries, &tasks),
                Err(refused) if !batch.strange => return Err(refused),
                // It is gone with all that was in it.
                Err(refused) if refused.code == "ClusterNotFoundException" => self.take(&batch.entries, &[]),
                Err(refused) => {
                    if self.strange.insert(batch.place.to_owned()) {
                        let place = batch.place;
                        tracing::warn!(%refused, place, "tasks of another cluster cannot be asked about");
                    }
                }
            }
            asked |= !batch.strange;
        }
        if !asked && self.wait.is_some() {
            // Nothing is left to ask about, and whether AWS answers again has to be found out.
            core.describe(own, vec![NOBODYS.to_owned()]).await?;
            asked = true;
        }
        Ok(asked)
    }

    fn entries(&self, which: impl Fn(Interest) -> bool) -> Vec<(RunName, Entry)> {
        self.core.book.all().into_iter().filter(|(_, entry)| which(entry.interest)).collect()
    }

    /// The next batch of those whose agents speak, in turn.
    fn patrolled(&mut self) -> Vec<(RunName, Entry)> {
        let speaking = self.entries(|interest| interest == Interest::None);
        let from = speaking.partition_point(|(run, _)| self.after.is_some_and(|after| *run <= after));
        let from = if from == speaking.len() { 0 } else { from };
        let batch: Vec<_> = speaking.into_iter().skip(from).take(BATCH).collect();
        self.after = batch.last().map(|(run, _)| *run);
        batch
    }

    fn take(&mut self, batch: &[&(RunName, Entry)], tasks: &[Task]) {
        let found: HashMap<&str, &Task> =
            tasks.iter().filter_map(|task| Some((task.task_arn()?, task))).collect();
        for (run, entry) in batch {
            match found.get(entry.arn.as_str()).map(|task| seen::task(task)) {
                Some(Standing::Over(exit)) => self.gone(*run, exit),
                Some(Standing::Open(status)) => self.status(*run, entry, &status, false),
                Some(Standing::Ending(status)) => self.status(*run, entry, &status, true),
                None if self.core.book.with(*run, Entry::misses) == Some(true) => {
                    self.gone(*run, forgotten());
                }
                None => {}
            }
        }
    }

    fn status(&mut self, run: RunName, entry: &Entry, status: &str, ending: bool) {
        let new = self.core.book.with(run, |entry| entry.found(status, ending)) == Some(true);
        if new && entry.interest == Interest::Start {
            let message = format!("the task is {status}").into();
            self.telling.ready.push_back(Observation::Progress { run, reason: None, message });
        }
    }

    fn gone(&mut self, run: RunName, exit: Exit) {
        self.core.runs.remember(run, Some(exit.clone()));
        self.telling.ready.push_back(Observation::Gone { run, exit });
    }
}
