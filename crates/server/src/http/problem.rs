//! Refusals: problems as RFC 9457 describes them, made in one place so that kinds keep their words.

use std::error::Error;

use axum::response::{IntoResponse, Response};
use bakery_core::wire::problem::{PROBLEM_TYPE, Problem};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $word:literal, $title:literal;)*) => {
        /// The kinds of problems. Their words are part of the wire: clients may act on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

kinds! {
    /// No bearer, or a wrong one.
    Unauthorized = UNAUTHORIZED, "unauthorized", "The bearer token is missing or wrong";
    /// The other side speaks another protocol.
    Protocol = BAD_REQUEST, "protocol", "This protocol version is not spoken here";
    /// A header, a query or a body that cannot be read.
    BadRequest = BAD_REQUEST, "bad-request", "The request cannot be read";
    /// A spec that can be read and cannot be built.
    BadSpec = UNPROCESSABLE_ENTITY, "bad-spec", "The build cannot be done as described";
    /// A log segment that is none.
    BadBlock = UNPROCESSABLE_ENTITY, "bad-block", "The log segment is refused";
    /// A blob that is not what was offered, or an offer that cannot be taken.
    BadContext = UNPROCESSABLE_ENTITY, "bad-context", "The context is refused";
    /// No such path.
    NoSuchRoute = NOT_FOUND, "no-such-route", "There is nothing at this path";
    /// No such build of this owner.
    NoSuchBuild = NOT_FOUND, "no-such-build", "There is no such build";
    /// No such run.
    NoSuchRun = NOT_FOUND, "no-such-run", "There is no such run";
    /// The context is not in the server's store.
    NoSuchContext = NOT_FOUND, "no-such-context", "There is no such context";
    /// A path that does not know this method.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "This path does not know this method";
    /// The body did not come.
    Timeout = REQUEST_TIMEOUT, "timeout", "The request did not arrive in time";
    /// An idempotency key that stands for something else.
    Conflict = CONFLICT, "conflict", "The request contradicts an earlier one";
    /// Somebody else has the run.
    RunTaken = CONFLICT, "run-taken", "The run belongs to another session";
    /// The run is over, or its build is.
    RunOver = GONE, "run-over", "The run is over";
    /// A report came before the lines that it speaks of.
    LinesMissing = TOO_EARLY, "lines-missing", "The report came before the end of the log";
    /// A body beyond its limit.
    TooLarge = PAYLOAD_TOO_LARGE, "too-large", "The body is too large";
    /// A body of a type that nobody reads here.
    UnsupportedType = UNSUPPORTED_MEDIA_TYPE, "unsupported-type", "This media type is not read here";
    /// Our own fault; the log knows more.
    Internal = INTERNAL_SERVER_ERROR, "internal", "The server failed";
    /// Not now.
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "The server cannot take this now";
}

/// Why a request is not done, as its sender is told.
#[derive(Debug)]
pub(super) struct Refusal {
    kind: Kind,
    problem: Box<Problem>,
}

impl Refusal {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: kind.word().to_owned(),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            ..Problem::default()
        };
        Self { kind, problem: Box::new(problem) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    pub(super) fn errors(mut self, errors: Vec<String>) -> Self {
        self.problem.errors = errors;
        self
    }

    /// A failure of ours: everything about it goes to the log, nothing of it to the sender.
    pub(super) fn internal(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error, "a request failed on our side");
        Self::new(Kind::Internal, "the server failed on its own side; its log says why")
            .hint("try again; if it stays, ask the server's operator for its log")
    }

    pub(super) fn draining() -> Self {
        Self::new(Kind::Unavailable, "the server is about to stop").hint("try again in a few seconds")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // Serialising strings and numbers into memory cannot fail; the status alone would still tell the kind.
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (self.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        match self.kind {
            Kind::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bakery\""));
            }
            Kind::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
