//! Authorization: answers a registry's challenge, and caches the tokens of its token service.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bakery_core::image::Digest;
use bakery_core::message::Message;
use bakery_core::secret::Secret;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;

use crate::challenge::Challenge;
use crate::guard::{ForbiddenAddress, Guard, Reach};
use crate::login::Login;
use crate::transport::{Request, Response, Retrying, TransportError, authority};

/// How long a token is valid when its issuer does not say (the distribution project's rule).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// Tokens cached at most; at this number the cache is emptied.
const CACHED: usize = 1024;
const CLIENT: &str = "bakery";

/// One login's access to one repository: a token is never used for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub(crate) registry: String,
    /// `repository:NAME:pull` or `repository:NAME:pull,push`.
    pub(crate) scope: String,
    pub(crate) login: Digest,
}

/// Why a challenge could not be answered.
#[derive(Debug)]
pub(crate) enum AuthError {
    /// The registry requires a login and none was given, or the issuer rejected it.
    Login(String),
    /// The registry names an issuer that is not allowed: why, and what to do.
    Realm(Message),
    /// The issuer did not respond.
    Unreachable(String),
}

/// What a registry's token service may be, by how the registry itself was reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealmRules<'a> {
    pub(crate) guard: &'a Guard,
    /// The registry uses plain HTTP: so may its token service.
    pub(crate) plain: bool,
    pub(crate) reach: Reach,
}

/// The token cache.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    held: Mutex<HashMap<TokenKey, (HeaderValue, Option<Instant>)>>,
}

