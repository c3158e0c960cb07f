//! The real parts, as the test ladder names them.

use std::path::PathBuf;

/// Where each real part is. Every field comes from a variable that `scripts/test` sets.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `BAKERY_TEST_DOCKER_HOST`: `unix://...` of the engine.
    pub docker_host: String,
    /// `BAKERY_TEST_REGISTRY_BIN`: the `docker-registry` program.
    pub registry_bin: PathBuf,
    /// `BAKERY_TEST_GATEWAY`: an address of this machine that containers reach.
    pub gateway: String,
    /// `BAKERY_TEST_AGENT_IMAGE_AMD64`: the agent image in the engine's own store.
    pub agent_amd64: String,
    /// `BAKERY_TEST_AGENT_INDEX`: the multi-arch agent image in the ladder's registry.
    pub agent_index: String,
    /// `BAKERY_TEST_BASE_IMAGE`: a multi-arch base image on the gateway's address.
    pub base_image: String,
    /// `BAKERY_TEST_WEED`: the program of the S3 server.
    pub weed: PathBuf,
    /// `BAKERY_TEST_SKOPEO`: the third party that reads what we publish.
    pub skopeo: PathBuf,
    /// `BAKERY_TEST_BIN_DIR`: folder of the built `bakery-client` and `bakery-server`.
    pub bin_dir: PathBuf,
}

impl Parts {
    /// Reads them all.
    ///
    /// # Panics
    /// Names the first variable that is missing: a test without its real part must fail.
    pub fn required() -> Self {
        Self {
            docker_host: required("BAKERY_TEST_DOCKER_HOST"),
            registry_bin: required("BAKERY_TEST_REGISTRY_BIN").into(),
            gateway: required("BAKERY_TEST_GATEWAY"),
            agent_amd64: required("BAKERY_TEST_AGENT_IMAGE_AMD64"),
            agent_index: required("BAKERY_TEST_AGENT_INDEX"),
            base_image: required("BAKERY_TEST_BASE_IMAGE"),
            weed: required("BAKERY_TEST_WEED").into(),
            skopeo: required("BAKERY_TEST_SKOPEO").into(),
            bin_dir: required("BAKERY_TEST_BIN_DIR").into(),
        }
    }

    /// Host and port of the registry that the base image lies in.
    pub fn base_registry(&self) -> &str {
        self.base_image.split('/').next().unwrap_or_default()
    }
}

/// One variable of the ladder's contract.
///
/// # Panics
/// When it is not set.
#[expect(clippy::disallowed_methods, reason = "the ladder speaks to its tests by the environment")]
pub fn required(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("{name} is not set: this test needs a real part; run it with `make test`"),
    }
}
