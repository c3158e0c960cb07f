//! Receives a blob.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bakery_core::image::Digest;
use bakery_core::limits;
use bakery_core::wire::context::{ContextLocation, ContextRef};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::record::{self, ContextRecord};
use super::{ContextError, Contexts, io_error};

/// Bytes buffered before they are written to the file.
const BUFFER: usize = 256 << 10;

/// After this many bytes the free space is measured again: uploads and open builds share it.
const MEASURE: u64 = BUFFER as u64;

/// Numbers the uploads in progress, unique in this process.
static NTH: AtomicU64 = AtomicU64::new(0);

/// The blob that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedBlob {
    /// Digest of the blob.
    pub sha256: Digest,
    /// Its size in bytes.
    pub len: u64,
}

/// The file of an upload in progress. It is removed when this is dropped.
struct IncomingFile(PathBuf);

impl Drop for IncomingFile {
    fn drop(&mut self) {
        // After a complete upload the file was moved, and there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Contexts {
    /// Receives a blob and adds it to the store completely, or not at all. It must have exactly the digest and the length
    /// that were offered. Memory is bounded, and the reserve of the disk stays free.
    pub async fn receive<S, E>(
        &self,
        owner: &str,
        id: Digest,
        expected: ExpectedBlob,
        mut body: S,
    ) -> Result<ContextRef, ContextError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let ExpectedBlob { sha256, len } = expected;
        if len > limits::CONTEXT_BYTES {
            return Err(ContextError::TooLarge(len));
        }
        self.need_room(len).await?;
        let nth = self.state.puts.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::info!(%id, len, puts = nth, "upload of a context");
        let incoming =
            IncomingFile(record::incoming_path(&self.state.folder, NTH.fetch_add(1, Ordering::Relaxed)));
        let mut options = tokio::fs::OpenOptions::new();
        options.mode(0o600).write(true).create_new(true);
        let file = options.open(&incoming.0).await.map_err(io_error("written"))?;
        let mut file = tokio::io::BufWriter::with_capacity(BUFFER, file);
        let (mut got, mut hash) = (0, Sha256::new());
        let mut measured = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| ContextError::Interrupted(error.into()))?;
            got += chunk.len() as u64;
            if got > len {
                return Err(ContextError::WrongLength { expected: len, got });
            }
            if got - measured >= MEASURE {
                self.need_room(0).await?;
                measured = got;
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(io_error("written"))?;
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
        let now = self.state.clock.now();
        let context = ContextRef { id, sha256, len, location: ContextLocation::Store };
        let record = ContextRecord {
            owner: owner.to_owned(),
            context: context.clone(),
            since: now,
            used: now,
            proven: true,
        };
        // The record first: a sweep in between must not find a blob without a record.
        self.remember(record).await?;
        let folder = self.state.folder.clone();
        let hex = context.sha256.hex().to_owned();
        let stored = tokio::task::spawn_blocking(move || record::store(&folder, &incoming.0, &hex)).await;
        stored.unwrap_or_else(|panic| Err(std::io::Error::other(panic))).map_err(io_error("written"))?;
        Ok(context)
    }
}
