//! One run of the agent, from the order to the report.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bakery_core::image::Digest;
use bakery_core::message::{Hint, Message};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use bakery_core::vars::Vars;
use bakery_core::wire::log::Level;
use bakery_core::wire::run::{Stage, TaskOrder, TaskReport};
use bakery_link::{LinkError, RunApi};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::environment;
use crate::failure::{Failure, Stop};
use crate::layout::Layout;
use crate::log::Log;
use crate::mask::Masker;
use crate::prepare::{self, fetch, login};
use crate::process::Processes;
use crate::process_tree::{Scope, Tree};
use crate::script::{self, Script};
use crate::secrets;
use crate::shipper::spool::Spool;
use crate::shipper::{ServerSignal, ShipError, Shipper};
use crate::signals;
use crate::spawn::spawn;
use crate::stages::Stages;
use crate::start::{self, Launch, LaunchError};
use crate::termination::{Termination, TerminationCause};
use crate::tools::Tools;
use crate::{bake, push, relocate, report};

/// Time that is reserved for the report, at most a quarter of the time for log and report together: the result can be
/// delivered even if the log cannot, and the server waits no longer than that.
const REPORT_RESERVE: Duration = Duration::from_secs(30);
/// Pause after which orphans are reaped once more: several exits may raise only one SIGCHLD.
const REAP_INTERVAL: Duration = Duration::from_millis(100);

/// Why the agent failed. A build that fails is not an error of the agent.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The launch variables are missing or invalid.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A system call failed that the agent needs.
    #[error("{0}")]
    System(#[from] io::Error),
    /// The server returned no order.
    #[error("cannot get the order: {0}")]
    NoOrder(LinkError),
    /// The server returned the order of another run, which is given here.
    #[error("the server returned the order of another run: {0}")]
    WrongOrder(bakery_core::names::RunName),
    /// The platform stopped the container before the order arrived.
    #[error("terminated by SIGTERM before the order arrived")]
    Terminated,
    /// The server no longer accepts this run's log.
    #[error("{0}")]
    Rejected(#[from] ShipError),
    /// The report could not be delivered.
    #[error("the report cannot be delivered: {0}")]
    NoReport(LinkError),
}

impl Hint for AgentError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Launch(error) => error.hint(),
            Self::NoOrder(error) | Self::NoReport(error) => error.hint(),
            Self::System(_) | Self::WrongOrder(_) | Self::Terminated | Self::Rejected(_) => None,
        }
    }
}

/// Runs one task. `Ok` once the report is delivered, whatever its result.
///
/// With [`Scope::All`] the process must be the agent's alone, and [`start::protect`] must have been called: SIGTERM
/// terminates the run, and orphans are reaped.
pub async fn run(layout: Layout, vars: &dyn Vars) -> Result<TaskReport, AgentError> {
    let launch = Launch::read(vars)?;
    let session = start::new_session()?;
    let runs = RunApi::new(&launch.url, launch.run, launch.token.clone(), session.clone())
        .map_err(AgentError::NoOrder)?;
    let (tree, termination) = (Arc::new(Tree::new(layout.scope)), Termination::default());
    let mut background = BackgroundTasks::default();
    let mut ignored_signals = None;
    if layout.scope == Scope::All {
        ignored_signals = Some(signals::watch(termination.clone())?);
        reap_orphans(&tree)?;
    }
    if let Some(error) = runs.resolver_error() {
        tracing::warn!(error, "a build can change how the server's name is resolved");
    }
    tracing::info!(run = %launch.run, url = runs.url(), "requesting the order");
    let order = tokio::select! {
        order = prepare::bind(&runs) => order.map_err(AgentError::NoOrder)?,
        _ = termination.wait() => return Err(AgentError::Terminated),
    };
    let bound = Instant::now();
    if order.run != launch.run {
        return Err(AgentError::WrongOrder(order.run));
    }
    tracing::info!(arch = %order.arch, "bound");

    let root = layout.root.clone();
    let target = order.kaniko.dir.as_deref().map(Path::new).filter(|dir| *dir != root);
    let layout = match target.map_or_else(|| Ok(layout.clone()), |dir| relocate::copy(&layout, dir)) {
        Ok(layout) => layout,
        Err(failure) => return report_startup_failure(&runs, &order, failure).await,
    };
    let (spool, masker) = match open_log(&layout, &order, &launch, &session) {
        Ok(opened) => opened,
        Err(failure) => return report_startup_failure(&runs, &order, failure).await,
    };
    let log = Log::new(Arc::clone(&spool), Arc::clone(&masker));
    let shipper = Shipper::start(runs.clone(), order.run, Arc::clone(&spool));
    if let Some(ignored) = ignored_signals {
        background.log_ignored_signals(ignored, &log);
    }
    background.watch_server(&termination, &shipper, Duration::from_secs(order.deadline_seconds));
    let task = Task {
        stages: Arc::new(Stages::new(bound, shipper.stage().clone())),
        processes: Processes::new(Arc::clone(&tree), log.clone(), termination.clone()),
        env: environment::child_env(&layout, &launch.inherited, &order.env),
        old_root: (layout.root != root).then_some(root),
        layout,
        order,
        runs: runs.clone(),
        log,
        termination,
        tree,
    };
    // Boxed, because this is by far the largest part of the future.
    let outcome = Box::pin(task.work()).await;
    task.processes.terminate().await;
    let stage = task.stages.current();
    task.stages.enter(Stage::Report);
    task.log_summary(&outcome, stage, bound.elapsed());
    drop(background);

    let within = Duration::from_secs(task.order.result_seconds);
    let deadline = Instant::now() + within;
    let delivered = shipper.finish(within.saturating_sub(REPORT_RESERVE.min(within / 4))).await;
    if let Err(error @ ShipError::Rejected(_)) = delivered {
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
        tracing::error!(%error, "the log is incomplete on the server; reporting anyway");
    }
    let ack = report::deliver(&runs, &report, deadline).await.map_err(AgentError::NoReport)?;
    tracing::info!(accepted = ack.accepted, "report delivered");
    Ok(report)
}

