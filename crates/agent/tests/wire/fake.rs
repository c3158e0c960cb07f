//! A fake controller, for one run: it keeps the rules of the wire and nothing else of a server's.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bakery_context::{ContextFolder, pack};
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

/// What has come to the controller so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) session: Option<String>,
    /// Every line, in its order, encoded; empty where it was only counted.
    pub(crate) lines: Vec<Vec<u8>>,
    pub(crate) segments: u64,
    pub(crate) heartbeats: u64,
    pub(crate) stages: Vec<Stage>,
    pub(crate) reports: Vec<TaskReport>,
    pub(crate) context_reads: u32,
}

impl Seen {
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

/// What the controller does wrong, or asks for.
#[derive(Default)]
pub(crate) struct Mood {
    /// So many answers to the order are lost: the work is done, the connection breaks.
    pub(crate) lose_orders: u32,
    /// After so many segments the controller forgets so many lines: a server that was killed before it wrote them.
    pub(crate) forget: Vec<(u64, usize)>,
    pub(crate) lose_reports: u32,
    /// So many downloads break in the middle.
    pub(crate) break_contexts: u32,
    pub(crate) cancel: bool,
    /// No log is taken.
    pub(crate) deaf: bool,
    /// Answers everything but the order with this.
    pub(crate) refuse: Option<StatusCode>,
}

pub(crate) struct FakeController {
    pub(crate) url: String,
    inner: Arc<Inner>,
    _blob: tempfile::TempDir,
}

struct Inner {
    order: Mutex<TaskOrder>,
    blob: Vec<u8>,
    seen: Mutex<Seen>,
    pub(crate) mood: Mutex<Mood>,
    changed: watch::Sender<()>,
}

impl FakeController {
    /// Listens on loopback. `files` are the context.
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
        let root = ContextFolder { path: ".".to_owned(), dockerfile: "Dockerfile".to_owned() };
        let packed = pack(&source, &[root], &mut blob, 1).unwrap();
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
            seen: Mutex::default(),
            mood: Mutex::default(),
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

    pub(crate) fn mood(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut lock(&self.inner.mood));
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.inner.seen)
    }

    /// Waits until something is true of what has come.
    pub(crate) async fn until(&self, what: impl Fn(&Seen) -> bool) {
        let mut changes = self.inner.changed.subscribe();
        while !what(&self.seen()) {
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

/// The head of an answer, and then the connection breaks.
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
    let bound = lock(&inner.seen).session.get_or_insert_with(|| session.clone()).clone();
    if bound != session {
        return refusal(StatusCode::CONFLICT);
    }
    let mut mood = lock(&inner.mood);
    if mood.lose_orders > 0 {
        mood.lose_orders -= 1;
        return lost();
    }
    answer(&*lock(&inner.order))
}

impl Inner {
    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        if let Some(status) = lock(&self.mood).refuse {
            return Some(refusal(status));
        }
        let known = lock(&self.seen).session.clone();
        let known = known.as_deref().unwrap_or(LAUNCH_TOKEN);
        (known != bearer(headers)).then(|| refusal(StatusCode::UNAUTHORIZED))
    }
}

async fn context(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = inner.refusal(&headers) {
        return refusal;
    }
    lock(&inner.seen).context_reads += 1;
    let half = {
        let mut mood = lock(&inner.mood);
        let half = mood.break_contexts > 0;
        mood.break_contexts = mood.break_contexts.saturating_sub(1);
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
    if lock(&inner.mood).deaf {
        return refusal(StatusCode::SERVICE_UNAVAILABLE);
    }
    let stage: Stage = headers.get(STAGE_HEADER).unwrap().to_str().unwrap().parse().unwrap();
    {
        let mut seen = lock(&inner.seen);
        if seen.stages.last() != Some(&stage) {
            seen.stages.push(stage);
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
            take(&mut lock(&inner.seen), header, &payload);
            inner.changed.send_replace(());
        }
    }
    assert!(broken || decoder.is_empty(), "a segment ended in the middle of a block");
    assert!(bytes <= bakery_core::limits::SEGMENT_BYTES, "a segment of {bytes} bytes");
    let mut seen = lock(&inner.seen);
    seen.segments += 1;
    seen.heartbeats += u64::from(bytes == 0);
    let segments = seen.segments;
    let mut mood = lock(&inner.mood);
    if let Some(at) = mood.forget.iter().position(|(after, _)| *after <= segments) {
        let (_, count) = mood.forget.remove(at);
        let kept = seen.lines.len().saturating_sub(count);
        seen.lines.truncate(kept);
    }
    let next = seen.lines.len() as u64 + 1;
    drop(seen);
    inner.changed.send_replace(());
    answer(&SegmentAck { next, cancel: mood.cancel })
}

/// Lines that are there already are dropped; lines that would leave a hole are not taken.
fn take(seen: &mut Seen, header: BlockHeader, payload: &[u8]) {
    assert_eq!(header.run, run_name());
    assert_eq!(header.len as usize, payload.len());
    let lines: Vec<_> = if header.is_gap() {
        vec![&[][..]; header.lines as usize]
    } else {
        assert_eq!(payload.last(), Some(&b'\n'));
        payload[..payload.len() - 1].split(|byte| *byte == b'\n').collect()
    };
    assert_eq!(lines.len(), header.lines as usize);
    let wanted = seen.lines.len() as u64 + 1;
    if header.first > wanted {
        return;
    }
    let known = usize::try_from(wanted - header.first).unwrap();
    seen.lines.extend(lines.into_iter().skip(known).map(<[u8]>::to_vec));
}

async fn report(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refusal) = inner.refusal(&headers) {
        return refusal;
    }
    let report: TaskReport = serde_json::from_slice(&body).unwrap();
    let mut seen = lock(&inner.seen);
    let whole = report.lines == seen.lines.len() as u64;
    assert_eq!(
        whole, !report.cut,
        "a report before the whole log was there, or after it was given up for nothing"
    );
    seen.reports.push(report);
    let accepted = seen.reports.len() == 1;
    drop(seen);
    inner.changed.send_replace(());
    let mut mood = lock(&inner.mood);
    if mood.lose_reports > 0 {
        mood.lose_reports -= 1;
        return lost();
    }
    answer(&ReportAck { accepted })
}

/// A folder as the agent's image has it, with a fake executor: a shell script.
pub(crate) fn image(root: &Path, executor: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(root).unwrap();
    let path = root.join("executor");
    // What every executor can say; the rest is the test's.
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = version ]; then echo 'Kaniko version :  v1.27.5'; exit 0; fi\n{executor}\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
