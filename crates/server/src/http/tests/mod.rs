//! Both listeners over loopback, with real services and a platform of plain data.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bakery_core::config;
use bakery_core::image::{Digest, ImageRef};
use bakery_core::names::{Arch, BuildId, Platform, RunName};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use bakery_core::spec::{Credential, Order};
use bakery_core::wire::build::{SubmitBuild, Submitted};
use bakery_core::wire::context::{ContextAnswer, ContextLocation, ContextOffer, ContextRef};
use bakery_core::wire::log::{self, BlockHeader, Decoder, Frame, FrameHeader, Level, LogLine, Source};
use bakery_core::wire::problem::{PROBLEM_TYPE, Problem};
use bakery_core::wire::run::{
    ContextSource, OrderRequest, STAGE_HEADER, SegmentAck, Stage, TaskOrder, TaskReport, TaskResult,
    launch_env,
};
use bakery_core::wire::{FRAMES_TYPE, PROTOCOL_HEADER, REQUEST_ID_HEADER, route};
use jiff::Timestamp;
use reqwest::{RequestBuilder, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{ConnectionLimits, OwnNames, Routers, Services, serve};
use crate::builds::ledger::Ledger;
use crate::builds::{
    Builds, BuildsParts, BuildsSettings, ContextProblem, ContextStore, PlatformSettings, Publisher,
};
use crate::clock::Clock;
use crate::contexts::Contexts;
use crate::disk::{DataDisk, DiskSpace};
use crate::logs::Logs;
use crate::platform::LaunchError;
use crate::platform::fake::FakePlatform;
use crate::spawn::Tasks;
use bakery_registry::{Member, PushedCheck, RegistryError};

mod baking;
mod clients;
mod listeners;
mod request_ids;
mod streams;

/// Long enough for a busy machine; nothing waits for it that goes well.
const SOON: Duration = Duration::from_mins(1);

/// A running server.
struct TestServer {
    tasks: Tasks,
    platform: FakePlatform,
    public: SocketAddr,
    agents: SocketAddr,
    listeners: Vec<JoinHandle<()>>,
    http: reqwest::Client,
    token: Option<String>,
    folder: tempfile::TempDir,
    /// Free space of a disk of 1 TiB.
    free: Arc<AtomicU64>,
}

impl TestServer {
    async fn open(token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (public, agents) = (listen().await, listen().await);
        let addresses = (public.local_addr().unwrap(), agents.local_addr().unwrap());
        let platform = FakePlatform::new([Arch::Amd64]);
        let clock = Clock::system();
        let free = Arc::new(AtomicU64::new(1 << 40));
        let seen = Arc::clone(&free);
        let disk = DataDisk::measured_by(move || {
            Ok(DiskSpace { total: 1 << 40, free: seen.load(Ordering::Relaxed) })
        });
        let logs = Logs::open(&folder.path().join("logs")).unwrap().on_disk(disk.clone());
        let contexts = folder.path().join("contexts");
        let contexts = Contexts::open(&contexts, None, disk.clone(), clock.clone()).unwrap();
        let builds = Builds::start(BuildsParts {
            ledger: Ledger::open(folder.path(), None, clock.clone()).await.unwrap(),
            logs: logs.clone(),
            contexts: Arc::new(OwnContexts(contexts.clone())),
            registry: Arc::new(NoRegistry),
            launchers: BTreeMap::from([(Platform::Docker, Arc::new(platform.clone()) as _)]),
            settings: settings(format!("http://{}", addresses.1)),
            disk,
            clock,
            tasks: tasks.clone(),
        });
        let builds = builds.await.unwrap();
        let names = OwnNames { listen: addresses.0, url: None };
        let services = Services { builds, logs, contexts, token: token.map(Secret::new), names };
        let routers = Routers::new(services, &tasks);
        let open = |listener, router| {
            let within = tasks.clone();
            tasks.spawn("listener", async move {
                serve(listener, router, ConnectionLimits::agents(u64::MAX), &within).await;
            })
        };
        let listeners = vec![open(public, routers.public()), open(agents, routers.agents())];
        Self {
            platform,
            public: addresses.0,
            agents: addresses.1,
            listeners,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            token: token.map(str::to_owned),
            folder,
            free,
            tasks,
        }
    }

    fn call(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.public);
        let request = self.http.request(method.parse().unwrap(), url).timeout(SOON);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send_context(&self, blob: &'static [u8]) -> ContextRef {
        let (id, sha256) = (Digest::of(b"identity"), Digest::of(blob));
        let offer = ContextOffer { id, sha256, len: blob.len() as u64, location: ContextLocation::Store };
        let offered = || async { good(self.call("POST", route::CONTEXTS).json(&offer)).await.json().await };
        if let ContextAnswer::Upload { path } = offered().await.unwrap() {
            good(self.call("PUT", &path).body(blob)).await;
        }
        match offered().await.unwrap() {
            ContextAnswer::Present { context } => context,
            other => panic!("{other:?}"),
        }
    }

    async fn submit(&self) -> Submitted {
        let context = self.send_context(b"a blob").await;
        let text = "bake:\n  - arch: amd64\n    kaniko:\n      destination: registry.test/app:1\n";
        let spec = config::read("config.yaml", text)
            .unwrap()
            .resolve(Order::default(), &config::Naming::default())
            .unwrap()
            .spec;
        let build = SubmitBuild { spec, context, idempotency_key: "0123456789abcdef".to_owned() };
        good(self.call("POST", route::BUILDS).json(&build)).await.json().await.unwrap()
    }

    /// An agent for the one launch, which has its order.
    async fn agent(&self) -> (Agent, TaskOrder) {
        let order = self.platform.wait_launches(1).await.remove(0);
        let token = |name| order.env.iter().find(|(known, _)| known == name).unwrap().1.expose().to_owned();
        let agent = Agent {
            run: token(launch_env::RUN).parse().unwrap(),
            url: token(launch_env::URL),
            session: "5e".repeat(32),
            http: self.http.clone(),
        };
        let request =
            OrderRequest { session: Secret::new(&*agent.session), agent_version: "0.0.0".to_owned() };
        let url = format!("{}{}", agent.url, route::run_order(agent.run));
        let bound = self.http.post(url).bearer_auth(token(launch_env::TOKEN)).json(&request);
        let order = good(bound).await.json().await.unwrap();
        (agent, order)
    }

    /// The next stop ends nothing: the container of a cancelled run goes on for a while.
    fn containers_stay(&self) {
        self.platform.script_stop(LaunchError {
            retryable: true,
            reason: Reason::Internal,
            message: "it does not end".into(),
        });
    }

    async fn follow(&self, build: BuildId) -> Follower {
        let response = good(self.call("GET", &route::build_logs(build, log::Cursor::default(), true))).await;
        assert_eq!(response.headers()["content-type"], FRAMES_TYPE);
        assert_eq!(response.headers()[log::EPOCH_HEADER], "0");
        Follower { response, decoder: Decoder::default() }
    }
}

struct Agent {
    run: RunName,
    url: String,
    session: String,
    http: reqwest::Client,
}

impl Agent {
    fn call(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.http.request(method.parse().unwrap(), url).bearer_auth(&self.session).timeout(SOON)
    }

    fn segment(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.call("POST", &route::run_logs(self.run))
            .header("content-type", FRAMES_TYPE)
            .header(STAGE_HEADER, Stage::Bake.as_str())
            .body(body)
    }

    async fn send(&self, body: Vec<u8>) -> SegmentAck {
        good(self.segment(body)).await.json().await.unwrap()
    }

    /// Lines of `msg` from number `first` on.
    fn block(&self, first: u64, lines: u32, msg: &str) -> Vec<u8> {
        let line = LogLine {
            ts: Timestamp::UNIX_EPOCH,
            src: Source::Kaniko,
            lvl: Level::Info,
            msg: msg.to_owned(),
            more: false,
            hint: None,
        };
        let line = serde_json::to_string(&line).unwrap() + "\n";
        let payload = line.repeat(lines as usize);
        let len = u32::try_from(payload.len()).unwrap();
        let mut block = Vec::new();
        log::encode(&BlockHeader { run: self.run, first, lines, len }, payload.as_bytes(), &mut block);
        block
    }

    async fn report(&self, lines: u64) -> Response {
        let report = TaskReport {
            result: TaskResult::Baked { digest: Digest::of(b"image") },
            stage: Stage::Report,
            lines,
            cut: false,
            millis: BTreeMap::new(),
        };
        self.call("POST", &route::run_report(self.run)).json(&report).send().await.unwrap()
    }
}

/// One reader of a log.
struct Follower {
    response: Response,
    decoder: Decoder,
}

impl Follower {
    /// The next frame but beats; `None` where the stream ended between two frames.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((header, _)) = self.decoder.next_frame::<FrameHeader>().unwrap() {
                if header.frame != Frame::Beat {
                    return Some(header.frame);
                }
            } else if let Some(chunk) = timeout(SOON, self.response.chunk()).await.unwrap().unwrap() {
                self.decoder.push(chunk);
            } else {
                assert!(self.decoder.is_empty(), "cut in the middle of a frame");
                return None;
            }
        }
    }

    /// Reads until the agent's lines are there up to this number; each comes once and in order.
    async fn lines_until(&mut self, last: u64) {
        let mut wanted = 1;
        while wanted <= last {
            if let Frame::Lines { first, lines, .. } = self.next().await.expect("the log goes on") {
                assert_eq!(first, wanted);
                wanted += u64::from(lines);
            }
        }
    }
}