/// Creates the spool and the masker: the log needs both.
fn open_log(
    layout: &Layout,
    order: &TaskOrder,
    launch: &Launch,
    session: &Secret,
) -> Result<(Arc<Spool>, Arc<Masker>), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(&layout.home).map_err(|error| Failure::io(&layout.home, &error))?;
    let masker = Masker::new(secrets::of_run(order, launch, session))
        .map_err(|error| Failure::new(Reason::Internal, error.to_string()))?;
    let path = layout.spool();
    let spool = Spool::create(&path).map_err(|error| Failure::io(&path, &error))?;
    Ok((Arc::new(spool), Arc::new(masker)))
}

/// Reports a failure that happened before the log was opened.
async fn report_startup_failure(
    runs: &RunApi,
    order: &TaskOrder,
    failure: Failure,
) -> Result<TaskReport, AgentError> {
    tracing::error!(error = failure.message.text, hint = failure.message.hint, "the run cannot start");
    let outcome = Err(Stop::Failed(failure));
    let result = report::result(&outcome, Stage::Prepare, &Masker::default());
    let report = TaskReport { result, stage: Stage::Prepare, lines: 0, cut: false, millis: BTreeMap::new() };
    let deadline = Instant::now() + Duration::from_secs(order.result_seconds);
    report::deliver(runs, &report, deadline).await.map_err(AgentError::NoReport)?;
    Ok(report)
}

struct Task {
    order: TaskOrder,
    layout: Layout,
    /// The folder of the agent image, if everything was relocated to another one.
    old_root: Option<PathBuf>,
    env: BTreeMap<String, String>,
    runs: RunApi,
    log: Log,
    termination: Termination,
    stages: Arc<Stages>,
    processes: Processes,
    tree: Arc<Tree>,
}

impl Task {
    async fn work(&self) -> Result<Digest, Stop> {
        let Self { order, layout, env, log, stages, processes, .. } = self;
        let version = env!("BAKERY_VERSION");
        log.message(Level::Info, format!("bakery-agent {version}: {} on linux/{}", order.run, order.arch));
        if layout.scope == Scope::All && !start::is_protected() {
            let text =
                "the agent runs under an emulator, which does not protect its memory: a RUN step can read it";
            log.message(Level::Warn, text);
        }
        push::check(order)?;
        // The executor is queried while the context is fetched.
        let prepared = async { tokio::join!(self.prepare(), bake::executor_facts(layout, env, &self.tree)) };
        let facts = tokio::select! {
            (prepared, facts) = prepared => prepared.map(|()| facts)?,
            cause = self.termination.wait() => return Err(Stop::Terminated(cause)),
        };
        if let Some(text) = &order.pre_script {
            stages.enter(Stage::PreScript);
            script::run(Script::Pre, text, layout, env, processes).await?;
        }
        if let Some(old) = &self.old_root {
            log.message(
                Level::Info,
                format!("Kaniko was relocated from {} to {}", old.display(), layout.root.display()),
            );
            for path in relocate::remove_old(old) {
                let text = format!(
                    "{} could not be removed and is not used: all files are in {}",
                    path.display(),
                    layout.root.display()
                );
                log.message(Level::Warn, text);
            }
        }
        stages.enter(Stage::Bake);
        // Only a post-script runs them again: they are some megabytes to read.
        let tools = order.post_script.as_ref().map(|_| Tools::read(layout)).transpose();
        let tools = tools.map_err(|error| Failure::io(&layout.root, &error))?;
        bake::run(order, layout, env, &facts, stages, processes, log).await?;
        self.end_build().await?;
        let digest = push::digest(order, layout)?;
        if let (Some(text), Some(tools)) = (&order.post_script, tools) {
            stages.enter(Stage::PostScript);
            if let Some(path) = tools.changed() {
                let text = format!("the post-script was not run: the build changed `{}`", path.display());
                let hint = "Kaniko's folder belongs to the agent image: write to another one in RUN steps";
                return Err(Failure::new(Reason::PostScriptFailed, text).with_hint(hint).into());
            }
            script::run(Script::Post, text, layout, env, processes).await?;
        }
        Ok(digest)
    }

