//! Texts for people: what happened, and what to do about it.
//!
//! Both are separate fields from where they are made to where a person reads them, so that every reader shows the hint
//! in its own way and nobody has to search for it in a text.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits;

/// A text for people and the hint that belongs to it. Displays as the text alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Message {
    /// What happened.
    pub text: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Message {
    /// A message without a hint.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None }
    }

    /// An error's text and hint.
    pub fn of(error: &(impl Hint + fmt::Display)) -> Self {
        Self { text: error.to_string(), hint: error.hint().map(Cow::into_owned) }
    }

    /// The same text with this hint.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The message with text and hint cut to [`limits::TEXT_BYTES`] each.
    #[must_use]
    pub fn clipped(self) -> Self {
        Self { text: limits::clip(self.text), hint: self.hint.map(limits::clip) }
    }

    /// The message as a person reads it, see [`rendered`].
    pub fn rendered(&self) -> String {
        rendered(&self.text, self.hint.as_deref())
    }

    /// The message as one of several, see [`indented`].
    pub fn indented(&self) -> String {
        indented(&self.text, self.hint.as_deref())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An error that may have a hint.
pub trait Hint {
    /// What to do about it; `None` if the text is enough.
    fn hint(&self) -> Option<Cow<'_, str>>;
}

/// A text with its hint on a line of its own, as a person reads them. Only renderers call this.
pub fn rendered(text: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{text}\nhint: {hint}"),
        None => text.to_owned(),
    }
}

/// The same for one of several texts: the hint's line is indented.
pub fn indented(text: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{text}\n  hint: {hint}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_a_hint_is_stored_and_read_as_its_text() {
        let plain = Message::new("disk full");
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"text":"disk full"}"#);
        assert_eq!(serde_json::from_str::<Message>(r#"{"text":"disk full"}"#).unwrap(), plain);
    }

    #[test]
    fn only_a_renderer_puts_text_and_hint_together() {
        let message = Message::new("disk full").with_hint("write less");
        assert_eq!(message.to_string(), "disk full");
        assert_eq!(message.rendered(), "disk full\nhint: write less");
    }
}
