//! Where tasks run: one [`Launcher`] for each platform, and what it exchanges with `builds`.
//!
//! A launch carries three small variables (and the operator's proxies) and nothing of the user's; everything else
//! travels in the order that the agent fetches. One watch for each platform reports what becomes of the containers.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use bakery_core::message::{Hint, Message};
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use futures_util::stream::BoxStream;
use tokio::sync::watch;

mod capabilities;
pub mod docker;
pub mod ecs;
mod exit;
#[cfg(test)]
pub mod fake;
pub mod k8s;
mod labels;
mod observation_stream;
mod run_registry;

use crate::spawn::Tasks;
pub use capabilities::Capabilities;

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
    /// MiB of disk; `None` = the platform's default.
    pub disk_mib: Option<u32>,
    /// The whole environment: the variables of `launch_env`, and the operator's proxies. Nothing of the user's.
    pub env: Vec<(String, Secret)>,
    /// The time after which the platform itself may end the container, counted from its start.
    pub deadline: Duration,
}

/// What a platform reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// All containers of this installation that the platform holds, ended ones included (their [`Observation::Gone`]
    /// follows).
    ///
    /// First item of a watch, and again after every reconnect: a run whose launch was answered before and that is not
    /// in it is gone, and nothing more will be reported about it. A launch that is under way, or was answered only after
    /// the platform listed, may be missing: where that cannot be ruled out, ask [`Launcher::list`] before believing it.
    Synced {
        /// Their runs, in any order.
        live: Vec<RunName>,
    },
    /// A step on the way to a running agent.
    Progress {
        /// The run.
        run: RunName,
        /// The machine code of a problem. Without one the launch continues, and an earlier problem is resolved.
        reason: Option<Reason>,
        /// The same for people.
        message: Message,
    },
    /// The container has ended. May be reported more than once.
    Gone {
        /// The run.
        run: RunName,
        /// How it ended.
        exit: Exit,
    },
}

/// How a container ended, as the platform saw it. It states only *that* the container ended; what became of the task is in
/// the agent's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, where the container ran.
    pub code: Option<i32>,
    /// The machine code, where the platform gives a cause.
    pub reason: Option<Reason>,
    /// For people: how it ended, with the last lines of its output where it failed.
    pub message: Message,
}

/// Why a platform did not do what was asked. Displays as the text alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    /// True where the same order may be accepted later.
    pub retryable: bool,
    /// The machine code.
    pub reason: Reason,
    /// For people: what was tried, what happened, and what to do about it.
    pub message: Message,
}

impl Hint for LaunchError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        self.message.hint.as_deref().map(Cow::Borrowed)
    }
}

impl LaunchError {
    /// The server stops before the platform has answered; the next start launches again.
    fn stopping() -> Self {
        let message = "the server is stopping".into();
        Self { retryable: true, reason: Reason::PlatformUnreachable, message }
    }
}

/// Runs a launch to its end even if its caller gives up: what a platform has been asked to create comes into being all the
/// same, and only the launch itself finds out and removes it.
async fn complete(
    tasks: &Tasks,
    launch: impl Future<Output = Result<(), LaunchError>> + Send + 'static,
) -> Result<(), LaunchError> {
    tasks.spawn("launch", launch).await.unwrap_or_else(|_| Err(LaunchError::stopping()))
}

/// Whether a platform answers, as its watch found it last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Availability {
    /// It answers.
    #[default]
    Available,
    /// It does not answer, or refuses the server; the message contains what it returned.
    Unavailable(Message),
}

impl Availability {
    /// Whether it answers.
    pub const fn is_available(&self) -> bool {
        matches!(self, Self::Available)
    }

    /// What came back instead of an answer.
    pub fn outage(&self) -> Option<Message> {
        match self {
            Self::Available => None,
            Self::Unavailable(message) => Some(message.clone()),
        }
    }
}

/// Keeps a platform's [`Availability`] for those who wait for a change of it.
#[derive(Debug, Default)]
struct AvailabilityState(watch::Sender<Availability>);

impl AvailabilityState {
    fn new(availability: Availability) -> Self {
        Self(watch::Sender::new(availability))
    }

    /// Replaces it. Subscribers are woken where the platform has become available or unavailable, not where only the
    /// message differs.
    fn set(&self, availability: Availability) {
        self.0.send_if_modified(|known| {
            let changed = known.is_available() != availability.is_available();
            *known = availability;
            changed
        });
    }

    fn subscribe(&self) -> watch::Receiver<Availability> {
        self.0.subscribe()
    }
}

/// A platform on which agents run.
///
/// Every launcher passes the tests of the launcher contract (`platform/contract.rs` of the test kit).
#[async_trait]
pub trait Launcher: Send + Sync {
    /// Whether tasks of `arch` can run here. Asked before a build is accepted.
    fn can_run(&self, arch: Arch) -> Result<(), Reason>;

    /// Explains a refusal of [`Launcher::can_run`]; `None` where there is nothing to add to the reason.
    fn why_not(&self, _arch: Arch) -> Option<Message> {
        None
    }

    /// Whether a task may have this size here: `Ok` with notices where it gets another size, or why not. Asked before a
    /// build is accepted.
    fn fit(
        &self,
        _cpu_millis: u32,
        _memory_mib: u32,
        _disk_mib: Option<u32>,
    ) -> Result<Vec<String>, Message> {
        Ok(Vec::new())
    }

    /// Starts the container. The same order again starts nothing new, whatever became of the first.
    ///
    /// `Ok` means that the platform holds the container. After an error it may or may not hold it: a relaunch of the
    /// same order finds out, and [`Launcher::stop`] makes sure.
    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError>;

    /// Ends the container and removes it: `Ok` means that it no longer runs. Ending an ended or unknown run succeeds.
    async fn stop(&self, run: &RunName) -> Result<(), LaunchError>;

    /// Notes that the run's agent has connected: a platform that polls need not poll for its container any longer.
    fn agent_connected(&self, _run: &RunName) {}

    /// Whether the platform holds the container, running or not. A launcher that polls may answer yes and report the end
    /// through the watch.
    async fn holds(&self, run: &RunName) -> Result<bool, LaunchError> {
        Ok(self.list().await?.contains(run))
    }

    /// Whether the platform answers, as the watch found it last. The sender lives as long as the platform.
    fn availability(&self) -> watch::Receiver<Availability>;

    /// Everything that is observed from now on, beginning with [`Observation::Synced`]. Never ends; it reconnects by
    /// itself.
    fn watch(&self) -> BoxStream<'static, Observation>;

    /// All containers of this installation that the platform holds, running or not.
    async fn list(&self) -> Result<Vec<RunName>, LaunchError>;
}
