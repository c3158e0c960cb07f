//! Builds that meet trouble: launches that fail, agents that die or fall silent, limits, cancels.

use bakery_core::wire::build::TaskPhase::{Baked, Launching, Planned, Running};
use bakery_core::wire::build::Verdict;

use super::*;
use crate::platform::fake::LaunchScript;
use crate::platform::{Exit, LaunchError};

fn no_capacity() -> LaunchError {
    LaunchError { retryable: true, reason: Reason::NoCapacity, message: "no capacity".into() }
}

fn task_of(view: &BuildView) -> (u8, TaskPhase, Option<Reason>) {
    let task = &view.targets[0].tasks[0];
    (task.attempt, task.phase, task.reason)
}

#[test]
fn a_launch_without_capacity_is_tried_once_more() {
    let world = BuildsWorld::new();
    world.platform.script(LaunchScript::Fail(no_capacity()));
    world.life(async |server| {
        let build = server.submit(single()).await;
        server.bake(run(build, 0, 2)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
        assert_eq!(server.world.platform.stops()[0], run(build, 0, 1), "made sure that nothing lives");
        let phases = server.logged_phases(TaskId { build, index: 0 }).await;
        assert_eq!(phases, [(1, Launching), (2, Planned), (2, Launching), (2, Running), (2, Baked)]);
    });
}

#[test]
fn two_launches_without_capacity_are_the_end() {
    let world = BuildsWorld::new();
    world.platform.script(LaunchScript::Fail(no_capacity()));
    world.platform.script(LaunchScript::Fail(no_capacity()));
    world.life(async |server| {
        let build = server.submit(single()).await;
        let view = server.ended(build).await;
        assert_eq!(task_of(&view), (2, TaskPhase::Lost, Some(Reason::NoCapacity)));
        assert_eq!(view.outcome.unwrap().verdict, Verdict::Lost);
        assert_eq!(server.world.platform.launches().len(), 2);
    });
}

#[test]
fn a_launch_that_is_refused_for_good_is_not_tried_again() {
    let world = BuildsWorld::new();
    let refused = LaunchError { retryable: false, reason: Reason::LaunchRefused, message: "no".into() };
    world.platform.script(LaunchScript::Fail(refused));
    world.life(async |server| {
        let build = server.submit(single()).await;
        let view = server.ended(build).await;
        assert_eq!(task_of(&view), (1, TaskPhase::Lost, Some(Reason::LaunchRefused)));
    });
}

#[test]
fn a_lost_response_never_leads_to_two_containers() {
    let world = BuildsWorld::new();
    let lost =
        LaunchError { retryable: true, reason: Reason::PlatformUnreachable, message: "timeout".into() };
    world.platform.script(LaunchScript::LoseAnswer(lost));
    world.platform.script_stop(no_capacity());
    world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 2)).await;
        let stops = server.world.platform.stops();
        assert!(stops.len() >= 2, "the second attempt came before a stop was confirmed: {stops:?}");
        assert_eq!(server.world.platform.live(), [run(build, 0, 2)]);
    });
}

#[test]
fn an_agent_that_never_connects_is_given_up() {
    let mut world = BuildsWorld::new();
    world.settings.provision_timeout = Duration::from_millis(80);
    world.life(async |server| {
        let build = server.submit(single()).await;
        let view = server.ended(build).await;
        assert_eq!(task_of(&view), (2, TaskPhase::Lost, Some(Reason::ProvisionTimeout)));
        server.world.platform.wait_stops(2).await;
        assert!(server.world.platform.live().is_empty());
        assert!(matches!(server.bind(run(build, 0, 2)).await, Err(RunError::Over)));
    });
}

#[test]
fn messages_of_the_platform_are_in_the_log() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.world.platform.progress(run, Some(Reason::ImagePull), "cannot pull");
        server.until(build, |view| task_of(view).2 == Some(Reason::ImagePull)).await;
        server.bake(run).await;
        server.ended(build).await;
        assert!(server.notes(build).await.iter().any(|note| note == "cannot pull"));
    });
}

#[test]
fn a_task_that_takes_too_long_is_ended_and_named_with_its_stage() {
    let mut world = BuildsWorld::new();
    world.settings.task_timeout = Duration::from_millis(50);
    world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        let view = server.ended(build).await;
        assert_eq!(task_of(&view), (1, TaskPhase::TimedOut, Some(Reason::TaskTimeout)));
        let outcome = view.outcome.unwrap();
        assert_eq!(outcome.verdict, Verdict::Failed);
        let text = "cart (amd64): BUILD_TASK_TIMEOUT (50ms) exceeded in stage `launch`";
        assert_eq!(outcome.text.as_deref(), Some(text));
        server.world.platform.wait_stops(1).await;
    });
}

