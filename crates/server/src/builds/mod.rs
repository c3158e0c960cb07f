//! Builds: accepts builds, drives them to their end, keeps the ledger.
//!
//! One owner per build decides (a pure step), commits to the ledger, appends to the log and only then acts; so a server
//! that is killed at any point takes up at its next start what it had committed, and nothing else has happened.

use std::collections::{BTreeMap, HashMap};
use std::future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bakery_core::names::{Arch, BuildId, Platform, RunName};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use bakery_core::wire::build::{BuildList, BuildView, Info};
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::run::{OrderRequest, ReportAck, Stage, TaskOrder, TaskReport, TaskResult};
use bakery_core::wire::{self};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::logs::Logs;
use crate::platform::Launcher;
use crate::spawn::Tasks;

mod actor;
mod context_store;
mod error;
mod gc;
pub mod keys;
pub mod ledger;
mod metrics;
mod panics;
mod pending_stops;
mod publish;
mod run_slots;
mod sessions;
mod settings;
mod state;
mod submit;
mod supervisor;
#[cfg(test)]
mod tests;
mod watch;

use actor::{Handle, Message, complain};
pub use context_store::{ContextProblem, ContextStore};
pub use error::{BuildError, InternalError, NotReady, RunError, SubmitError};
use ledger::{Ledger, LedgerError};
use metrics::Counts;
use pending_stops::PendingStops;
use run_slots::RunSlots;
pub use sessions::RunSession;
use sessions::{Bound, Sessions};
pub use settings::{BuildsParts, BuildsSettings, PlatformSettings, Publisher, Retention, Timing};

/// How many builds a list holds.
const LISTED: u32 = 100;
/// Protocol versions that this server speaks.
const PROTOCOLS: [u32; 1] = [wire::PROTOCOL];

/// All builds of this server; cheap to clone.
#[derive(Clone)]
pub struct Builds {
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Ledger,
    logs: Logs,
    contexts: Arc<dyn ContextStore>,
    registry: Arc<dyn Publisher>,
    launchers: BTreeMap<Platform, Arc<dyn Launcher>>,
    settings: BuildsSettings,
    clock: Clock,
    tasks: Tasks,
    /// Ends owners and loops, but no container: the next start adopts those.
    stopping: CancellationToken,
    /// Owners, so that a drain can wait for their last commits.
    owners: TaskTracker,
    accepting: AtomicBool,
    run_slots: RunSlots,
    counts: Counts,
    stops: PendingStops,
    sessions: Sessions,
    open: Mutex<HashMap<BuildId, Handle>>,
    /// Held while a build gets its owner: it must never have two.
    adopting: tokio::sync::Mutex<()>,
}

impl Builds {
    /// Takes up everything that the ledger holds open, and begins to watch the platforms.
    pub async fn start(parts: BuildsParts) -> Result<Self, InternalError> {
        let places = parts.settings.platforms.iter().map(|(platform, queue)| (*platform, queue.max_runs));
        let (stops, words) = PendingStops::new();
        let shared = Arc::new(Shared {
            run_slots: RunSlots::new(places),
            counts: Counts::new(parts.clock.now(), parts.launchers.keys().copied()),
            ledger: parts.ledger,
            logs: parts.logs,
            contexts: parts.contexts,
            registry: parts.registry,
            launchers: parts.launchers,
            settings: parts.settings,
            clock: parts.clock,
            stopping: parts.tasks.stopping().child_token(),
            tasks: parts.tasks,
            owners: TaskTracker::new(),
            accepting: AtomicBool::new(false),
            stops,
            sessions: Sessions::default(),
            open: Mutex::default(),
            adopting: tokio::sync::Mutex::default(),
        });
        for build in shared.ledger.unfinished_logs().await? {
            if let Err(error) = shared.finish_log(build).await {
                complain(
                    build,
                    &error,
                    "the log of an ended build cannot be finished; the next start tries again",
                );
            }
        }
        for (run, platform) in shared.ledger.pending_stops().await? {
            shared.run_slots.hold(platform, run);
            shared.stops.stop(run, platform, true);
        }
        for build in shared.ledger.open_builds().await? {
            if let Err(error) = shared.adopt(build).await {
                complain(
                    build,
                    &error,
                    "an open build cannot be taken up; cancelling it or the next start tries again",
                );
            }
        }
        // One bad build is no reason not to serve the others, a bad ledger is.
        shared.ledger.ping().await?;
        let tasks = &shared.tasks;
        drop(tasks.spawn("stops", pending_stops::run(Arc::clone(&shared), words)));
        for (&platform, launcher) in &shared.launchers {
            let watch = watch::run(Arc::clone(&shared), platform, Arc::clone(launcher));
            drop(tasks.spawn("platform watch", watch));
        }
        drop(tasks.spawn("gc", gc::run(Arc::clone(&shared))));
        shared.accepting.store(true, Ordering::Release);
        Ok(Self { shared })
    }

