//! Unpacks a canonical archive into a folder, with its modes and times. The archive is not trusted.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bakery_core::image::Digest;
use bakery_core::limits;
use bakery_core::message::Hint;
use flate2::read::MultiGzDecoder;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use sha2::{Digest as _, Sha256};

use crate::byte_path::display;
use crate::header::{self, BLOCK, Decoded, Header, HeaderError, Kind, NAME_BYTES};
use crate::identity::Identity;

/// Limits for the content of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Maximum number of files, folders and links.
    pub entries: u64,
    /// Maximum total size of all files in bytes.
    pub bytes: u64,
    /// Maximum size of a single file in bytes.
    pub entry_bytes: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            entries: limits::CONTEXT_ENTRIES,
            bytes: limits::CONTEXT_EXPANDED_BYTES,
            entry_bytes: limits::CONTEXT_EXPANDED_BYTES,
        }
    }
}

/// What [`unpack`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Identity of the tree, computed from the content: compare it with the expected one before using the tree.
    pub id: Digest,
    /// SHA-256 of the tar.gz.
    pub sha256: Digest,
    /// Bytes of the tar.gz.
    pub len: u64,
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Why an archive was not unpacked completely.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive is truncated, damaged or not in the form that [`crate::pack`] writes.
    #[error("the archive is not valid after {entries} entries: {problem}{}", colon(cause.as_ref()))]
    Broken {
        /// Number of valid entries before it.
        entries: u64,
        /// What is wrong.
        problem: String,
        /// The reader's error, if it returned one, such as a failed download.
        cause: Option<io::Error>,
    },
    /// An entry that would be outside of the folder, or is out of order.
    #[error("the archive is refused: entry `{name}` {problem}")]
    Refused {
        /// As it is in the archive.
        name: String,
        /// What is wrong with it; continues a sentence that starts with the entry.
        problem: &'static str,
    },
    /// One of the [`UnpackLimits`] is exceeded.
    #[error("the archive is refused: it has more than {limit} {of}")]
    Limit {
        /// The limit.
        limit: u64,
        /// What it limits.
        of: &'static str,
    },
    /// A file or folder cannot be written, for example because the disk is full.
    #[error("`{}` cannot be written: {cause}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
}

impl Hint for UnpackError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Broken { .. } | Self::Refused { .. } => {
                "pack and send the context again with bakery-client"
            }
            Self::Limit { .. } => "exclude what the build does not need in `.dockerignore`",
            Self::Write { .. } => "check the free disk space and the permissions of the folder",
        };
        Some(hint.into())
    }
}

/// Unpacks a tar.gz into `dest`, which is created if it does not exist. Nothing that exists is overwritten.
///
/// Nothing is written outside of `dest` or through a link: every entry is in a folder that this call created. Modes and
/// times are restored; the caller owns everything. Blocks. On an error, what was unpacked so far is kept.
pub fn unpack(blob: impl Read, dest: &Path, limits: &UnpackLimits) -> Result<Unpacked, UnpackError> {
    let mut blob = HashingReader { inner: blob, sha256: Sha256::new(), len: 0 };
    let mut tar = MultiGzDecoder::new(&mut blob);
    let mut unpacker = Unpacker::new(dest, *limits)?;
    loop {
        let broken = |unpacker: &Unpacker, problem: String, cause| UnpackError::Broken {
            entries: unpacker.entries,
            problem,
            cause,
        };
        match Header::decode(&mut tar) {
            Ok(Decoded::Entry(header, blocks)) => unpacker.add(&header, &blocks, &mut tar)?,
            Ok(Decoded::End) => break,
            Err(HeaderError::NotCanonical(problem)) => {
                return Err(broken(&unpacker, problem.to_owned(), None));
            }
            Err(HeaderError::Read(cause)) => {
                return Err(broken(&unpacker, TRUNCATED.to_owned(), Some(cause)));
            }
        }
    }
    let (entries, bytes, id) = unpacker.finish(&mut tar)?;
    Ok(Unpacked {
        id,
        sha256: Digest::from_sha256(&blob.sha256.finalize().into()),
        len: blob.len,
        entries,
        bytes,
    })
}

fn colon(cause: Option<&io::Error>) -> String {
    cause.map(|cause| format!(": {cause}")).unwrap_or_default()
}

const TRUNCATED: &str = "it cannot be read further";

/// Writes one archive's entries.
struct Unpacker<'d> {
    dest: &'d Path,
    limits: UnpackLimits,
    entries: u64,
    bytes: u64,
    identity: Identity,
    last: Vec<u8>,
    /// The folders from `dest` down to the last entry; their modes and times are set when they are closed.
    open: Vec<Header>,
    buffer: Vec<u8>,
}

impl<'d> Unpacker<'d> {
    fn new(dest: &'d Path, limits: UnpackLimits) -> Result<Self, UnpackError> {
        fs::create_dir_all(dest).map_err(|cause| UnpackError::Write { path: dest.to_path_buf(), cause })?;
        let buffer = vec![0; 128 << 10];
        let identity = Identity::default();
        Ok(Self { dest, limits, entries: 0, bytes: 0, identity, last: Vec::new(), open: Vec::new(), buffer })
    }

