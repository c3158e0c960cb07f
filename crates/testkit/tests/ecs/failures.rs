//! Failures of tasks on ECS, and what a user sees of them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::{Ending, Fault};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::project::{Project, numbered};

use bakery_testkit::aws::AwsEnv;
use bakery_testkit::ecs_env::{EcsEnv, single};

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_a_lost_answer_only_cost_time() -> Result<()> {
    let env = EcsEnv::start(AwsEnv::new("slow").await?, &[]).await?;
    env.aws.proxy.inject("ecs:RunTask", Fault::Throttle, 5);
    env.aws.proxy.inject("ecs:RunTask", Fault::Lost, 1);
    env.aws.proxy.inject("ecs:DescribeTasks", Fault::Throttle, 3);
    env.aws.proxy.lag(1);
    let project = Project::new(&env.aws.parts, "RUN true", &single(&env.image("slow/app:1")))?;
    let baked = env.client(&project).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", env.details(&baked));
    ensure!(env.started().len() == 1, "one task was started: {}", env.details(&baked));
    ensure!(baked.out.contains("ThrottlingException"), "{}", env.details(&baked));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_capacity_a_missing_role_and_a_missing_cluster_are_reported() -> Result<()> {
    let env = EcsEnv::start(AwsEnv::new("full").await?, &[]).await?;
    let project = Project::new(&env.aws.parts, "RUN true", &single(&env.image("full/app:1")))?;
    for (fault, times, reason, words) in [
        (Fault::capacity(), 9, "no-capacity", "retrying once"),
        (Fault::role_missing(), 9, "launch-refused", "ECS_ settings"),
        (Fault::cluster_missing(), 9, "launch-refused", "ECS_CLUSTER"),
    ] {
        env.aws.proxy.inject("ecs:RunTask", fault, times);
        let lost = env.client(&project).run(&[]).await?;
        env.aws.proxy.heal();
        ensure!(lost.code == Some(4), "{}", env.details(&lost));
        ensure!(env.reason(&project).await? == reason, "{reason}: {}", env.details(&lost));
        ensure!(lost.out.contains(words) || lost.err.contains(words), "no {words:?}: {}", env.details(&lost));
        println!("--- {reason}\n{}", lost.err);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_spot_task_is_retried_on_demand() -> Result<()> {
    let env = EcsEnv::start(AwsEnv::new("spot").await?, &[("ECS_CAPACITY", "spot-then-fargate".to_owned())])
        .await?;
    let steps = numbered("line", 30, 300);
    let project = Project::new(&env.aws.parts, &steps, &single(&env.image("spot/app:1")))?;
    let mut child = env.client(&project).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    log.until("line 3").await?;
    let (arn, first) = env.started().into_iter().next().context("a task")?;
    ensure!(first["capacityProviderStrategy"][0]["capacityProvider"] == "FARGATE_SPOT", "{first}");
    env.aws.proxy.end(&arn, Ending::spot()).await?;
    let again = log.until_contains("retrying once", Duration::from_mins(1)).await?;
    println!("{}", again.message);
    log.until("line 30").await?;
    ensure!(child.wait().await?.code() == Some(0), "{}", env.server.log());
    let started = env.started();
    ensure!(started.len() == 2 && started[1].1["launchType"] == "FARGATE", "{started:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deregistered_definition_is_registered_again() -> Result<()> {
    let env = EcsEnv::start(AwsEnv::new("gone").await?, &[]).await?;
    let project = Project::new(&env.aws.parts, "RUN true", &single(&env.image("gone/app:1")))?;
    ensure!(env.client(&project).run(&[]).await?.code == Some(0), "{}", env.server.log());
    let registered = env.aws.proxy.calls_of("ecs:RegisterTaskDefinition");
    let arn =
        registered[0].answer["taskDefinition"]["taskDefinitionArn"].as_str().context("an ARN")?.to_owned();
    env.aws.proxy.deregister(&arn).await?;
    let baked = env.client(&project).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", env.details(&baked));
    ensure!(env.aws.proxy.calls_of("ecs:RegisterTaskDefinition").len() == 2, "{}", env.details(&baked));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_too_large_for_fargate_is_refused_before_anything_starts() -> Result<()> {
    let env = EcsEnv::start(AwsEnv::new("large").await?, &[]).await?;
    let config = single(&env.image("large/app:1")).replace("global:\n", "global:\n  cpu: 20\n");
    let project = Project::new(&env.aws.parts, "RUN true", &config)?;
    let refused = env.client(&project).run(&[]).await?;
    ensure!(refused.code == Some(2), "{}", env.details(&refused));
    ensure!(refused.err.contains("more than a Fargate task can have"), "{}", refused.err);
    ensure!(env.started().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_stops_before_its_agent_connects_reports_why() -> Result<()> {
    let aws = AwsEnv::new("nowhere").await?;
    let image = format!("{}/bakery/no-such-agent:1", aws.parts.base_registry());
    let env = EcsEnv::start(aws, &[("AGENT_IMAGE", image)]).await?;
    let project = Project::new(&env.aws.parts, "RUN true", &single(&env.image("pull/app:1")))?;
    let lost = env.client(&project).run(&[]).await?;
    ensure!(lost.code == Some(4) && lost.err.contains("CannotPullContainerError"), "{}", env.details(&lost));
    ensure!(env.reason(&project).await? == "image-pull", "{}", env.details(&lost));
    println!("{}", lost.err);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_exceeds_its_memory_is_reported_as_out_of_memory() -> Result<()> {
    let env = EcsEnv::start(AwsEnv::new("oom").await?, &[]).await?;
    let steps = numbered("line", 60, 300);
    let project = Project::new(&env.aws.parts, &steps, &single(&env.image("oom/app:1")))?;
    let mut child = env.client(&project).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    log.until("line 3").await?;
    let (arn, _) = env.started().pop().context("a task")?;
    env.aws.proxy.end(&arn, Ending::out_of_memory()).await?;
    let lost = finish(child).await?;
    ensure!(env.reason(&project).await? == "out-of-memory", "{}", env.details(&lost));
    ensure!(lost.err.contains("OutOfMemoryError"), "{}", env.details(&lost));
    println!("{}", lost.err);
    Ok(())
}
