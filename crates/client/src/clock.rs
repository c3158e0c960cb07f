//! The wall clock. No other module reads it.

use jiff::Timestamp;

/// The current time, to the millisecond.
#[expect(clippy::disallowed_methods, reason = "the only module that reads the wall clock")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
