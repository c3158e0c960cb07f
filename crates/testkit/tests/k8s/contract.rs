//! The platform `k8s` on a real cluster: the contract of all launchers, and what else a launcher must do.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use async_trait::async_trait;
use bakery_core::names::{Arch, RunName};
use bakery_server::platform::k8s::{self, K8sOptions, K8sPlatform, PodOptions};
use bakery_server::platform::{LaunchOrder, Launcher, Observation};
use bakery_server::spawn::Tasks;
use bakery_testkit::cluster::{Cluster, Namespace};
use bakery_testkit::engine::Engine;
use bakery_testkit::launcher_fixture::{Orders, check_limits, end_of, shell_image};
use bakery_testkit::parts::Parts;
use bakery_testkit::platform::contract::{self, Behavior, LauncherFixture};
use futures_util::StreamExt as _;

use bakery_testkit::k8s_env::CLUSTER_LOCK;

/// A platform whose "agent" is a shell that runs a script from its order's environment.
struct K8sFixture {
    platform: K8sPlatform,
    namespace: Namespace,
    installation: String,
    image: String,
    orders: Orders,
}

impl K8sFixture {
    async fn open(name: &str) -> Result<Self> {
        let (cluster, parts) = (Cluster::required(), Parts::required());
        let image = shell(&Engine::new(&parts), &parts, &cluster, name).await?;
        let namespace = Namespace::create(&cluster, name).await?;
        let installation = format!("{name}{}", std::process::id());
        let platform = platform(&namespace, &installation, &image).await?;
        Ok(Self { platform, namespace, installation, image, orders: Orders::of(name, 100, 32) })
    }

    fn running(&self, script: &str) -> LaunchOrder {
        self.orders.running(Arch::Amd64, script)
    }

    /// Checks that nothing was left. What a failing test leaves is deleted with the namespace.
    async fn close(self) -> Result<()> {
        let left = self.namespace.ours("jobs,pods,secrets").await?;
        let alive = left.iter().filter(|it| it["metadata"]["deletionTimestamp"].is_null()).count();
        ensure!(alive == 0, "{alive} objects were left");
        Ok(())
    }
}

/// Pushes an image with a shell as its program to the registry from which the nodes pull the agent image.
async fn shell(engine: &Engine, parts: &Parts, cluster: &Cluster, name: &str) -> Result<String> {
    let (registry, _) = cluster.agent_image.split_once('/').context("no registry in the agent image")?;
    let there = format!("{registry}/test/{name}-{}:1", std::process::id());
    // An engine uses plain HTTP for loopback only.
    let here = there.replace(&format!("{}:", parts.gateway), "127.0.0.1:");
    shell_image(engine, parts, name, &here).await?;
    let push = engine.docker(&["push", &here]).await;
    engine.docker(&["rmi", &here]).await?;
    push.map(|_| there)
}

pub(crate) async fn platform(namespace: &Namespace, installation: &str, image: &str) -> Result<K8sPlatform> {
    let kubeconfig = namespace.kubeconfig(None).await?.display().to_string();
    of(&[("KUBECONFIG", &kubeconfig)], &namespace.name, installation, image).await
}

async fn of(vars: &[(&str, &str)], namespace: &str, installation: &str, image: &str) -> Result<K8sPlatform> {
    let vars: std::collections::BTreeMap<_, _> =
        vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let cluster = k8s::Cluster::find(&vars, namespace).await?;
    let pods = PodOptions { service_account_name: Some("bakery-agent".to_owned()), ..PodOptions::default() };
    let options = K8sOptions { installation: installation.to_owned(), agent_image: image.parse()?, pods };
    Ok(K8sPlatform::new(cluster, options, &Tasks::new()))
}

