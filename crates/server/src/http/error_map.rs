//! Maps the services' errors to problems. One exhaustive map, without a wildcard.

use bakery_core::message::Hint as _;
use bakery_core::report::{Mistake, Report};

use super::body::BodyError;
use super::problem::{ProblemKind, ProblemResponse};
use crate::builds::{BuildError, DISK_FULL_HINT, InternalError, RunError, SubmitError};
use crate::contexts::ContextError;
use crate::logs::LogError;

impl From<SubmitError> for ProblemResponse {
    fn from(error: SubmitError) -> Self {
        let kind = match &error {
            SubmitError::Draining => ProblemKind::Unavailable,
            SubmitError::BadKey => ProblemKind::BadRequest,
            SubmitError::KeyReused => ProblemKind::Conflict,
            SubmitError::BadSpec(_)
            | SubmitError::NoSuchPlatform { .. }
            | SubmitError::NoPlatform
            | SubmitError::NoSuchArch { .. } => ProblemKind::BadSpec,
            SubmitError::Context(_) => ProblemKind::BadContext,
            SubmitError::DiskFull => ProblemKind::ServerDiskFull,
            SubmitError::Internal(inner) => return inner.into(),
        };
        let problem = Self::new(kind, error.to_string()).mistakes(error.mistakes().to_vec());
        match error.hint() {
            Some(hint) => problem.hint(hint.into_owned()),
            None => problem,
        }
    }
}

impl From<BuildError> for ProblemResponse {
    fn from(error: BuildError) -> Self {
        match &error {
            BuildError::NoSuchBuild => no_such_build(&error.to_string()),
            BuildError::Internal(inner) => inner.into(),
        }
    }
}

impl From<RunError> for ProblemResponse {
    fn from(error: RunError) -> Self {
        let kind = match &error {
            RunError::Unauthorized => ProblemKind::Unauthorized,
            RunError::Over => ProblemKind::RunOver,
            RunError::SecondBinder => ProblemKind::RunTaken,
            RunError::LinesMissing { .. } => ProblemKind::LinesMissing,
            RunError::Context(problem) => {
                return Self::new(ProblemKind::NoSuchContext, problem.text.clone())
                    .hint(problem.hint.clone());
            }
            RunError::Internal(inner) => return inner.into(),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<&InternalError> for ProblemResponse {
    fn from(error: &InternalError) -> Self {
        match error {
            InternalError::Stopping => Self::draining(),
            InternalError::Ledger(_) | InternalError::Log(_) | InternalError::NoActor => {
                Self::internal(error)
            }
        }
    }
}

impl From<LogError> for ProblemResponse {
    fn from(error: LogError) -> Self {
        match &error {
            LogError::Missing(_) => no_such_build(&error.to_string()),
            LogError::DiskFull(_) => {
                Self::new(ProblemKind::ServerDiskFull, error.to_string()).hint(DISK_FULL_HINT)
            }
            LogError::BadBlock { .. } => Self::new(ProblemKind::BadBlock, error.to_string()),
            LogError::Io { .. } => Self::internal(&error),
        }
    }
}

impl From<ContextError> for ProblemResponse {
    fn from(error: ContextError) -> Self {
        match error {
            ContextError::TooLarge(_) => Self::new(ProblemKind::TooLarge, error.to_string())
                .hint("exclude what the build does not need in .dockerignore"),
            ContextError::WrongLength { .. } | ContextError::WrongDigest { .. } => {
                Self::new(ProblemKind::BadContext, error.to_string())
                    .hint("offer the context again, and send exactly what was offered")
            }
            ContextError::ForeignBucket { .. } => Self::new(ProblemKind::BadContext, error.to_string())
                .hint("set the same S3_BUCKET for client and server, or for neither"),
            ContextError::ForeignKey(_) => Self::new(ProblemKind::BadContext, error.to_string()),
            ContextError::Missing(_) => Self::new(ProblemKind::NoSuchContext, error.to_string())
                .hint("offer the context and send it again"),
            ContextError::Interrupted(source) => match source.downcast::<BodyError>() {
                Ok(body) => (*body).into(),
                Err(other) => Self::internal(&*other),
            },
            ContextError::DiskFull => {
                Self::new(ProblemKind::ServerDiskFull, error.to_string()).hint(DISK_FULL_HINT)
            }
            ContextError::Io { .. } => Self::internal(&error),
        }
    }
}

/// Every mistake of a file, each with its location.
impl From<Report> for ProblemResponse {
    fn from(report: Report) -> Self {
        let mistakes: Vec<_> = report.mistakes.iter().map(Mistake::message).collect();
        let count = mistakes.len();
        let detail = format!("the config has {count} mistake{}", if count == 1 { "" } else { "s" });
        Self::new(ProblemKind::BadSpec, detail).mistakes(mistakes)
    }
}

fn no_such_build(text: &str) -> ProblemResponse {
    ProblemResponse::new(ProblemKind::NoSuchBuild, text).hint(
        "`bakery-client ps` lists the existing builds; ended builds are removed after the retention time",
    )
}
