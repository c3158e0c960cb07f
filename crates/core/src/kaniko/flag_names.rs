//! The names of Kaniko's flags, as arguments and variables spell them.

use super::{RESERVED, verbosity};

/// One spelling for one flag: Kaniko has `snapshot-mode` and `snapshotMode`, and variables have no dashes.
pub(super) fn folded(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// The name of the flag that an argument sets; `None` for the value of another flag.
pub(super) fn name_of(argument: &str) -> Option<String> {
    if let Some(long) = argument.strip_prefix("--") {
        let name = long.split_once('=').map_or(long, |(name, _)| name);
        return Some(name.to_owned());
    }
    if verbosity(argument).is_some() {
        return Some("verbosity".to_owned());
    }
    let short = argument.strip_prefix('-')?.chars().next()?;
    RESERVED.iter().find(|(_, letter, _)| *letter == Some(short)).map(|(name, ..)| (*name).to_owned())
}
