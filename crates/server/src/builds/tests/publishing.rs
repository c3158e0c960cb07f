//! Indexes that are not published.

use bakery_core::wire::build::{PublishState, Verdict};
use bakery_core::wire::json_name;

use super::*;

#[test]
fn a_cancel_is_handled_while_the_index_is_published() {
    let world = BuildsWorld::new();
    world.registry.script(None);
    world.life(async |server| {
        let build = server.submit(multi()).await;
        server.bake(run(build, 0, 1)).await;
        server.bake(run(build, 1, 1)).await;
        server.world.registry.wait_calls(1).await;
        server.builds.cancel(OWNER, build).await.unwrap();
        let view = server.ended(build).await;
        let outcome = view.outcome.unwrap();
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Cancelled, Some(Reason::Cancelled)));
        assert_eq!(outcome.text.as_deref(), Some("cart: nothing was pushed"));
        assert!(server.world.registry.published().is_empty());
        assert_eq!(
            metrics::publish_failures(&server).await,
            [""; 0],
            "a cancel is not a failure of publishing"
        );
    });
}

#[test]
fn a_registry_that_refuses_the_index_fails_the_build_by_its_reason() {
    for (reason, verdict) in [
        (Reason::CredentialsRefused, Verdict::Failed),
        (Reason::WrongArch, Verdict::Failed),
        (Reason::RegistryUnreachable, Verdict::Lost),
    ] {
        let world = BuildsWorld::new();
        let hint = Some("look there".into());
        world.registry.script(Some(RegistryError { reason, text: "no".into(), hint }));
        world.life(async |server| {
            let build = server.submit(multi()).await;
            server.bake(run(build, 0, 1)).await;
            server.bake(run(build, 1, 1)).await;
            let view = server.ended(build).await;
            let (text, hint) = ("no".to_owned(), Some("look there".to_owned()));
            assert_eq!(
                view.targets[0].publish.as_ref().unwrap().state,
                PublishState::Failed { reason, text, hint }
            );
            assert_eq!(view.outcome.unwrap().verdict, verdict);
            assert_eq!(
                metrics::publish_failures(&server).await,
                [format!("reason=\"{}\"}} 1", json_name(reason))]
            );
        });
    }
}

#[test]
fn a_publishing_that_panics_ends_the_build_as_our_failure() {
    let world = BuildsWorld::new();
    world.registry.script_panic();
    world.life(async |server| {
        let build = server.submit(multi()).await;
        server.bake(run(build, 0, 1)).await;
        server.bake(run(build, 1, 1)).await;
        let outcome = server.ended(build).await.outcome.unwrap();
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Lost, Some(Reason::Internal)));
        assert!(matches!(server.log(build).await.last(), Some((Frame::End { .. }, _))));
        assert_eq!(metrics::publish_failures(&server).await, ["reason=\"internal\"} 1"]);
    });
}
