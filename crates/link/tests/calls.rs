//! Every call against a fake server, which answers as each test needs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bakery_core::message::Hint as _;
use bakery_core::names::{BuildId, RunName, TaskId};
use bakery_core::secret::Secret;
use bakery_core::wire::log::{Cursor, EPOCH_HEADER, Frame, FrameHeader, encode};
use bakery_core::wire::problem::PROBLEM_TYPE;
use bakery_core::wire::run::{STAGE_HEADER, Stage};
use bakery_core::wire::{FRAMES_TYPE, PROTOCOL_HEADER, route};
use bakery_link::{LinkError, NetworkFailure, Options, RunApi, ServerApi};
use futures_util::StreamExt as _;

fn build() -> BuildId {
    BuildId::new(1, 2)
}

fn run() -> RunName {
    RunName { task: TaskId { build: build(), index: 0 }, attempt: 1 }
}

/// Serves `routes` on a free port; the answers have the protocol header, as a server's do.
async fn fake_server(routes: Router) -> String {
    let named = routes.layer(axum::middleware::map_response(|mut response: Response| async {
        response.headers_mut().entry(PROTOCOL_HEADER).or_insert(HeaderValue::from_static("1"));
        response
    }));
    serve(named).await
}

/// Serves `routes` as they are.
#[expect(clippy::disallowed_methods, reason = "a test's server lives as long as the test's runtime")]
async fn serve(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    format!("http://{address}")
}

fn client(url: &str) -> ServerApi {
    ServerApi::new(url, Some(Secret::new("hunter2")), Options::default()).unwrap()
}

fn frames(chunks: Vec<Vec<u8>>) -> Response {
    let chunks = chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    ([(header::CONTENT_TYPE.as_str(), FRAMES_TYPE), (EPOCH_HEADER, "3")], body).into_response()
}

fn gap(seq: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&FrameHeader { len: 0, seq, frame: Frame::Gap { run: run(), lines: 1 } }, b"", &mut bytes);
    bytes
}

#[tokio::test]
async fn every_call_sends_the_protocol_version_and_the_token() {
    let list = |headers: HeaderMap| async move {
        let sent = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!((sent("authorization"), sent(PROTOCOL_HEADER)), ("Bearer hunter2".into(), "1".into()));
        axum::Json(serde_json::json!({ "builds": [], "more": true }))
    };
    let url = fake_server(Router::new().route(route::BUILDS, get(list))).await;
    assert!(client(&url).list().await.unwrap().builds.is_empty());
}

#[tokio::test]
async fn a_refusal_has_the_servers_own_text_and_hint() {
    let list = || async {
        let problem = serde_json::json!({
            "type": "unauthorized", "title": "Unauthorized", "detail": "the token is not valid", "hint": "set BAKERY_TOKEN",
        });
        (StatusCode::UNAUTHORIZED, [(header::CONTENT_TYPE, PROBLEM_TYPE)], problem.to_string())
    };
    let url = fake_server(Router::new().route(route::BUILDS, get(list))).await;
    let error = client(&url).list().await.unwrap_err();
    assert_eq!(error.to_string(), "the token is not valid");
    assert_eq!((error.status(), error.hint().as_deref()), (Some(401), Some("set BAKERY_TOKEN")));
    assert!(!error.is_transient());
}

#[tokio::test]
async fn other_servers_are_recognised() {
    let routes = Router::new()
        .route(route::BUILDS, get(|| async { "<html>" }))
        .route(route::INFO, get(|| async { (StatusCode::BAD_GATEWAY, "no upstream") }))
        .route(
            "/v1/builds/{id}",
            get(|| async { (StatusCode::FOUND, [("location", "https://a.test/x?y")]) }),
        );
    let url = serve(routes).await;
    let client = client(&url);
    let error = client.list().await.unwrap_err();
    assert_eq!(error.to_string(), format!("{url} (CONTROLLER_URL) is not a Bakery server"));
    let error = client.info().await.unwrap_err();
    assert!(
        matches!(error, LinkError::Unreachable { failure: NetworkFailure::Gateway(502), .. })
            && error.is_transient()
    );
    let error = client.view(build()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{url} (CONTROLLER_URL) answered 302 Found: it redirects to https://a.test")
    );
}

#[tokio::test]
async fn an_unsupported_protocol_version_names_the_side_to_update() {
    let routes = Router::new()
        .route(route::BUILDS, get(|| async { ([(PROTOCOL_HEADER, "9")], "{}") }))
        .route(route::INFO, get(|| async { ([(PROTOCOL_HEADER, "0")], "{}") }));
    let url = serve(routes).await;
    let hint = |error: LinkError| error.hint().unwrap().into_owned();
    assert_eq!(hint(client(&url).list().await.unwrap_err()), "update this program");
    assert_eq!(hint(client(&url).info().await.unwrap_err()), "update the server");
}

