//! Problem documents for clients, and a submission as YAML.

use std::sync::atomic::Ordering;

use bakery_core::image::Digest;
use bakery_core::limits;
use bakery_core::wire::build::{BuildList, Info, Submitted};
use bakery_core::wire::context::{ContextLocation, ContextOffer};
use bakery_core::wire::{CONTEXT_HEADER, IDEMPOTENCY_HEADER, PROTOCOL_HEADER, route};
use futures_util::stream;

use super::{TestServer, good, refused};

#[tokio::test]
async fn every_client_route_needs_the_token() {
    let server = TestServer::open(Some("flour")).await;
    let info: Info = good(server.call("GET", route::INFO)).await.json().await.unwrap();
    assert_eq!(info.platforms.len(), 1);

    let url = format!("http://{}{}", server.public, route::BUILDS);
    refused(server.http.get(&url), 401, "unauthorized").await;
    refused(server.http.get(&url).bearer_auth("sugar"), 401, "unauthorized").await;
    refused(server.call("GET", route::BUILDS).bearer_auth("sugar"), 401, "unauthorized").await;
    let basic = server.http.get(&url).basic_auth("flour", Some("flour")).send().await.unwrap();
    assert_eq!(basic.headers()["www-authenticate"], "Bearer realm=\"bakery\"");

    // Probes know no token; agents have their own, and the clients' is not among them.
    for probe in [route::LIVEZ, route::READYZ] {
        good(server.http.get(format!("http://{}{probe}", server.public))).await;
    }
    let run = "bk-00000000010000000000000002-0-1".parse().unwrap();
    for path in [route::run_order(run), route::run_logs(run), route::run_report(run)] {
        let url = format!("http://{}{path}", server.agents);
        refused(server.http.post(url), 401, "unauthorized").await;
    }
    refused(server.call("GET", &route::run_context(run)), 401, "unauthorized").await;
}

#[tokio::test]
async fn a_platform_that_does_not_answer_is_named_to_probes_without_its_address() {
    let server = TestServer::open(Some("flour")).await;
    let probe = |path| server.http.get(format!("http://{}{path}", server.public));
    server.platform.unavailable("the engine at tcp://10.0.0.7:2375 does not answer");
    let problem = refused(probe(route::READYZ), 503, "unavailable").await;
    assert_eq!(problem.detail, "platform docker is unavailable");
    assert!(!format!("{problem:?}").contains("10.0.0.7"), "{problem:?}");
    good(probe(route::LIVEZ)).await;
    server.platform.available();
    good(probe(route::READYZ)).await;
}

