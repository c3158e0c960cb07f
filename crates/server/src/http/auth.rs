//! Who is asking: clients by the operator's token, agents by their run's own.

use axum::extract::FromRequestParts;
use bakery_core::secret::Secret;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Front;
use super::problem::{Kind, Refusal};

/// The owner of everything, while a server knows one token: the operator, whichever token they use this year.
const OPERATOR: &str = "local";

/// The lock of the public door. Keeps the token's hash, not the token.
pub(super) struct Lock {
    hash: Option<[u8; 32]>,
}

impl Lock {
    /// A lock that this token opens; `None` = open to everybody.
    pub(super) fn new(token: Option<&Secret>) -> Self {
        Self { hash: token.map(hash) }
    }

    fn opens_for(&self, bearer: Option<&Secret>) -> bool {
        match (&self.hash, bearer) {
            (None, _) => true,
            (Some(_), None) => false,
            // Hashes have one length and nothing of the token's order: comparing them tells an attacker nothing.
            (Some(ours), Some(theirs)) => ours.ct_eq(&hash(theirs)).into(),
        }
    }
}

/// A client that may come in: whose builds it sees. Every handler of a client's route asks for one.
pub(super) struct Owner(pub(super) &'static str);

impl FromRequestParts<Front> for Owner {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Refusal> {
        let bearer = bearer(parts);
        if front.lock.opens_for(bearer.as_ref()) {
            return Ok(Self(OPERATOR));
        }
        let detail = match bearer {
            Some(_) => "the token is not this server's",
            None => "this server asks for a token",
        };
        Err(Refusal::new(Kind::Unauthorized, detail).hint("set BAKERY_TOKEN to the server's own"))
    }
}

/// An agent's bearer, not compared with anything yet.
pub(super) struct Bearer(pub(super) Secret);

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        bearer(parts).map(Self).ok_or_else(|| {
            Refusal::new(Kind::Unauthorized, "an agent's request carries its run's token as bearer")
        })
    }
}

/// The one bearer; of two it could not be said which is meant.
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
    fn only_the_token_itself_opens() {
        let lock = Lock::new(Some(&Secret::new("flour")));
        let opens = |token: &str| lock.opens_for(Some(&Secret::new(token)));
        assert!(opens("flour") && !opens("flou") && !opens("flour2") && !opens("FLOUR"));
        assert!(!lock.opens_for(None));
    }

    #[test]
    fn without_a_token_everybody_may_come_in() {
        let lock = Lock::new(None);
        assert!(lock.opens_for(None) && lock.opens_for(Some(&Secret::new("x"))));
    }
}
