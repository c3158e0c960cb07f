//! Which task is a run's: kept in a file of the data folder, since nothing but its ARN leads to a task without rights beyond
//! the baseline. A line a change, `+ RUN ARN` or `- RUN`, made shorter at each start.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bakery_core::names::RunName;
use tokio::time::Instant;

/// AWS may not know yet of a task that it has just started, and its answers may be behind one another.
pub(super) const LAG: Duration = Duration::from_mins(1);

/// The tasks that are known and whose end has not been told.
#[derive(Debug)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    file: File,
    tasks: BTreeMap<RunName, Entry>,
    /// Runs whose agents have spoken before their tasks were known.
    early: HashSet<RunName>,
}

/// One task.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) arn: String,
    /// Why anybody would ask what becomes of it.
    pub(super) interest: Interest,
    /// What AWS said of it last.
    pub(super) status: Option<String>,
    /// When AWS has shown it last, and whether it was on its way to its end.
    seen: Option<(Instant, bool)>,
    /// Since when AWS says that it knows nothing of it.
    missing: Option<Instant>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Its start: its agent has not spoken yet.
    Start,
    /// Nothing: its agent speaks.
    None,
    /// A sign of life: its agent has fallen silent.
    Life,
    /// Its end.
    End {
        /// AWS has denied to stop it, and that was said.
        denied: bool,
    },
}

impl Entry {
    fn new(arn: String) -> Self {
        Self { arn, interest: Interest::Start, status: None, seen: None, missing: None }
    }

    /// Region, account and cluster, which need not be those of today's settings: its ARN without its own id.
    pub(super) fn place(&self) -> &str {
        self.arn.rsplit_once('/').map_or("", |(place, _)| place)
    }

    /// The cluster that it is in.
    pub(super) fn cluster(&self) -> &str {
        self.place().rsplit('/').next().unwrap_or_default()
    }

    /// Its agent has spoken.
    pub(super) fn speaks(&mut self) {
        if matches!(self.interest, Interest::Start | Interest::Life) {
            self.interest = Interest::None;
        }
    }

    /// Its agent has fallen silent.
    pub(super) fn doubt(&mut self) {
        if self.interest == Interest::None {
            self.interest = Interest::Life;
        }
    }

    /// It is to end.
    pub(super) fn leave(&mut self) {
        if !matches!(self.interest, Interest::End { .. }) {
            self.interest = Interest::End { denied: false };
        }
    }

    /// AWS denies to stop it; true the first time.
    pub(super) fn deny(&mut self) -> bool {
        let first = self.interest != Interest::End { denied: true };
        self.interest = Interest::End { denied: true };
        first
    }

    /// AWS has shown it with this status; true where that is another than before.
    pub(super) fn found(&mut self, status: &str, ending: bool) -> bool {
        self.missing = None;
        self.seen = Some((Instant::now(), ending));
        if self.interest == Interest::Life && status == "running" {
            self.interest = Interest::None;
        }
        let new = self.status.as_deref() != Some(status);
        self.status = Some(status.to_owned());
        new
    }

    /// Whether it was on its way to its end when AWS has shown it, not longer ago than this.
    pub(super) fn was_ending(&self, within: Duration) -> Option<bool> {
        self.seen.filter(|(at, _)| at.elapsed() <= within).map(|(_, ending)| ending)
    }

    /// AWS says that it knows nothing of it; true once it has said so for long enough to be believed.
    pub(super) fn misses(&mut self) -> bool {
        self.missing.get_or_insert_with(Instant::now).elapsed() > LAG
    }
}

