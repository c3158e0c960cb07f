//! The one error type of this crate.

use std::borrow::Cow;

use bakery_core::message::Hint;
use bakery_core::reason::Reason;

/// Why a request to a registry failed. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RegistryError {
    /// The machine-readable reason.
    pub reason: Reason,
    /// For people: which registry and repository, what was tried, what came back.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Hint for RegistryError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        self.hint.as_deref().map(Cow::Borrowed)
    }
}
