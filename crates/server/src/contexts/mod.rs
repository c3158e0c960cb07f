//! Contexts: the server's own store of packed folders, and the rules for a bucket.
//!
//! A blob in the store is named by its SHA-256, which is verified while it arrives. Access is stored separately: one record
//! per owner and identity, so an owner never learns what another has sent. With a bucket the server stores nothing and
//! needs no rights there: it accepts only its own bucket and the key that follows from the identity. Once a build has used
//! a context, the server assumes that it is in the bucket, for half of the bucket's expiry after the upload was requested.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bakery_core::image::Digest;
use bakery_core::limits;
use bakery_core::report::shown;
use bakery_core::wire::context::{ContextAnswer, ContextLocation, ContextOffer, ContextRef, object_key};
use bakery_core::wire::route;
use bakery_core::wire::run::ContextSource;
use thiserror::Error;

use crate::clock::Clock;
use crate::disk::{self, DataDisk};

mod receive;
mod record;
#[cfg(test)]
mod tests;

pub use receive::ExpectedBlob;
use record::ContextRecord;

/// How long a bucket is assumed to keep an object, and how long the store keeps a blob after its last use.
pub const EXPIRY: Duration = Duration::from_hours(7 * 24);

/// The bucket that clients and agents share. The server itself does not access it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Endpoint URL; `None` = the region's endpoint of AWS.
    pub endpoint: Option<String>,
    /// Region.
    pub region: String,
    /// Name.
    pub name: String,
}

/// Why a context was not accepted or found.
#[derive(Debug, Error)]
pub enum ContextError {
    /// Larger than [`limits::CONTEXT_BYTES`].
    #[error("the context has {0} bytes, the limit is {max} bytes", max = limits::CONTEXT_BYTES)]
    TooLarge(u64),
    /// The body is shorter or longer than was offered.
    #[error("the context was offered with {expected} bytes, received {got}")]
    WrongLength {
        /// Bytes offered.
        expected: u64,
        /// Bytes received until then.
        got: u64,
    },
    /// The body is not what was offered.
    #[error("the context was offered as {expected}, received {got}")]
    WrongDigest {
        /// Digest offered.
        expected: Digest,
        /// Digest of what was received.
        got: Digest,
    },
    /// The store has no context of this name.
    #[error("context {0} is not in the server's store")]
    Missing(Digest),
    /// Not the bucket that the server is configured with.
    #[error("bucket `{}` is not the server's: {}", shown(given), own.as_deref().map_or("it has none".to_owned(), |own| format!("it uses `{own}`")))]
    ForeignBucket {
        /// The bucket that the request names.
        given: String,
        /// The server's own.
        own: Option<String>,
    },
    /// Not the key that follows from the identity.
    #[error("`{}` is not the key of this context", shown(.0))]
    ForeignKey(String),
    /// The upload ended early.
    #[error("the upload of the context was interrupted")]
    Interrupted(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk has no room for it, or is full.
    #[error("the disk of the server's data folder is full")]
    DiskFull,
    /// The file system returned an error.
    #[error("the context store cannot be {doing}")]
    Io {
        /// The operation, as a participle.
        doing: &'static str,
        /// The error.
        #[source]
        source: io::Error,
    },
}

/// The contexts of this server; cheap to clone.
#[derive(Clone)]
pub struct Contexts {
    state: Arc<ContextsState>,
}

struct ContextsState {
    folder: PathBuf,
    bucket: Option<Bucket>,
    disk: DataDisk,
    clock: Clock,
    puts: AtomicU64,
    records: Mutex<HashMap<(String, Digest), ContextRecord>>,
}

impl Contexts {
    /// Opens the store, and creates its folder where it does not exist. Incomplete uploads of an earlier process are
    /// removed. `disk` has the folder.
    pub fn open(folder: &Path, bucket: Option<Bucket>, disk: DataDisk, clock: Clock) -> io::Result<Self> {
        record::prepare(folder)?;
        let records = record::read_all(folder)?;
        let state = ContextsState {
            folder: folder.to_owned(),
            bucket,
            disk,
            clock,
            puts: AtomicU64::new(0),
            records: Mutex::new(records),
        };
        Ok(Self { state: Arc::new(state) })
    }

