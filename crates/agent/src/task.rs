//! One run from the first word to the last.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bakery_core::image::Digest;
use bakery_core::secret::{Secret, name_suggests_secret};
use bakery_core::vars::Vars;
use bakery_core::wire::log::Level;
use bakery_core::wire::run::{ContextSource, Stage, TaskOrder, TaskReport};
use bakery_link::{LinkError, RunApi};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::ends::{Cause, Ends};
use crate::failure::{Failure, Stop};
use crate::layout::Layout;
use crate::log::Log;
use crate::mask::{Masker, Secrets, TooMuch};
use crate::prepare::{self, fetch, login};
use crate::process::Processes;
use crate::script::{self, Script};
use crate::shipper::spool::Spool;
use crate::shipper::{NotShipped, Shipper, Told};
use crate::spawn::spawn;
use crate::stages::Stages;
use crate::start::{self, BadLaunch, Launch};
use crate::tree::{Scope, Tree};
use crate::{bake, moved, push, report};

/// What the log leaves of the time for the report, or a quarter of it: where its lines cannot be delivered the outcome
/// still can, and the server gives the run no more time than that.
const FOR_THE_REPORT: Duration = Duration::from_secs(30);
/// Orphans that come at once are buried at once.
const BURIAL: Duration = Duration::from_millis(100);

/// The agent could not do its work. A build that fails is none of these.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The launch is incomplete.
    #[error(transparent)]
    Launch(#[from] BadLaunch),
    /// The machine refuses something that the agent cannot do without.
    #[error("{0}")]
    Machine(#[from] io::Error),
    /// There is no order.
    #[error("no order: {0}")]
    NoOrder(LinkError),
    /// The order is for somebody else.
    #[error("the server gave the order of {0} to this run")]
    WrongOrder(bakery_core::names::RunName),
    /// The platform took the container away before there was an order.
    #[error("ended by SIGTERM before the order was there")]
    Terminated,
    /// The server does not take this run's words.
    #[error("{0}")]
    Dismissed(#[from] NotShipped),
    /// The report was not delivered.
    #[error("the report was not delivered: {0}")]
    NoReport(LinkError),
}

/// Does everything that one agent does. `Ok` once the report is delivered, whatever it says.
///
/// With [`Scope::All`] the process must be the agent's alone ([`start::protect`] was called): SIGTERM ends the run, and orphans are
/// buried.
pub async fn run(layout: Layout, vars: &dyn Vars) -> Result<TaskReport, AgentError> {
    let launch = Launch::read(vars)?;
    let session = start::session()?;
    let runs = RunApi::new(&launch.url, launch.run, launch.token.clone(), session.clone())
        .map_err(AgentError::NoOrder)?;
    let (tree, ends) = (Arc::new(Tree::new(layout.scope)), Ends::default());
    let mut helpers = Helpers::default();
    if layout.scope == Scope::All {
        helpers.signals(&ends, &tree)?;
    }
    tracing::info!(run = %launch.run, url = runs.url(), "asking for the order");
    let order = tokio::select! {
        order = prepare::bind(&runs) => order.map_err(AgentError::NoOrder)?,
        _ = ends.wait() => return Err(AgentError::Terminated),
    };
    let bound = Instant::now();
    if order.run != launch.run {
        return Err(AgentError::WrongOrder(order.run));
    }
    tracing::info!(arch = %order.arch, "bound");

    let root = layout.root.clone();
    let moved = order.kaniko.dir.as_deref().map(Path::new).filter(|dir| *dir != root);
    let layout = match moved.map_or_else(|| Ok(layout.clone()), |dir| moved::bring(&layout, dir)) {
        Ok(layout) => layout,
        Err(failure) => return hopeless(&runs, &order, failure).await,
    };
    let (spool, masker) = match ground(&layout, &order, &launch, &session) {
        Ok(ground) => ground,
        Err(failure) => return hopeless(&runs, &order, failure).await,
    };
    let log = Log::new(Arc::clone(&spool), Arc::clone(&masker));
    let shipper = Shipper::start(runs.clone(), order.run, Arc::clone(&spool));
    helpers.listen(&ends, &shipper, Duration::from_secs(order.deadline_seconds));
    let task = Task {
        stages: Arc::new(Stages::new(bound, shipper.stage().clone())),
        processes: Processes::new(Arc::clone(&tree), log.clone(), ends.clone()),
        env: start::child_env(&layout, &launch.inherited, &order.env),
        left: (layout.root != root).then_some(root),
        layout,
        order,
        runs: runs.clone(),
        log,
        ends,
        tree,
    };
    // The longest part is kept apart: it would make every future that holds this one as large.
    let outcome = Box::pin(task.work()).await;
    task.processes.end().await;
    let stage = task.stages.current();
    task.stages.enter(Stage::Report);
    task.farewell(&outcome, stage, bound.elapsed());
    drop(helpers);

    let within = Duration::from_secs(task.order.result_seconds);
    let until = Instant::now() + within;
    let delivered = shipper.finish(within.saturating_sub(FOR_THE_REPORT.min(within / 4))).await;
    if let Err(error @ NotShipped::Dismissed(_)) = delivered {
        return Err(error.into());
    }
    let report = TaskReport {
        result: report::result(&outcome, stage, &masker),
        stage,
        lines: spool.lines(),
        cut: delivered.is_err(),
        millis: task.stages.millis(),
    };
    if let Err(error) = delivered {
        tracing::error!(%error, "the log is not whole on the server; reporting all the same");
    }
    let ack = report::deliver(&runs, &report, until).await.map_err(AgentError::NoReport)?;
    tracing::info!(accepted = ack.accepted, "reported");
    Ok(report)
}

/// What is needed before the first line can be written.
fn ground(
    layout: &Layout,
    order: &TaskOrder,
    launch: &Launch,
    session: &Secret,
) -> Result<(Arc<Spool>, Arc<Masker>), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(&layout.home).map_err(|error| Failure::disk(&layout.home, &error))?;
    let masker = Masker::new(&secrets(order, launch, session))
        .map_err(|error: TooMuch| Failure::new(bakery_core::reason::Reason::Internal, error.to_string()))?;
    let path = layout.spool();
    let spool = Spool::create(&path).map_err(|error| Failure::disk(&path, &error))?;
    Ok((Arc::new(spool), Arc::new(masker)))
}

/// Everything that this run knows and that no log may show.
fn secrets(order: &TaskOrder, launch: &Launch, session: &Secret) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add(session.expose());
    secrets.add(launch.token.expose());
    for login in order.pull_credentials.iter().chain(&order.push_credentials) {
        secrets.add_login(&login.username, login.password.expose());
    }
    let env = order.env.iter().map(|(name, value)| (name, value.expose()));
    let args = order.kaniko.build_args.iter().map(|(name, value)| (name, value.as_str()));
    let ours = launch.inherited.iter().map(|(name, value)| (name, value.as_str()));
    for (name, value) in env.chain(args).chain(ours) {
        // `.._TOKEN_FILE` names a file, and the file's name is no secret.
        if name_suggests_secret(name) && !name.to_ascii_uppercase().ends_with("_FILE") {
            secrets.add(value);
        }
        secrets.add_userinfo_of(value);
    }
    if let ContextSource::Url { url } = &order.source {
        secrets.add(url.expose());
    }
    secrets
}

