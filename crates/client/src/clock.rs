//! The wall clock, in one place.

use jiff::Timestamp;

/// Now, to the millisecond.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the wall clock")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
