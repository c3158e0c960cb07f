//! The server with its real listeners, builds, ledger and logs. Only the platform is a fake, since the benchmark
//! starts the senders itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use bakery_core::names::{Arch, Platform};
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::run::{ContextSource, launch_env};
use bakery_registry::{Registry, RegistrySettings};
use bakery_server::builds::ledger::Ledger;
use bakery_server::builds::{
    Builds, BuildsParts, BuildsSettings, ContextProblem, ContextStore, PlatformSettings,
};
use bakery_server::clock::Clock;
use bakery_server::contexts::Contexts;
use bakery_server::disk::DataDisk;
use bakery_server::http::{ConnectionLimits, OwnNames, Routers, Services, serve as serve_http};
use bakery_server::logs::Logs;
use bakery_server::spawn::Tasks;
use bakery_testkit::platform::fake::FakePlatform;
use tokio::net::TcpListener;

use crate::SENDERS;

/// Longer than any run.
const LONG: Duration = Duration::from_mins(10);

/// Serves until it is killed. Prints its URL, then a line for each launch: URL, run, token.
pub(crate) async fn serve(folder: &Path) -> Result<()> {
    let tasks = Tasks::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let platform = FakePlatform::new([Arch::Amd64]);
    let clock = Clock::system();
    let logs = Logs::open(&folder.join("logs"))?;
    drop(tasks.spawn("log keeper", logs.clone().keep(tasks.stopping().clone())));
    let disk = DataDisk::of(folder);
    let contexts = Contexts::open(&folder.join("contexts"), None, disk.clone(), clock.clone())?;
    let limits = PlatformSettings { max_runs: SENDERS, agent_url: url.clone(), env: Vec::new() };
    let builds = Builds::start(BuildsParts {
        ledger: Ledger::open(folder, None, clock.clone()).await?,
        logs: logs.clone(),
        contexts: Arc::new(AnyContext),
        registry: Arc::new(Registry::new(RegistrySettings::default())),
        launchers: BTreeMap::from([(Platform::Docker, Arc::new(platform.clone()) as _)]),
        settings: BuildsSettings {
            provision_timeout: LONG,
            task_timeout: LONG,
            ..BuildsSettings::on(BTreeMap::from([(Platform::Docker, limits)]))
        },
        disk,
        clock,
        tasks: tasks.clone(),
    })
    .await?;
    let names = OwnNames { listen: listener.local_addr()?, url: None };
    let routers = Routers::new(Services { builds, logs, contexts, token: None, names }, &tasks);
    println!("{url}");
    let router = routers.public();
    let own = tasks.clone();
    drop(tasks.spawn("listener", async move {
        serve_http(listener, router, ConnectionLimits::public(u64::MAX, 0), &own).await;
    }));
    for order in platform.wait_launches(SENDERS).await {
        let var = |wanted: &str| {
            let found = order.env.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.expose().to_owned()).context("a launch variable")
        };
        println!("{} {} {}", var(launch_env::URL)?, var(launch_env::RUN)?, var(launch_env::TOKEN)?);
    }
    std::future::pending().await
}

/// A context store that is never used.
struct AnyContext;

#[async_trait]
impl ContextStore for AnyContext {
    async fn check(&self, _: &str, _: &ContextRef) -> Result<(), ContextProblem> {
        Ok(())
    }
    async fn source(&self, _: &ContextRef) -> Result<ContextSource, ContextProblem> {
        Ok(ContextSource::Server)
    }
    async fn needed(&self, _: &ContextRef) {}
    async fn read(&self, _: &ContextRef) {}
    async fn broken(&self, _: &ContextRef) {}
    async fn sweep(&self, _: Duration) {}
}
