//! A byte stream, compressed on all cores into one gzip stream of many members.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bakery_core::image::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// Bytes of input that make one member.
pub(crate) const MEMBER: usize = 1 << 20;

/// A piece of an archive: at most [`MEMBER`] bytes, cut at a block's end.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// Where the headers with a time begin.
    pub(crate) headers: Vec<usize>,
}

type Member = io::Result<Vec<u8>>;

/// The end where pieces go in. Members are written in the order of their pieces; only so many are under way that all
/// cores have work, so memory is bounded whatever the stream's length.
pub(crate) struct Compressor {
    level: Compression,
    line: SyncSender<Receiver<Member>>,
}

/// The end where members come out, in order.
pub(crate) struct Members(Receiver<Receiver<Member>>);

pub(crate) fn pipeline(level: u32) -> (Compressor, Members) {
    let (line, members) = sync_channel(2 * rayon::current_num_threads() + 2);
    (Compressor { level: Compression::new(level.min(9)), line }, Members(members))
}

impl Compressor {
    /// Takes a piece, and waits where too many are under way. `false` once nobody writes members any more.
    pub(crate) fn take(&self, piece: Arc<Piece>) -> bool {
        let (done, member) = sync_channel(1);
        if self.line.send(member).is_err() {
            return false;
        }
        let level = self.level;
        rayon::spawn(move || {
            let mut encoder = GzEncoder::new(Vec::with_capacity(piece.bytes.len() / 2), level);
            let member = encoder.write_all(&piece.bytes).and_then(|()| encoder.finish());
            // Nobody waits for it where the writing has failed.
            let _ = done.send(member);
        });
        true
    }
}

impl Members {
    /// Writes all members; the digest and the length of what was written.
    pub(crate) fn write(self, out: &mut (dyn Write + Send)) -> io::Result<(Digest, u64)> {
        let (mut sha256, mut len) = (Sha256::new(), 0);
        for member in self.0 {
            let member = member.recv().map_err(|_| io::Error::other("a member was not compressed"))??;
            out.write_all(&member)?;
            sha256.update(&member);
            len += member.len() as u64;
        }
        out.flush()?;
        Ok((Digest::from_sha256(&sha256.finalize().into()), len))
    }
}
