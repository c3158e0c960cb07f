//! What the relay tells of itself in numbers. The hot path adds to atomics, once a write and once a chunk.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Logs, lock};

/// What has passed in this life of the process.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic {
    lines: Counter,
    bytes: Counter,
    dropped: Counter,
    sent: Counter,
}

/// What one write takes from agents.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// Lines that had not come before.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of the lines that are kept as numbers only.
    pub dropped: u64,
}

impl Traffic {
    pub(super) fn took(&self, taken: Taken) {
        self.lines.inc_by(taken.lines);
        self.bytes.inc_by(taken.bytes);
        self.dropped.inc_by(taken.dropped);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }
}

impl Logs {
    /// Registers what has passed in this life of the process, and how far behind followers are now.
    pub fn measure(&self, registry: &mut Registry) {
        let traffic = &self.traffic;
        let text = "Lines of builds taken from agents; each counts once, however often it is sent";
        registry.register("relay_lines", text, traffic.lines.clone());
        let text = "Bytes of the lines taken from agents, as agents encode them";
        registry.register("relay_bytes", text, traffic.bytes.clone());
        let text =
            "Lines taken from agents and kept as numbers only: beyond a task's bound, or lost by the agent";
        registry.register("relay_lines_dropped", text, traffic.dropped.clone());
        let text = "Bytes of logs handed to the connections of their readers";
        registry.register("relay_sent_bytes", text, traffic.sent.clone());

        let logs: Vec<_> = lock(&self.open).values().filter_map(|cell| cell.get().cloned()).collect();
        let (mut followers, mut slowest) = (0, 0);
        for behind in logs.iter().flat_map(|log| log.behind()) {
            followers += 1;
            slowest = slowest.max(behind);
        }
        let gauge = |value: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            gauge
        };
        registry.register("followers", "Readers that follow a log as it grows", gauge(followers));
        let text = "Bytes between the place of the slowest follower and the end of its log";
        registry.register("follower_lag_bytes", text, gauge(slowest));
    }
}
