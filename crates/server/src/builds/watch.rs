//! One watch for each platform: what it observes goes to the actors of the builds.

use std::sync::Arc;
use std::time::Duration;

use bakery_core::lifecycle::{Cause, TaskEvent};
use bakery_core::message::Message;
use bakery_core::names::Platform;
use bakery_core::reason::Reason;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::actors::Actors;
use super::events::BuildEvent;
use super::panics::{RestartBackoff, catch_panic};
use super::pending_stops::PendingStops;
use super::run_slots::RunSlots;
use crate::platform::{Exit, Launcher, Observation};

/// Pause before a watch that ended unexpectedly is restarted.
const RESTART: Duration = Duration::from_secs(1);

/// The watch of one platform.
pub(super) struct PlatformWatch {
    pub(super) platform: Platform,
    pub(super) launcher: Arc<dyn Launcher>,
    pub(super) actors: Actors,
    pub(super) slots: RunSlots,
    pub(super) stops: PendingStops,
    pub(super) back_off: Duration,
    pub(super) stopping: CancellationToken,
}

impl PlatformWatch {
    /// Forwards what the platform observes until the server stops.
    pub(super) async fn run(self) {
        let mut backoff = RestartBackoff::new(self.back_off);
        while catch_panic("platform watch", self.serve()).await.is_none()
            && backoff.pause(&self.stopping).await
        {}
    }

    async fn serve(&self) {
        let platform = self.platform;
        let mut availability = self.launcher.availability();
        // What it is now counts too: it may have changed while no watch ran.
        availability.mark_changed();
        loop {
            let mut observations = self.launcher.watch();
            loop {
                let observation = tokio::select! {
                    () = self.stopping.cancelled() => return,
                    Ok(()) = availability.changed() => {
                        let outage = availability.borrow_and_update().outage();
                        self.actors.post_all(&BuildEvent::Availability { platform, outage });
                        continue;
                    }
                    observation = observations.next() => observation,
                };
                match observation {
                    Some(observation) => self.forward(observation),
                    None => break,
                }
            }
            tracing::warn!(%platform, "the platform's watch has ended; starting it again");
            tokio::time::sleep(RESTART).await;
        }
    }

    fn forward(&self, observation: Observation) {
        match observation {
            Observation::Synced { live } => {
                let live = Arc::new(live.into_iter().collect());
                self.actors.post_all(&BuildEvent::Synced { platform: self.platform, live });
            }
            Observation::Progress { run, reason, message } => {
                let event = TaskEvent::Progress(reason, message.clipped());
                self.actors.post(run.task.build, BuildEvent::Run(run, event));
            }
            Observation::Gone { run, exit } => {
                self.slots.free(run);
                self.stops.ended(run);
                self.actors.post(run.task.build, BuildEvent::Run(run, TaskEvent::Gone(cause(exit))));
            }
        }
    }
}

fn cause(exit: Exit) -> Cause {
    let reason = exit.reason.unwrap_or(Reason::AgentLost);
    let message = exit.message;
    Cause::new(reason, if message.text.is_empty() { Message::from(reason.text()) } else { message })
}