#[test]
fn an_eviction_that_is_reported_after_the_deadline_is_tried_again() {
    let mut world = BuildsWorld::new();
    world.settings.task_timeout = Duration::from_millis(400);
    for _ in 0..3 {
        world.platform.script_stop(no_capacity());
    }
    world.life(async |server| {
        let build = server.submit(single()).await;
        let first = run(build, 0, 1);
        server.launched(first).await;
        server.bind(first).await.unwrap();
        server.builds.session(first, &session_of(first)).await.unwrap().contact(Stage::Report);
        tokio::time::sleep(server.world.settings.task_timeout).await;
        assert!(server.report_from(Stage::Bake, first, failed(Reason::Evicted)).await);
        server.launched(run(build, 0, 2)).await;
    });
}

#[test]
fn a_failed_launch_that_cannot_be_stopped_ends_by_its_own_reason() {
    let mut world = BuildsWorld::new();
    world.settings.task_timeout = Duration::from_millis(50);
    world.settings.provision_timeout = Duration::from_millis(80);
    world.platform.script(LaunchScript::Fail(no_capacity()));
    for _ in 0..200 {
        world.platform.script_stop(no_capacity());
    }
    world.life(async |server| {
        let build = server.submit(single()).await;
        let view = server.ended(build).await;
        assert_eq!(task_of(&view), (1, TaskPhase::Lost, Some(Reason::NoCapacity)));
        let outcome = view.outcome.unwrap();
        let text = "cart (amd64): no capacity; the platform has not confirmed that the container is stopped";
        assert_eq!((outcome.verdict, outcome.text.as_deref()), (Verdict::Lost, Some(text)));
    });
}

#[test]
fn a_cancel_ends_every_container_and_reaches_the_agents() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(multi()).await;
        let amd64 = run(build, 0, 1);
        server.world.platform.wait_launches(2).await;
        server.bind(amd64).await.unwrap();
        let session = server.builds.session(amd64, &session_of(amd64)).await.unwrap();
        assert!(!session.cancelled());
        let view = server.builds.cancel(OWNER, build).await.unwrap();
        assert!(view.targets[0].tasks.iter().all(|task| task.phase == TaskPhase::Cancelled));
        let outcome = server.ended(build).await.outcome.unwrap();
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Cancelled, Some(Reason::Cancelled)));
        assert!(session.cancelled());
        server.world.platform.wait_stops(2).await;
        assert!(server.world.platform.live().is_empty());
        assert!(
            !server.report(amd64, TaskResult::Cancelled).await,
            "a late report is taken and changes nothing"
        );
        assert!(server.builds.session(amd64, &session_of(amd64)).await.unwrap().cancelled());
        // Again: nothing happens.
        let again = server.builds.cancel(OWNER, build).await.unwrap();
        assert_eq!(again.outcome.unwrap(), outcome);
    });
}

#[test]
fn a_cancelled_build_ends_when_none_of_its_containers_runs() {
    let mut world = BuildsWorld::new();
    world.settings.timing.vacate = Duration::from_mins(5);
    world.platform.script_stop(no_capacity());
    world.life(async |server| {
        let build = server.submit(multi()).await;
        server.world.platform.wait_launches(2).await;
        server.builds.cancel(OWNER, build).await.unwrap();
        server.log(build).await;
        assert!(server.world.platform.live().is_empty());
    });
}

#[test]
fn a_failed_build_ends_when_its_agent_has_left() {
    let mut world = BuildsWorld::new();
    world.settings.timing.vacate = Duration::from_mins(5);
    world.life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.bind(run).await.unwrap();
        // The agent leaves only when its report is answered.
        assert!(server.report(run, failed(Reason::ExecutorFailed)).await);
        server.world.platform.exit(run, 1);
        server.log(build).await;
        assert!(server.world.platform.live().is_empty());
    });
}

#[test]
fn a_report_may_follow_its_container() {
    let mut world = BuildsWorld::new();
    world.settings.timing.report_grace = Duration::from_mins(5);
    world.life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.bind(run).await.unwrap();
        server.world.platform.exit(run, 0);
        server.phase(run, TaskPhase::Closing).await;
        assert!(server.report(run, baked(run)).await);
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
    });
}

#[test]
fn a_report_counts_where_the_last_lines_cannot_be_delivered() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.bind(run).await.unwrap();
        let report = |cut| TaskReport {
            result: baked(run),
            stage: Stage::Report,
            lines: 7,
            cut,
            millis: BTreeMap::new(),
        };
        let early = server.builds.report(run, &session_of(run), report(false)).await;
        assert!(matches!(early, Err(RunError::LinesMissing { lines: 7, next: 1 })));
        assert!(server.builds.report(run, &session_of(run), report(true)).await.unwrap().accepted);
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
        let text = "the last 7 of 7 lines are missing: the agent could not deliver them in time";
        assert!(server.notes(build).await.iter().any(|note| note == text));
    });
}

