//! A source folder becomes one canonical archive.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{mem, thread};

use bakery_core::image::Digest;
use bakery_core::limits;

use crate::header::{self, BLOCK, Header, Kind};
use crate::identity::Identity;
use crate::members::{self, Compressor, MEMBER, Piece};
use crate::rules::{ContextFolder, Rules, RulesError};
use crate::walk::{Notices, Walk, shown};

/// What [`pack`] has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Identity of the tree: the SHA-256 of its canonical tar with all times zero.
    pub id: Digest,
    /// SHA-256 of the tar.gz.
    pub sha256: Digest,
    /// Bytes of the tar.gz.
    pub len: u64,
    /// Files, folders and links in it.
    pub entries: u64,
    /// Bytes of the files in it.
    pub bytes: u64,
    /// What was left out or looks odd, a line each, for people.
    pub notices: Vec<String>,
}

/// Why a folder was not packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The source folder itself.
    #[error("`{}`: not a source folder: {cause}", path.display())]
    Root {
        /// As it was given.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Ignore rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Something in the folder.
    #[error("`{path}`: cannot be read: {cause}")]
    Read {
        /// Below the source folder.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// A file lost bytes between its header and its end.
    #[error("`{path}` became shorter while it was packed")]
    Shrank {
        /// Below the source folder.
        path: String,
    },
    /// More than [`limits::CONTEXT_ENTRIES`].
    #[error("the source has more than {} entries", limits::CONTEXT_ENTRIES)]
    Entries,
    /// More than [`limits::CONTEXT_EXPANDED_BYTES`].
    #[error("the source has more than {} GiB", limits::CONTEXT_EXPANDED_BYTES >> 30)]
    Bytes,
    /// The archive could not be written.
    #[error("the archive cannot be written: {0}")]
    Write(io::Error),
}

impl PackError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Root { .. } => "`--repo` names the folder that is packed",
            Self::Rules(rules) => rules.hint(),
            Self::Read { .. } => "make it readable, or leave it out by a line in `.dockerignore`",
            Self::Shrank { .. } => "end what writes to it, or leave it out by a line in `.dockerignore`",
            Self::Entries | Self::Bytes => "leave out by `.dockerignore` what the build does not need",
            Self::Write(_) => "is there room for temporary files?",
        }
    }
}

/// Packs a source folder into `out` as a tar.gz, less every `.git` and less what the ignore rules of every context that
/// contains a file drop.
///
/// The same tree with the same times gives the same bytes. Modes are kept bit by bit, owners are left out, hard links are
/// files, sockets, pipes and devices are left out with a notice. Blocks, and uses all cores; memory is bounded whatever
/// the size of the tree.
pub fn pack(
    root: &Path,
    folders: &[ContextFolder],
    out: &mut (dyn Write + Send),
    level: u32,
) -> Result<Packed, PackError> {
    let rules = Rules::read(root, folders)?;
    let (compressor, members) = members::pipeline(level);
    let (to_identity, pieces) = sync_channel(4);
    thread::scope(|scope| {
        let written = scope.spawn(move || members.write(out));
        let identity = scope.spawn(move || identify(&pieces));
        let mut tape = Tape::new(compressor, to_identity);
        let walked =
            Walk::new(root, &rules, &mut |header, file, notices| tape.add(header, file, notices)).run();
        let (entries, bytes) = (tape.entries, tape.bytes);
        // Ended or given up, the tape must go now: the two threads work until it does.
        let walked = match walked {
            Ok(notices) => tape.finish().map(|()| notices),
            Err(error) => {
                drop(tape);
                Err(error)
            }
        };
        let joined = (written.join(), identity.join());
        let (Ok(written), Ok(id)) = joined else {
            return Err(PackError::Write(io::Error::other("a thread of the packer ended early")));
        };
        // A write that failed also ends the walk: it comes first.
        let (sha256, len) = written.map_err(PackError::Write)?;
        Ok(Packed { id, sha256, len, entries, bytes, notices: walked?.into_lines() })
    })
}

