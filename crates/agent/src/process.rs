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
use rustix::io::ioctl_fionread;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
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
    /// output goes on into the log, until [`Processes::end`]; however much they write, nobody waits for them.
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

        let exited = async {
            let status = child.wait().await?;
            written(settle).await;
            Ok(Outcome::Exited(Exit::from(status)))
        };
        let outcome = tokio::select! {
            // A run that is to end ends, whatever its process has come to meanwhile.
            biased;
            cause = self.ends.wait() => {
                self.tree.end(GRACE).await;
                // Gone or, in the kernel's hands, as good as gone. Its last words are waited for in `end`.
                let _ = timeout(LAST_WORDS, child.wait()).await;
                Ok(Outcome::Ended(cause))
            }
            outcome = exited => outcome,
        };
        if let Some(pid) = pid {
            self.tree.buried(pid);
        }
        outcome
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

/// Waits until everything that has been written so far is in the log.
async fn written(settle: oneshot::Sender<oneshot::Sender<()>>) {
    let (done, all_read) = oneshot::channel();
    if settle.send(done).is_ok() {
        // A reader that goes away instead has read everything.
        let _ = all_read.await;
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
                // Who asks goes first: the pipe of a process that never stops writing is always readable.
                biased;
                done = asked => done,
                readable = self.receiver.readable() => {
                    if readable.is_err() || self.read(&mut chunk).is_none() {
                        break;
                    }
                    // Such a pipe never has to be waited for either, and others want their turn.
                    yield_now().await;
                    continue;
                }
            };
            settled = None;
            let open = self.drain(&mut chunk).await;
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

    /// Reads once and gives the number of bytes, which is 0 where there are none for now. `None` at the end.
    fn read(&mut self, chunk: &mut [u8]) -> Option<usize> {
        match self.receiver.try_read(chunk) {
            Ok(0) => None,
            Ok(len) => {
                self.writer.push(&chunk[..len], &mut self.seen);
                Some(len)
            }
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted).then_some(0)
            }
        }
    }

    /// Reads what is there now and no more: somebody may never stop writing. False at the end.
    async fn drain(&mut self, chunk: &mut [u8]) -> bool {
        let Ok(held) = ioctl_fionread(&self.receiver) else { return self.read(chunk).is_some() };
        let mut left = usize::try_from(held).unwrap_or(usize::MAX);
        while left > 0 {
            // It is there, but the runtime may not have heard of it yet; and it is nobody else's to take.
            if self.receiver.readable().await.is_err() {
                return false;
            }
            let most = left.min(chunk.len());
            let Some(len) = self.read(&mut chunk[..most]) else { return false };
            left -= len;
            yield_now().await;
        }
        true
    }
}
