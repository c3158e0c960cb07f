//! The client's calls.

use bakery_core::mask::name_suggests_secret;
use bakery_core::names::BuildId;
use bakery_core::secret::Secret;
use bakery_core::spec::BuildSpec;
use bakery_core::wire::build::{BuildList, BuildView, Info, SubmitBuild, Submitted};
use bakery_core::wire::context::{ContextAnswer, ContextOffer};
use bakery_core::wire::log::Cursor;
use bakery_core::wire::route;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use crate::http::HttpClient;
use crate::{LinkError, LogStream};

/// The variable that holds the server's URL.
const URL_VARIABLE: &str = "CONTROLLER_URL";
/// Bytes of a context that are read from disk at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// What a client may set beyond URL and token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Credentials may be sent over plain HTTP to another machine (`BAKERY_INSECURE`).
    pub insecure: bool,
}

/// The server's API for clients. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerApi {
    http: HttpClient,
    token: Option<Secret>,
    options: Options,
}

impl ServerApi {
    /// Takes the server's URL and the operator token. Refuses to send a token over plain HTTP to another machine,
    /// unless `options.insecure` allows it. Nothing is sent yet.
    pub fn new(url: &str, token: Option<Secret>, options: Options) -> Result<Self, LinkError> {
        let api = Self { http: HttpClient::new(url, URL_VARIABLE, None)?, token, options };
        if api.token.is_some() {
            api.require_encryption("BAKERY_TOKEN")?;
        }
        Ok(api)
    }

    /// The server's URL, without user name, password and query.
    pub fn url(&self) -> &str {
        &self.http.server().url
    }

    /// Asks whether the server has a context, and where to send it if not.
    pub async fn offer_context(&self, offer: &ContextOffer) -> Result<ContextAnswer, LinkError> {
        let request = self.request(Method::POST, route::CONTEXTS)?;
        self.http.call(request.json(offer)).await
    }

    /// Sends a context's blob of exactly `len` bytes to the path in [`ContextAnswer::Upload`]. Calls `progress` with the
    /// number of bytes read from the file so far.
    pub async fn put_context(
        &self,
        path: &str,
        file: File,
        len: u64,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<(), LinkError> {
        // The server chose the path, but the token is sent with it: it must not leave this server.
        if !is_upload_path(path) {
            let text = "returned an upload path outside of its context store";
            return Err(LinkError::foreign(self.http.server(), text));
        }
        let request = self
            .request(Method::PUT, path)?
            .header(CONTENT_TYPE, "application/gzip")
            .header(CONTENT_LENGTH, len);
        let mut total = 0;
        let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES);
        let body = futures_util::StreamExt::inspect(chunks, move |chunk| {
            total += chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
            progress(total);
        });
        self.http.send_stream(request, body).await.map(drop)
    }

    /// Whether a spec may be sent to this server: credentials in it need encryption, as the token does.
    pub fn may_carry(&self, spec: &BuildSpec) -> Result<(), LinkError> {
        let mut tasks = spec.services.iter().flat_map(|service| &service.tasks);
        let secret = tasks.any(|task| {
            !task.credentials.is_empty()
                || !task.kaniko.secrets.is_empty()
                || task.env.keys().any(|name| name_suggests_secret(name))
        });
        if secret { self.require_encryption("the build's credentials") } else { Ok(()) }
    }

    /// Submits a build, if [`Self::may_carry`] allows it. The same idempotency key always returns the same build, so a
    /// call whose answer was lost can be repeated.
    pub async fn submit(&self, build: &SubmitBuild) -> Result<Submitted, LinkError> {
        self.may_carry(&build.spec)?;
        let request = self.request(Method::POST, route::BUILDS)?;
        self.http.call(request.json(build)).await
    }

    /// The newest builds.
    pub async fn list(&self) -> Result<BuildList, LinkError> {
        self.http.call(self.request(Method::GET, route::BUILDS)?).await
    }

    /// One build.
    pub async fn view(&self, id: BuildId) -> Result<BuildView, LinkError> {
        self.http.call(self.request(Method::GET, &route::build(id))?).await
    }

    /// Requests that a build be cancelled, and returns its current state. Its log shows when it has ended.
    pub async fn cancel(&self, id: BuildId) -> Result<BuildView, LinkError> {
        self.http.call(self.request(Method::DELETE, &route::build(id))?).await
    }

    /// Versions, platforms and architectures.
    pub async fn info(&self) -> Result<Info, LinkError> {
        self.http.call(self.request(Method::GET, route::INFO)?).await
    }

    /// The log from a cursor on; with `follow` the stream continues until the build ends.
    pub async fn logs(&self, id: BuildId, from: Cursor, follow: bool) -> Result<LogStream, LinkError> {
        let request = self.request(Method::GET, &route::build_logs(id, from, follow))?;
        LogStream::new(self.http.clone(), self.http.open_stream(request).await?)
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, LinkError> {
        self.http.request(method, path, self.token.as_ref())
    }

    fn require_encryption(&self, what: &str) -> Result<(), LinkError> {
        if !self.http.is_plain() || self.options.insecure {
            return Ok(());
        }
        Err(LinkError::Settings {
            text: format!("{what} would be sent unencrypted to {}", self.http.server()),
            hint: format!("use https:// in {URL_VARIABLE}, or allow it with BAKERY_INSECURE=true"),
        })
    }
}

/// Whether a path is that of a context: nothing in it leads to another one, however a URL is normalised.
fn is_upload_path(path: &str) -> bool {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let id = path.strip_prefix(route::CONTEXTS).and_then(|rest| rest.strip_prefix('/'));
    let is_word = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric());
    id.is_some_and(|id| !id.is_empty() && is_word(id)) && query.split(['&', '=']).all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_23_8_an_upload_stays_in_the_store_of_contexts() {
        assert!(is_upload_path("/v1/contexts/0aF?sha256=0b&len=1") && is_upload_path("/v1/contexts/0a"));
        for path in [
            "/v1/contexts",
            "/v1/contexts/",
            "/v1/contexts/../../x",
            "/v1/contexts/%2e%2e/x",
            r"/v1/contexts/..\x",
            "/v1/contexts@host/x",
            "/v1/contexts/x\r\nX: y",
            "/v1/contexts/x?a=..%2f",
            "/v1/contexts/x#y",
            "//host/v1/contexts/x",
            "https://host/v1/contexts/x",
        ] {
            assert!(!is_upload_path(path), "{path}");
        }
    }

    #[test]
    fn a_token_is_not_sent_over_plain_http_unless_allowed() {
        let token = || Some(Secret::new("hunter2"));
        let insecure = Options { insecure: true };
        let refused = ServerApi::new("http://a.test", token(), Options::default()).unwrap_err();
        assert!(matches!(refused, LinkError::Settings { .. }) && !refused.to_string().contains("hunter2"));
        assert!(ServerApi::new("http://a.test", token(), insecure).is_ok());
        assert!(ServerApi::new("https://a.test", token(), Options::default()).is_ok());
        assert!(ServerApi::new("http://127.0.0.1:3000", token(), Options::default()).is_ok());
        assert!(ServerApi::new("http://a.test", None, Options::default()).is_ok());
    }
}
