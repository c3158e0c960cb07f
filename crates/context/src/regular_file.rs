//! Reads regular files within a bound, and nothing else: a build, or who wrote a checkout, can put a link, a device or a FIFO
//! in a file's place.

use std::borrow::Cow;
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use bakery_core::message::Hint;
use rustix::fs::OFlags;

/// Why a file was not read. Displays without the file's name.
#[derive(Debug, thiserror::Error)]
pub enum RegularFileError {
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, a device, a FIFO or a socket, or a link to one.
    #[error("is {0}, not a regular file")]
    NotRegular(&'static str),
    /// Larger than the caller's limit, in bytes.
    #[error("is larger than {0} bytes")]
    Large(u64),
}

impl RegularFileError {
    /// True if there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl Hint for RegularFileError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData => "the file must be UTF-8 text",
                _ => "the file must be readable",
            },
            Self::NotRegular(_) => "put a regular file in its place, or a link to one",
            Self::Large(_) => "check that this is the right file",
        };
        Some(hint.into())
    }
}

/// The content of a regular file of at most `limit` bytes; a link is none. Neither waits nor reads what is not a regular
/// file.
pub fn read_regular_file(path: &Path, limit: u64) -> Result<Vec<u8>, RegularFileError> {
    // Opening a device can have an effect, so it is looked at before; it may be replaced, so it is looked at again.
    check(&std::fs::symlink_metadata(path)?)?;
    read_opened(path, limit, OFlags::NOFOLLOW)
}

/// The same, but links are followed.
pub(crate) fn read_regular_file_or_link(path: &Path, limit: u64) -> Result<Vec<u8>, RegularFileError> {
    check(&std::fs::metadata(path)?)?;
    read_opened(path, limit, OFlags::empty())
}

fn read_opened(path: &Path, limit: u64, flags: OFlags) -> Result<Vec<u8>, RegularFileError> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    check(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(RegularFileError::Large(limit)) } else { Ok(bytes) }
}

fn check(meta: &Metadata) -> Result<(), RegularFileError> {
    if meta.is_file() { Ok(()) } else { Err(RegularFileError::NotRegular(kind(meta.file_type()))) }
}

fn kind(found: FileType) -> &'static str {
    match found {
        found if found.is_symlink() => "a link",
        found if found.is_dir() => "a folder",
        found if found.is_fifo() => "a FIFO",
        found if found.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_28_only_a_regular_file_of_the_expected_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("small"), "12345678").unwrap();
        std::os::unix::fs::symlink("small", path("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zeros")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RUSR).unwrap();
        File::create(path("sparse")).unwrap().set_len(50 << 30).unwrap();
        std::fs::write(path("nine"), "123456789").unwrap();
        assert_eq!(read_regular_file(&path("small"), 8).unwrap(), b"12345678");
        for (name, problem) in [
            ("link", "is a link, not a regular file"),
            ("zeros", "is a link, not a regular file"),
            ("fifo", "is a FIFO, not a regular file"),
            (".", "is a folder, not a regular file"),
            ("/dev/zero", "is a device, not a regular file"),
            ("sparse", "is larger than 8 bytes"),
            ("nine", "is larger than 8 bytes"),
        ] {
            assert_eq!(read_regular_file(&path(name), 8).unwrap_err().to_string(), problem, "{name}");
        }
    }
}
