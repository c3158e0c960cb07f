//! Servers that are killed, and what their next life makes of it.

use bakery_core::wire::build::TaskPhase::{Baked, Launching, Running};
use bakery_core::wire::build::Verdict;
use bakery_core::wire::log::{BlockHeader, Level, Source};
use bytes::Bytes;

use super::*;
use crate::platform::fake::LaunchScript;
use crate::platform::{LaunchError, LaunchOrder};

/// The log has one end, and each phase of a task once and in order.
async fn assert_logged_once(server: &ServerLife<'_>, build: BuildId) {
    let log = server.log(build).await;
    let ends = log.iter().filter(|(frame, _)| matches!(frame, Frame::End { .. })).count();
    assert_eq!(ends, 1);
    let mut states: Vec<_> = log
        .iter()
        .filter_map(|(frame, _)| match frame {
            Frame::State { run, phase, .. } => Some((*run, *phase)),
            _ => None,
        })
        .collect();
    let all = states.len();
    states.dedup();
    assert_eq!(states.len(), all);
}

#[test]
fn probe_24_a_data_folder_is_private_from_the_first_start_on() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    let world = BuildsWorld::new();
    let folder = world.folder.path();
    for (before, after) in [(0o755, 0o700), (0o2775, 0o2700), (0o700, 0o700), (0o1777, 0o1777)] {
        std::fs::set_permissions(folder, Permissions::from_mode(before)).unwrap();
        world.life(async |_| {});
        let mode = folder.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, after, "{before:o}: {mode:o}");
    }
}

#[test]
fn a_launch_that_was_not_answered_is_made_again_byte_for_byte() {
    let world = BuildsWorld::new();
    world.platform.script(LaunchScript::Hang);
    let build = world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        build
    });
    world.life(async |server| {
        let launches: Vec<LaunchOrder> = server.world.platform.wait_launches(2).await;
        assert_eq!(launches[0], launches[1]);
        server.bake(run(build, 0, 1)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
        assert_logged_once(&server, build).await;
    });
    assert_eq!(world.platform.started(), 1);
}

#[test]
fn an_answered_launch_is_not_made_again() {
    let world = BuildsWorld::new();
    let build = world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        server.bind(run(build, 0, 1)).await.unwrap();
        build
    });
    world.life(async |server| {
        let run = run(build, 0, 1);
        assert_eq!(server.phase(run, TaskPhase::Running).await.phase, BuildPhase::Baking);
        // The reply had been lost: the same session gets the same order.
        assert_eq!(server.bind(run).await.unwrap().run, run);
        assert!(matches!(server.bind_as(run, &Secret::new("another")).await, Err(RunError::SecondBinder)));
    });
    assert_eq!(world.platform.launches().len(), 1);
}

#[test]
fn an_agent_ships_on_and_reports_to_the_next_server() {
    let world = BuildsWorld::new();
    let line = |n: u64| {
        let line = LogLine {
            ts: world.clock.now(),
            src: Source::Kaniko,
            lvl: Level::Info,
            msg: n.to_string(),
            more: false,
            hint: None,
        };
        let mut bytes = serde_json::to_vec(&line).unwrap();
        bytes.push(b'\n');
        Bytes::from(bytes)
    };
    let send = async |server: &ServerLife<'_>, run: RunName, first: u64| {
        let payload = line(first);
        let len = u32::try_from(payload.len()).unwrap();
        let header = BlockHeader { run, first, lines: 1, len };
        server.logs.append(run.task.build, header, payload).await.unwrap()
    };
    let build = world.life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.bind(run).await.unwrap();
        assert_eq!(send(&server, run, 1).await, 2);
        build
    });
    let run = run(build, 0, 1);
    world.life(async |server| {
        let report = |lines| TaskReport {
            result: baked(run),
            stage: Stage::Report,
            lines,
            cut: false,
            millis: BTreeMap::new(),
        };
        let early = server.builds.report(run, &session_of(run), report(2)).await;
        assert!(matches!(early, Err(RunError::LinesMissing { lines: 2, next: 2 })));
        assert_eq!(send(&server, run, 1).await, 2, "sent twice, kept once");
        assert_eq!(send(&server, run, 2).await, 3);
        assert!(server.builds.report(run, &session_of(run), report(2)).await.unwrap().accepted);
    });
    world.life(async |server| {
        // The answer had been lost: the agent reports again, and leaves.
        assert!(!server.report(run, baked(run)).await);
        server.world.platform.exit(run, 0);
        let outcome = server.ended(build).await.outcome.unwrap();
        assert_eq!(outcome.verdict, Verdict::Baked);
        let notes = server.notes(build).await;
        assert_eq!(notes.iter().filter(|note| *note == "1" || *note == "2").count(), 2);
        assert_logged_once(&server, build).await;
    });
    assert_eq!(world.platform.started(), 1);
}

