//! What goes into a step of a build, and what comes out of it.

use std::collections::HashSet;
use std::sync::Arc;

use bakery_core::image::Digest;
use bakery_core::lifecycle::{Cause, TaskEvent};
use bakery_core::message::Message;
use bakery_core::names::{Platform, RunName};
use bakery_core::wire::log::Level;

/// What happens to a build.
#[derive(Debug, Clone)]
pub(super) enum BuildEvent {
    /// Its actor starts: for the first time, after a panic, or after a restart of the server.
    Started,
    /// Something happens to one attempt at one task.
    Run(RunName, TaskEvent),
    /// The platform has accepted the launch and holds the container.
    LaunchAccepted(RunName),
    /// Everything that a platform holds.
    Synced { platform: Platform, live: Arc<HashSet<RunName>> },
    /// The platform was asked about a run. It holds the container, or it could not be asked; a message is for the log.
    StillHeld(RunName, Option<Message>),
    /// A platform is unavailable from now on, and this is what it returned; or it is available again.
    Availability { platform: Platform, outage: Option<Message> },
    /// The pause before another attempt has ended.
    BackOffOver(RunName),
    /// Somebody cancels the build.
    Cancelled(String),
    /// The publishing of a target has ended; the messages are for the log.
    Published { target: usize, result: Result<Digest, Cause>, messages: Vec<Message> },
    /// No container of the ended build runs any more, or waiting for that took too long.
    Vacated,
}

/// What has to be done, once the new state is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BuildEffect {
    /// Write a line into the build's log: about one run, or about the build.
    Note { run: Option<RunName>, level: Level, message: Message },
    /// Stop the container and remove it. Committed with the state, as a pending stop.
    Stop {
        run: RunName,
        /// It has some time to end by itself.
        lingers: bool,
    },
    /// Queue for a run slot of the task's platform.
    Enqueue(RunName),
    /// The same after a pause.
    EnqueueLater(RunName),
    /// Leave the queue, or give back a run slot that was never used.
    LeaveQueue(RunName),
    /// Ask the platform for the container.
    Launch(RunName),
    /// Ask the platform whether it still holds the container.
    AskPlatform {
        run: RunName,
        /// There is no contact with its agent: the log should contain what the platform returns.
        no_contact: bool,
    },
    /// Publish the target: push its index, or look up its only image.
    Publish(usize),
    /// Withdraw its publishing, unless the index is pushed already; the result says which.
    Withdraw(usize),
    /// Record that a late report names another digest than the one that the task settled with.
    RecordContradiction(RunName, Digest),
    /// The build has ended: wait until none of its containers runs any more.
    AwaitVacated,
    /// Append the end to the log. Nothing follows.
    CloseLog,
}

impl BuildEvent {
    /// The run that it is about.
    pub(super) fn run(&self) -> Option<RunName> {
        match self {
            Self::Run(run, _)
            | Self::LaunchAccepted(run)
            | Self::StillHeld(run, _)
            | Self::BackOffOver(run) => Some(*run),
            Self::Started
            | Self::Synced { .. }
            | Self::Availability { .. }
            | Self::Cancelled(_)
            | Self::Published { .. }
            | Self::Vacated => None,
        }
    }
}
