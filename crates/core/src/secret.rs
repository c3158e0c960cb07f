//! Values that must not be seen.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// A text that `Debug` and `Display` never show and that is wiped from memory when dropped.
///
/// It has no `Serialize`: a wire type that must carry it says so, field by field, with [`on_wire`].
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself. Every use is a place to review.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// For values read from one's own files. Not constant in time: never compare an attacker's guess with it.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        SecretString::deserialize(d).map(Self)
    }
}

/// Puts one secret on the wire: `#[serde(with = "secret::on_wire")]`.
pub mod on_wire {
    use super::{Deserialize, Secret, Serialize};

    /// Writes the text in the clear.
    pub fn serialize<S: serde::Serializer>(secret: &Secret, s: S) -> Result<S::Ok, S::Error> {
        secret.expose().serialize(s)
    }

    /// Reads the text into custody.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Secret, D::Error> {
        Secret::deserialize(d)
    }
}

/// Puts a map with secret values on the wire: `#[serde(with = "secret::map_on_wire")]`.
pub mod map_on_wire {
    use std::collections::BTreeMap;

    use super::{Deserialize, Secret};

    /// Writes the values in the clear.
    pub fn serialize<S: serde::Serializer>(map: &BTreeMap<String, Secret>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(key, secret)| (key, secret.expose())))
    }

    /// Reads the values into custody.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Secret>, D::Error> {
        BTreeMap::deserialize(d)
    }
}

/// True for names that people give to secrets (`NPM_TOKEN`, `db-password`, `GITHUB_PAT`, `SENTRY_DSN`, ...): their values
/// are masked wherever Bakery prints them, and a build argument of such a name gets a warning, since it lands in the
/// image's history.
pub fn name_suggests_secret(name: &str) -> bool {
    // Telling anywhere in a name ...
    const PARTS: [&str; 7] = ["TOKEN", "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "CREDENTIAL", "APIKEY"];
    // ... or as a word of their own: `PATH` and `COMPASS` are innocent ...
    const WORDS: [&str; 7] = ["PAT", "DSN", "PASS", "PWD", "PW", "JWT", "CREDS"];
    // ... or before `KEY`: `CACHE_KEY` and `PUBLIC_KEY` are no secrets.
    const KEYS: [&str; 10] =
        ["API", "PRIVATE", "ACCESS", "SIGNING", "ENCRYPTION", "MASTER", "DEPLOY", "SSH", "AUTH", "DATA"];
    // A tokenizer splits texts.
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_").replace("TOKENIZE", "");
    // The shell's own name for the working directory.
    if name == "PWD" {
        return false;
    }
    let words: Vec<&str> =
        name.split('_').map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit())).collect();
    PARTS.iter().any(|part| name.contains(part))
        || words.iter().any(|word| WORDS.contains(word))
        || words.windows(2).any(|pair| pair[1] == "KEY" && KEYS.contains(&pair[0]))
        || words.last() == Some(&"AUTH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    #[test]
    fn names_of_secrets_are_recognised() {
        for name in [
            "npm_token",
            "_authToken",
            "DB_PASSWORD",
            "reg-password",
            "GITHUB_PAT",
            "PAT1",
            "SENTRY_DSN",
            "DB_PASS",
            "DB_PWD",
            "X-Api-Key",
            "APIKEY",
            "AWS_SECRET_ACCESS_KEY",
            "SSH_KEY",
            "NPM_AUTH",
        ] {
            assert!(name_suggests_secret(name), "{name}");
        }
        for name in [
            "GO_VERSION",
            "PATH",
            "GOPATH",
            "COMPASS_URL",
            "PWD",
            "OLDPWD",
            "CACHE_KEY",
            "PUBLIC_KEY",
            "SSH_AUTH_SOCK",
            "AUTHOR",
            "TOKENIZERS_PARALLELISM",
            "PATCH",
        ] {
            assert!(!name_suggests_secret(name), "{name}");
        }
    }
}
