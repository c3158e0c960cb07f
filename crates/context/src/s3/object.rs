//! Reading one object, over cut wires.

use std::io;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::error::{GET, ours};
use super::{S3Error, S3Store};

/// Times in a row that a cut stream is taken up again without a byte in between.
const RESUMES: u32 = 5;

/// An object that is being read.
#[derive(Debug)]
pub struct S3Object {
    store: S3Store,
    key: String,
    e_tag: Option<String>,
    len: u64,
    read: u64,
    fruitless: u32,
    body: Option<ByteStream>,
}

impl S3Object {
    pub(super) async fn open(store: S3Store, key: &str) -> Result<Self, S3Error> {
        let answer = store.client.get_object().bucket(&store.bucket).key(key).send().await;
        let answer = answer.map_err(|error| ours(store.doing(GET, key), &error))?;
        let len = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let len = len.ok_or_else(|| S3Error::Unreachable {
            doing: store.doing(GET, key),
            text: "its answer has no length".to_owned(),
        })?;
        let e_tag = answer.e_tag().map(str::to_owned);
        let key = key.to_owned();
        Ok(Self { store, key, e_tag, len, read: 0, fruitless: 0, body: Some(answer.body) })
    }

    /// Bytes of the object.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for an object without a byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes, as they arrive. A cut stream is taken up where it was cut, of the same version of the object.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, S3Error>> + Send + 'static {
        stream::try_unfold(
            self,
            |mut object| async move { Ok(object.next().await?.map(|bytes| (bytes, object))) },
        )
    }

    /// The same as a reader; an [`S3Error`] is the inside of its [`io::Error`].
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
                        self.fruitless = 0;
                        return Ok(Some(bytes));
                    }
                    Some(Err(_)) => "the stream was cut".to_owned(),
                    None => format!("the stream ended at {} of {} bytes", self.read, self.len),
                },
                None => String::new(),
            };
            self.body = None;
            let wait = Duration::from_millis(200) * 2_u32.pow(self.fruitless);
            self.fruitless += 1;
            if self.fruitless > RESUMES {
                return Err(S3Error::Unreachable { doing: self.store.doing(GET, &self.key), text });
            }
            tokio::time::sleep(wait).await;
            let request = self.store.client.get_object().bucket(&self.store.bucket).key(&self.key);
            let request =
                request.range(format!("bytes={}-", self.read)).set_if_match(self.e_tag.clone()).send();
            match request.await.map_err(|error| ours(self.store.doing(GET, &self.key), &error)) {
                Ok(answer) => self.body = Some(answer.body),
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
        }
    }
}
