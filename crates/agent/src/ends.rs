//! Why a run ends before its work is done. The first cause wins.

use std::time::Duration;

use tokio::sync::watch;

/// What ended a run from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The server said so.
    Cancelled,
    /// The task has run into its limit.
    Deadline(Duration),
    /// The platform takes the container away (SIGTERM).
    Terminated,
    /// The server does not know the run any more.
    Dismissed(String),
}

/// Tells everybody that the run ends. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ends(watch::Sender<Option<Cause>>);

impl Ends {
    /// Ends the run, unless something has ended it already.
    pub fn end(&self, cause: Cause) {
        self.0.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(cause);
            }
            first
        });
    }

    /// What has ended the run.
    pub fn ended(&self) -> Option<Cause> {
        self.0.borrow().clone()
    }

    /// Waits for the end.
    pub async fn wait(&self) -> Cause {
        let mut changes = self.0.subscribe();
        loop {
            if let Some(cause) = changes.borrow_and_update().clone() {
                return cause;
            }
            // The other end is `self`: it cannot go away here.
            let _ = changes.changed().await;
        }
    }
}
