//! The emulator and the proxy themselves, by plain calls: tasks are real containers, calls are recorded and checked.

use anyhow::{Result, ensure};
use bakery_testkit::aws::{AwsEnv, Outcome, Policy, SERVER};
use bakery_testkit::registry::{LOGIN, Registry, basic_auth};
use bakery_testkit::skopeo::{inspect, skopeo};
use serde_json::{Value, json};

/// What a container must have: its overrides, its architecture, its role's keys, and nothing that Fargate does not provide.
const LOOK: &str = r#"
[ "$WORD" = flour ] || exit 2
[ "$(uname -m)" = "$MACHINE" ] || exit 3
[ -z "$AWS_ENDPOINT_URL$AWS_CONTAINER_AUTHORIZATION_TOKEN" ] || exit 4
printf 'GET %s HTTP/1.0\r\n\r\n' "$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" | nc 169.254.170.2 80 >/tmp/keys
grep -q "$KEY" /tmp/keys && grep -q SecretAccessKey /tmp/keys || exit 5
exit 7"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_a_real_container_with_its_architecture_and_its_roles_keys() -> Result<()> {
    let aws = AwsEnv::new("real").await?;
    let mut tasks = Vec::new();
    for (arch, machine) in [("X86_64", "x86_64"), ("ARM64", "aarch64")] {
        let definition = aws.define(arch, LOOK).await?;
        let mut launch = aws.launch(&definition);
        let variables = [("WORD", "flour"), ("MACHINE", machine), ("KEY", &aws.emulator.task.id)]
            .map(|(name, value)| json!({ "name": name, "value": value }));
        launch["overrides"]["containerOverrides"] = json!([{ "name": "agent", "environment": variables }]);
        tasks.push(aws.run(&launch).await?);
    }
    for task in &tasks {
        let ended = aws.exits(task, 7).await?;
        assert_eq!(ended["stopCode"], "EssentialContainerExited");
    }
    // The image's own program, which prints what is missing.
    let definition = aws.define_container("X86_64", json!({})).await?;
    let task = aws.run(&aws.launch(&definition)).await?;
    aws.exits(&task, 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kaniko_in_a_task_pushes_to_a_registry_of_this_machine() -> Result<()> {
    let aws = AwsEnv::new("push").await?;
    let registry = Registry::start(&aws.parts).await?;
    let mut tasks = Vec::new();
    for arch in ["X86_64", "ARM64"] {
        let image = format!("{}/emulator/{}:1", registry.host, arch.to_lowercase());
        let script = format!(
            "mkdir /kaniko/ctx && printf 'FROM {}\\nRUN echo flour >/x\\n' >/kaniko/ctx/Dockerfile && \
             /kaniko/executor --context=dir:///kaniko/ctx --insecure --insecure-pull --destination={image}",
            aws.parts.base_image
        );
        tasks.push((image, aws.run(&aws.launch(&aws.define(arch, &script).await?)).await?));
    }
    for ((image, task), arch) in tasks.iter().zip(["amd64", "arm64"]) {
        aws.exits(task, 0).await?;
        assert_eq!(inspect(&aws.parts, image, &["--config"]).await?["architecture"], arch);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_token_starts_one_task_however_often_it_is_sent() -> Result<()> {
    let aws = AwsEnv::new("token").await?;
    let definition = aws.define("X86_64", "sleep 60").await?;
    let mut launch = aws.launch(&definition);
    launch["clientToken"] = "bk-one".into();
    launch["startedBy"] = "bk-one".into();
    let (first, second) = tokio::join!(aws.run(&launch), aws.run(&launch));
    let (first, second) = (first?, second?);
    assert_eq!(first, second);
    launch["startedBy"] = "somebody".into();
    let (status, answer) = aws.ask("ecs:RunTask", &launch).await?;
    assert_eq!((status, answer["__type"].as_str()), (400, Some("ConflictException")));
    assert_eq!(answer["resourceIds"], json!([first]));
    let calls = aws.proxy.calls_of("ecs:RunTask");
    let count = |outcome| calls.iter().filter(|call| call.outcome == outcome).count();
    assert_eq!((count(Outcome::Forwarded), count(Outcome::Remembered)), (1, 2));
    assert_eq!(aws.proxy.tasks().len(), 1);
    let stop = json!({ "cluster": aws.names.cluster, "task": first });
    aws.proxy.emulator("ecs:StopTask", &stop).await?;
    Ok(())
}

async fn refused(aws: &AwsEnv, action: &str, body: &Value) -> Result<String> {
    let (status, answer) = aws.ask(action, body).await?;
    ensure!((status, answer["__type"].as_str()) == (400, Some("AccessDeniedException")), "{status} {answer}");
    Ok(answer["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_policy_grants_is_refused_as_aws_does_it() -> Result<()> {
    let aws = AwsEnv::new("rights").await?;
    let definition = aws.define("X86_64", "exit 0").await?;
    let launch = aws.launch(&definition);

    // Not in the baseline: stopping, tagging, another cluster.
    let stop = json!({ "cluster": aws.names.cluster, "task": "t" });
    let message = refused(&aws, "ecs:StopTask", &stop).await?;
    let task = format!("arn:aws:ecs:us-east-1:123456789012:task/{}/t", aws.names.cluster);
    assert_eq!(
        message,
        format!(
            "User: arn:aws:sts::123456789012:assumed-role/bakery-server/bakery is not authorized to perform: \
             ecs:StopTask on resource: {task} because no identity-based policy allows the ecs:StopTask action"
        )
    );
    let mut tagged = launch.clone();
    tagged["tags"] = json!([{ "key": "bakery", "value": "1" }]);
    assert!(refused(&aws, "ecs:RunTask", &tagged).await?.contains("perform: ecs:TagResource on"));
    let mut elsewhere = launch.clone();
    elsewhere["cluster"] = "production".into();
    assert!(refused(&aws, "ecs:RunTask", &elsewhere).await?.contains("perform: ecs:RunTask on"));

    // Granted with the extras; refused without one right of the baseline.
    aws.with_extras()?;
    let started = aws.run(&tagged).await?;
    aws.exits(&started, 0).await?;
    let policy = Policy::example("server", &aws.names)?;
    aws.proxy.grant("server", SERVER, policy.without("iam:PassRole"));
    assert!(refused(&aws, "ecs:RunTask", &launch).await?.contains("perform: iam:PassRole on"));
    aws.proxy.deny("ecs:DescribeTasks");
    let describe = json!({ "cluster": aws.names.cluster, "tasks": [started] });
    assert!(refused(&aws, "ecs:DescribeTasks", &describe).await?.contains("perform: ecs:DescribeTasks on"));
    aws.proxy.allow("ecs:DescribeTasks");
    aws.describe(&started).await?;

    let calls = aws.proxy.calls_of("ecs:StopTask");
    assert_eq!(
        (calls[0].principal.as_str(), calls[0].status, calls[0].outcome),
        ("server", 400, Outcome::Refused)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_no_record_but_its_creation() -> Result<()> {
    let aws = AwsEnv::new("secret").await?;
    let value = json!({ "username": "baker", "password": "crumbs-4411" }).to_string();
    let create = json!({ "Name": aws.names.secret_name, "SecretString": value });
    let made = aws.done("secretsmanager:CreateSecret", &create).await?;
    let (status, again) = aws.ask("secretsmanager:CreateSecret", &create).await?;
    assert_eq!((status, again["__type"].as_str()), (400, Some("ResourceExistsException")));
    let named = json!({ "SecretId": aws.names.secret_name });
    assert_eq!(aws.done("secretsmanager:DescribeSecret", &named).await?["ARN"], made["ARN"]);
    assert!(refused(&aws, "secretsmanager:GetSecretValue", &named).await?.contains("GetSecretValue"));
    let holding = aws.proxy.calls_with("crumbs-4411");
    assert!(holding.iter().all(|call| call.action == "secretsmanager:CreateSecret"));
    assert_eq!(holding.len(), 2);
    assert!(!format!("{:?}", aws.proxy.calls()).contains("crumbs-4411"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pull_secret_of_a_definition_is_used() -> Result<()> {
    let aws = AwsEnv::new("pull").await?;
    // The engine uses plain HTTP for loopback only.
    let registry = Registry::guarded(&aws.parts.registry_bin, basic_auth).await?;
    let (user, password) = LOGIN;
    let image = format!("{}/private/agent:1", registry.host);
    let source = format!("docker://{}", aws.parts.agent_index);
    let to = format!("docker://{image}");
    let login = format!("{user}:{password}");
    let args = [
        "copy",
        "-q",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--dest-creds",
        &login,
        &source,
        &to,
    ];
    skopeo(&aws.parts, &args).await?;
    let value = json!({ "username": user, "password": password }).to_string();
    let create = json!({ "Name": aws.names.secret_name, "SecretString": value });
    let secret = aws.done("secretsmanager:CreateSecret", &create).await?["ARN"].clone();
    let shell = json!({ "image": image, "entryPoint": ["/kaniko/bin/sh", "-c"], "command": ["exit 9"] });
    let stranger = aws.run(&aws.launch(&aws.define_container("X86_64", shell.clone()).await?)).await?;
    let ended = aws.reaches(&stranger, "STOPPED").await?;
    assert_eq!(ended["stopCode"], "TaskFailedToStart");
    assert!(
        ended["stoppedReason"].as_str().unwrap_or_default().starts_with("CannotPullContainerError"),
        "{ended}"
    );
    let mut known = shell;
    known["repositoryCredentials"] = json!({ "credentialsParameter": secret });
    let task = aws.run(&aws.launch(&aws.define_container("X86_64", known).await?)).await?;
    aws.exits(&task, 9).await?;
    Ok(())
}
