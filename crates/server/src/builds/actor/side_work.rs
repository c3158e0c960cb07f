//! Work beside an actor: it takes long, and its result is an event for the actor.

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::builds::events::BuildEvent;
use crate::builds::mailbox::Mailbox;
use crate::builds::panics::catch_panic;
use crate::spawn::Tasks;

/// Starts such work for one actor.
#[derive(Clone)]
pub(super) struct SideWork {
    pub(super) tasks: Tasks,
    pub(super) stopping: CancellationToken,
    pub(super) mailbox: Mailbox,
}

impl SideWork {
    /// Starts `work`. The actor gets the event that it returns, or `on_panic` if it panics: the actor waits for one of
    /// them. Work that the stop of the server interrupts, or that is aborted, has no result.
    pub(super) fn start(
        &self,
        name: &'static str,
        on_panic: BuildEvent,
        work: impl Future<Output = BuildEvent> + Send + 'static,
    ) -> AbortHandle {
        let Self { tasks, stopping, mailbox } = self.clone();
        let handle = tasks.spawn(name, async move {
            if let Some(result) = stopping.run_until_cancelled(catch_panic(name, work)).await {
                mailbox.post(result.unwrap_or(on_panic));
            }
        });
        handle.abort_handle()
    }
}

#[cfg(test)]
mod tests {
    use bakery_core::names::BuildId;

    use super::*;
    use crate::builds::mailbox::{ActorMessage, mailbox};

    #[tokio::test]
    async fn a_build_is_reported_as_vacated_even_if_the_wait_for_it_panics() {
        let (mailbox, mut inbox) = mailbox(BuildId::new(1, 2));
        let side_work = SideWork { tasks: Tasks::new(), stopping: CancellationToken::new(), mailbox };
        let work = async { panic!("the run slots panic") };
        side_work.start("vacate", BuildEvent::Vacated, work);
        assert!(matches!(inbox.next().await, ActorMessage::Event(BuildEvent::Vacated)));
        side_work.tasks.stop();
        assert!(side_work.tasks.ended(std::time::Duration::from_secs(5)).await);
        assert!(inbox.is_empty(), "once");
    }
}
