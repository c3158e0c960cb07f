//! Running the processes of a task: their output goes to the log line by line, their exit is returned.

use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bakery_core::wire::log::{Level, Source};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::log::Log;
use crate::output::Output;
use crate::process_tree::Tree;
use crate::termination::{Termination, TerminationCause};

/// Time between SIGTERM and SIGKILL when a run is terminated.
pub const GRACE: Duration = Duration::from_secs(1);
/// How long the agent waits for remaining output after all processes that could write it are gone.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

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
        let (output, writer) = self.output(job.source, on_line)?;
        self.run_until(job, &output, writer, std::future::pending()).await
    }

    /// An output of its own for a process: what is written to the pipe is in the log.
    pub fn output(
        &self,
        source: Source,
        on_line: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<(Output, PipeWriter)> {
        let (reader, output, writer) = Output::new(self.log.writer(source, Level::Info), on_line)?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        Ok((output, writer))
    }

    /// As [`Processes::run`], with an output that the caller keeps. When `stop` completes, all processes are ended, which
    /// is an exit with code 1.
    pub async fn run_until(
        &self,
        job: Job,
        output: &Output,
        writer: PipeWriter,
        stop: impl Future<Output = ()>,
    ) -> io::Result<Outcome> {
        if let Some(cause) = self.termination.cause() {
            return Ok(Outcome::Terminated(cause));
        }
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

        let exited = async {
            let status = child.wait().await?;
            output.drained().await;
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
            () = stop => {
                self.tree.terminate(GRACE).await;
                output.drained().await;
                Ok(Outcome::Exited(Exit::Code(1)))
            }
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
