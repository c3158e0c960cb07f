//! Whole builds on ECS: with the baseline rights only, with S3, and with restarts, cancels and clean-up.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::{AwsEnv, SERVER};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::ecs_env::{EcsEnv, single};
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::skopeo::architectures;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_built_for_two_architectures_with_the_baseline_rights_only() -> Result<()> {
    let aws = AwsEnv::with_s3("demo").await?;
    let vars = [EcsEnv::bucket(&aws).as_slice(), &EcsEnv::pull_secret(&aws)].concat();
    let env = EcsEnv::start(aws, &vars).await?;
    let project = Project::demo()?;
    let client = env.client(&project).with("REGISTRY", &env.registry.host);
    let client = env.with_bucket(client.with("BASE_IMAGE", &env.aws.parts.base_image));
    let baked = client.run(&["--compose", "compose.yaml", "--config", "config.yaml"]).await?;
    ensure!(baked.code == Some(0), "{}", env.details(&baked));
    let index = env.inspect(&env.image("demo/shop:1"), &["--raw"]).await?;
    ensure!(architectures(&index)? == [Some("amd64"), Some("arm64")], "{index}");
    let worker = env.inspect(&env.image("demo/worker:1"), &["--config"]).await?;
    ensure!(worker["architecture"] == "amd64", "{worker}");
    // The size is rounded up to one that Fargate has.
    ensure!(
        baked.err.contains("rounded up to a size that Fargate offers: 1 vCPU and 2048 MiB"),
        "{}",
        baked.err
    );
    println!("{:#?}", env.aws.proxy.counts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_without_a_role_read_their_context_with_a_url_from_the_server() -> Result<()> {
    let aws = AwsEnv::with_s3("url").await?;
    aws.with_extras()?;
    let mut vars = EcsEnv::bucket(&aws).to_vec();
    vars.extend([
        ("S3_ACCESS_KEY", SERVER.to_owned()),
        ("S3_SECRET_KEY", "server-secret".to_owned()),
        ("ECS_TASK_ROLE_ARN", String::new()),
    ]);
    let env = EcsEnv::start(aws, &vars).await?;
    let project = Project::new(&env.aws.parts, "COPY src /src", &single(&env.image("url/app:1")))?;
    project.write("src", "flour\n")?;
    let baked = env.with_bucket(env.client(&project)).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", env.details(&baked));
    let read = env.aws.proxy.calls_of("s3:GetObject");
    ensure!(
        !read.is_empty() && read.iter().all(|call| call.principal == "server"),
        "{}",
        env.details(&baked)
    );
    let definition = &env.aws.proxy.calls_of("ecs:RegisterTaskDefinition")[0].request;
    ensure!(definition["taskRoleArn"].is_null(), "{definition}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_servers_tasks_are_adopted_with_the_baseline_rights_only() -> Result<()> {
    let mut env = EcsEnv::start(AwsEnv::new("killed").await?, &[]).await?;
    let project =
        Project::new(&env.aws.parts, &numbered("line", 60, 200), &single(&env.image("killed/app:1")))?;
    let client = env.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("line 20").await?.build.context("build")?;
    env.server.kill().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    env.server.run().await?;
    log.until("line 60").await?;
    ensure!(child.wait().await?.code() == Some(0), "{}", env.server.log());
    let followed = client.run(&["logs", &build]).await?;
    ensure!(followed.numbers("line")? == (1..=60).collect::<Vec<_>>(), "{}", env.details(&followed));
    ensure!(env.started().len() == 1, "{}", env.details(&followed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_the_task() -> Result<()> {
    let aws = AwsEnv::new("cancel").await?;
    aws.with_extras()?;
    let env = EcsEnv::start(aws, &[]).await?;
    let steps = format!("{}\nRUN sleep 600", numbered("tick", 3, 100));
    let project = Project::new(&env.aws.parts, &steps, &single(&env.image("cancel/app:1")))?;
    let client = env.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 3").await?.build.context("build")?;
    client.run(&["cancel", &build]).await?;
    let (arn, _) = env.started().pop().context("a task")?;
    env.aws.reaches(&arn, "STOPPED").await?;
    let ended = finish(child).await?;
    ensure!(ended.code == Some(1), "{}", env.details(&ended));
    Ok(())
}

/// Waits until the clean-up has deregistered these definitions, by size and revision.
async fn deregistered(env: &EcsEnv, wanted: &[&str]) -> Result<()> {
    let so = async || {
        let calls = env.aws.proxy.calls_of("ecs:DeregisterTaskDefinition");
        let arns = calls.iter().filter_map(|call| call.request["taskDefinition"].as_str());
        arns.filter_map(|arn| Some(arn.rsplit_once('-')?.1)).eq(wanted.iter().copied())
    };
    until("the clean-up", Duration::from_secs(30), so).await.with_context(|| env.server.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn old_definitions_and_those_that_differ_from_the_settings_are_removed_at_start() -> Result<()> {
    let mut env = EcsEnv::start(AwsEnv::new("tidy").await?, &[]).await?;
    let project = Project::new(&env.aws.parts, "RUN true", &single(&env.image("tidy/app:1")))?;
    for storage in ["", "30"] {
        env.server.kill().await?;
        env.server.set("ECS_EPHEMERAL_STORAGE", storage);
        env.server.run().await?;
        let baked = env.client(&project).run(&[]).await?;
        ensure!(baked.code == Some(0), "{}", env.details(&baked));
    }
    let config = single(&env.image("tidy/app:1")).replace("global:\n", "global:\n  disk: 20.5G\n");
    let large = Project::new(&env.aws.parts, "RUN true", &config)?;
    let baked = env.client(&large).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", env.details(&baked));
    let notice = "20992 MiB of disk are rounded up to what Fargate offers: 21 GiB";
    ensure!(baked.err.contains(notice), "{}", baked.err);
    let proxy = &env.aws.proxy;
    let registered = proxy.calls_of("ecs:RegisterTaskDefinition");
    let disks: Vec<_> =
        registered.iter().map(|call| call.request["ephemeralStorage"]["sizeInGiB"].as_u64()).collect();
    ensure!(
        disks == [None, Some(30), Some(21)],
        "another definition for another setting, and for a task's own disk: {disks:?}"
    );
    ensure!(proxy.calls_of("ecs:DeregisterTaskDefinition").is_empty(), "nobody has asked for it yet");
    env.server.kill().await?;
    env.server.set("CLEANUP_ECS_TASK_DEFINITIONS", "true");
    env.server.run().await?;
    deregistered(&env, &["2048:1"]).await?;
    env.server.kill().await?;
    env.server.set("ECS_EPHEMERAL_STORAGE", "40");
    env.server.run().await?;
    deregistered(&env, &["2048:1", "2048:2"]).await?;
    Ok(())
}
