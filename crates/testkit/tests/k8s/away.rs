//! The API server is away in the middle of a build, or at its beginning: the build goes on and ends well.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::cluster::Cluster;
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::server::Server;
use bakery_testkit::wire::Wire;

use bakery_testkit::kitchen::{Kitchen, single};

/// A kitchen whose server reaches the API server by a wire that can be cut.
async fn wired(name: &str) -> Result<(Kitchen, Wire)> {
    let wire = Wire::to(&Cluster::required().api().await?, "127.0.0.1").await?;
    let mut kitchen = Kitchen::closed(name, &[]).await?;
    let file = kitchen.space.kubeconfig(Some(&wire.addr.to_string())).await?;
    kitchen.server.set("KUBECONFIG", &file.display().to_string());
    kitchen.server.run().await?;
    ready(&kitchen.server, true).await?;
    Ok((kitchen, wire))
}

/// Waits until `/readyz` says so.
async fn ready(server: &Server, wanted: bool) -> Result<()> {
    let url = format!("{}/readyz", server.url);
    let said = async || reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success() == wanted);
    until(if wanted { "a ready server" } else { "a server that is not ready" }, Duration::from_secs(30), said)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_goes_on_while_the_api_server_is_away_for_half_a_minute() -> Result<()> {
    let (kitchen, wire) = wired("away").await?;
    let project =
        Project::new(&kitchen.parts, &numbered("line", 80, 500), &single(&kitchen.image("away/app:1")))?;
    let client = kitchen.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("line 5").await?.build.context("build")?;
    wire.cut();
    ready(&kitchen.server, false).await?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    wire.mend();
    ready(&kitchen.server, true).await?;
    log.until("line 80").await?;
    ensure!(child.wait().await?.code() == Some(0), "{}", kitchen.server.log());
    let ended = client.run(&["logs", &build]).await?;
    ensure!(ended.numbers("line")? == (1..=80).collect::<Vec<_>>(), "{}", kitchen.story(&ended));
    let made = kitchen.space.made().await?;
    ensure!(made.len() == 1, "one Job: {made:?}");
    kitchen.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_begins_while_the_api_server_is_away_waits_for_it_and_says_so() -> Result<()> {
    let (kitchen, wire) = wired("later").await?;
    let project = Project::new(&kitchen.parts, "RUN true", &single(&kitchen.image("later/app:1")))?;
    wire.cut();
    ready(&kitchen.server, false).await?;
    let client = kitchen.client(&project);
    let child = client.spawn(&[])?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    wire.mend();
    let ended = finish(child).await?;
    ensure!(ended.code == Some(0), "{}", kitchen.story(&ended));
    ensure!(ended.out.contains("does not answer") && ended.out.contains("answers again"), "{}", ended.out);
    kitchen.gone(Duration::from_secs(20)).await
}
