//! The files in the store's folder: `blobs/SHA256.tar.gz`, `records/OWNER-ID.json`, `incoming/`.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bakery_core::image::Digest;
use bakery_core::wire::context::ContextRef;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const BLOBS: &str = "blobs";
const RECORDS: &str = "records";
const INCOMING: &str = "incoming";

/// Permission of an owner to use a context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContextRecord {
    pub owner: String,
    pub context: ContextRef,
    /// When the owner sent it, or was asked to.
    pub since: Timestamp,
    /// When it was used last.
    pub used: Timestamp,
    /// True once it is known to exist.
    pub proven: bool,
}

impl ContextRecord {
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(RECORDS).join(format!("{}-{}.json", self.owner, self.context.id.hex()))
    }

    /// Replaces the file atomically.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let path = self.path(folder);
        let new = path.with_extension("new");
        let write = || {
            let mut file =
                OpenOptions::new().mode(0o600).write(true).create(true).truncate(true).open(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_data()?;
            std::fs::rename(&new, &path)
        };
        // A full disk keeps no half of it.
        write().inspect_err(|_| drop(std::fs::remove_file(&new)))
    }
}

/// Creates the folders, and removes incomplete uploads.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder.join(INCOMING)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    [BLOBS, RECORDS, INCOMING].iter().try_for_each(|name| std::fs::create_dir_all(folder.join(name)))
}

/// Every record. A malformed one is removed: its context has to be sent again.
pub(super) fn read_all(folder: &Path) -> io::Result<HashMap<(String, Digest), ContextRecord>> {
    let mut records = HashMap::new();
    for entry in std::fs::read_dir(folder.join(RECORDS))? {
        let path = entry?.path();
        match serde_json::from_slice::<ContextRecord>(&std::fs::read(&path)?) {
            Ok(record) if record.path(folder) == path => {
                records.insert((record.owner.clone(), record.context.id.clone()), record);
            }
            _ => std::fs::remove_file(path)?,
        }
    }
    Ok(records)
}

pub(super) fn blob_path(folder: &Path, sha256: &str) -> PathBuf {
    folder.join(BLOBS).join(format!("{sha256}.tar.gz"))
}

/// The path of an upload in progress.
pub(super) fn incoming_path(folder: &Path, nth: u64) -> PathBuf {
    folder.join(INCOMING).join(nth.to_string())
}

/// Moves a complete upload to its path in the store, durably.
pub(super) fn store(folder: &Path, incoming: &Path, sha256: &str) -> io::Result<()> {
    std::fs::rename(incoming, blob_path(folder, sha256))?;
    File::open(folder.join(BLOBS))?.sync_all()
}

/// Removes blobs without a record.
pub(super) fn sweep_blobs(folder: &Path, named: &dyn Fn(&str) -> bool) -> io::Result<u64> {
    let mut swept = 0;
    for entry in std::fs::read_dir(folder.join(BLOBS))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(sha256) = name.and_then(|name| name.strip_suffix(".tar.gz"))
            && !named(sha256)
        {
            std::fs::remove_file(path)?;
            swept += 1;
        }
    }
    Ok(swept)
}
