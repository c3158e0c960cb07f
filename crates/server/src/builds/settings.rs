//! What the operator decides about builds, and what wiring hands in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bakery_core::image::{Digest, ImageRef};
use bakery_core::kaniko::RefusedFlags;
use bakery_core::limits;
use bakery_core::names::Platform;
use bakery_core::rules::TaskBounds;
use bakery_core::secret::Secret;
use bakery_core::spec::Credential;
use bakery_core::wire::run::Push;
use tokio_util::sync::CancellationToken;

use super::context_store::ContextStore;
use super::gc::Retention;
use super::ledger::Ledger;
use super::timing::Timing;
use crate::clock::Clock;
use crate::disk::DataDisk;
use crate::logs::Logs;
use crate::platform::Launcher;
use crate::spawn::Tasks;
use bakery_registry::{Member, PushedCheck, Registry, RegistryError};

/// What the operator decides about builds.
#[derive(Debug, Clone)]
pub struct BuildsSettings {
    /// The configured platforms.
    pub platforms: BTreeMap<Platform, PlatformSettings>,
    /// `DEFAULT_BUILD_CPU`, in thousandths of a cpu.
    pub default_cpu_millis: u32,
    /// `DEFAULT_BUILD_MEMORY`, in MiB.
    pub default_memory_mib: u32,
    /// `BUILD_PROVISION_TIMEOUT`: from launch to the first contact of the agent.
    pub provision_timeout: Duration,
    /// `BUILD_TASK_TIMEOUT`: from launch to the end, per attempt, of tasks that request no time.
    pub task_timeout: Duration,
    /// `MAX_TASK_TIMEOUT` and `MAX_TASK_DISK`: the most that a task may request.
    pub bounds: TaskBounds,
    /// `BUILD_RESULT_TIMEOUT`: how long the server waits for a finished task's report while its container still exists.
    pub result_timeout: Duration,
    /// `INSECURE_REGISTRIES`, for agents.
    pub insecure_registries: Vec<String>,
    /// `REFUSED_KANIKO_FLAGS`: flags that no build may set.
    pub refused_flags: RefusedFlags,
    /// Who pushes images.
    pub push: Push,
    /// Bucket for contexts, for `info`.
    pub bucket: Option<String>,
    /// Waiting times that are not settings.
    pub timing: Timing,
    /// How long things are kept.
    pub retention: Retention,
}

impl BuildsSettings {
    /// The defaults on these platforms.
    pub fn on(platforms: BTreeMap<Platform, PlatformSettings>) -> Self {
        Self {
            platforms,
            default_cpu_millis: limits::TASK_CPU_MILLIS,
            default_memory_mib: limits::TASK_MEMORY_MIB,
            provision_timeout: limits::TASK_PROVISION,
            task_timeout: limits::TASK_TIME,
            bounds: TaskBounds { timeout: limits::TASK_TIME, disk_mib: None },
            result_timeout: limits::TASK_RESULT,
            insecure_registries: Vec::new(),
            refused_flags: RefusedFlags::default(),
            push: Push::ByKaniko,
            bucket: None,
            timing: Timing::default(),
            retention: Retention::default(),
        }
    }
}

/// One platform's settings.
#[derive(Debug, Clone)]
pub struct PlatformSettings {
    /// `MAX_RUNS`: runs at once.
    pub max_runs: usize,
    /// The URL of the agent listener as seen from this platform; agents are launched with it.
    pub agent_url: String,
    /// What else every agent is launched with: the operator's proxies.
    pub env: Vec<(String, Secret)>,
}

/// What builds need of a registry.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// See [`Registry::may_publish`].
    fn may_publish(&self, _destination: &ImageRef) -> Result<(), RegistryError> {
        Ok(())
    }

    /// See [`Registry::publish_index`].
    async fn publish_index(
        &self,
        destination: &ImageRef,
        members: &[Member],
        creds: &[Credential],
        cancel: &CancellationToken,
    ) -> Result<Digest, RegistryError>;

    /// See [`Registry::check_pushed`].
    async fn check_pushed(
        &self,
        image: &ImageRef,
        reported: &Digest,
        creds: &[Credential],
        cancel: &CancellationToken,
    ) -> PushedCheck;
}

#[async_trait]
impl Publisher for Registry {
    fn may_publish(&self, destination: &ImageRef) -> Result<(), RegistryError> {
        Registry::may_publish(self, destination)
    }

    async fn publish_index(
        &self,
        destination: &ImageRef,
        members: &[Member],
        creds: &[Credential],
        cancel: &CancellationToken,
    ) -> Result<Digest, RegistryError> {
        Registry::publish_index(self, destination, members, creds, cancel).await
    }

    async fn check_pushed(
        &self,
        image: &ImageRef,
        reported: &Digest,
        creds: &[Credential],
        cancel: &CancellationToken,
    ) -> PushedCheck {
        Registry::check_pushed(self, image, reported, creds, cancel).await
    }
}

/// The parts that builds work with.
pub struct BuildsParts {
    /// The ledger, which holds the lock on the data folder.
    pub ledger: Ledger,
    /// The logs.
    pub logs: Logs,
    /// The contexts.
    pub contexts: Arc<dyn ContextStore>,
    /// The registries.
    pub registry: Arc<dyn Publisher>,
    /// One launcher for each configured platform.
    pub launchers: BTreeMap<Platform, Arc<dyn Launcher>>,
    /// The operator's decisions.
    pub settings: BuildsSettings,
    /// The disk of the data folder.
    pub disk: DataDisk,
    /// What time it is.
    pub clock: Clock,
    /// Where tasks are started.
    pub tasks: Tasks,
}
