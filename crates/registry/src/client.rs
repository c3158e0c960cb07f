//! One repository as one login sees it: manifests read, manifests written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bakery_core::image::{Digest, ImageRef};
use bakery_core::reason::Reason;
use bytes::Bytes;
use http::{Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::challenge::{self, Challenge};
use crate::guard::{Guard, canonical};
use crate::login::Login;
use crate::manifest::{Config, Document, MANIFEST_TYPES};
use crate::token::{Denied, Purpose, Tokens};
use crate::transport::{Answer, Asker, Request, Transport, Trouble};
use crate::{RegistryError, RegistrySettings};

/// Characters of a registry's own words that an error quotes.
const QUOTE: usize = 300;

/// What all repositories share.
#[derive(Debug)]
pub(crate) struct Shared {
    guard: Arc<Guard>,
    transport: Result<Transport, String>,
    tokens: Tokens,
    /// `https` or `http`, for the registries that may speak either.
    schemes: Mutex<HashMap<String, &'static str>>,
}

/// What is going to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actions {
    Pull,
    PullPush,
}

/// A repository.
#[derive(Debug)]
pub(crate) struct Repository<'a> {
    shared: &'a Shared,
    transport: &'a Transport,
    image: &'a ImageRef,
    login: &'a Login,
    purpose: Purpose,
    base: Url,
    /// From then on nothing is repeated.
    enough: CancellationToken,
}

impl Shared {
    pub(crate) fn new(settings: &RegistrySettings) -> Self {
        let guard = Arc::new(Guard::new(settings));
        let transport = Transport::new(Arc::clone(&guard), &settings.user_agent, settings.patience.request)
            .map_err(|error| error.to_string());
        Self { guard, transport, tokens: Tokens::default(), schemes: Mutex::default() }
    }

    /// The repository of `image`, where no request is repeated once it is `enough`. Finds out whether its registry
    /// speaks TLS, where both are allowed.
    pub(crate) async fn repository<'a>(
        &'a self,
        image: &'a ImageRef,
        actions: Actions,
        login: &'a Login,
        enough: CancellationToken,
    ) -> Result<Repository<'a>, RegistryError> {
        let transport = self.transport.as_ref().map_err(|error| RegistryError {
            reason: Reason::Internal,
            text: format!("no connection to any registry can be made: {error}"),
            hint: Some(
                "look at the CA certificates of this machine (SSL_CERT_FILE, SSL_CERT_DIR)".to_owned(),
            ),
        })?;
        let scope = match actions {
            Actions::Pull => format!("repository:{}:pull", image.repository),
            Actions::PullPush => format!("repository:{}:pull,push", image.repository),
        };
        let registry = canonical(&image.registry);
        let purpose = Purpose { registry, scope, login: login.mark() };
        let base = self.base(transport, image).await?;
        Ok(Repository { shared: self, transport, image, login, purpose, base, enough })
    }

    async fn base(&self, transport: &Transport, image: &ImageRef) -> Result<Url, RegistryError> {
        let url = |scheme| {
            Guard::base(&image.registry, scheme).ok_or_else(|| RegistryError {
                reason: Reason::PushRefused,
                text: format!("{image}: `{}` is no address", image.registry),
                hint: None,
            })
        };
        if !self.guard.plain_http(&image.registry) {
            return url("https");
        }
        let registry = canonical(&image.registry);
        let known = self.schemes.lock().unwrap_or_else(PoisonError::into_inner).get(&registry).copied();
        if let Some(scheme) = known {
            return url(scheme);
        }
        // TLS first: a registry that has it must not be sent a password in the clear.
        for scheme in ["https", "http"] {
            if transport.speaks(url(scheme)?).await {
                self.schemes.lock().unwrap_or_else(PoisonError::into_inner).insert(registry, scheme);
                return url(scheme);
            }
        }
        url("http")
    }
}

