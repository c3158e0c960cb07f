//! Folders that others can write to: anybody can put a file there for a search to find.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Whether a folder is shared: everybody may write to it, and it is not the user's own, or it has the sticky bit, as /tmp.
/// Folders of the user's own are not shared by that alone: some CI systems make their workspaces so.
pub(crate) fn is_shared(folder: &Path) -> bool {
    let is_shared = |meta: Metadata| is_open(meta.mode()) && (!is_own(&meta) || meta.mode() & 0o1000 != 0);
    folder.metadata().is_ok_and(is_shared)
}

/// Whether somebody else may have put a file into a folder that everybody can write to.
pub(crate) fn may_be_planted(file: &Path) -> bool {
    let folder = file.parent().and_then(|folder| folder.metadata().ok());
    folder.is_some_and(|folder| is_open(folder.mode()))
        && !file.symlink_metadata().is_ok_and(|file| is_own(&file))
}

fn is_open(mode: u32) -> bool {
    mode & 0o002 != 0
}

fn is_own(meta: &Metadata) -> bool {
    meta.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn probe_23_5_a_folder_is_shared_if_others_can_write_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("compose.yaml");
        fs::write(&file, "").unwrap();
        for (mode, shared) in
            [(0o755, false), (0o775, false), (0o777, false), (0o1777, true), (0o1755, false)]
        {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_shared(folder.path()), shared, "{mode:o}");
            assert!(!may_be_planted(&file), "it is the user's own");
        }
        // The folders of others need root to make them; these are on every machine.
        assert!(is_shared(Path::new("/tmp")) && !is_shared(Path::new("/usr")));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
            fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
            assert!(may_be_planted(&file), "it is somebody else's");
            std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
            assert!(is_shared(folder.path()), "it is somebody else's");
        }
    }
}
