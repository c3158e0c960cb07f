//! Disk and time that tasks request, within the operator's bounds.

use bakery_core::rules::TaskBounds;
use bakery_core::wire::build::Verdict;

use super::*;
use crate::platform::fake::LaunchScript;

/// One task with this disk and this time.
fn requesting(disk_mib: Option<u32>, timeout_seconds: Option<u64>) -> BuildSpec {
    let mut spec = single();
    let task = &mut spec.services[0].tasks[0];
    (task.disk_mib, task.timeout_seconds) = (disk_mib, timeout_seconds);
    spec
}

fn bounded(timeout: Duration, disk_mib: u32) -> BuildsWorld {
    let mut world = BuildsWorld::new();
    world.settings.bounds = TaskBounds { timeout, disk_mib: Some(disk_mib) };
    world
}

#[test]
fn a_task_gets_the_disk_and_the_time_that_it_requests() {
    let world = bounded(Duration::from_mins(30), 40 << 10);
    world.life(async |server| {
        let build = server.submit(requesting(Some(40 << 10), Some(1800))).await;
        let first = run(build, 0, 1);
        server.launched(first).await;
        let launched = server.world.platform.launches().remove(0);
        // Five minutes to start, and ten for the report.
        assert_eq!((launched.disk_mib, launched.deadline), (Some(40 << 10), Duration::from_mins(45)));
        let order = server.bind(first).await.unwrap();
        assert!((1790..=1800).contains(&order.deadline_seconds), "{}", order.deadline_seconds);
    });
}

#[test]
fn a_shorter_time_than_the_servers_ends_a_task_and_is_named() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(requesting(None, Some(1))).await;
        let outcome = server.ended(build).await.outcome.unwrap();
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(Reason::TaskTimeout)));
        let text = "cart (amd64): `timeout` (1s) exceeded in stage `launch`";
        assert_eq!(outcome.text.as_deref(), Some(text));
    });
}

#[test]
fn a_request_beyond_a_bound_is_refused_and_starts_nothing() {
    let world = bounded(Duration::from_mins(30), 40 << 10);
    world.life(async |server| {
        for (timeout, shown) in [(1801, "30m1s"), (u64::MAX, "5124095576030431h15s")] {
            let spec = requesting(Some((40 << 10) + 1), Some(timeout));
            let refused = server.builds.submit(OWNER, request(spec, "a request beyond")).await;
            let Err(SubmitError::BadSpec(messages)) = refused else { panic!("{refused:?}") };
            let texts: Vec<_> = messages.iter().map(|message| message.text.as_str()).collect();
            let place = "service cart: entry 1";
            let time = format!("{place}: timeout: {shown} is more than this server allows: at most 30m");
            let disk = format!("{place}: disk: 40961 MiB is more than this server allows: at most 40 GiB");
            assert_eq!(texts, [time, disk]);
            assert!(messages.iter().all(|message| message.hint.as_ref().unwrap().contains("MAX_TASK_")));
        }
        assert!(server.world.platform.launches().is_empty());
        // The same key with another request: its time is not checked, and must not do any harm.
        server.submit(single()).await;
        let spec = requesting(None, Some(u64::MAX));
        let reused = server.builds.submit(OWNER, request(spec, "key of the first build")).await;
        assert!(matches!(reused, Err(SubmitError::KeyReused)), "{reused:?}");
    });
}

#[test]
fn a_notice_says_where_a_disk_has_no_effect_also_if_the_answer_was_lost() {
    let world = bounded(Duration::from_mins(30), 40 << 10);
    world.life(async |server| {
        for _ in 0..2 {
            let submitted = request(requesting(Some(1024), None), "key of the first build");
            let submitted = server.builds.submit(OWNER, submitted).await.unwrap();
            let notices: Vec<_> = submitted.into_notices().into_iter().map(|it| it.text).collect();
            assert_eq!(notices, ["cart (amd64): `disk` has no effect"]);
        }
    });
}

#[test]
fn an_accepted_build_keeps_disk_and_time_under_other_bounds() {
    let mut world = bounded(Duration::from_mins(30), 40 << 10);
    world.platform.script(LaunchScript::Hang);
    let build = world.life(async |server| {
        let build = server.submit(requesting(Some(40 << 10), Some(1800))).await;
        server.launched(run(build, 0, 1)).await;
        build
    });
    world.settings.task_timeout = Duration::from_mins(1);
    world.settings.bounds = TaskBounds { timeout: Duration::from_mins(1), disk_mib: Some(1024) };
    world.life(async |server| {
        let launches = server.world.platform.wait_launches(2).await;
        assert_eq!(launches[0], launches[1]);
        let order = server.bind(run(build, 0, 1)).await.unwrap();
        assert!((1700..=1800).contains(&order.deadline_seconds), "{}", order.deadline_seconds);
    });
}
