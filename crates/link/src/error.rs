//! Why a call failed, by what the user can do about it.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use bakery_core::message::{self, Hint};
use bakery_core::wire::problem::Problem;
use reqwest::StatusCode;
use thiserror::Error;

/// A server's URL and the variable that set it. Displays as `URL (VARIABLE)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Scheme, host, port and base path, without a slash at the end. Holds no user name, password or query.
    pub url: String,
    /// The variable's name.
    pub variable: &'static str,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.url, self.variable)
    }
}

/// Why a call failed. No variant holds a token, or a URL's user name, password or query.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The settings do not allow this call. Nothing was sent.
    #[error("{text}")]
    Settings {
        /// What is wrong, with the setting's name.
        text: String,
        /// What to do about it.
        hint: String,
    },
    /// The server did not answer, or the connection was interrupted. Whether the call had an effect is unknown.
    #[error("cannot reach the server at {server}: {failure}{}", .detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Unreachable {
        /// The server.
        server: ServerAddress,
        /// What failed.
        failure: NetworkFailure,
        /// The operating system's or library's own message, if it adds something.
        detail: Option<String>,
    },
    /// The server refused the call.
    #[error("{}", refusal(.0))]
    Refused(Box<Problem>),
    /// The answer is not one of a Bakery server, or of a version that is too old or too new.
    #[error("{server} {text}")]
    Protocol {
        /// The server.
        server: ServerAddress,
        /// What is wrong with the answer; continues a sentence that starts with the server.
        text: String,
        /// What to do about it.
        hint: String,
    },
}

/// Why a server cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFailure {
    /// The host name cannot be resolved.
    Dns,
    /// Nothing listens on the port.
    Refused,
    /// The TLS handshake failed.
    Tls,
    /// The server did not answer within this time.
    Timeout(Duration),
    /// A proxy or gateway in between reports this status: the server behind it does not answer.
    Gateway(u16),
    /// The connection could not be established for another reason.
    Connect,
    /// The connection was closed before the answer was complete.
    Interrupted,
}

impl fmt::Display for NetworkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("cannot resolve the host name"),
            Self::Refused => f.write_str("connection refused"),
            Self::Tls => f.write_str("TLS handshake failed"),
            Self::Timeout(time) => write!(f, "no answer within {} s", time.as_secs()),
            Self::Gateway(status) => write!(f, "a gateway in between answered {status}"),
            Self::Connect => f.write_str("connection failed"),
            Self::Interrupted => f.write_str("connection interrupted"),
        }
    }
}

impl LinkError {
    /// Whether the same call may succeed a little later: the server cannot be reached, or it is busy, starting or
    /// shutting down.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 507),
            Self::Settings { .. } | Self::Protocol { .. } => false,
        }
    }

    /// Whether the disk of the server is full.
    pub fn is_disk_full(&self) -> bool {
        self.status() == Some(507)
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// Translates an error of reqwest. `limit` is the call's time limit.
    pub(crate) fn from_reqwest(server: &ServerAddress, limit: Duration, error: &reqwest::Error) -> Self {
        let io = causes(error).find_map(|cause| cause.downcast_ref::<std::io::Error>());
        let last = causes(error).last().map(ToString::to_string);
        let failure = if error.is_dns() {
            NetworkFailure::Dns
        } else if error.is_timeout() {
            return Self::timeout(server, if error.is_connect() { crate::CONNECT_TIMEOUT } else { limit });
        } else if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return Self::unreachable(server, NetworkFailure::Refused, None);
        } else if error.is_connect() {
            let secure = server.url.starts_with("https:");
            // Errors of the operating system have a number; TLS errors do not.
            let tls = io.is_some_and(|io| io.raw_os_error().is_none());
            if secure && tls { NetworkFailure::Tls } else { NetworkFailure::Connect }
        } else {
            NetworkFailure::Interrupted
        };
        Self::unreachable(server, failure, last)
    }

    pub(crate) fn timeout(server: &ServerAddress, limit: Duration) -> Self {
        Self::unreachable(server, NetworkFailure::Timeout(limit), None)
    }

    pub(crate) fn interrupted(server: &ServerAddress, detail: &str) -> Self {
        Self::unreachable(server, NetworkFailure::Interrupted, Some(detail.to_owned()))
    }

    fn unreachable(server: &ServerAddress, failure: NetworkFailure, detail: Option<String>) -> Self {
        Self::Unreachable { server: server.clone(), failure, detail }
    }

    /// An answer that is not one of a Bakery server.
    pub(crate) fn foreign(server: &ServerAddress, text: impl Into<String>) -> Self {
        let hint = format!("{} must be the URL of a Bakery server", server.variable);
        Self::Protocol { server: server.clone(), text: text.into(), hint }
    }

    /// A refusal, from its body. A body that is not a problem document comes from a gateway or from another program.
    pub(crate) fn refused(server: &ServerAddress, status: StatusCode, is_problem: bool, body: &[u8]) -> Self {
        if is_problem && let Ok(mut problem) = serde_json::from_slice::<Problem>(body) {
            problem.status = status.as_u16();
            return Self::Refused(Box::new(problem));
        }
        if matches!(status.as_u16(), 502..=504) {
            return Self::unreachable(server, NetworkFailure::Gateway(status.as_u16()), None);
        }
        Self::foreign(server, format!("answered {status}, not in the form of a Bakery server"))
    }
}