#[test]
fn a_container_that_dies_without_a_report_is_tried_again_unless_it_had_pushed() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let (first, second) = (run(build, 0, 1), run(build, 0, 2));
        server.launched(first).await;
        server.bind(first).await.unwrap();
        server.world.platform.exit(first, 137);
        server.launched(second).await;
        server.bind(second).await.unwrap();
        assert!(!server.report(first, baked(first)).await, "the first attempt has ended");
        server.builds.session(second, &session_of(second)).await.unwrap().contact(Stage::Push);
        server.world.platform.exit(second, 0);
        let view = server.ended(build).await;
        assert_eq!(task_of(&view), (2, TaskPhase::Lost, Some(Reason::AgentLost)));
    });
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let first = run(build, 0, 1);
        server.launched(first).await;
        server.bind(first).await.unwrap();
        server.builds.session(first, &session_of(first)).await.unwrap().contact(Stage::Push);
        server.world.platform.exit(first, 0);
        assert_eq!(task_of(&server.ended(build).await), (1, TaskPhase::Lost, Some(Reason::AgentLost)));
    });
}

#[test]
fn an_agent_that_reports_its_eviction_is_tried_again_unless_it_had_pushed() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let first = run(build, 0, 1);
        server.launched(first).await;
        server.bind(first).await.unwrap();
        // It announces its report before it sends it.
        server.builds.session(first, &session_of(first)).await.unwrap().contact(Stage::Report);
        assert!(server.report_from(Stage::Bake, first, failed(Reason::Evicted)).await);
        server.bake(run(build, 0, 2)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
        assert_eq!(server.world.platform.stops()[0], first, "made sure that nothing lives");
        let phases = server.logged_phases(TaskId { build, index: 0 }).await;
        let first = [(1, Launching), (1, Running), (1, TaskPhase::Closing)];
        assert_eq!(phases, [&first[..], &[(2, Planned), (2, Launching), (2, Running), (2, Baked)]].concat());
        assert!(server.notes(build).await.iter().any(|note| note == "it broke: retrying once"));
    });
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let first = run(build, 0, 1);
        server.launched(first).await;
        server.bind(first).await.unwrap();
        assert!(server.report_from(Stage::Push, first, failed(Reason::Evicted)).await);
        assert_eq!(task_of(&server.ended(build).await), (1, TaskPhase::Lost, Some(Reason::Evicted)));
    });
}

#[test]
fn the_platforms_reason_explains_a_dead_container() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.bind(run).await.unwrap();
        let exit = Exit { code: Some(137), reason: Some(Reason::OutOfMemory), message: "OOM killed".into() };
        server.world.platform.end(run, &exit);
        let view = server.ended(build).await;
        assert_eq!(task_of(&view), (1, TaskPhase::Lost, Some(Reason::OutOfMemory)));
        assert_eq!(view.outcome.unwrap().verdict, Verdict::Failed);
    });
}

#[test]
fn an_agent_without_contact_is_lost_only_once_the_platform_reports_it() {
    let mut world = BuildsWorld::new();
    world.settings.timing.no_contact = Duration::from_millis(30);
    world.life(async |server| {
        let build = server.submit(single()).await;
        let (first, second) = (run(build, 0, 1), run(build, 0, 2));
        server.launched(first).await;
        server.bind(first).await.unwrap();
        let mut frames = server.logs.follow(build, Cursor::default(), true).await.unwrap();
        let mut seen = String::new();
        while !seen.contains("its container still exists") {
            seen.push_str(&String::from_utf8_lossy(&frames.next().await.unwrap().unwrap()));
        }
        assert_eq!(server.phase(first, TaskPhase::Running).await.phase, BuildPhase::Baking);
        server.world.platform.lose(first);
        server.bake(second).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
    });
}

#[test]
fn an_agent_with_contact_is_never_reported_as_silent() {
    let mut world = BuildsWorld::new();
    world.settings.timing.no_contact = Duration::from_millis(500);
    world.life(async |server| {
        let build = server.submit(multi()).await;
        let (connected, silent) = (run(build, 0, 1), run(build, 1, 1));
        for run in [connected, silent] {
            server.launched(run).await;
            server.bind(run).await.unwrap();
        }
        let session = server.builds.session(connected, &session_of(connected)).await.unwrap();
        let speaking = async {
            loop {
                session.contact(Stage::Bake);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let asked_twice = async {
            let mut frames = server.logs.follow(build, Cursor::default(), true).await.unwrap();
            let mut seen = String::new();
            while seen.matches("its container still exists").count() < 2 {
                seen.push_str(&String::from_utf8_lossy(&frames.next().await.unwrap().unwrap()));
            }
        };
        tokio::select! {
            () = speaking => {}
            () = asked_twice => {}
        }
        server.bake(connected).await;
        server.bake(silent).await;
        server.ended(build).await;
        let log = server.log(build).await;
        let mut asked =
            log.iter().filter(|(_, lines)| lines.iter().any(|line| line.msg.contains("still has")));
        let of = |frame: &Frame| matches!(frame, Frame::Note { run: Some(run), .. } if *run == silent);
        assert!(asked.all(|(frame, _)| of(frame)));
    });
}

#[test]
fn a_container_that_vanished_while_the_watch_was_interrupted_is_gone() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        server.bind(run(build, 0, 1)).await.unwrap();
        server.world.platform.lose(run(build, 0, 1));
        server.world.platform.reconnect();
        server.bake(run(build, 0, 2)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
    });
}
