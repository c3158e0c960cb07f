//! One loop that removes what nobody needs: old builds and their logs, old contexts, and leftovers on platforms.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::names::{BuildId, RunName};
use tokio_util::sync::CancellationToken;

use super::actors::Actors;
use super::panics::catch_panic;
use super::store::BuildStore;
use super::{ContextStore, InternalError, Launchers};
use crate::clock::Clock;

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Ended builds and their logs.
    pub builds: Duration,
    /// Bytes of all logs together; beyond them the builds that ended first are removed first.
    pub log_bytes: u64,
    /// Contexts after their last use.
    pub contexts: Duration,
    /// A container of this installation that is not in the ledger is left alone while its build is younger than this.
    pub leftovers: Duration,
    /// Between two rounds.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self {
            builds: day * 14,
            log_bytes: 20 << 30,
            contexts: day * 7,
            leftovers: Duration::from_mins(10),
            every: Duration::from_mins(10),
        }
    }
}

/// A build that has ended no longer ago than this is kept however big the logs are: its client may still read.
const FRESH: Duration = Duration::from_hours(1);

/// Removes what nobody needs.
pub(super) struct Sweeper {
    pub(super) store: BuildStore,
    pub(super) contexts: Arc<dyn ContextStore>,
    pub(super) launchers: Launchers,
    pub(super) actors: Actors,
    pub(super) retention: Retention,
    pub(super) clock: Clock,
}

impl Sweeper {
    /// Sweeps until the server stops; the first round is at once.
    pub(super) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let mut tick = tokio::time::interval(self.retention.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let round = async {
                tick.tick().await;
                // One that panics is tried again in the next round too.
                catch_panic("sweep", self.round()).await
            };
            if stopping.run_until_cancelled(round).await.is_none() {
                return;
            }
        }
    }

    /// One round. What fails is logged, and tried again in the next.
    pub(super) async fn round(&self) {
        if let Err(error) = self.old_builds().await {
            tracing::error!(
                error = &error as &dyn StdError,
                "old builds cannot be removed; the next round retries"
            );
        }
        if let Err(error) = self.old_contexts().await {
            tracing::error!(
                error = &error as &dyn StdError,
                "old contexts cannot be removed; the next round retries"
            );
        }
        self.leftovers().await;
    }

    /// Builds beyond their retention, then the oldest while the logs are too big; and logs that belong to no build.
    async fn old_builds(&self) -> Result<(), InternalError> {
        let logs = self.store.logs.clone();
        // Asked before the ledger: a build whose log is made in between is not mistaken for an orphan.
        let sizes = tokio::task::spawn_blocking(move || logs.sizes()).await;
        let mut sizes = sizes.ok().and_then(Result::ok).unwrap_or_default();
        let now = self.clock.now();
        let mut total: u64 = sizes.values().sum();
        // All in one answer: a build that ends between two would be in neither, and its log an orphan.
        for (build, ended) in self.store.ledger.all_builds().await? {
            let size = sizes.remove(&build).unwrap_or_default();
            let Some(ended) = ended else { continue };
            let age = Duration::from_millis(
                u64::try_from(now.as_millisecond() - ended.as_millisecond()).unwrap_or_default(),
            );
            if age > self.retention.builds || (total > self.retention.log_bytes && age > FRESH) {
                self.store.ledger.remove(build).await?;
                self.store.logs.remove(build).await?;
                total = total.saturating_sub(size);
                tracing::info!(%build, "removed an old build and its log");
            }
        }
        for build in sizes.into_keys() {
            if self.is_older(build) {
                self.store.logs.remove(build).await?;
            }
        }
        Ok(())
    }

    async fn old_contexts(&self) -> Result<(), InternalError> {
        for context in self.store.ledger.open_contexts().await? {
            self.contexts.needed(&context).await;
        }
        self.contexts.sweep(self.retention.contexts).await;
        Ok(())
    }

    /// Containers of this installation that belong to no open build and no pending stop.
    async fn leftovers(&self) {
        for (platform, launcher) in &*self.launchers {
            let held = match launcher.list().await {
                Ok(held) => held,
                Err(error) => {
                    tracing::warn!(%platform, %error, hint = error.message.hint, "the containers of the platform cannot be listed");
                    continue;
                }
            };
            for run in held.into_iter().filter(|run| self.is_leftover(*run)) {
                tracing::warn!(%platform, %run, "stopping a container that belongs to no build");
                if let Err(error) = launcher.stop(&run).await {
                    tracing::warn!(%platform, %run, %error, hint = error.message.hint, "stopping a leftover container failed; the next round retries");
                }
            }
        }
    }

    fn is_leftover(&self, run: RunName) -> bool {
        if !self.is_older(run.task.build) {
            return false;
        }
        // An open build's runs are looked after by its actor, and by pending stops once they have ended.
        self.actors.state(run.task.build).is_none_or(|state| {
            let index = usize::from(run.task.index);
            index >= state.tasks.len() || run.attempt > state.tasks[index].task.attempt
        })
    }

    /// Old enough that nothing about the build can be under way that is not known here.
    fn is_older(&self, build: BuildId) -> bool {
        let now = u64::try_from(self.clock.now().as_millisecond()).unwrap_or_default();
        u128::from(now.saturating_sub(build.millis())) > self.retention.leftovers.as_millis()
    }
}
