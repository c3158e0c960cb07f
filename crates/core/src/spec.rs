//! The specification of a build, after all layers of configuration have been merged.
//!
//! This is the typed form that travels from client to server. What only the server knows (default cpu, memory and
//! platform) stays `None` here and is filled there. Unknown fields are refused: a build
//! that ignores a part of its spec would have another result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::image::ImageRef;
use crate::names::{Arch, Platform, ServiceName};
use crate::secret::{self, Secret};

/// A whole build: services in the order of the file, each with its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildSpec {
    /// Whether services are built one after the other.
    pub order: Order,
    /// The services; a plain config.yaml without Compose is one service without a name.
    pub services: Vec<ServiceSpec>,
}

/// The order in which the services of a build run. Architectures are parallel in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One service after the other; stops at the first failure.
    #[default]
    Sequential,
    /// All services in parallel (`--async`).
    Parallel,
}

/// One service of a Compose file, or the whole of a config.yaml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// The Compose service's name; `None` for a config.yaml.
    pub name: Option<ServiceName>,
    /// One task per `bake` entry or platform.
    pub tasks: Vec<TaskSpec>,
}

/// One task: one image for one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Where it runs; `None` = the server's choice.
    pub platform: Option<Platform>,
    /// The architecture of the machine that it runs on.
    pub arch: Arch,
    /// Size: thousandths of a cpu; `None` = `DEFAULT_BUILD_CPU` of the server.
    pub cpu_millis: Option<u32>,
    /// Size: MiB; `None` = `DEFAULT_BUILD_MEMORY` of the server.
    pub memory_mib: Option<u32>,
    /// Size: MiB of disk; `None` = the platform's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mib: Option<u32>,
    /// Seconds from launch to the end of one attempt; `None` = `BUILD_TASK_TIMEOUT` of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Variables of the agent's container: seen by both scripts and by Kaniko, not by `RUN`.
    #[serde(with = "secret::map_on_wire")]
    pub env: BTreeMap<String, Secret>,
    /// Shell text run before Kaniko.
    pub pre_script: Option<String>,
    /// Shell text run after Kaniko succeeded.
    pub post_script: Option<String>,
    /// Logins for base images, push, cache and the index push.
    pub credentials: Vec<Credential>,
    /// Settings of Kaniko.
    pub kaniko: KanikoSpec,
}

impl TaskSpec {
    /// A task with the defaults of everything else.
    pub fn new(arch: Arch, kaniko: KanikoSpec) -> Self {
        Self {
            platform: None,
            arch,
            cpu_millis: None,
            memory_mib: None,
            disk_mib: None,
            timeout_seconds: None,
            env: BTreeMap::new(),
            pre_script: None,
            post_script: None,
            credentials: Vec::new(),
            kaniko,
        }
    }
}

/// The user name under which docker's tools keep identity tokens: these are not sent as a password.
pub const IDENTITY_USER: &str = "<token>";

/// A login for one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Host and port; Docker Hub is `docker.io`, however the user spelled it.
    pub registry: String,
    /// User name.
    pub username: String,
    /// Password or token.
    #[serde(with = "secret::on_wire")]
    pub password: Secret,
}

/// The `kaniko` section, resolved. What a version before did not have is serialised only if it is set, because that version
/// refuses an unknown field: see [`crate::wire::keys`]. Paths are relative, with `/` between their parts, and never leave their root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of Kaniko's own")]
pub struct KanikoSpec {
    /// The build context below the source root; `.` = the root itself.
    pub context_path: String,
    /// The Dockerfile, relative to the context.
    pub dockerfile: String,
    /// The text of a Dockerfile that is not a file of the source; it takes the place of `dockerfile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_inline: Option<String>,
    /// What is pushed, as the user wrote it after checks; `None` only with `no_push`.
    pub destination: Option<ImageRef>,
    /// `--build-arg`; values may be seen in the image's history.
    pub build_args: BTreeMap<String, String>,
    /// The layer cache.
    pub cache: CacheSpec,
    /// `--snapshot-mode`.
    pub snapshot_mode: Option<SnapshotMode>,
    /// `--use-new-run`.
    pub use_new_run: bool,
    /// `--cleanup`.
    pub cleanup: bool,
    /// `--no-push`.
    pub no_push: bool,
    /// `--custom-platform`; `None` = from `arch`.
    pub custom_platform: Option<String>,
    /// The folder of Kaniko and the agent during the build; `None` = the one in the agent's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// `--ignore-path`, each.
    pub ignore_path: Vec<String>,
    /// More names of the image, in any registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<ImageRef>,
    /// `--target`: the stage to build; `None` = the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `--label`, each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `--annotation`, each: of the manifest, not of the index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `--registry-mirror`, each: asked in place of Docker Hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registry_mirrors: Vec<String>,
    /// `--registry-map`: what is asked in place of a registry, in this order. Docker Hub is `docker.io`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registry_map: BTreeMap<String, Vec<String>>,
    /// `--registry-certificate`: a file in the source root, or an absolute path in the agent's container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, String>,
    /// `--compression`; `None` = Kaniko's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// `--reproducible`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reproducible: bool,
    /// `--single-snapshot`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_snapshot: bool,
    /// Build secrets by their ids: files for `RUN --mount=type=secret`, never part of a command line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "secret::map_on_wire")]
    pub secrets: BTreeMap<String, Secret>,
    /// `--push-retry`; `None` = Bakery's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_retry: Option<u32>,
    /// Extra flags, already split; they go last.
    pub extra_flags: Vec<String>,
}

impl KanikoSpec {
    /// The Dockerfile, relative to the context; `None` if it is not a file of the source.
    pub fn dockerfile_in_source(&self) -> Option<&str> {
        self.dockerfile_inline.is_none().then_some(self.dockerfile.as_str())
    }
}

impl Default for KanikoSpec {
    fn default() -> Self {
        Self {
            context_path: ".".to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            dockerfile_inline: None,
            destination: None,
            build_args: BTreeMap::new(),
            cache: CacheSpec::default(),
            snapshot_mode: None,
            use_new_run: false,
            cleanup: false,
            no_push: false,
            custom_platform: None,
            dir: None,
            ignore_path: Vec::new(),
            tags: Vec::new(),
            target: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            registry_mirrors: Vec::new(),
            registry_map: BTreeMap::new(),
            certificates: BTreeMap::new(),
            compression: None,
            reproducible: false,
            single_snapshot: false,
            secrets: BTreeMap::new(),
            push_retry: None,
            extra_flags: Vec::new(),
        }
    }
}

/// `kaniko.cache`, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSpec {
    /// `--cache`.
    pub enable: bool,
    /// `--cache-repo`, completed if the user gave a bare host.
    pub repo: Option<String>,
    /// `--cache-ttl` in seconds.
    pub ttl_seconds: Option<u64>,
    /// `--cache-copy-layers`; `None` = Kaniko's default.
    pub copy_layers: Option<bool>,
    /// `--cache-run-layers`; `None` = Kaniko's default.
    pub run_layers: Option<bool>,
    /// `--compressed-caching`; `None` = Kaniko's default.
    pub compressed: Option<bool>,
}

/// `--snapshot-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotMode {
    /// Every file's content and metadata.
    Full,
    /// Metadata and less of the content.
    Redo,
    /// Modification times only.
    Time,
}

impl SnapshotMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Full, Self::Redo, Self::Time];

    /// The value of Kaniko's flag.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Redo => "redo",
            Self::Time => "time",
        }
    }
}

/// `--compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// What every registry and engine reads.
    Gzip,
    /// Smaller and faster to read, for engines that support it.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// The value of Kaniko's flag.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}
