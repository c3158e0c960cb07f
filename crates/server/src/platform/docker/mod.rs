//! Tasks as containers of a Docker engine (or of Podman's Docker API).
//!
//! `order` is pure; `engine`, `image` and `watch` call the engine. Containers join a bridge network of the installation's
//! own, on whose gateway the agent listener listens.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bakery_core::image::{Digest, ImageRef};
use bakery_core::message::Message;
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use bakery_core::spec::Credential;
use bollard::errors::Error;
use bollard::models::{ContainerStateStatusEnum as Status, ContainerSummaryStateEnum as Listed};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder,
};
use futures_util::stream::BoxStream;
use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;

mod bridge;
mod engine;
mod image;
mod order;
mod watch;

pub use engine::{DockerError, Engine};
pub use image::own_copies;

use super::run_registry::RunRegistry;
use super::{
    Availability, AvailabilityState, Capabilities, LaunchError, LaunchOrder, Launcher, Observation, complete,
    labels,
};
use crate::spawn::Tasks;
use bridge::Bridge;
use image::AgentImages;
use order::{ContainerTemplate, STOP_SECONDS, disk_notice};

/// What the platform `docker` is made with.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// The installation's UUID: what carries it is ours.
    pub installation: String,
    /// The agent image.
    pub agent_image: ImageRef,
    /// Login for pulling it, where it needs one.
    pub agent_login: Option<Credential>,
    /// Whether tasks of other architectures are accepted: the engine emulates them.
    pub allow_emulation: bool,
    /// What the operator allows beyond the required capabilities.
    pub capabilities: Capabilities,
}

/// The platform `docker`. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct DockerPlatform {
    core: Arc<DockerCore>,
    tasks: Tasks,
    /// The address of this machine by which agents reach it: the agent listener listens there unless
    /// `BAKERY_AGENT_LISTEN` names another. With Podman the interface exists only while a container runs.
    pub gateway: IpAddr,
    /// The gateway of an earlier version's bridge, while tasks are still on it: their agents call the server there.
    pub former_gateway: Option<IpAddr>,
}

#[derive(Debug)]
struct DockerCore {
    engine: Engine,
    template: ContainerTemplate,
    images: AgentImages,
    availability: AvailabilityState,
    runs: RunRegistry,
}

impl DockerPlatform {
    /// Prepares what launches need: the bridge and the agent images. Starts no container.
    ///
    /// `lookup` asks the registry which digest an image has for each architecture; it is called only where the engine has
    /// no copy for an architecture.
    pub async fn prepare(
        engine: Engine,
        options: DockerOptions,
        tasks: &Tasks,
        lookup: impl AsyncFnOnce(&ImageRef) -> Result<BTreeMap<Arch, Digest>, String>,
    ) -> Result<Self, DockerError> {
        let former_gateway = engine.former_bridge(&options.installation).await;
        let Bridge { name: network, gateway } = engine.bridge(&options.installation).await?;
        let wanted: Vec<Arch> =
            Arch::ALL.into_iter().filter(|arch| *arch == engine.arch || options.allow_emulation).collect();
        let images =
            AgentImages::find(&engine, &options.agent_image, &wanted, options.agent_login, lookup).await;
        for arch in &wanted {
            if let Some(why) = images.why_missing(*arch) {
                tracing::warn!(%arch, error = why, "tasks of this architecture cannot run on the Docker platform");
            }
        }
        let cpu_millis = engine.cpus.saturating_mul(1000);
        let DockerOptions { installation, capabilities, .. } = options;
        let template = ContainerTemplate { installation, network, cpu_millis, capabilities };
        let core = Arc::new(DockerCore::new(engine, template, images));
        Ok(Self { core, tasks: tasks.clone(), gateway, former_gateway })
    }

    /// Removes the bridge, unless containers still use it. The next start creates it again.
    pub async fn leave(&self) {
        self.core.engine.leave_bridges(&self.core.template.installation).await;
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.core.engine
    }
}

impl DockerCore {
    fn new(engine: Engine, template: ContainerTemplate, images: AgentImages) -> Self {
        Self {
            engine,
            template,
            images,
            availability: AvailabilityState::default(),
            runs: RunRegistry::default(),
        }
    }

    fn progress(&self, run: RunName, text: String) {
        self.runs.publish(Observation::Progress { run, reason: None, message: text.into() });
    }

    /// The state of the run's container, `None` where the engine holds none. An error where the name is somebody else's.
    async fn held(&self, run: RunName) -> Result<Option<Status>, LaunchError> {
        let name = run.to_string();
        let found = match self.engine.docker.inspect_container(&name, None::<InspectContainerOptions>).await {
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            found => found.map_err(|error| {
                self.engine.launch_error(&format!("looking for the container {name}"), &error)
            })?,
        };
        let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        if self.template.run_of(labels) != Some(run) {
            return Err(LaunchError {
                retryable: false,
                reason: Reason::LaunchRefused,
                message: format!("the name {name} is taken by a container that is not this server's").into(),
            });
        }
        Ok(Some(found.state.and_then(|state| state.status).unwrap_or(Status::EMPTY)))
    }

    async fn create(&self, order: &LaunchOrder, image: &str) -> Result<(), LaunchError> {
        let name = order.run.to_string();
        let platform = format!("linux/{}", order.arch);
        let options = CreateContainerOptionsBuilder::new().name(&name).platform(&platform).build();
        let body = self.template.container(order, image);
        match self.engine.docker.create_container(Some(options), body).await {
            Ok(_) => Ok(()),
            // Another launch of the same order was faster; `start` does for both.
            Err(Error::DockerResponseServerError { status_code: 409, .. })
                if self.held(order.run).await?.is_some() =>
            {
                Ok(())
            }
            Err(error) => Err(self.engine.launch_error(&format!("creating the container {name}"), &error)),
        }
    }

