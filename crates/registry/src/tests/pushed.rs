//! The lookup of what a task has pushed: probe 6.

use std::time::Duration;

use super::*;
use crate::{PushedCheck, Timeouts};
use stand_in::{RecordedRequest, silence};

const LOOKUPS: usize = 4;

/// A registry where `shop/cart:7` and an image under its digest are what these functions say, by the number of lookups of the
/// tag so far.
async fn registry(
    tag: impl Fn(usize) -> Option<Digest> + Send + Sync + 'static,
    exists: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> StandIn {
    let is_tag = |seen: &RecordedRequest| seen.path == "/v2/shop/cart/manifests/7";
    StandIn::start(move |seen, before| {
        let asked = before.iter().filter(|old| is_tag(old)).count();
        let found = match seen.path.strip_prefix("/v2/shop/cart/manifests/") {
            Some("7") => tag(asked),
            Some(digest) if exists(asked) => digest.parse().ok(),
            _ => None,
        };
        found.map_or_else(|| status(404), |digest| with_header(200, "docker-content-digest", digest.as_str()))
    })
    .await
}

async fn check(server: &StandIn, reported: &Digest) -> PushedCheck {
    client().check_pushed(&server.image("shop/cart:7"), reported, &[], &never()).await
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

#[tokio::test]
async fn a_tag_that_another_build_has_pushed_since_is_no_mismatch() {
    for (tag, now) in [(Some(digest("theirs")), "is sha256:"), (None, "does not exist any more")] {
        let server = registry(move |_| tag.clone(), |_| true).await;
        let PushedCheck::Moved(message) = check(&server, &digest("ours")).await else { panic!("{now}") };
        assert!(message.text.contains(digest("ours").as_str()) && message.text.contains(now), "{message}");
        assert_eq!(server.count("HEAD"), 2);
    }
}

#[tokio::test]
async fn probe_06_an_image_that_is_under_no_name_is_looked_up_again_and_then_contradicted() {
    for tag in [Some(digest("theirs")), None] {
        let server = registry(move |_| tag.clone(), |_| false).await;
        let PushedCheck::Contradicted(error) = check(&server, &digest("forged")).await else { panic!() };
        assert_eq!(error.reason, Reason::DigestMismatch);
        assert!(error.text.contains(digest("forged").as_str()) && error.hint.is_some(), "{error}");
        assert_eq!(server.count("HEAD"), 2 * LOOKUPS);
    }
}

#[tokio::test]
async fn a_registry_may_show_a_push_after_a_while() {
    let server = registry(|asked| (asked > 1).then(|| digest("ours")), |_| false).await;
    assert!(matches!(check(&server, &digest("ours")).await, PushedCheck::Confirmed));
    let server = registry(|_| Some(digest("theirs")), |asked| asked > 1).await;
    assert!(matches!(check(&server, &digest("ours")).await, PushedCheck::Moved(_)));
}

#[tokio::test]
async fn probe_06_what_a_registry_has_contradicted_stays_so_when_it_falls_silent() {
    let server =
        StandIn::start(|seen, before| match before.iter().filter(|old| old.path == seen.path).count() {
            0 => status(404),
            _ => silence(),
        })
        .await;
    let timeouts = Timeouts { pushed_check: Duration::from_secs(1), ..Timeouts::default() };
    let settings = RegistrySettings { loopback_http: true, timeouts, ..RegistrySettings::default() };
    let client = Registry::new(settings);
    let image = server.image("shop/cart:7");
    let found = client.check_pushed(&image, &digest("forged"), &[], &never()).await;
    assert!(matches!(found, PushedCheck::Contradicted(_)), "{found:?}");
}
