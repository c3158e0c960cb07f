//! SIGKILL of the server at every critical moment: the next start goes on with the same container and the same attempt,
//! nothing is started twice, no line is lost or repeated, and the build succeeds.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::{Client, Ended, finish};
use bakery_testkit::engine::Engine;
use bakery_testkit::fault_proxy::{FaultProxy, Moment, Upstream};
use bakery_testkit::parts::Parts;
use bakery_testkit::process::{free_port, until};
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::registry::Registry;
use bakery_testkit::server::Server;
use tokio::time::timeout;

use crate::world::Log;

const LINES: u64 = 40;
const ROUNDS: u64 = 5;

/// A server whose connections to the engine, its agents and the registry can be cut at an exact moment.
struct Tapped {
    parts: Parts,
    server: Server,
    engine: FaultProxy,
    agents: FaultProxy,
    pushes: FaultProxy,
    /// The `host:port` at which server and agents reach the registry.
    host: String,
    _registry: Registry,
    _socket: tempfile::TempDir,
}

impl Tapped {
    async fn start() -> Result<Self> {
        let parts = Parts::required();
        let registry = Registry::start(&parts).await?;
        let listen = format!("{}:0", parts.gateway);
        let (pushes, host) = FaultProxy::tcp(&listen, Upstream::Tcp(registry.host.clone())).await?;
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("engine.sock");
        let real = parts.docker_host.trim_start_matches("unix://").into();
        let engine = FaultProxy::unix(&socket, Upstream::Unix(real))?;
        let agent_listen = free_port(&parts.gateway)?;
        let (agents, agents_url) = FaultProxy::tcp(&listen, Upstream::Tcp(agent_listen.to_string())).await?;
        let vars = [
            ("DOCKER_HOST", format!("unix://{}", socket.display())),
            ("BAKERY_AGENT_LISTEN", agent_listen.to_string()),
            ("BAKERY_AGENT_URL", format!("http://{agents_url}")),
            ("ALLOW_EMULATION", "true".to_owned()),
        ];
        let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let server = Server::start(&parts, &[&host.to_string()], &vars).await?;
        let host = host.to_string();
        Ok(Self { parts, server, engine, agents, pushes, host, _registry: registry, _socket: folder })
    }

    /// SIGKILL, cut the connections that traps hold, start again.
    async fn crash(&mut self) -> Result<()> {
        self.server.kill().await?;
        for proxy in [&self.engine, &self.agents, &self.pushes] {
            proxy.release();
        }
        self.server.run().await
    }

    fn project(&self, bake: &str) -> Result<Project> {
        let config = format!("global:\n  kaniko: {{ destination: \"{}/lost/server:1\" }}\n{bake}", self.host);
        Project::new(&self.parts, &numbered("line", LINES.try_into()?, 50), &config)
    }

    /// Checks everything that must be true afterwards.
    async fn check(&self, client: &Client, followed: &Ended, tasks: usize) -> Result<()> {
        let context =
            || format!("client:\n{}\n{}\nserver:\n{}", followed.out, followed.err, self.server.log());
        ensure!(followed.code == Some(0), "exit {:?}\n{}", followed.code, context());
        let build = followed.build()?;
        let again = client.run(&["logs", &build]).await?;
        for log in [followed, &again] {
            for task in 0..tasks {
                let mine = log.lines()?.into_iter().filter(|line| is_task(line.task.as_ref(), task));
                let numbers: Vec<u64> =
                    mine.filter_map(|line| line.message.trim().strip_prefix("line ")?.parse().ok()).collect();
                ensure!(
                    numbers == (1..=LINES).collect::<Vec<_>>(),
                    "task {task}: {numbers:?}\n{}",
                    context()
                );
            }
        }
        let engine = Engine::new(&self.parts);
        let mut started = engine.started(&build).await?;
        started.sort();
        let expected: Vec<_> = (0..tasks).map(|task| format!("bk-{build}-{task}-1")).collect();
        ensure!(started == expected, "started {started:?}\n{}", context());
        let none = async || engine.containers(&build).await.is_ok_and(|names| names.is_empty());
        until("the containers' end", Duration::from_secs(10), none).await
    }
}

/// The client's JSON identifies a task by its index, or by a text that ends with it.
fn is_task(task: Option<&serde_json::Value>, index: usize) -> bool {
    match task {
        Some(serde_json::Value::Number(number)) => number.as_u64() == Some(index as u64),
        Some(serde_json::Value::String(text)) => text.rsplit('-').next() == Some(&index.to_string()),
        _ => false,
    }
}

const ONE: &str = "bake: [{ arch: amd64 }]\n";
const TWO: &str = "bake: [{ arch: amd64 }, { arch: arm64 }]\n";

/// Builds with a trap set; kills the server when the trap is reached.
async fn crash_at(
    world: &mut Tapped,
    proxy: fn(&Tapped) -> &FaultProxy,
    pattern: &str,
    moment: Moment,
    bake: &str,
) -> Result<()> {
    let project = world.project(bake)?;
    let client = Client::new(&world.parts, project.path(), &world.server.url);
    let sprung = proxy(world).trap(pattern, moment);
    let child = client.spawn(&[])?;
    timeout(Duration::from_mins(2), sprung).await.context("the trap never sprang")??;
    world.crash().await?;
    let ended = timeout(Duration::from_mins(3), finish(child)).await.context("no end")??;
    world.check(&client, &ended, bake.matches("arch").count()).await
}

/// Kills the server when line `at` has reached the client.
async fn crash_at_line(world: &mut Tapped, at: u64) -> Result<()> {
    let project = world.project(ONE)?;
    let client = Client::new(&world.parts, project.path(), &world.server.url);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until(&format!("line {at}")).await?.build.context("build")?;
    world.crash().await?;
    // A second reader checks the log: the first one has consumed its part in this test.
    log.until(&format!("line {LINES}")).await?;
    drop(log);
    let followed = client.run(&["logs", &build]).await?;
    world.check(&client, &followed, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_any_moment_continues_where_it_was() -> Result<()> {
    let seed = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().subsec_nanos();
    let mut world = Tapped::start().await?;
    for round in 0..ROUNDS {
        let random = (u64::from(seed) ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
            >> 33;
        let at = 1 + random % (LINES - 1);
        println!("round {round}: seed {seed}, line {at}");
        let start = "POST*/containers/bk-*/start";
        let launch = crash_at(&mut world, |world| &world.engine, start, Moment::BeforeAnswer, ONE);
        launch.await.with_context(|| format!("round {round}: before the launch is answered"))?;
        let bind = crash_at(&mut world, |world| &world.agents, "POST*/order", Moment::BeforeAnswer, ONE);
        bind.await.with_context(|| format!("round {round}: after the order is bound"))?;
        crash_at_line(&mut world, at).await.with_context(|| format!("round {round}: at line {at}"))?;
        let report = crash_at(&mut world, |world| &world.agents, "POST*/report", Moment::BeforeAnswer, ONE);
        report.await.with_context(|| format!("round {round}: after the report is sent"))?;
        // The PUT of the index has left the server: its members are pushed, its tag may or may not exist.
        let moment = if random % 2 == 0 { Moment::BeforeRequest } else { Moment::BeforeAnswer };
        let index = crash_at(&mut world, |world| &world.pushes, "PUT*/manifests/1 ", moment, TWO);
        index.await.with_context(|| format!("round {round}: half of the index pushed"))?;
    }
    Ok(())
}
