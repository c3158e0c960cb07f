//! Image references and digests, as registries and Kaniko understand them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hex;
use crate::names::{Arch, BadName};

/// The registry of a reference that names none.
pub const DOCKER_HUB: &str = "docker.io";
/// The name under which docker's tools keep the login for it: for historical reasons the URL of its first API.
pub const DOCKER_HUB_LOGIN: &str = "https://index.docker.io/v1/";

/// A content digest: `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// From the 32 bytes of a SHA-256.
    pub fn from_sha256(bytes: &[u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(bytes)))
    }

    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::from_sha256(&sha2::Sha256::digest(bytes).into())
    }

    /// `sha256:<hex>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hex digits alone.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName { text: text.to_owned(), expected: "a digest (sha256: and 64 hex digits)" })
        }
    }
}

/// An image reference, normalised: registry (with its port), repository, and a tag or a digest or both.
///
/// The grammar is that of the distribution project's `reference` package; `busybox` reads as
/// `docker.io/library/busybox`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    /// Host and port; `docker.io` for Docker Hub.
    pub registry: String,
    /// Path below the registry.
    pub repository: String,
    /// Tag, if one was given.
    pub tag: Option<String>,
    /// Digest, if one was given.
    pub digest: Option<Digest>,
}

impl ImageRef {
    /// The tag to push to: `latest` if none was given.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// The reference that it is pushed to, without a digest: two that are equal here name the same thing.
    pub fn tagged(&self) -> Self {
        self.with_tag(self.tag_or_latest())
    }

    /// The same repository with another tag and without a digest.
    pub fn with_tag(&self, tag: impl Into<String>) -> Self {
        Self { tag: Some(tag.into()), digest: None, ..self.clone() }
    }

    /// The same repository by digest.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The tag under which one architecture's image of a multi-arch build is pushed: `tag_<arch>`, and `tag_<arch>-<n>`
    /// (n from 2) if one architecture appears more than once in the group. The base tag is cut so that the whole
    /// stays within a tag's 128 characters.
    pub fn for_arch(&self, arch: Arch, nth: usize) -> Self {
        let suffix = if nth <= 1 { format!("_{arch}") } else { format!("_{arch}-{nth}") };
        let base = self.tag_or_latest();
        let kept = &base[..base.len().min(128 - suffix.len())];
        self.with_tag(format!("{kept}{suffix}"))
    }

    /// `registry/repository`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        parse(text).ok_or_else(|| BadName {
            text: text.to_owned(),
            expected: "an image reference (registry/repository:tag, lower case)",
        })
    }
}

/// The registry that a login's `registry` means, as host and port: URLs and the many names of Docker Hub are brought to
/// one form. `None` if it is not a registry.
pub fn registry_host(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    let host =
        text.strip_suffix("/v1").or_else(|| text.strip_suffix("/v2")).unwrap_or(text).to_ascii_lowercase();
    match host.as_str() {
        "docker.io"
        | "index.docker.io"
        | "registry-1.docker.io"
        | "registry.hub.docker.com"
        | "hub.docker.com" => Some(DOCKER_HUB.to_owned()),
        _ => is_host(&host).then_some(host),
    }
}

fn parse(text: &str) -> Option<ImageRef> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse().ok()?)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        // A colon before a slash belongs to the registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((host, path)) if names_registry(host) || host != host.to_lowercase() => (host, path.to_owned()),
        Some(_) => (DOCKER_HUB, name.to_owned()),
        None => (DOCKER_HUB, format!("library/{name}")),
    };
    let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
    let path = if registry == DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path };
    let legal = is_host(registry)
        && path.len() + registry.len() < 255
        && path.split('/').all(is_path_component)
        && tag.is_none_or(is_tag);
    legal.then(|| ImageRef {
        registry: registry.to_owned(),
        repository: path,
        tag: tag.map(str::to_owned),
        digest,
    })
}

/// Whether the first component of a name is a registry, and not a part of a path on Docker Hub.
pub(crate) fn names_registry(component: &str) -> bool {
    component.contains(['.', ':']) || component == "localhost"
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, rest)) => {
            let port = rest.strip_prefix(':');
            return v6.parse::<std::net::Ipv6Addr>().is_ok()
                && (rest.is_empty() || port.is_some_and(is_port));
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    name.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !alnum(first) || !alnum(last) {
        return false;
    }
    bytes
        .split(|&b| alnum(b))
        .filter(|sep| !sep.is_empty())
        .all(|sep| matches!(sep, b"." | b"_" | b"__") || sep.iter().all(|&b| b == b'-'))
}

pub(crate) fn is_tag(tag: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && plain(tag.as_bytes()[0])
        && tag.bytes().all(|b| plain(b) || b == b'.' || b == b'-')
}

macro_rules! as_text {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(Digest);
as_text!(ImageRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_normalise_as_the_distribution_project_does() {
        for (text, normal) in [
            ("busybox", "docker.io/library/busybox"),
            ("me/app:1", "docker.io/me/app:1"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/a/b:x", "localhost:5000/a/b:x"),
            ("index.docker.io/me/app", "docker.io/me/app"),
            ("reg.test/shop/cart:7", "reg.test/shop/cart:7"),
            ("[::1]:5000/a", "[::1]:5000/a"),
            ("10.0.0.1:5000/a__b--c.d:V_1.2-3", "10.0.0.1:5000/a__b--c.d:V_1.2-3"),
        ] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), normal);
        }
    }

    #[test]
    fn invalid_references_are_refused() {
        for text in [
            "",
            "reg.test/UPPER",
            "a:",
            "a//b",
            "reg.test/-a",
            "reg.test/a:b:c",
            "a@sha256:12",
            "reg.test:99999/a",
            "a b",
            "http://reg.test/a",
            "a_-b",
            "reg.test/a:-x",
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn logins_name_one_registry_in_one_way() {
        for (text, host) in [
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("registry-1.docker.io", Some("docker.io")),
            ("https://Reg.Test:5000/", Some("reg.test:5000")),
            ("localhost:5000", Some("localhost:5000")),
            ("ghcr.io/me", None),
            ("", None),
            ("me:secret@reg.test", None),
        ] {
            assert_eq!(registry_host(text).as_deref(), host, "{text}");
        }
    }

    #[test]
    fn one_tag_per_architecture() {
        let image: ImageRef = "reg.test/shop/cart:7".parse().unwrap();
        assert_eq!(image.for_arch(Arch::Arm64, 1).to_string(), "reg.test/shop/cart:7_arm64");
        assert_eq!(image.for_arch(Arch::Amd64, 2).to_string(), "reg.test/shop/cart:7_amd64-2");
        let long = image.with_tag("x".repeat(128)).for_arch(Arch::Amd64, 1);
        assert!(long.to_string().parse::<ImageRef>().is_ok());
    }
}
