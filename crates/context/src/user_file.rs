//! Reads files whose place somebody else may have filled: a checkout can hold links to devices, and FIFOs.

use std::borrow::Cow;
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use bakery_core::message::Hint;
use rustix::fs::OFlags;

/// Why a file was not read. Displays without the file's name.
#[derive(Debug, thiserror::Error)]
pub enum UserFileError {
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

impl UserFileError {
    /// True if there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl Hint for UserFileError {
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

/// The content of a regular file of at most `limit` bytes; links are followed. Neither waits nor reads what is not a
/// regular file.
pub fn read_user_file(path: &Path, limit: u64) -> Result<Vec<u8>, UserFileError> {
    // Opening a device can have an effect, so it is looked at before; it may be replaced, so it is looked at again.
    check(&std::fs::metadata(path)?)?;
    read_regular(path, limit, OFlags::empty())
}

/// The same, but a link is no regular file.
pub fn read_user_file_itself(path: &Path, limit: u64) -> Result<Vec<u8>, UserFileError> {
    check(&std::fs::symlink_metadata(path)?)?;
    read_regular(path, limit, OFlags::NOFOLLOW)
}

fn read_regular(path: &Path, limit: u64, flags: OFlags) -> Result<Vec<u8>, UserFileError> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    check(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(UserFileError::Large(limit)) } else { Ok(bytes) }
}

/// The same for UTF-8 text.
pub fn read_user_text(path: &Path, limit: u64) -> Result<String, UserFileError> {
    let bytes = read_user_file(path, limit)?;
    let text = String::from_utf8(bytes);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not valid UTF-8").into())
}

fn check(meta: &Metadata) -> Result<(), UserFileError> {
    if meta.is_file() { Ok(()) } else { Err(UserFileError::NotRegular(kind(meta.file_type()))) }
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
        assert_eq!(read_user_file_itself(&path("small"), 8).unwrap(), b"12345678");
        for (name, problem) in [
            ("link", "is a link, not a regular file"),
            ("zeros", "is a link, not a regular file"),
            ("fifo", "is a FIFO, not a regular file"),
            (".", "is a folder, not a regular file"),
            ("/dev/zero", "is a device, not a regular file"),
            ("sparse", "is larger than 8 bytes"),
            ("nine", "is larger than 8 bytes"),
        ] {
            assert_eq!(read_user_file_itself(&path(name), 8).unwrap_err().to_string(), problem, "{name}");
        }
    }

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
