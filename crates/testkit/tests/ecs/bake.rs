//! Whole builds on ECS: with the baseline rights alone, through S3 and Secrets Manager, and through what AWS does to them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::{SERVER, Table};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::shop::{Shop, single};
use bakery_testkit::skopeo::architectures;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_baked_for_two_architectures_with_the_baseline_rights_alone() -> Result<()> {
    let table = Table::with_s3("demo").await?;
    let vars = [Shop::bucket(&table).as_slice(), &Shop::pull_secret(&table)].concat();
    let shop = Shop::open(table, &vars).await?;
    let project = Project::demo()?;
    let client = shop.client(&project).with("REGISTRY", &shop.registry.host);
    let client = shop.with_bucket(client.with("BASE_IMAGE", &shop.table.parts.base_image));
    let baked = client.run(&["--compose", "compose.yaml", "--config", "config.yaml"]).await?;
    ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    let index = shop.inspect(&shop.image("demo/shop:1"), &["--raw"]).await?;
    ensure!(architectures(&index)? == [Some("amd64"), Some("arm64")], "{index}");
    let worker = shop.inspect(&shop.image("demo/worker:1"), &["--config"]).await?;
    ensure!(worker["architecture"] == "amd64", "{worker}");
    // The size that Fargate has, and what was asked for.
    ensure!(baked.err.contains("rounded up to what Fargate has: 1 vCPU and 2048 MiB"), "{}", baked.err);
    println!("{:#?}", shop.table.proxy.counts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_without_a_role_read_their_context_by_a_url_of_the_servers() -> Result<()> {
    let table = Table::with_s3("url").await?;
    table.with_extras()?;
    let mut vars = Shop::bucket(&table).to_vec();
    vars.extend([
        ("S3_ACCESS_KEY", SERVER.to_owned()),
        ("S3_SECRET_KEY", "server-secret".to_owned()),
        ("ECS_TASK_ROLE_ARN", String::new()),
    ]);
    let shop = Shop::open(table, &vars).await?;
    let project = Project::new(&shop.table.parts, "COPY src /src", &single(&shop.image("url/app:1")))?;
    project.write("src", "flour\n")?;
    let baked = shop.with_bucket(shop.client(&project)).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    let read = shop.table.proxy.calls_of("s3:GetObject");
    ensure!(!read.is_empty() && read.iter().all(|call| call.principal == "server"), "{}", shop.story(&baked));
    let definition = &shop.table.proxy.calls_of("ecs:RegisterTaskDefinition")[0].request;
    ensure!(definition["taskRoleArn"].is_null(), "{definition}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_servers_tasks_are_adopted_with_the_baseline_rights_alone() -> Result<()> {
    let mut shop = Shop::open(Table::laid("killed").await?, &[]).await?;
    let project =
        Project::new(&shop.table.parts, &numbered("line", 60, 200), &single(&shop.image("killed/app:1")))?;
    let client = shop.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("line 20").await?.build.context("build")?;
    shop.server.kill().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    shop.server.run().await?;
    log.until("line 60").await?;
    ensure!(child.wait().await?.code() == Some(0), "{}", shop.server.log());
    let followed = client.run(&["logs", &build]).await?;
    ensure!(followed.numbers("line")? == (1..=60).collect::<Vec<_>>(), "{}", shop.story(&followed));
    ensure!(shop.started().len() == 1, "{}", shop.story(&followed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_the_task() -> Result<()> {
    let table = Table::laid("cancel").await?;
    table.with_extras()?;
    let shop = Shop::open(table, &[]).await?;
    let steps = format!("{}\nRUN sleep 600", numbered("tick", 3, 100));
    let project = Project::new(&shop.table.parts, &steps, &single(&shop.image("cancel/app:1")))?;
    let client = shop.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 3").await?.build.context("build")?;
    client.run(&["cancel", &build]).await?;
    let (arn, _) = shop.started().pop().context("a task")?;
    shop.table.reaches(&arn, "STOPPED").await?;
    let ended = finish(child).await?;
    ensure!(ended.code == Some(1), "{}", shop.story(&ended));
    Ok(())
}

/// Waits until the clean-up has taken these away, by size and revision.
async fn deregistered(shop: &Shop, wanted: &[&str]) -> Result<()> {
    let so = async || {
        let calls = shop.table.proxy.calls_of("ecs:DeregisterTaskDefinition");
        let arns = calls.iter().filter_map(|call| call.request["taskDefinition"].as_str());
        arns.filter_map(|arn| Some(arn.rsplit_once('-')?.1)).eq(wanted.iter().copied())
    };
    until("the clean-up", Duration::from_secs(30), so).await.with_context(|| shop.server.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_are_old_or_unlike_the_settings_go_at_start() -> Result<()> {
    let mut shop = Shop::open(Table::laid("tidy").await?, &[]).await?;
    let project = Project::new(&shop.table.parts, "RUN true", &single(&shop.image("tidy/app:1")))?;
    for storage in ["", "30"] {
        shop.server.kill().await?;
        shop.server.set("ECS_EPHEMERAL_STORAGE", storage);
        shop.server.run().await?;
        let baked = shop.client(&project).run(&[]).await?;
        ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    }
    let proxy = &shop.table.proxy;
    ensure!(
        proxy.calls_of("ecs:RegisterTaskDefinition").len() == 2,
        "a setting has changed: another definition"
    );
    ensure!(proxy.calls_of("ecs:DeregisterTaskDefinition").is_empty(), "nobody has asked for it yet");
    shop.server.kill().await?;
    shop.server.set("CLEANUP_ECS_TASK_DEFINITIONS", "true");
    shop.server.run().await?;
    deregistered(&shop, &["2048:1"]).await?;
    shop.server.kill().await?;
    shop.server.set("ECS_EPHEMERAL_STORAGE", "40");
    shop.server.run().await?;
    deregistered(&shop, &["2048:1", "2048:2"]).await?;
    Ok(())
}
