//! Who runs it: one [`Launcher`] per platform, and what passes between it and the living room.
//!
//! A launch carries three small variables (and the operator's proxies) and nothing of the user's; everything else
//! travels in the order that the agent fetches. One watch a platform tells what becomes of the containers.

use std::time::Duration;

use async_trait::async_trait;
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use futures_util::stream::BoxStream;
use tokio::sync::watch;

pub mod contract;
pub mod docker;
pub mod ecs;
mod exit;
pub mod fake;
pub mod k8s;
mod labels;
mod runs;
mod telling;

/// One container to start. The same run always means the same order, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchOrder {
    /// The run; also the container's name.
    pub run: RunName,
    /// The architecture of image and machine.
    pub arch: Arch,
    /// Thousandths of a cpu.
    pub cpu_millis: u32,
    /// MiB of memory; there is no swap on top.
    pub memory_mib: u32,
    /// The whole environment: the variables of `launch_env`, and the operator's proxies. Nothing of the user's.
    pub env: Vec<(String, Secret)>,
    /// The time after which the platform itself may end the container, counted from its start.
    pub deadline: Duration,
}

/// What a platform has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Everything of ours that the platform holds, ended containers included (their [`Observation::Gone`] follows).
    ///
    /// First item of a watch, and again after every reconnect: a run whose launch was answered before and that is not
    /// in it is gone, and nothing more will be learned of it. A launch that is under way, or was answered only after
    /// the platform listed, may be missing: where that cannot be ruled out, ask [`Launcher::list`] before believing it.
    Synced {
        /// Ours, in any order.
        live: Vec<RunName>,
    },
    /// Something on the way to a running agent.
    Progress {
        /// The run.
        run: RunName,
        /// The machine's word, where it is trouble; without one the launch goes on, and trouble before it is over.
        reason: Option<Reason>,
        /// The same for people.
        text: String,
    },
    /// The container is over. May be said more than once.
    Gone {
        /// The run.
        run: RunName,
        /// How it ended.
        exit: Exit,
    },
}

/// How a container ended, as the platform saw it. It says *that* it is over; *what* became of the task is the report's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, where the container ran.
    pub code: Option<i32>,
    /// The machine's word, where the platform knows why.
    pub reason: Option<Reason>,
    /// For people: how it ended, with its last words where it failed.
    pub text: String,
}

/// Why a platform did not do as it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct LaunchError {
    /// True where the same order may be accepted later.
    pub retryable: bool,
    /// The machine's word.
    pub reason: Reason,
    /// For people: what was tried, what happened and, in a line that begins with `hint: `, what to do.
    pub text: String,
}

/// Whether a platform answers, as its watch has found it last.
#[derive(Debug)]
struct Silence(watch::Sender<Option<String>>);

impl Default for Silence {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Silence {
    /// It answers (`None`), or this came back instead. Who listens is woken where that is new.
    fn found(&self, silence: Option<String>) {
        self.0.send_if_modified(|known| {
            let changed = known.is_some() != silence.is_some();
            *known = silence;
            changed
        });
    }

    fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }
}

/// A place where agents run.
///
/// Every launcher passes the tests of [`contract`].
#[async_trait]
pub trait Launcher: Send + Sync {
    /// Whether tasks of `arch` can run here; asked before anything is promised.
    fn can_run(&self, arch: Arch) -> Result<(), Reason>;

    /// The words for a refusal of [`Launcher::can_run`], with a line that begins with `hint: `; `None` where there is
    /// nothing to say beyond the reason.
    fn why_not(&self, _arch: Arch) -> Option<String> {
        None
    }

    /// Whether a task may have this size here: `Ok` with what is worth saying of it, or why not, with a line that begins
    /// with `hint: `. Asked before anything is promised.
    fn fit(&self, _cpu_millis: u32, _memory_mib: u32) -> Result<Option<String>, String> {
        Ok(None)
    }

    /// Starts the container. The same order again starts nothing new, whatever became of the first.
    ///
    /// `Ok` means that the platform holds the container. After an error it may or may not hold it: a relaunch of the
    /// same order finds out, and [`Launcher::stop`] makes sure.
    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError>;

    /// Ends the container and removes it: `Ok` means that it does not live any more. Ending an ended or unknown run is
    /// success.
    async fn stop(&self, run: &RunName) -> Result<(), LaunchError>;

    /// The run's agent has spoken: who would have to ask again and again whether the container lives need not any more.
    fn heard(&self, _run: &RunName) {}

    /// Whether the platform holds the container, running or not. A launcher that has to ask what became of it may say yes
    /// and tell its end by the watch.
    async fn holds(&self, run: &RunName) -> Result<bool, LaunchError> {
        Ok(self.list().await?.contains(run))
    }

    /// Whether the platform answers, as the watch has found it last: `None`, or for people what came back instead. The
    /// sender lives as long as the platform.
    fn silence(&self) -> watch::Receiver<Option<String>>;

    /// Everything that is seen from now on, beginning with [`Observation::Synced`]. Never ends; a lost connection is
    /// mended inside.
    fn watch(&self) -> BoxStream<'static, Observation>;

    /// All containers of this installation that the platform holds, running or not.
    async fn list(&self) -> Result<Vec<RunName>, LaunchError>;
}
