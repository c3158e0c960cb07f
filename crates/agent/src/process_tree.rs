//! The process tree of the agent: the processes that it started and all their descendants, how they are terminated, and
//! how orphans are reaped.
//!
//! Kaniko runs every `RUN` in a process group of its own, and processes there may detach from their parents. So a
//! signal to a child or to its group does not terminate a build; the remaining processes are found in `/proc`.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, waitpid};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long SIGKILL is repeated. A process that survives it hangs in the kernel and ends with the container.
const KILL_TIMEOUT: Duration = Duration::from_secs(4);
/// Pause between two scans of `/proc`.
const SCAN_INTERVAL: Duration = Duration::from_millis(10);

/// How much more likely than the agent a process is ended by the kernel when memory runs out (`oom_score_adj`, 0 to 1000).
const OOM_SCORE: &str = "500";

/// Which processes belong to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every descendant of this process, which is the agent's alone and is process 1 or a subreaper: orphans become its
    /// children.
    All,
    /// The processes that it started, and their descendants as far as they can be found: this process is shared.
    Own,
}

/// The processes of the agent.
#[derive(Debug)]
pub struct Tree {
    scope: Scope,
    /// Process ids of children that have not been waited for yet.
    children: Mutex<HashSet<i32>>,
    /// Processes that belonged to the tree at the last scan.
    known: Mutex<HashSet<ProcessId>>,
}

/// Identifies a process: a later one with the same process id has another start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ProcessId {
    pid: i32,
    started: u64,
}

#[derive(Debug, Clone, Copy)]
struct Process {
    id: ProcessId,
    parent: i32,
    zombie: bool,
}

impl Tree {
    /// An empty tree.
    pub fn new(scope: Scope) -> Self {
        Self { scope, children: Mutex::default(), known: Mutex::default() }
    }

    /// Starts a process. The caller waits for it, and calls [`Tree::forget`] afterwards.
    pub fn start(&self, command: &mut Command) -> io::Result<Child> {
        // Locked during the start, so that `reap_orphans` never sees a child that is not registered yet.
        let mut children = lock(&self.children);
        let child = command.spawn()?;
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            children.insert(pid);
            // When memory runs out the kernel ends the build, and the agent lives to report it. What the process starts
            // inherits it. Where it cannot be set the kernel chooses by size alone.
            let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
            if let Some(process) = read_process(pid) {
                lock(&self.known).insert(process.id);
            }
        }
        Ok(child)
    }

    /// Removes a child that has been waited for.
    pub fn forget(&self, pid: u32) {
        lock(&self.children).remove(&i32::try_from(pid).unwrap_or(0));
    }

    /// Terminates all processes: SIGTERM once, and after `grace` SIGKILL until none is left. Returns the number of
    /// processes that could not be killed.
    pub async fn terminate(&self, grace: Duration) -> usize {
        let began = Instant::now();
        for id in self.alive() {
            signal(id, Signal::TERM);
        }
        loop {
            let alive = self.alive();
            if alive.is_empty() || began.elapsed() > KILL_TIMEOUT + grace {
                return alive.len();
            }
            // No SIGTERM for processes that were started since: their parents have received it.
            if began.elapsed() >= grace {
                if self.scope == Scope::All && getpid() == Pid::INIT {
                    // All at once: a process that forks faster than `/proc` is read would outrun a list.
                    let _ = kill_process_group(Pid::INIT, Signal::KILL);
                } else {
                    for id in alive {
                        signal(id, Signal::KILL);
                    }
                }
            }
            sleep(SCAN_INTERVAL).await;
        }
    }

    /// Reaps every zombie that became a child of this process because its parent exited first.
    pub fn reap_orphans(&self) {
        if self.scope != Scope::All {
            return;
        }
        let children = lock(&self.children);
        let me = getpid().as_raw_pid();
        for process in processes() {
            if process.zombie && process.parent == me && !children.contains(&process.id.pid) {
                let _ = waitpid(Pid::from_raw(process.id.pid), WaitOptions::NOHANG);
            }
        }
    }

    fn alive(&self) -> Vec<ProcessId> {
        let processes: Vec<_> = processes().collect();
        let mut known = lock(&self.known);
        let mut members: HashSet<i32> = match self.scope {
            Scope::All => HashSet::from([getpid().as_raw_pid()]),
            Scope::Own => {
                processes.iter().filter(|p| known.contains(&p.id)).map(|process| process.id.pid).collect()
            }
        };
        let mut children_of: HashMap<i32, Vec<i32>> = HashMap::new();
        for process in &processes {
            children_of.entry(process.parent).or_default().push(process.id.pid);
        }
        let mut queue: Vec<i32> = members.iter().copied().collect();
        while let Some(pid) = queue.pop() {
            for &child in children_of.get(&pid).into_iter().flatten() {
                if members.insert(child) {
                    queue.push(child);
                }
            }
        }
        members.remove(&getpid().as_raw_pid());
        *known = processes.iter().filter(|p| members.contains(&p.id.pid)).map(|process| process.id).collect();
        processes
            .iter()
            .filter(|process| members.contains(&process.id.pid) && !process.zombie)
            .map(|process| process.id)
            .collect()
    }
}

fn signal(id: ProcessId, signal: Signal) {
    // The process id may have been reused since.
    if read_process(id.pid).is_some_and(|process| process.id == id)
        && let Some(pid) = Pid::from_raw(id.pid)
    {
        let _ = kill_process(pid, signal);
    }
}

/// Every process of this PID namespace.
fn processes() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(read_process)
}

/// Reads `/proc/PID/stat`, see proc(5). The name in parentheses may contain anything, also parentheses.
fn read_process(pid: i32) -> Option<Process> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = memchr::memrchr(b')', &stat)? + 1;
    let fields: Vec<&str> = std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    // A process whose first thread has exited while others run is in state Z too.
    let zombie = matches!(*fields.first()?, "Z" | "X") && number(20)? <= 1;
    let id = ProcessId { pid, started: number(22)? };
    Some(Process { id, parent: i32::try_from(number(4)?).ok()?, zombie })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
