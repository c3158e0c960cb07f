//! The API server is unavailable in the middle of a build or at its start: the build goes on and succeeds.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::cluster::Cluster;
use bakery_testkit::cuttable_link::CuttableLink;
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::server::Server;

use bakery_testkit::k8s_env::{K8sEnv, single};

/// An environment whose server reaches the API server through a link that can be cut.
async fn wired(name: &str) -> Result<(K8sEnv, CuttableLink)> {
    let link = CuttableLink::to(&Cluster::required().api().await?, "127.0.0.1").await?;
    let mut env = K8sEnv::stopped(name, &[]).await?;
    let file = env.namespace.kubeconfig(Some(&link.addr.to_string())).await?;
    env.server.set("KUBECONFIG", &file.display().to_string());
    env.server.run().await?;
    ready(&env.server, true).await?;
    Ok((env, link))
}

/// Waits until `/readyz` reports it.
async fn ready(server: &Server, wanted: bool) -> Result<()> {
    let url = format!("{}/readyz", server.url);
    let answers =
        async || reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success() == wanted);
    until(
        if wanted { "a ready server" } else { "a server that is not ready" },
        Duration::from_secs(30),
        answers,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_continues_while_the_api_server_is_unavailable_for_half_a_minute() -> Result<()> {
    let (env, link) = wired("away").await?;
    let project = Project::new(&env.parts, &numbered("line", 80, 500), &single(&env.image("away/app:1")))?;
    let client = env.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("line 5").await?.build.context("build")?;
    link.cut();
    ready(&env.server, false).await?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    link.mend();
    ready(&env.server, true).await?;
    log.until("line 80").await?;
    ensure!(child.wait().await?.code() == Some(0), "{}", env.server.log());
    let ended = client.run(&["logs", &build]).await?;
    ensure!(ended.numbers("line")? == (1..=80).collect::<Vec<_>>(), "{}", env.details(&ended));
    let made = env.namespace.made().await?;
    ensure!(made.len() == 1, "one Job: {made:?}");
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_starts_while_the_api_server_is_unavailable_waits_and_reports_it() -> Result<()> {
    let (env, link) = wired("later").await?;
    let project = Project::new(&env.parts, "RUN true", &single(&env.image("later/app:1")))?;
    link.cut();
    ready(&env.server, false).await?;
    let client = env.client(&project);
    let child = client.spawn(&[])?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    link.mend();
    let ended = finish(child).await?;
    ensure!(ended.code == Some(0), "{}", env.details(&ended));
    ensure!(
        ended.out.contains("does not answer") && ended.out.contains("is available again"),
        "{}",
        ended.out
    );
    env.gone(Duration::from_secs(20)).await
}
