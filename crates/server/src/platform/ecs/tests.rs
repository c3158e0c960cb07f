use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use bakery_core::names::{BuildId, TaskId};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::super::Capabilities;
use super::wire_tests::Aws;
use super::*;

const ARN: &str = "arn:aws:ecs:ap-northeast-2:123456789012:task/builds/1";

fn options() -> EcsOptions {
    EcsOptions {
        installation: "0191a2b3-c4d5-7e6f-8a9b-0c1d2e3f4a5b".to_owned(),
        agent_image: "docker.io/me/agent:1".parse().unwrap(),
        region: "ap-northeast-2".to_owned(),
        cluster: "builds".to_owned(),
        subnets: vec!["subnet-1".to_owned()],
        security_groups: vec!["sg-1".to_owned()],
        execution_role: "arn:aws:iam::123456789012:role/bakery-agent-execution".to_owned(),
        task_role: None,
        log_group: None,
        capacity: Capacity::Fargate,
        public_ip: true,
        storage: None,
        family: "bakery-agent".to_owned(),
        pull_secret: None,
        clean_up: false,
        capabilities: Capabilities::default(),
    }
}

fn run(index: u16) -> RunName {
    RunName { task: TaskId { build: BuildId::new(1, 1), index }, attempt: 1 }
}

fn order() -> LaunchOrder {
    LaunchOrder {
        run: run(0),
        arch: Arch::Amd64,
        cpu_millis: 250,
        memory_mib: 512,
        disk_mib: None,
        env: Vec::new(),
        deadline: Duration::from_mins(1),
    }
}

fn error(name: &str, message: &str) -> Value {
    json!({ "__type": name, "message": message })
}

/// AWS's answers where nothing is special: nothing is registered, and a launch starts a task.
fn plain(action: &str) -> Value {
    match action {
        "DescribeTaskDefinition" => error("ClientException", "Unable to describe task definition."),
        "RegisterTaskDefinition" => json!({ "taskDefinition": { "revision": 1 } }),
        "RunTask" => json!({ "tasks": [{ "taskArn": ARN }], "failures": [] }),
        _ => json!({}),
    }
}

struct TestPlatform {
    aws: Aws,
    platform: EcsPlatform,
    _data: tempfile::TempDir,
}

async fn platform<F, A>(index: &str, script: F) -> TestPlatform
where
    F: Fn(String, Value) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Value> + Send,
{
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join(TASK_INDEX), index).unwrap();
    let aws = Aws::answering(script).await;
    let platform = EcsPlatform::with(&aws.config, &options(), data.path(), &Tasks::new()).await.unwrap();
    TestPlatform { aws, platform, _data: data }
}

#[tokio::test]
async fn a_task_that_was_started_with_other_settings_is_adopted_from_the_conflict() {
    let test = platform("", async |action, _| match &*action {
        "RunTask" => {
            json!({ "__type": "ConflictException", "message": "another body", "resourceIds": [ARN] })
        }
        other => plain(other),
    })
    .await;
    test.platform.launch(&order()).await.unwrap();
    assert_eq!(test.platform.core.task_index.get(run(0)).unwrap().arn, ARN);
    assert_eq!(test.aws.calls("RunTask").len(), 1);
}

#[tokio::test]
async fn a_definition_that_somebody_deregistered_is_registered_again() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let test = platform("", async |action, _| match &*action {
        "RunTask" if ASKED.fetch_add(1, Relaxed) == 0 => {
            error("ClientException", "TaskDefinition not found.")
        }
        other => plain(other),
    })
    .await;
    test.platform.launch(&order()).await.unwrap();
    assert_eq!((test.aws.calls("RegisterTaskDefinition").len(), test.aws.calls("RunTask").len()), (2, 2));
}

#[tokio::test]
async fn a_task_whose_launch_nobody_waits_for_is_stopped_all_the_same() {
    static STOPPED: AtomicUsize = AtomicUsize::new(0);
    let test = platform("", async |action, _| match &*action {
        "RunTask" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            plain("RunTask")
        }
        "StopTask" => {
            STOPPED.fetch_add(1, Relaxed);
            json!({})
        }
        "DescribeTasks" => {
            let status = if STOPPED.load(Relaxed) == 0 { "RUNNING" } else { "STOPPED" };
            json!({ "tasks": [{ "taskArn": ARN, "lastStatus": status }] })
        }
        other => plain(other),
    })
    .await;
    let given_up = tokio::time::timeout(Duration::from_millis(50), test.platform.launch(&order())).await;
    assert!(given_up.is_err(), "{given_up:?}");
    let (run, mut watch) = (run(0), test.platform.watch());
    let (stopped, ()) = tokio::join!(test.platform.stop(&run), async {
        while !matches!(watch.next().await, Some(Observation::Gone { .. })) {}
        // A reader that asks for the next item has taken the end over.
        let _ = tokio::time::timeout(Duration::from_secs(1), watch.next()).await;
    });
    stopped.unwrap();
    assert_eq!(STOPPED.load(Relaxed), 1);
}

#[tokio::test]
async fn tasks_of_two_clusters_are_asked_about_apart() {
    let other = ARN.replace("builds", "others");
    let index = format!("+ {} {ARN}\n+ {} {other}\n", run(0), run(1));
    let test = platform(&index, async |action, body: Value| match &*action {
        "DescribeTasks" if body["cluster"] == "others" => {
            error("InvalidParameterException", "Invalid identifier")
        }
        "DescribeTasks" => json!({ "tasks": [{ "taskArn": ARN, "lastStatus": "STOPPED" }] }),
        other => plain(other),
    })
    .await;
    let mut watch = test.platform.watch();
    assert!(matches!(watch.next().await, Some(Observation::Synced { live }) if live.len() == 2));
    let gone = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.unwrap();
    assert!(matches!(gone, Some(Observation::Gone { run: gone, .. }) if gone == run(0)));
    assert!(test.platform.availability().borrow().is_available(), "our own cluster answers");
    for call in test.aws.calls("DescribeTasks") {
        assert_eq!(call["tasks"].as_array().unwrap().len(), 1, "{call}");
    }
}

#[tokio::test]
async fn a_run_that_may_have_started_is_not_called_stopped() {
    let test = platform("", async |action, _| match &*action {
        "ListTasks" => error("AccessDeniedException", "not authorized to perform: ecs:ListTasks on x"),
        other => plain(other),
    })
    .await;
    assert!(test.platform.stop(&run(1)).await.is_ok(), "nobody has ever started it");
    let start = UnconfirmedStart { since: tokio::time::Instant::now(), deadline: Duration::from_mins(1) };
    test.platform.core.unconfirmed.lock().unwrap().insert(run(0), start);
    let error = test.platform.stop(&run(0)).await.unwrap_err();
    assert!(error.retryable && error.message.text.contains("may have started"), "{error}");
}
