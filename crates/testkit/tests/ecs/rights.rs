//! The rights of the server, its agents and the client on AWS: every right that the policies grant is needed, everything works
//! without any other, and a missing right is reported by its name.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::{Outcome, Policy};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered};

use bakery_testkit::aws::AwsEnv;
use bakery_testkit::ecs_env::{EcsEnv, single};

/// Rights of the policies that no call of our programs needs directly.
const UNSEEN: [(&str, &str); 7] = [
    ("server", "iam:PassRole"),            // AWS checks it within two other calls
    ("server", "logs:CreateLogStream"),    // the log driver's
    ("server", "logs:PutLogEvents"),       // the same
    ("server", "s3:GetObject"),            // signs, does not call
    ("agent", "s3:ListBucket"),            // makes a 404 of a 403
    ("client", "s3:AbortMultipartUpload"), // after an upload that broke
    ("execution", "secretsmanager:GetSecretValue"), // ECS's own
];

fn project(env: &EcsEnv, name: &str) -> Result<Project> {
    Project::new(&env.aws.parts, "RUN true", &single(&env.image(name)))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_denied_action_of_a_launch_is_named() -> Result<()> {
    let env = EcsEnv::start(AwsEnv::new("denied").await?, &[]).await?;
    let project = project(&env, "denied/app:1")?;
    for action in ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", "ecs:RunTask", "iam:PassRole"]
    {
        env.aws.proxy.deny(action);
        let lost = env.client(&project).run(&[]).await?;
        env.aws.proxy.allow(action);
        ensure!(lost.code == Some(4), "{action}: {}", env.details(&lost));
        ensure!(lost.err.contains(&format!("the server's role lacks {action}")), "{action}: {}", lost.err);
        println!("--- without {action}\n{}", lost.err);
    }
    // A build whose agent is connected succeeds even if AWS reports nothing about its task; the server's log has the denial.
    env.aws.proxy.deny("ecs:DescribeTasks");
    let blind = env.client(&project).run(&[]).await?;
    ensure!(blind.code == Some(0), "{}", env.details(&blind));
    let words = "not authorized to perform: ecs:DescribeTasks";
    until("a word of the denial", Duration::from_secs(30), async || env.server.log().contains(words)).await?;
    denial_is_logged(&env, "ecs:DescribeTasks")?;
    let ready = reqwest::get(format!("{}/readyz", env.server.url)).await?;
    ensure!(ready.status() == 503, "{}", ready.status());
    println!("--- without ecs:DescribeTasks\n{}", ready.text().await?);
    Ok(())
}

/// The server's log names a denied action.
fn denial_is_logged(env: &EcsEnv, action: &str) -> Result<()> {
    let (log, words) = (env.server.log(), format!("not authorized to perform: {action}"));
    ensure!(log.contains(&words), "no {words:?}: {log}");
    let line = log.lines().find(|line| line.contains(&words)).unwrap_or_default();
    println!("--- without {action}\n{line}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_access_to_its_pull_secret_names_the_action() -> Result<()> {
    let aws = AwsEnv::new("unpulled").await?;
    let vars = EcsEnv::pull_secret(&aws);
    let mut env = EcsEnv::stopped(aws, &vars).await?;
    for action in ["secretsmanager:CreateSecret", "secretsmanager:DescribeSecret"] {
        env.aws.proxy.deny(action);
        ensure!(env.server.run().await.is_err(), "started without {action}");
        denial_is_logged(&env, action)?;
        ensure!(env.server.log().contains("hint: name a secret that exists in AGENT_IMAGE_SECRET_ARN"));
        env.aws.proxy.allow(action);
        // The first successful start creates it, every later one finds it.
        env.server.run().await?;
        env.server.kill().await?;
    }
    let arn = env.aws.proxy.calls_of("secretsmanager:CreateSecret");
    let arn = arn.iter().find_map(|call| call.answer["ARN"].as_str().map(str::to_owned)).context("an ARN")?;
    ensure!(env.server.log().contains(&arn), "its ARN can be read: {}", env.server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_clean_up_is_logged_and_does_not_prevent_the_start() -> Result<()> {
    let mut env = EcsEnv::start(AwsEnv::new("untidy").await?, &[]).await?;
    let project = project(&env, "untidy/app:1")?;
    for storage in ["", "30"] {
        env.server.kill().await?;
        env.server.set("ECS_EPHEMERAL_STORAGE", storage);
        env.server.run().await?;
        let baked = env.client(&project).run(&[]).await?;
        ensure!(baked.code == Some(0), "{}", env.details(&baked));
    }
    env.server.set("CLEANUP_ECS_TASK_DEFINITIONS", "true");
    for action in
        ["ecs:ListTaskDefinitionFamilies", "ecs:ListTaskDefinitions", "ecs:DeregisterTaskDefinition"]
    {
        env.aws.proxy.deny(action);
        env.server.kill().await?;
        env.server.run().await?;
        let words = format!("not authorized to perform: {action}");
        until("the clean-up", Duration::from_secs(30), async || env.server.log().contains(&words)).await?;
        denial_is_logged(&env, action)?;
        env.aws.proxy.allow(action);
    }
    ensure!(env.server.log().contains("old task definitions were not deregistered"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_bucket_is_named_to_every_program_that_needs_it() -> Result<()> {
    let aws = AwsEnv::with_s3("bucket").await?;
    let vars = EcsEnv::bucket(&aws);
    let env = EcsEnv::start(aws, &vars).await?;
    let project = project(&env, "bucket/app:1")?;
    let client = env.with_bucket(env.client(&project));
    for (action, code) in [("s3:PutObject", 2), ("s3:GetObject", 4)] {
        env.aws.proxy.deny(action);
        let lost = client.run(&[]).await?;
        env.aws.proxy.allow(action);
        println!("--- without {action}\n{}", lost.err);
        ensure!(lost.code == Some(code) && lost.err.contains(action), "{}", env.details(&lost));
    }
    // Without s3:ListBucket everything works.
    env.aws.proxy.deny("s3:ListBucket");
    let baked = client.run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", env.details(&baked));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_beyond_the_baseline_are_optional_and_their_denials_are_logged() -> Result<()> {
    let aws = AwsEnv::new("extras").await?;
    aws.with_extras()?;
    let env = EcsEnv::start(aws, &[("RUST_LOG", "info".to_owned())]).await?;
    let project = project(&env, "extras/app:1")?;
    env.aws.proxy.deny("ecs:TagResource");
    let baked = env.client(&project).run(&[]).await?;
    ensure!(baked.code == Some(0), "{}", env.details(&baked));
    ensure!(baked.out.contains("ecs:TagResource is denied"), "{}", env.details(&baked));

    // A paused agent does not receive the cancel, and the server may not stop its task.
    env.aws.proxy.deny("ecs:StopTask");
    let slow =
        Project::new(&env.aws.parts, &numbered("tick", 600, 100), &single(&env.image("extras/slow:1")))?;
    let client = env.client(&slow);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 3").await?.build.context("build")?;
    let (arn, _) = env.started().pop().context("a task")?;
    let container = AwsEnv::container(&arn);
    env.aws.engine.docker(&["pause", &container]).await?;
    let cancelled = client.run(&["cancel", &build]).await?;
    ensure!(cancelled.code == Some(0), "{}", env.details(&cancelled));
    // The build has ended by then, so only the server's log has it.
    let denied = async || env.server.log().contains("not authorized to perform: ecs:StopTask");
    let logged = until("the denial in the log", Duration::from_mins(1), denied).await;
    env.aws.engine.docker(&["unpause", &container]).await?;
    logged.with_context(|| env.server.log())?;
    denial_is_logged(&env, "ecs:StopTask")?;
    // Once unpaused, the agent receives the cancel and ends.
    env.aws.reaches(&arn, "STOPPED").await?;
    let ended = finish(child).await?;
    ensure!(ended.code == Some(1), "{}", env.details(&ended));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tries_the_rights_and_leaves_nothing() -> Result<()> {
    let aws = AwsEnv::new("check").await?;
    aws.with_extras()?;
    let mut vars = EcsEnv::pull_secret(&aws).to_vec();
    vars.push(("CLEANUP_ECS_TASK_DEFINITIONS", "true".to_owned()));
    let env = EcsEnv::stopped(aws, &vars).await?;
    let good = env.server.check().await?;
    println!("{good}");
    for words in
        ["amd64 is registered by the first build", "ok       ECS cluster", "is created at the first start"]
    {
        ensure!(good.contains(words), "no {words:?}: {good}");
    }
    ensure!(!good.contains("not authorized"), "{good}");
    for action in ["ecs:DescribeTaskDefinition", "ecs:DescribeTasks", "secretsmanager:DescribeSecret"] {
        env.aws.proxy.deny(action);
        let lacking = env.server.check().await?;
        env.aws.proxy.allow(action);
        ensure!(lacking.contains(&format!("the server's role lacks {action}")), "{action}: {lacking}");
    }
    for action in ["ecs:StopTask", "ecs:ListTasks", "ecs:ListTaskDefinitionFamilies"] {
        env.aws.proxy.deny(action);
        let lacking = env.server.check().await?;
        env.aws.proxy.allow(action);
        let warned = lacking.lines().any(|line| line.starts_with("WARNING") && line.contains(action));
        ensure!(warned, "{action}: {lacking}");
    }
    let changing = ["ecs:RegisterTaskDefinition", "ecs:RunTask", "secretsmanager:CreateSecret"];
    for action in changing {
        ensure!(env.aws.proxy.calls_of(action).is_empty(), "check has called {action}");
    }
    Ok(())
}

/// A server with all rights and every feature in use: the policies grant exactly the calls
/// that were made.
#[tokio::test(flavor = "multi_thread")]
async fn the_policies_grant_exactly_the_calls_that_are_made() -> Result<()> {
    let aws = AwsEnv::with_s3("record").await?;
    aws.with_extras()?;
    let vars = [EcsEnv::bucket(&aws).as_slice(), &EcsEnv::pull_secret(&aws)].concat();
    let mut env = EcsEnv::start(aws, &vars).await?;
    let project = project(&env, "record/app:1")?;
    let client = env.with_bucket(env.client(&project));
    for storage in ["30", ""] {
        let baked = client.run(&[]).await?;
        ensure!(baked.code == Some(0), "{}", env.details(&baked));
        env.server.kill().await?;
        env.server.set("ECS_EPHEMERAL_STORAGE", storage);
        env.server.set("CLEANUP_ECS_TASK_DEFINITIONS", if storage.is_empty() { "true" } else { "false" });
        env.server.run().await?;
    }
    // The server's periodic sweep stops a task that does not end.
    env.server.check().await?;
    until("a deregistered definition", Duration::from_secs(20), async || {
        !env.aws.proxy.calls_of("ecs:DeregisterTaskDefinition").is_empty()
    })
    .await?;

    let names = &env.aws.names;
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
    let counts = env.aws.proxy.counts();
    let mut called: BTreeSet<_> = counts.keys().cloned().collect();
    // Tags are part of a launch, which needs their right.
    let tagged = |call: &bakery_testkit::aws::Recorded| {
        call.outcome == Outcome::Forwarded
            && call.request["tags"].as_array().is_some_and(|tags| !tags.is_empty())
    };
    if env.aws.proxy.calls_of("ecs:RunTask").iter().any(tagged) {
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
