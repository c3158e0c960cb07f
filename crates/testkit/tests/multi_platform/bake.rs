//! Builds that succeed.

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::project::{Project, single};
use bakery_testkit::skopeo::architectures;

use crate::env::{MultiPlatformEnv, halves, of_tasks};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_on_both_platforms_become_one_index() -> Result<()> {
    let env = MultiPlatformEnv::open("index").await?;
    let k8s = &env.k8s;
    let image = k8s.image("both/app:1");
    let project = Project::new(&k8s.parts, "RUN echo baked on $(uname -m)", &halves(&image))?;
    let ended = k8s.client(&project).run(&[]).await?;
    ensure!(ended.code == Some(0), "{}", env.details(&ended));

    let index = k8s.inspect(&image, &["--raw"]).await?;
    ensure!(architectures(&index)? == [Some("amd64"), Some("arm64")], "{index}");
    for arch in ["amd64", "arm64"] {
        let config = k8s.inspect(&format!("{image}_{arch}"), &["--config"]).await?;
        ensure!(config["architecture"] == arch, "{arch}: {config}");
    }

    let view = k8s.view(&project, &ended.build()?).await?;
    ensure!(of_tasks(&view, "platform") == ["k8s", "ecs"], "{view}");
    // The build's log has the lines of both tasks.
    let lines = ended.lines()?;
    let mut tasks = Vec::new();
    for machine in ["x86_64", "aarch64"] {
        let expected = format!("baked on {machine}");
        let line = lines.iter().find(|line| line.message.trim() == expected);
        tasks.push(line.with_context(|| format!("no {expected:?}: {}", env.details(&ended)))?.task.clone());
    }
    ensure!(tasks[0].is_some() && tasks[1].is_some() && tasks[0] != tasks[1], "{tasks:?}");
    env.started_once().await?;
    env.gone().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ecs_is_the_default_platform() -> Result<()> {
    let env = MultiPlatformEnv::open("unnamed").await?;
    let k8s = &env.k8s;
    let config = single(&k8s.image("unnamed/app:1")).replace("arch: amd64", "arch: arm64");
    let project = Project::new(&k8s.parts, "RUN true", &config)?;
    let ended = k8s.client(&project).run(&[]).await?;
    ensure!(ended.code == Some(0), "{}", env.details(&ended));
    let view = k8s.view(&project, &ended.build()?).await?;
    ensure!(of_tasks(&view, "platform") == ["ecs"], "{view}");
    env.task()?;
    ensure!(k8s.namespace.made().await?.is_empty(), "no Job: {}", env.details(&ended));
    env.gone().await
}
