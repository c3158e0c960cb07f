//! The index of tasks: each run's ARN, kept in a file of the data folder, since with the baseline's rights a task is found by
//! its ARN alone. One line for each change, `+ RUN ARN` or `- RUN`; the file is compacted at each start.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bakery_core::names::RunName;
use tokio::time::Instant;

/// How long AWS may not find a task that it has just started; its answers may also be behind one another.
pub(super) const LAG: Duration = Duration::from_mins(1);

/// The known tasks whose end was not reported yet.
#[derive(Debug)]
pub(super) struct TaskIndex {
    table: Mutex<TaskTable>,
}

#[derive(Debug)]
struct TaskTable {
    file: File,
    tasks: BTreeMap<RunName, TaskEntry>,
    /// Runs whose agents connected before their tasks were known.
    early: HashSet<RunName>,
}

/// One task.
#[derive(Debug, Clone)]
pub(super) struct TaskEntry {
    pub(super) arn: String,
    /// Why AWS is asked for its status.
    pub(super) interest: Interest,
    /// The status that AWS gave last.
    pub(super) status: Option<String>,
    /// When AWS described it last, and whether it was on its way to its end.
    seen: Option<(Instant, bool)>,
    /// Since when AWS does not find it.
    missing: Option<Instant>,
}

/// What is awaited of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Its start: its agent has not connected yet.
    Start,
    /// Nothing: its agent is connected.
    None,
    /// Whether it still runs: its agent has lost its connection.
    Liveness,
    /// Its end.
    End {
        /// AWS has denied to stop it, and that was reported.
        denied: bool,
    },
}

impl TaskEntry {
    fn new(arn: String) -> Self {
        Self { arn, interest: Interest::Start, status: None, seen: None, missing: None }
    }

    /// Region, account and cluster, which need not be those of the present settings: its ARN without its own id.
    pub(super) fn location(&self) -> &str {
        self.arn.rsplit_once('/').map_or("", |(location, _)| location)
    }

    /// The cluster that it is in.
    pub(super) fn cluster(&self) -> &str {
        self.location().rsplit('/').next().unwrap_or_default()
    }

    /// Notes that its agent has connected.
    pub(super) fn agent_connected(&mut self) {
        if matches!(self.interest, Interest::Start | Interest::Liveness) {
            self.interest = Interest::None;
        }
    }

    /// Notes that its agent has lost its connection.
    pub(super) fn agent_lost(&mut self) {
        if self.interest == Interest::None {
            self.interest = Interest::Liveness;
        }
    }

    /// Notes that it is to end.
    pub(super) fn mark_ending(&mut self) {
        if !matches!(self.interest, Interest::End { .. }) {
            self.interest = Interest::End { denied: false };
        }
    }

    /// Notes that AWS denies to stop it; true the first time.
    pub(super) fn deny_stop(&mut self) -> bool {
        let first = self.interest != Interest::End { denied: true };
        self.interest = Interest::End { denied: true };
        first
    }

    /// Notes the status that AWS gave; true where that is another than before.
    pub(super) fn found(&mut self, status: &str, ending: bool) -> bool {
        self.missing = None;
        self.seen = Some((Instant::now(), ending));
        if self.interest == Interest::Liveness && status == "running" {
            self.interest = Interest::None;
        }
        let new = self.status.as_deref() != Some(status);
        self.status = Some(status.to_owned());
        new
    }

    /// Whether it was on its way to its end when AWS described it last; `None` where that is longer ago than `within`.
    pub(super) fn was_ending(&self, within: Duration) -> Option<bool> {
        self.seen.filter(|(at, _)| at.elapsed() <= within).map(|(_, ending)| ending)
    }

    /// Notes that AWS does not find it; true once that has lasted longer than [`LAG`].
    pub(super) fn is_missing(&mut self) -> bool {
        self.missing.get_or_insert_with(Instant::now).elapsed() > LAG
    }
}

