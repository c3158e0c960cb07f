//! What happens to every request: its id and span, the protocol's version, headers of the response, a line in the log.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bakery_core::wire::{PROTOCOL, PROTOCOL_HEADER, REQUEST_ID_HEADER};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::problem::{self, ProblemKind, ProblemResponse};
use super::request_id::RequestId;

/// Handles one request within a span that has its id, and returns the id in the response's header and problem document.
pub(super) async fn per_request(request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    // At the level of errors: with every filter that keeps an error, the error keeps its request id.
    let span = tracing::error_span!(
        "request",
        request_id = id.as_str(),
        method = %request.method(),
        path = request.uri().path()
    );
    let mut response = answer(request, next).instrument(span).await;
    problem::write_body(&mut response, id.as_str());
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(REQUEST_ID_HEADER), id.into_header());
    headers.insert(HeaderName::from_static(PROTOCOL_HEADER), HeaderValue::from(PROTOCOL));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The response of the handler, if the caller's protocol version is supported.
async fn answer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let response = match check_protocol(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    tracing::debug!(
        status = response.status().as_u16(),
        micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "response"
    );
    response
}

/// Accepts this protocol version and the one before. A caller that names none (a probe, curl) is accepted.
fn check_protocol(headers: &HeaderMap) -> Result<(), ProblemResponse> {
    let Some(theirs) = headers.get(PROTOCOL_HEADER) else { return Ok(()) };
    let theirs = theirs.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    let detail = match theirs {
        Some(theirs) if theirs > 0 && (PROTOCOL - 1..=PROTOCOL).contains(&theirs) => return Ok(()),
        Some(theirs) => format!("the caller uses protocol {theirs}, this server supports {PROTOCOL}"),
        None => format!("the header {PROTOCOL_HEADER} is not a number, expected {PROTOCOL}"),
    };
    Err(ProblemResponse::new(ProblemKind::Protocol, detail)
        .hint("use a client and an agent of the server's version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_supported_versions_pass() {
        let passes = |text: &str| {
            let headers = [(HeaderName::from_static(PROTOCOL_HEADER), HeaderValue::from_str(text).unwrap())];
            check_protocol(&HeaderMap::from_iter(headers)).is_ok()
        };
        assert!(passes("1") && check_protocol(&HeaderMap::new()).is_ok());
        for wrong in ["0", "2", "x", "", "4294967295"] {
            assert!(!passes(wrong), "{wrong}");
        }
    }
}
