//! Values that must not be printed.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// A text that `Debug` and `Display` never show and that is wiped from memory when dropped.
///
/// It has no `Serialize`: a wire type that must carry it opts in, field by field, with [`on_wire`].
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself. Every use needs a review.
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

/// For values read from one's own files. Not in constant time: never compare a value that an attacker can choose.
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

    /// Reads the text.
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

    /// Reads the values.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Secret>, D::Error> {
        BTreeMap::deserialize(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }
}
