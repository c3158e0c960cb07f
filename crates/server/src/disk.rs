//! The disk of the data folder: how much of it is free, and who may use the rest.
//!
//! Uploads and new builds leave a reserve free. The open builds, their ledger and their logs, live on it while the disk
//! is full for everybody else. The last part of it is the ledger's alone: log lines can wait at their agents, a state
//! cannot.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use bakery_core::limits::{DISK_RESERVE_BYTES, LEDGER_RESERVE_BYTES};

/// The size of a disk, and what an unprivileged process may still use of it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// What is free.
    pub free: u64,
}

type Measure = dyn Fn() -> io::Result<DiskSpace> + Send + Sync;

/// A disk; cheap to clone.
#[derive(Clone)]
pub struct DataDisk(Arc<Measure>);

impl fmt::Debug for DataDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataDisk")
    }
}

impl DataDisk {
    /// The disk that has this folder.
    pub fn of(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self::measured_by(move || {
            let space = rustix::fs::statvfs(&folder)?;
            let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
            Ok(DiskSpace { total: bytes(space.f_blocks), free: bytes(space.f_bavail) })
        })
    }

    /// A disk whose space this function returns.
    pub fn measured_by(measure: impl Fn() -> io::Result<DiskSpace> + Send + Sync + 'static) -> Self {
        Self(Arc::new(measure))
    }

    /// Whether `bytes` more fit without the reserve. True also if the disk cannot be measured: then it reports itself
    /// when it is full.
    pub async fn has_room(&self, bytes: u64) -> bool {
        let measure = Arc::clone(&self.0);
        // A disk in the network may take its time.
        match tokio::task::spawn_blocking(move || measure()).await {
            Ok(Ok(space)) => space.leaves(space.reserve(), bytes),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the free space of the data folder is unknown"
                );
                true
            }
            Err(_) => true,
        }
    }

    /// Whether `bytes` more of log lines fit without the ledger's reserve. True also if the disk cannot be measured. Blocks.
    pub fn has_log_room(&self, bytes: u64) -> bool {
        (self.0)().map_or(true, |space| space.leaves(space.ledger_reserve(), bytes))
    }
}

impl DiskSpace {
    /// What stays free for open builds. A small disk keeps most of itself for use.
    fn reserve(self) -> u64 {
        DISK_RESERVE_BYTES.min(self.total / 4)
    }

    /// The part of the reserve that log lines leave free too.
    fn ledger_reserve(self) -> u64 {
        LEDGER_RESERVE_BYTES.min(self.total / 16)
    }

    fn leaves(self, reserve: u64, bytes: u64) -> bool {
        self.free.checked_sub(bytes).is_some_and(|left| left >= reserve)
    }
}

/// Whether an error means that the disk, or a quota on it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_work_leaves_a_reserve_that_suits_the_disk() {
        let fits = |total: u64, free: u64, bytes: u64| {
            let space = DiskSpace { total, free };
            space.leaves(space.reserve(), bytes)
        };
        let (mib, gib) = (1 << 20, 1 << 30);
        assert!(fits(40 * gib, gib, 768 * mib) && !fits(40 * gib, gib, 769 * mib));
        assert!(!fits(40 * gib, 255 * mib, 0));
        // A disk of 64 MiB has 48 MiB for contexts.
        assert!(fits(64 * mib, 64 * mib, 48 * mib) && !fits(64 * mib, 64 * mib, 49 * mib));
        assert!(!fits(64 * mib, mib, 2 * mib));
    }

    #[test]
    fn log_lines_leave_less_free_than_new_work_and_some_for_the_ledger() {
        let fits = |total: u64, free: u64, bytes: u64| {
            DataDisk::measured_by(move || Ok(DiskSpace { total, free })).has_log_room(bytes)
        };
        let (mib, gib) = (1 << 20, 1 << 30);
        assert!(fits(40 * gib, 255 * mib, 223 * mib) && !fits(40 * gib, 255 * mib, 224 * mib));
        assert!(fits(64 * mib, 8 * mib, 4 * mib) && !fits(64 * mib, 8 * mib, 5 * mib));
        assert!(DataDisk::measured_by(|| Err(io::Error::other("unknown"))).has_log_room(u64::MAX));
    }

    #[tokio::test]
    async fn the_folders_disk_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!DataDisk::of(folder.path()).has_room(u64::MAX).await);
        let missing = DataDisk::of(folder.path().join("missing"));
        assert!(missing.has_room(u64::MAX).await, "unknown");
    }
}
