//! A reader of AWS's records sees no secret of a build. The search is known to work, since it finds
//! values that may be seen.

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::registry::{LOGIN, Registry};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use bakery_testkit::aws::AwsEnv;
use bakery_testkit::ecs_env::{EcsEnv, single};

/// Variables of the server that agents must not get.
const TOKEN: &str = "rye-and-caraway-0451";

#[tokio::test(flavor = "multi_thread")]
async fn no_call_contains_a_secret_but_its_creation_and_a_launch_token_that_soon_expires() -> Result<()> {
    let aws = AwsEnv::with_s3("secrets").await?;
    let guarded = Registry::with_login(&aws.parts).await?;
    let (user, password) = LOGIN;
    let mut vars = EcsEnv::bucket(&aws).to_vec();
    vars.extend([
        ("AGENT_IMAGE_SECRET_NAME", aws.names.secret_name.clone()),
        ("AGENT_IMAGE_SECRET_USERNAME", "puller".to_owned()),
        ("AGENT_IMAGE_SECRET_PASSWORD", "pulled-sugar-77".to_owned()),
        ("RUST_LOG", "trace".to_owned()),
        ("BAKERY_OPEN", "false".to_owned()),
        ("BAKERY_TOKEN", TOKEN.to_owned()),
        ("BAKERY_INSECURE", "true".to_owned()),
        ("INSECURE_REGISTRIES", format!("{},{}", aws.parts.base_registry(), guarded.host)),
    ]);
    let env = EcsEnv::start(aws, &vars).await?;
    let proxy = &env.aws.proxy;
    let config = single(&format!("{}/secrets/app:1", guarded.host)).replace(
        "global:\n",
        &format!(
            "global:\n  kaniko-credentials: [{{ registry: \"{}\", username: {user}, password: {password} }}]\n  \
             env: {{ API_KEY: {password}, PAD: {} }}\n  pre-script: echo \"{password}\"\n",
            guarded.host,
            "x".repeat(20_000)
        ),
    );
    let project = Project::new(&env.aws.parts, &numbered("tick", 40, 100), &config)?;
    let client = env.with_bucket(env.client(&project));
    let client = client.with("BAKERY_TOKEN", TOKEN).with("BAKERY_INSECURE", "true");
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 5").await?.build.context("build")?;

    let (arn, _) = env.started().pop().context("a task")?;
    let seen = json!({ "cluster": env.aws.names.cluster, "tasks": [arn] });
    let seen = proxy.emulator("ecs:DescribeTasks", &seen).await?;
    let overrides = &seen["tasks"][0]["overrides"]["containerOverrides"][0]["environment"];
    let size = seen["tasks"][0]["overrides"].to_string().len();
    println!("{size} bytes of overrides");
    ensure!(size < 1000, "{seen}");
    let variables = overrides.as_array().with_context(|| seen.to_string())?;
    let token = variables.iter().find(|it| it["name"] == "BAKERY_LAUNCH_TOKEN").context("a token")?;
    let token = token["value"].as_str().context("a token")?.to_owned();
    ensure!(token.len() >= 32);
    // A stolen token is of no use: the run is bound.
    let theft = reqwest::Client::new().post(format!("{}/v1/runs/bk-{build}-0-1/order", env.server.url));
    let body = json!({ "session": "0".repeat(64), "agent_version": "stolen" });
    let answer = theft.bearer_auth(&token).json(&body).send().await?;
    ensure!(answer.status().is_client_error(), "{}", answer.status());
    println!("a thief with the launch token gets {}", answer.status());
    let ended = finish(child).await?;
    ensure!(ended.code == Some(4), "a second binder fails the run\n{}", env.details(&ended));

    let carriers = |text: &str| {
        let mut actions: Vec<_> = proxy.calls_with(text).iter().map(|call| call.action.clone()).collect();
        actions.dedup();
        actions
    };
    ensure!(carriers(&token) == ["ecs:RunTask"], "{:?}", carriers(&token));
    ensure!(carriers("pulled-sugar-77") == ["secretsmanager:CreateSecret"]);
    ensure!(!carriers(&build).is_empty(), "what may be seen is found");
    for secret in [password, TOKEN, "client-secret", "server-secret", env.aws.emulator.task.secret.as_str()] {
        for form in [secret.to_owned(), STANDARD.encode(secret)] {
            ensure!(carriers(&form).is_empty(), "{:?} carry a secret", carriers(&form));
        }
    }
    // Even at the most detailed log level of the server.
    let log = env.server.log();
    ensure!(log.contains("DEBUG"), "it is loud");
    for secret in [password, TOKEN, "pulled-sugar-77", "server-secret", token.as_str()] {
        ensure!(!log.contains(secret), "the log shows a secret");
    }
    Ok(())
}