    /// The bucket, where one is configured.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.state.bucket.as_ref()
    }

    /// How many uploads have begun since the start.
    pub fn puts(&self) -> u64 {
        self.state.puts.load(Ordering::Relaxed)
    }

    /// Whether this owner needs to send a context, and where to.
    pub async fn offer(&self, owner: &str, offer: &ContextOffer) -> Result<ContextAnswer, ContextError> {
        if offer.len > limits::CONTEXT_BYTES {
            return Err(ContextError::TooLarge(offer.len));
        }
        self.check_location(&offer.id, &offer.location)?;
        let now = self.state.clock.now();
        let known = self.records().get(&(owner.to_owned(), offer.id.clone())).cloned();
        if let Some(record) = known.filter(|record| same_kind(&record.context.location, &offer.location)) {
            let present = match record.context.location {
                ContextLocation::Store => self.blob_is_there(&record.context).await?,
                ContextLocation::S3 { .. } => {
                    record.proven && now.duration_since(record.since).unsigned_abs() < EXPIRY / 2
                }
            };
            if present {
                return Ok(ContextAnswer::Present { context: record.context });
            }
        }
        match &offer.location {
            ContextLocation::Store => {
                // Said before the client sends it.
                self.need_room(offer.len).await?;
                Ok(ContextAnswer::Upload { path: upload_path(&offer.id, &offer.sha256, offer.len) })
            }
            location @ ContextLocation::S3 { .. } => {
                let context = ContextRef {
                    id: offer.id.clone(),
                    sha256: offer.sha256.clone(),
                    len: offer.len,
                    location: location.clone(),
                };
                self.need_room(0).await?;
                self.remember(ContextRecord {
                    owner: owner.to_owned(),
                    context,
                    since: now,
                    used: now,
                    proven: false,
                })
                .await?;
                Ok(ContextAnswer::OwnCredentials)
            }
        }
    }

    /// Checks that a build of this owner may use this context: the owner has sent it to the store, or has offered it for
    /// the server's bucket. Another owner's context is missing.
    pub async fn check(&self, owner: &str, context: &ContextRef) -> Result<(), ContextError> {
        let own = self.records().get(&(owner.to_owned(), context.id.clone())).cloned();
        let named = own.is_some_and(|record| match context.location {
            ContextLocation::Store => record.context == *context,
            // Another gzip of the same identity has the same key.
            ContextLocation::S3 { .. } => record.context.location == context.location,
        });
        self.check_named(context, named).await
    }

    /// Checks that the context of an accepted build still exists, whoever has sent it.
    pub async fn check_taken(&self, context: &ContextRef) -> Result<(), ContextError> {
        let named = context.location != ContextLocation::Store
            || self.records().values().any(|record| record.context == *context);
        self.check_named(context, named).await
    }

    async fn check_named(&self, context: &ContextRef, named: bool) -> Result<(), ContextError> {
        if context.len > limits::CONTEXT_BYTES {
            return Err(ContextError::TooLarge(context.len));
        }
        self.check_location(&context.id, &context.location)?;
        if !named || (context.location == ContextLocation::Store && !self.blob_is_there(context).await?) {
            return Err(ContextError::Missing(context.id.clone()));
        }
        Ok(())
    }

    /// How an agent reads this context. Call [`Contexts::check_taken`] first.
    pub fn source(&self, context: &ContextRef) -> ContextSource {
        match (&context.location, &self.state.bucket) {
            (ContextLocation::S3 { key, .. }, Some(bucket)) => ContextSource::S3 {
                endpoint: bucket.endpoint.clone(),
                region: bucket.region.clone(),
                bucket: bucket.name.clone(),
                key: key.clone(),
            },
            _ => ContextSource::Server,
        }
    }

