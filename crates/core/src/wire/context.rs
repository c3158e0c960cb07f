//! Where a context is, and how it gets there.

use serde::{Deserialize, Serialize};

use crate::image::Digest;

/// One packed context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextRef {
    /// Identity: SHA-256 of the canonical tar, times left out.
    pub id: Digest,
    /// SHA-256 of the tar.gz that is sent.
    pub sha256: Digest,
    /// Bytes of the tar.gz.
    pub len: u64,
    /// Where the client has put it.
    #[serde(rename = "place")]
    pub location: ContextLocation,
}

/// Where a context's blob is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ContextLocation {
    /// In the server's own store.
    Store,
    /// In the bucket that client and server are both configured with; the key follows from the identity.
    S3 {
        /// Bucket name; the server accepts only its own.
        bucket: String,
        /// Object key, see [`object_key`].
        key: String,
    },
}

/// The object key of a context: shaped like a digest, so that a server can distinguish it from any other key.
pub fn object_key(id: &Digest) -> String {
    format!("contexts/sha256/{}.tar.gz", id.hex())
}

/// `POST /contexts`: does the server have this context?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextOffer {
    /// Identity.
    pub id: Digest,
    /// Digest of the blob.
    pub sha256: Digest,
    /// Bytes of the blob.
    pub len: u64,
    /// Where the client would put it.
    #[serde(rename = "place")]
    pub location: ContextLocation,
}

/// The answer to an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ContextAnswer {
    /// The server has it: this reference may be submitted as it is. Its blob may be another gzip of the same identity.
    Present {
        /// What to submit.
        context: ContextRef,
    },
    /// Send it: PUT the blob to this path of the server (`ContextLocation::Store`) ...
    Upload {
        /// Path below the server's URL.
        path: String,
    },
    /// ... or put it into the bucket with the client's own credentials (`ContextLocation::S3`), then submit.
    OwnCredentials,
}
