//! Request bodies: read chunk by chunk, bounded in size and in idle time.

use std::time::Duration;

use axum::body::Body;
use bakery_core::limits;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{self, Stream};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::problem::{ProblemKind, ProblemResponse};

/// A body of which nothing arrives for this long has been abandoned: four beats.
const IDLE: Duration = limits::BEAT.saturating_mul(4);

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The connection was lost, or the data is not valid HTTP.
    #[error("the body was interrupted")]
    Interrupted(#[source] axum::Error),
    /// Nothing arrived for [`IDLE`].
    #[error("the body timed out")]
    Idle,
    /// The server is stopping.
    #[error("the server is stopping")]
    Draining,
}

impl From<BodyError> for ProblemResponse {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Interrupted(_) => {
                Self::new(ProblemKind::BadRequest, "the body was interrupted").hint("send it again")
            }
            BodyError::Idle => {
                let detail = format!("no byte of the body arrived for {} s", IDLE.as_secs());
                Self::new(ProblemKind::Timeout, detail).hint("send it again")
            }
            BodyError::Draining => Self::draining(),
        }
    }
}

/// Reads a body, chunk by chunk as it arrives.
pub(super) struct BodyReader {
    body: Body,
    drain: CancellationToken,
}

impl BodyReader {
    pub(super) fn new(body: Body, drain: CancellationToken) -> Self {
        Self { body, drain }
    }

    /// The next chunk; `None` at the body's end.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                () = self.drain.cancelled() => return Err(BodyError::Draining),
                () = tokio::time::sleep(IDLE) => return Err(BodyError::Idle),
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(BodyError::Interrupted(error)),
                // Trailers have no meaning here.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// A further chunk that has arrived already. The end and errors are reported by [`BodyReader::next_chunk`].
    pub(super) fn try_next_chunk(&mut self) -> Option<Bytes> {
        if self.body.is_end_stream() {
            return None;
        }
        self.body.frame().now_or_never()??.ok()?.into_data().ok()
    }

    /// The chunks as a stream; a body that fails ends it with its error.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
        stream::unfold(Some(self), |reader| async {
            let mut reader = reader?;
            match reader.next_chunk().await {
                Ok(None) => None,
                Ok(Some(chunk)) => Some((Ok(chunk), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// The whole body, at most `limit` bytes.
    pub(super) async fn whole(mut self, limit: usize) -> Result<Vec<u8>, ProblemResponse> {
        let declared = self.body.size_hint().lower();
        if declared > limit as u64 {
            return Err(too_large(limit));
        }
        let mut whole = Vec::new();
        while let Some(chunk) = self.next_chunk().await? {
            if whole.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}

/// Reads a body of JSON.
pub(super) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    reader: BodyReader,
) -> Result<T, ProblemResponse> {
    let kind = media_type(headers);
    if kind != "application/json" {
        return Err(unsupported(&kind, "application/json"));
    }
    from_json(&reader.whole(limits::SPEC_BYTES).await?)
}

/// Parses JSON. The error never quotes a string of the body: it may be a password under the wrong key.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProblemResponse> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the body is not the expected JSON: {}", unquoted(&error.to_string()));
        ProblemResponse::new(ProblemKind::BadRequest, detail)
            .hint("check that client and server have the same version")
    })
}

/// The body's media type in lower case, without parameters; empty where none is named.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The body's declared length; `None` where the header is missing.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn unsupported(kind: &str, expected: &str) -> ProblemResponse {
    let kind = if kind.is_empty() { "missing" } else { kind };
    ProblemResponse::new(
        ProblemKind::UnsupportedType,
        format!("the header Content-Type is {kind}, expected {expected}"),
    )
    .hint("set the header Content-Type to the body's type")
}

pub(super) fn too_large(limit: usize) -> ProblemResponse {
    ProblemResponse::new(ProblemKind::TooLarge, format!("the body is larger than the limit of {limit} bytes"))
}

/// serde's message without the text that it quotes: `string "..."` between the first and the last quote.
fn unquoted(message: &str) -> String {
    match (message.find("string \""), message.rfind('"')) {
        (Some(from), Some(to)) if to > from + 7 => {
            format!("{}a text{}", &message[..from], &message[to + 1..])
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bakery_core::spec::Credential;

    use super::*;

    #[test]
    fn a_password_under_a_wrong_key_is_not_quoted() {
        let problem = from_json::<Credential>(br#""hunter2 \" x""#).unwrap_err();
        let text = format!("{problem:?}");
        assert!(!text.contains("hunter2") && text.contains("a text, expected struct Credential"), "{text}");
    }
}
