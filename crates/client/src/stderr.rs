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
fn sanitised(text: &str) -> String {
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

/// A size in bytes with a decimal unit and at most one decimal place: `12.3 kB`.
pub fn bytes(count: u64) -> String {
    let mut rest = count;
    let mut fraction = 0;
    for unit in ["B", "kB", "MB", "GB"] {
        if rest < 1000 || unit == "GB" {
            return if unit == "B" || rest >= 100 {
                format!("{rest} {unit}")
            } else {
                format!("{rest}.{fraction} {unit}")
            };
        }
        fraction = rest % 1000 / 100;
        rest /= 1000;
    }
    unreachable!("the last unit takes every number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_server_contain_no_escapes_and_no_commands() {
        assert_eq!(sanitised("a\x1b[2J\n ::error::b\n##[c]"), "a\n|  ::error::b\n# #[c]\n");
    }

    #[test]
    fn sizes_have_a_unit_and_at_most_one_decimal_place() {
        let shown = [0, 999, 1_000, 12_345, 999_999, 5_368_709_120, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "12.3 kB", "999 kB", "5.3 GB", "18446744073 GB"]);
    }
}
