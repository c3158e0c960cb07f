//! SIGKILL of the server in the middle of both tasks: the next start goes on with the same task and the same pod.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::Log;
use bakery_testkit::project::{Project, numbered};

use crate::env::{MultiPlatformEnv, halves, of_tasks};

const LINES: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_servers_tasks_are_adopted_on_both_platforms() -> Result<()> {
    let mut env = MultiPlatformEnv::open("killed").await?;
    let config = halves(&env.k8s.image("killed/app:1"));
    let project = Project::new(&env.k8s.parts, &numbered("line", LINES.try_into()?, 300), &config)?;
    let client = env.k8s.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("line 5").await?.build.context("build")?;
    // The second such line is the other task's.
    log.until("line 5").await?;
    env.k8s.server.kill().await?;
    // Long enough for the agents to notice, and to spool what they cannot send.
    tokio::time::sleep(Duration::from_secs(3)).await;
    env.k8s.server.run().await?;
    let last = format!("line {LINES}");
    log.until(&last).await?;
    log.until(&last).await?;
    ensure!(child.wait().await?.code() == Some(0), "{}", env.k8s.server.log());

    let followed = client.run(&["logs", &build]).await?;
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in followed.lines()? {
        let number = line.message.trim().strip_prefix("line ").and_then(|number| number.parse().ok());
        if let (Some(task), Some(number)) = (line.task, number) {
            numbers.entry(task.to_string()).or_default().push(number);
        }
    }
    let whole: Vec<u64> = (1..=LINES).collect();
    ensure!(numbers.len() == 2 && numbers.values().all(|it| *it == whole), "{}", env.details(&followed));
    let view = env.k8s.view(&project, &build).await?;
    ensure!(of_tasks(&view, "attempt") == [1, 1], "{view}");
    env.started_once().await?;
    env.gone().await
}
