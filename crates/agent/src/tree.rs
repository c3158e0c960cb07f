//! The processes that the agent has started, and all that these have started: how they are ended, and who buries them.
//!
//! Kaniko puts every `RUN` into a process group of its own, and what runs there may leave its parents. So neither a
//! signal to a child nor one to its group ends a build: only the kernel's own list of processes tells who is left.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// What cannot be killed in this time waits for the kernel; the end of the container is its end.
const GIVE_UP: Duration = Duration::from_secs(4);
/// Pause between two looks at the list of processes.
const LOOK: Duration = Duration::from_millis(10);

/// Which processes are the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every process below the agent's own: it is alone, and process 1 or a subreaper, so that orphans come to it.
    All,
    /// What it has started and what descends from that, as far as it can be seen: others live in this process too.
    Own,
}

/// The agent's processes.
#[derive(Debug)]
pub struct Tree {
    scope: Scope,
    /// Children that have been started and not yet waited for.
    children: Mutex<HashSet<i32>>,
    /// Processes that were ours when they were last seen.
    known: Mutex<HashSet<Id>>,
}

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Id {
    pid: i32,
    started: u64,
}

#[derive(Debug, Clone, Copy)]
struct Process {
    id: Id,
    parent: i32,
    zombie: bool,
}

impl Tree {
    /// No processes yet.
    pub fn new(scope: Scope) -> Self {
        Self { scope, children: Mutex::default(), known: Mutex::default() }
    }

    /// Starts a process; whoever waits for it calls [`Tree::buried`] afterwards.
    pub fn start(&self, command: &mut Command) -> io::Result<Child> {
        // Held over the start, so that the burial of orphans never meets a child that it does not know.
        let mut children = lock(&self.children);
        let child = command.spawn()?;
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            children.insert(pid);
            if let Some(process) = look(pid) {
                lock(&self.known).insert(process.id);
            }
        }
        Ok(child)
    }

    /// Says that a child has been waited for.
    pub fn buried(&self, pid: u32) {
        lock(&self.children).remove(&i32::try_from(pid).unwrap_or(0));
    }

    /// Ends all of it: SIGTERM, and SIGKILL after `grace`, again and again until nobody is left. Gives the number of
    /// those that are left all the same.
    pub async fn end(&self, grace: Duration) -> usize {
        let began = Instant::now();
        for id in self.alive() {
            signal(id, Signal::TERM);
        }
        loop {
            let alive = self.alive();
            if alive.is_empty() || began.elapsed() > GIVE_UP + grace {
                return alive.len();
            }
            // Who was started after the SIGTERM has its parent to thank for it: asking each would only fill the log.
            if began.elapsed() >= grace {
                for id in alive {
                    signal(id, Signal::KILL);
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Takes the exit of every dead process that has come to us from parents who died before it.
    pub fn bury_orphans(&self) {
        if self.scope != Scope::All {
            return;
        }
        let children = lock(&self.children);
        let me = getpid().as_raw_pid();
        for process in all() {
            if process.zombie && process.parent == me && !children.contains(&process.id.pid) {
                let _ = waitpid(Pid::from_raw(process.id.pid), WaitOptions::NOHANG);
            }
        }
    }

    fn alive(&self) -> Vec<Id> {
        let processes: Vec<_> = all().collect();
        let mut known = lock(&self.known);
        let mut ours: HashSet<i32> = match self.scope {
            Scope::All => HashSet::from([getpid().as_raw_pid()]),
            Scope::Own => {
                processes.iter().filter(|p| known.contains(&p.id)).map(|process| process.id.pid).collect()
            }
        };
        let mut below: HashMap<i32, Vec<i32>> = HashMap::new();
        for process in &processes {
            below.entry(process.parent).or_default().push(process.id.pid);
        }
        let mut queue: Vec<i32> = ours.iter().copied().collect();
        while let Some(pid) = queue.pop() {
            for &child in below.get(&pid).into_iter().flatten() {
                if ours.insert(child) {
                    queue.push(child);
                }
            }
        }
        ours.remove(&getpid().as_raw_pid());
        *known = processes.iter().filter(|p| ours.contains(&p.id.pid)).map(|process| process.id).collect();
        processes
            .iter()
            .filter(|process| ours.contains(&process.id.pid) && !process.zombie)
            .map(|process| process.id)
            .collect()
    }
}

fn signal(id: Id, signal: Signal) {
    // The number may have gone to another process since.
    if look(id.pid).is_some_and(|process| process.id == id)
        && let Some(pid) = Pid::from_raw(id.pid)
    {
        let _ = kill_process(pid, signal);
    }
}

fn all() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(look)
}

/// proc(5), `/proc/pid/stat`: the name in brackets may hold anything, what follows it may not.
fn look(pid: i32) -> Option<Process> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let behind = memchr::memrchr(b')', &stat)? + 1;
    let fields: Vec<&str> = std::str::from_utf8(&stat[behind..]).ok()?.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    // A process whose first thread has ended, while others run, looks like a dead one.
    let zombie = matches!(*fields.first()?, "Z" | "X") && number(20)? <= 1;
    let id = Id { pid, started: number(22)? };
    Some(Process { id, parent: i32::try_from(number(4)?).ok()?, zombie })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