#[test]
fn an_interrupted_publishing_is_completed_by_the_next_server() {
    let world = BuildsWorld::new();
    world.registry.script(None);
    let build = world.life(async |server| {
        let build = server.submit(multi()).await;
        server.bake(run(build, 0, 1)).await;
        server.bake(run(build, 1, 1)).await;
        server.world.registry.wait_calls(1).await;
        build
    });
    assert!(world.registry.published().is_empty());
    world.life(async |server| {
        let outcome = server.ended(build).await.outcome.unwrap();
        assert_eq!((outcome.verdict, outcome.images.len()), (Verdict::Baked, 1));
        let [(_, _, creds)] = &server.world.registry.published()[..] else { panic!("not once") };
        assert_eq!(creds[0].password.expose(), PASSWORD);
        assert_logged_once(&server, build).await;
    });
}

#[test]
fn what_is_committed_and_missing_in_the_log_is_appended() {
    let world = BuildsWorld::new();
    let build = world.life(async |server| {
        let build = server.submit(multi()).await;
        server.bake(run(build, 0, 1)).await;
        server.bake(run(build, 1, 1)).await;
        server.ended(build).await;
        server.log(build).await;
        build
    });
    // As if the server had been killed between the last commit and the log: every frame is missing, the end included.
    std::fs::remove_dir_all(world.folder.path().join("logs")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let file = world.folder.path().join("ledger.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut ledger = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query("UPDATE builds SET log_whole = 0").execute(&mut ledger).await.unwrap();
    });
    drop(runtime);
    world.life(async |server| {
        assert_logged_once(&server, build).await;
        let phases = server.logged_phases(TaskId { build, index: 0 }).await;
        assert_eq!(phases, [(1, Launching), (1, Running), (1, Baked)]);
    });
}

#[test]
fn queued_runs_stay_queued_and_cancelled_ones_stay_cancelled() {
    let mut world = BuildsWorld::new();
    world.settings.platforms.get_mut(&Platform::Docker).unwrap().max_runs = 1;
    let build = world.life(async |server| {
        let build = server.submit(pair(Order::Parallel)).await;
        server.launched(run(build, 0, 1)).await;
        server.bind(run(build, 0, 1)).await.unwrap();
        build
    });
    world.life(async |server| {
        let view = server.builds.view(OWNER, build).await.unwrap();
        assert_eq!(view.targets[1].tasks[0].phase, TaskPhase::Planned);
        assert_eq!(server.world.platform.launches().len(), 1, "the living container holds its run slot");
        server.builds.cancel(OWNER, build).await.unwrap();
    });
    world.life(async |server| {
        let view = server.ended(build).await;
        assert_eq!(view.outcome.unwrap().verdict, Verdict::Cancelled);
        server.world.platform.wait_stops(1).await;
        assert!(server.world.platform.live().is_empty());
        assert_logged_once(&server, build).await;
    });
}

#[test]
fn a_failed_stop_stays_pending_across_restarts() {
    let world = BuildsWorld::new();
    let down = LaunchError { retryable: true, reason: Reason::PlatformUnreachable, message: "down".into() };
    for _ in 0..200 {
        world.platform.script_stop(down.clone());
    }
    let build = world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        server.builds.cancel(OWNER, build).await.unwrap();
        server.ended(build).await;
        server.world.platform.wait_stops(3).await;
        build
    });
    assert_eq!(world.platform.live(), [run(build, 0, 1)]);
    let mut world = world;
    world.settings.timing.linger = Duration::ZERO;
    world.settings.timing.stop_retry_max = Duration::from_millis(1);
    world.life(async |server| {
        server.world.platform.wait_stops(201).await;
        assert!(server.world.platform.live().is_empty());
    });
}

#[test]
fn a_drained_server_leaves_its_containers_to_the_next() {
    let world = BuildsWorld::new();
    let build = world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        server.bind(run(build, 0, 1)).await.unwrap();
        server.builds.drain().await;
        assert!(server.builds.ready().await.is_err());
        let refused = server.builds.submit(OWNER, request(single(), "key of another build")).await;
        assert!(matches!(refused, Err(SubmitError::Draining)));
        let report = TaskReport {
            result: baked(run(build, 0, 1)),
            stage: Stage::Report,
            lines: 0,
            cut: false,
            millis: BTreeMap::new(),
        };
        let run = run(build, 0, 1);
        let asked_again = server.builds.report(run, &session_of(run), report).await;
        assert!(matches!(asked_again, Err(RunError::Internal(InternalError::Stopping))));
        build
    });
    assert!(world.platform.stops().is_empty());
    world.life(async |server| {
        let run = run(build, 0, 1);
        assert!(server.report(run, baked(run)).await);
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
    });
}

