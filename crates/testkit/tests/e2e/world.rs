//! The environment of most tests here.

use std::time::Duration;

use anyhow::{Result, ensure};
use bakery_testkit::client::Client;
pub(crate) use bakery_testkit::client::Log;
use bakery_testkit::engine::Engine;
use bakery_testkit::parts::Parts;
use bakery_testkit::process::until;
use bakery_testkit::project::Project;
use bakery_testkit::registry::Registry;
use bakery_testkit::server::Server;
use bakery_testkit::skopeo;
use tokio::process::Command;

/// A server with a registry of its own.
pub(crate) struct World {
    pub(crate) parts: Parts,
    pub(crate) engine: Engine,
    pub(crate) registry: Registry,
    pub(crate) server: Server,
}

impl World {
    pub(crate) async fn start(vars: &[(&str, &str)]) -> Result<Self> {
        let parts = Parts::required();
        let registry = Registry::start(&parts).await?;
        let server = Server::start(&parts, &[&registry.host], vars).await?;
        Ok(Self { engine: Engine::new(&parts), parts, registry, server })
    }

    pub(crate) fn client(&self, project: &Project) -> Client {
        Client::new(&self.parts, project.path(), &self.server.url)
    }

    /// The name of an image in the registry.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host)
    }

    /// Waits until no container of a build is left; `limit` is the promise under test.
    pub(crate) async fn gone(&self, build: &str, limit: Duration) -> Result<()> {
        let none = async || self.engine.containers(build).await.is_ok_and(|names| names.is_empty());
        until("the container's end", limit, none).await
    }

    /// Runs skopeo; returns its output.
    pub(crate) async fn skopeo(&self, args: &[&str]) -> Result<String> {
        skopeo::skopeo(&self.parts, args).await
    }

    /// The raw manifest of an image.
    pub(crate) async fn manifest(&self, image: &str) -> Result<serde_json::Value> {
        skopeo::inspect(&self.parts, image, &["--raw"]).await
    }
}

/// Sends a signal by name.
pub(crate) async fn signal(name: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().await?;
    ensure!(status.success(), "kill -{name} {pid}");
    Ok(())
}
