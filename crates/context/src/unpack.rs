//! A canonical archive becomes a folder again, whoever made the archive.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bakery_core::image::Digest;
use bakery_core::limits;
use flate2::read::MultiGzDecoder;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use sha2::{Digest as _, Sha256};

use crate::header::{self, BLOCK, Header, Kind, NAME_BYTES, Next, NoHeader};
use crate::identity::Identity;

/// What an archive may make of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of a single file.
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

/// What [`unpack`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Identity of the tree, computed anew: compare it with the one that was asked for before the tree is used.
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

/// Why an archive was not unpacked, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive is cut off, damaged or not in the form that [`crate::pack`] gives it.
    #[error("the archive is broken after {entries} entries: {problem}{}", because(cause.as_ref()))]
    Broken {
        /// Entries that were well.
        entries: u64,
        /// What is wrong with the next.
        problem: String,
        /// The reader's own error, where it had one: of a download, for one.
        cause: Option<io::Error>,
    },
    /// An entry that would lie outside of the folder, or beside its place in the order.
    #[error("the archive is refused: entry `{name}` {problem}")]
    Refused {
        /// As the archive spells it.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Past one of the [`UnpackLimits`].
    #[error("the archive is refused: it has more than {limit} {of}")]
    Limit {
        /// The limit.
        limit: u64,
        /// Its unit and thing.
        of: &'static str,
    },
    /// The folder cannot be written: a full disk, for one.
    #[error("`{}`: cannot be written: {cause}", path.display())]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl UnpackError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Broken { .. } | Self::Refused { .. } => {
                "pack and send the context again with bakery-client"
            }
            Self::Limit { .. } => "leave out by `.dockerignore` what the build does not need",
            Self::Write { .. } => "is the disk full, and may the caller write there?",
        }
    }
}

/// Unpacks a tar.gz into `dest`, which is made where it does not exist; nothing that exists is overwritten.
///
/// Nothing is written outside of `dest`, and nothing through a link: every entry lies in a folder that this very call has
/// made. Modes and times are restored, owners are the caller. Blocks. On an error what was unpacked so far stays.
pub fn unpack(blob: impl Read, dest: &Path, limits: &UnpackLimits) -> Result<Unpacked, UnpackError> {
    let mut blob = Counted { inner: blob, sha256: Sha256::new(), len: 0 };
    let mut tar = MultiGzDecoder::new(&mut blob);
    let mut tree = Tree::new(dest, *limits)?;
    loop {
        let broken = |tree: &Tree, problem: String, cause| UnpackError::Broken {
            entries: tree.entries,
            problem,
            cause,
        };
        match Header::decode(&mut tar) {
            Ok(Next::Entry(header, blocks)) => tree.add(&header, &blocks, &mut tar)?,
            Ok(Next::End) => break,
            Err(NoHeader::Form(problem)) => return Err(broken(&tree, problem.to_owned(), None)),
            Err(NoHeader::Read(cause)) => return Err(broken(&tree, CUT.to_owned(), Some(cause))),
        }
    }
    let (entries, bytes, id) = tree.finish(&mut tar)?;
    Ok(Unpacked {
        id,
        sha256: Digest::from_sha256(&blob.sha256.finalize().into()),
        len: blob.len,
        entries,
        bytes,
    })
}

fn because(cause: Option<&io::Error>) -> String {
    cause.map(|cause| format!(": {cause}")).unwrap_or_default()
}

const CUT: &str = "it cannot be read on";

/// The folder being made.
struct Tree<'d> {
    dest: &'d Path,
    limits: UnpackLimits,
    entries: u64,
    bytes: u64,
    identity: Identity,
    last: Vec<u8>,
    /// The folders from `dest` down to the last entry; their modes and times are set when they are left.
    open: Vec<Header>,
    buffer: Vec<u8>,
}

impl<'d> Tree<'d> {
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
        let write = |cause| UnpackError::Write { path: path.clone(), cause };
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

    /// Everything that may be said of an entry before anything is written.
    fn check(&mut self, header: &Header) -> Result<(), UnpackError> {
        let refused = |problem| {
            Err(UnpackError::Refused { name: String::from_utf8_lossy(&header.name).into_owned(), problem })
        };
        let name = header.name.as_slice();
        let stem = match (&header.kind, name.strip_suffix(b"/")) {
            (Kind::Folder, Some(stem)) => stem,
            (Kind::Folder, None) => return refused("is a folder without a slash at its end"),
            (_, _) => name,
        };
        if name.len() > NAME_BYTES || name.contains(&0) {
            return refused("has no name that a file can have");
        }
        if stem.split(|byte| *byte == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
            return refused("leads out of its folder or goes a roundabout way");
        }
        if let Kind::Link { target } = &header.kind
            && (target.is_empty() || target.contains(&0) || target.len() > NAME_BYTES)
        {
            return refused("is a link with a target that none can have");
        }
        if i64::try_from(header.mtime).is_err() {
            return refused("has a time that none can have");
        }
        if name <= self.last.as_slice() {
            return refused("is listed twice or out of order");
        }
        let parent = stem.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        while self.open.last().is_some_and(|open| !name.starts_with(&open.name)) {
            self.leave()?;
        }
        if self.open.last().map_or(&[][..], |open| &open.name) != &name[..parent] {
            return refused("lies in a folder that the archive does not hold");
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
        let write = |cause| UnpackError::Write { path: path.to_path_buf(), cause };
        let cut = |cause: io::Error, entries| {
            let problem = format!("{CUT} within `{}`", String::from_utf8_lossy(&header.name));
            UnpackError::Broken { entries, problem, cause: Some(cause) }
        };
        // A new file or none: whatever already has the name, a link above all, is not touched.
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
            let problem = "padding that is not empty".to_owned();
            return Err(UnpackError::Broken { entries: self.entries, problem, cause: None });
        }
        self.identity.content(padding);
        settle(&file, header).map_err(write)
    }

    /// Sets mode and time of the innermost open folder: nothing is written into it any more.
    fn leave(&mut self) -> Result<(), UnpackError> {
        let Some(header) = self.open.pop() else { return Ok(()) };
        let path = self.dest.join(OsStr::from_bytes(&header.name));
        File::open(&path)
            .and_then(|folder| settle(&folder, &header))
            .map_err(|cause| UnpackError::Write { path, cause })
    }

    /// Leaves all folders, and reads on to make sure that nothing follows.
    fn finish(mut self, tar: &mut dyn Read) -> Result<(u64, u64, Digest), UnpackError> {
        while !self.open.is_empty() {
            self.leave()?;
        }
        let (entries, mut more) = (self.entries, [0]);
        match tar.read(&mut more) {
            Ok(0) => {}
            Ok(_) => {
                let problem = "bytes follow its end".to_owned();
                return Err(UnpackError::Broken { entries, problem, cause: None });
            }
            Err(cause) => {
                let problem = CUT.to_owned();
                return Err(UnpackError::Broken { entries, problem, cause: Some(cause) });
            }
        }
        self.identity.content(&[0; 2 * BLOCK]);
        Ok((entries, self.bytes, self.identity.finish()))
    }
}

fn settle(file: &File, header: &Header) -> io::Result<()> {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(header.mtime))?;
    // The last thing: writing to a file takes its setuid bit away.
    file.set_permissions(Permissions::from_mode(header.mode))
}

/// Hashes and counts a blob while it is read.
struct Counted<R> {
    inner: R,
    sha256: Sha256,
    len: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..got]);
        self.len += got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests;