/// The answer, which must be a good one of ours.
async fn good(request: RequestBuilder) -> Response {
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()[PROTOCOL_HEADER], "1");
    assert!(!request_id(&response).is_empty());
    let status = response.status();
    if status.is_success() {
        return response;
    }
    panic!("{status}: {}", response.text().await.unwrap())
}

/// The refusal, which must be a problem with this status and of this kind.
async fn refused(request: RequestBuilder, status: u16, kind: &str) -> Problem {
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], PROBLEM_TYPE);
    assert_eq!(response.headers()[PROTOCOL_HEADER], "1");
    let (answered, id) = (response.status().as_u16(), request_id(&response));
    let problem: Problem = response.json().await.unwrap();
    assert_eq!((answered, problem.status, problem.kind.as_str()), (status, status, kind), "{problem:?}");
    assert!(!problem.title.is_empty() && !problem.detail.is_empty());
    assert_eq!(problem.request_id, Some(id));
    problem
}

fn request_id(response: &Response) -> String {
    response.headers()[REQUEST_ID_HEADER].to_str().unwrap().to_owned()
}

fn settings(agent_url: String) -> BuildsSettings {
    let platform = PlatformSettings { max_runs: 4, agent_url, env: Vec::new() };
    BuildsSettings::on(BTreeMap::from([(Platform::Docker, platform)]))
}

