//! Applies a task's ignore rules to the source folder that was unpacked for it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::byte_path::{display, join};
use crate::rules::{ContextFolder, Rules, RulesError, Scope};

/// Why a task's ignore rules could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The ignore rules are not usable.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A file or folder cannot be listed or removed.
    #[error("`{path}` cannot be removed: {cause}")]
    Remove {
        /// Below the source folder.
        path: String,
        /// The error of the operating system.
        cause: io::Error,
    },
}

/// Removes what the ignore rules of one context exclude from an unpacked source folder. Returns the number of files,
/// links and folders removed; a folder that is removed with its content counts once.
///
/// Everything outside of that context is kept: scripts may need it. Links are never followed. Blocks.
pub fn apply_ignore(root: &Path, folder: &ContextFolder) -> Result<u64, ApplyError> {
    let rules = Rules::read(root, std::slice::from_ref(folder))?;
    let mut remover = Remover { root, rules: &rules, removed: 0 };
    remover.folder(b"", &rules.root())?;
    Ok(remover.removed)
}

struct Remover<'s> {
    root: &'s Path,
    rules: &'s Rules,
    removed: u64,
}

impl Remover<'_> {
    /// Returns whether something is left in the folder.
    fn folder(&mut self, path: &[u8], scope: &Scope) -> Result<bool, ApplyError> {
        let full = self.root.join(OsStr::from_bytes(path));
        // Listed completely before any subfolder is opened: a deep tree would exhaust the file descriptors.
        let entries: Vec<_> = fs::read_dir(&full)
            .and_then(Iterator::collect::<io::Result<_>>)
            .map_err(|cause| ApplyError::Remove { path: display(path), cause })?;
        let mut left = false;
        for entry in entries {
            let child = join(path, &entry.file_name().into_vec());
            let failed = |cause| ApplyError::Remove { path: display(&child), cause };
            if !entry.file_type().map_err(failed)?.is_dir() {
                if self.rules.excludes(scope, &child) {
                    fs::remove_file(entry.path()).map_err(failed)?;
                    self.removed += 1;
                } else {
                    left = true;
                }
                continue;
            }
            let entered = self.rules.enter(scope, &child);
            if entered.prunable {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
                self.removed += 1;
            } else if !self.folder(&child, &entered.scope)? && entered.excluded {
                fs::remove_dir(entry.path()).map_err(failed)?;
                self.removed += 1;
            } else {
                left = true;
            }
        }
        Ok(left)
    }
}
