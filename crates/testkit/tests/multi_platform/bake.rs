//! Builds that end well.

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::project::{Project, single};
use bakery_testkit::skopeo::architectures;

use crate::pair::{Pair, halves, of_tasks};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_on_each_platform_becomes_one_index() -> Result<()> {
    let pair = Pair::open("index").await?;
    let kitchen = &pair.kitchen;
    let image = kitchen.image("both/app:1");
    let project = Project::new(&kitchen.parts, "RUN echo baked on $(uname -m)", &halves(&image))?;
    let ended = kitchen.client(&project).run(&[]).await?;
    ensure!(ended.code == Some(0), "{}", pair.story(&ended));

    let index = kitchen.inspect(&image, &["--raw"]).await?;
    ensure!(architectures(&index)? == [Some("amd64"), Some("arm64")], "{index}");
    for arch in ["amd64", "arm64"] {
        let config = kitchen.inspect(&format!("{image}_{arch}"), &["--config"]).await?;
        ensure!(config["architecture"] == arch, "{arch}: {config}");
    }

    let view = kitchen.view(&project, &ended.build()?).await?;
    ensure!(of_tasks(&view, "platform") == ["k8s", "ecs"], "{view}");
    // Each half's own words are in the one log.
    let lines = ended.lines()?;
    let mut speakers = Vec::new();
    for machine in ["x86_64", "aarch64"] {
        let said = format!("baked on {machine}");
        let line = lines.iter().find(|line| line.message.trim() == said);
        speakers.push(line.with_context(|| format!("no {said:?}: {}", pair.story(&ended)))?.task.clone());
    }
    ensure!(speakers[0].is_some() && speakers[1].is_some() && speakers[0] != speakers[1], "{speakers:?}");
    pair.started_once().await?;
    pair.gone().await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_platform_is_named_ecs_is_taken() -> Result<()> {
    let pair = Pair::open("unnamed").await?;
    let kitchen = &pair.kitchen;
    let config = single(&kitchen.image("unnamed/app:1")).replace("arch: amd64", "arch: arm64");
    let project = Project::new(&kitchen.parts, "RUN true", &config)?;
    let ended = kitchen.client(&project).run(&[]).await?;
    ensure!(ended.code == Some(0), "{}", pair.story(&ended));
    let view = kitchen.view(&project, &ended.build()?).await?;
    ensure!(of_tasks(&view, "platform") == ["ecs"], "{view}");
    pair.task()?;
    ensure!(kitchen.space.made().await?.is_empty(), "no Job: {}", pair.story(&ended));
    pair.gone().await
}
