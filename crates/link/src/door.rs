//! One base URL and one bearer: how every call of either side is made and judged.

use std::net::IpAddr;
use std::time::Duration;

use bakery_core::limits;
use bakery_core::secret::Secret;
use bakery_core::wire::problem::PROBLEM_TYPE;
use bakery_core::wire::{PROTOCOL, PROTOCOL_HEADER};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{ANSWER, CONNECT, LinkError, SILENCE};

/// Bytes of the longest answer that is read whole: a list of builds can be longer than a spec.
const ANSWER_BYTES: usize = 16 * limits::SPEC_BYTES;
/// How long the other side may think after it has been sent a stream of any length.
const DIGEST: Duration = Duration::from_mins(5);

/// A server's address, with the client that speaks to it.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    http: Client,
    /// Without a slash at its end, without userinfo: may be shown.
    base: String,
    plain: bool,
}

impl Door {
    /// Checks the URL. A server on this machine is never spoken to through a proxy.
    pub(crate) fn new(url: &str) -> Result<Self, LinkError> {
        let wrong = |text: String| LinkError::Settings {
            text,
            hint: "expected http://HOST:PORT or https://HOST".to_owned(),
        };
        let parsed = Url::parse(url.trim())
            .map_err(|error| wrong(format!("the controller's URL (CONTROLLER_URL) is none: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong(format!("the controller's URL has the scheme `{}`", parsed.scheme())));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(LinkError::Settings {
                text: "the controller's URL holds a user name or a password".to_owned(),
                hint: "put the operator token into BAKERY_TOKEN".to_owned(),
            });
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(wrong("the controller's URL has a query or a fragment".to_owned()));
        }
        let local = is_loopback(&parsed);
        let mut http = Client::builder()
            .http1_only()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("bakery/", env!("CARGO_PKG_VERSION")));
        if local {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| LinkError::Settings {
            text: format!("no HTTP client can be made: {error}"),
            hint: "check HTTP_PROXY, HTTPS_PROXY and this machine's CA certificates".to_owned(),
        })?;
        let base = parsed.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base, plain: parsed.scheme() == "http" && !local })
    }

    /// True where what is sent can be read on the way.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The URL, as it may be shown.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&Secret>,
    ) -> Result<RequestBuilder, LinkError> {
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).header(PROTOCOL_HEADER, PROTOCOL);
        if let Some(token) = bearer {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| LinkError::Settings {
                text: "the token has characters that no HTTP header can carry".to_owned(),
                hint: "BAKERY_TOKEN must be printable ASCII without line ends".to_owned(),
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// One ordinary call with an answer in JSON.
    pub(crate) async fn json<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A, LinkError> {
        self.read(self.send(request.timeout(ANSWER)).await?).await
    }

    /// One call that sends a stream of any length. It is given up when nothing has moved for [`SILENCE`].
    pub(crate) async fn stream<S, E>(&self, request: RequestBuilder, body: S) -> Result<Response, LinkError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let (moved, mut seen) = watch::channel(());
        let body = body.inspect(move |_| {
            moved.send_replace(());
        });
        let sent = self.send(request.body(Body::wrap_stream(body)));
        let stalled = async {
            // The sender goes away with the body, once all of it has been taken.
            while let Ok(change) = timeout(SILENCE, seen.changed()).await {
                if change.is_err() {
                    tokio::time::sleep(DIGEST).await;
                    return DIGEST;
                }
            }
            SILENCE
        };
        tokio::select! {
            biased;
            response = sent => response,
            limit = stalled => Err(LinkError::silent(&self.base, limit)),
        }
    }

    /// One call whose answer is a stream: its head must come within [`SILENCE`].
    pub(crate) async fn open(&self, request: RequestBuilder) -> Result<Response, LinkError> {
        match timeout(SILENCE, self.send(request)).await {
            Ok(response) => response,
            Err(_) => Err(LinkError::silent(&self.base, SILENCE)),
        }
    }

    /// The next piece of a streamed answer; `None` at its end.
    pub(crate) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, LinkError> {
        match timeout(SILENCE, response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| self.broken(&error)),
            Err(_) => Err(LinkError::silent(&self.base, SILENCE)),
        }
    }

    pub(crate) async fn read<A: DeserializeOwned>(&self, mut response: Response) -> Result<A, LinkError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(LinkError::foreign(&self.base, "sends an endless answer"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| {
            LinkError::foreign(&self.base, format!("sends an answer that cannot be read: {error}"))
        })
    }

    /// Sends, and lets only good answers of a Bakery server through.
    async fn send(&self, request: RequestBuilder) -> Result<Response, LinkError> {
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        if status.is_redirection() {
            return Err(self.redirected(status, header(LOCATION.as_str())));
        }
        let theirs = header(PROTOCOL_HEADER).and_then(|text| text.parse::<u32>().ok());
        if status.is_success() {
            return match theirs {
                Some(theirs) => self.check_version(theirs).map(|()| response),
                None => Err(LinkError::foreign(&self.base, "answers, but is no Bakery server")),
            };
        }
        let is_problem = header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with(PROBLEM_TYPE));
        let body = timeout(ANSWER, self.refusal(response)).await.unwrap_or_default();
        Err(LinkError::refused(&self.base, status, is_problem, &body))
    }

    /// The first bytes of a refusal's body: enough for every problem that a server describes.
    async fn refusal(&self, mut response: Response) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < limits::SPEC_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        body
    }

    /// A server speaks its own version and the one before.
    fn check_version(&self, theirs: u32) -> Result<(), LinkError> {
        let who = if theirs < PROTOCOL {
            "the server"
        } else if theirs > PROTOCOL + 1 {
            "this program"
        } else {
            return Ok(());
        };
        Err(LinkError::Protocol {
            url: self.base.clone(),
            text: format!("speaks version {theirs} of the protocol, this program version {PROTOCOL}"),
            hint: format!("update {who}"),
        })
    }

    fn redirected(&self, status: StatusCode, to: Option<&str>) -> LinkError {
        // Only the origin is shown: paths and queries of others may hold what is not ours to print.
        let to = to.and_then(|to| Url::parse(to).ok()).map(|to| to.origin().ascii_serialization());
        let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
        LinkError::Protocol {
            url: self.base.clone(),
            text: format!("answered {status}: it redirects{to}"),
            hint: "set CONTROLLER_URL to the address behind the redirect".to_owned(),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> LinkError {
        LinkError::from_reqwest(&self.base, ANSWER, error)
    }
}

/// True for addresses that never leave this machine.
fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_before_anything_is_sent() {
        for wrong in ["", "controller", "ftp://a", "http://user@a", "http://a?x=1", "http://:80"] {
            assert!(matches!(Door::new(wrong), Err(LinkError::Settings { .. })), "{wrong}");
        }
        let text = Door::new("http://me:hunter2@a").unwrap_err();
        assert!(!format!("{text} {text:?}").contains("hunter2"));
        assert_eq!(Door::new("https://a.test/bakery/").unwrap().base(), "https://a.test/bakery");
    }

    #[test]
    fn only_plain_http_to_elsewhere_can_be_read_on_the_way() {
        let plain = |url: &str| Door::new(url).unwrap().is_plain();
        for safe in [
            "http://127.0.0.1:3000",
            "http://127.8.8.8",
            "http://[::1]:3000",
            "http://localhost:1",
            "https://a.test",
        ] {
            assert!(!plain(safe), "{safe}");
        }
        for open in ["http://10.0.0.1:3000", "http://a.test", "http://localhost.a.test", "http://[::2]"] {
            assert!(plain(open), "{open}");
        }
    }
}
