//! Nodes that are cordoned or lost, on a cluster that was started for these tests. Each test locks the whole cluster.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::Log;
use bakery_testkit::cluster::Cluster;
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered};

use bakery_testkit::k8s_env::{CLUSTER_LOCK, K8sEnv, single};

/// Prints which test is not run: on an existing cluster no node is disturbed.
fn ours(test: &str) -> bool {
    let ours = Cluster::required().is_ours();
    if !ours {
        println!("NOT RUN: {test}: the cluster of KUBECONFIG is not these tests' own");
    }
    ours
}

async fn node(cluster: &Cluster) -> Result<String> {
    cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_is_reported_as_the_reason() -> Result<()> {
    if !ours("a cordoned node") {
        return Ok(());
    }
    let _alone = CLUSTER_LOCK.write().await;
    let mut env = K8sEnv::exclusive("cordon", &[("BUILD_PROVISION_TIMEOUT", "4s")]).await?;
    env.server.run().await?;
    let cluster = env.namespace.cluster.clone();
    let node = node(&cluster).await?;
    cluster.kubectl(&["cordon", &node]).await?;
    let project = Project::new(&env.parts, "RUN true", &single(&env.image("cordon/app:1")))?;
    let ended = env.client(&project).run(&[]).await;
    cluster.kubectl(&["uncordon", &node]).await?;
    let ended = ended?;
    ensure!(ended.code == Some(4) && ended.out.contains("unschedulable"), "{}", env.details(&ended));
    let view = env.view(&project, &ended.build()?).await?;
    ensure!(view["reason"] == "no-capacity", "{view}");
    println!("{}", ended.err);
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_is_reported_at_once_and_its_task_is_retried_when_the_pod_is_gone() -> Result<()> {
    if !ours("a node that falls silent") {
        return Ok(());
    }
    let _alone = CLUSTER_LOCK.write().await;
    let mut env = K8sEnv::exclusive("silent", &[]).await?;
    env.server.run().await?;
    let cluster = env.namespace.cluster.clone();
    let steps = numbered("line", 600, 500);
    let project = Project::new(&env.parts, &steps, &single(&env.image("silent/app:1")))?;
    let client = env.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("line 3").await?.build.context("build")?;
    // If no node is ready, Kubernetes evicts nothing: so there is a second one, in name only.
    cluster.script(&["start", "spare"]).await?;
    cluster.script(&["stop", "kubelet"]).await?;
    let lost = log.until_contains("node is not ready", Duration::from_mins(2)).await;
    let taken = log.until_contains("the pod is being terminated", Duration::from_mins(2)).await;
    let lost_in_json = async {
        let seen = async || {
            let view = env.view(&project, &build).await;
            view.is_ok_and(|view| view["targets"][0]["tasks"][0]["reason"] == "node-lost")
        };
        until("the reason node-lost in JSON", Duration::from_mins(1), seen).await
    };
    let started = async {
        cluster.script(&["start", "kubelet"]).await?;
        cluster.script(&["stop", "spare"]).await
    };
    let (json, started) = tokio::join!(lost_in_json, started);
    started?;
    json?;
    let lost = lost?;
    println!("{}", taken?.message);
    println!("{}", lost.message);
    // The kubelet is back, finds that the pod is to be deleted, and ends it: now a second attempt may start.
    log.until_contains("retrying once", Duration::from_mins(2)).await?;
    client.run(&["cancel", &build]).await?;
    child.kill().await?;
    until("a node that is ready again", Duration::from_mins(1), async || {
        let ready = cluster.kubectl(&["get", "nodes"]).await.unwrap_or_default();
        !ready.contains("NotReady")
    })
    .await?;
    env.gone(Duration::from_secs(30)).await
}
