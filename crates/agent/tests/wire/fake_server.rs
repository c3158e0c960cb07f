//! A fake server for one run: it implements the protocol and nothing else of a server.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bakery_context::{ContextFolder, SourceTree, pack};
use bakery_core::names::{Arch, BuildId, RunName, TaskId};
use bakery_core::spec::KanikoSpec;
use bakery_core::wire::context::{ContextLocation, ContextRef};
use bakery_core::wire::log::{BlockHeader, Decoder, LogLine};
use bakery_core::wire::problem::{PROBLEM_TYPE, Problem};
use bakery_core::wire::run::{
    ContextSource, OrderRequest, Push, ReportAck, STAGE_HEADER, SegmentAck, Stage, TaskOrder, TaskReport,
};
use bakery_core::wire::{PROTOCOL, PROTOCOL_HEADER, route};
use futures_util::StreamExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) const LAUNCH_TOKEN: &str = "launch-t0ken-canary";

pub(crate) fn run_name() -> RunName {
    RunName { task: TaskId { build: BuildId::new(1, 2), index: 0 }, attempt: 1 }
}

/// What the server has received so far.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) session: Option<String>,
    /// Every line in order, encoded; empty if it was only counted.
    pub(crate) lines: Vec<Vec<u8>>,
    pub(crate) segments: u64,
    pub(crate) heartbeats: u64,
    pub(crate) stages: Vec<Stage>,
    pub(crate) reports: Vec<TaskReport>,
    pub(crate) context_reads: u32,
}

impl Received {
    pub(crate) fn messages(&self) -> Vec<LogLine> {
        self.lines.iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    pub(crate) fn text(&self) -> String {
        let lines: Vec<_> = self
            .messages()
            .into_iter()
            .map(|line| format!("{}| {}\n", line.src.as_str(), line.msg))
            .collect();
        lines.concat()
    }
}

/// Faults that the server injects, and what it asks for.
#[derive(Default)]
pub(crate) struct Faults {
    /// Number of order responses that are lost: the request is processed, then the connection breaks.
    pub(crate) lose_orders: u32,
    /// After a number of segments the server forgets a number of lines, as if it was killed before it wrote them.
    pub(crate) forget: Vec<(u64, usize)>,
    pub(crate) lose_reports: u32,
    /// Number of downloads that break in the middle.
    pub(crate) break_contexts: u32,
    pub(crate) cancel: bool,
    /// Refuses all log segments.
    pub(crate) refuse_logs: bool,
    /// Responds with this status to everything but the order.
    pub(crate) refuse: Option<StatusCode>,
}

pub(crate) struct FakeServer {
    pub(crate) url: String,
    inner: Arc<Inner>,
    _blob: tempfile::TempDir,
}

struct Inner {
    order: Mutex<TaskOrder>,
    blob: Vec<u8>,
    received: Mutex<Received>,
    faults: Mutex<Faults>,
    changed: watch::Sender<()>,
}

impl FakeServer {
    /// Starts the server on loopback. The context consists of `files`.
    pub(crate) async fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        for (name, text) in files {
            let path = source.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut blob = Vec::new();
        let root = ContextFolder { path: ".".to_owned(), dockerfile: Some("Dockerfile".to_owned()) };
        let packed = pack(&SourceTree::new(&source, &[root]), &mut blob, 1).unwrap();
        let order = TaskOrder {
            run: run_name(),
            arch: Arch::Amd64,
            source: ContextSource::Server,
            context: ContextRef {
                id: packed.id,
                sha256: packed.sha256,
                len: packed.len,
                location: ContextLocation::Store,
            },
            env: [].into(),
            pre_script: None,
            post_script: None,
            kaniko: KanikoSpec::default(),
            push_to: Some("reg.test/shop/cart:7_amd64".parse().unwrap()),
            also_push_to: Vec::new(),
            push: Push::ByKaniko,
            pull_credentials: Vec::new(),
            push_credentials: Vec::new(),
            insecure_registries: Vec::new(),
            deadline_seconds: 120,
            result_seconds: 60,
        };
        let inner = Arc::new(Inner {
            order: Mutex::new(order),
            blob,
            received: Mutex::default(),
            faults: Mutex::default(),
            changed: watch::Sender::default(),
        });
        let router = Router::new()
            .route(route::RUN_ORDER, post(bind))
            .route(route::RUN_CONTEXT, get(context))
            .route(route::RUN_LOGS, post(logs))
            .route(route::RUN_REPORT, post(report))
            .with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "a test's server ends with its runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inner, _blob: folder }
    }

    pub(crate) fn order(&self, change: impl FnOnce(&mut TaskOrder)) {
        change(&mut lock(&self.inner.order));
    }

    pub(crate) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.inner.faults));
    }

    pub(crate) fn received(&self) -> MutexGuard<'_, Received> {
        lock(&self.inner.received)
    }

    /// Waits until `condition` is true of what was received.
    pub(crate) async fn until(&self, condition: impl Fn(&Received) -> bool) {
        let mut changes = self.inner.changed.subscribe();
        while !condition(&self.received()) {
            changes.changed().await.unwrap();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(body: &impl serde::Serialize) -> Response {
    let headers = [(PROTOCOL_HEADER, PROTOCOL.to_string())];
    (headers, serde_json::to_string(body).unwrap()).into_response()
}

fn refusal(status: StatusCode) -> Response {
    let problem = Problem { status: status.as_u16(), title: "no".to_owned(), ..Problem::default() };
    (status, [("content-type", PROBLEM_TYPE)], serde_json::to_string(&problem).unwrap()).into_response()
}

/// The beginning of a response, after which the connection breaks.
fn lost() -> Response {
    let broken =
        futures_util::stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("lost"))]);
    ([(PROTOCOL_HEADER, PROTOCOL.to_string())], Body::from_stream(broken)).into_response()
}

