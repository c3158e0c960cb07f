//! Tokens: where they come from, and for how long they are kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bakery_core::image::Digest;
use bakery_core::secret::Secret;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;

use crate::challenge::Challenge;
use crate::guard::Guard;
use crate::login::Login;
use crate::transport::{Answer, Asker, Request, Trouble};

/// What a token is good for when its issuer does not say (the distribution project's rule).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// Tokens kept at most; beyond it the cache starts anew.
const KEPT: usize = 1024;
const CLIENT: &str = "bakery";

/// What is asked of one repository by one login: tokens are never shared across these.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Purpose {
    pub(crate) registry: String,
    /// `repository:NAME:pull` or `repository:NAME:pull,push`.
    pub(crate) scope: String,
    pub(crate) login: Digest,
}

/// Why there is no authorization.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The registry wants a login and none was given, or the issuer does not take it.
    Login(String),
    /// The registry names an issuer that is not asked.
    Realm(String),
    /// The issuer did not answer.
    Unreachable(String),
}

/// The token cache.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    held: Mutex<HashMap<Purpose, (HeaderValue, Option<Instant>)>>,
}

#[derive(Deserialize)]
struct Issued {
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    access_token: Option<Secret>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    /// The authorization that was last good for this purpose.
    pub(crate) fn held(&self, purpose: &Purpose) -> Option<HeaderValue> {
        let held = self.lock();
        let (header, until) = held.get(purpose)?;
        until.is_none_or(|until| Instant::now() < until).then(|| header.clone())
    }

    /// Answers a challenge, and keeps the answer for its time.
    pub(crate) async fn answer(
        &self,
        asker: Asker<'_>,
        guard: &Guard,
        purpose: &Purpose,
        login: &Login,
        challenge: &Challenge,
    ) -> Result<HeaderValue, Denied> {
        self.lock().remove(purpose);
        let (text, until) = match challenge {
            Challenge::Basic => {
                let basic =
                    login.basic().ok_or_else(|| Denied::Login("it asks for user and password".to_owned()))?;
                (format!("Basic {}", basic.expose()), None)
            }
            Challenge::Bearer { realm, service, scope, .. } => {
                let realm = check_realm(guard, realm, &purpose.registry)?;
                let scopes = scopes(&purpose.scope, scope.as_deref());
                let issued = ask(asker, realm, service.as_deref(), &scopes, login).await?;
                let life = issued.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
                let slack = (life / 5).min(Duration::from_secs(10));
                let token = issued.token.or(issued.access_token).filter(|token| !token.expose().is_empty());
                let token =
                    token.ok_or_else(|| Denied::Login("the token service issued no token".to_owned()))?;
                (format!("Bearer {}", token.expose()), Instant::now().checked_add(life.saturating_sub(slack)))
            }
        };
        let mut header = HeaderValue::try_from(text)
            .map_err(|_| Denied::Login("the token service issued what no header can hold".to_owned()))?;
        header.set_sensitive(true);
        let mut held = self.lock();
        if held.len() >= KEPT {
            held.clear();
        }
        held.insert(purpose.clone(), (header.clone(), until));
        Ok(header)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Purpose, (HeaderValue, Option<Instant>)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A login goes to its registry's issuer under https only, unless the registry itself is spoken to over plain HTTP.
fn check_realm(guard: &Guard, realm: &str, registry: &str) -> Result<Url, Denied> {
    let url =
        Url::parse(realm).map_err(|_| Denied::Realm("it names a token service that is no URL".to_owned()))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let plain = url.scheme() == "http" && guard.plain_http(registry);
    if url.scheme() != "https" && !plain {
        return Err(Denied::Realm(format!("it names the token service {host}, which is not under https")));
    }
    guard.check(&url).map_err(|forbidden| Denied::Realm(format!("it names a token service: {forbidden}")))?;
    Ok(url)
}

/// Our own scope, and the registry's where it speaks of something else.
fn scopes(ours: &str, theirs: Option<&str>) -> Vec<String> {
    let resource = ours.rsplit_once(':').map_or(ours, |(resource, _)| resource);
    let other = |scope: &&str| scope.rsplit_once(':').map_or(*scope, |(resource, _)| resource) != resource;
    let theirs = theirs.into_iter().flat_map(str::split_whitespace).filter(other).map(str::to_owned);
    std::iter::once(ours.to_owned()).chain(theirs).collect()
}

async fn ask(
    asker: Asker<'_>,
    realm: Url,
    service: Option<&str>,
    scopes: &[String],
    login: &Login,
) -> Result<Issued, Denied> {
    let answer = match login {
        Login::Identity(token) => {
            let grant = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
            post(asker, realm, service, scopes, &grant).await
        }
        Login::Anonymous | Login::Password { .. } => {
            let got = get(asker, realm.clone(), service, scopes, login).await;
            match (got, login) {
                // Issuers that know the OAuth 2 flow alone have no GET.
                (Ok(answer), Login::Password { username, password })
                    if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) =>
                {
                    let user = ("username", username.as_str());
                    let grant = [("grant_type", "password"), user, ("password", password.expose())];
                    post(asker, realm, service, scopes, &grant).await
                }
                (got, _) => got,
            }
        }
    };
    let answer = answer.map_err(|trouble| match trouble {
        Trouble::Unreachable(text) => {
            Denied::Unreachable(format!("its token service does not answer: {text}"))
        }
        other => Denied::Realm(format!("its token service: {other}")),
    })?;
    match answer.status.as_u16() {
        200..=299 => serde_json::from_slice(&answer.body)
            .map_err(|_| Denied::Login("the token service's answer is no token".to_owned())),
        429 | 500.. => {
            Err(Denied::Unreachable(format!("its token service answers {}", answer.status.as_u16())))
        }
        status => Err(Denied::Login(format!("its token service answers {status}"))),
    }
}

async fn get(
    asker: Asker<'_>,
    mut realm: Url,
    service: Option<&str>,
    scopes: &[String],
    login: &Login,
) -> Result<Answer, Trouble> {
    {
        let mut query = realm.query_pairs_mut();
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
    asker.ask(&Request { authorization, ..Request::get(realm) }).await
}

async fn post(
    asker: Asker<'_>,
    realm: Url,
    service: Option<&str>,
    scopes: &[String],
    grant: &[(&str, &str)],
) -> Result<Answer, Trouble> {
    // A URL's query is the form encoding; the pairs go into the body.
    let mut form = realm.clone();
    form.set_query(None);
    form.query_pairs_mut()
        .extend_pairs(grant)
        .append_pair("client_id", CLIENT)
        .append_pair("scope", &scopes.join(" "))
        .extend_pairs(service.map(|service| ("service", service)));
    let body = Bytes::from(form.query().unwrap_or_default().to_owned());
    let content = ("application/x-www-form-urlencoded".to_owned(), body);
    asker.ask(&Request { method: Method::POST, body: Some(content), ..Request::get(realm) }).await
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
