//! A task that fails ends the other one on the other platform, and nothing is left.

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::Fault;
use bakery_testkit::client::{Log, finish};
use bakery_testkit::project::{Project, numbered};
use tokio::net::TcpListener;

use crate::env::{MultiPlatformEnv, halves, of_tasks};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_refused_ends_the_pod() -> Result<()> {
    let env = MultiPlatformEnv::open("refused").await?;
    let (k8s, proxy) = (&env.k8s, &env.aws.proxy);
    let config = halves(&k8s.image("refused/app:1"));
    let project = Project::new(&k8s.parts, &numbered("line", 600, 500), &config)?;
    // While it is throttled, the launch waits until the pod is in the middle of its work.
    proxy.inject("ecs:RunTask", Fault::Throttle, 1000);
    let mut child = k8s.client(&project).spawn(&[])?;
    // The log is kept open: a client whose reader is gone ends.
    let mut log = Log::of(&mut child)?;
    let build = log.until("line 3").await?.build.context("build")?;
    proxy.deny("ecs:RunTask");
    proxy.heal();
    let ended = finish(child).await?;
    ensure!(ended.code == Some(4), "{}", env.details(&ended));
    ensure!(ended.err.contains("the server's role lacks ecs:RunTask"), "{}", env.details(&ended));
    let view = k8s.view(&project, &build).await?;
    ensure!(view["reason"] == "launch-refused", "{view}");
    ensure!(of_tasks(&view, "reason") == ["sibling-failed", "launch-refused"], "{view}");
    println!("{}", ended.err);
    ensure!(proxy.tasks().is_empty(), "no task: {}", env.details(&ended));
    env.gone().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fails_ends_the_task() -> Result<()> {
    let env = MultiPlatformEnv::open("failed").await?;
    let k8s = &env.k8s;
    let config = halves(&k8s.image("failed/app:1"));
    // The pod waits for this listener until the task is in the middle of its work.
    let gate = TcpListener::bind((k8s.parts.gateway.as_str(), 0)).await?;
    let at = gate.local_addr()?;
    let script = format!("platform: k8s, pre-script: \"nc {} {} </dev/null; exit 3\"", at.ip(), at.port());
    let config = config.replace("platform: k8s", &script);
    let project = Project::new(&k8s.parts, &numbered("line", 600, 500), &config)?;
    let mut child = k8s.client(&project).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let (waiting, _) = gate.accept().await?;
    let build = log.until("line 3").await?.build.context("build")?;
    drop(waiting);
    let ended = finish(child).await?;
    ensure!(ended.code == Some(1), "{}", env.details(&ended));
    let view = k8s.view(&project, &build).await?;
    ensure!(view["reason"] == "pre-script-failed", "{view}");
    ensure!(of_tasks(&view, "reason") == ["pre-script-failed", "sibling-failed"], "{view}");
    println!("{}", ended.err);
    env.started_once().await?;
    env.gone().await
}
