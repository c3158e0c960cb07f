//! What AWS does to tasks, and how a user hears of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::{Ending, Fault};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::project::{Project, numbered};

use bakery_testkit::aws::Table;
use bakery_testkit::shop::{Shop, single};

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_an_answer_that_is_lost_cost_time_alone() -> Result<()> {
    let shop = Shop::open(Table::laid("slow").await?, &[]).await?;
    shop.table.proxy.inject("ecs:RunTask", Fault::Throttle, 5);
    shop.table.proxy.inject("ecs:RunTask", Fault::Lost, 1);
    shop.table.proxy.inject("ecs:DescribeTasks", Fault::Throttle, 3);
    shop.table.proxy.lag(1);
    let project = Project::new(&shop.table.parts, "RUN true", &single(&shop.image("slow/app:1")))?;
    let baked = shop.client(&project).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    ensure!(shop.started().len() == 1, "one task was started: {}", shop.story(&baked));
    ensure!(baked.out.contains("ThrottlingException"), "{}", shop.story(&baked));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn want_of_capacity_and_a_missing_role_are_said_as_they_are() -> Result<()> {
    let shop = Shop::open(Table::laid("full").await?, &[]).await?;
    let project = Project::new(&shop.table.parts, "RUN true", &single(&shop.image("full/app:1")))?;
    for (fault, times, reason, words) in [
        (Fault::capacity(), 9, "no-capacity", "trying once more"),
        (Fault::role_missing(), 9, "launch-refused", "ECS_ settings"),
        (Fault::cluster_missing(), 9, "launch-refused", "ECS_CLUSTER"),
    ] {
        shop.table.proxy.inject("ecs:RunTask", fault, times);
        let lost = shop.client(&project).run(&[]).await?;
        shop.table.proxy.heal();
        ensure!(lost.code == Some(4), "{}", shop.story(&lost));
        ensure!(shop.reason(&project).await? == reason, "{reason}: {}", shop.story(&lost));
        ensure!(lost.out.contains(words) || lost.err.contains(words), "no {words:?}: {}", shop.story(&lost));
        println!("--- {reason}\n{}", lost.err);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spot_task_that_is_taken_back_is_tried_again_on_demand() -> Result<()> {
    let shop =
        Shop::open(Table::laid("spot").await?, &[("ECS_CAPACITY", "spot-then-fargate".to_owned())]).await?;
    let steps = numbered("line", 30, 300);
    let project = Project::new(&shop.table.parts, &steps, &single(&shop.image("spot/app:1")))?;
    let mut child = shop.client(&project).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    log.until("line 3").await?;
    let (arn, first) = shop.started().into_iter().next().context("a task")?;
    ensure!(first["capacityProviderStrategy"][0]["capacityProvider"] == "FARGATE_SPOT", "{first}");
    shop.table.proxy.end(&arn, Ending::spot()).await?;
    let again = log.until_contains("trying once more", Duration::from_mins(1)).await?;
    println!("{}", again.message);
    log.until("line 30").await?;
    ensure!(child.wait().await?.code() == Some(0), "{}", shop.server.log());
    let started = shop.started();
    ensure!(started.len() == 2 && started[1].1["launchType"] == "FARGATE", "{started:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_taken_away_under_our_feet_is_made_again() -> Result<()> {
    let shop = Shop::open(Table::laid("gone").await?, &[]).await?;
    let project = Project::new(&shop.table.parts, "RUN true", &single(&shop.image("gone/app:1")))?;
    ensure!(shop.client(&project).run(&[]).await?.code == Some(0), "{}", shop.server.log());
    let registered = shop.table.proxy.calls_of("ecs:RegisterTaskDefinition");
    let arn =
        registered[0].answer["taskDefinition"]["taskDefinitionArn"].as_str().context("an ARN")?.to_owned();
    shop.table.proxy.deregister(&arn).await?;
    let baked = shop.client(&project).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    ensure!(shop.table.proxy.calls_of("ecs:RegisterTaskDefinition").len() == 2, "{}", shop.story(&baked));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_larger_than_fargate_has_is_refused_before_anything_starts() -> Result<()> {
    let shop = Shop::open(Table::laid("large").await?, &[]).await?;
    let config = single(&shop.image("large/app:1")).replace("global:\n", "global:\n  cpu: 20\n");
    let project = Project::new(&shop.table.parts, "RUN true", &config)?;
    let refused = shop.client(&project).run(&[]).await?;
    ensure!(refused.code == Some(2), "{}", shop.story(&refused));
    ensure!(refused.err.contains("more than a Fargate task can have"), "{}", refused.err);
    ensure!(shop.started().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_stops_before_its_agent_speaks_says_why() -> Result<()> {
    let table = Table::laid("nowhere").await?;
    let image = format!("{}/bakery/no-such-agent:1", table.parts.base_registry());
    let shop = Shop::open(table, &[("AGENT_IMAGE", image)]).await?;
    let project = Project::new(&shop.table.parts, "RUN true", &single(&shop.image("pull/app:1")))?;
    let lost = shop.client(&project).run(&[]).await?;
    ensure!(lost.code == Some(4) && lost.err.contains("CannotPullContainerError"), "{}", shop.story(&lost));
    ensure!(shop.reason(&project).await? == "image-pull", "{}", shop.story(&lost));
    println!("{}", lost.err);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_takes_too_much_memory_says_so() -> Result<()> {
    let shop = Shop::open(Table::laid("oom").await?, &[]).await?;
    let steps = numbered("line", 60, 300);
    let project = Project::new(&shop.table.parts, &steps, &single(&shop.image("oom/app:1")))?;
    let mut child = shop.client(&project).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    log.until("line 3").await?;
    let (arn, _) = shop.started().pop().context("a task")?;
    shop.table.proxy.end(&arn, Ending::out_of_memory()).await?;
    let lost = finish(child).await?;
    ensure!(shop.reason(&project).await? == "out-of-memory", "{}", shop.story(&lost));
    ensure!(lost.err.contains("OutOfMemoryError"), "{}", shop.story(&lost));
    println!("{}", lost.err);
    Ok(())
}
