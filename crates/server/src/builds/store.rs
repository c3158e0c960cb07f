//! What outlives the server: the ledger, and the logs that follow it.

use bakery_core::names::BuildId;
use bakery_core::wire::log::Frame;

use super::error::InternalError;
use super::ledger::Ledger;
use crate::logs::Logs;

/// The ledger and the logs. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct BuildStore {
    pub(super) ledger: Ledger,
    pub(super) logs: Logs,
}

impl BuildStore {
    /// The committed frames that the build's log does not have: it has a prefix of them. Makes the log if there is none.
    pub(super) async fn missing_frames(
        &self,
        build: BuildId,
        mut committed: Vec<Frame>,
    ) -> Result<Vec<Frame>, InternalError> {
        self.logs.create(build).await?;
        let ours = |frame: &Frame| {
            matches!(frame, Frame::State { .. } | Frame::Published { .. } | Frame::End { .. })
        };
        let there = self.logs.frames(build).await?.iter().filter(|header| ours(&header.frame)).count();
        Ok(committed.split_off(there.min(committed.len())))
    }

    /// Completes the log of a build that has ended in the ledger, but perhaps not yet in its log.
    pub(super) async fn finish_log(&self, build: BuildId) -> Result<(), InternalError> {
        let committed = self.ledger.frames(build).await?;
        for frame in self.missing_frames(build, committed).await? {
            self.logs.frame(build, frame).await?;
        }
        self.logs.sync(build).await?;
        Ok(self.ledger.log_is_whole(build).await?)
    }
}
