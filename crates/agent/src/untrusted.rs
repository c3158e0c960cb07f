//! Reading files that a build may have written or replaced.

use std::io;
use std::path::Path;

use bakery_context::{UserFileError, read_user_file_itself};

/// The content of a regular file of at most `limit` bytes. Anything else is an error: a link, a device or a FIFO could
/// make the agent read something else, without an end, or for ever.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_user_file_itself(path, limit).map_err(|error| match error {
        UserFileError::Io(error) => error,
        UserFileError::NotRegular("a link") => io::Error::other("it is a link"),
        UserFileError::NotRegular(_) => io::Error::other("it is not a regular file"),
        UserFileError::Large(limit) => io::Error::other(format!("it has more than {limit} bytes")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn probe_28_only_a_regular_file_of_the_expected_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("small"), "12345678").unwrap();
        std::os::unix::fs::symlink("small", path("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zeros")).unwrap();
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        File::create(path("sparse")).unwrap().set_len(50 << 30).unwrap();

        assert_eq!(read(&path("small"), 8).unwrap(), b"12345678");
        let refused = |name: &str| read(&path(name), 8).unwrap_err().to_string();
        assert_eq!(refused("link"), "it is a link");
        assert_eq!(refused("zeros"), "it is a link");
        assert_eq!(refused("fifo"), "it is not a regular file");
        assert_eq!(refused("."), "it is not a regular file");
        assert_eq!(refused("sparse"), "it has more than 8 bytes");
        assert_eq!(read(Path::new("/dev/zero"), 8).unwrap_err().to_string(), "it is not a regular file");
        std::fs::write(path("nine"), "123456789").unwrap();
        assert_eq!(refused("nine"), "it has more than 8 bytes");
    }
}
