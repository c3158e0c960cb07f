//! Builds that go their way.

use bakery_core::message::Message;
use bakery_core::wire::build::TaskPhase::{Baked, Launching, Running};
use bakery_core::wire::build::{PublishState, PublishedImage, Verdict};

use super::*;

#[test]
fn two_architectures_become_one_index() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(multi()).await;
        let (amd64, arm64) = (run(build, 0, 1), run(build, 1, 1));
        let launches = server.world.platform.wait_launches(2).await;
        let order = launches.iter().find(|order| order.run == amd64).unwrap();
        assert_eq!((order.arch, order.cpu_millis, order.memory_mib), (Arch::Amd64, 500, 4096));
        let names: Vec<_> = order.env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [launch_env::URL, launch_env::RUN, launch_env::TOKEN, "HTTP_PROXY"]);

        let order = server.bind(amd64).await.unwrap();
        assert_eq!(order.push_to.unwrap().to_string(), "reg.test:5000/shop/cart:7_amd64");
        assert_eq!(order.push_credentials[0].password.expose(), PASSWORD);
        assert_eq!((order.pre_script.as_deref(), order.result_seconds), (Some("echo pre"), 600));
        assert!((590..=600).contains(&order.deadline_seconds), "{}", order.deadline_seconds);
        assert_eq!(order.insecure_registries, ["reg.test:5000"]);
        assert!(server.report(amd64, baked(amd64)).await);
        assert!(server.world.registry.published().is_empty());
        server.bake(arm64).await;

        let view = server.ended(build).await;
        let outcome = view.outcome.unwrap();
        let destination: ImageRef = "reg.test:5000/shop/cart:7".parse().unwrap();
        let image = PublishedImage {
            destination: destination.clone(),
            digest: index_digest(),
            archs: Arch::ALL.to_vec(),
        };
        assert_eq!((outcome.verdict, outcome.reason, outcome.images), (Verdict::Baked, None, vec![image]));
        let [(name, members, creds)] = &server.world.registry.published()[..] else { panic!("not once") };
        assert_eq!((name, creds[0].password.expose()), (&destination, PASSWORD));
        let members: Vec<_> = members.iter().map(|member| (member.arch, member.image.to_string())).collect();
        let pushed = |arch: &str| format!("reg.test:5000/shop/cart:7_{arch}");
        assert_eq!(members, [(Arch::Amd64, pushed("amd64")), (Arch::Arm64, pushed("arm64"))]);
        let ends = server.log(build).await;
        let ends: Vec<_> = ends.iter().filter(|(frame, _)| matches!(frame, Frame::End { .. })).collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(server.logged_phases(amd64.task).await, [(1, Launching), (1, Running), (1, Baked)]);
    });
}

#[test]
fn one_architecture_is_published_by_its_own_push() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        server.bake(run(build, 0, 1)).await;
        let view = server.ended(build).await;
        let digest = view.targets[0].tasks[0].digest.clone().unwrap();
        assert_eq!(view.targets[0].publish.as_ref().unwrap().state, PublishState::Done { digest });
        assert!(server.world.registry.published().is_empty());
    });
}

#[test]
fn probe_06_an_image_that_the_registry_contradicts_is_not_baked() {
    BuildsWorld::new().life(async |server| {
        let (reason, text) = (Reason::DigestMismatch, "the registry has another".to_owned());
        let error = RegistryError { reason, text, hint: None };
        server.world.registry.script_check(PushedCheck::Contradicted(error));
        let build = server.submit(single()).await;
        server.bake(run(build, 0, 1)).await;
        let outcome = server.ended(build).await.outcome.unwrap();
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(Reason::DigestMismatch)));
        assert!(outcome.images.is_empty());
    });
}

#[test]
fn names_that_were_published_before_one_failed_are_in_the_log() {
    BuildsWorld::new().life(async |server| {
        let (reason, text) = (Reason::DigestMismatch, "the registry has another".to_owned());
        server.world.registry.script_check(PushedCheck::Confirmed);
        server.world.registry.script_check(PushedCheck::Confirmed);
        server.world.registry.script_check(PushedCheck::Contradicted(RegistryError {
            reason,
            text,
            hint: None,
        }));
        let mut spec = single();
        let kaniko = &mut spec.services[0].tasks[0].kaniko;
        let first = kaniko.destination.clone().unwrap();
        kaniko.tags = ["other.test/a:1", "other.test/b:1"].map(|name| name.parse().unwrap()).into();
        let build = server.submit(spec).await;
        server.bake(run(build, 0, 1)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Failed);
        let notes = server.notes(build).await;
        assert!(notes.contains(&format!("already published: {first}, other.test/a:1")), "{notes:?}");
    });
}

