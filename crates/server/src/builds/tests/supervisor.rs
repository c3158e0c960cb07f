//! Actors that panic, and builds that have none.

use bakery_core::wire::build::Verdict;

use super::*;

/// Binds as an agent does: it asks again as long as the server fails.
async fn bind(server: &ServerLife<'_>, run: RunName) -> Result<TaskOrder, RunError> {
    loop {
        match server.bind(run).await {
            Err(RunError::Internal(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            answer => return answer,
        }
    }
}

#[test]
fn an_actor_that_panics_is_restarted_and_its_build_continues() {
    let world = BuildsWorld::new();
    world.panics.store(2, Ordering::SeqCst);
    world.life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        assert!(matches!(server.bind(run).await, Err(RunError::Internal(InternalError::NoActor))));
        bind(&server, run).await.unwrap();
        assert!(server.report(run, baked(run)).await);
        server.world.platform.exit(run, 0);
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
        assert_eq!(server.world.platform.launches().len(), 1, "the container that lives is kept");
        let phases = [TaskPhase::Launching, TaskPhase::Running, TaskPhase::Baked];
        assert_eq!(server.logged_phases(run.task).await, phases.map(|phase| (1, phase)));
    });
}

#[test]
fn a_build_whose_actors_panic_again_and_again_ends_as_lost() {
    let world = BuildsWorld::new();
    world.panics.store(u32::MAX, Ordering::SeqCst);
    let build = world.life(async |server| {
        let build = server.submit(multi()).await;
        server.launched(run(build, 0, 1)).await;
        server.launched(run(build, 1, 1)).await;
        assert!(matches!(bind(&server, run(build, 0, 1)).await, Err(RunError::Over)));
        let outcome = server.ended(build).await.outcome.unwrap();
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Lost, Some(Reason::Internal)));
        assert!(outcome.text.unwrap().contains("the server failed"));
        let frames = server.log(build).await;
        assert!(matches!(frames.last(), Some((Frame::End { .. }, _))));
        server.world.platform.wait_stops(2).await;
        assert_eq!(metrics::publish_failures(&server).await, [""; 0], "no index was tried");
        build
    });
    world.life(async |server| {
        let view = server.builds.view(OWNER, build).await.unwrap();
        assert_eq!(view.outcome.unwrap().verdict, Verdict::Lost, "it stays ended");
    });
}

#[test]
fn a_stop_that_panics_is_retried() {
    let world = BuildsWorld::new();
    world.platform.panic_on_stop();
    world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        server.builds.cancel(OWNER, build).await.unwrap();
        server.world.platform.wait_stops(1).await;
        assert!(server.world.platform.live().is_empty());
    });
}

#[test]
fn a_watch_that_panics_is_restarted() {
    let world = BuildsWorld::new();
    world.platform.panic_on_watch();
    world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        server.bind(run(build, 0, 1)).await.unwrap();
        // Only a watch sees the container go.
        server.world.platform.exit(run(build, 0, 1), 137);
        server.world.platform.reconnect();
        server.bake(run(build, 0, 2)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
    });
}

#[test]
fn a_build_that_has_an_actor_again_is_not_given_up() {
    let world = BuildsWorld::new();
    world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        server.builds.services.clients.supervisor.end_as_lost(build).await.unwrap();
        assert!(server.builds.view(OWNER, build).await.unwrap().ended.is_none());
        server.bake(run(build, 0, 1)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
    });
}

#[test]
fn the_session_of_a_build_without_an_actor_stays_open() {
    let world = BuildsWorld::new();
    let build = world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        server.bind(run(build, 0, 1)).await.unwrap();
        build
    });
    let mend = restart::lose(&world, build);
    world.life(async |server| {
        let run = run(build, 0, 1);
        let result = baked(run);
        let report =
            TaskReport { result, stage: Stage::Report, lines: 0, cut: false, millis: BTreeMap::new() };
        assert!(matches!(server.builds.session(run, &session_of(run)).await, Err(RunError::Internal(_))));
        assert!(matches!(server.bind(run).await, Err(RunError::Internal(_))));
        let refused = server.builds.report(run, &session_of(run), report).await;
        assert!(matches!(refused, Err(RunError::Internal(InternalError::Log(_)))), "{refused:?}");
        mend();
        // Only the agent asks for the build, and it gets its actor.
        let refused = server.builds.session(run, &session_of(run)).await;
        assert!(matches!(refused, Err(RunError::Internal(InternalError::NoActor))));
        assert!(server.report(run, baked(run)).await);
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
    });
}
