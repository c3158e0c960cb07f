//! Sends one HTTP request: bounded in time and size, to allowed addresses only, with redirects and retries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Client, Url};
use tokio_util::sync::CancellationToken;

use crate::guard::{ForbiddenAddress, Guard, GuardedResolver, Reach};

/// The largest response that is read: the limit that registries set for manifests.
const RESPONSE_BYTES: usize = 4 << 20;
/// Redirects followed for one request at most.
const REDIRECTS: usize = 5;
/// How often a request is sent at most.
const ATTEMPTS: u32 = 5;
/// The wait before the second attempt; it doubles from then on.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait that a registry may request; beyond it the response is final.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<String>,
    /// Content type and body.
    pub(crate) body: Option<(String, Bytes)>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) reach: Reach,
    /// Whether redirects of a read are followed.
    pub(crate) redirected: bool,
}

impl Request {
    pub(crate) fn get(url: Url, reach: Reach) -> Self {
        Self {
            method: Method::GET,
            url,
            accept: None,
            body: None,
            authorization: None,
            reach,
            redirected: true,
        }
    }

    /// A request to a token service. The host that is asked was checked, and no other one is.
    pub(crate) fn of_token(url: Url, reach: Reach) -> Self {
        Self { redirected: false, ..Self::get(url, reach) }
    }
}

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The address that the request was sent to, before any redirect.
    pub(crate) peer: Option<SocketAddr>,
}

impl Response {
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error(transparent)]
    Forbidden(ForbiddenAddress),
    #[error("{0}")]
    Unreachable(String),
    #[error("the response is larger than {RESPONSE_BYTES} bytes")]
    TooLarge,
    #[error("{0}")]
    Redirect(String),
}

/// Sends requests to every registry, and keeps connections.
#[derive(Debug)]
pub(crate) struct Transport {
    guard: Arc<Guard>,
    /// For hosts that the operator named.
    named: HttpClients,
    /// For everything else, within [`Reach::Registry`].
    others: HttpClients,
    /// For everything else, within [`Reach::Public`].
    public: HttpClients,
}

#[derive(Debug)]
struct HttpClients {
    /// Uses the proxies of the environment.
    proxied: Client,
    /// Uses no proxy: for loopback.
    direct: Client,
}

/// A transport that retries, until `no_retry` is cancelled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retrying<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) no_retry: &'a CancellationToken,
}

impl HttpClients {
    fn new(
        guard: &Arc<Guard>,
        user_agent: &str,
        within: Duration,
        named: bool,
        reach: Reach,
    ) -> Result<Self, reqwest::Error> {
        let builder = || {
            Client::builder()
                .user_agent(user_agent)
                .redirect(reqwest::redirect::Policy::none())
                .dns_resolver(Arc::new(GuardedResolver { guard: Arc::clone(guard), named, reach }))
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(within)
        };
        Ok(Self { proxied: builder().build()?, direct: builder().no_proxy().build()? })
    }
}

impl Transport {
    /// Each hop, response included, is limited to `within`.
    pub(crate) fn new(guard: Arc<Guard>, user_agent: &str, within: Duration) -> Result<Self, reqwest::Error> {
        let clients = |named, reach| HttpClients::new(&guard, user_agent, within, named, reach);
        let named = clients(true, Reach::Registry)?;
        let (others, public) = (clients(false, Reach::Registry)?, clients(false, Reach::Public)?);
        Ok(Self { guard, named, others, public })
    }

    /// True where a server at this URL returns any HTTP response.
    pub(crate) async fn answers(&self, url: Url) -> bool {
        let probe = tokio::time::timeout(
            PROBE_TIMEOUT,
            self.hop(&Request::get(url.clone(), Reach::Registry), &url, None, Reach::Registry),
        )
        .await;
        matches!(probe, Ok(Ok(_) | Err(TransportError::TooLarge)))
    }

    async fn follow(&self, request: &Request) -> Result<Response, TransportError> {
        let (mut url, mut reach) = (request.url.clone(), request.reach);
        let mut first = None;
        for _ in 0..=REDIRECTS {
            let same_origin = url.origin() == request.url.origin();
            let authorization = request.authorization.as_ref().filter(|_| same_origin);
            let mut response = self.hop(request, &url, authorization, reach).await?;
            if Reach::beyond(response.peer) == Reach::Public {
                reach = Reach::Public;
            }
            response.peer = *first.get_or_insert(response.peer);
            let repeatable = matches!(request.method, Method::GET | Method::HEAD);
            let Some(location) = response.header(LOCATION).filter(|_| response.status.is_redirection())
            else {
                return Ok(response);
            };
            if !request.redirected {
                return Err(TransportError::Redirect("it redirects, which is not followed".to_owned()));
            }
            if !repeatable {
                return Err(TransportError::Redirect(
                    "the registry redirects a write, which is not supported".to_owned(),
                ));
            }
            let next = url.join(location).map_err(|_| {
                TransportError::Redirect("the registry redirects to an invalid URL".to_owned())
            })?;
            let plain = next.scheme() == "http" && self.guard.plain_http(&authority(&next));
            if next.scheme() != "https" && !plain {
                let host = next.host_str().unwrap_or_default();
                return Err(TransportError::Redirect(format!(
                    "the registry redirects to {host} without https"
                )));
            }
            url = next;
        }
        Err(TransportError::Redirect(format!("the registry redirects more than {REDIRECTS} times")))
    }

