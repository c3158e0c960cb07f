//! Whether the task's disk is full: a fact of the file system, whatever a program has printed.

use std::path::Path;

use rustix::fs::statvfs;

/// What may be left of a full disk, in bytes: a program that fails removes what it has begun to write, and a file system
/// has a reserve.
const LEFT: u64 = 1 << 20;

/// Whether the file system of `path` has no room for another file: no blocks or no inodes. False if it cannot be asked.
pub fn is_full(path: &Path) -> bool {
    statvfs(path).is_ok_and(|now| {
        let no_inodes = now.f_files > 0 && now.f_favail == 0;
        now.f_bavail.saturating_mul(now.f_frsize) < LEFT || no_inodes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_room_is_not_full_and_one_that_does_not_exist_is_not_known_to_be() {
        assert!(!is_full(Path::new("/tmp")) && !is_full(Path::new("/no/such/folder")));
        // It has neither blocks nor inodes.
        assert!(is_full(Path::new("/proc")));
    }
}
