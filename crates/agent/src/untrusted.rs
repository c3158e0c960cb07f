//! Reading files that a build may have written or replaced.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The content of a regular file of at most `limit` bytes. Anything else is an error: a link, a device or a FIFO could
/// make the agent read something else, without an end, or for ever.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(io::Error::other("it is a link"));
        }
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
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
