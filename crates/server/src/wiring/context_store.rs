//! The context store that builds use: the server's own contexts, or the bucket with signed URLs, and how long these are
//! valid.

use std::time::Duration;

use async_trait::async_trait;
use bakery_context::s3::S3Store;
use bakery_core::message::Hint as _;
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::run::ContextSource;

use crate::builds::{ContextProblem, ContextStore, DISK_FULL_HINT};
use crate::contexts::{ContextError, Contexts};

/// How long a signed URL is valid. An agent reads the context at once; this leaves time for a slow network and for an
/// order that is sent again.
const URL_VALID: Duration = Duration::from_hours(1);

/// Adapts the contexts module to builds: maps its errors, and signs URLs of the bucket.
pub(super) struct BuildContexts {
    pub(super) contexts: Contexts,
    /// The bucket, if the server has keys of its own for it: then agents need none.
    pub(super) store: Option<S3Store>,
}

#[async_trait]
impl ContextStore for BuildContexts {
    async fn check(&self, owner: &str, context: &ContextRef) -> Result<(), ContextProblem> {
        self.contexts.check(owner, context).await.map_err(|error| problem(&error))
    }

    async fn source(&self, context: &ContextRef) -> Result<ContextSource, ContextProblem> {
        self.contexts.check_taken(context).await.map_err(|error| problem(&error))?;
        let source = self.contexts.source(context);
        let (ContextSource::S3 { key, .. }, Some(store)) = (&source, &self.store) else { return Ok(source) };
        let signed = store.presign_get(key, URL_VALID).await;
        let url = signed.map_err(|error| ContextProblem {
            hint: error.hint().unwrap_or_default().into_owned(),
            text: error.to_string(),
        })?;
        Ok(ContextSource::Url { url })
    }

    async fn needed(&self, context: &ContextRef) {
        log_failure(self.contexts.touch(context).await);
    }

    async fn read(&self, context: &ContextRef) {
        log_failure(self.contexts.used(context).await);
    }

    async fn broken(&self, context: &ContextRef) {
        log_failure(self.contexts.forget(context).await);
    }

    async fn sweep(&self, unused_for: Duration) {
        match self.contexts.sweep(unused_for).await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "unused contexts were removed"),
            Err(error) => log(&error),
        }
    }
}

fn problem(error: &ContextError) -> ContextProblem {
    let hint = match error {
        ContextError::Missing(_) => "send the context again",
        ContextError::ForeignBucket { .. } => "set the same S3_BUCKET for client and server",
        ContextError::ForeignKey(_) => "use the client of the server's version",
        ContextError::DiskFull => DISK_FULL_HINT,
        ContextError::TooLarge(_) => "exclude what the build does not need with .dockerignore",
        _ => "try again; if it fails again, the server's own log has the cause",
    };
    if matches!(error, ContextError::Io { .. }) {
        log(error);
    }
    ContextProblem { text: error.to_string(), hint: hint.to_owned() }
}

/// Logs a failure. When a context was used last only saves uploads: the build continues without.
fn log_failure(done: Result<(), ContextError>) {
    if let Err(error) = done {
        log(&error);
    }
}

fn log(error: &ContextError) {
    tracing::error!(error = error as &dyn std::error::Error, "the context store failed");
}
