//! How many connections a listener accepts, in total and per address.

use bakery_core::message::Message;

/// Connections of one listener at a time, if the server may open enough files ...
const CONNECTIONS: u32 = 1024;
/// ... plus this many for each run whose agent uses the listener.
const RUN_CONNECTIONS: u32 = 4;
/// Every listener accepts at least this many.
const FEWEST: u32 = 16;
/// Open files per connection: its socket, and the log or context that it reads or writes.
const FILES: u64 = 2;
/// Listeners that may be at their limit at the same time.
const LISTENERS: u64 = 2;
/// Files that the server opens for other purposes: ledger, logs, platforms, registries.
const OTHER_FILES: u64 = 256;

/// How many connections a listener accepts at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In total; for a further one, an idle connection is closed.
    pub total: u32,
    /// From one address (of IPv6, one /64 network); further ones are closed at once.
    pub per_address: u32,
}

impl ConnectionLimits {
    /// For the public listener of a server that may open `files`, used by the agents of up to `runs` runs. One address may
    /// have half of the connections, since a proxy forwards for many clients; where it forwards for agents too, all but
    /// an eighth.
    pub fn public(files: u64, runs: usize) -> Self {
        let total = fitting(files, wanted(runs));
        Self { total, per_address: if runs == 0 { total / 2 } else { total - total / 8 } }
    }

    /// For the agent listener. One address may have an eighth of the connections: a container needs two or three.
    pub fn agents(files: u64) -> Self {
        let total = fitting(files, CONNECTIONS);
        Self { total, per_address: total / 8 }
    }
}

/// A warning if the server may open too few files for a public listener that is used by the agents of up to `runs` runs.
pub fn open_files_warning(files: u64, runs: usize) -> Option<Message> {
    let connections = wanted(runs);
    let (total, wanted) =
        (fitting(files, connections), OTHER_FILES + LISTENERS * FILES * u64::from(connections));
    (total < connections).then(|| {
        Message::new(format!(
            "the limit of open files is {files}: each listener accepts {total} connections instead of {connections}"
        ))
        .with_hint(format!("raise the hard limit to {wanted} (ulimit -Hn, LimitNOFILE=, --ulimit nofile=)"))
    })
}

fn wanted(runs: usize) -> u32 {
    let runs = u32::try_from(runs).unwrap_or(u32::MAX);
    CONNECTIONS.saturating_add(runs.saturating_mul(RUN_CONNECTIONS))
}

fn fitting(files: u64, wanted: u32) -> u32 {
    let fitting = files.saturating_sub(OTHER_FILES) / (LISTENERS * FILES);
    u32::try_from(fitting).unwrap_or(wanted).clamp(FEWEST, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_accept_what_the_limit_of_open_files_allows() {
        assert_eq!(ConnectionLimits::public(u64::MAX, 0), ConnectionLimits { total: 1024, per_address: 512 });
        assert_eq!(
            ConnectionLimits::public(u64::MAX, 1000),
            ConnectionLimits { total: 5024, per_address: 4396 }
        );
        assert_eq!(ConnectionLimits::agents(1 << 20), ConnectionLimits { total: 1024, per_address: 128 });
        assert_eq!(ConnectionLimits::agents(1024), ConnectionLimits { total: 192, per_address: 24 });
        assert_eq!(ConnectionLimits::agents(0), ConnectionLimits { total: 16, per_address: 2 });
        assert_eq!(open_files_warning(4352, 0), None);
        assert!(open_files_warning(4352, 100).unwrap().text.contains("1424"));
        let warning = open_files_warning(1024, 0).unwrap();
        assert!(warning.text.contains("files is 1024:") && warning.text.contains("192 connections"));
        assert!(warning.hint.unwrap().contains("4352"));
    }
}
