//! Whole builds on ECS: with the baseline rights alone, through S3 and Secrets Manager, and through what AWS does to them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::{Ending, Fault, Policy};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::registry::LOGIN;

use crate::shop::{Shop, single};
use crate::table::{SERVER, Table};

#[tokio::test(flavor = "multi_thread")]
async fn two_architectures_become_one_index_with_the_baseline_rights_alone() -> Result<()> {
    let table = Table::with_s3("bake").await?;
    let (user, password) = LOGIN;
    let bucket = [
        ("S3_ENDPOINT", table.proxy.host_on(&table.bed.host)),
        ("S3_SSL", "false".to_owned()),
        ("S3_BUCKET", table.names.bucket.clone()),
        ("S3_REGION", table.names.region.clone()),
        ("AGENT_IMAGE_SECRET_NAME", table.names.secret_name.clone()),
        ("AGENT_IMAGE_SECRET_USERNAME", user.to_owned()),
        ("AGENT_IMAGE_SECRET_PASSWORD", password.to_owned()),
    ];
    let vars: Vec<_> = bucket.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let shop = Shop::open(table, &vars).await?;
    let image = shop.image("ecs/app:1");
    let config = format!(
        "global:\n  platform: ecs\n  cpu: 0.6\n  memory: 1G\n  env: {{ PAD: {} }}\n  kaniko: {{ destination: \"{image}\" }}\n\
         bake: [{{ arch: amd64 }}, {{ arch: arm64 }}]\n",
        "x".repeat(20_000)
    );
    let project = Project::new(&shop.table.parts, "COPY src /src\nRUN uname -m > /machine", &config)?;
    project.write("src", "flour\n")?;
    let client = shop.with_bucket(shop.client(&project));
    let baked = client.run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    let index = shop.inspect(&image, &["--raw"]).await?;
    let members = index["manifests"].as_array().context("an index")?;
    let archs: Vec<_> = members.iter().map(|member| member["platform"]["architecture"].as_str()).collect();
    ensure!(archs == [Some("amd64"), Some("arm64")], "{index}");
    // The size that Fargate has, and what was asked for.
    ensure!(baked.err.contains("rounded up to what Fargate has: 1 vCPU and 2048 MiB"), "{}", baked.err);

    // However much the config holds, a launch carries three variables.
    let proxy = &shop.table.proxy;
    for call in proxy.calls_of("ecs:RunTask") {
        let overrides = call.request["overrides"].to_string();
        ensure!(overrides.len() < 1000, "{} bytes of overrides: {overrides}", overrides.len());
    }
    // The password of the image is in the one request that creates its secret, and nowhere else.
    let with_password: Vec<_> = proxy.calls_with(password).iter().map(|call| call.action.clone()).collect();
    ensure!(with_password == ["secretsmanager:CreateSecret"], "{with_password:?}");
    println!("{:#?}", proxy.counts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_an_answer_that_is_lost_cost_time_alone() -> Result<()> {
    let shop = Shop::open(Table::laid("slow").await?, &[]).await?;
    shop.table.proxy.inject("ecs:RunTask", Fault::Throttle, 2);
    shop.table.proxy.inject("ecs:RunTask", Fault::Lost, 1);
    shop.table.proxy.inject("ecs:DescribeTasks", Fault::Throttle, 3);
    shop.table.proxy.lag(1);
    let project = Project::new(&shop.table.parts, "RUN true", &single(&shop.image("slow/app:1")))?;
    let baked = shop.client(&project).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    ensure!(shop.started().len() == 1, "one task was started: {}", shop.story(&baked));
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
        let listed = shop.client(&project).run(&["ps", "--json"]).await?;
        let answer: serde_json::Value = serde_json::from_str(&listed.out)?;
        ensure!(answer["builds"][0]["reason"] == reason, "{reason}: {answer}");
        ensure!(lost.out.contains(words) || lost.err.contains(words), "no {words:?}: {}", shop.story(&lost));
        println!("--- {reason}\n{}", lost.err);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spot_task_that_is_taken_back_is_tried_again_on_demand() -> Result<()> {
    let shop = Shop::open(Table::laid("spot").await?, &[("ECS_CAPACITY", "spot-then-fargate")]).await?;
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
async fn each_denied_action_is_named() -> Result<()> {
    let table = Table::laid("denied").await?;
    let extras = Policy::example("server-extras", &table.names)?;
    table.proxy.grant("server", SERVER, Policy::example("server", &table.names)?.and(extras));
    let shop = Shop::open(table, &[]).await?;
    let project = Project::new(&shop.table.parts, "RUN true", &single(&shop.image("denied/app:1")))?;
    for action in ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", "ecs:RunTask", "iam:PassRole"]
    {
        shop.table.proxy.deny(action);
        let lost = shop.client(&project).run(&[]).await?;
        shop.table.proxy.allow(action);
        ensure!(lost.code == Some(4), "{action}: {}", shop.story(&lost));
        ensure!(lost.err.contains(&format!("the server's role lacks {action}")), "{action}: {}", lost.err);
        println!("--- without {action}\n{}", lost.err);
    }
    // A build whose agent speaks ends well also where AWS tells nothing of its task: the operator hears of it.
    shop.table.proxy.deny("ecs:DescribeTasks");
    let blind = shop.client(&project).run(&[]).await?;
    ensure!(blind.code == Some(0), "{}", shop.story(&blind));
    ensure!(
        shop.server.log().contains("not authorized to perform: ecs:DescribeTasks"),
        "{}",
        shop.server.log()
    );
    let ready = reqwest::get(format!("{}/readyz", shop.server.url)).await?;
    ensure!(ready.status() == 503, "{}", ready.status());
    shop.table.proxy.allow("ecs:DescribeTasks");
    // What goes beyond the baseline is done without, and said.
    shop.table.proxy.deny("ecs:TagResource");
    let baked = shop.client(&project).run(&[]).await?;
    ensure!(
        baked.code == Some(0) && baked.out.contains("ecs:TagResource is denied"),
        "{}",
        shop.story(&baked)
    );
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
    let extras = Policy::example("server-extras", &table.names)?;
    table.proxy.grant("server", SERVER, Policy::example("server", &table.names)?.and(extras));
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

#[tokio::test(flavor = "multi_thread")]
async fn old_definitions_go_at_start_and_the_newest_stays() -> Result<()> {
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
    let gone = proxy.calls_of("ecs:DeregisterTaskDefinition");
    let arns: Vec<_> = gone.iter().filter_map(|call| call.request["taskDefinition"].as_str()).collect();
    ensure!(arns.len() == 1 && arns[0].ends_with("-amd64-512-2048:1"), "{arns:?}\n{}", shop.server.log());
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
