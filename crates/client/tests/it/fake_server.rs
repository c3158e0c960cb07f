//! A fake server: it answers as scripted and records the requests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bakery_core::image::Digest;
use bakery_core::names::{Arch, BuildId, RunName, TaskId};
use bakery_core::wire::build::{BuildOutcome, PublishedImage, SubmitBuild, TaskPhase, Verdict};
use bakery_core::wire::context::ContextOffer;
use bakery_core::wire::log::{Cursor, EPOCH_HEADER, Frame, FrameHeader, encode};
use bakery_core::wire::problem::PROBLEM_TYPE;
use bakery_core::wire::{FRAMES_TYPE, PROTOCOL_HEADER, route};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::sync::watch;

/// The build that is running.
pub(crate) const BUILD: &str = "01jdb3v1q8z6p3k4m5n6p7q8r9";
/// A build that has failed.
pub(crate) const FAILED: &str = "01jdb3v1q8z6p3k4m5n6p7q8r8";

/// One answer to a request for the log.
pub(crate) enum LogAnswer {
    /// An epoch and frames, then the stream ends.
    Frames(u32, Vec<u8>),
    /// An epoch and frames, and further frames once the build has been cancelled.
    UntilCancelled(u32, Vec<u8>, Vec<u8>),
    /// A refusal with this status.
    Status(StatusCode),
}

/// The requests that were received.
#[derive(Default)]
pub(crate) struct Requests {
    pub(crate) cursors: Vec<Cursor>,
    pub(crate) offers: Vec<ContextOffer>,
    pub(crate) uploads: Vec<Vec<u8>>,
    pub(crate) submitted: Vec<SubmitBuild>,
    pub(crate) tokens: Vec<String>,
    pub(crate) cancelled: usize,
}

#[derive(Clone)]
pub(crate) struct FakeServer {
    pub(crate) url: String,
    logs: Arc<Mutex<VecDeque<LogAnswer>>>,
    requests: Arc<Mutex<Requests>>,
    /// The handlers whose next request finds a full disk.
    full: Arc<Mutex<Vec<&'static str>>>,
    cancelled: Arc<watch::Sender<bool>>,
    /// The keys that the server knows; `None` for a server without that list.
    keys: Arc<Mutex<Option<Vec<String>>>>,
}

impl FakeServer {
    /// Starts a server on a free port. It answers requests for the log with `answers` in this order, then with 404.
    #[expect(clippy::disallowed_methods, reason = "the fake lives as long as the test's runtime")]
    pub(crate) async fn start(answers: Vec<LogAnswer>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            logs: Arc::new(Mutex::new(answers.into())),
            requests: Arc::default(),
            full: Arc::default(),
            cancelled: Arc::new(watch::channel(false).0),
            keys: Arc::default(),
        };
        let routes = Router::new()
            .route(route::CONTEXTS, post(offer))
            .route(route::CONTEXT, put(upload))
            .route(route::BUILDS, post(submit).get(|| async { Json(json!({ "builds": [view()] })) }))
            .route(
                route::BUILD,
                get(|Path(id): Path<String>| async move { Json(view_of(&id)) }).delete(cancel),
            )
            .route(route::BUILD_LOGS, get(logs))
            .route(route::INFO, get(info))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(fake.clone(), record))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        fake
    }

    /// Looks at the requests that were received so far.
    pub(crate) fn requests<T>(&self, look: impl FnOnce(&Requests) -> T) -> T {
        look(&self.requests.lock().unwrap())
    }

    /// Each of these handlers refuses its next request, because the disk is full.
    pub(crate) fn fill(&self, handlers: &[&'static str]) {
        *self.full.lock().unwrap() = handlers.to_vec();
    }

    /// From now on the server says that it knows these keys.
    pub(crate) fn know(&self, keys: Vec<String>) {
        *self.keys.lock().unwrap() = Some(keys);
    }

    fn refusal(&self, handler: &str) -> Option<Response> {
        let mut full = self.full.lock().unwrap();
        let at = full.iter().position(|name| *name == handler)?;
        full.remove(at);
        Some(problem(StatusCode::INSUFFICIENT_STORAGE, "the disk is full", "try again later"))
    }

    /// Completes once the build has been cancelled.
    pub(crate) async fn cancelled(&self) {
        self.cancelled.subscribe().wait_for(|&cancelled| cancelled).await.unwrap();
    }
}

async fn record(State(fake): State<FakeServer>, request: Request, next: Next) -> Response {
    if let Some(token) = request.headers().get(header::AUTHORIZATION) {
        fake.requests.lock().unwrap().tokens.push(token.to_str().unwrap().to_owned());
    }
    let refused = request.headers().get(header::AUTHORIZATION).is_some_and(|token| token == "Bearer wrong");
    let mut response = if refused {
        problem(StatusCode::UNAUTHORIZED, "the token is not valid", "BAKERY_TOKEN must be the server's token")
    } else {
        next.run(request).await
    };
    response.headers_mut().insert(PROTOCOL_HEADER, HeaderValue::from_static("1"));
    response
}

fn problem(status: StatusCode, detail: &str, hint: &str) -> Response {
    let body = json!({ "type": "refused", "detail": detail, "hint": hint }).to_string();
    (status, [(header::CONTENT_TYPE, PROBLEM_TYPE)], body).into_response()
}

