//! Authentication: clients by the operator's token, agents by their run's own.

use axum::extract::FromRequestParts;
use bakery_core::secret::Secret;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::AppState;
use super::connections::ConnectionHandle;
use super::problem::{ProblemKind, ProblemResponse};

/// The owner of every build, as long as a server has one token: the operator, whichever token is in use.
const OPERATOR: &str = "local";

/// Checks the token of clients. Keeps the token's hash, not the token.
pub(super) struct TokenCheck {
    hash: Option<[u8; 32]>,
}

impl TokenCheck {
    /// A check for this token; `None` = every request is accepted.
    pub(super) fn new(token: Option<&Secret>) -> Self {
        Self { hash: token.map(hash) }
    }

    fn accepts(&self, bearer: Option<&Secret>) -> bool {
        match (&self.hash, bearer) {
            (None, _) => true,
            (Some(_), None) => false,
            // Hashes have one length, and do not preserve the token's order: comparing them reveals nothing.
            (Some(ours), Some(theirs)) => ours.ct_eq(&hash(theirs)).into(),
        }
    }
}

/// The owner whose builds an authenticated client sees. Every handler of a client's route takes one.
pub(super) struct Owner(pub(super) &'static str);

impl FromRequestParts<AppState> for Owner {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ProblemResponse> {
        let bearer = bearer(parts);
        let connection = parts.extensions.get::<ConnectionHandle>();
        if app.token_check.accepts(bearer.as_ref()) {
            connection.inspect(|connection| connection.trust());
            return Ok(Self(OPERATOR));
        }
        let problem = |detail| {
            ProblemResponse::new(ProblemKind::Unauthorized, detail)
                .hint("set BAKERY_TOKEN to the value that the server has")
        };
        if bearer.is_none() {
            app.wrong_tokens.missing();
            return Err(problem("the request has no token"));
        }
        app.wrong_tokens.wrong(connection).await;
        Err(problem("the token is not valid for this server"))
    }
}

/// An agent's bearer token, not checked yet.
pub(super) struct Bearer {
    pub(super) token: Secret,
    connection: Option<ConnectionHandle>,
}

impl Bearer {
    /// The token was checked and is the run's.
    pub(super) fn trust(&self) {
        self.connection.as_ref().inspect(|connection| connection.trust());
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemResponse> {
        let connection = parts.extensions.get::<ConnectionHandle>().cloned();
        bearer(parts).map(|token| Self { token, connection }).ok_or_else(|| {
            ProblemResponse::new(
                ProblemKind::Unauthorized,
                "an agent's request needs its run's token as bearer token",
            )
        })
    }
}

/// The bearer token; `None` where there is none, or more than one.
fn bearer(parts: &Parts) -> Option<Secret> {
    let mut values = parts.headers.get_all(AUTHORIZATION).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let value = value.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Secret::new(token))
}

fn hash(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.expose().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_accepted() {
        let check = TokenCheck::new(Some(&Secret::new("flour")));
        let accepts = |token: &str| check.accepts(Some(&Secret::new(token)));
        assert!(accepts("flour") && !accepts("flou") && !accepts("flour2") && !accepts("FLOUR"));
        assert!(!check.accepts(None));
    }

    #[test]
    fn without_a_token_every_request_is_accepted() {
        let check = TokenCheck::new(None);
        assert!(check.accepts(None) && check.accepts(Some(&Secret::new("x"))));
    }
}