    /// The owner's newest builds, newest first.
    pub async fn list(&self, owner: &str) -> Result<BuildList, BuildError> {
        let mut builds = Vec::new();
        for build in self.shared.ledger.newest(owner, LISTED).await? {
            // One that retention removes in this moment is left out.
            builds.extend(self.shared.view(build).await?);
        }
        Ok(BuildList { builds })
    }

    /// One build of the owner's.
    pub async fn view(&self, owner: &str, build: BuildId) -> Result<BuildView, BuildError> {
        self.shared.check_owner(owner, build).await?;
        self.shared.view(build).await?.ok_or(BuildError::NoSuchBuild)
    }

    /// Cancels one build of the owner's and returns what became of it. Cancelling an ended build changes nothing.
    pub async fn cancel(&self, owner: &str, build: BuildId) -> Result<BuildView, BuildError> {
        self.shared.check_owner(owner, build).await?;
        let told = || {
            let (reply, done) = oneshot::channel();
            let text = "cancelled by its owner".to_owned();
            (self.shared.tell(build, Message::Cancel { text, reply }), done)
        };
        let (mut heard, mut done) = told();
        let mut cancelled = heard && done.await.is_ok();
        // It has ended by itself, or it has lost its owner: then the next one is told.
        if !cancelled && self.shared.ensure_actor(build).await.map_err(BuildError::Internal)? {
            (heard, done) = told();
            cancelled = heard && done.await.is_ok();
        }
        let view = self.shared.view(build).await?.ok_or(BuildError::NoSuchBuild)?;
        if cancelled || view.ended.is_some() {
            Ok(view)
        } else {
            Err(BuildError::Internal(InternalError::NoActor))
        }
    }

    /// Trades a run's launch token for its order, and binds the run to the session.
    pub async fn bind(
        &self,
        run: RunName,
        token: &Secret,
        request: OrderRequest,
    ) -> Result<TaskOrder, RunError> {
        self.launched(run, token)?;
        let (reply, answer) = oneshot::channel();
        let build = run.task.build;
        if self.shared.tell(build, Message::Bind { run, request, reply })
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        Err(self.shared.unheard(build).await.map_or(RunError::Over, RunError::Internal))
    }

    /// Whether `token` is the one that this run was launched with.
    pub fn launched(&self, run: RunName, token: &Secret) -> Result<(), RunError> {
        if self.shared.ledger.key().is_launch_token(run, token) {
            Ok(())
        } else {
            Err(RunError::Unauthorized)
        }
    }

    /// The session of a bound run, where `secret` is its own.
    pub async fn session(&self, run: RunName, secret: &Secret) -> Result<RunSession, RunError> {
        if let Some((bound, owner)) = self.shared.sessions.get(run) {
            return bound.session(run, secret, Some(owner)).ok_or(RunError::Unauthorized);
        }
        let (sha256, context) = self.shared.ledger.session(run).await?.ok_or(RunError::Unauthorized)?;
        let bound = Bound::new(sha256, context, Stage::Report, true);
        let over = bound.session(run, secret, None).ok_or(RunError::Unauthorized)?;
        // Only where the build has ended does nobody wait for what the agent says.
        self.shared.unheard(run.task.build).await.map_or(Ok(over), |error| Err(RunError::Internal(error)))
    }

