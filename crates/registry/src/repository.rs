//! One repository, accessed with one login: reads and writes manifests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bakery_core::image::{Digest, ImageRef};
use bakery_core::message::Message;
use bakery_core::reason::Reason;
use bytes::Bytes;
use http::{Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::challenge::{self, Challenge};
use crate::guard::{Guard, Reach, canonical};
use crate::login::Login;
use crate::manifest::{ImagePlatform, MANIFEST_TYPES, Manifest};
use crate::token::{AuthError, RealmRules, TokenCache, TokenKey};
use crate::transport::{Request, Response, Retrying, Transport, TransportError};
use crate::{RegistryError, RegistrySettings};

/// Characters of a registry's own error message that ours quotes at most.
const QUOTE: usize = 300;

/// What all repositories of one client share.
#[derive(Debug)]
pub(crate) struct ClientState {
    guard: Arc<Guard>,
    transport: Result<Transport, String>,
    tokens: TokenCache,
    /// `https` or `http`, for the registries to which plain HTTP is allowed.
    schemes: Mutex<HashMap<String, &'static str>>,
}

/// What a token must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    PullPush,
}

/// One repository.
#[derive(Debug)]
pub(crate) struct Repository<'a> {
    state: &'a ClientState,
    transport: &'a Transport,
    image: &'a ImageRef,
    login: &'a Login,
    token_key: TokenKey,
    base: Url,
    /// Cancelled once no request may be retried.
    no_retry: CancellationToken,
}

impl ClientState {
    pub(crate) fn new(settings: &RegistrySettings) -> Self {
        let guard = Arc::new(Guard::new(settings));
        let transport = Transport::new(Arc::clone(&guard), &settings.user_agent, settings.timeouts.request)
            .map_err(|error| error.to_string());
        Self { guard, transport, tokens: TokenCache::default(), schemes: Mutex::default() }
    }

