//! What a start resumes: the builds, logs and stops that the ledger still holds open.

use std::sync::Arc;
use std::time::Duration;

use super::error::InternalError;
use super::log_error;
use super::pending_stops::PendingStops;
use super::run_slots::RunSlots;
use super::store::BuildStore;
use super::supervisor::Supervisor;

/// Resumes what the ledger holds open: logs without an end, pending stops, builds.
pub(super) async fn resume(
    store: &BuildStore,
    slots: &RunSlots,
    stops: &PendingStops,
    linger: Duration,
    supervisor: &Arc<Supervisor>,
) -> Result<(), InternalError> {
    for build in store.ledger.unfinished_logs().await? {
        if let Err(error) = store.finish_log(build).await {
            log_error(build, &error, "the log of an ended build cannot be completed; the next start retries");
        }
    }
    for (run, platform) in store.ledger.pending_stops().await? {
        slots.hold(platform, run);
        // Whether it may end by itself first the ledger does not know.
        stops.add(run, platform, linger);
    }
    for build in store.ledger.open_builds().await? {
        if let Err(error) = supervisor.adopt(build).await {
            log_error(build, &error, "an open build cannot be resumed; a cancel or the next start retries");
        }
    }
    // One bad build is no reason not to serve the others, a bad ledger is.
    Ok(store.ledger.ping().await?)
}
