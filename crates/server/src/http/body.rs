//! Request bodies: read chunk by chunk, bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use bakery_core::limits;
use bakery_core::report::{shown, shown_within};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{self, Stream};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::problem::{ProblemKind, ProblemResponse};

/// A body of which nothing arrives for this long has been abandoned: four beats.
const IDLE: Duration = limits::HEARTBEAT.saturating_mul(4);

/// The time that a caller may take for the whole of a body that is kept in memory.
const WHOLE: Duration = Duration::from_mins(1);
/// Of an upload, at least this much must arrive ...
const PROGRESS: usize = 64 << 10;
/// ... in this time. The time that the server needs to store it does not count.
const PROGRESS_TIME: Duration = Duration::from_mins(1);

/// Characters of what a parser says about a body.
const LONGEST_TEXT: usize = 200;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The connection was lost, or the data is not valid HTTP.
    #[error("the body was interrupted")]
    Interrupted(#[source] axum::Error),
    /// Nothing arrived for [`IDLE`].
    #[error("the body timed out")]
    Idle,
    /// It arrives, but too slowly.
    #[error("the body arrives too slowly")]
    Slow,
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
            BodyError::Slow => {
                let detail = format!(
                    "the body arrives too slowly: a whole one has {} s, of an upload {} KiB must arrive in {} s",
                    WHOLE.as_secs(),
                    PROGRESS >> 10,
                    PROGRESS_TIME.as_secs()
                );
                Self::new(ProblemKind::Timeout, detail).hint("send it again over a better connection")
            }
            BodyError::Draining => Self::draining(),
        }
    }
}

/// How a body may arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As long as it is not idle: a log that is written while it is sent.
    Stream,
    /// [`WHOLE`] in total.
    Whole,
    /// As long as it makes [`PROGRESS`].
    Upload,
}

/// How long the rest of a body may take.
#[derive(Debug)]
struct Pace {
    kind: Kind,
    /// What the reader has waited for the body, in total or since the last progress.
    waited: Duration,
    /// Bytes since the last progress.
    arrived: usize,
}

impl Pace {
    const fn new(kind: Kind) -> Self {
        Self { kind, waited: Duration::ZERO, arrived: 0 }
    }

    /// How long the next chunk may take, and what it means if it takes longer.
    fn time_left(&self) -> (Duration, BodyError) {
        let left = match self.kind {
            Kind::Stream => return (IDLE, BodyError::Idle),
            Kind::Whole => WHOLE.saturating_sub(self.waited),
            Kind::Upload => PROGRESS_TIME.saturating_sub(self.waited),
        };
        // A body of which nothing has arrived at all is idle, and not slow.
        if left < IDLE || self.arrived > 0 { (left, BodyError::Slow) } else { (IDLE, BodyError::Idle) }
    }

    /// So many bytes have arrived after this wait.
    fn count(&mut self, bytes: usize, waited: Duration) {
        self.waited += waited;
        self.arrived = self.arrived.saturating_add(bytes);
        if self.kind == Kind::Upload && self.arrived >= PROGRESS {
            *self = Self::new(self.kind);
        }
    }
}

/// Reads a body, chunk by chunk as it arrives.
pub(super) struct BodyReader {
    body: Body,
    drain: CancellationToken,
    pace: Pace,
}

impl BodyReader {
    pub(super) fn new(body: Body, drain: CancellationToken) -> Self {
        Self { body, drain, pace: Pace::new(Kind::Stream) }
    }

    /// The next chunk; `None` at the body's end.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let (left, timeout) = self.pace.time_left();
            let started = Instant::now();
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                () = self.drain.cancelled() => return Err(BodyError::Draining),
                () = tokio::time::sleep(left) => return Err(timeout),
            };
            let bytes = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) | None => 0,
            };
            self.pace.count(bytes, started.elapsed());
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

    /// The chunks of an upload as a stream; a body that fails ends it with its error.
    pub(super) fn into_stream(mut self) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
        self.pace.kind = Kind::Upload;
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
        self.pace.kind = Kind::Whole;
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

/// Parses JSON. The error never quotes a string that is no text at its place: it may be a password under the wrong key.
/// What it quotes besides, names and texts with a wrong form, is short, on one line and without logins.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProblemResponse> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the body is not the expected JSON: {}", clean(&error.to_string()));
        ProblemResponse::new(ProblemKind::BadRequest, detail).hint(
            "correct the body at this position; if bakery-client has sent it, use a client of the server's version",
        )
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
    let kind = if kind.is_empty() { "missing".to_owned() } else { shown(kind) };
    ProblemResponse::new(
        ProblemKind::UnsupportedType,
        format!("the header Content-Type is {kind}, expected {expected}"),
    )
    .hint("set the header Content-Type to the body's type")
}

pub(super) fn too_large(limit: usize) -> ProblemResponse {
    ProblemResponse::new(ProblemKind::TooLarge, format!("the body is larger than the limit of {limit} bytes"))
}