#[async_trait]
impl LauncherFixture for K8sFixture {
    fn launcher(&self) -> &dyn Launcher {
        &self.platform
    }
    fn arch(&self) -> Arch {
        Arch::Amd64
    }
    fn order(&self, behavior: Behavior) -> LaunchOrder {
        self.orders.for_behavior(Arch::Amd64, behavior)
    }
    async fn perform(&self, _run: RunName, _behavior: Behavior) {}
    /// The number of pods that were ever made for the run, from the events of its Job.
    async fn starts(&self, run: RunName) -> usize {
        let of_job = |event: &serde_json::Value| {
            event["reason"] == "SuccessfulCreate" && event["involvedObject"]["name"] == run.to_string()
        };
        for _ in 0..50 {
            let events = self.namespace.get("events").await.unwrap_or_default();
            let pods: i64 =
                events.iter().filter(|event| of_job(event)).map(|it| it["count"].as_i64().unwrap_or(1)).sum();
            if pods > 0 {
                return usize::try_from(pods).unwrap_or_default();
            }
            // Events are written with a delay.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        0
    }
}

#[tokio::test]
async fn the_kubernetes_platform_keeps_the_contract() -> Result<()> {
    let _lock = CLUSTER_LOCK.read().await;
    let fixture = K8sFixture::open("contract").await?;
    let kept = contract::keep(&fixture).await;
    let closed = fixture.close().await;
    kept.map_err(|why| anyhow!(why)).and(closed)
}

#[tokio::test]
async fn limits_apply_and_the_last_output_is_kept() -> Result<()> {
    let _lock = CLUSTER_LOCK.read().await;
    let fixture = K8sFixture::open("limits").await?;
    // Root, no token, and no variable that the order does not hold.
    let bare = "[ $(env | grep -c ^BAKERY) = 0 ] && [ $(id -u) = 0 ] && [ ! -e /var/run/secrets ]";
    check_limits(&fixture.platform, &fixture.orders, Arch::Amd64, bare).await?;
    let order = LaunchOrder { disk_mib: Some(1536), ..fixture.order(Behavior::Stay) };
    fixture.platform.launch(&order).await?;
    let disk = "jsonpath={.spec.template.spec.containers[0].resources.limits.ephemeral-storage}";
    let disk = fixture.namespace.kubectl(&["get", "job", &order.run.to_string(), "-o", disk]).await?;
    fixture.platform.stop(&order.run).await?;
    ensure!(disk == "1536Mi", "{disk}");
    fixture.close().await
}

#[tokio::test]
async fn a_new_server_finds_the_runs_of_the_old_one() -> Result<()> {
    let _lock = CLUSTER_LOCK.read().await;
    let fixture = K8sFixture::open("next").await?;
    let (stays, left) = (fixture.order(Behavior::Stay), fixture.order(Behavior::Leave(4)));
    fixture.platform.launch(&stays).await?;
    fixture.platform.launch(&left).await?;
    // The old server no longer watches: both Jobs still exist, one has ended.
    let next = platform(&fixture.namespace, &fixture.installation, &fixture.image).await?;
    let mut watch = next.watch();
    let Some(Observation::Synced { live }) = watch.next().await else { bail!("no resync") };
    ensure!(live.contains(&stays.run) && live.contains(&left.run), "{live:?}");
    let exit = end_of(&mut watch, left.run).await?;
    ensure!(exit.code == Some(4), "{exit:?}");
    next.launch(&stays).await?;
    ensure!(fixture.starts(stays.run).await == 1, "a running pod is adopted");
    next.stop(&stays.run).await?;
    end_of(&mut watch, stays.run).await?;
    ensure!(next.list().await?.is_empty());
    fixture.close().await
}

#[tokio::test]
async fn a_launch_that_was_interrupted_after_its_job_is_completed_by_the_next() -> Result<()> {
    let _lock = CLUSTER_LOCK.read().await;
    let fixture = K8sFixture::open("half").await?;
    let order = fixture.running("exit 5");
    fixture.platform.launch(&order).await?;
    // As if the Secret had never been made.
    fixture.namespace.kubectl(&["delete", "secret", &order.run.to_string()]).await?;
    let next = platform(&fixture.namespace, &fixture.installation, &fixture.image).await?;
    let exit = {
        let mut watch = next.watch();
        watch.next().await.context("no resync")?;
        next.launch(&order).await?;
        end_of(&mut watch, order.run).await?
    };
    ensure!(exit.code == Some(5), "{exit:?}");
    let secrets = fixture.namespace.ours("secrets").await?;
    let owner = |secret: &serde_json::Value| secret["metadata"]["ownerReferences"][0]["kind"] == "Job";
    ensure!(secrets.iter().all(owner), "every Secret goes with its Job");
    next.stop(&order.run).await?;
    fixture.close().await
}

#[tokio::test]
async fn a_job_of_another_server_is_left_alone() -> Result<()> {
    let _lock = CLUSTER_LOCK.read().await;
    let fixture = K8sFixture::open("foreign").await?;
    let order = fixture.order(Behavior::Stay);
    let other = platform(&fixture.namespace, "somebody-else", &fixture.image).await?;
    other.launch(&order).await?;
    let error = fixture.platform.launch(&order).await.err().context("the name is taken")?;
    ensure!(error.message.text.contains("not this server's"), "{error}");
    ensure!(fixture.platform.list().await?.is_empty());
    other.stop(&order.run).await?;
    fixture.close().await
}
