//! Running the processes of a task: their output goes to the log line by line, their exit is returned.

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

use crate::log::{Log, Writer};
use crate::process_tree::Tree;
use crate::spawn::spawn;
use crate::termination::{Termination, TerminationCause};

/// Time between SIGTERM and SIGKILL when a run is terminated.
pub const GRACE: Duration = Duration::from_secs(1);
/// How long the agent waits for remaining output after all processes that could write it are gone.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Size of the read buffer: the default capacity of a pipe.
const CHUNK_BYTES: usize = 64 << 10;

/// A process to run.
#[derive(Debug)]
pub struct Job {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its working directory.
    pub folder: PathBuf,
    /// Its complete environment.
    pub env: Vec<(String, String)>,
    /// The source of its log lines.
    pub source: Source,
}

/// How a process exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl Exit {
    /// The exit code as a shell reports it: 128 + n for signal n.
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
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
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

/// The outcome of a [`Job`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The process exited.
    Exited(Exit),
    /// The run was terminated, and its processes with it.
    Terminated(TerminationCause),
}

/// Runs the processes of one task.
#[derive(Debug)]
pub struct Processes {
    tree: Arc<Tree>,
    log: Log,
    termination: Termination,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

impl Processes {
    /// Processes of `tree` that write to `log` and are terminated with the run.
    pub fn new(tree: Arc<Tree>, log: Log, termination: Termination) -> Self {
        Self { tree, log, termination, readers: Mutex::default() }
    }

    /// The process tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Runs one process to its end, in a process group of its own. `on_line` is called with every message of its log.
    ///
    /// On return everything that the process wrote is in the log. Its background processes keep running, and their
    /// output is logged, until [`Processes::terminate`]; this function does not wait for them, however much they write.
    pub async fn run(&self, job: Job, on_line: impl FnMut(&str) + Send + 'static) -> io::Result<Outcome> {
        if let Some(cause) = self.termination.cause() {
            return Ok(Outcome::Terminated(cause));
        }
        // One pipe for both streams keeps the order in which they are written.
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
        // It owns the write ends of the pipe.
        drop(command);
        let pid = child.id();
        let (request_drain, drain_requested) = oneshot::channel();
        let reader = Reader { receiver, writer: self.log.writer(job.source, Level::Info), on_line };
        let reader = spawn("output", reader.run(drain_requested));
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);

        let exited = async {
            let status = child.wait().await?;
            drained(request_drain).await;
            Ok(Outcome::Exited(Exit::from(status)))
        };
        let outcome = tokio::select! {
            // Termination takes precedence over an exit at the same time.
            biased;
            cause = self.termination.wait() => {
                self.tree.terminate(GRACE).await;
                // The process is gone, or hangs in the kernel. `terminate` waits for its remaining output.
                let _ = timeout(DRAIN_TIMEOUT, child.wait()).await;
                Ok(Outcome::Terminated(cause))
            }
            outcome = exited => outcome,
        };
        if let Some(pid) = pid {
            self.tree.forget(pid);
        }
        outcome
    }

    /// Terminates all remaining processes and logs their remaining output. Returns the number of processes that could not
    /// be killed.
    pub async fn terminate(&self) -> usize {
        let remaining = self.tree.terminate(GRACE).await;
        if remaining > 0 {
            tracing::warn!(remaining, "some processes could not be killed");
        }
        let readers = std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner));
        for mut reader in readers {
            if timeout(DRAIN_TIMEOUT, &mut reader).await.is_err() {
                reader.abort();
            }
        }
        remaining
    }
}

/// Waits until everything that has been written so far is in the log.
async fn drained(request: oneshot::Sender<oneshot::Sender<()>>) {
    let (done, all_read) = oneshot::channel();
    if request.send(done).is_ok() {
        // An error means that the reader has ended, and has read everything.
        let _ = all_read.await;
    }
}

struct Reader<S> {
    receiver: Receiver,
    writer: Writer,
    on_line: S,
}

impl<S: FnMut(&str)> Reader<S> {
    /// Reads until all write ends are closed. When `drain` is received, reads everything that has been written so far
    /// and then answers.
    async fn run(mut self, drain: oneshot::Receiver<oneshot::Sender<()>>) {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut drain = Some(drain);
        loop {
            let requested = async {
                match drain.as_mut() {
                    Some(drain) => drain.await.ok(),
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! {
                // The request first: the pipe of a process that never stops writing is always readable.
                biased;
                done = requested => done,
                readable = self.receiver.readable() => {
                    if readable.is_err() || self.read(&mut chunk).is_none() {
                        break;
                    }
                    // Such a pipe never makes this loop wait either, so it has to yield to other tasks.
                    yield_now().await;
                    continue;
                }
            };
            drain = None;
            let open = self.drain(&mut chunk).await;
            self.writer.flush(&mut self.on_line);
            if let Some(done) = done {
                let _ = done.send(());
            }
            if !open {
                return;
            }
        }
        self.writer.flush(&mut self.on_line);
    }

    /// Reads once and returns the number of bytes, 0 if there are none at the moment. `None` at the end of the stream.
    fn read(&mut self, chunk: &mut [u8]) -> Option<usize> {
        match self.receiver.try_read(chunk) {
            Ok(0) => None,
            Ok(len) => {
                self.writer.push(&chunk[..len], &mut self.on_line);
                Some(len)
            }
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted).then_some(0)
            }
        }
    }

    /// Reads what is in the pipe now and no more: a process may never stop writing. False at the end of the stream.
    async fn drain(&mut self, chunk: &mut [u8]) -> bool {
        let Ok(available) = ioctl_fionread(&self.receiver) else { return self.read(chunk).is_some() };
        let mut left = usize::try_from(available).unwrap_or(usize::MAX);
        while left > 0 {
            // The bytes are there, but the runtime may not have been notified yet. There is no other reader.
            if self.receiver.readable().await.is_err() {
                return false;
            }
            let max = left.min(chunk.len());
            let Some(len) = self.read(&mut chunk[..max]) else { return false };
            left -= len;
            yield_now().await;
        }
        true
    }
}
