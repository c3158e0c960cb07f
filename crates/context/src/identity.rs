//! The identity of a tree: the SHA-256 of its canonical archive with all times set to zero.

use bakery_core::image::Digest;
use sha2::{Digest as _, Sha256};

use crate::header::{self, BLOCK};

/// Computes the identity of an archive while it is written or read.
#[derive(Default)]
pub(crate) struct Identity(Sha256);

impl Identity {
    /// Adds the blocks of one header, long names included: only the last block contains a time.
    pub(crate) fn header(&mut self, blocks: &[u8]) {
        let (long, last) = blocks.split_at(blocks.len() - BLOCK);
        self.0.update(long);
        self.0.update(header::timeless(last));
    }

    /// Adds everything else.
    pub(crate) fn content(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest::from_sha256(&self.0.finalize().into())
    }
}
