//! What is said about entries that were left out or changed while they were packed.

use bakery_core::message::Message;

use crate::byte_path::display;

/// Maximum number of notices that are kept; further ones are only counted.
const NOTICES: usize = 20;

/// Messages about entries.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    messages: Vec<Message>,
    more: usize,
}

impl Notices {
    /// `text` continues a sentence that starts with the entry.
    pub(crate) fn add(&mut self, path: &[u8], text: impl Into<Message>) {
        if self.messages.len() < NOTICES {
            let Message { text, hint } = text.into();
            self.messages.push(Message { text: format!("`{}` {text}", display(path)), hint });
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn into_messages(mut self) -> Vec<Message> {
        if self.more > 0 {
            self.messages.push(Message::new(format!("and {} more entries", self.more)));
        }
        self.messages
    }
}
