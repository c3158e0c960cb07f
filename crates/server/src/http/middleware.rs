//! What happens to every request: the check of the protocol version, headers of the response, a line in the log.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bakery_core::wire::{PROTOCOL, PROTOCOL_HEADER};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::problem::{ProblemKind, ProblemResponse};

/// Checks the caller's protocol version, and sets the headers that every response has.
pub(super) async fn per_request(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = match check_protocol(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let name = HeaderName::from_static(PROTOCOL_HEADER);
    response.headers_mut().insert(name, HeaderValue::from(PROTOCOL));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    tracing::debug!(
        %method,
        path,
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