    async fn hop(
        &self,
        request: &Request,
        url: &Url,
        authorization: Option<&HeaderValue>,
        reach: Reach,
    ) -> Result<Response, TransportError> {
        self.guard.check(url, reach).map_err(TransportError::Forbidden)?;
        // It would be sent as one, in place of ours.
        if !url.username().is_empty() || url.password().is_some() {
            let text = "the registry names an address with a login in it, which is not asked";
            return Err(TransportError::Redirect(text.to_owned()));
        }
        let clients = match reach {
            _ if self.guard.is_named(url) => &self.named,
            Reach::Registry => &self.others,
            Reach::Public => &self.public,
        };
        let client = if Guard::is_direct(url) { &clients.direct } else { &clients.proxied };
        let mut builder = client.request(request.method.clone(), url.clone());
        if let Some(accept) = &request.accept {
            builder = builder.header(ACCEPT, accept);
        }
        if let Some((content_type, body)) = &request.body {
            builder = builder.header(CONTENT_TYPE, content_type).body(body.clone());
        }
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        let failed = |error| transport_error(error, self.guard.may_show_cause(url));
        let mut response = builder.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let peer = response.remote_addr();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > RESPONSE_BYTES {
                return Err(TransportError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body: body.freeze(), peer })
    }
}

impl Retrying<'_> {
    /// Sends a request, and retries on 429, on server errors and on connection errors. Every request of this crate is
    /// idempotent. Once `no_retry` is cancelled, the request in flight is awaited and not retried.
    pub(crate) async fn send(self, request: &Request) -> Result<Response, TransportError> {
        let mut wait = FIRST_WAIT;
        for _ in 1..ATTEMPTS {
            let (pause, outcome) = match self.transport.follow(request).await {
                Ok(response) if is_retryable(response.status) => match retry_after(&response) {
                    Some(long) if long > LONGEST_WAIT => return Ok(response),
                    asked => (asked.unwrap_or_default().max(wait), Ok(response)),
                },
                Err(error @ TransportError::Unreachable(_)) => (wait, Err(error)),
                settled => return settled,
            };
            tokio::select! {
                biased;
                () = self.no_retry.cancelled() => return outcome,
                () = tokio::time::sleep(pause) => {}
            }
            wait *= 2;
        }
        self.transport.follow(request).await
    }
}

/// `host[:port]` of a URL.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502..=504)
}

/// Seconds, or a date; a date is measured against the response's own, so our own clock is not needed.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.header(RETRY_AFTER)?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let wait = date(text)?.duration_since(date(response.header(DATE)?)?);
    Some(wait.try_into().unwrap_or_default())
}

/// The text for every cause that the client must not see: refused, silent and "no TLS" together are a port scan.
const NO_CAUSE: &str = "it cannot be reached; the server's log has the cause";

/// The error with the text of its innermost cause: reqwest's own texts repeat the URL, whose query may hold a signature.
/// Only if it `may_show_cause` does the error have it.
fn transport_error(error: reqwest::Error, may_show_cause: bool) -> TransportError {
    let host = error.url().map(authority).unwrap_or_default();
    let error = error.without_url();
    let kind = if error.is_timeout() { "no response in time" } else { "the connection failed" };
    let mut text = None;
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(forbidden) = cause.downcast_ref::<ForbiddenAddress>() {
            return TransportError::Forbidden(forbidden.clone());
        }
        text = Some(cause.to_string());
        source = cause.source();
    }
    let text = text.map_or_else(|| kind.to_owned(), |text| format!("{kind}: {text}"));
    if may_show_cause {
        return TransportError::Unreachable(text);
    }
    tracing::warn!(host, error = text, "a registry or its token service cannot be reached");
    TransportError::Unreachable(NO_CAUSE.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn probe_21_whoever_names_a_registry_learns_nothing_about_a_port() {
        let client = Client::builder().no_proxy().timeout(Duration::from_millis(200)).build().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let banner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ssh = banner.local_addr().unwrap();
        let mut speaker = tokio::task::JoinSet::new();
        speaker.spawn(async move {
            while let Ok((mut stream, _)) = banner.accept().await {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
            }
        });
        let mut causes = std::collections::BTreeSet::new();
        for (port, scheme) in [
            (closed.port(), "http"),
            (silent.local_addr().unwrap().port(), "http"),
            (ssh.port(), "http"),
            (ssh.port(), "https"),
        ] {
            let url = format!("{scheme}://127.0.0.1:{port}/v2/");
            let error = client.get(&url).send().await.unwrap_err();
            assert_eq!(transport_error(error, false).to_string(), NO_CAUSE, "{url}");
            let error = client.get(&url).send().await.unwrap_err();
            causes.insert(transport_error(error, true).to_string());
        }
        assert!(causes.len() >= 3, "the operator can tell them apart: {causes:?}");
    }

    #[test]
    fn a_registry_may_ask_for_seconds_or_name_a_date() {
        let response = |after: &'static str| Response {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: [
                (RETRY_AFTER, HeaderValue::from_static(after)),
                (DATE, HeaderValue::from_static("Sun, 22 Nov 2026 18:00:00 GMT")),
            ]
            .into_iter()
            .collect(),
            body: Bytes::new(),
            peer: None,
        };
        let wait = |after| retry_after(&response(after));
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 22 Nov 2026 18:00:09 GMT"), Some(Duration::from_secs(9)));
        assert_eq!(wait("Sun, 22 Nov 2026 17:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }
}
