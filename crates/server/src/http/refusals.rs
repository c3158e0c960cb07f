//! What each room's errors are to the sender of a request: the one map, and it has no `_`.

use bakery_core::report::{Mistake, Report};

use super::body::BodyError;
use super::problem::{Kind, Refusal};
use crate::builds::{BuildError, InternalError, RunError, SubmitError};
use crate::contexts::ContextError;
use crate::logs::LogError;

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        let kind = match &error {
            SubmitError::Draining => Kind::Unavailable,
            SubmitError::BadKey => Kind::BadRequest,
            SubmitError::KeyReused => Kind::Conflict,
            SubmitError::BadSpec(_)
            | SubmitError::NoSuchPlatform { .. }
            | SubmitError::NoPlatform
            | SubmitError::NoSuchArch { .. } => Kind::BadSpec,
            SubmitError::Context(_) => Kind::BadContext,
            SubmitError::Internal(inner) => return inner.into(),
        };
        let refusal = Self::new(kind, error.to_string()).errors(error.errors().to_vec());
        match error.hint() {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    }
}

impl From<BuildError> for Refusal {
    fn from(error: BuildError) -> Self {
        match &error {
            BuildError::NoSuchBuild => no_such_build(&error.to_string()),
            BuildError::Internal(inner) => inner.into(),
        }
    }
}

impl From<RunError> for Refusal {
    fn from(error: RunError) -> Self {
        let kind = match &error {
            RunError::Unauthorized => Kind::Unauthorized,
            RunError::Over => Kind::RunOver,
            RunError::SecondBinder => Kind::RunTaken,
            RunError::LinesMissing { .. } => Kind::LinesMissing,
            RunError::Context(problem) => {
                return Self::new(Kind::NoSuchContext, problem.text.clone()).hint(problem.hint.clone());
            }
            RunError::Internal(inner) => return inner.into(),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<&InternalError> for Refusal {
    fn from(error: &InternalError) -> Self {
        match error {
            InternalError::Stopping => Self::draining(),
            InternalError::Ledger(_) | InternalError::Log(_) | InternalError::NoActor => {
                Self::internal(error)
            }
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        match &error {
            LogError::Missing(_) => no_such_build(&error.to_string()),
            LogError::BadBlock { .. } => Self::new(Kind::BadBlock, error.to_string()),
            LogError::Io { .. } => Self::internal(&error),
        }
    }
}

impl From<ContextError> for Refusal {
    fn from(error: ContextError) -> Self {
        match error {
            ContextError::TooLarge(_) => Self::new(Kind::TooLarge, error.to_string())
                .hint("leave out what the build does not need: .dockerignore"),
            ContextError::WrongLength { .. } | ContextError::WrongDigest { .. } => {
                Self::new(Kind::BadContext, error.to_string())
                    .hint("offer it again, and send what was offered")
            }
            ContextError::ForeignBucket { .. } => Self::new(Kind::BadContext, error.to_string())
                .hint("give client and server the same S3_BUCKET, or neither"),
            ContextError::ForeignKey(_) => Self::new(Kind::BadContext, error.to_string()),
            ContextError::Missing(_) => {
                Self::new(Kind::NoSuchContext, error.to_string()).hint("offer it and send it again")
            }
            ContextError::BrokenOff(source) => match source.downcast::<BodyError>() {
                Ok(body) => (*body).into(),
                Err(other) => Self::internal(&*other),
            },
            ContextError::Io { .. } => Self::internal(&error),
        }
    }
}

/// Every mistake of a file, each at its place.
impl From<Report> for Refusal {
    fn from(report: Report) -> Self {
        let errors: Vec<_> = report.mistakes.iter().map(Mistake::rendered).collect();
        let count = errors.len();
        let detail = format!("the config has {count} mistake{}", if count == 1 { "" } else { "s" });
        Self::new(Kind::BadSpec, detail).errors(errors)
    }
}

fn no_such_build(text: &str) -> Refusal {
    Refusal::new(Kind::NoSuchBuild, text)
        .hint("`bakery-client ps` lists the builds that there are; ended builds are removed after a while")
}
