//! Why builds refuse a request. Independent of HTTP, and without secrets.

use std::borrow::Cow;

use bakery_core::message::{Hint, Message};
use bakery_core::names::{Arch, Platform};

use super::context_store::ContextProblem;
use super::ledger::LedgerError;
use crate::disk;
use crate::logs::LogError;

/// Why a build was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The server is stopping.
    #[error("the server is stopping and accepts no new builds")]
    Draining,
    /// The idempotency key is not valid.
    #[error("the idempotency key is not 16 to 128 printable ASCII characters")]
    BadKey,
    /// The same key came with another request before.
    #[error("the idempotency key was used for another build")]
    KeyReused,
    /// The spec has mistakes: all of them.
    #[error("the build cannot be planned")]
    BadSpec(Vec<Message>),
    /// A platform that is not configured.
    #[error("task {task}: platform {platform} is not configured on this server")]
    NoSuchPlatform {
        /// The task's name for people.
        task: String,
        /// The platform that was asked for.
        platform: Platform,
        /// Those that are configured.
        known: Vec<Platform>,
    },
    /// No platform is configured at all.
    #[error("no platform is configured on this server")]
    NoPlatform,
    /// A platform that cannot run the architecture.
    #[error("task {task}: {platform} cannot run {arch}: {message}")]
    NoSuchArch {
        /// The task's name for people.
        task: String,
        /// The platform.
        platform: Platform,
        /// The architecture.
        arch: Arch,
        /// Why, as the platform reports it.
        message: Message,
    },
    /// The context cannot be built from.
    #[error(transparent)]
    Context(ContextProblem),
    /// The disk of the data folder is full but for its reserve.
    #[error("the disk of the server's data folder is full: new builds are not accepted")]
    DiskFull,
    /// The server fails on its own side.
    #[error("the build could not be stored")]
    Internal(#[source] InternalError),
}

/// The hint for what needs room on the disk of the data folder.
pub const DISK_FULL_HINT: &str =
    "try again later; if it stays full, ask the server's operator to free space or to enlarge the disk";

impl SubmitError {
    /// Every mistake, if there are several.
    pub fn mistakes(&self) -> &[Message] {
        match self {
            Self::BadSpec(mistakes) => mistakes,
            _ => &[],
        }
    }
}

impl Hint for SubmitError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Draining => "submit again in a moment",
            Self::BadKey => "use a random text, such as a UUID, for each build",
            Self::KeyReused => "use a new key for each build",
            Self::NoSuchPlatform { known, .. } => {
                let known: Vec<_> = known.iter().map(|platform| platform.as_str()).collect();
                return Some(format!("set `platform` to one of: {}", known.join(", ")).into());
            }
            Self::NoPlatform => "start a Docker engine on the server, or set ECS_CLUSTER or K8S_NAMESPACE",
            Self::NoSuchArch { message: Message { hint: Some(hint), .. }, .. } => hint,
            Self::NoSuchArch { .. } => "set another `platform`, or another `arch`",
            Self::Context(problem) => return problem.hint(),
            Self::DiskFull => DISK_FULL_HINT,
            Self::BadSpec(_) | Self::Internal(_) => return None,
        };
        Some(hint.into())
    }
}

/// Why builds are not accepted now, or would only wait.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The disk of the data folder is full but for its reserve.
    #[error("the disk of the data folder is full")]
    DiskFull,
    /// A platform is unavailable.
    #[error("platform {0} is unavailable")]
    Unavailable(Platform),
}

impl NotReady {
    /// Whether builds are accepted all the same. They wait for an unavailable platform.
    pub fn accepts_builds(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why a build was not shown or cancelled.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It does not exist, or it is another owner's.
    #[error("no such build")]
    NoSuchBuild,
    /// The server fails on its own side.
    #[error("the builds could not be read")]
    Internal(#[source] InternalError),
}

/// Why an agent is refused.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The token or the session secret is not the run's.
    #[error("the token is not valid for this run")]
    Unauthorized,
    /// The run has ended, or never existed.
    #[error("the run has ended")]
    Over,
    /// Another session has bound the run; the run has been ended.
    #[error("the run is bound to another session")]
    SecondBinder,
    /// The report arrived before all lines did.
    #[error("the report announces {lines} lines, and line {next} has not arrived yet")]
    LinesMissing {
        /// Lines that the report announces.
        lines: u64,
        /// The line that the server wants next.
        next: u64,
    },
    /// The context cannot be read any more.
    #[error(transparent)]
    Context(ContextProblem),
    /// The server fails on its own side, or stops: the same call may succeed later.
    #[error("the server failed")]
    Internal(#[source] InternalError),
}

/// What went wrong inside.
#[derive(Debug, thiserror::Error)]
pub enum InternalError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The build's actor has panicked and is not restarted yet.
    #[error("the build has no actor at the moment")]
    NoActor,
}

impl InternalError {
    /// Whether the cause is a full disk.
    fn is_disk_full(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_disk_full(),
            Self::Log(LogError::Io { source, .. }) => disk::is_full(source),
            Self::Log(LogError::DiskFull(_)) => true,
            Self::Log(_) | Self::Stopping | Self::NoActor => false,
        }
    }
}

impl From<InternalError> for SubmitError {
    fn from(error: InternalError) -> Self {
        if error.is_disk_full() { Self::DiskFull } else { Self::Internal(error) }
    }
}

impl From<LedgerError> for SubmitError {
    fn from(error: LedgerError) -> Self {
        InternalError::from(error).into()
    }
}

impl From<LogError> for SubmitError {
    fn from(error: LogError) -> Self {
        InternalError::from(error).into()
    }
}

macro_rules! internal {
    ($($error:ident),*) => {$(
        impl From<LedgerError> for $error {
            fn from(error: LedgerError) -> Self {
                Self::Internal(error.into())
            }
        }
        impl From<LogError> for $error {
            fn from(error: LogError) -> Self {
                Self::Internal(error.into())
            }
        }
    )*};
}
internal!(BuildError, RunError);
