//! The report: the result of the run, sent until the server has received it.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bakery_core::image::Digest;
use bakery_core::reason::Reason;
use bakery_core::wire::run::{ReportAck, Stage, TaskReport, TaskResult};
use bakery_link::{LinkError, RunApi};
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Stop};
use crate::mask::Masker;
use crate::shipper::is_rejection;
use crate::termination::TerminationCause;

/// The outcome as it is reported, with secrets masked. `stage` is the stage in which the work ended.
pub fn result(outcome: &Result<Digest, Stop>, stage: Stage, masker: &Masker) -> TaskResult {
    let failure = match outcome {
        Ok(digest) => return TaskResult::Baked { digest: digest.clone() },
        Err(Stop::Terminated(TerminationCause::Cancelled)) => return TaskResult::Cancelled,
        Err(Stop::Terminated(cause)) => &termination(cause, stage),
        Err(Stop::Failed(failure)) => failure,
    };
    let hide = |text: &str| masker.text(text).into_owned();
    TaskResult::Failed {
        reason: failure.reason,
        text: hide(&failure.message.text),
        hint: failure.message.hint.as_deref().map(hide),
        exit_code: failure.exit_code,
        tail: failure.tail.iter().map(|line| hide(line)).collect(),
    }
}

/// A termination from outside as a failure.
pub fn termination(cause: &TerminationCause, stage: Stage) -> Failure {
    match cause {
        TerminationCause::Cancelled => {
            Failure::new(Reason::Cancelled, format!("cancelled in stage `{stage}`"))
        }
        TerminationCause::Deadline(limit) => {
            let text =
                format!("the task exceeded its time limit of {} s in stage `{stage}`", limit.as_secs());
            Failure::new(Reason::TaskTimeout, text).with_hint(Reason::TaskTimeout.hint())
        }
        TerminationCause::Sigterm => {
            let text = format!("the platform stopped the container (SIGTERM) in stage `{stage}`");
            Failure::new(Reason::Evicted, text)
        }
        TerminationCause::Rejected(error) => Failure::new(
            Reason::AgentLost,
            format!("the server no longer accepts requests of this run: {error}"),
        ),
    }
}

/// Sends the report, at least once, until the server answers, rejects it permanently, or `deadline` is reached.
pub async fn deliver(runs: &RunApi, report: &TaskReport, deadline: Instant) -> Result<ReportAck, LinkError> {
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
        let permanent = is_rejection(&error) || matches!(error.status(), Some(400 | 413 | 422));
        match pauses.next() {
            Some(pause) if !permanent && Instant::now() + pause < deadline => {
                tracing::warn!(%error, "the report was not accepted; retrying");
                sleep(pause).await;
            }
            _ => return Err(error),
        }
    }
}