impl Book {
    /// Reads the book, or begins one. A line that was cut by a crash is no line.
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
                        .and_then(|run: RunName| tasks.insert(run, Entry::new((*arn).to_owned()))),
                ),
                ["-", run] => drop(run.parse().ok().and_then(|run: RunName| tasks.remove(&run))),
                _ => {}
            }
        }
        // Whole or not at all: the file is replaced.
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
        Ok(Self { pages: Mutex::new(Pages { file, tasks, early: HashSet::new() }) })
    }

    /// Takes note of a task, on the disk before anything else happens: a server that has lost it would start another. A note
    /// that cannot be written is lost with this process alone.
    pub(super) fn add(&self, run: RunName, arn: &str) {
        let mut pages = self.lock();
        if pages.tasks.get(&run).is_some_and(|known| known.arn == arn) {
            return;
        }
        let mut entry = Entry::new(arn.to_owned());
        if pages.early.remove(&run) {
            entry.speaks();
        }
        pages.tasks.insert(run, entry);
        pages.write(&format!("+ {run} {arn}\n"), true);
    }

    /// Nothing is left of a task.
    pub(super) fn remove(&self, run: RunName) {
        let mut pages = self.lock();
        pages.early.remove(&run);
        if pages.tasks.remove(&run).is_some() {
            pages.write(&format!("- {run}\n"), false);
        }
    }

    /// The run's agent has spoken.
    pub(super) fn heard(&self, run: RunName) {
        let mut pages = self.lock();
        match pages.tasks.get_mut(&run) {
            Some(entry) => entry.speaks(),
            None => drop(pages.early.insert(run)),
        }
    }

    pub(super) fn get(&self, run: RunName) -> Option<Entry> {
        self.lock().tasks.get(&run).cloned()
    }

    pub(super) fn all(&self) -> Vec<(RunName, Entry)> {
        self.lock().tasks.iter().map(|(run, entry)| (*run, entry.clone())).collect()
    }

    /// Changes what is known of a task, where it is.
    pub(super) fn with<T>(&self, run: RunName, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.lock().tasks.get_mut(&run).map(change)
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn write(&mut self, line: &str, sync: bool) {
        let written = self.file.write_all(line.as_bytes());
        let written = written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            tracing::error!(%error, "the book of ECS tasks cannot be written: a restart will not find them by itself");
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
    async fn a_book_survives_its_writer_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ecs-tasks");
        let book = Book::open(&path).unwrap();
        for index in 0..3 {
            book.add(run(index), &format!("arn:aws:ecs:r:1:task/c/{index}"));
            book.add(run(index), &format!("arn:aws:ecs:r:1:task/c/{index}"));
        }
        book.remove(run(1));
        drop(book);
        let mut text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        text += "- ";
        text += &run(0).to_string();
        std::fs::write(&path, text).unwrap();
        let book = Book::open(&path).unwrap();
        let runs: Vec<_> = book.all().into_iter().map(|(run, _)| run).collect();
        assert_eq!(runs, [run(0), run(2)]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(book.get(run(2)).unwrap().arn, "arn:aws:ecs:r:1:task/c/2");
    }

    #[test]
    fn an_entry_is_asked_about_while_somebody_waits() {
        let mut entry = Entry::new("arn:aws:ecs:r:1:task/ovens/1".to_owned());
        assert_eq!((entry.interest, entry.cluster()), (Interest::Start, "ovens"));
        assert!(
            entry.found("pending", false) && !entry.found("pending", false) && entry.found("running", false)
        );
        entry.doubt();
        assert_eq!(entry.interest, Interest::Start, "its start is waited for already");
        entry.speaks();
        entry.doubt();
        entry.found("deprovisioning", true);
        assert_eq!(entry.interest, Interest::Life, "that is no sign of life");
        entry.found("running", false);
        assert_eq!(entry.interest, Interest::None);
        entry.leave();
        entry.speaks();
        assert!(entry.deny() && !entry.deny());
        entry.leave();
        assert_eq!(entry.interest, Interest::End { denied: true });
        assert!(!entry.misses(), "one answer is not believed");
    }

    #[test]
    fn an_agent_that_speaks_before_its_task_is_known_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(&folder.path().join("ecs-tasks")).unwrap();
        book.heard(run(1));
        book.add(run(1), "arn:aws:ecs:r:1:task/ovens/1");
        book.add(run(2), "arn:aws:ecs:r:1:task/ovens/2");
        let interest = |index| book.get(run(index)).unwrap().interest;
        assert_eq!((interest(1), interest(2)), (Interest::None, Interest::Start));
    }
}