/// Reports what went wrong before there was a log.
async fn hopeless(runs: &RunApi, order: &TaskOrder, failure: Failure) -> Result<TaskReport, AgentError> {
    tracing::error!(error = failure.text, "cannot begin");
    let outcome = Err(Stop::Failed(failure));
    let result = report::result(&outcome, Stage::Prepare, &Masker::default());
    let report = TaskReport { result, stage: Stage::Prepare, lines: 0, cut: false, millis: BTreeMap::new() };
    let until = Instant::now() + Duration::from_secs(order.result_seconds);
    report::deliver(runs, &report, until).await.map_err(AgentError::NoReport)?;
    Ok(report)
}

struct Task {
    order: TaskOrder,
    layout: Layout,
    /// The folder that everything was moved from.
    left: Option<PathBuf>,
    env: BTreeMap<String, String>,
    runs: RunApi,
    log: Log,
    ends: Ends,
    stages: Arc<Stages>,
    processes: Processes,
    tree: Arc<Tree>,
}

impl Task {
    async fn work(&self) -> Result<Digest, Stop> {
        let Self { order, layout, env, log, stages, processes, .. } = self;
        let version = env!("BAKERY_VERSION");
        log.say(Level::Info, &format!("bakery-agent {version}: {} on linux/{}", order.run, order.arch));
        if layout.scope == Scope::All && !start::is_closed() {
            let text =
                "this agent runs under an emulator, which does not close its memory: a RUN step can read it";
            log.say(Level::Warn, text);
        }
        push::check(order)?;
        // The executor says what it is while the context arrives.
        let prepared = async { tokio::join!(self.prepare(), bake::facts(layout, env, &self.tree)) };
        let facts = tokio::select! {
            (prepared, facts) = prepared => prepared.map(|()| facts)?,
            cause = self.ends.wait() => return Err(Stop::Ended(cause)),
        };
        if let Some(text) = &order.pre_script {
            stages.enter(Stage::PreScript);
            script::run(Script::Pre, text, layout, env, processes).await?;
        }
        if let Some(old) = &self.left {
            log.say(
                Level::Info,
                &format!("Kaniko has moved from {} to {}", old.display(), layout.root.display()),
            );
            for path in moved::leave(old) {
                let text = format!(
                    "{} is left, and not used: everything lies in {}",
                    path.display(),
                    layout.root.display()
                );
                log.say(Level::Warn, &text);
            }
        }
        stages.enter(Stage::Bake);
        bake::run(order, layout, env, &facts, stages, processes, log).await?;
        let digest = push::proof(order, layout)?;
        if let Some(text) = &order.post_script {
            stages.enter(Stage::PostScript);
            script::run(Script::Post, text, layout, env, processes).await?;
        }
        Ok(digest)
    }