#[tokio::test]
async fn a_refused_connection_differs_from_an_unknown_name() {
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let error = client(&gone).list().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot reach the server at {gone} (CONTROLLER_URL): connection refused")
    );
    let unknown = ServerApi::new("http://server.invalid:3000", None, Options::default()).unwrap();
    let error = unknown.list().await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable { failure: NetworkFailure::Dns, .. }), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_differs_from_a_stopped_one() {
    let url = fake_server(Router::new()).await.replace("http:", "https:");
    let error = client(&url).list().await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable { failure: NetworkFailure::Tls, .. }), "{error}");
}

#[tokio::test]
async fn a_context_is_sent_whole_and_with_its_length() {
    let take = |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers.get(header::CONTENT_LENGTH).unwrap(), "600000");
        assert!(body.len() == 600_000 && body.iter().all(|&b| b == 7));
        StatusCode::NO_CONTENT
    };
    let routes =
        Router::new().route(route::CONTEXT, put(take)).layer(axum::extract::DefaultBodyLimit::disable());
    let url = fake_server(routes).await;
    let blob = std::env::temp_dir().join(format!("bakery-link-{}", std::process::id()));
    std::fs::write(&blob, vec![7; 600_000]).unwrap();
    let open = || async { tokio::fs::File::open(&blob).await.unwrap() };
    let (sender, sizes) = std::sync::mpsc::channel();
    let progress = move |bytes| sender.send(bytes).unwrap();
    client(&url).put_context(&route::context("ab"), open().await, 600_000, progress).await.unwrap();
    assert_eq!(sizes.into_iter().last(), Some(600_000));
    let elsewhere =
        client(&url).put_context("@other.test/v1/contexts/ab", open().await, 600_000, |_| ()).await;
    assert!(matches!(elsewhere, Err(LinkError::Protocol { .. })));
    std::fs::remove_file(&blob).unwrap();
}

#[tokio::test]
async fn a_log_is_read_whatever_the_chunks() {
    let logs = |uri: axum::http::Uri| async move {
        assert_eq!(uri.query(), Some("from=3:5&follow=true"));
        let bytes = [gap(5), gap(6)].concat();
        frames(bytes.chunks(7).map(<[u8]>::to_vec).collect())
    };
    let url = fake_server(Router::new().route(route::BUILD_LOGS, get(logs))).await;
    let mut log = client(&url).logs(build(), Cursor { epoch: 3, seq: 5 }, true).await.unwrap();
    assert_eq!(log.epoch(), 3);
    assert_eq!(log.next().await.unwrap().unwrap().0.seq, 5);
    assert_eq!(log.next().await.unwrap().unwrap().0.seq, 6);
    assert!(log.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_log_that_ends_inside_a_frame_was_interrupted() {
    let logs = || async { frames(vec![gap(5), gap(6)[..9].to_vec()]) };
    let url = fake_server(Router::new().route(route::BUILD_LOGS, get(logs))).await;
    let mut log = client(&url).logs(build(), Cursor::default(), false).await.unwrap();
    assert!(log.next().await.unwrap().is_some());
    let error = log.next().await.unwrap_err();
    assert!(
        matches!(error, LinkError::Unreachable { failure: NetworkFailure::Interrupted, .. })
            && error.is_transient()
    );
}

#[tokio::test]
async fn an_agent_sends_its_segment_as_it_grows() {
    let logs = |headers: HeaderMap, body: Body| async move {
        assert_eq!(headers.get(header::AUTHORIZATION).unwrap(), "Bearer session");
        assert_eq!(headers.get(STAGE_HEADER).unwrap(), "bake");
        // Answered after the first chunk, while the body is still open.
        let first = body.into_data_stream().next().await.unwrap().unwrap();
        assert_eq!(first, "one");
        axum::Json(serde_json::json!({ "next": 4, "cancel": true }))
    };
    let url = fake_server(Router::new().route(route::RUN_LOGS, post(logs))).await;
    let runs = RunApi::new(&url, run(), Secret::new("launch"), Secret::new("session")).unwrap();
    let never = futures_util::stream::pending();
    let body = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from("one"))]).chain(never);
    let ack = tokio::time::timeout(Duration::from_secs(20), runs.send_logs(Stage::Bake, body))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((ack.next, ack.cancel), (4, true));
}

#[tokio::test]
async fn an_agent_reads_its_context_in_chunks() {
    let context = || async { vec![9_u8; 300_000] };
    let url = fake_server(Router::new().route(route::RUN_CONTEXT, get(context))).await;
    let runs = RunApi::new(&url, run(), Secret::new("launch"), Secret::new("session")).unwrap();
    let blob = runs.context().await.unwrap();
    assert_eq!(blob.len, Some(300_000));
    let total = blob.bytes.fold(0, |sum, piece| async move { sum + piece.unwrap().len() }).await;
    assert_eq!(total, 300_000);
}
