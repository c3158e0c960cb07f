//! Compresses a byte stream on all cores into one gzip stream of many members. The caller decides the level.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bakery_core::image::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// Bytes of input in one member.
pub(crate) const MEMBER: usize = 1 << 20;

/// A piece of an archive: at most [`MEMBER`] bytes, ending with a block.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// Offsets of the headers that contain a time.
    pub(crate) headers: Vec<usize>,
}

type Member = io::Result<Vec<u8>>;

/// The input of the pipeline. Members are written in the order of their pieces. Only as many are in flight as the cores
/// need, so memory is bounded whatever the length of the stream.
pub(crate) struct Compressor {
    level: Compression,
    queue: SyncSender<Receiver<Member>>,
}

/// The output of the pipeline: members in order.
pub(crate) struct Members(Receiver<Receiver<Member>>);

pub(crate) fn pipeline(level: u32) -> (Compressor, Members) {
    let (queue, members) = sync_channel(2 * rayon::current_num_threads() + 2);
    (Compressor { level: Compression::new(level.min(9)), queue }, Members(members))
}

impl Compressor {
    /// Compresses a piece; waits while too many are in flight. `false` if the writer of the members is gone.
    pub(crate) fn compress(&self, piece: Arc<Piece>) -> bool {
        let (done, member) = sync_channel(1);
        if self.queue.send(member).is_err() {
            return false;
        }
        let level = self.level;
        rayon::spawn(move || {
            let mut encoder = GzEncoder::new(Vec::with_capacity(piece.bytes.len() / 2), level);
            let member = encoder.write_all(&piece.bytes).and_then(|()| encoder.finish());
            // The receiver is gone if writing failed.
            let _ = done.send(member);
        });
        true
    }
}

impl Members {
    /// Writes all members. Returns the digest and the length of what was written.
    pub(crate) fn write(self, out: &mut (dyn Write + Send)) -> io::Result<(Digest, u64)> {
        let (mut sha256, mut len) = (Sha256::new(), 0);
        for member in self.0 {
            let member = member.recv().map_err(|_| io::Error::other("a compression thread panicked"))??;
            out.write_all(&member)?;
            sha256.update(&member);
            len += member.len() as u64;
        }
        out.flush()?;
        Ok((Digest::from_sha256(&sha256.finalize().into()), len))
    }
}