impl TaskIndex {
    /// Reads the index, or creates it. A line that was cut by a crash is ignored.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let mut tasks = BTreeMap::new();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["+", run, arn] => drop(
                    run.parse()
                        .ok()
                        .and_then(|run: RunName| tasks.insert(run, TaskEntry::new((*arn).to_owned()))),
                ),
                ["-", run] => drop(run.parse().ok().and_then(|run: RunName| tasks.remove(&run))),
                _ => {}
            }
        }
        // The file is replaced: whole or not at all.
        let new: PathBuf = path.with_extension("new");
        let mut file = File::create(&new)?;
        for (run, entry) in &tasks {
            writeln!(file, "+ {run} {}", entry.arn)?;
        }
        file.sync_data()?;
        std::fs::rename(&new, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { table: Mutex::new(TaskTable { file, tasks, early: HashSet::new() }) })
    }

    /// Adds a task, and writes it to the disk before it returns: a server that lost it would start another. Where that fails,
    /// the task is known until this process ends.
    pub(super) fn add(&self, run: RunName, arn: &str) {
        let mut table = self.lock();
        if table.tasks.get(&run).is_some_and(|known| known.arn == arn) {
            return;
        }
        let mut entry = TaskEntry::new(arn.to_owned());
        if table.early.remove(&run) {
            entry.agent_connected();
        }
        table.tasks.insert(run, entry);
        table.write(&format!("+ {run} {arn}\n"), true);
    }

    /// Removes a task that has left nothing behind.
    pub(super) fn remove(&self, run: RunName) {
        let mut table = self.lock();
        table.early.remove(&run);
        if table.tasks.remove(&run).is_some() {
            table.write(&format!("- {run}\n"), false);
        }
    }

    /// Notes that the run's agent has connected.
    pub(super) fn agent_connected(&self, run: RunName) {
        let mut table = self.lock();
        match table.tasks.get_mut(&run) {
            Some(entry) => entry.agent_connected(),
            None => drop(table.early.insert(run)),
        }
    }

    pub(super) fn get(&self, run: RunName) -> Option<TaskEntry> {
        self.lock().tasks.get(&run).cloned()
    }

    pub(super) fn all(&self) -> Vec<(RunName, TaskEntry)> {
        self.lock().tasks.iter().map(|(run, entry)| (*run, entry.clone())).collect()
    }

    /// Changes the entry of a task, where it is known.
    pub(super) fn with<T>(&self, run: RunName, change: impl FnOnce(&mut TaskEntry) -> T) -> Option<T> {
        self.lock().tasks.get_mut(&run).map(change)
    }

    fn lock(&self) -> MutexGuard<'_, TaskTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskTable {
    fn write(&mut self, line: &str, sync: bool) {
        let written = self.file.write_all(line.as_bytes());
        let written = written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            tracing::error!(%error, "the index of ECS tasks cannot be written: a restart will not find them");
        }
    }
}

#[cfg(test)]
mod tests {
    use bakery_core::names::{BuildId, TaskId};

    use super::*;

    fn run(index: u16) -> RunName {
        RunName { task: TaskId { build: BuildId::new(1, 1), index }, attempt: 1 }
    }

    #[tokio::test]
    async fn an_index_survives_its_writer_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ecs-tasks");
        let tasks = TaskIndex::open(&path).unwrap();
        for index in 0..3 {
            tasks.add(run(index), &format!("arn:aws:ecs:r:1:task/c/{index}"));
            tasks.add(run(index), &format!("arn:aws:ecs:r:1:task/c/{index}"));
        }
        tasks.remove(run(1));
        drop(tasks);
        let mut text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        text += "- ";
        text += &run(0).to_string();
        std::fs::write(&path, text).unwrap();
        let tasks = TaskIndex::open(&path).unwrap();
        let runs: Vec<_> = tasks.all().into_iter().map(|(run, _)| run).collect();
        assert_eq!(runs, [run(0), run(2)]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(tasks.get(run(2)).unwrap().arn, "arn:aws:ecs:r:1:task/c/2");
    }

    #[test]
    fn a_task_is_asked_about_while_it_is_waited_for() {
        let mut entry = TaskEntry::new("arn:aws:ecs:r:1:task/builds/1".to_owned());
        assert_eq!((entry.interest, entry.cluster()), (Interest::Start, "builds"));
        assert!(
            entry.found("pending", false) && !entry.found("pending", false) && entry.found("running", false)
        );
        entry.agent_lost();
        assert_eq!(entry.interest, Interest::Start, "its start is awaited already");
        entry.agent_connected();
        entry.agent_lost();
        entry.found("deprovisioning", true);
        assert_eq!(entry.interest, Interest::Liveness, "an ending task does not count as running");
        entry.found("running", false);
        assert_eq!(entry.interest, Interest::None);
        entry.mark_ending();
        entry.agent_connected();
        assert!(entry.deny_stop() && !entry.deny_stop());
        entry.mark_ending();
        assert_eq!(entry.interest, Interest::End { denied: true });
        assert!(!entry.is_missing(), "one answer is not believed");
    }

    #[test]
    fn an_agent_that_connects_before_its_task_is_known_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = TaskIndex::open(&folder.path().join("ecs-tasks")).unwrap();
        tasks.agent_connected(run(1));
        tasks.add(run(1), "arn:aws:ecs:r:1:task/builds/1");
        tasks.add(run(2), "arn:aws:ecs:r:1:task/builds/2");
        let interest = |index| tasks.get(run(index)).unwrap().interest;
        assert_eq!((interest(1), interest(2)), (Interest::None, Interest::Start));
    }
}
