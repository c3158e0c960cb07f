//! Why builds refuse what they are asked for. Nothing here knows HTTP; nothing here holds a secret.

use bakery_core::names::{Arch, Platform};

use super::context_store::ContextProblem;
use super::ledger::LedgerError;
use crate::logs::LogError;

/// Why a build was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The server is stopping.
    #[error("the server is stopping and takes no new builds")]
    Draining,
    /// The idempotency key is not one.
    #[error("the idempotency key is not 16 to 128 printable ASCII characters")]
    BadKey,
    /// The same key came with another request before.
    #[error("the idempotency key was used for another build")]
    KeyReused,
    /// The spec breaks rules: all of them, one text each.
    #[error("the build cannot be planned")]
    BadSpec(Vec<String>),
    /// A platform that is not configured.
    #[error("task {task}: this server has no platform {platform}")]
    NoSuchPlatform {
        /// The task's name for people.
        task: String,
        /// The platform that was asked for.
        platform: Platform,
        /// Those that there are.
        known: Vec<Platform>,
    },
    /// No platform is configured at all.
    #[error("this server has no platform to run tasks on")]
    NoPlatform,
    /// A platform that cannot run the architecture.
    #[error("task {task}: {platform} cannot run {arch}: {why}")]
    NoSuchArch {
        /// The task's name for people.
        task: String,
        /// The platform.
        platform: Platform,
        /// The architecture.
        arch: Arch,
        /// Why, in the platform's words.
        why: String,
        /// What to do about it, where the platform knows.
        hint: Option<String>,
    },
    /// The context cannot be built from.
    #[error(transparent)]
    Context(ContextProblem),
    /// The server fails on its own side.
    #[error("the build could not be stored")]
    Internal(#[source] InternalError),
}

impl SubmitError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Draining => Some("submit again in a moment".to_owned()),
            Self::BadKey => Some("use a random text, such as a UUID, for each build".to_owned()),
            Self::KeyReused => Some("make a new key for each build".to_owned()),
            Self::NoSuchPlatform { known, .. } => {
                let known: Vec<_> = known.iter().map(|platform| platform.as_str()).collect();
                Some(format!("set `platform` to one of: {}", known.join(", ")))
            }
            Self::NoPlatform => {
                Some("start a Docker engine on the server, or set ECS_CLUSTER or K8S_NAMESPACE".to_owned())
            }
            Self::NoSuchArch { hint: Some(hint), .. } => Some(hint.clone()),
            Self::NoSuchArch { .. } => Some("name another `platform`, or another `arch`".to_owned()),
            Self::Context(problem) => Some(problem.hint.clone()),
            Self::BadSpec(_) | Self::Internal(_) => None,
        }
    }

    /// Every mistake, where there are several.
    pub fn errors(&self) -> &[String] {
        match self {
            Self::BadSpec(errors) => errors,
            _ => &[],
        }
    }
}

/// Why builds are not taken now, or would only wait.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The watch of a platform has lost it.
    #[error("the platform {0} does not answer")]
    Unavailable(Platform),
}

/// Why a build was not shown or cancelled.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is none of this name, or it is somebody else's.
    #[error("there is no such build")]
    NoSuchBuild,
    /// The server fails on its own side.
    #[error("the builds could not be read")]
    Internal(#[source] InternalError),
}

/// Why an agent is refused.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The token or the session secret is not the run's.
    #[error("the token is not this run's")]
    Unauthorized,
    /// The run is over, or never was.
    #[error("the run is over")]
    Over,
    /// Another session has bound the run; the run has been ended.
    #[error("the run is bound to another session")]
    SecondBinder,
    /// The report came before all lines did.
    #[error("the report speaks of {lines} lines, and line {next} has not come yet")]
    LinesMissing {
        /// Lines that the report speaks of.
        lines: u64,
        /// The line that the server wants next.
        next: u64,
    },
    /// The context cannot be read any more.
    #[error(transparent)]
    Context(ContextProblem),
    /// The server fails on its own side, or stops: the same call may succeed later.
    #[error("the server could not answer")]
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
    /// Whoever drove the build is lost, and the next one is not there yet.
    #[error("nobody drives the build")]
    NoActor,
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
internal!(SubmitError, BuildError, RunError);
