//! A publishing that takes too long, or is cancelled.

use std::time::Duration;

use bakery_core::image::Digest;
use bakery_core::reason::Reason;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::stand_in::{
    RecordedRequest, StandIn, StoredContent, members, never, ok, silence, status, two_images,
};
use crate::{Registry, RegistryError, RegistrySettings, Timeouts};

const PUBLISHING: Duration = Duration::from_secs(2);
const REQUEST: Duration = Duration::from_millis(200);
/// Far more than any of these tests may take.
const LONG: Duration = Duration::from_secs(30);

fn client() -> Registry {
    let timeouts =
        Timeouts { request: REQUEST, publishing: PUBLISHING, push_response: REQUEST, ..Timeouts::default() };
    Registry::new(RegistrySettings { loopback_http: true, timeouts, ..RegistrySettings::default() })
}

/// Accepts, says that it is a registry, and answers nothing else.
async fn deaf() -> StandIn {
    StandIn::start(|seen, _| if seen.path == "/v2/" { ok("text/plain", "") } else { silence() }).await
}

/// What a push that nobody answers becomes in the registry.
#[derive(Clone, Copy, PartialEq)]
enum Push {
    Taken,
    Dropped,
}

/// A registry that answers everything but pushes.
async fn mute(content: StoredContent, push: Push) -> StandIn {
    StandIn::start(move |seen, before| {
        let reads: Vec<RecordedRequest> = before.iter().filter(|old| old.method != "PUT").cloned().collect();
        match seen.method.as_str() {
            "PUT" => silence(),
            _ => content.serve(seen, if push == Push::Taken { before } else { &reads }),
        }
    })
    .await
}

async fn publish(server: &StandIn, cancel: &CancellationToken) -> Result<Digest, RegistryError> {
    let (destination, (_, images)) = (server.image("shop/cart:7"), two_images());
    client().publish_index(&destination, &members(&destination, &images), &[], cancel).await
}

/// Withdraws the publishing once `ripe` says so of the server.
async fn withdraw(server: &StandIn, ripe: impl Fn(&StandIn) -> bool) -> Result<Digest, RegistryError> {
    let cancel = CancellationToken::new();
    let mut work = std::pin::pin!(publish(server, &cancel));
    let mut step = tokio::time::interval(Duration::from_millis(1));
    while !ripe(server) {
        tokio::select! {
            done = &mut work => return done,
            _ = step.tick() => {}
        }
    }
    cancel.cancel();
    work.await
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let server = deaf().await;
    let begun = Instant::now();
    let error = timeout(LONG, publish(&server, &never())).await.unwrap().unwrap_err();
    assert_eq!(error.reason, Reason::RegistryUnreachable);
    assert!(error.text.contains("shop/cart:7") && error.hint.is_some(), "{error}");
    assert!(begun.elapsed() >= PUBLISHING / 2, "it was not asked again");
    assert_eq!(server.count("PUT"), 0);
}

#[tokio::test]
async fn a_cancel_before_the_push_publishes_nothing() {
    let server = deaf().await;
    let cut = timeout(LONG, withdraw(&server, |server| !server.seen().is_empty())).await;
    let error = cut.unwrap().unwrap_err();
    assert_eq!(error.reason, Reason::Cancelled);
    assert_eq!(server.count("PUT"), 0);
}

#[tokio::test]
async fn a_push_that_was_stored_is_published_whatever_its_response() {
    for cancelled in [false, true] {
        let server = mute(two_images().0, Push::Taken).await;
        let digest = withdraw(&server, |server| cancelled && server.count("PUT") > 0).await.unwrap();
        let pushed = server.seen().into_iter().find(|seen| seen.method == "PUT").unwrap();
        assert_eq!(digest, Digest::of(pushed.body.as_bytes()));
        if cancelled {
            assert_eq!(server.count("PUT"), 1, "nothing is repeated after a cancel");
        }
    }
}

#[tokio::test]
async fn a_push_that_was_not_stored_is_never_reported_as_cancelled() {
    let server = mute(two_images().0, Push::Dropped).await;
    let error = timeout(LONG, publish(&server, &never())).await.unwrap().unwrap_err();
    assert_eq!(error.reason, Reason::RegistryUnreachable);
    let before = server.count("PUT");
    let error = withdraw(&server, |server| server.count("PUT") > before).await.unwrap_err();
    assert_eq!(error.reason, Reason::RegistryUnreachable);
    assert!(error.text.contains("the index was not stored (cancelled during the push)"), "{error}");
}

#[tokio::test]
async fn a_refused_push_is_reported_as_refused() {
    let content = two_images().0;
    let answer = move |seen: &RecordedRequest, before: &[RecordedRequest]| match seen.method.as_str() {
        "PUT" => status(400),
        _ => content.serve(seen, before),
    };
    let server = StandIn::start(answer).await;
    assert_eq!(publish(&server, &never()).await.unwrap_err().reason, Reason::PushRefused);
}
