//! Bodies: read piece by piece, bounded in size and in silence.

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

use super::problem::{Kind, Refusal};

/// A body that stays silent for this long has been given up: four beats.
const SILENCE: Duration = limits::BEAT.saturating_mul(4);

/// How a body can fail.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The connection broke, or what came is no HTTP.
    #[error("the body broke off")]
    Cut(#[source] axum::Error),
    /// Nothing came for [`SILENCE`].
    #[error("the body stayed silent")]
    Silent,
    /// The server is about to stop.
    #[error("the server is about to stop")]
    Draining,
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Cut(_) => Self::new(Kind::BadRequest, "the body broke off").hint("send it again"),
            BodyError::Silent => {
                let detail = format!("no byte of the body came for {} s", SILENCE.as_secs());
                Self::new(Kind::Timeout, detail).hint("send it again")
            }
            BodyError::Draining => Self::draining(),
        }
    }
}

/// A body, piece by piece as it arrives.
pub(super) struct Pieces {
    body: Body,
    drain: CancellationToken,
}

impl Pieces {
    pub(super) fn new(body: Body, drain: CancellationToken) -> Self {
        Self { body, drain }
    }

    /// The next piece; `None` at the body's end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                () = self.drain.cancelled() => return Err(BodyError::Draining),
                () = tokio::time::sleep(SILENCE) => return Err(BodyError::Silent),
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(BodyError::Cut(error)),
                // Trailers say nothing here.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// A further piece that has arrived already. What is no piece is found by [`Pieces::next`].
    pub(super) fn at_hand(&mut self) -> Option<Bytes> {
        if self.body.is_end_stream() {
            return None;
        }
        self.body.frame().now_or_never()??.ok()?.into_data().ok()
    }

    /// The pieces as a stream; a body that fails ends it with its error.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
        stream::unfold(Some(self), |pieces| async {
            let mut pieces = pieces?;
            match pieces.next().await {
                Ok(None) => None,
                Ok(Some(piece)) => Some((Ok(piece), Some(pieces))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// The whole body, where it is at most `limit` bytes long.
    pub(super) async fn whole(mut self, limit: usize) -> Result<Vec<u8>, Refusal> {
        let announced = self.body.size_hint().lower();
        if announced > limit as u64 {
            return Err(too_large(limit));
        }
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > limit {
                return Err(too_large(limit));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

/// A body of JSON.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, pieces: Pieces) -> Result<T, Refusal> {
    let kind = media_type(headers);
    if kind != "application/json" {
        return Err(unsupported(&kind, "application/json"));
    }
    from_json(&pieces.whole(limits::SPEC_BYTES).await?)
}

/// Reads JSON. A text of the body is never quoted: it may be a password at the wrong place.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let detail =
            format!("the body is not the JSON that is expected here: {}", unquoted(&error.to_string()));
        Refusal::new(Kind::BadRequest, detail).hint("are client and server of the same version?")
    })
}

/// The body's media type in lower case, without parameters; empty where none is named.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The body's length, where it is announced.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn unsupported(kind: &str, expected: &str) -> Refusal {
    let kind = if kind.is_empty() { "no type at all" } else { kind };
    Refusal::new(Kind::UnsupportedType, format!("the body has {kind}, expected {expected}"))
        .hint("name the body's type in the header Content-Type")
}

pub(super) fn too_large(limit: usize) -> Refusal {
    Refusal::new(Kind::TooLarge, format!("the body is longer than the {limit} bytes that are allowed here"))
}

/// serde's message with the text that it quotes left out: `string "..."` between the first and the last quote.
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
    fn a_password_at_the_wrong_place_is_not_quoted() {
        let refusal = from_json::<Credential>(br#""hunter2 \" x""#).unwrap_err();
        let text = format!("{refusal:?}");
        assert!(!text.contains("hunter2") && text.contains("a text, expected struct Credential"), "{text}");
    }
}