    /// Ends whatever the build has left running, before anything is read that it can write.
    async fn end_build(&self) -> Result<(), Failure> {
        match self.processes.terminate().await {
            0 => Ok(()),
            remaining => {
                let text = format!(
                    "the result cannot be trusted: {remaining} processes of the build cannot be ended"
                );
                Err(Failure::new(Reason::NoDigest, text))
            }
        }
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
        self.log.message(Level::Info, text);
        // Kaniko builds and pushes in one process, so it needs both kinds of logins from the start.
        let logins = order.pull_credentials.iter().chain(&order.push_credentials);
        login::write(&self.layout.docker, logins).map_err(|error| Failure::io(&self.layout.docker, &error))
    }

    /// Logs the outcome, and the time spent in each stage.
    fn log_summary(&self, outcome: &Result<Digest, Stop>, stage: Stage, took: Duration) {
        match outcome {
            Ok(digest) => {
                let what = self.order.push_to.as_ref().filter(|_| !self.order.kaniko.no_push);
                let what = what.map_or_else(|| "built".to_owned(), |image| format!("pushed {image}"));
                self.log.message(Level::Info, format!("{what} {digest}"));
            }
            Err(Stop::Terminated(cause)) => {
                self.log.message(Level::Error, report::termination(cause, stage).message);
            }
            Err(Stop::Failed(failure)) => self.log.message(Level::Error, failure.message.clone()),
        }
        let spent = self.stages.millis();
        let spent: Vec<_> = spent
            .iter()
            .map(|(stage, millis)| format!("{stage} {:.1} s", Duration::from_millis(*millis).as_secs_f64()))
            .collect();
        self.log.message(Level::Info, format!("{:.1} s: {}", took.as_secs_f64(), spent.join(", ")));
    }
}

/// Reaps orphans until the agent exits, also while it reports.
fn reap_orphans(tree: &Arc<Tree>) -> io::Result<()> {
    let (mut exits, tree) = (signal(SignalKind::child())?, Arc::clone(tree));
    spawn("orphans", async move {
        while exits.recv().await.is_some() {
            tree.reap_orphans();
            sleep(REAP_INTERVAL).await;
            tree.reap_orphans();
        }
    });
    Ok(())
}

/// Tasks that run in the background, and are aborted at the end of the run.
#[derive(Default)]
struct BackgroundTasks(Vec<JoinHandle<()>>);

impl BackgroundTasks {
    /// Logs the first signal that was ignored.
    fn log_ignored_signals(&mut self, mut ignored: watch::Receiver<Option<Message>>, log: &Log) {
        let log = log.clone();
        self.0.push(spawn("ignored-signals", async move {
            if let Ok(message) = ignored.wait_for(Option::is_some).await {
                log.message(Level::Warn, message.clone().unwrap_or_default());
            }
        }));
    }

    fn watch_server(&mut self, termination: &Termination, shipper: &Shipper, limit: Duration) {
        let (mut server, terminated) = (shipper.signal(), termination.clone());
        self.0.push(spawn("server-signal", async move {
            while server.changed().await.is_ok() {
                match server.borrow_and_update().clone() {
                    ServerSignal::Continue => {}
                    ServerSignal::Cancel => terminated.trigger(TerminationCause::Cancelled),
                    ServerSignal::Rejected(error) => terminated.trigger(TerminationCause::Rejected(error)),
                }
            }
        }));
        let termination = termination.clone();
        self.0.push(spawn("deadline", async move {
            sleep(limit).await;
            termination.trigger(TerminationCause::Deadline(limit));
        }));
    }
}

impl Drop for BackgroundTasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