    /// Opens a blob of the store: the file and its length.
    pub async fn open_blob(&self, context: &ContextRef) -> Result<(tokio::fs::File, u64), ContextError> {
        match tokio::fs::File::open(self.blob(&context.sha256)).await {
            Ok(file) => {
                let len = file.metadata().await.map_err(io_error("read"))?.len();
                Ok((file, len))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ContextError::Missing(context.id.clone()))
            }
            Err(error) => Err(io_error("read")(error)),
        }
    }

    /// Records that a build uses this context: it does not expire, and is known to exist in the bucket.
    pub async fn used(&self, context: &ContextRef) -> Result<(), ContextError> {
        let now = self.state.clock.now();
        let same: Vec<ContextRecord> =
            self.records().values().filter(|record| record.context == *context).cloned().collect();
        for record in same {
            self.remember(ContextRecord { used: now, proven: true, ..record }).await?;
        }
        Ok(())
    }

    /// Records that an open build needs this context: its time to live begins again. Whether a bucket has it remains
    /// unknown.
    pub async fn touch(&self, context: &ContextRef) -> Result<(), ContextError> {
        let now = self.state.clock.now();
        let same: Vec<ContextRecord> =
            self.records().values().filter(|record| record.context == *context).cloned().collect();
        for record in same {
            self.remember(ContextRecord { used: now, ..record }).await?;
        }
        Ok(())
    }

    /// Records that an agent could not read this context: the next offer of it is answered with a request to send it.
    pub async fn forget(&self, context: &ContextRef) -> Result<(), ContextError> {
        self.remove(|record| record.context == *context).await
    }

    /// Removes records that were not used for this long, and blobs without a record. Returns the number of blobs.
    pub async fn sweep(&self, older_than: Duration) -> Result<u64, ContextError> {
        let now = self.state.clock.now();
        self.remove(|record| now.duration_since(record.used).unsigned_abs() >= older_than).await?;
        let contexts = self.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let records = contexts.records();
            let named = |sha256: &str| records.values().any(|record| record.context.sha256.hex() == sha256);
            record::sweep_blobs(&contexts.state.folder, &named)
        });
        swept.await.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(io_error("swept"))
    }

    /// Refuses what would use the reserve of the disk.
    async fn need_room(&self, bytes: u64) -> Result<(), ContextError> {
        if self.state.disk.has_room(bytes).await { Ok(()) } else { Err(ContextError::DiskFull) }
    }

    fn check_location(&self, id: &Digest, location: &ContextLocation) -> Result<(), ContextError> {
        let ContextLocation::S3 { bucket, key } = location else { return Ok(()) };
        let own = self.state.bucket.as_ref().map(|own| own.name.clone());
        if own.as_ref() != Some(bucket) {
            return Err(ContextError::ForeignBucket { given: bucket.clone(), own });
        }
        if *key != object_key(id) {
            return Err(ContextError::ForeignKey(key.clone()));
        }
        Ok(())
    }

    async fn blob_is_there(&self, context: &ContextRef) -> Result<bool, ContextError> {
        match tokio::fs::metadata(self.blob(&context.sha256)).await {
            Ok(meta) => Ok(meta.len() == context.len),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error("read")(error)),
        }
    }

    async fn remember(&self, record: ContextRecord) -> Result<(), ContextError> {
        let contexts = self.clone();
        let work = move || {
            // Written under the lock: the file is never older than the record in memory.
            let mut records = contexts.records();
            record.write(&contexts.state.folder)?;
            records.insert((record.owner.clone(), record.context.id.clone()), record);
            Ok(())
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(io_error("written"))
    }

    async fn remove(&self, which: impl Fn(&ContextRecord) -> bool) -> Result<(), ContextError> {
        let gone: Vec<ContextRecord> =
            self.records().extract_if(|_, record| which(record)).map(|(_, r)| r).collect();
        for record in gone {
            let path = record.path(&self.state.folder);
            match tokio::fs::remove_file(path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("swept")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn blob(&self, sha256: &Digest) -> PathBuf {
        record::blob_path(&self.state.folder, sha256.hex())
    }

    fn records(&self) -> MutexGuard<'_, HashMap<(String, Digest), ContextRecord>> {
        self.state.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path of the upload. It contains the offer, so it stays valid across a restart of the server.
fn upload_path(id: &Digest, sha256: &Digest, len: u64) -> String {
    format!("{}?sha256={}&len={len}", route::context(id.hex()), sha256.hex())
}

fn same_kind(a: &ContextLocation, b: &ContextLocation) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> ContextError {
    move |source| {
        if disk::is_full(&source) { ContextError::DiskFull } else { ContextError::Io { doing, source } }
    }
}
