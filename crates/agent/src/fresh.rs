//! Files of the agent where the pre-script, which runs before, may have made something: nothing of that is written to.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Removes a folder or a file; a link is not followed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Writes a file that does not exist yet.
pub(crate) fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_leads_to_is_neither_removed_nor_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (target, path) = (folder.path().join("target"), folder.path().join("file"));
        fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert_eq!(write(&path, 0o600, "new").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        remove(&path).unwrap();
        remove(&path).unwrap();
        write(&path, 0o600, "new").unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!([target, path].map(|path| fs::read_to_string(path).unwrap()), ["kept", "new"]);
    }
}
