//! The HTTP client that all calls share: one base URL, one way to send and to judge an answer. For TLS it trusts the CA
//! certificates of the machine.

use std::sync::Arc;
use std::time::Duration;

use bakery_core::host;
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

use crate::dns::InitialResolver;
use crate::error::ServerAddress;
use crate::{CALL_TIMEOUT, CONNECT_TIMEOUT, IDLE_TIMEOUT, LinkError};

/// Maximum bytes of a JSON answer. A list of builds can be longer than a spec.
const ANSWER_BYTES: usize = 16 * limits::SPEC_BYTES;
/// Limit for the answer to a streamed body, from its last byte on: the server may have to verify gigabytes.
const STREAM_ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// Sends requests to one server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    client: Client,
    server: ServerAddress,
    plain: bool,
}

impl HttpClient {
    /// Checks the URL, which the variable `variable` holds. A server on this machine is never reached through a proxy.
    /// Without a `resolver` names are resolved by the system.
    pub(crate) fn new(
        url: &str,
        variable: &'static str,
        resolver: Option<Arc<InitialResolver>>,
    ) -> Result<Self, LinkError> {
        let wrong = |text: String| LinkError::Settings {
            text: format!("{variable} {text}"),
            hint: "expected http://HOST:PORT or https://HOST".to_owned(),
        };
        let parsed = Url::parse(url.trim()).map_err(|error| wrong(format!("is not a valid URL: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong(format!("has the scheme `{}`, which is not supported", parsed.scheme())));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(LinkError::Settings {
                text: format!("{variable} contains a user name or a password"),
                hint: "put the operator token into BAKERY_TOKEN".to_owned(),
            });
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(wrong("contains a query or a fragment".to_owned()));
        }
        let local = parsed.host_str().is_some_and(host::is_loopback);
        let mut client = Client::builder()
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("bakery/", env!("CARGO_PKG_VERSION")));
        if local {
            client = client.no_proxy();
        }
        if let Some(resolver) = resolver {
            client = client.dns_resolver(resolver);
        }
        let client = client.build().map_err(|error| LinkError::Settings {
            text: format!("the HTTP client cannot be set up: {error}"),
            hint: "check HTTP_PROXY, HTTPS_PROXY and the CA certificates of this machine".to_owned(),
        })?;
        let url = parsed.as_str().trim_end_matches('/').to_owned();
        let plain = parsed.scheme() == "http" && !local;
        Ok(Self { client, server: ServerAddress { url, variable }, plain })
    }

    /// Whether requests leave this machine unencrypted.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The server, for messages.
    pub(crate) fn server(&self) -> &ServerAddress {
        &self.server
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&Secret>,
    ) -> Result<RequestBuilder, LinkError> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.server.url))
            .header(PROTOCOL_HEADER, PROTOCOL);
        if let Some(token) = bearer {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| LinkError::Settings {
                text: "the token contains characters that an HTTP header cannot carry".to_owned(),
                hint: "BAKERY_TOKEN must be printable ASCII without line breaks".to_owned(),
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Sends a request and reads its JSON answer, within [`CALL_TIMEOUT`].
    pub(crate) async fn call<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A, LinkError> {
        self.read_json(self.send(request.timeout(CALL_TIMEOUT)).await?).await
    }

    /// Sends a request with a streamed body of any length. Fails if nothing was sent for [`IDLE_TIMEOUT`].
    pub(crate) async fn send_stream<S, E>(
        &self,
        request: RequestBuilder,
        body: S,
    ) -> Result<Response, LinkError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let (progress, mut seen) = watch::channel(());
        let body = body.inspect(move |_| {
            progress.send_replace(());
        });
        let sent = self.send(request.body(Body::wrap_stream(body)));
        let stalled = async {
            // The sender is dropped with the body, once all of it has been sent.
            while let Ok(change) = timeout(IDLE_TIMEOUT, seen.changed()).await {
                if change.is_err() {
                    tokio::time::sleep(STREAM_ANSWER_TIMEOUT).await;
                    return STREAM_ANSWER_TIMEOUT;
                }
            }
            IDLE_TIMEOUT
        };
        tokio::select! {
            biased;
            response = sent => response,
            limit = stalled => Err(LinkError::timeout(&self.server, limit)),
        }
    }

    /// Sends a request whose answer is a stream; its headers must arrive within [`IDLE_TIMEOUT`].
    pub(crate) async fn open_stream(&self, request: RequestBuilder) -> Result<Response, LinkError> {
        match timeout(IDLE_TIMEOUT, self.send(request)).await {
            Ok(response) => response,
            Err(_) => Err(LinkError::timeout(&self.server, IDLE_TIMEOUT)),
        }
    }

    /// The next chunk of a streamed answer; `None` at its end.
    pub(crate) async fn next_chunk(&self, response: &mut Response) -> Result<Option<Bytes>, LinkError> {
        match timeout(IDLE_TIMEOUT, response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| self.network_error(&error)),
            Err(_) => Err(LinkError::timeout(&self.server, IDLE_TIMEOUT)),
        }
    }

    /// Reads a JSON answer of at most [`ANSWER_BYTES`].
    pub(crate) async fn read_json<A: DeserializeOwned>(
        &self,
        mut response: Response,
    ) -> Result<A, LinkError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.next_chunk(&mut response).await? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                let text = format!("sent an answer of more than {} MiB", ANSWER_BYTES >> 20);
                return Err(LinkError::foreign(&self.server, text));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| {
            LinkError::foreign(&self.server, format!("sent an answer that cannot be parsed: {error}"))
        })
    }

    /// Sends a request; only successful answers of a Bakery server are returned as such.
    async fn send(&self, request: RequestBuilder) -> Result<Response, LinkError> {
        let response = request.send().await.map_err(|error| self.network_error(&error))?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        if status.is_redirection() {
            return Err(self.redirected(status, header(LOCATION.as_str())));
        }
        let theirs = header(PROTOCOL_HEADER).and_then(|text| text.parse::<u32>().ok());
        if status.is_success() {
            return match theirs {
                Some(theirs) => self.check_version(theirs).map(|()| response),
                None => Err(LinkError::foreign(&self.server, "is not a Bakery server")),
            };
        }
        let is_problem = header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with(PROBLEM_TYPE));
        let body = timeout(CALL_TIMEOUT, self.refusal(response)).await.unwrap_or_default();
        Err(LinkError::refused(&self.server, status, is_problem, &body))
    }

    /// The first bytes of a refusal's body: enough for every problem document of a server.
    async fn refusal(&self, mut response: Response) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < limits::SPEC_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        body
    }

    /// A server supports its own protocol version and the previous one.
    fn check_version(&self, theirs: u32) -> Result<(), LinkError> {
        let outdated = if theirs < PROTOCOL {
            "the server"
        } else if theirs > PROTOCOL + 1 {
            "this program"
        } else {
            return Ok(());
        };
        Err(LinkError::Protocol {
            server: self.server.clone(),
            text: format!("uses protocol version {theirs}, this program uses version {PROTOCOL}"),
            hint: format!("update {outdated}"),
        })
    }

    fn redirected(&self, status: StatusCode, to: Option<&str>) -> LinkError {
        // Only the origin is shown: the path and the query may hold a secret.
        let to = to.and_then(|to| Url::parse(to).ok()).map(|to| to.origin().ascii_serialization());
        let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
        LinkError::Protocol {
            server: self.server.clone(),
            text: format!("answered {status}: it redirects{to}"),
            hint: format!("set {} to the URL behind the redirect", self.server.variable),
        }
    }

    fn network_error(&self, error: &reqwest::Error) -> LinkError {
        LinkError::from_reqwest(&self.server, CALL_TIMEOUT, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<HttpClient, LinkError> {
        HttpClient::new(url, "CONTROLLER_URL", None)
    }

    #[test]
    fn urls_are_checked_before_anything_is_sent() {
        for wrong in ["", "controller", "ftp://a", "http://user@a", "http://a?x=1", "http://:80"] {
            let error = client(wrong).unwrap_err();
            assert!(matches!(error, LinkError::Settings { .. }), "{wrong}");
            assert!(error.to_string().starts_with("CONTROLLER_URL "), "{error}");
        }
        let error = client("http://me:hunter2@a").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert_eq!(client("https://a.test/bakery/").unwrap().server().url, "https://a.test/bakery");
    }

    #[test]
    fn only_http_to_another_machine_is_plain() {
        let plain = |url: &str| client(url).unwrap().is_plain();
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
