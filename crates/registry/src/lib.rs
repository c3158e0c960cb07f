//! A client for OCI registries: reads images, and publishes one index over several architectures.
//!
//! It implements the few requests of the OCI distribution specification that Bakery needs. `guard` decides which
//! addresses are allowed, by `address` and `site`; `transport` sends one request, `challenge`, `login` and `token`
//! authenticate, `repository` reads and writes manifests in one repository, `manifest` reads and builds their bytes,
//! `publish` puts it together, `pushed` checks what tasks have pushed.

#![deny(missing_docs)]

use std::collections::BTreeMap;

use bakery_core::image::{Digest, ImageRef};
use bakery_core::names::Arch;
use bakery_core::reason::Reason;
use bakery_core::spec::{Credential, IDENTITY_USER};
use tokio_util::sync::CancellationToken;

mod address;
mod challenge;
mod error;
mod guard;
mod login;
mod manifest;
mod publish;
mod pushed;
mod repository;
mod settings;
mod site;
#[cfg(test)]
mod tests;
mod token;
mod transport;

pub use error::RegistryError;
use login::Login;
use manifest::ManifestContent;
pub use publish::Member;
pub use pushed::PushedCheck;
use repository::{Access, ClientState};
pub use settings::{RegistrySettings, Timeouts, docker_config};

/// A client for every registry. Keeps connections and tokens, so share one.
#[derive(Debug)]
pub struct Registry {
    settings: RegistrySettings,
    state: ClientState,
}

impl Registry {
    /// A client with these settings. Connects to nothing yet.
    pub fn new(settings: RegistrySettings) -> Self {
        let state = ClientState::new(&settings);
        Self { settings, state }
    }

    /// The digest that `image` has in its registry now; `None` where it does not exist.
    pub async fn digest_of(
        &self,
        image: &ImageRef,
        creds: &[Credential],
    ) -> Result<Option<Digest>, RegistryError> {
        let login = self.login(image, creds, login::is_below(image, &self.settings.publish_allow)).await?;
        let never = CancellationToken::new();
        let repository = self.state.repository(image, Access::Pull, &login, never).await?;
        repository.digest(&reference(image)).await
    }

    /// The digest of each architecture's manifest behind `image`: those of an index, or the one of a plain image.
    ///
    /// For images that the operator names: where `creds` hold no login, the docker config of the settings is used.
    pub async fn platforms_of(
        &self,
        image: &ImageRef,
        creds: &[Credential],
    ) -> Result<BTreeMap<Arch, Digest>, RegistryError> {
        let login = self.login(image, creds, true).await?;
        let never = CancellationToken::new();
        let repository = self.state.repository(image, Access::Pull, &login, never).await?;
        let action = format!("looking up the architectures of {image}");
        let Some(manifest) = repository.manifest(&reference(image)).await? else {
            let hint = Some("check its name and tag".to_owned());
            return Err(repository.error(Reason::ImagePull, &action, "the image does not exist", hint));
        };
        match manifest.content {
            ManifestContent::Index(index) => Ok(manifest::platforms(&index).into_iter().collect()),
            ManifestContent::Image(image) => {
                let config = repository.config(image.config().digest().as_ref()).await?;
                let arch = manifest::arch_of(&config.os, &config.architecture);
                Ok(arch.map(|arch| (arch, manifest.digest)).into_iter().collect())
            }
        }
    }

    /// The operator's own login for an image that the operator names, from the docker config of the settings.
    pub async fn operators_login(&self, image: &ImageRef) -> Result<Option<Credential>, RegistryError> {
        Ok(match self.login(image, &[], true).await? {
            Login::Anonymous => None,
            Login::Password { username, password } => {
                Some(Credential { registry: image.registry.clone(), username, password })
            }
            Login::Identity(password) => {
                let username = IDENTITY_USER.to_owned();
                Some(Credential { registry: image.registry.clone(), username, password })
            }
        })
    }

    /// The login for an image; `own` allows the docker config of the settings.
    async fn login(&self, image: &ImageRef, creds: &[Credential], own: bool) -> Result<Login, RegistryError> {
        login::of_image(image, creds, self.settings.docker_config.clone().filter(|_| own)).await
    }
}

/// Tag or digest, as the protocol's path wants it; a digest wins.
fn reference(image: &ImageRef) -> String {
    image.digest.as_ref().map_or_else(|| image.tag_or_latest().to_owned(), ToString::to_string)
}