#[tokio::test]
async fn probe_20_a_full_disk_is_answered_with_507_before_it_hurts_open_builds() {
    let server = TestServer::open(None).await;
    let open = server.submit().await;
    let (agent, _) = server.agent().await;
    server.free.store(limits::DISK_RESERVE_BYTES - 1, Ordering::Relaxed);

    let offer = ContextOffer {
        id: Digest::of(b"i"),
        sha256: Digest::of(b"b"),
        len: 1,
        location: ContextLocation::Store,
    };
    let offered = refused(server.call("POST", route::CONTEXTS).json(&offer), 507, "server-disk-full").await;
    assert!(offered.hint.unwrap().contains("operator"));
    let path = format!("{}?sha256={}&len=1", route::context(offer.id.hex()), offer.sha256.hex());
    refused(server.call("PUT", &path).body("b"), 507, "server-disk-full").await;
    let yaml = "bake:\n  - arch: amd64\n    kaniko:\n      destination: registry.test/app:2\n";
    let context = format!("{} {} 6", Digest::of(b"identity"), Digest::of(b"a blob"));
    let build = server.call("POST", route::BUILDS).header("content-type", "application/yaml").body(yaml);
    let build = build.header(CONTEXT_HEADER, context).header(IDEMPOTENCY_HEADER, "key of a refused build");
    refused(build, 507, "server-disk-full").await;

    let ready = refused(server.call("GET", route::READYZ), 503, "unavailable").await;
    assert_eq!(ready.detail, "the disk of the data folder is full");
    good(server.call("GET", route::LIVEZ)).await;
    let accepting = async || {
        let text = good(server.call("GET", route::METRICS)).await.text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix("bakery_accepting_builds ").map(str::to_owned))
    };
    server.platform.unavailable("the engine does not answer");
    assert_eq!(accepting().await.as_deref(), Some("0"), "also while a platform is unavailable");
    server.platform.available();
    assert_eq!(agent.send(agent.block(1, 2, "x")).await.next, 3);
    // The rest is the ledger's: the agent keeps its lines, is heard, and sends them again.
    server.free.store(limits::LEDGER_RESERVE_BYTES, Ordering::Relaxed);
    let refused_lines = refused(agent.segment(agent.block(3, 2, "y")), 507, "server-disk-full").await;
    assert!(refused_lines.hint.is_some(), "{refused_lines:?}");
    assert_eq!(agent.send(Vec::new()).await.next, 3, "nothing was acknowledged");
    server.free.store(limits::DISK_RESERVE_BYTES - 1, Ordering::Relaxed);
    assert_eq!(agent.send(agent.block(3, 2, "y")).await.next, 5);
    server.free.store(limits::LEDGER_RESERVE_BYTES, Ordering::Relaxed);
    assert_eq!(agent.report(4).await.status(), 200, "a report needs the ledger only");
    good(server.call("GET", &route::build(open.id))).await;
    server.free.store(limits::DISK_RESERVE_BYTES, Ordering::Relaxed);
    good(server.call("GET", route::READYZ)).await;
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let server = TestServer::open(None).await;
    let lost = refused(server.call("GET", "/v2/builds"), 404, "no-such-route").await;
    assert!(lost.detail.contains("/v2/builds") && lost.hint.is_some(), "{lost:?}");
    let method = server.call("PATCH", route::BUILDS).send().await.unwrap();
    assert_eq!(method.headers()["allow"].to_str().unwrap().split(',').count(), 3);
    refused(server.call("PATCH", route::BUILDS), 405, "method-not-allowed").await;

    for id in ["7", "01kb0000000000000000000000"] {
        refused(server.call("GET", &format!("{}/{id}", route::BUILDS)), 404, "no-such-build").await;
        refused(server.call("GET", &format!("{}/{id}/logs", route::BUILDS)), 404, "no-such-build").await;
        refused(server.call("DELETE", &format!("{}/{id}", route::BUILDS)), 404, "no-such-build").await;
    }
    let place = "/v1/builds/01kb0000000000000000000000/logs?from=yesterday";
    refused(server.call("GET", place), 400, "bad-request").await;

    refused(server.call("POST", route::BUILDS).body("<build/>"), 415, "unsupported-type").await;
    let json =
        || server.call("POST", route::BUILDS).header("content-type", "application/json; charset=utf-8");
    refused(json().body("{"), 400, "bad-request").await;
    refused(json().body("{\"spec\":1}"), 400, "bad-request").await;

    let newer = server.call("GET", route::INFO).header(PROTOCOL_HEADER, "9");
    assert!(refused(newer, 400, "protocol").await.detail.contains('9'));

    // The agent listener has no route for clients.
    for path in [route::INFO, route::BUILDS, route::CONTEXTS, route::LIVEZ] {
        refused(server.http.get(format!("http://{}{path}", server.agents)), 404, "no-such-route").await;
    }
}

#[tokio::test]
async fn a_client_that_sends_too_much_gets_the_reason() {
    let server = TestServer::open(None).await;
    let json = || server.call("POST", route::BUILDS).header("content-type", "application/json");
    refused(json().body(vec![b' '; limits::SPEC_BYTES + 1]), 413, "too-large").await;
    let pieces = stream::iter((0..40).map(|_| std::io::Result::Ok(vec![b' '; limits::SPEC_BYTES / 10])));
    refused(json().body(reqwest::Body::wrap_stream(pieces)), 413, "too-large").await;

    let offer = |len| ContextOffer {
        id: Digest::of(b"i"),
        sha256: Digest::of(b"b"),
        len,
        location: ContextLocation::Store,
    };
    let huge = server.call("POST", route::CONTEXTS).json(&offer(limits::CONTEXT_BYTES + 1));
    refused(huge, 413, "too-large").await;
}

#[tokio::test]
async fn a_context_is_what_was_offered_or_nothing() {
    let server = TestServer::open(None).await;
    let path = |len: u64| {
        let (id, sha256) = (Digest::of(b"i"), Digest::of(b"blob"));
        format!("{}?sha256={}&len={len}", route::context(id.hex()), sha256.hex())
    };
    refused(server.call("PUT", &path(4)).body("blub"), 422, "bad-context").await;
    refused(server.call("PUT", &path(4)).body("blobs"), 422, "bad-context").await;
    let pieces = stream::iter([std::io::Result::Ok("bl"), Ok("obs")]);
    refused(server.call("PUT", &path(4)).body(reqwest::Body::wrap_stream(pieces)), 422, "bad-context").await;
    refused(server.call("PUT", "/v1/contexts/x?sha256=y&len=4").body("blob"), 400, "bad-request").await;
    refused(server.call("PUT", &route::context("x")).body("blob"), 400, "bad-request").await;
    good(server.call("PUT", &path(4)).body("blob")).await;
}

