//! Makes every component once, is the only module that names concrete backends, and stops the components in order.

mod agent_listener;
mod context_store;
mod options;
mod platforms;
mod preflight;
mod signals;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bakery_context::s3::S3Store;
use bakery_core::message::{Hint, Message};
use bakery_core::names::Platform;
use bakery_core::vars::Vars;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::builds::ledger::{Ledger, LedgerError};
use crate::builds::{Builds, BuildsParts, BuildsSettings, InternalError, PlatformSettings};
use crate::clock::Clock;
use crate::contexts::{Bucket, Contexts};
use crate::disk::DataDisk;
use crate::http::{ConnectionLimits, OwnNames, Routers, Services, open_files_warning, serve};
use crate::logs::Logs;
use crate::platform::docker::{DockerError, DockerPlatform};
use crate::platform::ecs::EcsError;
use crate::platform::k8s::K8sError;
use crate::process;
use crate::settings::{self, Settings};
use crate::spawn::Tasks;
use bakery_registry::{Registry, RegistrySettings, docker_config};

use context_store::BuildContexts;
pub(crate) use options::{agent_image, ecs_options};
pub use platforms::{Platforms, find as find_platforms};
pub(crate) use platforms::{k8s, remote_runs};
pub use preflight::settle;

/// How long each step of a stop may take: open requests and commits are completed in it.
const DRAIN: Duration = Duration::from_secs(15);

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A folder in the data folder.
    #[error("the folder {0} cannot be used: {1}")]
    Folder(String, io::Error),
    /// An address.
    #[error("{variable}: cannot listen on {address}: {error}")]
    Listen {
        /// The variable that names it.
        variable: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The Docker platform.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The platform `ecs`.
    #[error(transparent)]
    Ecs(#[from] EcsError),
    /// The platform `k8s`.
    #[error(transparent)]
    K8s(#[from] K8sError),
    /// `AGENT_IMAGE`, or the default that is made of `IMAGE_NAME`, is not an image reference.
    #[error("AGENT_IMAGE: `{0}` is not a valid image reference")]
    AgentImage(String),
    /// The builds in the ledger cannot be read.
    #[error("the open builds cannot be resumed")]
    Builds(#[from] InternalError),
}

impl Hint for StartError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Ledger(error) => error.hint(),
            Self::Folder(..) => Some(LedgerError::FOLDER_HINT.into()),
            Self::Listen { hint, .. } => Some((*hint).into()),
            Self::Docker(error) => error.hint(),
            Self::Ecs(error) => error.hint(),
            Self::K8s(error) => error.hint(),
            Self::AgentImage(_) => Some("set AGENT_IMAGE to REGISTRY/REPOSITORY:TAG".into()),
            Self::Builds(_) => None,
        }
    }
}

/// A running server.
pub struct Server {
    /// Address of the public listener.
    pub public: SocketAddr,
    /// Address of the agent listener; `None` without a Docker platform.
    pub agents: Option<SocketAddr>,
    builds: Builds,
    tasks: Tasks,
    keeper: (Tasks, JoinHandle<()>),
    docker: Option<DockerPlatform>,
}

impl Server {
    /// Starts everything. When it returns, both listeners accept connections and every open build has been resumed.
    pub async fn start(settings: &Settings, vars: &dyn Vars) -> Result<Self, StartError> {
        let listener = listen(settings.listen).await?;
        if let Some(warning) = settings.warning() {
            warn(&warning);
        }
        for warning in settings::vars::replaced(vars) {
            warn(&warning);
        }
        let files = process::raise_open_files();
        if let Some(warning) = open_files_warning(files, remote_runs(settings)) {
            warn(&warning);
        }
        let (clock, tasks) = (Clock::system(), Tasks::new());
        let data = &settings.data_dir;
        let ledger = Ledger::open(data, settings.data_key.as_ref(), clock.clone()).await?;
        let disk = DataDisk::of(data);
        let folder = |name: &str, error| StartError::Folder(data.join(name).display().to_string(), error);
        let logs = Logs::open(&data.join("logs")).map_err(|error| folder("logs", error))?;
        let logs = logs.on_disk(disk.clone());
        let bucket = settings.s3.as_ref().map(|s3| Bucket {
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone(),
            name: s3.bucket.clone(),
        });
        let contexts = Contexts::open(&data.join("contexts"), bucket, disk.clone(), clock.clone())
            .map_err(|error| folder("contexts", error))?;
        let registry = Arc::new(registry(settings, vars));
        let Platforms { launchers, settings: platform_settings, agents, docker } =
            find_platforms(settings, vars, ledger.installation(), &registry, &tasks).await?;
        let keeper = {
            let last = Tasks::new();
            let keep = logs.clone().keep(last.stopping().clone());
            let handle = last.spawn("log keeper", keep);
            (last, handle)
        };
        let builds = Builds::start(BuildsParts {
            ledger,
            logs: logs.clone(),
            contexts: Arc::new(BuildContexts {
                contexts: contexts.clone(),
                store: own_store(settings).await,
            }),
            registry,
            launchers,
            settings: builds_settings(settings, platform_settings),
            disk,
            clock,
            tasks: tasks.clone(),
        })
        .await?;
        let public = listener.local_addr().unwrap_or(settings.listen);
        let services = Services {
            builds: builds.clone(),
            logs,
            contexts,
            token: settings.token.clone(),
            names: OwnNames { listen: public, url: settings.controller_url.clone() },
        };
        let routers = Routers::new(services, &tasks);
        let agents = agents.map(|(address, listeners)| {
            for listener in listeners {
                let (router, own) = (routers.agents(), tasks.clone());
                drop(tasks.spawn("agent listener", async move {
                    serve(listener, router, ConnectionLimits::agents(files), &own).await;
                }));
            }
            address
        });
        let (router, own) = (routers.public(), tasks.clone());
        let limits = ConnectionLimits::public(files, remote_runs(settings));
        drop(tasks.spawn("public listener", async move { serve(listener, router, limits, &own).await }));
        tracing::info!(version = env!("BAKERY_VERSION"), %public, agents = agents.map(tracing::field::display), data = %data.display(), "the server is ready");
        Ok(Self { public, agents, builds, tasks, keeper, docker })
    }

