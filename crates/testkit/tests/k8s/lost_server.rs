//! SIGKILL of the server in the middle of a pod's build: the next start goes on with the same pod and the same attempt.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::Log;
use bakery_testkit::project::{Project, numbered};

use bakery_testkit::k8s_env::{K8sEnv, single};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_servers_pods_are_adopted() -> Result<()> {
    let mut env = K8sEnv::start("killed", &[]).await?;
    let project = Project::new(&env.parts, &numbered("line", 60, 200), &single(&env.image("killed/app:1")))?;
    let client = env.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("line 20").await?.build.context("build")?;
    let before = env.pods().await?;
    env.server.kill().await?;
    // Long enough for the agent to notice, and to spool what it cannot send.
    tokio::time::sleep(Duration::from_secs(3)).await;
    env.server.run().await?;
    log.until("line 40").await?;
    let after = env.pods().await?;
    ensure!(before == after && before.len() == 1, "before {before:?}, after {after:?}");
    log.until("line 60").await?;
    ensure!(child.wait().await?.code() == Some(0), "{}", env.server.log());
    let ended = client.run(&["logs", &build]).await?;
    ensure!(ended.numbers("line")? == (1..=60).collect::<Vec<_>>(), "{}", env.details(&ended));
    let view = env.view(&project, &build).await?;
    ensure!(view["targets"][0]["tasks"][0]["attempt"] == 1, "{view}");
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_without_a_server_is_found_by_the_next_start() -> Result<()> {
    let mut env = K8sEnv::start("absent", &[("BUILD_RESULT_TIMEOUT", "5s")]).await?;
    let project = Project::new(&env.parts, &numbered("line", 5, 200), &single(&env.image("absent/app:1")))?;
    let client = env.client(&project);
    let mut child = client.spawn(&[])?;
    let build = Log::of(&mut child)?.until("line 1").await?.build.context("build")?;
    env.server.kill().await?;
    // The agent cannot report, and ends.
    bakery_testkit::process::until("the pod's end", Duration::from_mins(1), async || {
        let pods = env.namespace.ours("pods").await.unwrap_or_default();
        pods.iter().any(|pod| pod["status"]["phase"] != "Running" && pod["status"]["phase"] != "Pending")
    })
    .await?;
    child.kill().await?;
    env.server.run().await?;
    let ended = client.run(&["logs", &build]).await?;
    ensure!(ended.code == Some(0), "{}", env.details(&ended));
    let words = ["its container is gone", "the report cannot be delivered"];
    ensure!(words.iter().all(|words| ended.out.contains(words)), "{}", env.details(&ended));
    let view = env.view(&project, &build).await?;
    ensure!(view["targets"][0]["tasks"][0]["attempt"] == 2, "{view}");
    env.gone(Duration::from_secs(20)).await
}
