//! The waiting times of builds.

use std::time::Duration;

use bakery_core::limits;

/// Waiting times that the operator cannot set.
#[derive(Debug, Clone)]
pub struct Timing {
    /// After this long without contact with an agent its platform is asked.
    pub no_contact: Duration,
    /// How long a report may arrive after the end of its container.
    pub report_grace: Duration,
    /// How long a container may keep running after its report.
    pub linger: Duration,
    /// How long the end of a build that has failed is held back until none of its containers runs: whoever reads it
    /// should find nothing left. What a platform has not stopped by then stays a pending stop.
    pub vacate: Duration,
    /// Between the end of an attempt and the next.
    pub back_off: Duration,
    /// Before the first repetition of a stop that failed; doubles up to [`Timing::stop_retry_max`].
    pub stop_retry: Duration,
    /// The longest pause between repetitions of a stop.
    pub stop_retry_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            no_contact: limits::AGENT_SILENT,
            report_grace: limits::REPORT_GRACE,
            linger: Duration::from_secs(10),
            vacate: Duration::from_secs(4),
            back_off: Duration::from_secs(2),
            stop_retry: Duration::from_secs(1),
            stop_retry_max: Duration::from_mins(1),
        }
    }
}
