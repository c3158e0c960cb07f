//! The record of one build: its rows in the ledger, and its log.

use std::collections::VecDeque;
use std::time::Duration;

use bakery_core::message::Message;
use bakery_core::names::{BuildId, RunName};
use bakery_core::wire::log::{Frame, Level, LogLine, Source};
use tokio_util::sync::CancellationToken;

use super::Stopping;
use crate::builds::ledger::Transition;
use crate::builds::log_error;
use crate::builds::state::BuildState;
use crate::builds::store::BuildStore;
use crate::clock::Clock;
use crate::logs::LogError;

/// A step that cannot be committed, or a log that cannot be written, is retried after this pause.
const RETRY: Duration = Duration::from_secs(1);

/// What an actor does with ledger and log.
pub(super) struct Journal {
    build: BuildId,
    store: BuildStore,
    clock: Clock,
    stopping: CancellationToken,
    /// Committed, and not in the log yet.
    pending_frames: VecDeque<Frame>,
    /// Committed, and held back until no container of the build runs any more.
    end: Option<Frame>,
}

impl Journal {
    /// The record of an open build; `missing` are the committed frames that its log does not have yet.
    pub(super) fn new(
        build: BuildId,
        store: BuildStore,
        clock: Clock,
        stopping: CancellationToken,
        missing: Vec<Frame>,
    ) -> Self {
        Self { build, store, clock, stopping, pending_frames: missing.into(), end: None }
    }

    /// Commits one step, and retries until that succeeds.
    pub(super) async fn commit(&self, state: &BuildState, change: &Transition) -> Result<(), Stopping> {
        while let Err(error) = self.store.ledger.commit(state, change).await {
            log_error(self.build, &error, "a step cannot be committed; retrying");
            self.pause().await?;
        }
        Ok(())
    }

    /// Appends committed frames to the log, but for the end, which is held back until [`Journal::close`].
    pub(super) async fn append(&mut self, mut frames: Vec<Frame>) {
        let end = frames.pop_if(|frame| matches!(frame, Frame::End { .. }));
        self.end = end.or(self.end.take());
        self.pending_frames.extend(frames);
        self.flush_frames().await;
    }

    /// Writes a line of the server's into the log.
    pub(super) async fn note(&self, run: Option<RunName>, lvl: Level, message: Message) {
        let Message { text: msg, hint } = message;
        let line = LogLine { ts: self.clock.now(), src: Source::Server, lvl, msg, more: false, hint };
        if let Err(error) = self.store.logs.note(self.build, run, vec![line]).await {
            log_error(self.build, &error, "a line of the server cannot be written to the build's log");
        }
    }

    /// Appends the end and retries until log and ledger say that nothing follows.
    pub(super) async fn close(&mut self) -> Result<(), Stopping> {
        self.pending_frames.extend(self.end.take());
        loop {
            self.flush_frames().await;
            if self.pending_frames.is_empty() && self.is_synced().await {
                return Ok(());
            }
            self.pause().await?;
        }
    }

    async fn is_synced(&self) -> bool {
        // A log that has been removed has nothing left to be synced.
        matches!(self.store.logs.sync(self.build).await, Ok(()) | Err(LogError::Missing(_)))
            && self.store.ledger.log_is_whole(self.build).await.is_ok()
    }

    /// What cannot be written stays pending, unless the log has been removed.
    async fn flush_frames(&mut self) {
        while let Some(frame) = self.pending_frames.front() {
            match self.store.logs.frame(self.build, frame.clone()).await {
                Ok(()) => {}
                Err(error @ LogError::Missing(_)) => {
                    log_error(self.build, &error, "a frame is dropped: the build's log does not exist");
                }
                Err(error) => {
                    log_error(
                        self.build,
                        &error,
                        "a frame cannot be written to the build's log; retrying later",
                    );
                    return;
                }
            }
            self.pending_frames.pop_front();
        }
    }

    async fn pause(&self) -> Result<(), Stopping> {
        self.stopping.run_until_cancelled(tokio::time::sleep(RETRY)).await.ok_or(Stopping)
    }
}
