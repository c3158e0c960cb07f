//! The final manifest: reads images in registries, and publishes one index for several architectures.

use std::collections::BTreeMap;

use bakery_core::image::{Digest, ImageRef};
use bakery_core::names::Arch;
use bakery_core::reason::Reason;
use bakery_core::spec::Credential;

/// What the operator decides about registries.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// `INSECURE_REGISTRIES`: hosts (with their port) that may be spoken to over plain HTTP.
    pub insecure: Vec<String>,
    /// True in the single-machine default: registries on loopback are spoken to, and over plain HTTP. Otherwise
    /// loopback is refused unless the operator named it.
    pub loopback_http: bool,
    /// `PUBLISH_ALLOW`: prefixes (`registry.example.com/shop`) of what may be published. Empty = everything, with the
    /// build's credentials. The server's own docker config is used below these prefixes only.
    pub publish_allow: Vec<String>,
}

/// One image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it was pushed.
    pub image: ImageRef,
    /// Digest of its manifest.
    pub digest: Digest,
    /// The architecture that it must be for.
    pub arch: Arch,
}

/// Why a registry did not do as it was told. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RegistryError {
    /// The machine's word.
    pub reason: Reason,
    /// For people: which registry and repository, what was tried, what came back.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A client for every registry. Keeps connections and tokens; cheap to share.
pub struct Registry {
    settings: RegistrySettings,
}

impl Registry {
    /// A client with these settings.
    pub fn new(settings: RegistrySettings) -> Self {
        Self { settings }
    }

    /// Publishes `destination` as an index of `members`, and returns the index's digest.
    ///
    /// Every member is read first and must be for its architecture ([`Reason::WrongArch`]); the index is pushed last,
    /// so the destination never points at half a result. The same call again gives the same digest and pushes nothing
    /// that is there.
    pub async fn publish_index(
        &self,
        destination: &ImageRef,
        members: &[Member],
        creds: &[Credential],
    ) -> Result<Digest, RegistryError> {
        let _ = (&self.settings, members, creds);
        Err(unfinished(destination))
    }

    /// The digest that `image` has in its registry now; `None` where it is not there.
    pub async fn digest_of(
        &self,
        image: &ImageRef,
        creds: &[Credential],
    ) -> Result<Option<Digest>, RegistryError> {
        let _ = creds;
        Err(unfinished(image))
    }

    /// The digest of each architecture's manifest behind `image`: those of an index, or the one of a plain image.
    pub async fn platforms_of(
        &self,
        image: &ImageRef,
        creds: &[Credential],
    ) -> Result<BTreeMap<Arch, Digest>, RegistryError> {
        let _ = creds;
        Err(unfinished(image))
    }
}

fn unfinished(image: &ImageRef) -> RegistryError {
    RegistryError { reason: Reason::Internal, text: format!("{image}: not yet"), hint: None }
}
