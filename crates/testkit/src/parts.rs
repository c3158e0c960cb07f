//! The real parts that the ladder starts.

use std::path::PathBuf;

use crate::vars;

/// Where each real part is; see [`vars`] for the variables.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The Docker engine, `unix://...`.
    pub docker_host: String,
    /// The program docker-registry.
    pub registry_bin: PathBuf,
    /// An address of this machine that containers reach.
    pub gateway: String,
    /// The agent image for amd64 in the engine's store.
    pub agent_amd64: String,
    /// The agent image for both architectures in the ladder's registry.
    pub agent_index: String,
    /// A base image for both architectures on the gateway's address.
    pub base_image: String,
    /// The program of the S3 server.
    pub weed: PathBuf,
    /// The program skopeo, which reads registries independently of our code.
    pub skopeo: PathBuf,
    /// The folder of `bakery-client` and `bakery-server`.
    pub bin_dir: PathBuf,
}

impl Parts {
    /// Reads all of them from the environment.
    ///
    /// # Panics
    /// If a variable is missing: a test without its real part must fail.
    pub fn required() -> Self {
        Self {
            docker_host: vars::DOCKER_HOST.required(),
            registry_bin: vars::REGISTRY_BIN.required().into(),
            gateway: vars::GATEWAY.required(),
            agent_amd64: vars::AGENT_IMAGE_AMD64.required(),
            agent_index: vars::AGENT_INDEX.required(),
            base_image: vars::BASE_IMAGE.required(),
            weed: vars::WEED.required().into(),
            skopeo: vars::SKOPEO.required().into(),
            bin_dir: vars::BIN_DIR.required().into(),
        }
    }

    /// Host and port of the registry that the base image lies in.
    pub fn base_registry(&self) -> &str {
        self.base_image.split('/').next().unwrap_or_default()
    }
}