fn bearer(headers: &HeaderMap) -> String {
    let value = headers.get("authorization").unwrap().to_str().unwrap();
    value.strip_prefix("Bearer ").unwrap().to_owned()
}

async fn bind(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(bearer(&headers), LAUNCH_TOKEN);
    let request: OrderRequest = serde_json::from_slice(&body).unwrap();
    let session = request.session.expose().to_owned();
    let bound = lock(&inner.received).session.get_or_insert_with(|| session.clone()).clone();
    if bound != session {
        return refusal(StatusCode::CONFLICT);
    }
    let mut faults = lock(&inner.faults);
    if faults.lose_orders > 0 {
        faults.lose_orders -= 1;
        return lost();
    }
    answer(&*lock(&inner.order))
}

impl Inner {
    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        if let Some(status) = lock(&self.faults).refuse {
            return Some(refusal(status));
        }
        let session = lock(&self.received).session.clone();
        let expected = session.as_deref().unwrap_or(LAUNCH_TOKEN);
        (expected != bearer(headers)).then(|| refusal(StatusCode::UNAUTHORIZED))
    }
}

async fn context(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = inner.refusal(&headers) {
        return refusal;
    }
    lock(&inner.received).context_reads += 1;
    let half = {
        let mut faults = lock(&inner.faults);
        let half = faults.break_contexts > 0;
        faults.break_contexts = faults.break_contexts.saturating_sub(1);
        half
    };
    if half {
        let bytes = Bytes::copy_from_slice(&inner.blob[..inner.blob.len() / 2]);
        let broken = futures_util::stream::iter([Ok(bytes), Err(std::io::Error::other("cut"))]);
        return ([(PROTOCOL_HEADER, PROTOCOL.to_string())], Body::from_stream(broken)).into_response();
    }
    ([(PROTOCOL_HEADER, PROTOCOL.to_string())], inner.blob.clone()).into_response()
}

async fn logs(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Body) -> Response {
    if let Some(refusal) = inner.refusal(&headers) {
        return refusal;
    }
    if lock(&inner.faults).refuse_logs {
        return refusal(StatusCode::SERVICE_UNAVAILABLE);
    }
    let stage: Stage = headers.get(STAGE_HEADER).unwrap().to_str().unwrap().parse().unwrap();
    {
        let mut received = lock(&inner.received);
        if received.stages.last() != Some(&stage) {
            received.stages.push(stage);
        }
    }
    let mut decoder = Decoder::default();
    let mut body = body.into_data_stream();
    let (mut bytes, mut broken) = (0, false);
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else {
            broken = true;
            break;
        };
        bytes += chunk.len();
        decoder.push(chunk);
        while let Some((header, payload)) = decoder.next_frame::<BlockHeader>().unwrap() {
            accept(&mut lock(&inner.received), header, &payload);
            inner.changed.send_replace(());
        }
    }
    assert!(broken || decoder.is_empty(), "a segment ended in the middle of a block");
    assert!(bytes <= bakery_core::limits::SEGMENT_BYTES, "a segment of {bytes} bytes");
    let mut received = lock(&inner.received);
    received.segments += 1;
    received.heartbeats += u64::from(bytes == 0);
    let segments = received.segments;
    let mut faults = lock(&inner.faults);
    if let Some(at) = faults.forget.iter().position(|(after, _)| *after <= segments) {
        let (_, count) = faults.forget.remove(at);
        let kept = received.lines.len().saturating_sub(count);
        received.lines.truncate(kept);
    }
    let next = received.lines.len() as u64 + 1;
    drop(received);
    inner.changed.send_replace(());
    answer(&SegmentAck { next, cancel: faults.cancel })
}

/// Ignores lines that were received before, and lines that would leave a gap.
fn accept(received: &mut Received, header: BlockHeader, payload: &[u8]) {
    assert_eq!(header.run, run_name());
    assert_eq!(header.len as usize, payload.len());
    let lines: Vec<_> = if header.is_gap() {
        vec![&[][..]; header.lines as usize]
    } else {
        assert_eq!(payload.last(), Some(&b'\n'));
        payload[..payload.len() - 1].split(|byte| *byte == b'\n').collect()
    };
    assert_eq!(lines.len(), header.lines as usize);
    let wanted = received.lines.len() as u64 + 1;
    if header.first > wanted {
        return;
    }
    let present = usize::try_from(wanted - header.first).unwrap();
    received.lines.extend(lines.into_iter().skip(present).map(<[u8]>::to_vec));
}

async fn report(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refusal) = inner.refusal(&headers) {
        return refusal;
    }
    let report: TaskReport = serde_json::from_slice(&body).unwrap();
    let mut received = lock(&inner.received);
    let complete = report.lines == received.lines.len() as u64;
    assert_eq!(
        complete, !report.cut,
        "a report before the log was complete, or marked as cut with a complete log"
    );
    received.reports.push(report);
    let accepted = received.reports.len() == 1;
    drop(received);
    inner.changed.send_replace(());
    let mut faults = lock(&inner.faults);
    if faults.lose_reports > 0 {
        faults.lose_reports -= 1;
        return lost();
    }
    answer(&ReportAck { accepted })
}

/// Fills a folder like an agent image, with a fake executor, which is a shell script.
pub(crate) fn image(root: &Path, executor: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(root).unwrap();
    let path = root.join("executor");
    // Every executor answers `version`; the test provides the rest.
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = version ]; then echo 'Kaniko version :  v1.27.5'; exit 0; fi\n{executor}\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
