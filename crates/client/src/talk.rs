//! What is said to people, on standard error. Nobody listening is no reason to fail.

use std::io::Write as _;

use crate::exit::Failure;
use crate::render::{Colours, clean, defuse};

/// Says one thing. Texts from elsewhere are shown without escapes and without commands to CI systems.
pub fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(harmless(text).as_bytes());
}

fn harmless(text: &str) -> String {
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

/// Says why the client ends.
pub fn fail(failure: &Failure) {
    if failure.text.is_empty() {
        return;
    }
    let hint = failure.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    say(&format!("error: {}{hint}", failure.text));
}

/// A number of bytes for people: three digits, decimal units.
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
    fn what_a_server_says_does_no_harm() {
        assert_eq!(harmless("a\x1b[2J\n ::error::b\n##[c]"), "a\n|  ::error::b\n# #[c]\n");
    }

    #[test]
    fn sizes_read_well() {
        let shown = [0, 999, 1_000, 12_345, 999_999, 5_368_709_120, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "12.3 kB", "999 kB", "5.3 GB", "18446744073 GB"]);
    }
}
