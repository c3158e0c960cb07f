//! Sends one file.

use std::path::{Path, PathBuf};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::error::{PUT, from_sdk};
use super::{S3Error, S3Store};

/// Maximum size in bytes of a file that is sent in a single request.
const SINGLE: u64 = 64 << 20;
/// Size of a part in bytes, unless that would need more than [`PARTS`].
const PART: u64 = 8 << 20;
/// Maximum number of parts of one object in S3.
const PARTS: u64 = 10_000;
/// Number of parts that are sent concurrently.
const CONCURRENCY: usize = 4;
/// Maximum number of retries while another client writes the same key (409).
const CONFLICTS: u32 = 5;

/// The result of sending a file unless its key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The file was stored.
    Stored,
    /// The key already existed and was not changed.
    Present,
}

pub(super) struct Upload<'s> {
    store: &'s S3Store,
    key: &'s str,
    file: PathBuf,
    len: u64,
}

impl<'s> Upload<'s> {
    pub(super) async fn new(store: &'s S3Store, key: &'s str, file: &Path) -> Result<Self, S3Error> {
        let len = match tokio::fs::metadata(file).await {
            Ok(meta) => meta.len(),
            Err(cause) => return Err(S3Error::File { path: file.to_path_buf(), cause }),
        };
        Ok(Self { store, key, file: file.to_path_buf(), len })
    }

    pub(super) async fn run(
        &self,
        only_new: bool,
        stop: impl Future<Output = ()>,
    ) -> Result<PutOutcome, S3Error> {
        let mut stop = std::pin::pin!(stop);
        let mut only_new = only_new;
        let mut pause = std::time::Duration::from_millis(200);
        let mut conflicts = 0;
        loop {
            let condition = only_new.then_some("*");
            let sent = if self.len <= SINGLE {
                tokio::select! {
                    sent = self.single(condition) => sent,
                    () = &mut stop => Err(self.stopped()),
                }
            } else {
                self.multipart(condition, PART.max(self.len.div_ceil(PARTS)), stop.as_mut()).await
            };
            match sent {
                Ok(()) => return Ok(PutOutcome::Stored),
                Err(error) if only_new && error.status() == 412 => return Ok(PutOutcome::Present),
                Err(error) if only_new && error.status() == 409 && conflicts < CONFLICTS => {
                    conflicts += 1;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause *= 2,
                        () = &mut stop => return Err(self.stopped()),
                    }
                }
                // The store does not support the condition. The key is a digest, so overwriting it is harmless.
                Err(error) if only_new && error.status() == 501 => only_new = false,
                Err(error) => return Err(error),
            }
        }
    }

    async fn single(&self, condition: Option<&str>) -> Result<(), S3Error> {
        let request = self.store.client.put_object().bucket(&self.store.bucket).key(self.key);
        let request = request.set_if_none_match(condition.map(str::to_owned)).content_type(GZIP);
        let sent = request.body(self.bytes(0, self.len).await?).send().await;
        sent.map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// Sends all parts. A failed or stopped upload is aborted, if the credentials allow it.
    async fn multipart(
        &self,
        condition: Option<&str>,
        part: u64,
        stop: impl Future<Output = ()>,
    ) -> Result<(), S3Error> {
        let (client, bucket) = (&self.store.client, &self.store.bucket);
        let created =
            client.create_multipart_upload().bucket(bucket).key(self.key).content_type(GZIP).send().await;
        let created = created.map_err(|error| self.failed(&error))?;
        let id = created.upload_id().unwrap_or_default();
        let sent = tokio::select! {
            sent = self.parts(id, part) => sent,
            () = stop => Err(self.stopped()),
        };
        let ended = match sent {
            Ok(parts) => {
                let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
                let complete = client.complete_multipart_upload().bucket(bucket).key(self.key).upload_id(id);
                let complete = complete.set_if_none_match(condition.map(str::to_owned));
                let ended = complete.multipart_upload(parts).send().await;
                ended.map(|_| ()).map_err(|error| self.failed(&error))
            }
            Err(error) => Err(error),
        };
        if ended.is_err() {
            let abort = client.abort_multipart_upload().bucket(bucket).key(self.key).upload_id(id);
            if let Err(error) = abort.send().await {
                tracing::warn!(
                    key = self.key,
                    code = error.code().unwrap_or("none"),
                    "the parts of a failed upload remain in the bucket: it could not be aborted (s3:AbortMultipartUpload)"
                );
            }
        }
        ended
    }

    async fn parts(&self, id: &str, part: u64) -> Result<Vec<CompletedPart>, S3Error> {
        let starts = (1..).zip((0..self.len).step_by(usize::try_from(part).unwrap_or(usize::MAX)));
        let mut parts: Vec<_> = stream::iter(starts)
            .map(|(number, start)| self.part(id, number, start, part.min(self.len - start)))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        parts.sort_unstable_by_key(CompletedPart::part_number);
        Ok(parts)
    }

    async fn part(&self, id: &str, number: i32, start: u64, len: u64) -> Result<CompletedPart, S3Error> {
        let request = self.store.client.upload_part().bucket(&self.store.bucket).key(self.key).upload_id(id);
        let body = self.bytes(start, len).await?;
        let sent =
            request.part_number(number).body(body).send().await.map_err(|error| self.failed(&error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag().map(str::to_owned))
            .set_checksum_crc32(sent.checksum_crc32().map(str::to_owned))
            .set_checksum_crc64_nvme(sent.checksum_crc64_nvme().map(str::to_owned))
            .build())
    }

    /// A range of the file, read while it is sent; a retry reads it again.
    async fn bytes(&self, start: u64, len: u64) -> Result<ByteStream, S3Error> {
        let body =
            ByteStream::read_from().path(&self.file).offset(start).length(Length::Exact(len)).build().await;
        body.map_err(|error| S3Error::File { path: self.file.clone(), cause: std::io::Error::other(error) })
    }

    fn stopped(&self) -> S3Error {
        S3Error::Stopped { operation: self.store.operation(PUT, self.key) }
    }

    fn failed<E>(&self, error: &SdkError<E>) -> S3Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        from_sdk(self.store.operation(PUT, self.key), error)
    }
}

const GZIP: &str = "application/gzip";
