//! The way to a build's actor: events, and requests that wait for an answer, in order of arrival.
//!
//! Whoever posts an event never waits: a platform's watch that waited for one actor would hold up every other build,
//! and two parts that wait for each other would do so for ever. Nor is an event lost. A mailbox is bounded all the same:
//! once it is full, a status of a platform replaces the one before it that nobody has read yet, so that at most a few
//! events wait for each run of the build. A request waits until the mailbox has capacity: its sender waits for the answer
//! anyway.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bakery_core::lifecycle::TaskEvent;
use bakery_core::names::{BuildId, RunName};
use bakery_core::wire::run::{OrderRequest, TaskOrder, TaskReport};
use tokio::sync::{Notify, oneshot};

use super::error::RunError;
use super::events::BuildEvent;

/// Above this many waiting messages, events are merged and requests wait.
const CAPACITY: usize = 256;

/// What an actor is sent.
pub(super) enum ActorMessage {
    /// Something has happened.
    Event(BuildEvent),
    /// An agent trades its launch token for its order.
    Bind { run: RunName, request: OrderRequest, reply: oneshot::Sender<Result<TaskOrder, RunError>> },
    /// An agent reports; the answer says whether the report settled its task.
    Report {
        run: RunName,
        report: TaskReport,
        /// Lines that the agent could not deliver.
        missing: u64,
        reply: oneshot::Sender<bool>,
    },
    /// A client cancels the build.
    Cancel { text: String, reply: oneshot::Sender<()> },
}

/// A new mailbox: the senders' end and the actor's.
pub(super) fn mailbox(build: BuildId) -> (Mailbox, Inbox) {
    with_capacity(build, CAPACITY)
}

pub(super) fn with_capacity(build: BuildId, capacity: usize) -> (Mailbox, Inbox) {
    let queue = Mutex::new(MessageQueue { messages: VecDeque::new(), open: true });
    let ends = Arc::new(MailboxEnds { build, capacity, queue, arrived: Notify::new(), freed: Notify::new() });
    (Mailbox(Arc::clone(&ends)), Inbox(ends))
}

/// The senders' end. Clones lead to the same actor.
#[derive(Clone)]
pub(super) struct Mailbox(Arc<MailboxEnds>);

/// The actor's end. The mailbox is closed when it is dropped: what waits is dropped with it.
pub(super) struct Inbox(Arc<MailboxEnds>);

struct MailboxEnds {
    build: BuildId,
    capacity: usize,
    queue: Mutex<MessageQueue>,
    arrived: Notify,
    freed: Notify,
}

struct MessageQueue {
    messages: VecDeque<ActorMessage>,
    open: bool,
}

impl Mailbox {
    /// Sends an event, without waiting. False if the actor is gone: its build has ended, it has panicked, or the server
    /// stops.
    pub(super) fn post(&self, event: BuildEvent) -> bool {
        let mut queue = self.0.lock();
        if !queue.open {
            return false;
        }
        let was_full = queue.messages.len() >= self.0.capacity;
        let event = if was_full { queue.merge(event) } else { Some(event) };
        if let Some(event) = event {
            queue.messages.push_back(ActorMessage::Event(event));
            if !was_full && queue.messages.len() == self.0.capacity {
                tracing::warn!(build = %self.0.build, "a build's mailbox is full: its actor is behind");
            }
        }
        self.0.arrived.notify_one();
        true
    }

    /// Sends a request once the mailbox has capacity for it. False if the actor is gone, as for [`Mailbox::post`].
    pub(super) async fn request(&self, request: ActorMessage) -> bool {
        loop {
            // Waiting begins before the look: what happens in between is not missed.
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            {
                let mut queue = self.0.lock();
                if !queue.open {
                    return false;
                }
                if queue.messages.len() < self.0.capacity {
                    queue.messages.push_back(request);
                    self.0.arrived.notify_one();
                    return true;
                }
            }
            freed.await;
        }
    }

    /// False if the actor is gone.
    pub(super) fn is_open(&self) -> bool {
        self.0.lock().open
    }
}

impl Inbox {
    /// The next message. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> ActorMessage {
        loop {
            let message = self.0.lock().messages.pop_front();
            if let Some(message) = message {
                self.0.freed.notify_one();
                return message;
            }
            self.0.arrived.notified().await;
        }
    }
}

#[cfg(test)]
impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().messages.is_empty()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.open = false;
        let unread = std::mem::take(&mut queue.messages);
        drop(queue);
        self.0.freed.notify_waiters();
        // Dropping the unread requests wakes their senders, with an error.
        drop(unread);
    }
}

impl MailboxEnds {
    fn lock(&self) -> MutexGuard<'_, MessageQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MessageQueue {
    /// Merges the event with the newest waiting one about the same thing, if the build comes out the same; else returns
    /// it.
    fn merge(&mut self, event: BuildEvent) -> Option<BuildEvent> {
        use BuildEvent::{Availability, Run, Synced};
        use TaskEvent::{Gone, Progress};
        let Some(newest) = self.messages.iter().rposition(|message| message.is_about_same(&event)) else {
            return Some(event);
        };
        let ActorMessage::Event(waiting) = &mut self.messages[newest] else { return Some(event) };
        match (&*waiting, &event) {
            // A container ends once, and whatever its platform reports after that changes nothing.
            (Run(_, Gone(_)), Run(_, Gone(_) | Progress(..))) => None,
            (Run(_, Progress(..)), Run(_, Progress(..))) => {
                *waiting = event;
                None
            }
            // What the platform has listed is compared with all that came before it: the newer list keeps its place.
            (Synced { .. }, Synced { .. }) | (Availability { .. }, Availability { .. }) => {
                self.messages.remove(newest);
                Some(event)
            }
            _ => Some(event),
        }
    }
}

impl ActorMessage {
    /// The run that it is about.
    fn run(&self) -> Option<RunName> {
        match self {
            Self::Event(event) => event.run(),
            Self::Bind { run, .. } | Self::Report { run, .. } => Some(*run),
            Self::Cancel { .. } => None,
        }
    }

    /// Whether both are about one run, or are the same kind of news of one platform.
    fn is_about_same(&self, event: &BuildEvent) -> bool {
        use BuildEvent::{Availability, Synced};
        match (self, event) {
            (Self::Event(Synced { platform, .. }), Synced { platform: other, .. })
            | (Self::Event(Availability { platform, .. }), Availability { platform: other, .. }) => {
                platform == other
            }
            _ => event.run().is_some_and(|run| self.run() == Some(run)),
        }
    }
}

#[cfg(test)]
mod tests;
