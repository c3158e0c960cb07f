//! One process of a task: its lines go into the log as they come, its exit is data.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bakery_core::wire::log::{Level, Source};
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::ends::{Cause, Ends};
use crate::log::{Log, Writer};
use crate::spawn::spawn;
use crate::tree::Tree;

/// Time between SIGTERM and SIGKILL where a run is ended from outside.
pub const GRACE: Duration = Duration::from_secs(1);
/// How long output may still come after everybody who could write it is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Bytes read at once: the size of a pipe.
const CHUNK_BYTES: usize = 64 << 10;

/// What is to be run.
#[derive(Debug)]
pub struct Job {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its working directory.
    pub folder: PathBuf,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Whose lines its output is.
    pub source: Source,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// The code as a shell tells it: 128 + n for a signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Code(-1),
        }
    }
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The process has ended by itself.
    Exited(Exit),
    /// The run was ended; every process of it is gone.
    Ended(Cause),
}

/// Runs the processes of one task.
#[derive(Debug)]
pub struct Processes {
    tree: Arc<Tree>,
    log: Log,
    ends: Ends,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

impl Processes {
    /// Processes that belong to `tree`, write into `log` and end when the run ends.
    pub fn new(tree: Arc<Tree>, log: Log, ends: Ends) -> Self {
        Self { tree, log, ends, readers: Mutex::default() }
    }

    /// The tree that they belong to.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Runs one process to its end, in a process group of its own. `seen` gets every message as it goes into the log.
    ///
    /// When the process has ended, what it wrote is in the log. Processes that it has left behind live on, and their
    /// output goes on into the log, until [`Processes::end`].
    pub async fn run(&self, job: Job, seen: impl FnMut(&str) + Send + 'static) -> io::Result<Outcome> {
        if let Some(cause) = self.ends.ended() {
            return Ok(Outcome::Ended(cause));
        }
        // One pipe for both streams: the order in which they were written is the order of the log.
        let (reader, writer) = io::pipe()?;
        let receiver = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let mut command = Command::new(&job.program);
        command
            .args(&job.args)
            .current_dir(&job.folder)
            .env_clear()
            .envs(job.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        let mut child = self.tree.start(&mut command)?;
        // It holds the writing ends.
        drop(command);
        let pid = child.id();
        let (settle, settled) = oneshot::channel();
        let reader = Reader { receiver, writer: self.log.writer(job.source, Level::Info), seen };
        let reader = spawn("output", reader.run(settled));
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);

        let outcome = tokio::select! {
            status = child.wait() => Outcome::Exited(Exit::from(status?)),
            cause = self.ends.wait() => {
                self.tree.end(GRACE).await;
                // Gone or, in the kernel's hands, as good as gone.
                let _ = timeout(LAST_WORDS, child.wait()).await;
                Outcome::Ended(cause)
            }
        };
        if let Some(pid) = pid {
            self.tree.buried(pid);
        }
        let (done, all_read) = oneshot::channel();
        if settle.send(done).is_ok() {
            // A reader that goes away instead has read everything.
            let _ = all_read.await;
        }
        Ok(outcome)
    }

    /// Ends whatever is left and puts its last words into the log.
    pub async fn end(&self) {
        let left = self.tree.end(GRACE).await;
        if left > 0 {
            tracing::warn!(left, "processes that the kernel does not end");
        }
        let readers = std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner));
        for mut reader in readers {
            if timeout(LAST_WORDS, &mut reader).await.is_err() {
                reader.abort();
            }
        }
    }
}

struct Reader<S> {
    receiver: Receiver,
    writer: Writer,
    seen: S,
}

impl<S: FnMut(&str)> Reader<S> {
    /// Reads until nobody can write any more. `settled` asks for everything that has been written so far.
    async fn run(mut self, settled: oneshot::Receiver<oneshot::Sender<()>>) {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut settled = Some(settled);
        loop {
            let asked = async {
                match settled.as_mut() {
                    Some(settled) => settled.await.ok(),
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! {
                readable = self.receiver.readable() => {
                    if readable.is_err() || !self.read(&mut chunk) {
                        break;
                    }
                    continue;
                }
                done = asked => done,
            };
            settled = None;
            let open = self.drain(&mut chunk);
            self.writer.flush(&mut self.seen);
            if let Some(done) = done {
                let _ = done.send(());
            }
            if !open {
                return;
            }
        }
        self.writer.flush(&mut self.seen);
    }

    /// Reads what is there. False at the end.
    fn read(&mut self, chunk: &mut [u8]) -> bool {
        match self.receiver.try_read(chunk) {
            Ok(0) => false,
            Ok(len) => {
                self.writer.push(&chunk[..len], &mut self.seen);
                true
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    /// Reads until there is nothing for now. False at the end.
    fn drain(&mut self, chunk: &mut [u8]) -> bool {
        loop {
            match self.receiver.try_read(chunk) {
                Ok(0) => return false,
                Ok(len) => self.writer.push(&chunk[..len], &mut self.seen),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}
