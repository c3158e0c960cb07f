//! The name of a tree: SHA-256 over its canonical archive with all times zero.

use bakery_core::image::Digest;
use sha2::{Digest as _, Sha256};

use crate::header::{self, BLOCK};

/// Hashes an archive as it goes by.
#[derive(Default)]
pub(crate) struct Identity(Sha256);

impl Identity {
    /// The blocks of one header, long names included: only the last one has a time.
    pub(crate) fn header(&mut self, blocks: &[u8]) {
        let (long, last) = blocks.split_at(blocks.len() - BLOCK);
        self.0.update(long);
        self.0.update(header::timeless(last));
    }

    /// Everything else.
    pub(crate) fn content(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest::from_sha256(&self.0.finalize().into())
    }
}
