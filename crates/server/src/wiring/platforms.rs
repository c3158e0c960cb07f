//! Which platforms there are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bakery_core::image::ImageRef;
use bakery_core::names::Platform;
use bakery_core::secret::Secret;
use bakery_core::vars::Vars;
use tokio::net::TcpListener;

use super::{StartError, agents_door};
use crate::builds::PlatformSettings;
use crate::platform::Launcher;
use crate::platform::docker::{DockerPlatform, DockerSettings, Engine, default_agent_image};
use crate::registry::Registry;
use crate::settings::Settings;

/// The platforms of this server.
pub struct Platforms {
    /// One launcher each.
    pub launchers: BTreeMap<Platform, Arc<dyn Launcher>>,
    /// What builds need to know of each.
    pub rooms: BTreeMap<Platform, PlatformSettings>,
    /// The agents' door, where a platform needs one of its own.
    pub agents: Option<(TcpListener, SocketAddr)>,
    /// The Docker platform, which has something to put away at the end.
    pub docker: Option<DockerPlatform>,
}

/// Makes ready every platform that is configured and that this version has. An engine that is not there is a mistake
/// only where it would be the one platform.
pub async fn find(
    settings: &Settings,
    vars: &dyn Vars,
    installation: &str,
    registry: &Registry,
) -> Result<Platforms, StartError> {
    if settings.default_platform != Platform::Docker {
        tracing::warn!(
            platform = %settings.default_platform,
            "its settings are read and checked, but this version does not have this platform: builds that go there are refused"
        );
    }
    let mut platforms =
        Platforms { launchers: BTreeMap::new(), rooms: BTreeMap::new(), agents: None, docker: None };
    let engine = match Engine::find(vars).await {
        Ok(engine) => engine,
        Err(error) if settings.default_platform != Platform::Docker => {
            tracing::warn!(%error, "no Docker platform");
            return Ok(platforms);
        }
        Err(error) => return Err(error.into()),
    };
    tracing::info!(host = engine.host, version = engine.version, arch = %engine.arch, "a Docker engine");
    let max_runs = settings.limits.max_runs.unwrap_or(engine.cpus as usize);
    let docker = DockerPlatform::prepare(
        engine,
        DockerSettings {
            installation: installation.to_owned(),
            agent_image: agent_image(settings)?,
            agent_login: None,
            allow_emulation: settings.docker.allow_emulation,
        },
        async |image| registry.platforms_of(image, &[]).await.map_err(|error| error.to_string()),
    )
    .await?;
    let (listener, address) = agents_door::listen(settings, docker.gateway).await?;
    let agent_url = settings.docker.agent_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let env =
        settings.proxies.iter().map(|(name, value)| (name.clone(), Secret::new(value.as_str()))).collect();
    platforms.rooms.insert(Platform::Docker, PlatformSettings { max_runs, agent_url, env });
    platforms.launchers.insert(Platform::Docker, Arc::new(docker.clone()));
    platforms.docker = Some(docker);
    platforms.agents = Some((listener, address));
    Ok(platforms)
}

/// `AGENT_IMAGE`, or the image of our own version.
fn agent_image(settings: &Settings) -> Result<ImageRef, StartError> {
    let docker = &settings.docker;
    let text = docker.agent_image.clone().unwrap_or_else(|| default_agent_image(&docker.image_name));
    text.parse().map_err(|_| StartError::AgentImage(text))
}
