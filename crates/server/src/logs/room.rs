//! How much room the disk has for lines of agents. The rest is the ledger's: without a new state no build could end, while
//! lines wait in the spool of their agent.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::DataDisk;

/// The room for lines, shared by all logs.
#[derive(Default)]
pub(super) struct LogRoom {
    /// `None` = no space is kept free.
    disk: Option<DataDisk>,
    /// The last lines were refused.
    full: AtomicBool,
}

impl LogRoom {
    pub(super) fn on(disk: DataDisk) -> Self {
        Self { disk: Some(disk), full: AtomicBool::new(false) }
    }

    /// Whether `bytes` more may be written. The server's log has a line whenever that changes. Blocks.
    pub(super) fn has(&self, bytes: u64) -> bool {
        let full = self.disk.as_ref().is_some_and(|disk| !disk.has_log_room(bytes));
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::warn!("the disk of the data folder is full: agents keep their log lines");
            } else {
                tracing::info!("the disk of the data folder has room again: log lines are stored");
            }
        }
        !full
    }
}