#[tokio::test]
async fn a_config_is_submitted_as_it_is() {
    let server = TestServer::open(None).await;
    let context = server.send_context(b"a blob").await;
    let named = format!("{} {} {}", context.id, context.sha256, context.len);
    let yaml = |text: &'static str, kind: &str| {
        server.call("POST", route::BUILDS).header("content-type", kind).body(text)
    };
    let with = |text, key: &'static str| {
        yaml(text, "application/yaml").header(CONTEXT_HEADER, &named).header(IDEMPOTENCY_HEADER, key)
    };
    let bad = "bake:\n  - arch: amd46\n    kanico: {}\n  - arch: arm64\n    cpu: much\n";
    let problem = refused(with(bad, "0123456789abcdef"), 422, "bad-spec").await;
    assert!(problem.errors.len() >= 3, "{problem:?}");
    let at = |place: &str| problem.errors.iter().any(|error| error.starts_with(place));
    assert!(at("config.yaml:2:11: bake[0].arch: ") && at("config.yaml:5:10: bake[1].cpu: "), "{problem:?}");
    assert!(
        problem
            .mistakes
            .iter()
            .any(|it| it.hint.as_deref().is_some_and(|hint| hint.contains("did you mean `kaniko`?"))),
        "{problem:?}"
    );
    let texts: Vec<_> = problem.mistakes.iter().map(|mistake| mistake.text.as_str()).collect();
    assert_eq!(problem.errors, texts, "clients of the last version show the texts");

    let text = "bake:\n  - arch: amd64\n    cpu:\n    kaniko:\n      destination: registry.test/app:1\n";
    for kind in ["application/yaml", "text/yaml; charset=utf-8", "application/x-yaml"] {
        refused(yaml(text, kind), 400, "bad-request").await;
    }
    refused(with(text, "short"), 400, "bad-request").await;
    let unknown = format!("{0} {0} 7", Digest::of(b"never sent"));
    let lost =
        yaml(text, "text/yaml").header(CONTEXT_HEADER, unknown).header(IDEMPOTENCY_HEADER, "x".repeat(16));
    refused(lost, 404, "no-such-context").await;

    // The same key again is the same build again.
    let answer = good(with(text, "0123456789abcdef")).await;
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let first: Submitted = answer.json().await.unwrap();
    assert_eq!(location, route::build(first.id));
    let again: Submitted = good(with(text, "0123456789abcdef")).await.json().await.unwrap();
    assert_eq!(first.id, again.id);
    for submitted in [&first, &again] {
        let [notice] = &submitted.notice_messages[..] else { panic!("{submitted:?}") };
        assert_eq!(notice.text, "config.yaml:3:5: bake[0].cpu: has no value, ignored");
        assert_eq!(notice.hint.as_deref(), Some("write '' to clear an inherited value"));
    }
    let builds: BuildList = good(server.call("GET", route::BUILDS)).await.json().await.unwrap();
    assert_eq!(builds.builds.len(), 1);
}

#[tokio::test]
async fn metrics_need_the_token() {
    let server = TestServer::open(Some("flour")).await;
    let url = format!("http://{}{}", server.public, route::METRICS);
    refused(server.http.get(&url), 401, "unauthorized").await;
    refused(server.http.get(&url).bearer_auth("sugar"), 401, "unauthorized").await;
    let response = good(server.call("GET", route::METRICS)).await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(
        text.contains("bakery_ready 1\n") && text.contains("bakery_platform_up{platform=\"docker\"} 1\n"),
        "{text}"
    );
    server.platform.unavailable("the engine does not answer");
    let text = good(server.call("GET", route::METRICS)).await.text().await.unwrap();
    assert!(text.contains("bakery_accepting_builds 1\n"), "builds wait for the platform");
    assert!(
        text.contains("bakery_ready 0\n") && text.contains("bakery_platform_up{platform=\"docker\"} 0\n"),
        "{text}"
    );
    let agents = format!("http://{}{}", server.agents, route::METRICS);
    refused(server.http.get(agents).bearer_auth("flour"), 404, "no-such-route").await;
}