    /// Stops in order: no new requests, streams end, build actors complete their commits, logs are synced. Containers
    /// keep running, and their agents keep what they have not sent: the next start resumes both. Returns whether
    /// everything ended in time.
    pub async fn stop(self) -> bool {
        self.tasks.stop();
        let drained = tokio::time::timeout(DRAIN, self.builds.drain()).await.is_ok();
        let ended = self.tasks.ended(DRAIN).await;
        let (last, handle) = self.keeper;
        last.stop();
        let synced = tokio::time::timeout(DRAIN, handle).await.is_ok_and(|done| done.is_ok());
        if let Some(docker) = self.docker {
            docker.leave().await;
        }
        drained && ended && synced
    }
}

/// Starts, serves until SIGTERM or SIGINT, and stops; a second signal ends the process at once.
pub async fn run(settings: &Settings, vars: &dyn Vars) -> Result<(), StartError> {
    let mut signals = signals::Signals::listen();
    let server = tokio::select! {
        server = Server::start(settings, vars) => server?,
        () = signals.next() => return Ok(()),
    };
    signals.next().await;
    tracing::info!("stopping: builds continue, and the next start resumes them");
    tokio::select! {
        all = server.stop() => if !all { tracing::warn!("stopped before everything had ended") },
        () = signals.next() => tracing::warn!("stopped at once by a second signal"),
    }
    Ok(())
}

/// The registry client with these settings.
pub(crate) fn registry(settings: &Settings, vars: &dyn Vars) -> Registry {
    Registry::new(RegistrySettings {
        user_agent: concat!("bakery-server/", env!("CARGO_PKG_VERSION")).to_owned(),
        insecure: settings.registries.insecure.clone(),
        loopback_http: settings.registries.loopback,
        trusted: settings.registries.trusted.clone(),
        publish_allow: settings.registries.publish_allow.clone(),
        docker_config: docker_config(vars),
        ..RegistrySettings::default()
    })
}

/// The bucket, if the settings have static keys for it. AWS's default credentials may not allow the server to read it.
async fn own_store(settings: &Settings) -> Option<S3Store> {
    match settings.s3.as_ref().filter(|s3| s3.keys.is_some()) {
        Some(s3) => Some(S3Store::new(s3).await),
        None => None,
    }
}

/// Tries to listen on every address that the settings name.
pub(crate) async fn check_addresses(settings: &Settings) -> Vec<(SocketAddr, Result<(), StartError>)> {
    // Open until the end: two listeners cannot have one address.
    let public = listen(settings.listen).await;
    let agents = match settings.docker.as_ref().and_then(|docker| docker.agent_listen) {
        Some(address) => Some((address, agent_listener::check(address).await)),
        None => None,
    };
    std::iter::once((settings.listen, public.map(drop))).chain(agents).collect()
}

fn warn(message: &Message) {
    tracing::warn!(hint = message.hint, "{message}");
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let (variable, hint) =
        ("BAKERY_LISTEN", "choose another address, or stop the program that listens there");
    TcpListener::bind(address).await.map_err(|error| StartError::Listen { variable, address, error, hint })
}

fn builds_settings(settings: &Settings, platforms: BTreeMap<Platform, PlatformSettings>) -> BuildsSettings {
    let limits = &settings.limits;
    BuildsSettings {
        default_cpu_millis: limits.cpu_millis,
        default_memory_mib: limits.memory_mib,
        provision_timeout: limits.provision,
        task_timeout: limits.task,
        bounds: limits.bounds,
        result_timeout: limits.result,
        insecure_registries: settings.registries.insecure.clone(),
        refused_flags: settings.refused_flags.clone(),
        bucket: settings.s3.as_ref().map(|s3| s3.bucket.clone()),
        ..BuildsSettings::on(platforms)
    }
}
