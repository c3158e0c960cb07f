//! What every request passes on its way in and out: the protocol's version, and the log.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bakery_core::wire::{PROTOCOL, PROTOCOL_HEADER};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::problem::{Kind, Refusal};

/// Checks the version of a caller that names one, and names ours in every answer; no answer is anybody's to keep.
pub(super) async fn pass(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let name = HeaderName::from_static(PROTOCOL_HEADER);
    response.headers_mut().insert(name, HeaderValue::from(PROTOCOL));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    tracing::debug!(
        %method,
        path,
        status = response.status().as_u16(),
        micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

/// This version and the one before are spoken. Who names none (a probe, curl) is taken at its word.
fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(theirs) = headers.get(PROTOCOL_HEADER) else { return Ok(()) };
    let theirs = theirs.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    let detail = match theirs {
        Some(theirs) if theirs > 0 && (PROTOCOL - 1..=PROTOCOL).contains(&theirs) => return Ok(()),
        Some(theirs) => format!("the caller speaks protocol {theirs}, this server speaks {PROTOCOL}"),
        None => format!("the header {PROTOCOL_HEADER} is no number, expected {PROTOCOL}"),
    };
    Err(Refusal::new(Kind::Protocol, detail).hint("use a client and an agent of the server's version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_are_spoken_pass() {
        let passes = |text: &str| {
            let headers = [(HeaderName::from_static(PROTOCOL_HEADER), HeaderValue::from_str(text).unwrap())];
            check(&HeaderMap::from_iter(headers)).is_ok()
        };
        assert!(passes("1") && check(&HeaderMap::new()).is_ok());
        for wrong in ["0", "2", "x", "", "4294967295"] {
            assert!(!passes(wrong), "{wrong}");
        }
    }
}
