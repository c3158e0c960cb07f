//! Before the first line of the user's runs: the order, the context on disk, the login file.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bakery_core::wire::run::TaskOrder;
use bakery_link::{LinkError, RunApi};
use tokio::time::{Instant, sleep};

pub mod fetch;
pub mod login;

/// How long a server that answers as no Bakery server does may be on its way up behind a gateway.
const FOREIGN: Duration = Duration::from_mins(1);
/// How long a server may be away before the agent has its order and the context.
const AWAY: Duration = Duration::from_mins(10);

/// Trades the launch token for the order. Repeats until it is answered: the session is the same each time, so a lost
/// answer is given again.
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
        let patience = match &error {
            LinkError::Protocol { .. } => FOREIGN,
            error if error.is_transient() => AWAY,
            _ => Duration::ZERO,
        };
        match pauses.next() {
            Some(pause) if began.elapsed() < patience => {
                tracing::warn!(%error, "no order yet");
                sleep(pause).await;
            }
            _ => return Err(error),
        }
    }
}
