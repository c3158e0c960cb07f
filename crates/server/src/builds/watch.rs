//! One watch a platform: what it sees goes to the owners of the builds.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::lifecycle::{Cause, TaskEvent};
use bakery_core::names::Platform;
use bakery_core::reason::Reason;
use futures_util::StreamExt as _;

use super::Shared;
use super::actor::{Event, Message};
use super::panics::{RestartBackoff, catch_panic};
use crate::platform::{Exit, Launcher, Observation};

/// A watch never ends; should one do so nevertheless, it is begun again after this pause.
const AGAIN: Duration = Duration::from_secs(1);

/// Passes on what one platform sees, until the server stops.
pub(super) async fn run(shared: Arc<Shared>, platform: Platform, launcher: Arc<dyn Launcher>) {
    let mut again = RestartBackoff::default();
    while catch_panic("platform watch", serve(&shared, platform, &*launcher)).await.is_none()
        && again.pause(&shared).await
    {}
}

async fn serve(shared: &Shared, platform: Platform, launcher: &dyn Launcher) {
    let mut availability = launcher.availability();
    loop {
        let mut seen = launcher.watch();
        loop {
            let observation = tokio::select! {
                () = shared.stopping.cancelled() => return,
                Ok(()) = availability.changed() => {
                    shared.tell_all(|| Message::Silence(platform));
                    continue;
                }
                observation = seen.next() => observation,
            };
            match observation {
                Some(observation) => pass_on(shared, platform, observation),
                None => break,
            }
        }
        tracing::warn!(%platform, "the platform's watch has ended; beginning it again");
        tokio::time::sleep(AGAIN).await;
    }
}

fn pass_on(shared: &Shared, platform: Platform, observation: Observation) {
    match observation {
        Observation::Synced { live } => {
            let live: Arc<HashSet<_>> = Arc::new(live.into_iter().collect());
            shared.tell_all(|| Message::Held { platform, live: Arc::clone(&live) });
        }
        Observation::Progress { run, reason, message } => {
            let event = Event::of_run(run, TaskEvent::Progress(reason, message.clipped()));
            shared.tell(run.task.build, Message::Happens(event));
        }
        Observation::Gone { run, exit } => {
            shared.run_slots.free(run);
            shared.stops.gone(run);
            let event = Event::of_run(run, TaskEvent::Gone(cause(exit)));
            shared.tell(run.task.build, Message::Happens(event));
        }
    }
}

fn cause(exit: Exit) -> Cause {
    let reason = exit.reason.unwrap_or(Reason::AgentLost);
    Cause::new(reason, if exit.message.text.is_empty() { reason.text().into() } else { exit.message })
}
