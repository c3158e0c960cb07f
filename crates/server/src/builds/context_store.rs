//! What builds need of the store of contexts.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use bakery_core::message::Hint;
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::run::ContextSource;

/// Why a context cannot be built from. Never holds a presigned URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ContextProblem {
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub hint: String,
}

impl Hint for ContextProblem {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.hint))
    }
}

/// What builds need of the store of contexts.
#[async_trait]
pub trait ContextStore: Send + Sync {
    /// Whether this owner may build from it: it exists, in a location that this server accepts, and is the owner's.
    async fn check(&self, owner: &str, context: &ContextRef) -> Result<(), ContextProblem>;
    /// How an agent reads it.
    async fn source(&self, context: &ContextRef) -> Result<ContextSource, ContextProblem>;
    /// A build needs it: its time to live starts again.
    async fn needed(&self, context: &ContextRef);
    /// An agent has read it.
    async fn read(&self, context: &ContextRef);
    /// An agent could not read it, or its digest does not match: the next client sends it again.
    async fn broken(&self, context: &ContextRef);
    /// Removes what has not been used for this long.
    async fn sweep(&self, unused_for: Duration);
}
