//! A token service of the test's own, whose signed tokens a real registry verifies.
//!
//! It implements the distribution project's token authentication. A registry's configuration names the certificate to trust
//! (`rootcertbundle`); the registry finds the key of a token by libtrust's key id.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::sync::lock;

/// The service that tokens are for, as the registry's configuration names it.
pub const SERVICE: &str = "test-registry";
const ISSUER: &str = "test-issuer";

/// A user, and what the user's tokens grant.
#[derive(Debug, Clone)]
pub struct User {
    /// The password.
    pub password: String,
    /// The actions that are granted if they are requested.
    pub grants: Vec<String>,
    /// Seconds until the token expires; negative: it has already expired.
    pub seconds: i64,
    /// The audience of the tokens; [`SERVICE`] is the right one.
    pub audience: String,
}

impl User {
    /// A user with this password who is granted these actions.
    pub fn new(password: &str, grants: &[&str]) -> Self {
        let grants = grants.iter().map(ToString::to_string).collect();
        Self { password: password.to_owned(), grants, seconds: 300, audience: SERVICE.to_owned() }
    }
}

/// The running service; ends when dropped.
#[derive(Debug)]
pub struct Issuer {
    addr: SocketAddr,
    state: Arc<IssuerState>,
    certificate: Vec<u8>,
    task: tokio::task::JoinHandle<()>,
}

struct IssuerState {
    users: BTreeMap<String, User>,
    key: EncodingKey,
    key_id: String,
    asked: Mutex<Vec<String>>,
}

impl std::fmt::Debug for IssuerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuerState").field("users", &self.users).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Starts on a free port of loopback, with a key of its own.
    #[expect(clippy::disallowed_methods, reason = "the service lives exactly as long as its value")]
    pub async fn start(users: BTreeMap<String, User>) -> Result<Self> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref())?;
        let public = der::public_key(pair.public_key().as_ref());
        let certificate = der::certificate(&pair, &public)?;
        let key = EncodingKey::from_ec_der(pkcs8.as_ref());
        let state = Arc::new(IssuerState { users, key, key_id: key_id(&public), asked: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let app = Router::new().route("/token", get(issue)).with_state(Arc::clone(&state));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the issuer ended: {error}");
            }
        });
        Ok(Self { addr, state, certificate, task })
    }

    /// The `auth` section of a registry that trusts this issuer; its certificate is written into `folder`.
    pub fn registry_config(&self, folder: &Path) -> Result<String> {
        let file = folder.join("issuer.pem");
        let lines: Vec<String> = STANDARD
            .encode(&self.certificate)
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let body = lines.join("\n");
        std::fs::write(&file, format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"))?;
        Ok(format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
            self.addr,
            file.display()
        ))
    }

    /// A valid token for a repository, for a test's preparations.
    pub fn token(&self, repository: &str) -> Result<String> {
        let access = json!([{ "type": "repository", "name": repository, "actions": ["pull", "push"] }]);
        self.state.sign("preparation", SERVICE, 300, &access)
    }

    /// The scopes that were requested, in order.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state.asked).clone()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl IssuerState {
    fn sign(&self, user: &str, audience: &str, seconds: i64, access: &Value) -> Result<String> {
        let now = now();
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        let claims = json!({
            "iss": ISSUER, "sub": user, "aud": audience, "jti": "1",
            "iat": now - 600, "nbf": now - 600, "exp": now + seconds, "access": access,
        });
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }
}

async fn issue(
    State(state): State<Arc<IssuerState>>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, StatusCode> {
    let (name, user) = who(&state, &headers).ok_or(StatusCode::UNAUTHORIZED)?;
    let scope = query.get("scope").ok_or(StatusCode::BAD_REQUEST)?;
    lock(&state.asked).push(scope.clone());
    let mut parts = scope.rsplitn(2, ':');
    let (actions, resource) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (kind, repository) = resource.split_once(':').ok_or(StatusCode::BAD_REQUEST)?;
    let granted: Vec<&str> =
        actions.split(',').filter(|action| user.grants.iter().any(|grant| grant == action)).collect();
    let access = json!([{ "type": kind, "name": repository, "actions": granted }]);
    let token = state.sign(name, &user.audience, user.seconds, &access);
    let token = token.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({ "token": token, "expires_in": user.seconds.max(60) })))
}

fn who<'a>(state: &'a IssuerState, headers: &HeaderMap) -> Option<(&'a str, &'a User)> {
    let sent = headers.get("authorization")?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(sent).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    let (name, user) = state.users.get_key_value(name)?;
    (user.password == password).then_some((name.as_str(), user))
}

/// libtrust's id of a key: the first 240 bits of the SHA-256 of its DER form in base32, in groups of four.
fn key_id(public: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public);
    let letter = |bits: u64| char::from(ALPHABET[usize::from(bits.to_le_bytes()[0] & 31)]);
    let mut letters = String::new();
    for five in hash.as_ref()[..30].chunks(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        letters.extend((0..8).rev().map(|at| letter(bits >> (at * 5))));
    }
    let groups: Vec<&str> = (0..letters.len()).step_by(4).map(|at| &letters[at..at + 4]).collect();
    groups.join(":")
}

#[expect(
    clippy::disallowed_methods,
    reason = "tokens hold wall-clock times, and the registry has its own clock"
)]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_default()
}

/// The part of DER that a self-signed certificate needs (RFC 5280).
mod der {
    use super::{EcdsaKeyPair, Result, SystemRandom, anyhow};

    const SEQUENCE: u8 = 0x30;
    /// ecPublicKey, prime256v1.
    const EC_P256: &[u8] =
        &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    /// ecdsa-with-SHA256.
    const ECDSA_SHA256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    /// id-at-commonName.
    const COMMON_NAME: &[u8] = &[0x06, 3, 0x55, 4, 3];

    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let bytes = content.len().to_be_bytes();
        let length = match u8::try_from(content.len()) {
            Ok(short) if short < 0x80 => vec![short],
            Ok(medium) => vec![0x81, medium],
            Err(_) => [&[0x82][..], &bytes[bytes.len() - 2..]].concat(),
        };
        [&[tag][..], &length, &content].concat()
    }

    /// A `SubjectPublicKeyInfo` of an uncompressed P-256 point.
    pub(super) fn public_key(point: &[u8]) -> Vec<u8> {
        tlv(SEQUENCE, &[&tlv(SEQUENCE, &[EC_P256]), &tlv(0x03, &[&[0], point])])
    }

    pub(super) fn certificate(pair: &EcdsaKeyPair, public: &[u8]) -> Result<Vec<u8>> {
        let algorithm = tlv(SEQUENCE, &[ECDSA_SHA256]);
        let name = tlv(0x31, &[&tlv(SEQUENCE, &[COMMON_NAME, &tlv(0x0c, &[b"test issuer"])])]);
        let name = tlv(SEQUENCE, &[&name]);
        let time = |text: &[u8]| tlv(0x17, &[text]);
        let validity = tlv(SEQUENCE, &[&time(b"200101000000Z"), &time(b"491231235959Z")]);
        let (version, serial) = (tlv(0xa0, &[&tlv(0x02, &[&[2]])]), tlv(0x02, &[&[1]]));
        let body = tlv(SEQUENCE, &[&version, &serial, &algorithm, &name, &validity, &name, public]);
        let signature = pair.sign(&SystemRandom::new(), &body).map_err(|_| anyhow!("no signature"))?;
        Ok(tlv(SEQUENCE, &[&body, &algorithm, &tlv(0x03, &[&[0], signature.as_ref()])]))
    }
}
