//! Messages for people, on standard error. If nobody reads them, that is not an error.

use std::io::Write as _;

use bakery_core::message::Message;

use crate::exit::Failure;
use crate::render::{Colours, clean, defuse};

/// Prints a text.
pub fn print(text: &str) {
    let _ = std::io::stderr().lock().write_all(sanitised(text).as_bytes());
}

/// Prints a message as a notice: it changes nothing, but the user may want to know it.
pub fn notice(message: &Message) {
    labelled("notice", message);
}

/// Prints a message as a warning.
pub fn warning(message: &Message) {
    labelled("warning", message);
}

/// Prints why the client exits; nothing for a silent failure.
pub fn error(failure: &Failure) {
    if !failure.messages.is_empty() {
        print(&format!("error: {}", failure.rendered()));
    }
}

fn labelled(label: &str, message: &Message) {
    print(&format!("{label}: {}", message.indented()));
}

/// The text without escape sequences and without commands to CI systems: parts of it may come from elsewhere.
pub(crate) fn sanitised(text: &str) -> String {
    let mut all = String::new();
    for line in text.lines() {
        let line = clean(line, Colours::Strip);
        if line.trim_start().starts_with("::") {
            all.push_str("| ");
        }
        all.push_str(&defuse(&line));
        all.push('\n');
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_server_contain_no_escapes_and_no_commands() {
        assert_eq!(sanitised("a\x1b[2J\n ::error::b\n##[c]"), "a\n|  ::error::b\n# #[c]\n");
    }
}
