//! Packs a source folder into one canonical archive.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{mem, thread};

use bakery_core::image::Digest;
use bakery_core::limits;
use bakery_core::message::Message;

use crate::byte_path::display;
use crate::folder_sizes::{FolderSizes, LargeFolder};
use crate::gzip::{self, Compressor, MEMBER, Piece};
use crate::header::{self, BLOCK, Header, Kind};
use crate::identity::Identity;
use crate::notices::Notices;
use crate::pack_error::PackError;
use crate::rules::Rules;
use crate::source_tree::SourceTree;
use crate::walk::{Content, LeftOut, Visitor, Walk};

/// What [`pack`] wrote.
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
    /// The folders that hold most of these bytes, three at most, largest first.
    pub largest: Vec<LargeFolder>,
    /// What was left out or changed while it was packed.
    pub notices: Vec<Message>,
}

/// Packs a source folder into `out` as a tar.gz. A file that every context containing it excludes is left out.
///
/// The same tree with the same times gives the same bytes. All mode bits are kept, owners are not stored, hard links
/// become files; a link with an absolute path in the source folder gets a relative one; sockets, pipes and devices are left
/// out with a notice. `level` is gzip's. Blocks and uses all cores;
/// memory is bounded whatever the size of the tree.
pub fn pack(source: &SourceTree<'_>, out: &mut (dyn Write + Send), level: u32) -> Result<Packed, PackError> {
    let rules = Rules::read(source.root, source.contexts)?;
    let (compressor, members) = gzip::pipeline(level);
    let (to_identity, pieces) = sync_channel(4);
    thread::scope(|scope| {
        let written = scope.spawn(move || members.write(out));
        let identity = scope.spawn(move || identify(&pieces));
        let mut writer = ArchiveWriter::new(compressor, to_identity);
        let walked = Walk::new(source, &rules, &mut writer).run();
        let (entries, bytes, sizes) = (writer.entries, writer.bytes, mem::take(&mut writer.sizes));
        // Dropped in both cases: the two threads run until then.
        let walked = match walked {
            Ok(notices) => writer.finish().map(|()| notices),
            Err(error) => {
                drop(writer);
                Err(error)
            }
        };
        let joined = (written.join(), identity.join());
        let (Ok(written), Ok(id)) = joined else {
            return Err(PackError::Write(io::Error::other("a thread of the packer panicked")));
        };
        // A failed write also ends the walk, so its error is reported first.
        let (sha256, len) = written.map_err(PackError::Write)?;
        let (largest, notices) = (sizes.finish(), walked?.into_messages());
        Ok(Packed { id, sha256, len, entries, bytes, largest, notices })
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

/// Writes the archive piece by piece. Files are read directly into the piece.
struct ArchiveWriter {
    bytes_left: u64,
    entries: u64,
    bytes: u64,
    sizes: FolderSizes,
    piece: Vec<u8>,
    filled: usize,
    headers: Vec<usize>,
    compressor: Compressor,
    to_identity: SyncSender<Arc<Piece>>,
}

impl ArchiveWriter {
    fn new(compressor: Compressor, to_identity: SyncSender<Arc<Piece>>) -> Self {
        let piece = vec![0; MEMBER];
        let bytes_left = limits::CONTEXT_EXPANDED_BYTES;
        Self {
            bytes_left,
            entries: 0,
            bytes: 0,
            sizes: FolderSizes::default(),
            piece,
            filled: 0,
            headers: Vec::new(),
            compressor,
            to_identity,
        }
    }

    fn content(
        &mut self,
        header: &Header,
        size: u64,
        content: Content,
        notices: &mut Notices,
    ) -> Result<(), PackError> {
        let mut file = match content {
            Content::Of(file) => file,
            Content::Text(text) => return self.put(&text),
        };
        self.read(&header.name, &mut file, size)?;
        let now = file.metadata().map_err(|cause| PackError::Read { path: display(&header.name), cause })?;
        let mtime = now.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        if now.len() != size || mtime.map_or(0, |time| time.as_secs()) != header.mtime {
            notices.add(
                &header.name,
                "changed while it was packed: the archive may contain a mixture of both versions",
            );
        }
        Ok(())
    }

    fn read(&mut self, name: &[u8], file: &mut File, size: u64) -> Result<(), PackError> {
        let mut left = size;
        while left > 0 {
            self.flush_if_full()?;
            let free = &mut self.piece[self.filled..];
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(free.len());
            let got = match file.read(&mut free[..want]) {
                Ok(0) => return Err(PackError::Shrank { path: display(name) }),
                Ok(got) => got,
                Err(again) if again.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(PackError::Read { path: display(name), cause }),
            };
            self.filled += got;
            left -= got as u64;
        }
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), PackError> {
        while !bytes.is_empty() {
            self.flush_if_full()?;
            let len = bytes.len().min(self.piece.len() - self.filled);
            self.piece[self.filled..self.filled + len].copy_from_slice(&bytes[..len]);
            self.filled += len;
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// Adds zeros up to the end of a block. A piece starts as zeros, and blocks do not cross its end.
    fn pad(&mut self, zeros: usize) -> Result<(), PackError> {
        self.filled += zeros;
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<(), PackError> {
        if self.filled == self.piece.len() { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), PackError> {
        let mut bytes = mem::replace(&mut self.piece, vec![0; MEMBER]);
        bytes.truncate(mem::take(&mut self.filled));
        let piece = Arc::new(Piece { bytes, headers: mem::take(&mut self.headers) });
        // A receiver that is gone reports its own error.
        let gone = || PackError::Write(io::ErrorKind::BrokenPipe.into());
        self.to_identity.send(Arc::clone(&piece)).map_err(|_| gone())?;
        if self.compressor.compress(piece) { Ok(()) } else { Err(gone()) }
    }

    fn finish(mut self) -> Result<(), PackError> {
        self.put(&[0; 2 * BLOCK])?;
        if self.filled > 0 { self.send() } else { Ok(()) }
    }
}

impl Visitor for ArchiveWriter {
    fn entry(
        &mut self,
        header: &Header,
        content: Option<Content>,
        notices: &mut Notices,
    ) -> Result<(), PackError> {
        self.entries += 1;
        if self.entries > limits::CONTEXT_ENTRIES {
            return Err(PackError::Entries);
        }
        let blocks = header.encode();
        let (long, last) = blocks.split_at(blocks.len() - BLOCK);
        self.put(long)?;
        self.flush_if_full()?;
        self.headers.push(self.filled);
        self.put(last)?;
        let size = if let Kind::File { size } = header.kind { size } else { 0 };
        self.sizes.add(&header.name, size);
        let Some(content) = content else { return Ok(()) };
        self.bytes_left = self.bytes_left.checked_sub(size).ok_or(PackError::Bytes)?;
        self.bytes += size;
        self.content(header, size, content, notices)?;
        self.pad(header::padding(size))
    }

    fn left_out(&mut self, _: &[u8], _: &LeftOut<'_>) -> Result<(), PackError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