/// Plays both agents of [`multi`], as far as they have not come yet: they survive the server.
async fn play_agents(server: &ServerLife<'_>, build: BuildId) {
    for index in 0..2 {
        let run = run(build, index, 1);
        server.launched(run).await;
        // An answer may have been lost with the server: agents ask again, and take "over" for an answer.
        if server.bind(run).await.is_ok() {
            server.report(run, baked(run)).await;
        }
        server.world.platform.exit(run, 0);
    }
    server.ended(build).await;
}

#[test]
fn a_build_of_a_server_killed_at_any_moment_succeeds_and_is_logged_once() {
    for millis in 0..25 {
        let mut world = BuildsWorld::new();
        // A container that ends while the server is down has reported before: its report must not be waited for.
        world.settings.timing.report_grace = Duration::from_mins(5);
        let build = world.life(async |server| server.submit(multi()).await);
        for _ in 0..4 {
            world.life(async |server| {
                let kill = Duration::from_millis(millis);
                let _ = tokio::time::timeout(kill, play_agents(&server, build)).await;
            });
        }
        world.life(async |server| {
            play_agents(&server, build).await;
            let outcome = server.ended(build).await.outcome.unwrap();
            assert_eq!(
                (outcome.verdict, outcome.images.len()),
                (Verdict::Baked, 1),
                "killed after {millis} ms"
            );
            assert_logged_once(&server, build).await;
        });
        assert_eq!(world.platform.started(), 2, "killed after {millis} ms");
    }
}

#[test]
fn a_drained_server_removes_the_containers_of_settled_runs() {
    let world = BuildsWorld::new();
    world.life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.bind(run).await.unwrap();
        // Reported, but the container has not ended yet.
        server.report(run, baked(run)).await;
        server.ended(build).await;
        server.builds.drain().await;
    });
    assert_eq!(world.platform.live(), []);
}

fn with_a_lost_build(world: &BuildsWorld) -> (BuildId, impl Fn()) {
    let build = world.life(async |server| server.submit(single()).await);
    (build, lose(world, build))
}

/// Makes the next life unable to take up an open build until what is returned is called: its log cannot be opened.
pub(super) fn lose(world: &BuildsWorld, build: BuildId) -> impl Fn() + use<> {
    let log = world.folder.path().join(format!("logs/{build}.log"));
    let aside = world.folder.path().join("aside");
    std::fs::rename(&log, &aside).unwrap();
    std::fs::create_dir(&log).unwrap();
    move || {
        std::fs::remove_dir(&log).unwrap();
        std::fs::rename(&aside, &log).unwrap();
    }
}

#[test]
fn one_bad_build_does_not_stop_the_server() {
    let world = BuildsWorld::new();
    let (bad, _) = with_a_lost_build(&world);
    world.life(async |server| {
        let good =
            server.builds.submit(OWNER, request(single(), "key of the second build")).await.unwrap().id;
        server.bake(run(good, 0, 1)).await;
        assert_eq!(server.ended(good).await.outcome.unwrap().verdict, Verdict::Baked);
        assert!(server.builds.view(OWNER, bad).await.unwrap().ended.is_none());
    });
}

#[test]
fn an_accepted_build_without_an_actor_gets_one_when_it_is_submitted_again() {
    let world = BuildsWorld::new();
    let (build, mend) = with_a_lost_build(&world);
    world.life(async |server| {
        mend();
        let twins = || server.builds.submit(OWNER, request(single(), "key of the first build"));
        let twins = tokio::join!(twins(), twins());
        assert_eq!((twins.0.unwrap().id, twins.1.unwrap().id), (build, build));
        server.bake(run(build, 0, 1)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
        assert_logged_once(&server, build).await;
    });
}

#[test]
fn an_accepted_build_without_an_actor_can_be_cancelled() {
    let world = BuildsWorld::new();
    let (build, mend) = with_a_lost_build(&world);
    world.life(async |server| {
        let refused = server.builds.cancel(OWNER, build).await;
        assert!(matches!(refused, Err(BuildError::Internal(InternalError::Log(_)))), "{refused:?}");
        mend();
        let view = server.builds.cancel(OWNER, build).await.unwrap();
        assert_eq!(view.outcome.unwrap().verdict, Verdict::Cancelled);
    });
}

#[test]
fn a_stopping_server_does_not_report_a_cancel() {
    BuildsWorld::new().life(async |server| {
        let ended = server.submit(single()).await;
        server.bake(run(ended, 0, 1)).await;
        server.ended(ended).await;
        let open =
            server.builds.submit(OWNER, request(single(), "key of the second build")).await.unwrap().id;
        server.builds.drain().await;
        let refused = server.builds.cancel(OWNER, open).await;
        assert!(matches!(refused, Err(BuildError::Internal(InternalError::Stopping))), "{refused:?}");
        let view = server.builds.cancel(OWNER, ended).await.unwrap();
        assert_eq!(view.outcome.unwrap().verdict, Verdict::Baked);
    });
}
