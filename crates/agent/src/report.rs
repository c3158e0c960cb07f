//! What became of the run, told until it is heard.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bakery_core::image::Digest;
use bakery_core::reason::Reason;
use bakery_core::wire::run::{ReportAck, Stage, TaskReport, TaskResult};
use bakery_link::{LinkError, RunApi};
use tokio::time::{Instant, sleep};

use crate::ends::Cause;
use crate::failure::{Failure, Stop};
use crate::mask::Masker;
use crate::shipper::is_dismissal;

/// The outcome of the work as a report says it. `stage` is the one in which it ended.
pub fn result(outcome: &Result<Digest, Stop>, stage: Stage, masker: &Masker) -> TaskResult {
    let failure = match outcome {
        Ok(digest) => return TaskResult::Baked { digest: digest.clone() },
        Err(Stop::Ended(Cause::Cancelled)) => return TaskResult::Cancelled,
        Err(Stop::Ended(cause)) => &ended(cause, stage),
        Err(Stop::Failed(failure)) => failure,
    };
    TaskResult::Failed {
        reason: failure.reason,
        text: masker.text(&failure.sentence()).into_owned(),
        hint: None,
        exit_code: failure.exit_code,
        tail: failure.tail.iter().map(|line| masker.text(line).into_owned()).collect(),
    }
}

/// An end from outside as a failure.
pub fn ended(cause: &Cause, stage: Stage) -> Failure {
    match cause {
        Cause::Cancelled => Failure::new(Reason::Cancelled, format!("cancelled in stage {stage}")),
        Cause::Deadline(limit) => {
            let text = format!("the task ran into its limit of {} s in stage {stage}", limit.as_secs());
            Failure::new(Reason::TaskTimeout, text).hint(Reason::TaskTimeout.hint())
        }
        Cause::Terminated => {
            let text = format!("the platform took the container away (SIGTERM) in stage {stage}");
            Failure::new(Reason::Evicted, text)
        }
        Cause::Dismissed(why) => Failure::new(
            Reason::AgentLost,
            format!("the server does not take this run's words any more: {why}"),
        ),
    }
}

/// Delivers the report: repeated until it is answered, refused for good, or `until` has come. It is tried once at least.
pub async fn deliver(runs: &RunApi, report: &TaskReport, until: Instant) -> Result<ReportAck, LinkError> {
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
        .build();
    loop {
        let error = match runs.report(report).await {
            Ok(ack) => return Ok(ack),
            Err(error) => error,
        };
        let last = is_dismissal(&error) || matches!(error.status(), Some(400 | 413 | 422));
        match pauses.next() {
            Some(pause) if !last && Instant::now() + pause < until => {
                tracing::warn!(%error, "the report was not taken");
                sleep(pause).await;
            }
            _ => return Err(error),
        }
    }
}
