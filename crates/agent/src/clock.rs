//! The agent's only wall clock, used for the timestamps of log lines. Time limits use the monotonic clock.

use jiff::Timestamp;

/// The current time, truncated to milliseconds.
#[expect(clippy::disallowed_methods, reason = "this module is the agent's wall clock")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
