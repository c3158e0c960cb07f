//! The environment of a test on Kubernetes: a server with a namespace of its own.

use std::time::Duration;

use crate::client::{Client, Ended};
use crate::cluster::{Cluster, Namespace, example};
use crate::parts::Parts;
use crate::process::{free_port, until};
use crate::project::Project;
use crate::registry::Registry;
use crate::server::Server;
use crate::skopeo;
use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard};

/// A test that disturbs the whole cluster locks it for writing, every other test for reading.
pub static CLUSTER_LOCK: RwLock<()> = RwLock::const_new(());

/// A server with a namespace and a registry of its own. Fields are dropped in order: the server
/// first.
#[derive(Debug)]
pub struct K8sEnv {
    /// The server.
    pub server: Server,
    /// Its namespace.
    pub namespace: Namespace,
    /// Where its images go.
    pub registry: Registry,
    /// The real parts.
    pub parts: Parts,
    /// `None` in a test that holds [`CLUSTER_LOCK`] itself.
    lock: Option<RwLockReadGuard<'static, ()>>,
}

impl K8sEnv {
    /// An environment whose server is ready. `name` keeps tests apart; `vars` override the variables of every test.
    pub async fn start(name: &str, vars: &[(&str, &str)]) -> Result<Self> {
        let mut env = Self::stopped(name, vars).await?;
        env.server.run().await?;
        Ok(env)
    }

    /// The same with a server that is not started yet.
    pub async fn stopped(name: &str, vars: &[(&str, &str)]) -> Result<Self> {
        let lock = CLUSTER_LOCK.read().await;
        let mut env = Self::exclusive(name, vars).await?;
        env.lock = Some(lock);
        Ok(env)
    }

    /// The same for a test that holds [`CLUSTER_LOCK`] itself.
    pub async fn exclusive(name: &str, vars: &[(&str, &str)]) -> Result<Self> {
        let (parts, cluster) = (Parts::required(), Cluster::required());
        let registry = Registry::start(&parts).await?;
        let namespace = Namespace::create(&cluster, name).await?;
        let listen = free_port(&cluster.host)?.to_string();
        let own = [
            ("BAKERY_LISTEN", listen.clone()),
            ("BAKERY_OPEN", "true".to_owned()),
            ("CONTROLLER_URL", format!("http://{listen}")),
            ("AGENT_IMAGE", cluster.agent_image.clone()),
            ("K8S_NAMESPACE", namespace.name.clone()),
            ("K8S_CONFIG_PATH", example("configs/config.yaml").display().to_string()),
            ("KUBECONFIG", namespace.kubeconfig(None).await?.display().to_string()),
            // No Docker engine, unless a test sets one.
            ("DOCKER_HOST", String::new()),
        ];
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let all: Vec<_> = own.chain(vars.iter().copied()).collect();
        let server = Server::new(&parts, &[&registry.host], &all)?;
        Ok(Self { server, namespace, registry, parts, lock: None })
    }

    /// A client in a project's folder.
    pub fn client(&self, project: &Project) -> Client {
        Client::new(&self.parts, project.path(), &self.server.url)
    }

    /// A name in the registry of this environment.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host)
    }

    /// Waits until no Job, pod or Secret of the server is left; `limit` is the promise under test.
    pub async fn gone(&self, limit: Duration) -> Result<()> {
        let none = async || self.namespace.ours("jobs,pods,secrets").await.is_ok_and(|left| left.is_empty());
        until("an empty namespace", limit, none).await
    }

    /// The names of the server's pods.
    pub async fn pods(&self) -> Result<Vec<String>> {
        let pods = self.namespace.ours("pods").await?;
        Ok(pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
    }

    /// Inspects an image with skopeo.
    pub async fn inspect(&self, image: &str, args: &[&str]) -> Result<Value> {
        skopeo::inspect(&self.parts, image, args).await
    }

    /// The build as `bakery-client ps --json` shows it.
    pub async fn view(&self, project: &Project, build: &str) -> Result<Value> {
        let listed = self.client(project).run(&["ps", "--json"]).await?;
        let mut list: Value = serde_json::from_str(&listed.out)?;
        let builds = list["builds"].as_array_mut().context("no builds")?;
        let found = builds.iter_mut().find(|view| view["id"] == build).context("the build is not listed")?;
        Ok(found.take())
    }

    /// The details for a failed assertion: output and log.
    pub fn details(&self, ended: &Ended) -> String {
        format!("client: {:?}\n{}\n{}\nserver:\n{}", ended.code, ended.out, ended.err, self.server.log())
    }
}

/// A config with one task on the cluster.
pub fn single(destination: &str) -> String {
    crate::project::single(destination).replace("global:\n", "global:\n  platform: k8s\n")
}