    /// A whole launch. It must be run to its end: the engine goes on creating a container whose caller has given up.
    async fn launch(&self, order: &LaunchOrder, stopping: &CancellationToken) -> Result<(), LaunchError> {
        let run = order.run;
        let Some(_launching) = self.runs.begin_launch(run) else { return Ok(()) };
        match self.held(run).await? {
            Some(Status::CREATED) => {}
            Some(_) => return Ok(()),
            None => {
                // A pull takes minutes, and a stop waits for the launch.
                let image = tokio::select! {
                    image = self.images.ready(&self.engine, order.arch, |text| self.progress(run, text)) => image?,
                    () = self.runs.wait_over(run) => return self.runs.ensure_open(run),
                    () = stopping.cancelled() => return Err(LaunchError::stopping()),
                };
                if self.template.cpu(order) < order.cpu_millis {
                    let (asked, has) = (order.cpu_millis, self.engine.cpus);
                    self.progress(run, format!("the task requests {asked}m cpu; the engine has {has} cpus"));
                }
                self.runs.ensure_open(run)?;
                self.create(order, &image).await?;
            }
        }
        if let Err(stopped) = self.runs.ensure_open(run) {
            let gone = self.engine.remove(&run.to_string()).await;
            gone.map_err(|error| self.engine.launch_error(&format!("removing the container {run}"), &error))?;
            return Err(stopped);
        }
        self.start(run).await
    }

    /// Starts a container that was created. One that cannot be started is removed.
    async fn start(&self, run: RunName) -> Result<(), LaunchError> {
        let name = run.to_string();
        let start = async || self.engine.docker.start_container(&name, None::<StartContainerOptions>).await;
        let mut started = start().await;
        if matches!(&started, Err(error) if engine::bare_text(error).contains("network")) {
            // Somebody removed the bridge while the server was running.
            match self.engine.bridge(&self.template.installation).await {
                Ok(_) => started = start().await,
                Err(error) => tracing::warn!(%error, "the agents' bridge network cannot be created again"),
            }
        }
        if let Err(error) = started {
            let error = self.engine.launch_error(&format!("starting the container {name}"), &error);
            if let Err(left) = self.engine.remove(&name).await {
                tracing::warn!(%run, error = %left, "a container that did not start could not be removed; the next sweep removes it");
            }
            return Err(error);
        }
        Ok(())
    }

    /// The runs whose containers the engine holds, and whether each has ended.
    async fn list(&self) -> Result<Vec<(RunName, bool)>, Error> {
        let label = labels::selector(&self.template.installation);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self.engine.docker.list_containers(Some(options)).await?;
        let run = |labels| self.template.run_of(labels);
        let ended = |state| matches!(state, Some(Listed::EXITED | Listed::DEAD));
        Ok(found.iter().filter_map(|c| run(c.labels.as_ref()).map(|run| (run, ended(c.state)))).collect())
    }
}

#[async_trait]
impl Launcher for DockerPlatform {
    fn can_run(&self, arch: Arch) -> Result<(), Reason> {
        if self.core.images.has(arch) { Ok(()) } else { Err(Reason::NoSuchArch) }
    }

    fn why_not(&self, arch: Arch) -> Option<Message> {
        if self.core.images.has(arch) {
            return None;
        }
        let Engine { arch: own, host, .. } = &self.core.engine;
        Some(match self.core.images.why_missing(arch) {
            Some(why) => Message::new(why)
                .with_hint("check AGENT_IMAGE; it should be an index with both architectures"),
            None => Message::new(format!(
                "the Docker engine at {host} runs linux/{own}, and {arch} is not emulated"
            ))
            .with_hint(format!(
                "use a platform that has {arch} machines, or set ALLOW_EMULATION=true on the server"
            )),
        })
    }

    fn fit(&self, _: u32, _: u32, disk_mib: Option<u32>) -> Result<Vec<String>, Message> {
        Ok(disk_mib.map(disk_notice).into_iter().collect())
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        let (core, order, stopping) = (Arc::clone(&self.core), order.clone(), self.tasks.stopping().clone());
        complete(&self.tasks, async move { core.launch(&order, &stopping).await }).await
    }

    async fn stop(&self, run: &RunName) -> Result<(), LaunchError> {
        let (core, name) = (&*self.core, run.to_string());
        // Before anything else, so that a launch under way notices.
        core.runs.remember(*run, None);
        core.runs.wait_launched(*run).await;
        let doing = || format!("stopping the container {name}");
        let options = StopContainerOptionsBuilder::new().t(STOP_SECONDS).build();
        match core.engine.docker.stop_container(&name, Some(options)).await {
            // One that is not there has ended; one that the engine cannot stop is still removed by force.
            Ok(()) | Err(Error::DockerResponseServerError { .. }) => {}
            Err(error) => return Err(core.engine.launch_error(&doing(), &error)),
        }
        core.engine.remove(&name).await.map_err(|error| core.engine.launch_error(&doing(), &error))
    }

    fn availability(&self) -> Receiver<Availability> {
        self.core.availability.subscribe()
    }

    fn watch(&self) -> BoxStream<'static, Observation> {
        watch::watch(Arc::clone(&self.core))
    }

    async fn list(&self) -> Result<Vec<RunName>, LaunchError> {
        let core = &self.core;
        let listed =
            core.list().await.map_err(|error| core.engine.launch_error("listing containers", &error))?;
        Ok(listed.into_iter().map(|(run, _)| run).collect())
    }
}