/// serde's message as it may be returned. It is `unknown field NAME, expected ...`, where the name is the body's;
/// `invalid type: string TEXT, expected ...`; or from one of our own types, usually `TEXT is not ...`.
fn clean(message: &str) -> String {
    for kind in ["unknown field `", "unknown variant `"] {
        if let Some(rest) = message.strip_prefix(kind)
            && let Some(end) =
                ["`, expected ", "`, there are no "].iter().filter_map(|it| rest.rfind(it)).max()
        {
            return format!("{kind}{}{}", shown(&rest[..end]), &rest[end..]);
        }
    }
    if let Some(rest) = message.strip_prefix('`')
        && let Some(end) = rest.rfind("` is not ")
    {
        return format!("`{}{}", shown(&rest[..end]), &rest[end..]);
    }
    shown_within(&unquoted(message), LONGEST_TEXT)
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
    use bakery_core::image::ImageRef;
    use bakery_core::names::{Arch, BuildId};
    use bakery_core::spec::Credential;
    use bakery_core::wire::build::SubmitBuild;
    use futures_util::StreamExt as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_password_under_a_wrong_key_is_not_quoted() {
        let problem = from_json::<Credential>(br#""hunter2 \" x""#).unwrap_err();
        let text = format!("{problem:?}");
        assert!(!text.contains("hunter2") && text.contains("a text, expected struct Credential"), "{text}");
    }

    /// The problem with a body that is this JSON.
    fn detail<T: DeserializeOwned + std::fmt::Debug>(body: &serde_json::Value) -> String {
        format!("{:?}", from_json::<T>(body.to_string().as_bytes()).unwrap_err())
    }

    #[test]
    fn what_is_quoted_of_a_body_is_masked_short_and_on_one_line() {
        let image = detail::<ImageRef>(&json!("u:hunter2@r.example.com/x\n"));
        assert!(image.contains("u:***@r.example.com/x") && !image.contains("hunter2"), "{image}");
        assert!(!image.contains("\\n"), "{image}");
        let long = "x".repeat(100_000);
        for (quoted, expected) in [
            (detail::<ImageRef>(&json!(format!("{long} {long}"))), "is not an image reference"),
            (detail::<SubmitBuild>(&json!({ long.clone(): 1 })), "expected"),
            (detail::<Arch>(&json!(long)), "expected"),
            (detail::<BuildId>(&json!(long)), "a build id"),
        ] {
            assert!(quoted.len() < 1000 && quoted.contains(expected), "{}: {quoted:.2000}", quoted.len());
        }
        let tricky = json!({ "u:hunter2@r.example.com`, expected x\n": 1 });
        let field = detail::<SubmitBuild>(&tricky);
        assert!(!field.contains("hunter2") && !field.contains("\\n"), "{field}");
        let kind = unsupported("u:hunter2@r.example.com", "application/json");
        assert!(!format!("{kind:?}").contains("hunter2"));
    }

    /// How long a body lasts of which so many bytes arrive after each pause; `None` if for more than a day.
    fn lasts(kind: Kind, bytes: usize, pause: u64) -> Option<u64> {
        let (mut pace, pause, mut time) = (Pace::new(kind), Duration::from_secs(pause), Duration::ZERO);
        while time < Duration::from_hours(24) {
            let (left, _) = pace.time_left();
            if left < pause {
                return Some((time + left).as_secs());
            }
            pace.count(bytes, pause);
            time += pause;
        }
        None
    }

    #[test]
    fn probe_18_a_body_of_one_byte_every_20_seconds_ends() {
        assert_eq!(lasts(Kind::Whole, 1, 20), Some(60));
        assert_eq!(lasts(Kind::Upload, 1, 20), Some(60));
        assert_eq!(lasts(Kind::Upload, PROGRESS, 20), None);
        assert_eq!(lasts(Kind::Upload, PROGRESS / 2, 20), None);
        assert_eq!(lasts(Kind::Upload, PROGRESS / 4, 20), Some(60));
        assert_eq!(lasts(Kind::Stream, 1, 20), None, "a log is sent while it is written");
        assert_eq!(lasts(Kind::Stream, 0, 70), Some(60));
    }

    #[tokio::test]
    async fn probe_18_what_is_kept_in_memory_and_what_is_uploaded_has_its_time() {
        // One byte, then nothing more; and the reader has waited before.
        let late = || {
            let first = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b" ")) });
            let body = Body::from_stream(first.chain(stream::pending()));
            let mut reader = BodyReader::new(body, CancellationToken::new());
            reader.pace.waited = IDLE;
            reader
        };
        assert_eq!(late().whole(9).await.unwrap_err().kind(), ProblemKind::Timeout);
        let upload: Vec<_> = late().into_stream().collect().await;
        assert!(matches!(&upload[..], [Ok(_), Err(BodyError::Slow)]), "{upload:?}");
    }
}
