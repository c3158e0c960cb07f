//! Files that a user names or a checkout holds: regular ones, or links to them.

use std::io;
use std::path::Path;

use crate::regular_file::{RegularFileError, read_regular_file_or_link};

/// The content of a file of at most `limit` bytes; links are followed.
pub fn read_user_file(path: &Path, limit: u64) -> Result<Vec<u8>, RegularFileError> {
    read_regular_file_or_link(path, limit)
}

/// The same for UTF-8 text.
pub fn read_user_text(path: &Path, limit: u64) -> Result<String, RegularFileError> {
    let bytes = read_user_file(path, limit)?;
    let text = String::from_utf8(bytes);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not valid UTF-8").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_23_6_only_regular_files_are_read_and_none_without_bound() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "12345678").unwrap();
        let links = [
            ("link", "file"),
            ("zero", "/dev/zero"),
            ("fifo-link", "fifo"),
            ("null", "/dev/null"),
            ("gone", "x"),
        ];
        for (name, target) in links {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        let read = |name: &str| read_user_text(&at(name), 8).map_err(|error| error.to_string());
        assert_eq!(read("file").as_deref(), Ok("12345678"));
        assert_eq!(read("link").as_deref(), Ok("12345678"));
        for (name, problem) in [
            ("zero", "is a device, not a regular file"),
            ("null", "is a device, not a regular file"),
            ("fifo", "is a FIFO, not a regular file"),
            ("fifo-link", "is a FIFO, not a regular file"),
            (".", "is a folder, not a regular file"),
        ] {
            assert_eq!(read(name).unwrap_err(), problem, "{name}");
        }
        assert!(read_user_file(&at("gone"), 8).unwrap_err().is_not_found());
        std::fs::write(at("file"), "123456789").unwrap();
        assert_eq!(read("link").unwrap_err(), "is larger than 8 bytes");
        std::fs::write(at("file"), b"\xff").unwrap();
        assert_eq!(read("file").unwrap_err(), "cannot be read: not valid UTF-8");
    }
}