impl Repository<'_> {
    /// The manifest under a tag or digest; `None` where it is not there.
    pub(crate) async fn manifest(&self, reference: &str) -> Result<Option<Document>, RegistryError> {
        let what = format!("reading the manifest of {}", self.image);
        let answer =
            self.send(Method::GET, &["manifests", reference], Some(&MANIFEST_TYPES), None, &what).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.expect_success(&answer, &what)?;
        let document = Document::read(answer.header("content-type"), &answer.body)
            .map_err(|why| self.error(Reason::PushRefused, &what, &why, None))?;
        if reference.starts_with("sha256:") && document.digest.as_str() != reference {
            let why = format!("asked for {reference}, the registry sent {}", document.digest);
            return Err(self.error(Reason::PushRefused, &what, &why, None));
        }
        Ok(Some(document))
    }

    /// The digest under a tag or digest; `None` where nothing is there.
    pub(crate) async fn digest(&self, reference: &str) -> Result<Option<Digest>, RegistryError> {
        let what = format!("asking for the digest of {}", self.image);
        let answer =
            self.send(Method::HEAD, &["manifests", reference], Some(&MANIFEST_TYPES), None, &what).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.expect_success(&answer, &what)?;
        if let Some(digest) = answer.header("docker-content-digest").and_then(|text| text.parse().ok()) {
            return Ok(Some(digest));
        }
        // The header is optional; the bytes always tell.
        Ok(self.manifest(reference).await?.map(|document| document.digest))
    }

    /// The platform that the config of an image names.
    pub(crate) async fn config(&self, digest: &str) -> Result<Config, RegistryError> {
        let what = format!("reading the config of {}", self.image);
        let answer = self.send(Method::GET, &["blobs", digest], None, None, &what).await?;
        self.expect_success(&answer, &what)?;
        if Digest::of(&answer.body).as_str() != digest {
            return Err(self.error(Reason::PushRefused, &what, "the registry sent something else", None));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.error(Reason::PushRefused, &what, &format!("it is no config: {error}"), None)
        })
    }

    /// Writes a manifest under a tag.
    pub(crate) async fn put(&self, tag: &str, media_type: &str, bytes: Bytes) -> Result<(), RegistryError> {
        let what = format!("publishing {}", self.image);
        let digest = Digest::of(&bytes);
        let body = Some((media_type.to_owned(), bytes));
        let answer = self.send(Method::PUT, &["manifests", tag], None, body, &what).await?;
        self.expect_success(&answer, &what)?;
        match answer.header("docker-content-digest") {
            Some(theirs) if theirs != digest.as_str() => {
                let why = format!("{digest} was sent, the registry stored {theirs}");
                Err(self.error(Reason::PushRefused, &what, &why, None))
            }
            _ => Ok(()),
        }
    }

    /// An error about this repository. `what` was being done, `why` it did not work.
    pub(crate) fn error(&self, reason: Reason, what: &str, why: &str, hint: Option<String>) -> RegistryError {
        let text = format!("{what}: {why} (registry {}, {})", self.image.registry, self.login.whom());
        RegistryError { reason, text, hint }
    }

    /// Sends with the authorization that is at hand, and answers one challenge.
    async fn send(
        &self,
        method: Method,
        path: &[&str],
        accept: Option<&[&str]>,
        body: Option<(String, Bytes)>,
        what: &str,
    ) -> Result<Answer, RegistryError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(self.image.repository.split('/')).extend(path);
        }
        let accept = accept.map(|types| types.join(", "));
        let tokens = &self.shared.tokens;
        let asker = Asker { transport: self.transport, enough: &self.enough };
        let mut request = Request { method, url, accept, body, authorization: tokens.held(&self.purpose) };
        let first = asker.ask(&request).await.map_err(|trouble| self.trouble(what, &trouble))?;
        if first.status != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        // Either nothing was sent, or what was sent is used up: in both cases the challenge is answered once.
        let Some(challenge) = challenge::read(&first.headers) else {
            return Err(self.refused(what, &first, "it names no way to log in that is understood here"));
        };
        let answered = tokens.answer(asker, &self.shared.guard, &self.purpose, self.login, &challenge).await;
        request.authorization = Some(answered.map_err(|denied| self.denied(what, denied))?);
        let second = asker.ask(&request).await.map_err(|trouble| self.trouble(what, &trouble))?;
        if second.status != StatusCode::UNAUTHORIZED {
            return Ok(second);
        }
        let why = match (&challenge, challenge::read(&second.headers)) {
            (Challenge::Bearer { .. }, Some(Challenge::Bearer { error: Some(error), .. })) => {
                format!("it does not take the token that its token service issued ({error})")
            }
            (Challenge::Bearer { .. }, _) => {
                "it does not take the token that its token service issued".to_owned()
            }
            (Challenge::Basic, _) => "it does not take user and password".to_owned(),
        };
        Err(self.refused(what, &second, &why))
    }

    fn expect_success(&self, answer: &Answer, what: &str) -> Result<(), RegistryError> {
        let status = answer.status;
        if status.is_success() {
            return Ok(());
        }
        let said = self.said(answer);
        match status.as_u16() {
            401 | 403 => Err(self.refused(what, answer, "access is denied")),
            429 => {
                let hint = "try again later; with a login most registries allow more".to_owned();
                let why = format!("the registry asks to slow down{said}");
                Err(self.error(Reason::RegistryUnreachable, what, &why, Some(hint)))
            }
            500.. => {
                let hint = Some("the registry has trouble of its own: try again later".to_owned());
                Err(self.error(
                    Reason::RegistryUnreachable,
                    what,
                    &format!("the registry failed{said}"),
                    hint,
                ))
            }
            _ => Err(self.error(Reason::PushRefused, what, &format!("the registry refused{said}"), None)),
        }
    }

    fn refused(&self, what: &str, answer: &Answer, why: &str) -> RegistryError {
        let why = format!("{why}{}", self.said(answer));
        self.error(Reason::CredentialsRefused, what, &why, Some(self.login_hint()))
    }

    fn login_hint(&self) -> String {
        let (registry, repository) = (&self.image.registry, &self.image.repository);
        match self.login {
            Login::Anonymous => format!("give `kaniko-credentials` an entry for {registry}"),
            _ => format!(
                "check the login for {registry} in `kaniko-credentials`, and its rights on {repository}"
            ),
        }
    }

    fn denied(&self, what: &str, denied: Denied) -> RegistryError {
        match denied {
            Denied::Login(why) => self.error(Reason::CredentialsRefused, what, &why, Some(self.login_hint())),
            Denied::Realm(why) => {
                let hint = "an operator may name the registry in INSECURE_REGISTRIES".to_owned();
                self.error(Reason::CredentialsRefused, what, &why, Some(hint))
            }
            Denied::Unreachable(why) => self.error(Reason::RegistryUnreachable, what, &why, None),
        }
    }

    fn trouble(&self, what: &str, trouble: &Trouble) -> RegistryError {
        let (reason, hint) = match trouble {
            Trouble::Unreachable(_) => {
                let plain = self.base.scheme() == "http";
                let tls = "plain HTTP needs INSECURE_REGISTRIES on the server";
                let hint =
                    format!("check the registry's name and whether it runs{}", if plain { "" } else { "; " });
                (Reason::RegistryUnreachable, Some(if plain { hint } else { hint + tls }))
            }
            Trouble::Forbidden(forbidden) => (Reason::PushRefused, Some(forbidden.hint.to_owned())),
            Trouble::TooLarge | Trouble::Redirect(_) => (Reason::PushRefused, None),
        };
        self.error(reason, what, &trouble.to_string(), hint)
    }

    /// The status and the registry's own words, cut, in one line, without our secrets.
    fn said(&self, answer: &Answer) -> String {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<OneError>,
        }
        #[derive(Deserialize)]
        struct OneError {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let errors: Vec<OneError> =
            serde_json::from_slice::<Errors>(&answer.body).map(|body| body.errors).unwrap_or_default();
        let words: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", error.code, error.message)).collect();
        let line: String = self.login.mask(&words.join("; "));
        let line: String = line.chars().filter(|c| !c.is_control()).take(QUOTE).collect();
        let status = answer.status.as_u16();
        if line.is_empty() { format!(" ({status})") } else { format!(" ({status} {line})") }
    }
}
