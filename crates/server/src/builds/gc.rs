//! One loop that removes what nobody needs: old builds and their logs, old contexts, and what platforms still hold.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::names::{BuildId, RunName};

use super::panics::catch_panic;
use super::{InternalError, Shared};

/// A build that has ended no longer ago than this is kept however big the logs are: its client may still read.
const FRESH: Duration = Duration::from_hours(1);

/// Sweeps until the server stops; the first round is at once.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(shared.settings.retention.every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            _ = tick.tick() => {}
        }
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            // One that panics is tried again in the next round too.
            _ = catch_panic("sweep", round(&shared)) => {}
        }
    }
}

/// One round. What fails is logged, and tried again in the next.
pub(super) async fn round(shared: &Shared) {
    if let Err(error) = old_builds(shared).await {
        tracing::error!(error = &error as &dyn StdError, "old builds could not be removed");
    }
    if let Err(error) = old_contexts(shared).await {
        tracing::error!(error = &error as &dyn StdError, "old contexts could not be removed");
    }
    leftovers(shared).await;
}

/// Builds beyond their retention, then the oldest while the logs are too big; and logs that belong to no build.
async fn old_builds(shared: &Shared) -> Result<(), InternalError> {
    let logs = shared.logs.clone();
    // Asked before the ledger: a build whose log is made in between is not mistaken for an orphan.
    let sizes = tokio::task::spawn_blocking(move || logs.sizes()).await;
    let mut sizes = sizes.ok().and_then(Result::ok).unwrap_or_default();
    let now = shared.clock.now();
    let mut total: u64 = sizes.values().sum();
    let retention = &shared.settings.retention;
    for (build, ended) in shared.ledger.ended_builds().await? {
        let age = Duration::from_millis(
            u64::try_from(now.as_millisecond() - ended.as_millisecond()).unwrap_or_default(),
        );
        let size = sizes.remove(&build).unwrap_or_default();
        if age > retention.builds || (total > retention.log_bytes && age > FRESH) {
            shared.ledger.remove(build).await?;
            shared.logs.remove(build).await?;
            total = total.saturating_sub(size);
            tracing::info!(%build, "an old build and its log are removed");
        }
    }
    let mut open: HashSet<BuildId> = shared.ledger.open_builds().await?.into_iter().collect();
    open.extend(shared.ledger.unfinished_logs().await?);
    for build in sizes.into_keys().filter(|build| !open.contains(build)) {
        if is_older(shared, build) {
            shared.logs.remove(build).await?;
        }
    }
    Ok(())
}

async fn old_contexts(shared: &Shared) -> Result<(), InternalError> {
    for context in shared.ledger.open_contexts().await? {
        shared.contexts.needed(&context).await;
    }
    shared.contexts.sweep(shared.settings.retention.contexts).await;
    Ok(())
}

/// Containers of this installation that no open build and no pending stop knows of.
async fn leftovers(shared: &Shared) {
    for (platform, launcher) in &shared.launchers {
        let held = match launcher.list().await {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%platform, %error, "the platform could not be asked for leftovers");
                continue;
            }
        };
        for run in held.into_iter().filter(|run| is_leftover(shared, *run)) {
            tracing::warn!(%platform, %run, "a container that nothing knows of is stopped");
            if let Err(error) = launcher.stop(&run).await {
                tracing::warn!(%platform, %run, %error, hint = error.message.hint, "a leftover could not be stopped; the next round tries again");
            }
        }
    }
}

fn is_leftover(shared: &Shared, run: RunName) -> bool {
    if !is_older(shared, run.task.build) {
        return false;
    }
    let state = shared.lock().get(&run.task.build).map(|handle| Arc::clone(&handle.state.borrow()));
    // An open build's runs are looked after by its owner, and by stops once they are over.
    state.is_none_or(|state| {
        let index = usize::from(run.task.index);
        index >= state.tasks.len() || run.attempt > state.tasks[index].task.attempt
    })
}

/// Old enough that nothing about the build can be under way that we do not know of.
fn is_older(shared: &Shared, build: BuildId) -> bool {
    let now = u64::try_from(shared.clock.now().as_millisecond()).unwrap_or_default();
    u128::from(now.saturating_sub(build.millis())) > shared.settings.retention.leftovers.as_millis()
}
