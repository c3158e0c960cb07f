//! Builds alone: a real ledger and real logs, a scripted platform and a scripted registry.
//!
//! Each life of a server is a runtime of its own; dropping it is the kill: every task ends where it stands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bakery_core::image::{Digest, ImageRef};
use bakery_core::names::{Arch, BuildId, Platform, RunName, TaskId};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use bakery_core::spec::{BuildSpec, Credential, KanikoSpec, Order, ServiceSpec, TaskSpec};
use bakery_core::wire::build::{BuildPhase, BuildView, SubmitBuild, TaskPhase};
use bakery_core::wire::context::{ContextLocation, ContextRef};
use bakery_core::wire::log::{BlockHeader, Cursor, Decoder, Frame, FrameHeader, LogLine};
use bakery_core::wire::run::{
    ContextSource, OrderRequest, Stage, TaskOrder, TaskReport, TaskResult, launch_env,
};
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::sync::watch;

use super::ledger::Ledger;
use super::*;
use crate::clock::Clock;
use crate::disk::DiskSpace;
use crate::logs::Logs;
use crate::platform::fake::FakePlatform;
use crate::spawn::Tasks;
use bakery_registry::{Member, PushedCheck, RegistryError};

mod access;
mod bounds;
mod fakes;
mod flow;
mod metrics;
mod publishing;
mod restart;
mod supervisor;
mod trouble;

use fakes::{FakeContextStore, FakeRegistry};

const OWNER: &str = "local";
const PASSWORD: &str = "correct-horse-battery";
/// A wait of these tests that takes longer than this has failed.
const STORY_TIMEOUT: Duration = Duration::from_mins(1);

/// What outlives a server.
struct BuildsWorld {
    folder: TempDir,
    platform: FakePlatform,
    registry: FakeRegistry,
    /// How often the actor of a build will panic when an agent binds.
    panics: Arc<AtomicU32>,
    settings: BuildsSettings,
    disk: DataDisk,
    clock: Clock,
}

impl BuildsWorld {
    fn new() -> Self {
        let platform = PlatformSettings {
            max_runs: 8,
            agent_url: "http://172.18.0.1:3001".into(),
            env: vec![("HTTP_PROXY".into(), "http://proxy:3128".into())],
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            platform: FakePlatform::new(Arch::ALL),
            registry: FakeRegistry::default(),
            panics: Arc::default(),
            settings: BuildsSettings {
                insecure_registries: vec!["reg.test:5000".into()],
                timing: Timing {
                    report_grace: Duration::from_millis(50),
                    linger: Duration::from_mins(5),
                    vacate: Duration::from_millis(200),
                    back_off: Duration::from_millis(5),
                    stop_retry: Duration::from_millis(5),
                    stop_retry_max: Duration::from_millis(20),
                    ..Timing::default()
                },
                ..BuildsSettings::on(BTreeMap::from([(Platform::Docker, platform)]))
            },
            disk: DataDisk::measured_by(|| Ok(DiskSpace { total: u64::MAX, free: u64::MAX })),
            clock: Clock::system(),
        }
    }

    /// One life of a server on this world; it is killed when `story` ends.
    fn life<T>(&self, story: impl AsyncFnOnce(ServerLife<'_>) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let returned = runtime.block_on(async {
            let server = self.start().await.unwrap();
            tokio::time::timeout(STORY_TIMEOUT, story(server)).await.expect("the story does not end in time")
        });
        drop(runtime);
        returned
    }

    async fn start(&self) -> Result<ServerLife<'_>, InternalError> {
        let ledger = Ledger::open(self.folder.path(), None, self.clock.clone()).await?;
        let logs = Logs::open(&self.folder.path().join("logs")).unwrap();
        let launcher: Arc<dyn Launcher> = Arc::new(self.platform.clone());
        let parts = BuildsParts {
            ledger,
            logs: logs.clone(),
            contexts: Arc::new(FakeContextStore(Arc::clone(&self.panics))),
            registry: Arc::new(self.registry.clone()),
            launchers: BTreeMap::from([(Platform::Docker, launcher)]),
            settings: self.settings.clone(),
            disk: self.disk.clone(),
            clock: self.clock.clone(),
            tasks: Tasks::new(),
        };
        Ok(ServerLife { builds: Builds::start(parts).await?, logs, world: self })
    }

    /// Everything that lies in the data folder, as bytes.
    fn everything_stored(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    match std::fs::read(&path) {
                        Ok(more) => bytes.extend(more),
                        // A server at work renames and removes files of its own.
                        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{path:?}"),
                    }
                }
            }
        }
        bytes
    }
}

/// One life of a server.
struct ServerLife<'a> {
    builds: Builds,
    logs: Logs,
    world: &'a BuildsWorld,
}