#[test]
fn an_image_that_cannot_be_looked_up_is_baked_and_the_log_says_so() {
    BuildsWorld::new().life(async |server| {
        let (reason, text) = (Reason::RegistryUnreachable, "the registry cannot be reached".to_owned());
        let error = RegistryError { reason, text, hint: None };
        server.world.registry.script_check(PushedCheck::Unknown(error));
        let build = server.submit(single()).await;
        server.bake(run(build, 0, 1)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
        let notes = server.notes(build).await;
        assert!(
            notes.iter().any(|note| note.starts_with("pushed, not verified: the registry cannot")),
            "{notes:?}"
        );
    });
}

#[test]
fn an_image_whose_tag_has_moved_on_is_baked_and_the_log_says_so() {
    BuildsWorld::new().life(async |server| {
        let moved = Message::new("the tag is another image by now");
        server.world.registry.script_check(PushedCheck::Moved(moved.clone()));
        let build = server.submit(single()).await;
        server.bake(run(build, 0, 1)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
        let notes = server.notes(build).await;
        assert!(notes.contains(&moved.text), "{notes:?}");
    });
}

#[test]
fn services_wait_for_one_another_unless_async() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(pair(Order::Sequential)).await;
        server.launched(run(build, 0, 1)).await;
        server.bind(run(build, 0, 1)).await.unwrap();
        assert_eq!(server.world.platform.launches().len(), 1);
        server.report(run(build, 0, 1), baked(run(build, 0, 1))).await;
        server.bake(run(build, 1, 1)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
    });
    BuildsWorld::new().life(async |server| {
        server.submit(pair(Order::Parallel)).await;
        server.world.platform.wait_launches(2).await;
    });
}

#[test]
fn the_first_failure_stops_what_comes_after() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(pair(Order::Sequential)).await;
        let first = run(build, 0, 1);
        server.launched(first).await;
        server.bind(first).await.unwrap();
        server.report(first, failed(Reason::ExecutorFailed)).await;
        let view = server.ended(build).await;
        let outcome = view.outcome.unwrap();
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(Reason::ExecutorFailed)));
        assert_eq!(outcome.text.as_deref(), Some("cart (amd64): it broke"));
        assert_eq!(view.targets[1].tasks[0].phase, TaskPhase::Cancelled);
        assert_eq!(view.targets[1].tasks[0].reason, Some(Reason::SiblingFailed));
        assert_eq!(server.world.platform.launches().len(), 1);
    });
}

#[test]
fn with_async_the_other_services_continue() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(pair(Order::Parallel)).await;
        let first = run(build, 0, 1);
        server.launched(first).await;
        server.bind(first).await.unwrap();
        server.report(first, failed(Reason::ExecutorFailed)).await;
        server.bake(run(build, 1, 1)).await;
        let outcome = server.ended(build).await.outcome.unwrap();
        assert_eq!((outcome.verdict, outcome.images.len()), (Verdict::Failed, 1));
    });
}

#[test]
fn half_a_target_is_not_published_and_its_other_half_is_stopped() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(multi()).await;
        let (amd64, arm64) = (run(build, 0, 1), run(build, 1, 1));
        server.world.platform.wait_launches(2).await;
        server.bind(amd64).await.unwrap();
        server.bind(arm64).await.unwrap();
        server.report(amd64, failed(Reason::ExecutorFailed)).await;
        let view = server.ended(build).await;
        assert_eq!(view.targets[0].tasks[1].phase, TaskPhase::Cancelled);
        assert!(matches!(
            view.targets[0].publish.as_ref().unwrap().state,
            PublishState::Failed { reason: Reason::SiblingFailed, .. }
        ));
        assert!(server.world.platform.wait_stops(1).await.contains(&arm64));
        assert!(server.world.registry.published().is_empty());
    });
}

#[test]
fn the_queue_is_first_come_first_served_and_its_length_is_logged() {
    let mut world = BuildsWorld::new();
    world.settings.platforms.get_mut(&Platform::Docker).unwrap().max_runs = 1;
    world.life(async |server| {
        let services = ["a", "b", "c"].map(|name| service(name, &[Arch::Amd64])).to_vec();
        let build = server.submit(BuildSpec { order: Order::Parallel, services }).await;
        server.launched(run(build, 0, 1)).await;
        let view = server.builds.view(OWNER, build).await.unwrap();
        let ahead: Vec<_> = view.targets.iter().map(|target| target.tasks[0].ahead).collect();
        assert_eq!(ahead, [None, Some(0), Some(1)]);
        server.bind(run(build, 0, 1)).await.unwrap();
        server.report(run(build, 0, 1), baked(run(build, 0, 1))).await;
        // A run slot is free once the container is gone, not when its report has come.
        assert_eq!(server.world.platform.launches().len(), 1);
        server.world.platform.exit(run(build, 0, 1), 0);
        server.bake(run(build, 1, 1)).await;
        server.bake(run(build, 2, 1)).await;
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
    });
}

#[test]
fn a_container_that_lingers_after_its_report_is_stopped() {
    let mut world = BuildsWorld::new();
    world.settings.timing.linger = Duration::from_millis(10);
    world.life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.bind(run).await.unwrap();
        server.report(run, baked(run)).await;
        server.world.platform.wait_stops(1).await;
        assert!(server.world.platform.live().is_empty());
    });
}

#[test]
fn an_outage_and_its_end_are_each_logged_once_per_build() {
    BuildsWorld::new().life(async |server| {
        let platform = &server.world.platform;
        platform.unavailable("the engine does not answer");
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        platform.available();
        server.bake(run(build, 0, 1)).await;
        server.ended(build).await;
        let notes = server.notes(build).await;
        for expected in
            ["the engine does not answer; the build continues", "platform docker is available again"]
        {
            assert_eq!(
                notes.iter().filter(|note| note.starts_with(expected)).count(),
                1,
                "{expected}: {notes:?}"
            );
        }
    });
}
