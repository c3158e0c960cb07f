//! One build through both listeners.

use bakery_core::image::Digest;
use bakery_core::wire::build::{BuildPhase, BuildView, Verdict};
use bakery_core::wire::log::Frame;
use bakery_core::wire::route;
use bakery_core::wire::run::ReportAck;

use super::{Agent, TestServer, good, refused};

#[tokio::test]
async fn a_build_goes_from_submission_to_its_end() {
    let server = TestServer::open(Some("flour")).await;
    let build = server.submit().await.id;
    let mut follower = server.follow(build).await;
    let (agent, order) = server.agent().await;
    assert_eq!(order.run, agent.run);

    let blob = good(agent.call("GET", &route::run_context(agent.run))).await;
    assert_eq!(blob.content_length(), Some(6));
    assert_eq!(blob.bytes().await.unwrap(), "a blob");

    // A heartbeat, lines, the same lines again, a gap: the response always has the next expected line.
    assert_eq!(agent.send(Vec::new()).await.next, 1);
    assert_eq!(agent.send([agent.block(1, 2, "flour"), agent.block(3, 1, "water")].concat()).await.next, 4);
    assert_eq!(agent.send(agent.block(2, 2, "flour")).await.next, 4);
    assert_eq!(agent.send(agent.block(9, 1, "late")).await.next, 4);

    // A report that arrives before its last lines has to be sent again.
    assert_eq!(agent.report(4).await.status(), 425);
    assert_eq!(agent.send(agent.block(4, 1, "salt")).await.next, 5);
    let ack: ReportAck = agent.report(4).await.json().await.unwrap();
    assert!(ack.accepted);
    server.platform.exit(agent.run, 0);

    follower.lines_until(4).await;
    let outcome = loop {
        if let Frame::End { outcome } = follower.next().await.expect("an end") {
            break outcome;
        }
    };
    assert_eq!(outcome.verdict, Verdict::Baked);
    assert_eq!(outcome.images[0].digest, Digest::of(b"image"));
    assert!(follower.next().await.is_none(), "nothing follows the end");

    let view: BuildView = good(server.call("GET", &route::build(build))).await.json().await.unwrap();
    assert_eq!(view.phase, BuildPhase::Ended);
}

#[tokio::test]
async fn the_cancel_of_a_build_reaches_its_agent() {
    let server = TestServer::open(None).await;
    let build = server.submit().await.id;
    let (agent, _) = server.agent().await;
    server.containers_stay();
    assert!(!agent.send(Vec::new()).await.cancel);
    assert_eq!(good(server.call("DELETE", &route::build(build))).await.status(), 202);
    assert!(agent.send(Vec::new()).await.cancel);
}

#[tokio::test]
async fn an_agent_is_authenticated_before_its_body_is_read() {
    let server = TestServer::open(None).await;
    server.submit().await;
    let (agent, _) = server.agent().await;
    for path in [route::run_order(agent.run), route::run_report(agent.run)] {
        let unread = agent.http.post(format!("{}{path}", agent.url)).timeout(super::SOON).body("unread");
        refused(unread.bearer_auth("0".repeat(64)), 401, "unauthorized").await;
    }
    refused(agent.call("POST", &route::run_report(agent.run)).body("unread"), 415, "unsupported-type").await;
}

#[tokio::test]
async fn probe_13_an_invalid_segment_is_refused() {
    let server = TestServer::open(None).await;
    server.submit().await;
    let (agent, _) = server.agent().await;
    refused(agent.segment("no frame\n"), 422, "bad-block").await;
    let counted_wrong =
        String::from_utf8(agent.block(1, 2, "x")).unwrap().replace("\"lines\":2", "\"lines\":3");
    refused(agent.segment(counted_wrong), 422, "bad-block").await;
    let of_another = String::from_utf8(agent.block(1, 1, "x")).unwrap().replace("-0-1\"", "-0-2\"");
    refused(agent.segment(of_another), 422, "bad-block").await;
    let forged = String::from_utf8(agent.block(1, 1, "pushed REG/app:1")).unwrap();
    let forged = forged.replace("\"src\":\"kaniko\"", "\"src\":\"server\"");
    refused(agent.segment(forged), 422, "bad-block").await;
    let too_long = format!("{{\"run\":\"{}\",\"first\":1,\"lines\":1,\"len\":9999999}}\n", agent.run);
    refused(agent.segment(too_long), 422, "bad-block").await;
    let untyped = agent.call("POST", &route::run_logs(agent.run)).body("");
    refused(untyped, 415, "unsupported-type").await;
    let stageless = agent
        .call("POST", &route::run_logs(agent.run))
        .header("content-type", bakery_core::wire::FRAMES_TYPE)
        .body("");
    refused(stageless, 400, "bad-request").await;
    let stranger =
        Agent { session: "0".repeat(64), http: agent.http.clone(), url: agent.url.clone(), ..agent };
    refused(stranger.segment(stranger.block(1, 1, "x")), 401, "unauthorized").await;
    assert_eq!(agent.send(Vec::new()).await.next, 1, "nothing of all that was kept");
}