impl ServerLife<'_> {
    async fn submit(&self, spec: BuildSpec) -> BuildId {
        self.builds.submit(OWNER, request(spec, "key of the first build")).await.unwrap().id
    }

    /// Waits until the build looks like this.
    async fn until(&self, build: BuildId, like: impl Fn(&BuildView) -> bool) -> BuildView {
        loop {
            let actor = self.builds.services.clients.actors.watch(build);
            let Some(mut shown) = actor else {
                let view = self.builds.view(OWNER, build).await.unwrap();
                assert!(like(&view), "it has ended otherwise: {view:?}");
                return view;
            };
            if let Ok(state) = shown.wait_for(|state| like(&state.view(|_| None))).await {
                return state.view(|_| None);
            }
        }
    }

    async fn phase(&self, run: RunName, phase: TaskPhase) -> BuildView {
        self.until(run.task.build, |view| {
            let task =
                view.targets.iter().flat_map(|t| &t.tasks).find(|t| t.index == run.task.index).unwrap();
            task.attempt == run.attempt && task.phase == phase
        })
        .await
    }

    async fn ended(&self, build: BuildId) -> BuildView {
        self.until(build, |view| view.phase == BuildPhase::Ended).await
    }

    /// The whole log, up to its `End`.
    async fn log(&self, build: BuildId) -> Vec<(Frame, Vec<LogLine>)> {
        let mut stream = self.logs.follow(build, Cursor::default(), true).await.unwrap();
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        while let Some(chunk) = stream.next().await {
            decoder.push(chunk.unwrap());
            while let Some((header, payload)) = decoder.next_frame::<FrameHeader>().unwrap() {
                let lines = payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                frames
                    .push((header.frame, lines.map(|line| serde_json::from_slice(line).unwrap()).collect()));
            }
        }
        frames
    }

    async fn notes(&self, build: BuildId) -> Vec<String> {
        self.log(build).await.into_iter().flat_map(|(_, lines)| lines).map(|line| line.msg).collect()
    }

    /// The phases of one task in the log, with their attempts.
    async fn logged_phases(&self, task: TaskId) -> Vec<(u8, TaskPhase)> {
        let of_task = |frame| match frame {
            Frame::State { run, phase, .. } if run.task == task => Some((run.attempt, phase)),
            _ => None,
        };
        self.log(task.build).await.into_iter().filter_map(|(frame, _)| of_task(frame)).collect()
    }

    /// The token that the platform was given for a run.
    fn token(&self, run: RunName) -> Secret {
        let launches = self.world.platform.launches();
        let order = launches.iter().find(|order| order.run == run).unwrap();
        order.env.iter().find(|(name, _)| name == launch_env::TOKEN).unwrap().1.clone()
    }

    async fn bind(&self, run: RunName) -> Result<TaskOrder, RunError> {
        self.bind_as(run, &session_of(run)).await
    }

    async fn bind_as(&self, run: RunName, session: &Secret) -> Result<TaskOrder, RunError> {
        let request = OrderRequest { session: session.clone(), agent_version: "0.1.0".into() };
        self.builds.bind(run, &self.token(run), request).await
    }

    async fn report(&self, run: RunName, result: TaskResult) -> bool {
        self.report_from(Stage::Report, run, result).await
    }

    async fn report_from(&self, stage: Stage, run: RunName, result: TaskResult) -> bool {
        let report = TaskReport { result, stage, lines: 0, cut: false, millis: BTreeMap::new() };
        self.builds.report(run, &session_of(run), report).await.unwrap().accepted
    }

    /// The whole life of a good agent, from its launch on; its container ends.
    async fn bake(&self, run: RunName) {
        self.launched(run).await;
        self.bind(run).await.unwrap();
        assert!(self.report(run, baked(run)).await);
        self.world.platform.exit(run, 0);
    }

    async fn launched(&self, run: RunName) {
        for calls in 1.. {
            if self.world.platform.wait_launches(calls).await.iter().any(|order| order.run == run) {
                return;
            }
        }
    }
}

fn index_digest() -> Digest {
    Digest::of(b"index")
}

fn session_of(run: RunName) -> Secret {
    Secret::new(format!("session of {run}"))
}

fn baked(run: RunName) -> TaskResult {
    TaskResult::Baked { digest: Digest::of(run.to_string().as_bytes()) }
}

fn failed(reason: Reason) -> TaskResult {
    TaskResult::Failed {
        reason,
        text: "it broke".into(),
        hint: None,
        exit_code: Some(1),
        tail: vec!["error: broke".into()],
    }
}

fn run(build: BuildId, index: u16, attempt: u8) -> RunName {
    RunName { task: TaskId { build, index }, attempt }
}

fn task(arch: Arch, destination: &str) -> TaskSpec {
    TaskSpec {
        platform: None,
        arch,
        cpu_millis: None,
        memory_mib: Some(4096),
        disk_mib: None,
        timeout_seconds: None,
        env: BTreeMap::from([("TIER".to_owned(), Secret::new("env-secret-value"))]),
        pre_script: Some("echo pre".into()),
        post_script: None,
        credentials: vec![Credential {
            registry: "reg.test:5000".into(),
            username: "baker".into(),
            password: Secret::new(PASSWORD),
        }],
        kaniko: KanikoSpec { destination: Some(destination.parse().unwrap()), ..KanikoSpec::default() },
    }
}

fn service(name: &str, archs: &[Arch]) -> ServiceSpec {
    let destination = format!("reg.test:5000/shop/{name}:7");
    ServiceSpec {
        name: Some(name.parse().unwrap()),
        tasks: archs.iter().map(|arch| task(*arch, &destination)).collect(),
    }
}

/// One service, both architectures.
fn multi() -> BuildSpec {
    BuildSpec { order: Order::Sequential, services: vec![service("cart", &Arch::ALL)] }
}

/// One service, one architecture.
fn single() -> BuildSpec {
    BuildSpec { order: Order::Sequential, services: vec![service("cart", &[Arch::Amd64])] }
}

/// Two services of one task each.
fn pair(order: Order) -> BuildSpec {
    BuildSpec { order, services: vec![service("cart", &[Arch::Amd64]), service("till", &[Arch::Amd64])] }
}

fn request(spec: BuildSpec, key: &str) -> SubmitBuild {
    let digest = Digest::of(b"context");
    SubmitBuild {
        spec,
        context: ContextRef { id: digest.clone(), sha256: digest, len: 1, location: ContextLocation::Store },
        idempotency_key: key.into(),
    }
}
