//! The clients' calls.

use bakery_core::names::BuildId;
use bakery_core::secret::{Secret, name_suggests_secret};
use bakery_core::spec::BuildSpec;
use bakery_core::wire::build::{BuildList, BuildView, Info, SubmitBuild, Submitted};
use bakery_core::wire::context::{ContextAnswer, ContextOffer};
use bakery_core::wire::log::Cursor;
use bakery_core::wire::route;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use crate::door::Door;
use crate::{LinkError, LogStream};

/// Bytes of a context that are read from disk at a time.
const PIECE: usize = 256 << 10;

/// What a client may set beyond address and token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Credentials may travel over plain HTTP to another machine (`BAKERY_INSECURE`).
    pub insecure: bool,
}

/// A server, as its clients see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Controller {
    door: Door,
    token: Option<Secret>,
    options: Options,
}

impl Controller {
    /// Takes the server's URL and the operator token. Refuses to send a token over plain HTTP to another machine
    /// unless `options.insecure` says so. Nothing is sent yet.
    pub fn new(url: &str, token: Option<Secret>, options: Options) -> Result<Self, LinkError> {
        let controller = Self { door: Door::new(url)?, token, options };
        if controller.token.is_some() {
            controller.keep_private("the operator token")?;
        }
        Ok(controller)
    }

    /// The URL, as it may be shown.
    pub fn url(&self) -> &str {
        self.door.base()
    }

    /// Asks whether the server knows a context, and where to put it otherwise.
    pub async fn offer_context(&self, offer: &ContextOffer) -> Result<ContextAnswer, LinkError> {
        let request = self.request(Method::POST, route::CONTEXTS)?;
        self.door.json(request.json(offer)).await
    }

    /// Sends a context's blob of exactly `len` bytes to the path that [`ContextAnswer::Upload`] named. `sent` hears how
    /// many bytes have been taken from the file so far.
    pub async fn put_context(
        &self,
        path: &str,
        file: File,
        len: u64,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<(), LinkError> {
        // The path is the server's own word, but the token goes with it: it must stay on this server.
        if !path.starts_with(route::CONTEXTS) {
            return Err(LinkError::foreign(self.url(), "names an upload path outside of its contexts"));
        }
        let request = self
            .request(Method::PUT, path)?
            .header(CONTENT_TYPE, "application/gzip")
            .header(CONTENT_LENGTH, len);
        let mut total = 0;
        let body = futures_util::StreamExt::inspect(ReaderStream::with_capacity(file, PIECE), move |piece| {
            total += piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
            sent(total);
        });
        self.door.stream(request, body).await.map(drop)
    }

    /// Whether a spec may travel to this server: credentials in it are private like the token.
    pub fn may_carry(&self, spec: &BuildSpec) -> Result<(), LinkError> {
        let mut tasks = spec.services.iter().flat_map(|service| &service.tasks);
        let secret = tasks.any(|task| {
            !task.credentials.is_empty() || task.env.keys().any(|name| name_suggests_secret(name))
        });
        if secret { self.keep_private("the build's credentials") } else { Ok(()) }
    }

    /// Submits a build that [`Self::may_carry`] lets through. The same idempotency key again gives the same build again,
    /// so a lost answer can be asked for again.
    pub async fn submit(&self, build: &SubmitBuild) -> Result<Submitted, LinkError> {
        self.may_carry(&build.spec)?;
        let request = self.request(Method::POST, route::BUILDS)?;
        self.door.json(request.json(build)).await
    }

    /// The newest builds.
    pub async fn list(&self) -> Result<BuildList, LinkError> {
        self.door.json(self.request(Method::GET, route::BUILDS)?).await
    }

    /// One build.
    pub async fn view(&self, id: BuildId) -> Result<BuildView, LinkError> {
        self.door.json(self.request(Method::GET, &route::build(id))?).await
    }

    /// Asks that a build be cancelled, and gives it as it stands then. Its log says when that is done.
    pub async fn cancel(&self, id: BuildId) -> Result<BuildView, LinkError> {
        self.door.json(self.request(Method::DELETE, &route::build(id))?).await
    }

    /// Versions, platforms and architectures.
    pub async fn info(&self) -> Result<Info, LinkError> {
        self.door.json(self.request(Method::GET, route::INFO)?).await
    }

    /// The log from a cursor on; with `follow` it goes on as the build does.
    pub async fn logs(&self, id: BuildId, from: Cursor, follow: bool) -> Result<LogStream, LinkError> {
        let request = self.request(Method::GET, &route::build_logs(id, from, follow))?;
        LogStream::new(self.door.clone(), self.door.open(request).await?)
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, LinkError> {
        self.door.request(method, path, self.token.as_ref())
    }

    fn keep_private(&self, what: &str) -> Result<(), LinkError> {
        if !self.door.is_plain() || self.options.insecure {
            return Ok(());
        }
        Err(LinkError::Settings {
            text: format!("{what} would travel unprotected to {}", self.url()),
            hint: "use https:// in CONTROLLER_URL, or accept it with BAKERY_INSECURE=true".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stays_off_plain_http_unless_told_otherwise() {
        let token = || Some(Secret::new("hunter2"));
        let insecure = Options { insecure: true };
        let refused = Controller::new("http://a.test", token(), Options::default()).unwrap_err();
        assert!(matches!(refused, LinkError::Settings { .. }) && !refused.to_string().contains("hunter2"));
        assert!(Controller::new("http://a.test", token(), insecure).is_ok());
        assert!(Controller::new("https://a.test", token(), Options::default()).is_ok());
        assert!(Controller::new("http://127.0.0.1:3000", token(), Options::default()).is_ok());
        assert!(Controller::new("http://a.test", None, Options::default()).is_ok());
    }
}
