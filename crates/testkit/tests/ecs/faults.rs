//! The faults that the proxy injects.

use std::time::Duration;

use anyhow::Result;
use bakery_testkit::aws::{AwsEnv, Ending, Fault, Outcome};
use bakery_testkit::process::until;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_injected_once_and_then_the_call_passes() -> Result<()> {
    let aws = AwsEnv::new("faults").await?;
    let definition = aws.define("X86_64", "exit 0").await?;
    let mut launch = aws.launch(&definition);
    launch["clientToken"] = "bk-faults".into();
    aws.proxy.inject("ecs:RunTask", Fault::Throttle, 2);
    aws.proxy.inject("ecs:RunTask", Fault::capacity(), 1);
    aws.proxy.inject("ecs:RunTask", Fault::role_missing(), 1);
    aws.proxy.inject("ecs:RunTask", Fault::cluster_missing(), 1);
    aws.proxy.inject("ecs:RunTask", Fault::Cut, 1);
    aws.proxy.inject("ecs:RunTask", Fault::Lost, 1);
    for error in ["ThrottlingException", "ThrottlingException"] {
        let (status, answer) = aws.ask("ecs:RunTask", &launch).await?;
        assert_eq!((status, answer["__type"].as_str()), (400, Some(error)));
    }
    let full = aws.done("ecs:RunTask", &launch).await?;
    assert_eq!(full["tasks"], json!([]));
    assert!(full["failures"][0]["reason"].as_str().is_some_and(|reason| reason.starts_with("Capacity")));
    for error in ["ClientException", "ClusterNotFoundException"] {
        assert_eq!(aws.ask("ecs:RunTask", &launch).await?.1["__type"], error);
    }
    assert!(aws.ask("ecs:RunTask", &launch).await.is_err(), "cut before");
    assert!(aws.proxy.tasks().is_empty());
    assert!(aws.ask("ecs:RunTask", &launch).await.is_err(), "cut after");
    let lost = aws.proxy.tasks()[0]["taskArn"].clone();
    let task = aws.run(&launch).await?;
    assert_eq!(lost, Value::String(task.clone()), "the token finds the task whose answer was lost");
    aws.exits(&task, 0).await?;
    let outcomes: Vec<_> =
        aws.proxy.calls_of("ecs:RunTask").iter().map(|call| (call.status, call.outcome)).collect();
    assert_eq!(outcomes.last(), Some(&(200, Outcome::Remembered)));
    assert_eq!(outcomes.len(), 8);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_missing_at_first_and_is_then_interrupted_by_spot() -> Result<()> {
    let aws = AwsEnv::new("spot").await?;
    let definition = aws.define("X86_64", "sleep 300").await?;
    aws.proxy.lag(2);
    let task = aws.run(&aws.launch(&definition)).await?;
    for _ in 0..2 {
        let answer = aws.describe(&task).await?;
        assert_eq!(answer["failures"], json!([{ "arn": task, "reason": "MISSING" }]));
        assert_eq!(answer["tasks"], json!([]));
    }
    let running = aws.reaches(&task, "RUNNING").await?;
    assert_eq!((&running["stopCode"], &running["containers"][0]["exitCode"]), (&Value::Null, &Value::Null));
    let name = AwsEnv::container(&task);
    aws.engine.docker(&["inspect", &name]).await?;
    aws.proxy.end(&task, Ending::spot()).await?;
    let ended = aws.reaches(&task, "STOPPED").await?;
    assert_eq!(ended["stopCode"], "SpotInterruption");
    assert_eq!(ended["stoppedReason"], "Your Spot Task was interrupted.");
    let gone = async || aws.engine.docker(&["inspect", &name]).await.is_err();
    until("the container's end", Duration::from_secs(10), gone).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_can_be_removed_and_all_of_aws_can_be_unavailable() -> Result<()> {
    let aws = AwsEnv::new("gone").await?;
    let definition = aws.define("X86_64", "exit 0").await?;
    aws.proxy.deregister(&definition).await?;
    let (status, answer) = aws.ask("ecs:RunTask", &aws.launch(&definition)).await?;
    assert_eq!((status, answer["message"].as_str()), (400, Some("TaskDefinition is inactive")));
    let family = definition.rsplit(['/', ':']).nth(1).unwrap_or_default();
    let describe = json!({ "taskDefinition": family });
    assert_eq!(
        aws.ask("ecs:DescribeTaskDefinition", &describe).await?.0,
        400,
        "none of the family is active"
    );
    let again = aws.define("X86_64", "exit 0").await?;
    let found = aws.done("ecs:DescribeTaskDefinition", &describe).await?;
    assert_eq!(found["taskDefinition"]["taskDefinitionArn"], Value::String(again));
    aws.proxy.close().await?;
    let list = json!({ "familyPrefix": aws.names.family });
    let refused = aws.ask("ecs:ListTaskDefinitionFamilies", &list).await.unwrap_err();
    assert!(format!("{refused:?}").contains("refused"), "{refused:?}");
    aws.proxy.open().await?;
    aws.done("ecs:ListTaskDefinitionFamilies", &list).await?;
    Ok(())
}
