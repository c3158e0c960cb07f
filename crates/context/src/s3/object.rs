//! Reads one object, and resumes when the connection is interrupted.

use std::io;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::error::{GET, from_sdk};
use super::{S3Error, S3Store};

/// Maximum number of consecutive attempts to resume an interrupted stream without receiving a byte.
const RESUMES: u32 = 5;

/// An object that is open for reading.
#[derive(Debug)]
pub struct S3Object {
    store: S3Store,
    key: String,
    e_tag: Option<String>,
    len: u64,
    read: u64,
    failed_resumes: u32,
    body: Option<ByteStream>,
}

impl S3Object {
    pub(super) async fn open(store: S3Store, key: &str) -> Result<Self, S3Error> {
        let answer = store.client.get_object().bucket(&store.bucket).key(key).send().await;
        let answer = answer.map_err(|error| from_sdk(store.operation(GET, key), &error))?;
        let len = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let len = len.ok_or_else(|| S3Error::Unreachable {
            operation: store.operation(GET, key),
            text: "the answer has no length".to_owned(),
        })?;
        let e_tag = answer.e_tag().map(str::to_owned);
        let key = key.to_owned();
        Ok(Self { store, key, e_tag, len, read: 0, failed_resumes: 0, body: Some(answer.body) })
    }

    /// Size of the object in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the object is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes as they arrive. An interrupted stream is resumed where it ended, from the same version of the object.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, S3Error>> + Send + 'static {
        stream::try_unfold(
            self,
            |mut object| async move { Ok(object.next().await?.map(|bytes| (bytes, object))) },
        )
    }

    /// The same as a reader; its [`io::Error`] wraps the [`S3Error`].
    pub fn into_reader(self) -> impl AsyncRead + Send + Unpin + 'static {
        let stream = stream::try_unfold(self, |mut object| async move {
            match object.next().await {
                Ok(bytes) => Ok(bytes.map(|bytes| (bytes, object))),
                Err(error) => Err(io::Error::other(error)),
            }
        });
        StreamReader::new(Box::pin(stream))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        loop {
            if self.read >= self.len {
                return Ok(None);
            }
            let text = match &mut self.body {
                Some(body) => match body.next().await {
                    Some(Ok(bytes)) if bytes.is_empty() => continue,
                    Some(Ok(bytes)) => {
                        self.read += bytes.len() as u64;
                        self.failed_resumes = 0;
                        return Ok(Some(bytes));
                    }
                    Some(Err(_)) => "the stream was interrupted".to_owned(),
                    None => format!("the stream ended at {} of {} bytes", self.read, self.len),
                },
                None => String::new(),
            };
            self.body = None;
            let wait = Duration::from_millis(200) * 2_u32.pow(self.failed_resumes);
            self.failed_resumes += 1;
            if self.failed_resumes > RESUMES {
                return Err(S3Error::Unreachable { operation: self.store.operation(GET, &self.key), text });
            }
            tokio::time::sleep(wait).await;
            let request = self.store.client.get_object().bucket(&self.store.bucket).key(&self.key);
            let request =
                request.range(format!("bytes={}-", self.read)).set_if_match(self.e_tag.clone()).send();
            match request.await.map_err(|error| from_sdk(self.store.operation(GET, &self.key), &error)) {
                Ok(answer) => self.body = Some(answer.body),
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
        }
    }
}
