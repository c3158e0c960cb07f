//! The keys at the top of a Compose file.

use crate::decode::{Field, unknown_key};
use crate::message::Message;
use crate::report::{Findings, did_you_mean};
use crate::yaml::Value;

const TOP: &[&str] =
    &["version", "name", "services", "networks", "volumes", "configs", "secrets", "include", "models"];

/// Checks the keys of a file, or of files that are merged.
pub(super) fn check_top_level(root: &Field<'_>, findings: &mut Findings) {
    for (key, field) in root.entries() {
        match key {
            "version" => {
                findings.notice(field.location, Message::new("obsolete, ignored").with_hint("leave it out"));
            }
            _ if TOP.contains(&key) || key.starts_with("x-") => {}
            _ => findings.mistake(field.location, unknown_key(key, did_you_mean(key, TOP))),
        }
    }
}

/// The services of the whole project; `None` after a mistake.
pub(super) fn services_of<'n>(root: &Field<'n>, findings: &mut Findings) -> Option<Field<'n>> {
    check_top_level(root, findings);
    match root.get("services") {
        Some(services) if matches!(services.node.value, Value::Map(_)) => return Some(services),
        Some(services) => services.expected("a mapping of services", findings),
        None => {
            let message = Message::new("`services` is missing");
            findings
                .mistake(root.location.clone(), message.with_hint("a Compose file lists its services there"));
        }
    }
    None
}
