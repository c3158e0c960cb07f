//! A thousand tasks at once on ECS, and some real containers: what one server requests from AWS for all of them.
//!
//! A stub answers for the thousand (`bakery_testkit::aws`, `AwsProxy::stub`); their agents are the real shipper
//! without Kaniko, and get their launch tokens from the stub's launches. The emulator runs the others in real
//! containers, with the real agent and the real Kaniko. All write a line every second and run until all have been measured.
//!
//! Reports the server's calls from the proxy's record, and the server's memory for each task.

mod gate;
mod report;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bakery_core::wire::run::launch_env;
use bakery_testkit::agent::TestAgent;
use bakery_testkit::aws::{AwsEnv, Launch, Outcome};
use bakery_testkit::client::Ended;
use bakery_testkit::ecs_env::EcsEnv;
use bakery_testkit::process::until;
use bakery_testkit::project::Project;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::gate::Gate;
use crate::report::Report;

/// The number of the stub's builds, and of tasks in each.
const STUBBED: (usize, usize) = (20, 50);
/// The number of builds in real containers, which start one after another, and of tasks in each.
const REAL: (usize, usize) = (5, 10);
const TASKS: usize = STUBBED.0 * STUBBED.1 + REAL.0 * REAL.1;
/// The pause between two lines of a task.
const PAUSE: Duration = Duration::from_secs(1);
/// The wait after the start of the last task, until the requests about its start are answered.
const SETTLE: Duration = Duration::from_secs(5);
/// How long all tasks are observed while none starts and none ends.
const STEADY: Duration = Duration::from_mins(2);
/// How long a build may take to start.
const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::main]
async fn main() -> Result<()> {
    let aws = AwsEnv::new("fleet").await?;
    aws.with_extras()?;
    // The stub's tasks have 1 cpu and 2 GiB; a task with the default size is smaller.
    let launches = aws.proxy.stub(&format!("{}-amd64-1024-2048", aws.names.family));
    let env = EcsEnv::start(aws, &[("MAX_RUNS", TASKS.to_string()), ("RUST_LOG", "warn".to_owned())]).await?;
    let idle = env.server.memory("VmRSS")?;
    let gate = Gate::default();
    let page = gate.page(&env.aws.emulator.host).await?;
    let mut crew = Crew { env: &env, builds: JoinSet::new(), players: JoinSet::new() };
    let mut report = Report::begin();

    let wait = format!("RUN while sleep 1; do echo warm; done & wget -q -O - {} && kill $!", page.url);
    let real = Project::new(&env.aws.parts, &wait, &config("", REAL.1))?;
    for build in 1..=REAL.0 {
        crew.bake(&real);
        crew.meanwhile(gate.came(build * REAL.1)).await?;
    }
    report.part("real begin");
    let stubbed = Project::new(&env.aws.parts, "RUN true", &config("  cpu: 1\n", STUBBED.1))?;
    crew.players.spawn(play(launches, env.server.url.clone(), gate.clone()));
    for _ in 0..STUBBED.0 {
        crew.bake(&stubbed);
    }
    crew.meanwhile(gate.came(TASKS)).await?;
    crew.meanwhile(tokio::time::sleep(SETTLE)).await?;
    report.part("others begin");
    crew.meanwhile(tokio::time::sleep(STEADY)).await?;
    report.part("steady");
    gate.open();
    let silences = crew.end().await?;
    let proxy = &env.aws.proxy;
    let quiet = async || proxy.each(|call| call.at).last().is_none_or(|at| at.elapsed() > SETTLE);
    until("the last call", PATIENCE, quiet).await?;
    report.part("end");

    report.read(proxy);
    println!(
        "{} builds of {} tasks that a stub answers for, {} builds of {} in real containers, all at once, all succeeded",
        STUBBED.0, STUBBED.1, REAL.0, REAL.1
    );
    println!("calls of the server to AWS, from the proxy's record:");
    print!("{}", report.table(TASKS));
    let (count, span, rate) = report.rate("ecs:DescribeTasks", "steady");
    println!(
        "steady state, {TASKS} tasks with connected agents: {count} DescribeTasks in {span:.0?}, {rate:.3} a second   bar: <= 0.1"
    );
    for (tasks, calls) in report.sizes("ecs:DescribeTasks", "steady") {
        println!("  {calls} of them about {tasks} tasks");
    }
    println!("agents that were unavailable: {silences}");
    println!(
        "longest answer: {:.0?} of the stub, {:.0?} of the emulator",
        report.longest(Outcome::Stubbed),
        report.longest(Outcome::Forwarded)
    );
    let peak = env.server.memory("VmHWM")?;
    let each = (peak - idle) / u64::try_from(TASKS)?;
    println!("the server's memory: {idle} KiB idle, {peak} KiB at its peak: {each} KiB a task");
    Ok(())
}

/// The config of a build of `tasks` tasks on ECS that push nothing.
fn config(size: &str, tasks: usize) -> String {
    let entries = "- arch: amd64\n".repeat(tasks);
    format!("global:\n  platform: ecs\n{size}  kaniko: {{ no-push: true }}\nbake:\n{entries}")
}

/// The builds and agents that run during the measurement.
struct Crew<'a> {
    env: &'a EcsEnv,
    builds: JoinSet<Result<Ended>>,
    players: JoinSet<Result<()>>,
}

impl Crew<'_> {
    fn bake(&mut self, project: &Project) {
        let client = self.env.client(project);
        self.builds.spawn(async move { client.run(&[]).await });
    }

    /// Waits for `wait` while all builds must keep running.
    async fn meanwhile(&mut self, wait: impl Future<Output = ()>) -> Result<()> {
        tokio::select! {
            waited = tokio::time::timeout(PATIENCE, wait) => waited.context("not all tasks have begun in time"),
            Some(ended) = self.builds.join_next() => {
                bail!("a build has ended before its time: {}", self.env.details(&ended??))
            }
            Some(ended) = self.players.join_next() => ended?,
        }
    }

    /// Waits until every build has succeeded. Returns how often an agent was unavailable, in which case AWS is asked.
    async fn end(&mut self) -> Result<usize> {
        let mut silences = 0;
        while let Some(ended) = self.builds.join_next().await {
            let ended = ended??;
            ensure!(ended.code == Some(0), "{}", self.env.details(&ended));
            silences += ended.out.matches("no contact with the agent for").count();
        }
        Ok(silences)
    }
}

/// Plays the agents of all launches, until one fails.
async fn play(mut launches: UnboundedReceiver<Launch>, url: String, gate: Gate) -> Result<()> {
    let mut agents: JoinSet<Result<()>> = JoinSet::new();
    loop {
        tokio::select! {
            Some(launch) = launches.recv() => {
                let (url, gate) = (url.clone(), gate.clone());
                agents.spawn(async move {
                    launch.runs().await;
                    let var = |name: &str| launch.env.get(name).with_context(|| format!("a launch without {name}"));
                    let agent = TestAgent::bind(&url, var(launch_env::RUN)?.parse()?, var(launch_env::TOKEN)?).await?;
                    agent.live(PAUSE, gate.pass()).await?;
                    launch.exits(0);
                    Ok(())
                });
            }
            Some(ended) = agents.join_next() => ended??,
        }
    }
}