fn identify(pieces: &Receiver<Arc<Piece>>) -> Digest {
    let mut identity = Identity::default();
    for piece in pieces {
        let mut done = 0;
        for &at in &piece.headers {
            identity.content(&piece.bytes[done..at]);
            identity.header(&piece.bytes[at..at + BLOCK]);
            done = at + BLOCK;
        }
        identity.content(&piece.bytes[done..]);
    }
    identity.finish()
}

/// The archive being written, piece by piece. Files are read straight into the piece.
struct Tape {
    bytes_left: u64,
    entries: u64,
    bytes: u64,
    piece: Vec<u8>,
    filled: usize,
    headers: Vec<usize>,
    compressor: Compressor,
    to_identity: SyncSender<Arc<Piece>>,
}

impl Tape {
    fn new(compressor: Compressor, to_identity: SyncSender<Arc<Piece>>) -> Self {
        let piece = vec![0; MEMBER];
        let bytes_left = limits::CONTEXT_EXPANDED_BYTES;
        Self {
            bytes_left,
            entries: 0,
            bytes: 0,
            piece,
            filled: 0,
            headers: Vec::new(),
            compressor,
            to_identity,
        }
    }

    fn add(&mut self, header: &Header, file: Option<File>, notices: &mut Notices) -> Result<(), PackError> {
        self.entries += 1;
        if self.entries > limits::CONTEXT_ENTRIES {
            return Err(PackError::Entries);
        }
        let blocks = header.encode();
        let (long, last) = blocks.split_at(blocks.len() - BLOCK);
        self.put(long)?;
        self.room()?;
        self.headers.push(self.filled);
        self.put(last)?;
        let (Kind::File { size }, Some(mut file)) = (&header.kind, file) else { return Ok(()) };
        self.bytes_left = self.bytes_left.checked_sub(*size).ok_or(PackError::Bytes)?;
        self.bytes += size;
        self.read(&header.name, &mut file, *size)?;
        self.skip(header::padding(*size))?;
        let now = file.metadata().map_err(|cause| PackError::Read { path: shown(&header.name), cause })?;
        let mtime = now.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        if now.len() != *size || mtime.map_or(0, |time| time.as_secs()) != header.mtime {
            notices.add(&header.name, "changed while it was packed: the archive may hold a mixture");
        }
        Ok(())
    }

    fn read(&mut self, name: &[u8], file: &mut File, size: u64) -> Result<(), PackError> {
        let mut left = size;
        while left > 0 {
            self.room()?;
            let room = &mut self.piece[self.filled..];
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(room.len());
            let got = match file.read(&mut room[..want]) {
                Ok(0) => return Err(PackError::Shrank { path: shown(name) }),
                Ok(got) => got,
                Err(again) if again.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(PackError::Read { path: shown(name), cause }),
            };
            self.filled += got;
            left -= got as u64;
        }
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), PackError> {
        while !bytes.is_empty() {
            self.room()?;
            let len = bytes.len().min(self.piece.len() - self.filled);
            self.piece[self.filled..self.filled + len].copy_from_slice(&bytes[..len]);
            self.filled += len;
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// Zeros to a block's end: a piece is made of zeros, and blocks do not cross its end.
    fn skip(&mut self, zeros: usize) -> Result<(), PackError> {
        self.filled += zeros;
        self.room()
    }

    fn room(&mut self) -> Result<(), PackError> {
        if self.filled == self.piece.len() { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), PackError> {
        let mut bytes = mem::replace(&mut self.piece, vec![0; MEMBER]);
        bytes.truncate(mem::take(&mut self.filled));
        let piece = Arc::new(Piece { bytes, headers: mem::take(&mut self.headers) });
        // Where somebody has stopped listening his own error says why.
        let gone = || PackError::Write(io::ErrorKind::BrokenPipe.into());
        self.to_identity.send(Arc::clone(&piece)).map_err(|_| gone())?;
        if self.compressor.take(piece) { Ok(()) } else { Err(gone()) }
    }

    fn finish(mut self) -> Result<(), PackError> {
        self.put(&[0; 2 * BLOCK])?;
        if self.filled > 0 { self.send() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