    async fn prepare(&self) -> Result<(), Failure> {
        let (order, began) = (&self.order, Instant::now());
        let fetched = fetch::context(order, &self.runs, &self.layout.source()).await?;
        let unpacked = &fetched.unpacked;
        let mut text = format!(
            "context {}: {} bytes packed, {} entries of {} bytes, in {:.1} s",
            &unpacked.id.hex()[..12],
            unpacked.len,
            unpacked.entries,
            unpacked.bytes,
            began.elapsed().as_secs_f64(),
        );
        if fetched.removed > 0 {
            text = format!("{text}; {} ignored by this task's own rules", fetched.removed);
        }
        self.log.say(Level::Info, &text);
        // One build is one trust domain as long as Kaniko pushes: it needs both kinds of logins while it builds.
        let logins = order.pull_credentials.iter().chain(&order.push_credentials);
        login::write(&self.layout.docker, logins).map_err(|error| Failure::disk(&self.layout.docker, &error))
    }

    /// The agent's last lines: how it ended, and where the time went.
    fn farewell(&self, outcome: &Result<Digest, Stop>, stage: Stage, took: Duration) {
        match outcome {
            Ok(digest) => {
                let what = self.order.push_to.as_ref().filter(|_| !self.order.kaniko.no_push);
                let what = what.map_or_else(|| "built".to_owned(), |image| format!("pushed {image}"));
                self.log.say(Level::Info, &format!("{what} {digest}"));
            }
            Err(Stop::Ended(cause)) => self.log.say(Level::Error, &report::ended(cause, stage).sentence()),
            Err(Stop::Failed(failure)) => self.log.say(Level::Error, &failure.sentence()),
        }
        let spent = self.stages.millis();
        let spent: Vec<_> = spent
            .iter()
            .map(|(stage, millis)| format!("{stage} {:.1} s", Duration::from_millis(*millis).as_secs_f64()))
            .collect();
        self.log.say(Level::Info, &format!("{:.1} s: {}", took.as_secs_f64(), spent.join(", ")));
    }
}

/// What runs beside the work, and ends with it.
#[derive(Default)]
struct Helpers(Vec<JoinHandle<()>>);

impl Helpers {
    fn signals(&mut self, ends: &Ends, tree: &Arc<Tree>) -> io::Result<()> {
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let (mut asked, ends) = (signal(kind)?, ends.clone());
            self.0.push(spawn("signals", async move {
                while asked.recv().await.is_some() {
                    ends.end(Cause::Terminated);
                }
            }));
        }
        let (mut deaths, tree) = (signal(SignalKind::child())?, Arc::clone(tree));
        // Until the very end of the process: whoever dies last is buried too.
        spawn("orphans", async move {
            while deaths.recv().await.is_some() {
                tree.bury_orphans();
                sleep(BURIAL).await;
                tree.bury_orphans();
            }
        });
        Ok(())
    }

    fn listen(&mut self, ends: &Ends, shipper: &Shipper, limit: Duration) {
        let (mut told, ended) = (shipper.told(), ends.clone());
        self.0.push(spawn("told", async move {
            while told.changed().await.is_ok() {
                match told.borrow_and_update().clone() {
                    Told::GoOn => {}
                    Told::Cancel => ended.end(Cause::Cancelled),
                    Told::Dismissed(why) => ended.end(Cause::Dismissed(why)),
                }
            }
        }));
        let ends = ends.clone();
        self.0.push(spawn("deadline", async move {
            sleep(limit).await;
            ends.end(Cause::Deadline(limit));
        }));
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        for helper in &self.0 {
            helper.abort();
        }
    }
}
