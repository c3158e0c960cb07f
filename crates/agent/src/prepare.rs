//! Preparation of a run: fetching the order and the context, and writing the registry logins.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bakery_core::wire::run::TaskOrder;
use bakery_link::{LinkError, RunApi};
use tokio::time::{Instant, sleep};

pub mod fetch;
pub mod login;

/// How long answers that are not a Bakery server's are retried: a gateway may answer while the server starts.
const GATEWAY_LIMIT: Duration = Duration::from_mins(1);
/// How long an unreachable server is retried while the agent does not have its order and the context.
const OUTAGE_LIMIT: Duration = Duration::from_mins(10);

/// Exchanges the launch token for the order. A lost answer is not a problem: every attempt uses the same session, for
/// which the server returns the same order again.
pub async fn bind(runs: &RunApi) -> Result<TaskOrder, LinkError> {
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(3))
        .with_jitter()
        .without_max_times()
        .build();
    let began = Instant::now();
    loop {
        let error = match runs.bind(env!("CARGO_PKG_VERSION")).await {
            Ok(order) => return Ok(order),
            Err(error) => error,
        };
        let limit = match &error {
            LinkError::Protocol { .. } => GATEWAY_LIMIT,
            error if error.is_transient() => OUTAGE_LIMIT,
            _ => Duration::ZERO,
        };
        match pauses.next() {
            Some(pause) if began.elapsed() < limit => {
                tracing::warn!(%error, "cannot get the order; retrying");
                sleep(pause).await;
            }
            _ => return Err(error),
        }
    }
}