    fn add(&mut self, header: &Header, blocks: &[u8], tar: &mut dyn Read) -> Result<(), UnpackError> {
        if self.entries == self.limits.entries {
            return Err(UnpackError::Limit { limit: self.limits.entries, of: "entries" });
        }
        self.check(header)?;
        self.identity.header(blocks);
        let path = self.dest.join(OsStr::from_bytes(&header.name));
        let write = |cause| not_written(header, &path, cause);
        match &header.kind {
            Kind::Folder => {
                DirBuilder::new().mode(0o700).create(&path).map_err(write)?;
                self.open.push(header.clone());
            }
            Kind::Link { target } => {
                symlink(OsStr::from_bytes(target), &path).map_err(write)?;
                let at = Timespec { tv_sec: header.mtime.cast_signed(), tv_nsec: 0 };
                let times = Timestamps { last_access: at, last_modification: at };
                utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| write(e.into()))?;
            }
            Kind::File { size } => self.file(header, *size, &path, tar)?,
        }
        self.entries += 1;
        self.last.clone_from(&header.name);
        Ok(())
    }

    /// Validates an entry before anything is written.
    fn check(&mut self, header: &Header) -> Result<(), UnpackError> {
        let refused = |problem| Err(UnpackError::Refused { name: display(&header.name), problem });
        let name = header.name.as_slice();
        let stem = match (&header.kind, name.strip_suffix(b"/")) {
            (Kind::Folder, Some(stem)) => stem,
            (Kind::Folder, None) => return refused("is a folder whose name does not end with a slash"),
            (_, _) => name,
        };
        if name.len() > NAME_BYTES || name.contains(&0) {
            return refused("has a name that is not a valid file name");
        }
        if stem.split(|byte| *byte == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
            return refused("has a path that is not normalised or leads outside");
        }
        if let Kind::Link { target } = &header.kind
            && (target.is_empty() || target.contains(&0) || target.len() > NAME_BYTES)
        {
            return refused("is a link whose target is not valid");
        }
        if i64::try_from(header.mtime).is_err() {
            return refused("has a time that is out of range");
        }
        if name <= self.last.as_slice() {
            return refused("is listed twice or out of order");
        }
        let parent = stem.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        while self.open.last().is_some_and(|open| !name.starts_with(&open.name)) {
            self.close_folder()?;
        }
        if self.open.last().map_or(&[][..], |open| &open.name) != &name[..parent] {
            return refused("is in a folder that the archive does not contain");
        }
        if let Kind::File { size } = header.kind {
            if size > self.limits.entry_bytes {
                return Err(UnpackError::Limit { limit: self.limits.entry_bytes, of: "bytes in one file" });
            }
            if size > self.limits.bytes - self.bytes {
                return Err(UnpackError::Limit { limit: self.limits.bytes, of: "bytes unpacked" });
            }
            self.bytes += size;
        }
        Ok(())
    }

    fn file(
        &mut self,
        header: &Header,
        size: u64,
        path: &Path,
        tar: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        let write = |cause| not_written(header, path, cause);
        let cut = |cause: io::Error, entries| {
            let problem = format!("{TRUNCATED} within `{}`", display(&header.name));
            UnpackError::Broken { entries, problem, cause: Some(cause) }
        };
        // Only a new file: nothing that already has the name, such as a link, is touched.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(write)?;
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            tar.read_exact(&mut self.buffer[..want]).map_err(|e| cut(e, self.entries))?;
            self.identity.content(&self.buffer[..want]);
            file.write_all(&self.buffer[..want]).map_err(write)?;
            left -= want as u64;
        }
        let mut padding = [0; BLOCK];
        let padding = &mut padding[..header::padding(size)];
        tar.read_exact(padding).map_err(|e| cut(e, self.entries))?;
        if padding.iter().any(|byte| *byte != 0) {
            let problem = "padding that is not zero".to_owned();
            return Err(UnpackError::Broken { entries: self.entries, problem, cause: None });
        }
        self.identity.content(padding);
        restore_metadata(&file, header).map_err(write)
    }

    /// Sets mode and time of the innermost open folder; nothing is written into it after that.
    fn close_folder(&mut self) -> Result<(), UnpackError> {
        let Some(header) = self.open.pop() else { return Ok(()) };
        let path = self.dest.join(OsStr::from_bytes(&header.name));
        File::open(&path)
            .and_then(|folder| restore_metadata(&folder, &header))
            .map_err(|cause| UnpackError::Write { path, cause })
    }

    /// Closes all folders and checks that nothing follows the archive.
    fn finish(mut self, tar: &mut dyn Read) -> Result<(u64, u64, Digest), UnpackError> {
        while !self.open.is_empty() {
            self.close_folder()?;
        }
        let (entries, mut more) = (self.entries, [0]);
        match tar.read(&mut more) {
            Ok(0) => {}
            Ok(_) => {
                let problem = "it has data after its end".to_owned();
                return Err(UnpackError::Broken { entries, problem, cause: None });
            }
            Err(cause) => {
                let problem = TRUNCATED.to_owned();
                return Err(UnpackError::Broken { entries, problem, cause: Some(cause) });
            }
        }
        self.identity.content(&[0; 2 * BLOCK]);
        Ok((entries, self.bytes, self.identity.finish()))
    }
}

/// Why an entry is not written. Nothing that exists is overwritten, so a name that is taken is the archive's fault: the
/// folder was empty.
fn not_written(header: &Header, path: &Path, cause: io::Error) -> UnpackError {
    if cause.kind() == io::ErrorKind::AlreadyExists {
        return UnpackError::Refused {
            name: display(&header.name),
            problem: "has the name of another entry, or of a file that was there before",
        };
    }
    UnpackError::Write { path: path.to_path_buf(), cause }
}

fn restore_metadata(file: &File, header: &Header) -> io::Result<()> {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(header.mtime))?;
    // Last: writing to a file clears its setuid bit.
    file.set_permissions(Permissions::from_mode(header.mode))
}

/// Hashes and counts a blob while it is read.
struct HashingReader<R> {
    inner: R,
    sha256: Sha256,
    len: u64,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..got]);
        self.len += got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests;
