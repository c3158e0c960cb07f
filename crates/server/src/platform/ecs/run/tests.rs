use std::time::Duration;

use bakery_core::names::{Arch, BuildId, TaskId};
use serde_json::Value;

use super::super::wire_tests::bodies;
use super::*;

fn order(attempt: u8) -> LaunchOrder {
    let long = "x".repeat(60);
    let env = [
        ("BAKERY_URL", "https://bakery.example.com"),
        ("BAKERY_RUN", "bk-01kanar9g00000000000000007-1-1"),
        ("BAKERY_LAUNCH_TOKEN", &*long),
    ];
    LaunchOrder {
        run: RunName { task: TaskId { build: BuildId::new(1_763_800_000_000, 7), index: 1 }, attempt },
        arch: Arch::Arm64,
        cpu_millis: 500,
        memory_mib: 2048,
        disk_mib: None,
        env: env.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
        deadline: Duration::from_mins(25),
    }
}

fn template(capacity: Capacity) -> RunTaskTemplate {
    RunTaskTemplate {
        installation: "0191a2b3-c4d5-7e6f-8a9b-0c1d2e3f4a5b".to_owned(),
        region: "ap-northeast-2".to_owned(),
        cluster: "bakery-cluster".to_owned(),
        subnets: vec!["subnet-1".to_owned(), "subnet-2".to_owned()],
        security_groups: vec!["sg-1".to_owned()],
        public_ip: true,
        capacity,
    }
}

/// The `RunTask` request, tagged and not.
async fn sent(template: RunTaskTemplate) -> [Value; 2] {
    let sent = bodies("RunTask", async |ecs| {
        for tagged in [true, false] {
            template.input(&order(1), "bakery-agent-arm64-512-2048", tagged).send_with(&ecs).await.unwrap();
        }
    });
    sent.await.try_into().unwrap()
}

#[tokio::test]
async fn an_order_becomes_a_task() {
    let [tagged, _] = sent(template(Capacity::Fargate)).await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&tagged).unwrap());
}

#[tokio::test]
async fn the_same_order_gives_the_same_bytes_and_tags_are_all_that_may_be_missing() {
    let [mut tagged, untagged] = sent(template(Capacity::SpotThenFargate)).await;
    assert_eq!(sent(template(Capacity::SpotThenFargate)).await[0], tagged);
    assert!(tagged.as_object_mut().unwrap().remove("tags").is_some());
    assert_eq!(tagged, untagged);
    // AWS's limits.
    assert!(tagged["clientToken"].as_str().unwrap().len() <= 64, "{tagged}");
    assert!(tagged["startedBy"].as_str().unwrap().len() <= 128, "{tagged}");
}

#[test]
fn spot_is_used_as_the_operator_sets() {
    let spot = |capacity, attempt| {
        let input = template(capacity).input(&order(attempt), "family", false).build().unwrap();
        assert_ne!(input.launch_type.is_some(), input.capacity_provider_strategy.is_some());
        input.capacity_provider_strategy.is_some()
    };
    assert_eq!(
        [spot(Capacity::Fargate, 1), spot(Capacity::Spot, 1), spot(Capacity::Spot, 2)],
        [false, true, true]
    );
    assert_eq!([spot(Capacity::SpotThenFargate, 1), spot(Capacity::SpotThenFargate, 2)], [true, false]);
}

#[test]
fn a_task_is_ours_by_who_started_it() {
    let (template, run) = (template(Capacity::Fargate), order(1).run);
    assert_eq!(template.run_of(Some(&template.started_by(run))), Some(run));
    for other in [None, Some("ecs-svc/123"), Some("other/bk-01kanar9g00000000000000007-1-1")] {
        assert_eq!(template.run_of(other), None);
    }
}
