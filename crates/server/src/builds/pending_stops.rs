//! "The container still lives" is a stored pending stop, retried until the platform confirms that it does not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::lifecycle::TaskEvent;
use bakery_core::names::{Platform, RunName};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shared;
use super::actor::{Event, Message};
use super::ledger::LedgerError;
use super::panics::{RestartBackoff, catch_panic};

/// A platform that has not answered a stop within this time is asked again.
const STOP_TAKES: Duration = Duration::from_mins(2);

/// How long a stopping server waits for the containers of settled runs to go.
const LAST_TAKES: Duration = Duration::from_secs(8);

pub(super) enum StopCommand {
    /// Stop this container; where it `lingers` it may end by itself first.
    Stop {
        run: RunName,
        platform: Platform,
        lingers: bool,
    },
    /// The platform says that it is gone.
    Gone(RunName),
    Done {
        run: RunName,
        confirmed: bool,
    },
}

/// The handle of the loop.
#[derive(Clone)]
pub(super) struct PendingStops(mpsc::UnboundedSender<StopCommand>);

impl PendingStops {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<StopCommand>) {
        let (tell, hear) = mpsc::unbounded_channel();
        (Self(tell), hear)
    }

    pub(super) fn stop(&self, run: RunName, platform: Platform, lingers: bool) {
        // Without its loop the server is stopping; the ledger keeps the pending stop.
        let _ = self.0.send(StopCommand::Stop { run, platform, lingers });
    }

    pub(super) fn gone(&self, run: RunName) {
        let _ = self.0.send(StopCommand::Gone(run));
    }
}

struct Entry {
    platform: Platform,
    /// `None` while a stop is under way.
    due: Option<Instant>,
    tries: u32,
}

/// Does the stops until the server stops.
pub(super) async fn run(shared: Arc<Shared>, mut words: mpsc::UnboundedReceiver<StopCommand>) {
    let mut again = RestartBackoff::default();
    while catch_panic("stops", serve(&shared, &mut words)).await.is_none() {
        // What the loop knew has fallen with it.
        loop {
            if !again.pause(&shared).await {
                return;
            }
            match take_up(&shared).await {
                Ok(()) => break,
                Err(error) => unreadable(&error),
            }
        }
    }
}

/// Takes up every stop that the ledger knows. Which of them may end by themselves first it does not know.
async fn take_up(shared: &Shared) -> Result<(), LedgerError> {
    for (run, platform) in shared.ledger.pending_stops().await? {
        shared.stops.stop(run, platform, true);
    }
    Ok(())
}

fn unreadable(error: &LedgerError) {
    tracing::warn!(error = error as &dyn std::error::Error, "the pending stops could not be read");
}

async fn serve(shared: &Arc<Shared>, words: &mut mpsc::UnboundedReceiver<StopCommand>) {
    let mut open: HashMap<RunName, Entry> = HashMap::new();
    loop {
        let now = Instant::now();
        for (run, entry) in &mut open {
            if entry.due.is_some_and(|due| due <= now) {
                entry.due = None;
                stop(shared, *run, entry.platform);
            }
        }
        let next = open.values().filter_map(|entry| entry.due).min();
        let word = tokio::select! {
            biased;
            () = shared.stopping.cancelled() => return,
            word = words.recv() => word,
            () = super::sleep_until(next) => continue,
        };
        let timing = &shared.settings.timing;
        match word {
            None => return,
            Some(StopCommand::Stop { run, platform, lingers }) => {
                let due = Instant::now() + if lingers { timing.linger } else { Duration::ZERO };
                let entry = open.entry(run).or_insert(Entry { platform, due: Some(due), tries: 0 });
                entry.due = entry.due.map(|before| before.min(due));
            }
            Some(StopCommand::Gone(run)) => {
                if let Some(entry) = open.get_mut(&run) {
                    entry.due = entry.due.map(|before| before.min(Instant::now()));
                }
            }
            Some(StopCommand::Done { run, confirmed: true }) => {
                open.remove(&run);
                shared.run_slots.free(run);
                shared.tell(run.task.build, Message::Happens(Event::of_run(run, TaskEvent::StopConfirmed)));
            }
            Some(StopCommand::Done { run, confirmed: false }) => {
                if let Some(entry) = open.get_mut(&run) {
                    let wait = timing.stop_retry.saturating_mul(1 << entry.tries.min(16));
                    entry.tries += 1;
                    entry.due = Some(Instant::now() + wait.min(timing.stop_retry_max));
                }
            }
        }
    }
}

/// Does what is still pending, once, while the server stops. What does not succeed now is the next start's.
pub(super) async fn last(shared: &Arc<Shared>) {
    let pending = match shared.ledger.pending_stops().await {
        Ok(pending) => pending,
        Err(error) => {
            unreadable(&error);
            return;
        }
    };
    let stops =
        pending.into_iter().map(|(run, platform)| catch_panic("stop", stop_once(shared, run, platform)));
    if tokio::time::timeout(LAST_TAKES, futures_util::future::join_all(stops)).await.is_err() {
        tracing::warn!("the platform did not remove every ended container in time; the next start does");
    }
}

fn stop(shared: &Arc<Shared>, run: RunName, platform: Platform) {
    let shared = Arc::clone(shared);
    let tasks = shared.tasks.clone();
    drop(tasks.spawn("stop", async move {
        let confirmed = tokio::select! {
            () = shared.stopping.cancelled() => return,
            confirmed = catch_panic("stop", stop_once(&shared, run, platform)) => confirmed.unwrap_or(false),
        };
        let _ = shared.stops.0.send(StopCommand::Done { run, confirmed });
    }));
}

async fn stop_once(shared: &Shared, run: RunName, platform: Platform) -> bool {
    let Some(launcher) = shared.launchers.get(&platform) else {
        tracing::warn!(%run, %platform, "cannot stop a container: this server has no such platform any more");
        return false;
    };
    match tokio::time::timeout(STOP_TAKES, launcher.stop(&run)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%run, %platform, %error, hint = error.message.hint, "a container could not be stopped; trying again");
            return false;
        }
        Err(_) => {
            tracing::warn!(%run, %platform, "the platform did not answer a stop; trying again");
            return false;
        }
    }
    match shared.ledger.fulfil(run).await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%run, error = &error as &dyn std::error::Error, "a confirmed stop could not be struck out");
            false
        }
    }
}
