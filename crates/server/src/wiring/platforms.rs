//! Makes the platforms that the settings switch on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bakery_core::names::Platform;
use bakery_core::secret::Secret;
use bakery_core::vars::Vars;
use tokio::net::TcpListener;

use super::options::{agent_image, ecs_options, k8s_options};
use super::{StartError, agent_listener};
use crate::builds::PlatformSettings;
use crate::platform::docker::{DockerOptions, DockerPlatform, Engine};
use crate::platform::ecs::EcsPlatform;
use crate::platform::k8s::{Cluster, K8sPlatform};
use crate::platform::{Capabilities, Launcher};
use crate::settings::{DockerSettings, Settings};
use crate::spawn::Tasks;
use bakery_registry::Registry;

/// The default of `MAX_RUNS` on ECS and Kubernetes.
const MAX_REMOTE_RUNS: usize = 100;

/// The platforms of this server.
#[derive(Default)]
pub struct Platforms {
    /// One launcher each.
    pub launchers: BTreeMap<Platform, Arc<dyn Launcher>>,
    /// The settings of each that builds need.
    pub settings: BTreeMap<Platform, PlatformSettings>,
    /// Where agents of the Docker platform reach the server, and the listeners for them.
    pub agents: Option<(SocketAddr, Vec<TcpListener>)>,
    /// The Docker platform, which removes its network at the end.
    pub docker: Option<DockerPlatform>,
}

/// Prepares every platform that the settings switch on.
pub async fn find(
    settings: &Settings,
    vars: &dyn Vars,
    installation: &str,
    registry: &Registry,
    tasks: &Tasks,
) -> Result<Platforms, StartError> {
    let mut platforms = Platforms::default();
    // Settings that switch on one of these platforms require the URL.
    let remote_url = settings.controller_url.clone().unwrap_or_default();
    if let Some(ecs) = &settings.ecs {
        let options = ecs_options(ecs, settings, installation)?;
        let ecs = EcsPlatform::prepare(options, &settings.data_dir, tasks).await?;
        platforms.add(Platform::Ecs, Arc::new(ecs), settings, MAX_REMOTE_RUNS, remote_url.clone());
    }
    if let Some(cluster) = k8s(settings, vars, installation, tasks).await? {
        platforms.add(Platform::K8s, Arc::new(cluster), settings, MAX_REMOTE_RUNS, remote_url);
    }
    if let Some(docker_settings) = &settings.docker {
        let engine = Engine::find(vars).await?;
        tracing::info!(host = engine.host, version = engine.version, arch = %engine.arch, "a Docker engine");
        let max_runs = engine.cpus as usize;
        let options = docker_options(docker_settings, settings, installation, registry).await?;
        let docker = DockerPlatform::prepare(engine, options, tasks, async |image| {
            registry.platforms_of(image, &[]).await.map_err(|error| error.to_string())
        })
        .await?;
        let (named, data) = (docker_settings.agent_listen, &settings.data_dir);
        // Before the other: that may store another port.
        let former = match docker.former_gateway.filter(|_| named.is_none()) {
            Some(gateway) => agent_listener::listen_as_before(gateway, data).await,
            None => None,
        };
        let (listener, address) = agent_listener::listen(named, data, docker.gateway).await?;
        let agent_url = docker_settings.agent_url.clone().unwrap_or_else(|| format!("http://{address}"));
        platforms.add(Platform::Docker, Arc::new(docker.clone()), settings, max_runs, agent_url);
        platforms.agents = Some((address, std::iter::once(listener).chain(former).collect()));
        platforms.docker = Some(docker);
    }
    Ok(platforms)
}

/// The number of runs whose agents call the public listener.
pub(crate) fn remote_runs(settings: &Settings) -> usize {
    let platforms = usize::from(settings.ecs.is_some()) + usize::from(settings.k8s.is_some());
    platforms * settings.limits.max_runs.unwrap_or(MAX_REMOTE_RUNS)
}

/// The platform `k8s`, if it is switched on. Nothing has been requested of its cluster yet.
pub(crate) async fn k8s(
    settings: &Settings,
    vars: &dyn Vars,
    installation: &str,
    tasks: &Tasks,
) -> Result<Option<K8sPlatform>, StartError> {
    let Some(k8s) = &settings.k8s else { return Ok(None) };
    let cluster = Cluster::find(vars, &k8s.namespace).await?;
    tracing::info!(url = cluster.url, namespace = cluster.namespace, "a Kubernetes cluster");
    Ok(Some(K8sPlatform::new(cluster, k8s_options(k8s, settings, installation)?, tasks)))
}

impl Platforms {
    fn add(
        &mut self,
        platform: Platform,
        launcher: Arc<dyn Launcher>,
        settings: &Settings,
        max_runs: usize,
        agent_url: String,
    ) {
        let proxies = settings.proxies.iter();
        let env = proxies.map(|(name, value)| (name.clone(), Secret::new(value.as_str()))).collect();
        let max_runs = settings.limits.max_runs.unwrap_or(max_runs);
        self.launchers.insert(platform, launcher);
        self.settings.insert(platform, PlatformSettings { max_runs, agent_url, env });
    }
}

/// What the Docker platform is made with. The engine pulls the agent image with the server's own login for its registry,
/// and so does the lookup: the operator chose the image. A login that cannot be read may not be needed.
async fn docker_options(
    docker: &DockerSettings,
    settings: &Settings,
    installation: &str,
    registry: &Registry,
) -> Result<DockerOptions, StartError> {
    let agent_image = agent_image(settings)?;
    let agent_login = registry.operators_login(&agent_image).await.unwrap_or_else(|error| {
        tracing::warn!(%error, hint = error.hint, "the agent image is pulled without a login");
        None
    });
    Ok(DockerOptions {
        installation: installation.to_owned(),
        agent_image,
        agent_login,
        allow_emulation: docker.allow_emulation,
        capabilities: Capabilities::allowing(settings.capabilities.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakery_registry::RegistrySettings;

    #[tokio::test]
    async fn the_agent_image_is_pulled_with_the_operators_own_login() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        // `me:crumbs`; what may be published is another matter.
        let text = r#"{"auths":{"private.test:5000":{"auth":"bWU6Y3J1bWJz"},"broken.test":{"auth":"%%%"}}}"#;
        std::fs::write(&config, text).unwrap();
        let registry = Registry::new(RegistrySettings {
            publish_allow: vec!["elsewhere.test/shop".to_owned()],
            docker_config: Some(config),
            ..RegistrySettings::default()
        });
        let login = async |image: &str| {
            let data = folder.path().display().to_string();
            let vars = BTreeMap::from([
                ("BAKERY_DATA_DIR".to_owned(), data),
                ("AGENT_IMAGE".to_owned(), image.to_owned()),
            ]);
            let settings = Settings::read(&vars, false).unwrap();
            let docker = settings.docker.as_ref().unwrap();
            docker_options(docker, &settings, "installation", &registry).await.unwrap().agent_login
        };
        let found = login("private.test:5000/builds/agent:1").await.unwrap();
        assert_eq!((found.registry.as_str(), found.username.as_str()), ("private.test:5000", "me"));
        assert_eq!(found.password.expose(), "crumbs");
        assert!(login("private.test/builds/agent:1").await.is_none(), "a login is for one registry");
        assert!(login("broken.test/agent:1").await.is_none(), "the engine may have the image");
    }
}
