//! One HTTP request as registries want it asked: bounded, guarded, redirected with care, and asked again where that helps.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Client, Url};
use tokio_util::sync::CancellationToken;

use crate::guard::{Forbidden, Guard, Resolver};

/// The largest answer that is read: the bound that registries put on manifests.
const ANSWER_BYTES: usize = 4 << 20;
/// Hops from a registry to where its content lies.
const REDIRECTS: usize = 5;
/// How often a request is sent at most.
const ATTEMPTS: u32 = 5;
/// The wait before the second attempt; it doubles from then on.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait that a registry may ask for; beyond it the answer is taken as final.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<String>,
    /// Content type and body.
    pub(crate) body: Option<(String, Bytes)>,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Request {
    pub(crate) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, accept: None, body: None, authorization: None }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Forbidden(Forbidden),
    #[error("{0}")]
    Unreachable(String),
    #[error("the answer is larger than {ANSWER_BYTES} bytes")]
    TooLarge,
    #[error("{0}")]
    Redirect(String),
}

/// Connections to every registry.
#[derive(Debug)]
pub(crate) struct Transport {
    guard: Arc<Guard>,
    /// For what the operator named.
    named: Clients,
    /// For everything else.
    others: Clients,
}

#[derive(Debug)]
struct Clients {
    /// By the proxies of the environment, where there are any.
    outward: Client,
    /// Never by a proxy: for loopback.
    direct: Client,
}

/// Somebody who asks with patience, until it is enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) enough: &'a CancellationToken,
}

impl Clients {
    fn new(
        guard: &Arc<Guard>,
        user_agent: &str,
        within: Duration,
        named: bool,
    ) -> Result<Self, reqwest::Error> {
        let builder = || {
            Client::builder()
                .user_agent(user_agent)
                .redirect(reqwest::redirect::Policy::none())
                .dns_resolver(Arc::new(Resolver { guard: Arc::clone(guard), named }))
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(within)
        };
        Ok(Self { outward: builder().build()?, direct: builder().no_proxy().build()? })
    }
}

impl Transport {
    /// Each hop, answer included, has to be over `within` this time.
    pub(crate) fn new(guard: Arc<Guard>, user_agent: &str, within: Duration) -> Result<Self, reqwest::Error> {
        let clients = |named| Clients::new(&guard, user_agent, within, named);
        let (named, others) = (clients(true)?, clients(false)?);
        Ok(Self { guard, named, others })
    }

    /// True where a server at this URL speaks HTTP at all.
    pub(crate) async fn speaks(&self, url: Url) -> bool {
        let asked =
            tokio::time::timeout(PROBE_TIMEOUT, self.hop(&Request::get(url.clone()), &url, None)).await;
        matches!(asked, Ok(Ok(_) | Err(Trouble::TooLarge)))
    }

    async fn follow(&self, request: &Request) -> Result<Answer, Trouble> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let same_origin = url.origin() == request.url.origin();
            let authorization = request.authorization.as_ref().filter(|_| same_origin);
            let answer = self.hop(request, &url, authorization).await?;
            let repeatable = matches!(request.method, Method::GET | Method::HEAD);
            let Some(location) = answer.header(LOCATION).filter(|_| answer.status.is_redirection()) else {
                return Ok(answer);
            };
            if !repeatable {
                return Err(Trouble::Redirect(
                    "it sends a write elsewhere, which is not followed".to_owned(),
                ));
            }
            let next =
                url.join(location).map_err(|_| Trouble::Redirect("it redirects to no URL".to_owned()))?;
            let plain = next.scheme() == "http" && self.guard.plain_http(&authority(&next));
            if next.scheme() != "https" && !plain {
                let host = next.host_str().unwrap_or_default();
                return Err(Trouble::Redirect(format!("it redirects to {host}, which is not under https")));
            }
            url = next;
        }
        Err(Trouble::Redirect(format!("it redirects more than {REDIRECTS} times")))
    }

    async fn hop(
        &self,
        request: &Request,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Trouble> {
        self.guard.check(url).map_err(Trouble::Forbidden)?;
        let clients = if self.guard.is_named(url) { &self.named } else { &self.others };
        let client = if Guard::is_direct(url) { &clients.direct } else { &clients.outward };
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
        let mut response = builder.send().await.map_err(trouble)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(trouble)? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(Trouble::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }
}

impl Asker<'_> {
    /// Asks, and asks again on 429, on failures of the server's side and of the connection. Every request that we make
    /// may be repeated. Once it is `enough`, what is under way is waited for and not repeated.
    pub(crate) async fn ask(self, request: &Request) -> Result<Answer, Trouble> {
        let mut wait = FIRST_WAIT;
        for _ in 1..ATTEMPTS {
            let (pause, outcome) = match self.transport.follow(request).await {
                Ok(answer) if worth_repeating(answer.status) => match retry_after(&answer) {
                    Some(long) if long > LONGEST_WAIT => return Ok(answer),
                    asked => (asked.unwrap_or_default().max(wait), Ok(answer)),
                },
                Err(trouble @ Trouble::Unreachable(_)) => (wait, Err(trouble)),
                settled => return settled,
            };
            tokio::select! {
                biased;
                () = self.enough.cancelled() => return outcome,
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

fn worth_repeating(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502..=504)
}

/// Seconds, or a date; a date is measured against the answer's own, so no clock of ours plays a part.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = answer.header(RETRY_AFTER)?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let wait = date(text)?.duration_since(date(answer.header(DATE)?)?);
    Some(wait.try_into().unwrap_or_default())
}

/// What went wrong on the way, from the innermost cause: reqwest's own texts repeat the URL, whose query may hold a
/// signature.
fn trouble(error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    let kind = if error.is_timeout() { "no answer in time" } else { "the connection failed" };
    let mut text = None;
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(forbidden) = cause.downcast_ref::<Forbidden>() {
            return Trouble::Forbidden(forbidden.clone());
        }
        text = Some(cause.to_string());
        source = cause.source();
    }
    Trouble::Unreachable(text.map_or_else(|| kind.to_owned(), |text| format!("{kind}: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_may_ask_for_seconds_or_name_a_date() {
        let answer = |after: &'static str| Answer {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: [
                (RETRY_AFTER, HeaderValue::from_static(after)),
                (DATE, HeaderValue::from_static("Sun, 22 Nov 2026 18:00:00 GMT")),
            ]
            .into_iter()
            .collect(),
            body: Bytes::new(),
        };
        let wait = |after| retry_after(&answer(after));
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 22 Nov 2026 18:00:09 GMT"), Some(Duration::from_secs(9)));
        assert_eq!(wait("Sun, 22 Nov 2026 17:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }
}
