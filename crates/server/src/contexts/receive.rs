//! A blob on its way in.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bakery_core::image::Digest;
use bakery_core::limits;
use bakery_core::wire::context::{ContextLocation, ContextRef};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::record::{self, Record};
use super::{ContextError, Contexts, io_error};

/// Bytes gathered before they are handed to the file system.
const BUFFER: usize = 256 << 10;

/// Names for files that are being received, unique in this process.
static NTH: AtomicU64 = AtomicU64::new(0);

/// What was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Digest of the blob.
    pub sha256: Digest,
    /// Its bytes.
    pub len: u64,
}

/// Removes what was half-received, whatever ended it.
struct Incoming(PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        // Where it has been put in its place there is nothing left to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Contexts {
    /// Receives a blob and puts it into the store whole, or not at all. It must have exactly the digest and the length
    /// that were offered; memory is bounded whatever comes.
    pub async fn receive<S, E>(
        &self,
        owner: &str,
        id: Digest,
        expected: Expected,
        mut body: S,
    ) -> Result<ContextRef, ContextError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Expected { sha256, len } = expected;
        if len > limits::CONTEXT_BYTES {
            return Err(ContextError::TooLarge(len));
        }
        let nth = self.inner.puts.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::info!(%id, len, puts = nth, "PUT of a context");
        let incoming =
            Incoming(record::incoming_path(&self.inner.folder, NTH.fetch_add(1, Ordering::Relaxed)));
        let mut options = tokio::fs::OpenOptions::new();
        options.mode(0o600).write(true).create_new(true);
        let file = options.open(&incoming.0).await.map_err(io_error("written"))?;
        let mut file = tokio::io::BufWriter::with_capacity(BUFFER, file);
        let (mut got, mut hash) = (0, Sha256::new());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| ContextError::BrokenOff(error.into()))?;
            got += piece.len() as u64;
            if got > len {
                return Err(ContextError::WrongLength { expected: len, got });
            }
            hash.update(&piece);
            file.write_all(&piece).await.map_err(io_error("written"))?;
        }
        if got != len {
            return Err(ContextError::WrongLength { expected: len, got });
        }
        let digest = Digest::from_sha256(&hash.finalize().into());
        if digest != sha256 {
            return Err(ContextError::WrongDigest { expected: sha256, got: digest });
        }
        file.flush().await.map_err(io_error("written"))?;
        file.get_ref().sync_all().await.map_err(io_error("written"))?;
        let now = self.inner.clock.now();
        let context = ContextRef { id, sha256, len, location: ContextLocation::Store };
        let record =
            Record { owner: owner.to_owned(), context: context.clone(), since: now, used: now, proven: true };
        // The record first: a sweep between the two must find the blob named.
        self.remember(record).await?;
        let folder = self.inner.folder.clone();
        let hex = context.sha256.hex().to_owned();
        let placed = tokio::task::spawn_blocking(move || record::place(&folder, &incoming.0, &hex)).await;
        placed.unwrap_or_else(|panic| Err(std::io::Error::other(panic))).map_err(io_error("written"))?;
        Ok(context)
    }
}
