//! Problem documents (RFC 9457), built in one place so that each kind keeps its type, title and status.

use std::error::Error;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bakery_core::message::Message;
use bakery_core::report::shown_within;
use bakery_core::wire::problem::{PROBLEM_TYPE, Problem};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// Characters of a detail.
const LONGEST_DETAIL: usize = 1000;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        /// The kinds of problems. Their codes are part of the wire: clients may act on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum ProblemKind { $($(#[$doc])* $name,)* }

        impl ProblemKind {
            const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

kinds! {
    /// The bearer token is missing or wrong.
    Unauthorized = UNAUTHORIZED, "unauthorized", "Bearer token missing or wrong";
    /// A `Host` that is not this server's.
    ForeignHost = MISDIRECTED_REQUEST, "foreign-host", "Host is not this server's";
    /// A request from a web page of another site.
    ForeignOrigin = FORBIDDEN, "foreign-origin", "Request from another site's web page";
    /// The caller uses another protocol version.
    Protocol = BAD_REQUEST, "protocol", "Unsupported protocol version";
    /// A malformed header, query or body.
    BadRequest = BAD_REQUEST, "bad-request", "Malformed request";
    /// A well-formed spec that cannot be built.
    BadSpec = UNPROCESSABLE_ENTITY, "bad-spec", "Invalid build spec";
    /// An invalid log segment.
    BadBlock = UNPROCESSABLE_ENTITY, "bad-block", "Invalid log segment";
    /// A blob that is not what was offered, or an offer that cannot be accepted.
    BadContext = UNPROCESSABLE_ENTITY, "bad-context", "Invalid context";
    /// No such path.
    NoSuchRoute = NOT_FOUND, "no-such-route", "No such route";
    /// No such build of this owner.
    NoSuchBuild = NOT_FOUND, "no-such-build", "No such build";
    /// No such run.
    NoSuchRun = NOT_FOUND, "no-such-run", "No such run";
    /// The context is not in the server's store.
    NoSuchContext = NOT_FOUND, "no-such-context", "No such context";
    /// A method that the route does not support.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed";
    /// The body did not arrive in time.
    Timeout = REQUEST_TIMEOUT, "timeout", "Request timeout";
    /// An idempotency key that was used for another request.
    Conflict = CONFLICT, "conflict", "Conflict with an earlier request";
    /// Another session is bound to the run.
    RunTaken = CONFLICT, "run-taken", "Run bound to another session";
    /// The run has ended, or its build has.
    RunOver = GONE, "run-over", "Run has ended";
    /// A report that arrived before all lines of its log.
    LinesMissing = TOO_EARLY, "lines-missing", "Report arrived before the end of the log";
    /// A body above its size limit.
    TooLarge = PAYLOAD_TOO_LARGE, "too-large", "Request body too large";
    /// A body of a media type that the route does not support.
    UnsupportedType = UNSUPPORTED_MEDIA_TYPE, "unsupported-type", "Unsupported media type";
    /// The disk of the data folder is full. The reason `disk-full` is a task's own disk.
    ServerDiskFull = INSUFFICIENT_STORAGE, "server-disk-full", "Disk of the server is full";
    /// A failure of the server. The cause is in its log.
    Internal = INTERNAL_SERVER_ERROR, "internal", "Internal server error";
    /// The server cannot do this at the moment.
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable";
}

/// The response to a request that was not done.
///
/// Its body is written by the middleware, which adds the request id.
#[derive(Debug, Clone)]
pub(super) struct ProblemResponse {
    kind: ProblemKind,
    problem: Box<Problem>,
}

impl ProblemResponse {
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: kind.code().to_owned(),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            ..Problem::default()
        };
        Self { kind, problem: Box::new(problem) }
    }

    #[cfg(test)]
    pub(super) fn kind(&self) -> ProblemKind {
        self.kind
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    /// The same problem with a list of every mistake in the request.
    pub(super) fn mistakes(mut self, mistakes: Vec<Message>) -> Self {
        self.problem.errors = mistakes.iter().map(|mistake| mistake.text.clone()).collect();
        self.problem.mistakes = mistakes;
        self
    }

    /// A failure of the server: its cause goes to the log, with the request's span, and not to the caller.
    pub(super) fn internal(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error, "internal error");
        // The detail names the request, whose id the middleware adds.
        Self::new(ProblemKind::Internal, "")
            .hint("try again; if it fails again, ask the server's operator for the cause")
    }

    pub(super) fn draining() -> Self {
        Self::new(ProblemKind::Unavailable, "the server is stopping").hint("try again in a few seconds")
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        match self.kind {
            ProblemKind::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bakery\""));
            }
            ProblemKind::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a response that is a problem; leaves every other response as it is.
pub(super) fn write_body(response: &mut Response, request_id: &str) {
    let Some(ProblemResponse { kind, mut problem }) = response.extensions_mut().remove() else { return };
    if kind == ProblemKind::Internal {
        problem.detail = format!("internal error, request {request_id}: the server's log has the cause");
    }
    // What it quotes of the request is clean already. This is for what nobody thought of.
    problem.detail = shown_within(&problem.detail, LONGEST_DETAIL);
    problem.request_id = Some(request_id.to_owned());
    // Serializing strings and numbers into memory cannot fail; the status alone would still identify the kind.
    *response.body_mut() = Body::from(serde_json::to_vec(&problem).unwrap_or_default());
}
