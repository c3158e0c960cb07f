//! Early termination of a run: a signal that every part of the agent can raise and wait for. The first cause wins.

use std::time::Duration;

use tokio::sync::watch;

/// Why a run is terminated before its work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminationCause {
    /// The server asked for it.
    Cancelled,
    /// The task exceeded its time limit, which is given here.
    Deadline(Duration),
    /// The platform stops the container (SIGTERM).
    Sigterm,
    /// The server no longer accepts this run's requests; the text is its error.
    Rejected(String),
}

/// A handle on the termination of a run. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Termination(watch::Sender<Option<TerminationCause>>);

impl Termination {
    /// Terminates the run. Does nothing if it is terminated already.
    pub fn trigger(&self, cause: TerminationCause) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(cause);
            }
            first
        });
    }

    /// Why the run is terminated; `None` while it is not.
    pub fn cause(&self) -> Option<TerminationCause> {
        self.0.borrow().clone()
    }

    /// Waits until the run is terminated.
    pub async fn wait(&self) -> TerminationCause {
        let mut changes = self.0.subscribe();
        loop {
            if let Some(cause) = changes.borrow_and_update().clone() {
                return cause;
            }
            // The sender is `self`, so it cannot be dropped here.
            let _ = changes.changed().await;
        }
    }
}