impl Hint for LinkError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Settings { hint, .. } | Self::Protocol { hint, .. } => Some(hint.into()),
            Self::Refused(problem) => problem.hint.as_deref().map(Cow::from),
            Self::Unreachable { server, failure, .. } => Some(failure.hint(server.variable).into()),
        }
    }
}

impl NetworkFailure {
    fn hint(self, variable: &str) -> String {
        match self {
            Self::Dns => format!("check the host in {variable} and the DNS settings of this machine"),
            Self::Refused => {
                format!("start bakery-server there, or set {variable} to the URL where it listens")
            }
            Self::Tls => format!(
                "check that the scheme of {variable} matches the server and that this machine trusts its certificate"
            ),
            Self::Timeout(_) | Self::Connect => {
                format!("check {variable}, proxies (HTTPS_PROXY, NO_PROXY) and firewalls")
            }
            Self::Gateway(_) => "check that bakery-server is running behind that gateway".to_owned(),
            Self::Interrupted => "try again: the server may have been restarted".to_owned(),
        }
    }
}

/// For code that reads a stream of bytes through `std::io`.
impl From<LinkError> for std::io::Error {
    fn from(error: LinkError) -> Self {
        Self::other(error)
    }
}

fn refusal(problem: &Problem) -> String {
    let texts = [problem.detail.as_str(), problem.title.as_str(), problem.kind.as_str()];
    let text = texts.into_iter().find(|text| !text.is_empty());
    let mut text = text.map_or_else(|| format!("the server answered {}", problem.status), str::to_owned);
    if let Some(id) = problem.request_id.as_deref().filter(|id| !text.contains(id)) {
        text = format!("{text} (request {id})");
    }
    // A server of the last version has no hints for them.
    let mistakes = problem.mistakes.iter().map(|mistake| (mistake.text.as_str(), mistake.hint.as_deref()));
    let errors = problem.errors.iter().map(|error| (error.as_str(), None));
    let errors = errors.filter(|_| problem.mistakes.is_empty());
    for (mistake, hint) in mistakes.chain(errors) {
        text.push_str("\n  ");
        text.push_str(&message::indented(mistake, hint));
    }
    text
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use bakery_core::message::Message;

    use super::*;

    #[test]
    fn a_refusal_names_its_request_once_and_every_mistake_with_its_hint() {
        let text = |problem: &Problem| LinkError::Refused(Box::new(problem.clone())).to_string();
        let mistakes =
            vec![Message::new("arch: unknown").with_hint("use amd64"), Message::new("cpu: missing")];
        let mut problem = Problem {
            detail: "the config has 2 mistakes".to_owned(),
            request_id: Some("7f".to_owned()),
            errors: mistakes.iter().map(ToString::to_string).collect(),
            mistakes,
            ..Problem::default()
        };
        let expected =
            "the config has 2 mistakes (request 7f)\n  arch: unknown\n  hint: use amd64\n  cpu: missing";
        assert_eq!(text(&problem), expected);
        // A server of the last version.
        problem.mistakes.clear();
        assert_eq!(text(&problem), "the config has 2 mistakes (request 7f)\n  arch: unknown\n  cpu: missing");
        problem = Problem { detail: "internal error, request 7f".to_owned(), errors: Vec::new(), ..problem };
        assert_eq!(text(&problem), problem.detail);
    }
}