struct OwnContexts(Contexts);

#[async_trait]
impl ContextStore for OwnContexts {
    async fn check(&self, owner: &str, context: &ContextRef) -> Result<(), ContextProblem> {
        let problem = |error: crate::contexts::ContextError| ContextProblem {
            text: error.to_string(),
            hint: "send it".to_owned(),
        };
        self.0.check(owner, context).await.map_err(problem)
    }

    async fn source(&self, context: &ContextRef) -> Result<ContextSource, ContextProblem> {
        Ok(self.0.source(context))
    }

    async fn needed(&self, _: &ContextRef) {}
    async fn read(&self, _: &ContextRef) {}
    async fn broken(&self, _: &ContextRef) {}

    async fn sweep(&self, _: Duration) {}
}

struct NoRegistry;

#[async_trait]
impl Publisher for NoRegistry {
    async fn publish_index(
        &self,
        _: &ImageRef,
        _: &[Member],
        _: &[Credential],
        _: &CancellationToken,
    ) -> Result<Digest, RegistryError> {
        Err(RegistryError {
            reason: Reason::Internal,
            text: "no index in these tests".to_owned(),
            hint: None,
        })
    }

    async fn check_pushed(
        &self,
        _: &ImageRef,
        _: &Digest,
        _: &[Credential],
        _: &CancellationToken,
    ) -> PushedCheck {
        PushedCheck::Confirmed
    }
}