#[derive(Deserialize)]
struct TokenResponse {
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    access_token: Option<Secret>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl TokenCache {
    /// The cached authorization, where it has not expired.
    pub(crate) fn held(&self, key: &TokenKey) -> Option<HeaderValue> {
        let held = self.lock();
        let (header, until) = held.get(key)?;
        until.is_none_or(|until| Instant::now() < until).then(|| header.clone())
    }

    /// Answers a challenge: the header `Authorization` for the next request, which is cached while it is valid.
    pub(crate) async fn authorize(
        &self,
        transport: Retrying<'_>,
        rules: RealmRules<'_>,
        key: &TokenKey,
        login: &Login,
        challenge: &Challenge,
    ) -> Result<HeaderValue, AuthError> {
        self.lock().remove(key);
        let (text, until) = match challenge {
            Challenge::Basic => {
                let basic = login.basic().ok_or_else(|| {
                    AuthError::Login("the registry requires user name and password".to_owned())
                })?;
                (format!("Basic {}", basic.expose()), None)
            }
            Challenge::Bearer { realm, service, scope, .. } => {
                let realm = check_realm(rules, realm, &key.registry)?;
                let scopes = scopes(&key.scope, scope.as_deref());
                let issued = request_token(
                    transport,
                    Request::of_token(realm, rules.reach),
                    service.as_deref(),
                    &scopes,
                    login,
                )
                .await?;
                let life = issued.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
                let slack = (life / 5).min(Duration::from_secs(10));
                let token = issued.token.or(issued.access_token).filter(|token| !token.expose().is_empty());
                let token = token
                    .ok_or_else(|| AuthError::Login("the token service returned no token".to_owned()))?;
                (format!("Bearer {}", token.expose()), Instant::now().checked_add(life.saturating_sub(slack)))
            }
        };
        let mut header = HeaderValue::try_from(text).map_err(|_| {
            AuthError::Login("the token service returned a token that is not a valid header value".to_owned())
        })?;
        header.set_sensitive(true);
        let mut held = self.lock();
        if held.len() >= CACHED {
            held.clear();
        }
        held.insert(key.clone(), (header.clone(), until));
        Ok(header)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenKey, (HeaderValue, Option<Instant>)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The URL of the token service. It is asked, and sent a login, only if it is on the registry's own site or the operator
/// named it, and over https unless the registry itself uses plain HTTP.
fn check_realm(rules: RealmRules<'_>, realm: &str, registry: &str) -> Result<Url, AuthError> {
    let url = Url::parse(realm)
        .map_err(|_| AuthError::Realm("the registry names a token service with an invalid URL".into()))?;
    let host = authority(&url);
    if url.scheme() != "https" && !(url.scheme() == "http" && rules.plain) {
        let text = format!("the token service {host} does not use https");
        let hint = "ask the operator to add the registry to INSECURE_REGISTRIES";
        return Err(AuthError::Realm(Message::new(text).with_hint(hint)));
    }
    if !rules.guard.may_name(registry, &url) {
        let text = format!("the registry names a token service on another site, {host}: it was not asked");
        let hint = format!(
            "if {host} issues the tokens of this registry, ask the operator to add it to REGISTRY_TRUSTED_HOSTS"
        );
        return Err(AuthError::Realm(Message::new(text).with_hint(hint)));
    }
    rules.guard.check(&url, rules.reach).map_err(|forbidden| AuthError::Realm(not_allowed(&forbidden)))?;
    Ok(url)
}

fn not_allowed(forbidden: &ForbiddenAddress) -> Message {
    Message::new(format!("the token service is not allowed: {forbidden}")).with_hint(forbidden.hint)
}

/// Our own scope, and those of the registry's scopes that are for other resources.
fn scopes(ours: &str, theirs: Option<&str>) -> Vec<String> {
    let resource = ours.rsplit_once(':').map_or(ours, |(resource, _)| resource);
    let other = |scope: &&str| scope.rsplit_once(':').map_or(*scope, |(resource, _)| resource) != resource;
    let theirs = theirs.into_iter().flat_map(str::split_whitespace).filter(other).map(str::to_owned);
    std::iter::once(ours.to_owned()).chain(theirs).collect()
}

async fn request_token(
    transport: Retrying<'_>,
    realm: Request,
    service: Option<&str>,
    scopes: &[String],
    login: &Login,
) -> Result<TokenResponse, AuthError> {
    let response = match login {
        Login::Identity(token) => {
            let grant = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
            post(transport, realm, service, scopes, &grant).await
        }
        Login::Anonymous | Login::Password { .. } => {
            let got = get(transport, realm.clone(), service, scopes, login).await;
            match (got, login) {
                // Issuers that support only the OAuth 2 flow have no GET.
                (Ok(response), Login::Password { username, password })
                    if matches!(response.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) =>
                {
                    let user = ("username", username.as_str());
                    let grant = [("grant_type", "password"), user, ("password", password.expose())];
                    post(transport, realm, service, scopes, &grant).await
                }
                (got, _) => got,
            }
        }
    };
    let response = response.map_err(|error| match error {
        TransportError::Unreachable(text) => {
            AuthError::Unreachable(format!("the token service does not respond: {text}"))
        }
        TransportError::Forbidden(forbidden) => AuthError::Realm(not_allowed(&forbidden)),
        other => AuthError::Realm(format!("the token service: {other}").into()),
    })?;
    match response.status.as_u16() {
        200..=299 => serde_json::from_slice(&response.body)
            .map_err(|_| AuthError::Login("the token service returned an invalid response".to_owned())),
        429 | 500.. => {
            Err(AuthError::Unreachable(format!("the token service returned {}", response.status.as_u16())))
        }
        status => Err(AuthError::Login(format!("the token service returned {status}"))),
    }
}

async fn get(
    transport: Retrying<'_>,
    mut realm: Request,
    service: Option<&str>,
    scopes: &[String],
    login: &Login,
) -> Result<Response, TransportError> {
    {
        let mut query = realm.url.query_pairs_mut();
        query.append_pair("client_id", CLIENT);
        service.map(|service| query.append_pair("service", service));
        for scope in scopes {
            query.append_pair("scope", scope);
        }
        if let Login::Password { username, .. } = login {
            query.append_pair("account", username);
        }
    }
    let authorization = login.basic().and_then(|basic| {
        let mut header = HeaderValue::try_from(format!("Basic {}", basic.expose())).ok()?;
        header.set_sensitive(true);
        Some(header)
    });
    transport.send(&Request { authorization, ..realm }).await
}

async fn post(
    transport: Retrying<'_>,
    realm: Request,
    service: Option<&str>,
    scopes: &[String],
    grant: &[(&str, &str)],
) -> Result<Response, TransportError> {
    // A URL's query has the encoding of a form; the pairs are sent in the body.
    let mut form = realm.url.clone();
    form.set_query(None);
    form.query_pairs_mut()
        .extend_pairs(grant)
        .append_pair("client_id", CLIENT)
        .append_pair("scope", &scopes.join(" "))
        .extend_pairs(service.map(|service| ("service", service)));
    let body = Bytes::from(form.query().unwrap_or_default().to_owned());
    let content = ("application/x-www-form-urlencoded".to_owned(), body);
    transport.send(&Request { method: Method::POST, body: Some(content), ..realm }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_own_scope_is_asked_for_only_where_it_differs() {
        let ours = "repository:a/b:pull,push";
        assert_eq!(scopes(ours, None), [ours]);
        assert_eq!(scopes(ours, Some("repository:a/b:pull")), [ours]);
        assert_eq!(
            scopes(ours, Some("repository:a/b:pull registry:catalog:*")),
            [ours, "registry:catalog:*"]
        );
    }
}
