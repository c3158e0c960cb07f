//! One layer of configuration, with every key optional: `global`, a `bake` entry, or a Compose service.

use std::collections::BTreeMap;

use crate::config::naming::ImagePrefix;
use crate::image::ImageRef;
use crate::names::{Arch, Platform};
use crate::report::Location;
use crate::secret::Secret;
use crate::spec::{Compression, Credential, SnapshotMode};

/// A key of a layer with its location; empty if the key is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key<T>(Option<(Held<T>, Location)>);

/// What a written key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held<T> {
    /// A value.
    Set(T),
    /// An explicit empty value: it clears the values of the layers below.
    Cleared,
    /// A mistake that has been reported; no other finding may be based on it.
    Bad,
}

impl<T> Default for Key<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Key<T> {
    /// A key that was written.
    pub fn new(held: Held<T>, location: Location) -> Self {
        Self(Some((held, location)))
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match &self.0 {
            Some((Held::Set(value), _)) => Some(value),
            _ => None,
        }
    }

    /// Where it was written.
    pub fn location(&self) -> Option<&Location> {
        self.0.as_ref().map(|(_, location)| location)
    }

    /// Where it was written, if it is not empty.
    fn written(&self) -> Option<&Location> {
        match &self.0 {
            Some((Held::Set(_) | Held::Bad, location)) => Some(location),
            _ => None,
        }
    }

    /// True if the value is a mistake.
    pub fn is_bad(&self) -> bool {
        matches!(self.0, Some((Held::Bad, _)))
    }

    /// `upper` if it is written, else this.
    pub(super) fn under(self, upper: Self) -> Self {
        Self(upper.0.or(self.0))
    }
}

impl<T: Clone> Key<T> {
    /// The value, or the type's default.
    pub(super) fn or_default(&self) -> T
    where
        T: Default,
    {
        self.value().cloned().unwrap_or_default()
    }
}

/// A map of a layer; maps are merged key by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapLayer<V> {
    /// True if an explicit empty value clears the entries of the layers below.
    pub cleared: bool,
    /// The entries, each with its location.
    pub entries: BTreeMap<String, (V, Location)>,
}

impl<V> Default for MapLayer<V> {
    fn default() -> Self {
        Self { cleared: false, entries: BTreeMap::new() }
    }
}

/// Everything that `global` and an entry of `bake` may hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskLayer {
    /// `platform`
    pub platform: Key<Platform>,
    /// `arch`
    pub arch: Key<Arch>,
    /// `cpu`, in thousandths of a core
    pub cpu_millis: Key<u32>,
    /// `memory`, in MiB
    pub memory_mib: Key<u32>,
    /// `disk`, in MiB
    pub disk_mib: Key<u32>,
    /// `timeout`, in seconds
    pub timeout_seconds: Key<u64>,
    /// `env`
    pub env: MapLayer<Secret>,
    /// `pre-script`
    pub pre_script: Key<String>,
    /// `post-script`
    pub post_script: Key<String>,
    /// `kaniko-credentials`
    pub credentials: Key<Vec<Login>>,
    /// `registry`, of `global` only
    pub registry: Key<ImagePrefix>,
    /// `context.git`, of `global` only
    pub context_git: Key<bool>,
    /// `kaniko`
    pub kaniko: KanikoLayer,
}

/// An entry of `kaniko-credentials`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// User name and password are known.
    Written(Credential),
    /// They are those of `docker login`.
    OfDocker(WantedLogin),
}

/// A login of `docker login` that a task asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLogin {
    /// The registry; `None` for each one that the task pushes to and has no other login for.
    pub registry: Option<String>,
    /// Where the file asks for it.
    pub location: Location,
}

/// The section `kaniko`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KanikoLayer {
    /// `kaniko.context-path`
    pub context_path: Key<String>,
    /// `kaniko.dockerfile`: relative to the context; with a slash first, to the source root
    pub dockerfile: Key<String>,
    /// `kaniko.dockerfile-inline`
    pub dockerfile_inline: Key<String>,
    /// `kaniko.destination`
    pub destination: Key<ImageRef>,
    /// `kaniko.tags`
    pub tags: Key<Vec<ImageRef>>,
    /// `kaniko.build-args`
    pub build_args: MapLayer<String>,
    /// `kaniko.cache`
    pub cache: CacheLayer,
    /// `kaniko.snapshot-mode`
    pub snapshot_mode: Key<SnapshotMode>,
    /// `kaniko.use-new-run`
    pub use_new_run: Key<bool>,
    /// `kaniko.cleanup`
    pub cleanup: Key<bool>,
    /// `kaniko.no-push`
    pub no_push: Key<bool>,
    /// `kaniko.custom-platform`
    pub custom_platform: Key<String>,
    /// `kaniko.dir`
    pub dir: Key<String>,
    /// `kaniko.ignore-path`
    pub ignore_path: Key<Vec<String>>,
    /// `kaniko.target`
    pub target: Key<String>,
    /// `kaniko.labels`
    pub labels: MapLayer<String>,
    /// `kaniko.annotations`
    pub annotations: MapLayer<String>,
    /// `kaniko.registry-mirrors`
    pub registry_mirrors: Key<Vec<String>>,
    /// `kaniko.registry-map`
    pub registry_map: MapLayer<Vec<String>>,
    /// `kaniko.certificates`
    pub certificates: MapLayer<String>,
    /// `kaniko.compression`
    pub compression: Key<Compression>,
    /// `kaniko.reproducible`
    pub reproducible: Key<bool>,
    /// `kaniko.single-snapshot`
    pub single_snapshot: Key<bool>,
    /// `kaniko.secrets`
    pub secrets: Key<Vec<SecretLayer>>,
    /// `kaniko.push-retry`
    pub push_retry: Key<u32>,
    /// `kaniko.extra-flags`, split
    pub extra_flags: Key<Vec<String>>,
    /// `kaniko.env`, which takes precedence over `env`
    pub env: MapLayer<Secret>,
}

impl KanikoLayer {
    /// Lets the Dockerfile that this layer has, a file or a text, replace what a layer below has of the other kind. A layer
    /// with both is a mistake, at the location that is returned.
    pub(crate) fn settle_dockerfile(&mut self) -> Option<Location> {
        match (self.dockerfile.written(), self.dockerfile_inline.written()) {
            (Some(at), None) => self.dockerfile_inline = Key::new(Held::Cleared, at.clone()),
            (None, Some(at)) => self.dockerfile = Key::new(Held::Cleared, at.clone()),
            (Some(_), Some(at)) => {
                let at = at.clone();
                self.dockerfile_inline = Key::new(Held::Bad, at.clone());
                return Some(at);
            }
            (None, None) => {}
        }
        None
    }
}

/// An entry of `kaniko.secrets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretLayer {
    /// The name that `RUN --mount=type=secret,id=...` has for it.
    pub id: String,
    /// Its value, which the client has read.
    pub value: Secret,
    /// Where it was written.
    pub location: Location,
}

/// The section `kaniko.cache`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheLayer {
    /// `kaniko.cache.enable`
    pub enable: Key<bool>,
    /// `kaniko.cache.repo`, as it was written
    pub repo: Key<String>,
    /// `kaniko.cache.ttl`, in seconds
    pub ttl_seconds: Key<u64>,
    /// `kaniko.cache.copy-layers`
    pub copy_layers: Key<bool>,
    /// `kaniko.cache.run-layers`
    pub run_layers: Key<bool>,
    /// `kaniko.cache.compressed`
    pub compressed: Key<bool>,
}
