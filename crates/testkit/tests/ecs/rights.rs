//! What the server, its agents and the client may do on AWS: every right that the policies grant is needed, every other is
//! done without, and whoever lacks one reads its name.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::{Outcome, Policy};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered};

use bakery_testkit::aws::Table;
use bakery_testkit::shop::{Shop, single};

/// Rights of the policies that no call of ours shows.
const UNSEEN: [(&str, &str); 7] = [
    ("server", "iam:PassRole"),            // AWS checks it within two other calls
    ("server", "logs:CreateLogStream"),    // the log driver's
    ("server", "logs:PutLogEvents"),       // the same
    ("server", "s3:GetObject"),            // signs, does not call
    ("agent", "s3:ListBucket"),            // makes a 404 of a 403
    ("client", "s3:AbortMultipartUpload"), // after an upload that broke
    ("execution", "secretsmanager:GetSecretValue"), // ECS's own
];

fn project(shop: &Shop, name: &str) -> Result<Project> {
    Project::new(&shop.table.parts, "RUN true", &single(&shop.image(name)))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_denied_action_of_a_launch_is_named() -> Result<()> {
    let shop = Shop::open(Table::laid("denied").await?, &[]).await?;
    let project = project(&shop, "denied/app:1")?;
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
    let words = "not authorized to perform: ecs:DescribeTasks";
    until("a word of the denial", Duration::from_secs(30), async || shop.server.log().contains(words))
        .await?;
    said(&shop, "ecs:DescribeTasks")?;
    let ready = reqwest::get(format!("{}/readyz", shop.server.url)).await?;
    ensure!(ready.status() == 503, "{}", ready.status());
    println!("--- without ecs:DescribeTasks\n{}", ready.text().await?);
    Ok(())
}

/// The server's log names a denied action.
fn said(shop: &Shop, action: &str) -> Result<()> {
    let (log, words) = (shop.server.log(), format!("not authorized to perform: {action}"));
    ensure!(log.contains(&words), "no {words:?}: {log}");
    let line = log.lines().find(|line| line.contains(&words)).unwrap_or_default();
    println!("--- without {action}\n{line}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_may_not_have_its_pull_secret_names_the_action() -> Result<()> {
    let table = Table::laid("unpulled").await?;
    let vars = Shop::pull_secret(&table);
    let mut shop = Shop::closed(table, &vars).await?;
    for action in ["secretsmanager:CreateSecret", "secretsmanager:DescribeSecret"] {
        shop.table.proxy.deny(action);
        ensure!(shop.server.run().await.is_err(), "started without {action}");
        said(&shop, action)?;
        ensure!(shop.server.log().contains("hint: name a secret that exists in AGENT_IMAGE_SECRET_ARN"));
        shop.table.proxy.allow(action);
        // The first good start creates it, every later one finds it.
        shop.server.run().await?;
        shop.server.kill().await?;
    }
    let arn = shop.table.proxy.calls_of("secretsmanager:CreateSecret");
    let arn = arn.iter().find_map(|call| call.answer["ARN"].as_str().map(str::to_owned)).context("an ARN")?;
    ensure!(shop.server.log().contains(&arn), "its ARN can be read: {}", shop.server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_up_that_is_denied_is_said_and_keeps_nobody_from_starting() -> Result<()> {
    let mut shop = Shop::open(Table::laid("untidy").await?, &[]).await?;
    let project = project(&shop, "untidy/app:1")?;
    for storage in ["", "30"] {
        shop.server.kill().await?;
        shop.server.set("ECS_EPHEMERAL_STORAGE", storage);
        shop.server.run().await?;
        let baked = shop.client(&project).run(&[]).await?;
        ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    }
    shop.server.set("CLEANUP_ECS_TASK_DEFINITIONS", "true");
    for action in
        ["ecs:ListTaskDefinitionFamilies", "ecs:ListTaskDefinitions", "ecs:DeregisterTaskDefinition"]
    {
        shop.table.proxy.deny(action);
        shop.server.kill().await?;
        shop.server.run().await?;
        let words = format!("not authorized to perform: {action}");
        until("the clean-up", Duration::from_secs(30), async || shop.server.log().contains(&words)).await?;
        said(&shop, action)?;
        shop.table.proxy.allow(action);
    }
    ensure!(shop.server.log().contains("old task definitions stay"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_denies_is_named_to_whoever_needs_it() -> Result<()> {
    let table = Table::with_s3("bucket").await?;
    let vars = Shop::bucket(&table);
    let shop = Shop::open(table, &vars).await?;
    let project = project(&shop, "bucket/app:1")?;
    let client = shop.with_bucket(shop.client(&project));
    for (action, code) in [("s3:PutObject", 2), ("s3:GetObject", 4)] {
        shop.table.proxy.deny(action);
        let lost = client.run(&[]).await?;
        shop.table.proxy.allow(action);
        println!("--- without {action}\n{}", lost.err);
        ensure!(lost.code == Some(code) && lost.err.contains(action), "{}", shop.story(&lost));
    }
    // Without s3:ListBucket everything works.
    shop.table.proxy.deny("s3:ListBucket");
    let baked = client.run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_beyond_the_baseline_is_done_without_and_said() -> Result<()> {
    let table = Table::laid("extras").await?;
    table.with_extras()?;
    let shop = Shop::open(table, &[("RUST_LOG", "info".to_owned())]).await?;
    let project = project(&shop, "extras/app:1")?;
    shop.table.proxy.deny("ecs:TagResource");
    let baked = shop.client(&project).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", shop.story(&baked));
    ensure!(baked.out.contains("ecs:TagResource is denied"), "{}", shop.story(&baked));

    // An agent that is dead to the world does not hear of a cancel, and nobody may stop its task.
    shop.table.proxy.deny("ecs:StopTask");
    let slow =
        Project::new(&shop.table.parts, &numbered("tick", 600, 100), &single(&shop.image("extras/slow:1")))?;
    let client = shop.client(&slow);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 3").await?.build.context("build")?;
    let (arn, _) = shop.started().pop().context("a task")?;
    let container = Table::container(&arn);
    shop.table.engine.docker(&["pause", &container]).await?;
    let cancelled = client.run(&["cancel", &build]).await?;
    ensure!(cancelled.code == Some(0), "{}", shop.story(&cancelled));
    // The build has ended by then, so the operator hears of it.
    let heard = async || shop.server.log().contains("not authorized to perform: ecs:StopTask");
    let heard = until("a word of the denial", Duration::from_mins(1), heard).await;
    shop.table.engine.docker(&["unpause", &container]).await?;
    heard.with_context(|| shop.server.log())?;
    said(&shop, "ecs:StopTask")?;
    // Back in the world it hears of it, and ends by itself.
    shop.table.reaches(&arn, "STOPPED").await?;
    let ended = finish(child).await?;
    ensure!(ended.code == Some(1), "{}", shop.story(&ended));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tries_the_rights_and_leaves_nothing() -> Result<()> {
    let table = Table::laid("check").await?;
    table.with_extras()?;
    let mut vars = Shop::pull_secret(&table).to_vec();
    vars.push(("CLEANUP_ECS_TASK_DEFINITIONS", "true".to_owned()));
    let shop = Shop::closed(table, &vars).await?;
    let good = shop.server.check().await?;
    println!("{good}");
    for words in
        ["amd64 is registered by the first build", "ok       ECS cluster", "is created at the first start"]
    {
        ensure!(good.contains(words), "no {words:?}: {good}");
    }
    ensure!(!good.contains("not authorized"), "{good}");
    for action in ["ecs:DescribeTaskDefinition", "ecs:DescribeTasks", "secretsmanager:DescribeSecret"] {
        shop.table.proxy.deny(action);
        let lacking = shop.server.check().await?;
        shop.table.proxy.allow(action);
        ensure!(lacking.contains(&format!("the server's role lacks {action}")), "{action}: {lacking}");
    }
    for action in ["ecs:StopTask", "ecs:ListTasks", "ecs:ListTaskDefinitionFamilies"] {
        shop.table.proxy.deny(action);
        let lacking = shop.server.check().await?;
        shop.table.proxy.allow(action);
        let warned = lacking.lines().any(|line| line.starts_with("WARNING") && line.contains(action));
        ensure!(warned, "{action}: {lacking}");
    }
    let changing = ["ecs:RegisterTaskDefinition", "ecs:RunTask", "secretsmanager:CreateSecret"];
    for action in changing {
        ensure!(shop.table.proxy.calls_of(action).is_empty(), "check has called {action}");
    }
    Ok(())
}

/// A life of a server with all its rights and everything switched on: what was called stands in the policies, and what
/// stands there was called.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_is_what_the_policies_grant() -> Result<()> {
    let table = Table::with_s3("record").await?;
    table.with_extras()?;
    let vars = [Shop::bucket(&table).as_slice(), &Shop::pull_secret(&table)].concat();
    let mut shop = Shop::open(table, &vars).await?;
    let project = project(&shop, "record/app:1")?;
    let client = shop.with_bucket(shop.client(&project));
    for storage in ["30", ""] {
        let baked = client.run(&[]).await?;
        ensure!(baked.code == Some(0), "{}", shop.story(&baked));
        shop.server.kill().await?;
        shop.server.set("ECS_EPHEMERAL_STORAGE", storage);
        shop.server.set("CLEANUP_ECS_TASK_DEFINITIONS", if storage.is_empty() { "true" } else { "false" });
        shop.server.run().await?;
    }
    // The sweep is a round of the server's own, and a task has to be stopped by force.
    shop.server.check().await?;
    until("a deregistered definition", Duration::from_secs(20), async || {
        !shop.table.proxy.calls_of("ecs:DeregisterTaskDefinition").is_empty()
    })
    .await?;

    let names = &shop.table.names;
    let granted = |who: &str, files: &[&str]| -> Result<BTreeSet<(String, String)>> {
        let mut all = BTreeSet::new();
        for file in files {
            let actions = Policy::example(file, names)?.actions();
            all.extend(actions.into_iter().map(|action| (who.to_owned(), action)));
        }
        Ok(all)
    };
    let mut policies = granted("server", &["server", "server-extras"])?;
    policies.extend(granted("agent", &["task-role"])?);
    policies.extend(granted("client", &["client"])?);
    policies.extend(granted("execution", &["execution-role"])?);
    let counts = shop.table.proxy.counts();
    let mut called: BTreeSet<_> = counts.keys().cloned().collect();
    // Tags come with a launch: their right is asked for within it.
    let tagged = |call: &bakery_testkit::aws::Recorded| {
        call.outcome == Outcome::Forwarded
            && call.request["tags"].as_array().is_some_and(|tags| !tags.is_empty())
    };
    if shop.table.proxy.calls_of("ecs:RunTask").iter().any(tagged) {
        called.insert(("server".to_owned(), "ecs:TagResource".to_owned()));
    }
    println!("{:<10} {:<36} calls", "who", "action");
    for (who, action) in &policies {
        let key = (who.clone(), action.clone());
        let unseen = UNSEEN.contains(&(who, action));
        let times = counts.get(&key).map_or_else(
            || if unseen { "no call of ours" } else { "within another" }.to_owned(),
            usize::to_string,
        );
        println!("{who:<10} {action:<36} {times}");
    }
    let strange: Vec<_> = called.difference(&policies).collect();
    ensure!(strange.is_empty(), "called, and in no policy: {strange:?}");
    let unseen: BTreeSet<_> = UNSEEN.map(|(who, action)| (who.to_owned(), action.to_owned())).into();
    let idle: BTreeSet<_> = policies.difference(&called).cloned().collect();
    ensure!(idle == unseen, "granted, and not called: {idle:?}\nexpected: {unseen:?}");
    Ok(())
}
