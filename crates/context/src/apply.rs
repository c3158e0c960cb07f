//! A task's own ignore rules, applied to a source folder that was unpacked for it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::rules::{ContextFolder, Rules, RulesError, Scope, join};
use crate::walk::shown;

/// Why a task's rules were not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Ignore rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Something cannot be listed or removed.
    #[error("`{path}`: cannot be removed: {cause}")]
    Remove {
        /// Below the source folder.
        path: String,
        /// Why.
        cause: io::Error,
    },
}

/// Removes from an unpacked source folder what the ignore rules of one of its contexts drop, and gives the number of
/// files, links and folders removed (a folder that goes with all it holds counts once).
///
/// What lies outside of that context stays: scripts may need it. Links are never followed. Blocks.
pub fn apply_ignore(root: &Path, folder: &ContextFolder) -> Result<u64, ApplyError> {
    let rules = Rules::read(root, std::slice::from_ref(folder))?;
    let mut sweep = Sweep { root, rules: &rules, removed: 0 };
    sweep.folder(b"", &rules.root())?;
    Ok(sweep.removed)
}

struct Sweep<'s> {
    root: &'s Path,
    rules: &'s Rules,
    removed: u64,
}

impl Sweep<'_> {
    /// True where something is left in the folder.
    fn folder(&mut self, path: &[u8], scope: &Scope) -> Result<bool, ApplyError> {
        let full = self.root.join(OsStr::from_bytes(path));
        // Listed before anything below is opened: open folders would run out on a deep tree.
        let entries: Vec<_> = fs::read_dir(&full)
            .and_then(Iterator::collect::<io::Result<_>>)
            .map_err(|cause| ApplyError::Remove { path: shown(path), cause })?;
        let mut left = false;
        for entry in entries {
            let child = join(path, &entry.file_name().into_vec());
            let failed = |cause| ApplyError::Remove { path: shown(&child), cause };
            if !entry.file_type().map_err(failed)?.is_dir() {
                if self.rules.drops(scope, &child) {
                    fs::remove_file(entry.path()).map_err(failed)?;
                    self.removed += 1;
                } else {
                    left = true;
                }
                continue;
            }
            let entered = self.rules.enter(scope, &child);
            if entered.barren {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
                self.removed += 1;
            } else if !self.folder(&child, &entered.scope)? && entered.dropped {
                fs::remove_dir(entry.path()).map_err(failed)?;
                self.removed += 1;
            } else {
                left = true;
            }
        }
        Ok(left)
    }
}
