//! What can go wrong between two programs, told apart by what helps.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use bakery_core::wire::problem::Problem;
use reqwest::StatusCode;
use thiserror::Error;

/// Why a call was not answered as hoped. No variant holds a token, a URL's userinfo or a URL's query.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The call cannot be made with these settings: nothing was sent.
    #[error("{text}")]
    Settings {
        /// What is wrong.
        text: String,
        /// What to do.
        hint: String,
    },
    /// No answer, or the connection broke. Whether the call had an effect is unknown.
    #[error("cannot reach the controller at {url}: {why}{}", .detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Unreachable {
        /// Scheme, host, port and base path.
        url: String,
        /// The kind of failure.
        why: Why,
        /// The system's own words, where they add something.
        detail: Option<String>,
    },
    /// The server answered, and said no.
    #[error("{}", refusal(.0))]
    Refused(Box<Problem>),
    /// Something answered that is no Bakery server, or one of another time.
    #[error("{url} {text}")]
    Protocol {
        /// Scheme, host, port and base path.
        url: String,
        /// What is wrong with the answer, as the end of a sentence.
        text: String,
        /// What to do.
        hint: String,
    },
}

/// Why a server cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The host's name cannot be resolved.
    Dns,
    /// Nothing listens there.
    Refused,
    /// TLS failed.
    Tls,
    /// No answer in this time.
    Timeout(Duration),
    /// A proxy or gateway on the way says that the server does not answer.
    Gateway(u16),
    /// The connection could not be made for another reason.
    Connect,
    /// The connection ended in the middle.
    Cut,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("its name cannot be resolved"),
            Self::Refused => f.write_str("connection refused"),
            Self::Tls => f.write_str("TLS failed"),
            Self::Timeout(time) => write!(f, "no answer within {} s", time.as_secs()),
            Self::Gateway(status) => write!(f, "a gateway on the way answered {status}"),
            Self::Connect => f.write_str("no connection"),
            Self::Cut => f.write_str("the connection broke"),
        }
    }
}

impl LinkError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Settings { hint, .. } | Self::Protocol { hint, .. } => hint,
            Self::Refused(problem) => return problem.hint.clone(),
            Self::Unreachable { why, .. } => match why {
                Why::Dns => "check the host in CONTROLLER_URL, and this machine's DNS",
                Why::Refused => {
                    "is bakery-server running there? Start it, or set CONTROLLER_URL to where it listens"
                }
                Why::Tls => {
                    "check that CONTROLLER_URL's scheme fits the server, and that this machine trusts its certificate"
                }
                Why::Timeout(_) | Why::Connect => {
                    "check CONTROLLER_URL, proxies (HTTPS_PROXY, NO_PROXY) and firewalls"
                }
                Why::Gateway(_) => "is bakery-server running behind that gateway?",
                Why::Cut => "the server may have been restarted: try again",
            },
        };
        Some(hint.to_owned())
    }

    /// True where the same call may succeed a little later: no connection, or a server that is busy, starting or
    /// draining.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Settings { .. } | Self::Protocol { .. } => false,
        }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// Puts reqwest's many words into ours. `url` is what may be shown.
    pub(crate) fn from_reqwest(url: &str, limit: Duration, error: &reqwest::Error) -> Self {
        let io = causes(error).find_map(|cause| cause.downcast_ref::<std::io::Error>());
        let last = causes(error).last().map(ToString::to_string);
        let why = if error.is_dns() {
            Why::Dns
        } else if error.is_timeout() {
            let connecting = error.is_connect();
            return Self::silent(url, if connecting { crate::CONNECT } else { limit });
        } else if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return Self::Unreachable { url: url.to_owned(), why: Why::Refused, detail: None };
        } else if error.is_connect() {
            let secure = url.starts_with("https:");
            // The system's own errors have a number; what TLS has to say does not.
            let tls = io.is_some_and(|io| io.raw_os_error().is_none());
            if secure && tls { Why::Tls } else { Why::Connect }
        } else {
            Why::Cut
        };
        Self::Unreachable { url: url.to_owned(), why, detail: last }
    }

    pub(crate) fn silent(url: &str, limit: Duration) -> Self {
        Self::Unreachable { url: url.to_owned(), why: Why::Timeout(limit), detail: None }
    }

    pub(crate) fn cut(url: &str, detail: &str) -> Self {
        Self::Unreachable { url: url.to_owned(), why: Why::Cut, detail: Some(detail.to_owned()) }
    }

    pub(crate) fn foreign(url: &str, text: impl Into<String>) -> Self {
        Self::Protocol {
            url: url.to_owned(),
            text: text.into(),
            hint: "CONTROLLER_URL must name a Bakery server".to_owned(),
        }
    }

    /// Reads a refusal's body; what is no problem comes from something in between.
    pub(crate) fn refused(url: &str, status: StatusCode, is_problem: bool, body: &[u8]) -> Self {
        if is_problem && let Ok(mut problem) = serde_json::from_slice::<Problem>(body) {
            problem.status = status.as_u16();
            return Self::Refused(Box::new(problem));
        }
        if matches!(status.as_u16(), 502..=504) {
            return Self::Unreachable {
                url: url.to_owned(),
                why: Why::Gateway(status.as_u16()),
                detail: None,
            };
        }
        Self::foreign(url, format!("answered {status} in a way that no Bakery server does"))
    }
}

/// Streams of bytes are read through `std::io` by those who unpack them.
impl From<LinkError> for std::io::Error {
    fn from(error: LinkError) -> Self {
        Self::other(error)
    }
}

fn refusal(problem: &Problem) -> String {
    let words = [problem.detail.as_str(), problem.title.as_str(), problem.kind.as_str()];
    let text = words.into_iter().find(|text| !text.is_empty());
    let mut text = text.map_or_else(|| format!("the server answered {}", problem.status), str::to_owned);
    for error in &problem.errors {
        text.push_str("\n  ");
        text.push_str(error);
    }
    text
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}