    /// The repository of `image`. No request is retried once `no_retry` is cancelled. Detects whether the registry
    /// uses TLS, where plain HTTP is allowed too.
    pub(crate) async fn repository<'a>(
        &'a self,
        image: &'a ImageRef,
        access: Access,
        login: &'a Login,
        no_retry: CancellationToken,
    ) -> Result<Repository<'a>, RegistryError> {
        let transport = self.transport.as_ref().map_err(|error| RegistryError {
            reason: Reason::Internal,
            text: format!("the HTTP client for registries cannot be created: {error}"),
            hint: Some("check the CA certificates of this machine (SSL_CERT_FILE, SSL_CERT_DIR)".to_owned()),
        })?;
        let scope = match access {
            Access::Pull => format!("repository:{}:pull", image.repository),
            Access::PullPush => format!("repository:{}:pull,push", image.repository),
        };
        let registry = canonical(&image.registry);
        let token_key = TokenKey { registry, scope, login: login.fingerprint() };
        let base = self.base(transport, image).await?;
        Ok(Repository { state: self, transport, image, login, token_key, base, no_retry })
    }

    async fn base(&self, transport: &Transport, image: &ImageRef) -> Result<Url, RegistryError> {
        let url = |scheme| {
            Guard::base(&image.registry, scheme).ok_or_else(|| RegistryError {
                reason: Reason::PushRefused,
                text: format!("{image}: `{}` is not a valid registry address", image.registry),
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
            if transport.answers(url(scheme)?).await {
                self.schemes.lock().unwrap_or_else(PoisonError::into_inner).insert(registry, scheme);
                return url(scheme);
            }
        }
        url("http")
    }
}

impl Repository<'_> {
    /// The manifest under a tag or digest; `None` where there is none.
    pub(crate) async fn manifest(&self, reference: &str) -> Result<Option<Manifest>, RegistryError> {
        let action = format!("reading the manifest of {}", self.image);
        let response =
            self.send(Method::GET, &["manifests", reference], Some(&MANIFEST_TYPES), None, &action).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.expect_success(&response, &action)?;
        let manifest = Manifest::read(response.header("content-type"), &response.body)
            .map_err(|detail| self.error(Reason::PushRefused, &action, &detail, None))?;
        if reference.starts_with("sha256:") && manifest.digest.as_str() != reference {
            let detail = format!("requested {reference}, received {}", manifest.digest);
            return Err(self.error(Reason::PushRefused, &action, &detail, None));
        }
        Ok(Some(manifest))
    }

    /// The digest under a tag or digest; `None` where there is none.
    pub(crate) async fn digest(&self, reference: &str) -> Result<Option<Digest>, RegistryError> {
        let action = format!("reading the digest of {}", self.image);
        let response =
            self.send(Method::HEAD, &["manifests", reference], Some(&MANIFEST_TYPES), None, &action).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.expect_success(&response, &action)?;
        if let Some(digest) = response.header("docker-content-digest").and_then(|text| text.parse().ok()) {
            return Ok(Some(digest));
        }
        // The header is optional; the digest of the bytes is not.
        Ok(self.manifest(reference).await?.map(|manifest| manifest.digest))
    }

    /// Whether the registry has asked for a token, and got one.
    pub(crate) fn has_token(&self) -> bool {
        self.state.tokens.held(&self.token_key).is_some()
    }

    /// The platform that the config of an image names.
    pub(crate) async fn config(&self, digest: &str) -> Result<ImagePlatform, RegistryError> {
        let action = format!("reading the config of {}", self.image);
        let response = self.send(Method::GET, &["blobs", digest], None, None, &action).await?;
        self.expect_success(&response, &action)?;
        if Digest::of(&response.body).as_str() != digest {
            return Err(self.error(
                Reason::PushRefused,
                &action,
                "the registry sent a blob with another digest",
                None,
            ));
        }
        serde_json::from_slice(&response.body).map_err(|error| {
            self.error(Reason::PushRefused, &action, &format!("not a valid image config: {error}"), None)
        })
    }

    /// Writes a manifest under a tag.
    pub(crate) async fn put(&self, tag: &str, media_type: &str, bytes: Bytes) -> Result<(), RegistryError> {
        let action = format!("publishing {}", self.image);
        let digest = Digest::of(&bytes);
        let body = Some((media_type.to_owned(), bytes));
        let response = self.send(Method::PUT, &["manifests", tag], None, body, &action).await?;
        self.expect_success(&response, &action)?;
        match response.header("docker-content-digest") {
            Some(theirs) if theirs != digest.as_str() => {
                let detail = format!("sent {digest}, the registry stored {theirs}");
                Err(self.error(Reason::PushRefused, &action, &detail, None))
            }
            _ => Ok(()),
        }
    }

    /// An error about this repository: `ACTION: DETAIL (registry, login)`.
    pub(crate) fn error(
        &self,
        reason: Reason,
        action: &str,
        detail: &str,
        hint: Option<String>,
    ) -> RegistryError {
        let text =
            format!("{action}: {detail} (registry {}, {})", self.image.registry, self.login.describe());
        RegistryError { reason, text, hint }
    }

    /// Sends a request with the cached authorization, and answers one challenge.
    async fn send(
        &self,
        method: Method,
        path: &[&str],
        accept: Option<&[&str]>,
        body: Option<(String, Bytes)>,
        action: &str,
    ) -> Result<Response, RegistryError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(self.image.repository.split('/')).extend(path);
        }
        let accept = accept.map(|types| types.join(", "));
        let tokens = &self.state.tokens;
        let transport = Retrying { transport: self.transport, no_retry: &self.no_retry };
        let authorization = tokens.held(&self.token_key);
        let mut request =
            Request { method, accept, body, authorization, ..Request::get(url, Reach::Registry) };
        let first = transport.send(&request).await.map_err(|error| self.transport_error(action, &error))?;
        if first.status != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        // Either no token was sent or the one that was sent has expired: both are answered once.
        let Some(challenge) = challenge::read(&first.headers) else {
            return Err(self.refused(action, &first, "the registry offers no supported way to log in"));
        };
        let rules = RealmRules {
            guard: &self.state.guard,
            plain: self.base.scheme() == "http",
            reach: Reach::beyond(first.peer),
        };
        let answered = tokens.authorize(transport, rules, &self.token_key, self.login, &challenge).await;
        request.authorization = Some(answered.map_err(|error| self.auth_error(action, error))?);
        let second = transport.send(&request).await.map_err(|error| self.transport_error(action, &error))?;
        if second.status != StatusCode::UNAUTHORIZED {
            return Ok(second);
        }
        let detail = match (&challenge, challenge::read(&second.headers)) {
            (Challenge::Bearer { .. }, Some(Challenge::Bearer { error: Some(error), .. })) => {
                format!("the registry rejected the token of its token service ({error})")
            }
            (Challenge::Bearer { .. }, _) => {
                "the registry rejected the token of its token service".to_owned()
            }
            (Challenge::Basic, _) => "the registry rejected user name and password".to_owned(),
        };
        Err(self.refused(action, &second, &detail))
    }

    fn expect_success(&self, response: &Response, action: &str) -> Result<(), RegistryError> {
        let status = response.status;
        if status.is_success() {
            return Ok(());
        }
        let quote = self.quote(response);
        match status.as_u16() {
            401 | 403 => Err(self.refused(action, response, "access denied")),
            429 => {
                let hint = "try again later; most registries allow more requests with a login".to_owned();
                let detail = format!("too many requests{quote}");
                Err(self.error(Reason::RegistryUnreachable, action, &detail, Some(hint)))
            }
            500.. => {
                let hint = Some("try again later: this is a problem of the registry".to_owned());
                Err(self.error(
                    Reason::RegistryUnreachable,
                    action,
                    &format!("the registry failed{quote}"),
                    hint,
                ))
            }
            _ => Err(self.error(
                Reason::PushRefused,
                action,
                &format!("the registry refused the request{quote}"),
                None,
            )),
        }
    }

    fn refused(&self, action: &str, response: &Response, detail: &str) -> RegistryError {
        let detail = format!("{detail}{}", self.quote(response));
        self.error(Reason::CredentialsRefused, action, &detail, Some(self.login_hint()))
    }

    fn login_hint(&self) -> String {
        let (registry, repository) = (&self.image.registry, &self.image.repository);
        match self.login {
            Login::Anonymous => format!("add an entry for {registry} to `kaniko-credentials`"),
            _ => format!(
                "check the login for {registry} in `kaniko-credentials`, and its rights on {repository}"
            ),
        }
    }

    fn auth_error(&self, action: &str, error: AuthError) -> RegistryError {
        match error {
            AuthError::Login(detail) => {
                self.error(Reason::CredentialsRefused, action, &detail, Some(self.login_hint()))
            }
            AuthError::Realm(Message { text, hint }) => {
                self.error(Reason::CredentialsRefused, action, &text, hint)
            }
            AuthError::Unreachable(detail) => self.error(Reason::RegistryUnreachable, action, &detail, None),
        }
    }

    fn transport_error(&self, action: &str, error: &TransportError) -> RegistryError {
        let (reason, hint) = match error {
            TransportError::Unreachable(_) => {
                let plain = self.base.scheme() == "http";
                let hint = "check the registry's name and that it is running";
                let tls = "if it uses plain HTTP, add it to INSECURE_REGISTRIES of the server";
                let hint = if plain { hint.to_owned() } else { format!("{hint}; {tls}") };
                (Reason::RegistryUnreachable, Some(hint))
            }
            TransportError::Forbidden(forbidden) => (Reason::PushRefused, Some(forbidden.hint.to_owned())),
            TransportError::TooLarge | TransportError::Redirect(_) => (Reason::PushRefused, None),
        };
        self.error(reason, action, &error.to_string(), hint)
    }

    /// The status and the registry's own error message: one line, truncated, without our secrets.
    fn quote(&self, response: &Response) -> String {
        #[derive(Deserialize)]
        struct ErrorBody {
            errors: Vec<ErrorEntry>,
        }
        #[derive(Deserialize)]
        struct ErrorEntry {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let errors: Vec<ErrorEntry> =
            serde_json::from_slice::<ErrorBody>(&response.body).map(|body| body.errors).unwrap_or_default();
        let messages: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", error.code, error.message)).collect();
        let line: String = self.login.mask(&messages.join("; "));
        let line: String = line.chars().filter(|c| !c.is_control()).take(QUOTE).collect();
        let status = response.status.as_u16();
        if line.is_empty() { format!(" ({status})") } else { format!(" ({status} {line})") }
    }
}