    /// Takes a run's report; every line that it speaks of must have come, unless the agent has given that up, and is on
    /// disk before it counts.
    pub async fn report(
        &self,
        run: RunName,
        secret: &Secret,
        report: TaskReport,
    ) -> Result<ReportAck, RunError> {
        let session = self.session(run, secret).await?;
        session.heard(report.stage);
        let build = run.task.build;
        let mut missing = 0;
        if !session.cancelled() {
            let next = self.shared.logs.next(run).await?;
            missing = report.lines.saturating_add(1).saturating_sub(next);
            if missing > 0 && !report.cut {
                return Err(RunError::LinesMissing { lines: report.lines, next });
            }
            self.shared.logs.sync(build).await?;
            self.shared.learn(&session.context, &report).await;
        }
        let (reply, settled) = oneshot::channel();
        if self.shared.tell(build, Message::Report { run, report, missing, reply })
            && let Ok(accepted) = settled.await
        {
            return Ok(ReportAck { accepted });
        }
        // Nobody waits for the report of an ended build; else the agent asks again.
        let unheard = self.shared.unheard(build).await;
        unheard.map_or(Ok(ReportAck { accepted: false }), |error| Err(RunError::Internal(error)))
    }

    /// Versions, platforms, architectures.
    pub fn info(&self) -> Info {
        let archs = |launcher: &Arc<dyn Launcher>| {
            Arch::ALL.into_iter().filter(|arch| launcher.can_run(*arch).is_ok()).collect()
        };
        let platforms = &self.shared.launchers;
        Info {
            version: env!("BAKERY_VERSION").to_owned(),
            protocols: PROTOCOLS.to_vec(),
            platforms: platforms.iter().map(|(name, launcher)| (name.to_string(), archs(launcher))).collect(),
            bucket: self.shared.settings.bucket.clone(),
        }
    }

    /// Whether builds can be taken and begun now. They are taken also where a platform is unavailable, and wait for it.
    pub async fn ready(&self) -> Result<(), NotReady> {
        if !self.shared.accepting.load(Ordering::Acquire) {
            return Err(NotReady::Stopping);
        }
        self.shared.ledger.ping().await?;
        let mut launchers = self.shared.launchers.iter();
        let unavailable = launchers.find(|(_, launcher)| !launcher.availability().borrow().is_available());
        unavailable.map_or(Ok(()), |(platform, _)| Err(NotReady::Unavailable(*platform)))
    }

    /// Takes no new builds, and ends every owner after what it is committing. Containers of open runs live on: the next
    /// start adopts them, and their agents ship on. Those of settled runs are removed, since there may be no next start.
    pub async fn drain(&self) {
        self.shared.accepting.store(false, Ordering::Release);
        self.shared.stopping.cancel();
        self.shared.owners.close();
        self.shared.owners.wait().await;
        pending_stops::last(&self.shared).await;
    }
}

impl Shared {
    /// What a report tells of the context.
    async fn learn(&self, context: &ContextRef, report: &TaskReport) {
        if matches!(report.result, TaskResult::Failed { reason: Reason::ContextBroken, .. }) {
            self.contexts.broken(context).await;
        } else if report.stage > Stage::Prepare {
            self.contexts.read(context).await;
        }
    }

    /// False where nobody owns the build: it has ended, or never was.
    fn tell(&self, build: BuildId, message: Message) -> bool {
        let handle = self.lock().get(&build).map(|handle| handle.mailbox.clone());
        handle.is_some_and(|mailbox| mailbox.tell(message))
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        for handle in self.lock().values() {
            handle.mailbox.tell(message());
        }
    }

    async fn view(&self, build: BuildId) -> Result<Option<BuildView>, LedgerError> {
        let shown = self.lock().get(&build).map(|handle| Arc::clone(&handle.state.borrow()));
        let ahead = |run| self.run_slots.ahead(run);
        match shown {
            Some(state) => Ok(Some(state.view(ahead))),
            None => Ok(self.ledger.state(build).await?.map(|state| state.view(ahead))),
        }
    }

    /// Somebody else's build is one that there is not.
    async fn check_owner(&self, owner: &str, build: BuildId) -> Result<(), BuildError> {
        let known = self.lock().get(&build).map(|handle| Arc::clone(&handle.owner));
        let known = match known {
            Some(known) => Some(known.to_string()),
            None => self.ledger.owner(build).await?,
        };
        if known.as_deref() == Some(owner) { Ok(()) } else { Err(BuildError::NoSuchBuild) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BuildId, Handle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sleeps until then; for ever without a time.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => future::pending().await,
    }
}

/// Seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
