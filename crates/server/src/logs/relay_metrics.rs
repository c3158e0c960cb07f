//! Metrics of the log relay. The hot path adds to atomics, once per write and once per chunk.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Logs, lock};

/// Counters since the start of the process.
#[derive(Debug, Clone, Default)]
pub(super) struct RelayMetrics {
    lines: Counter,
    bytes: Counter,
    dropped: Counter,
    sent: Counter,
}

/// What one write appended from agents.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AppendCounts {
    /// Lines that were not received before.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of the lines of which only the number is kept.
    pub dropped: u64,
}

impl RelayMetrics {
    pub(super) fn appended(&self, counts: AppendCounts) {
        self.lines.inc_by(counts.lines);
        self.bytes.inc_by(counts.bytes);
        self.dropped.inc_by(counts.dropped);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }
}

impl Logs {
    /// Registers the counters, and how far followers are behind now.
    pub fn measure(&self, registry: &mut Registry) {
        let metrics = &self.metrics;
        let text = "Log lines received from agents, each counted once";
        registry.register("relay_lines", text, metrics.lines.clone());
        let text = "Bytes of the log lines received from agents, as encoded by them";
        registry.register("relay_bytes", text, metrics.bytes.clone());
        let text = "Log lines of which only the number is kept: above a task's limit, or lost by the agent";
        registry.register("relay_lines_dropped", text, metrics.dropped.clone());
        let text = "Bytes of logs sent to their readers";
        registry.register("relay_sent_bytes", text, metrics.sent.clone());

        let logs: Vec<_> = lock(&self.open).values().filter_map(|cell| cell.get().cloned()).collect();
        let (mut followers, mut slowest) = (0, 0);
        for lag in logs.iter().flat_map(|log| log.file.lags()) {
            followers += 1;
            slowest = slowest.max(lag);
        }
        let gauge = |value: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            gauge
        };
        registry.register("followers", "Readers that follow a growing log", gauge(followers));
        let text = "Bytes between the slowest follower and the end of its log";
        registry.register("follower_lag_bytes", text, gauge(slowest));
    }
}
