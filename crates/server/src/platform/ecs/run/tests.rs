use std::time::Duration;

use bakery_core::names::{Arch, BuildId, TaskId};

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
        env: env.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
        deadline: Duration::from_mins(25),
    }
}

fn house(capacity: Capacity) -> House {
    House {
        installation: "0191a2b3-c4d5-7e6f-8a9b-0c1d2e3f4a5b".to_owned(),
        cluster: "bakery-cluster".to_owned(),
        subnets: vec!["subnet-1".to_owned(), "subnet-2".to_owned()],
        security_groups: vec!["sg-1".to_owned()],
        public_ip: true,
        capacity,
    }
}

#[test]
fn an_order_becomes_a_task() {
    let input =
        house(Capacity::Fargate).input(&order(1), "bakery-agent-arm64-512-2048", true).build().unwrap();
    insta::assert_debug_snapshot!(input);
}

#[test]
fn the_same_order_gives_the_same_bytes_and_tags_are_all_that_may_be_missing() {
    let house = house(Capacity::SpotThenFargate);
    let input = |tagged| house.input(&order(1), "family", tagged).build().unwrap();
    assert_eq!(input(true), input(true));
    let mut untagged = input(true);
    untagged.tags = None;
    assert_eq!(untagged, input(false));
    let token = input(true).client_token.unwrap();
    assert!(token.len() <= 64, "{token}");
    assert!(input(true).started_by.unwrap().len() <= 128);
}

#[test]
fn capacity_is_spot_as_the_operator_says() {
    let spot = |capacity, attempt| {
        let input = house(capacity).input(&order(attempt), "family", false).build().unwrap();
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
    let (house, run) = (house(Capacity::Fargate), order(1).run);
    assert_eq!(house.run_of(Some(&house.started_by(run))), Some(run));
    for other in [None, Some("ecs-svc/123"), Some("other/bk-01kanar9g00000000000000007-1-1")] {
        assert_eq!(house.run_of(other), None);
    }
}