async fn offer(State(fake): State<FakeServer>, Json(offer): Json<ContextOffer>) -> Response {
    if let Some(refusal) = fake.refusal("offer") {
        return refusal;
    }
    let mut requests = fake.requests.lock().unwrap();
    let known = !requests.uploads.is_empty() && requests.offers.contains(&offer);
    requests.offers.push(offer.clone());
    let answer = if known {
        json!({ "kind": "present", "context": offer })
    } else {
        json!({ "kind": "upload", "path": format!("{}?ticket=7", route::context(offer.id.hex())) })
    };
    Json(answer).into_response()
}

async fn upload(State(fake): State<FakeServer>, Path(_): Path<String>, body: Bytes) -> Response {
    fake.requests.lock().unwrap().uploads.push(body.to_vec());
    fake.refusal("upload").unwrap_or_else(|| StatusCode::CREATED.into_response())
}

async fn submit(State(fake): State<FakeServer>, Json(build): Json<SubmitBuild>) -> Response {
    if let Some(refusal) = fake.refusal("submit") {
        return refusal;
    }
    fake.requests.lock().unwrap().submitted.push(build);
    (StatusCode::ACCEPTED, Json(json!({ "id": BUILD, "cursor": "0:0", "notices": ["the platform is warm"] })))
        .into_response()
}

async fn info(State(fake): State<FakeServer>) -> Response {
    let mut info = json!({ "version": "1.2.3", "protocols": [1], "platforms": { "docker": ["amd64"] } });
    if let Some(keys) = fake.keys.lock().unwrap().clone() {
        info["keys"] = keys.into();
    }
    Json(info).into_response()
}

async fn cancel(State(fake): State<FakeServer>) -> Response {
    fake.requests.lock().unwrap().cancelled += 1;
    fake.cancelled.send_replace(true);
    Json(view()).into_response()
}

#[derive(serde::Deserialize)]
struct LogQuery {
    from: Cursor,
}

async fn logs(State(fake): State<FakeServer>, Query(query): Query<LogQuery>) -> Response {
    fake.requests.lock().unwrap().cursors.push(query.from);
    let answer = fake.logs.lock().unwrap().pop_front();
    let headers = |epoch: u32| {
        [(header::CONTENT_TYPE.as_str(), FRAMES_TYPE.to_owned()), (EPOCH_HEADER, epoch.to_string())]
    };
    match answer {
        Some(LogAnswer::Frames(epoch, bytes)) => (headers(epoch), bytes).into_response(),
        Some(LogAnswer::UntilCancelled(epoch, before, after)) => {
            let after = stream::once(async move {
                fake.cancelled().await;
                after
            });
            let all = stream::once(async move { before }).chain(after).map(Ok::<_, Infallible>);
            (headers(epoch), Body::from_stream(all)).into_response()
        }
        Some(LogAnswer::Status(status)) => problem(status, "not now", "try again"),
        None => problem(StatusCode::NOT_FOUND, "no such build", "`bakery-client ps` lists builds"),
    }
}

fn view_of(id: &str) -> serde_json::Value {
    let mut view = view();
    if id == FAILED {
        view["id"] = FAILED.into();
        view["phase"] = "ended".into();
        view["outcome"] = json!({ "verdict": "failed", "reason": null, "text": null, "images": [] });
    }
    view
}

fn view() -> serde_json::Value {
    let task = |index: u16, arch: &str| json!({ "index": index, "arch": arch, "platform": "docker", "attempt": 1, "phase": "running" });
    json!({
        "id": BUILD, "phase": "baking", "created": "2026-11-22T10:00:00Z", "ended": null, "outcome": null,
        "targets": [{ "name": "shop", "tasks": [task(0, "amd64"), task(1, "arm64")], "publish": null }],
    })
}

/// The id of the only build.
pub(crate) fn id() -> BuildId {
    BUILD.parse().unwrap()
}

fn run(index: u16) -> RunName {
    RunName { task: TaskId { build: id(), index }, attempt: 1 }
}

/// A frame with lines `line N` of the first task, N from `first` on.
pub(crate) fn lines(seq: u64, first: u64, count: u32) -> Vec<u8> {
    let line =
        |n: u64| format!("{{\"ts\":\"2026-11-22T10:00:01Z\",\"src\":\"kaniko\",\"msg\":\"line {n}\"}}\n");
    let payload: String = (first..first + u64::from(count)).map(line).collect();
    let frame = Frame::Lines { run: run(0), first, lines: count };
    framed(seq, frame, payload.as_bytes())
}

/// A frame without lines.
pub(crate) fn state(seq: u64, phase: TaskPhase) -> Vec<u8> {
    framed(seq, Frame::State { run: run(1), phase, reason: None, text: None, hint: None }, b"")
}

/// The last frame.
pub(crate) fn end(seq: u64, verdict: Verdict, reason: Option<bakery_core::reason::Reason>) -> Vec<u8> {
    let image = PublishedImage {
        destination: "r.test/shop:1".parse().unwrap(),
        digest: Digest::of(b"index"),
        archs: Arch::ALL.to_vec(),
    };
    let images = if verdict == Verdict::Baked { vec![image] } else { Vec::new() };
    framed(seq, Frame::End { outcome: BuildOutcome { verdict, reason, text: None, hint: None, images } }, b"")
}

fn framed(seq: u64, frame: Frame, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&FrameHeader { len: u32::try_from(payload.len()).unwrap(), seq, frame }, payload, &mut bytes);
    bytes
}
