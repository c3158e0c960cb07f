//! Builds: accepts them, drives each to its end, and keeps the ledger.
//!
//! # From message to effect
//! 1. Every open build has one *actor*. The *supervisor* starts it, and restarts it from the ledger when it panics.
//! 2. Clients, agents, platforms, run slots, pending stops and the actor's own side work send to the actor's *mailbox*:
//!    an [`ActorMessage`](mailbox::ActorMessage) is an event, or a request that waits for an answer.
//! 3. The actor turns each message, and each *deadline* that passes, into a [`BuildEvent`](events::BuildEvent).
//! 4. The *step* is pure: state and event give the next state, the frames of the log, and a list of
//!    [`BuildEffect`](events::BuildEffect)s. Within it, `bakery_core::lifecycle` is the law of a single task: a
//!    `TaskEvent` gives its next state and `TaskEffect`s.
//! 5. State, frames and pending stops are committed to the ledger in one transaction, which is retried until it succeeds.
//! 6. Then the frames are appended to the log, and then `actor/effects.rs` runs the effects.
//!
//! So a server that is killed at any point resumes at its next start what it had committed, and nothing else has
//! happened.
//!
//! # Who may touch what
//! What the parts of this module share are small handles: [`BuildStore`] (ledger and logs), [`Actors`], [`Sessions`],
//! [`RunSlots`], [`PendingStops`], [`Launchers`]. Each part names those that it needs as its fields; there is nothing
//! that holds them all.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bakery_core::names::{Arch, BuildId, Platform, RunName};
use bakery_core::secret::Secret;
use bakery_core::wire;
use bakery_core::wire::build::{BuildList, BuildView, Info, Submitted};
use bakery_core::wire::run::{OrderRequest, ReportAck, TaskOrder, TaskReport};
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::disk::DataDisk;
use crate::platform::Launcher;

mod actor;
mod actors;
mod agents;
mod clients;
mod context_store;
mod error;
mod events;
mod gc;
pub mod keys;
pub mod ledger;
mod mailbox;
mod metrics;
mod panics;
mod pending_stops;
mod publish;
mod resume;
mod run_slots;
mod sessions;
mod settings;
mod state;
mod step;
mod store;
mod submit;
mod supervisor;
#[cfg(test)]
mod tests;
mod timing;
mod watch;

use actor::ActorFactory;
use actors::Actors;
use agents::AgentRequests;
use clients::ClientRequests;
pub use context_store::{ContextProblem, ContextStore};
pub use error::{BuildError, DISK_FULL_HINT, InternalError, NotReady, RunError, SubmitError};
pub use gc::Retention;
use gc::Sweeper;
use ledger::Ledger;
use metrics::{Counts, Gauges};
use pending_stops::{PendingStops, StopLoop, Stopper};
use run_slots::RunSlots;
pub use sessions::RunSession;
use sessions::Sessions;
pub use settings::{BuildsParts, BuildsSettings, PlatformSettings, Publisher};
use store::BuildStore;
use submit::Intake;
pub use submit::Submission;
use supervisor::Supervisor;
pub use timing::Timing;
use watch::PlatformWatch;

/// Protocol versions that this server supports.
const PROTOCOLS: [u32; 1] = [wire::PROTOCOL];

/// One launcher for each configured platform.
type Launchers = Arc<BTreeMap<Platform, Arc<dyn Launcher>>>;

/// All builds of this server; cheap to clone.
#[derive(Clone)]
pub struct Builds {
    services: Arc<BuildServices>,
}

/// What [`Builds`] offers, each service with the parts that it needs.
struct BuildServices {
    intake: Intake,
    clients: ClientRequests,
    agents: AgentRequests,
    status: Status,
    gauges: Gauges,
    shutdown: Shutdown,
    #[cfg(test)]
    sweeper: Arc<Sweeper>,
}

/// What `info` and `ready` tell.
struct Status {
    ledger: Ledger,
    launchers: Launchers,
    disk: DataDisk,
    bucket: Option<String>,
    accepting: Arc<AtomicBool>,
}

/// Ends what [`Builds::start`] has started.
struct Shutdown {
    accepting: Arc<AtomicBool>,
    stopping: CancellationToken,
    actors: TaskTracker,
    stopper: Stopper,
}

impl Builds {
    /// Resumes everything that is open in the ledger, and starts to watch the platforms.
    #[expect(
        clippy::too_many_lines,
        reason = "makes every part once, in the order in which they need each other"
    )]
    pub async fn start(parts: BuildsParts) -> Result<Self, InternalError> {
        let BuildsParts { ledger, logs, contexts, registry, launchers, settings, disk, clock, tasks } = parts;
        let launchers: Launchers = Arc::new(launchers);
        let settings = Arc::new(settings);
        let timing = settings.timing.clone();
        let store = BuildStore { ledger: ledger.clone(), logs };
        let slots = RunSlots::new(settings.platforms.iter().map(|(name, it)| (*name, it.max_runs)));
        let (stops, sessions, actors) = (PendingStops::default(), Sessions::default(), Actors::default());
        let counts = Arc::new(Counts::new(clock.now(), launchers.keys().copied()));
        let accepting = Arc::new(AtomicBool::new(false));
        // Ends actors and loops, but no container: the next start adopts those.
        let stopping = tasks.stopping().child_token();
        let stopper = || Stopper { launchers: Arc::clone(&launchers), ledger: ledger.clone() };

        let factory = ActorFactory {
            store: store.clone(),
            launchers: Arc::clone(&launchers),
            slots: slots.clone(),
            stops: stops.clone(),
            sessions: sessions.clone(),
            contexts: Arc::clone(&contexts),
            publisher: Arc::clone(&registry),
            counts: Arc::clone(&counts),
            settings: Arc::clone(&settings),
            clock: clock.clone(),
            tasks: tasks.clone(),
            stopping: stopping.clone(),
        };
        let running = TaskTracker::new();
        let supervisor = Arc::new(Supervisor {
            factory,
            actors: actors.clone(),
            store: store.clone(),
            sessions: sessions.clone(),
            slots: slots.clone(),
            stops: stops.clone(),
            counts: Arc::clone(&counts),
            timing: timing.clone(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            stopping: stopping.clone(),
            running: running.clone(),
            starting: tokio::sync::Mutex::default(),
        });
        resume::resume(&store, &slots, &stops, timing.linger, &supervisor).await?;

        let stop_loop = StopLoop {
            pending: stops.clone(),
            stopper: stopper(),
            slots: slots.clone(),
            actors: actors.clone(),
            timing: timing.clone(),
            stopping: stopping.clone(),
        };
        drop(tasks.spawn("pending stops", stop_loop.run()));
        for (&platform, launcher) in &*launchers {
            let watch = PlatformWatch {
                platform,
                launcher: Arc::clone(launcher),
                actors: actors.clone(),
                slots: slots.clone(),
                stops: stops.clone(),
                back_off: timing.back_off,
                stopping: stopping.clone(),
            };
            drop(tasks.spawn("platform watch", watch.run()));
        }
        let sweeper = Arc::new(Sweeper {
            store: store.clone(),
            contexts: Arc::clone(&contexts),
            launchers: Arc::clone(&launchers),
            actors: actors.clone(),
            retention: settings.retention.clone(),
            clock: clock.clone(),
        });
        drop(tasks.spawn("gc", Arc::clone(&sweeper).run(stopping.clone())));
        accepting.store(true, Ordering::Release);

        let services = BuildServices {
            intake: Intake {
                store: store.clone(),
                contexts: Arc::clone(&contexts),
                publisher: registry,
                launchers: Arc::clone(&launchers),
                settings: Arc::clone(&settings),
                disk: disk.clone(),
                clock,
                accepting: Arc::clone(&accepting),
                supervisor: Arc::clone(&supervisor),
            },
            clients: ClientRequests {
                ledger: ledger.clone(),
                actors: actors.clone(),
                slots: slots.clone(),
                supervisor: Arc::clone(&supervisor),
            },
            agents: AgentRequests { store, contexts, sessions, actors: actors.clone(), supervisor },
            gauges: Gauges { counts, launchers: Arc::clone(&launchers), slots, actors },
            shutdown: Shutdown {
                accepting: Arc::clone(&accepting),
                stopping,
                actors: running,
                stopper: stopper(),
            },
            status: Status { ledger, launchers, disk, bucket: settings.bucket.clone(), accepting },
            #[cfg(test)]
            sweeper,
        };
        Ok(Self { services: Arc::new(services) })
    }

    /// Accepts a build of `owner`. The same request under the same key again is answered with the same build.
    pub async fn submit(&self, owner: &str, build: impl Into<Submission>) -> Result<Submitted, SubmitError> {
        self.services.intake.submit(owner, build.into()).await
    }

    /// The owner's newest builds, newest first.
    pub async fn list(&self, owner: &str) -> Result<BuildList, BuildError> {
        self.services.clients.list(owner).await
    }

    /// One build of the owner's.
    pub async fn view(&self, owner: &str, build: BuildId) -> Result<BuildView, BuildError> {
        self.services.clients.view(owner, build).await
    }

    /// Cancels one build of the owner's and returns its new state. Cancelling an ended build changes nothing.
    pub async fn cancel(&self, owner: &str, build: BuildId) -> Result<BuildView, BuildError> {
        self.services.clients.cancel(owner, build).await
    }

    /// Trades a run's launch token for its order, and binds the run to the session.
    pub async fn bind(
        &self,
        run: RunName,
        token: &Secret,
        request: OrderRequest,
    ) -> Result<TaskOrder, RunError> {
        self.services.agents.bind(run, token, request).await
    }

    /// Whether `token` is the one that this run was launched with.
    pub fn launched(&self, run: RunName, token: &Secret) -> Result<(), RunError> {
        self.services.agents.launched(run, token)
    }

    /// The session of a bound run, if `secret` is its own.
    pub async fn session(&self, run: RunName, secret: &Secret) -> Result<RunSession, RunError> {
        self.services.agents.session(run, secret).await
    }

    /// Accepts a run's report. Before it counts, every line that it announces must have arrived, unless the agent has
    /// given that up, and is on disk.
    pub async fn report(
        &self,
        run: RunName,
        secret: &Secret,
        report: TaskReport,
    ) -> Result<ReportAck, RunError> {
        self.services.agents.report(run, secret, report).await
    }

    /// Versions, platforms, architectures.
    pub fn info(&self) -> Info {
        let status = &self.services.status;
        let archs = |launcher: &Arc<dyn Launcher>| {
            Arch::ALL.into_iter().filter(|arch| launcher.can_run(*arch).is_ok()).collect()
        };
        let platforms = status.launchers.iter();
        Info {
            version: env!("BAKERY_VERSION").to_owned(),
            protocols: PROTOCOLS.to_vec(),
            platforms: platforms.map(|(name, launcher)| (name.to_string(), archs(launcher))).collect(),
            bucket: status.bucket.clone(),
            keys: bakery_core::config::keys::paths(),
        }
    }

    /// Whether builds can be accepted and started now. They are accepted also while a platform is unavailable, and wait
    /// for it: that is an error only if there is no other.
    pub async fn ready(&self) -> Result<(), NotReady> {
        let status = &self.services.status;
        if !status.accepting.load(Ordering::Acquire) {
            return Err(NotReady::Stopping);
        }
        status.ledger.ping().await?;
        if !status.disk.has_room(0).await {
            return Err(NotReady::DiskFull);
        }
        let mut launchers = status.launchers.iter();
        let unavailable = launchers.find(|(_, launcher)| !launcher.availability().borrow().is_available());
        unavailable.map_or(Ok(()), |(platform, _)| Err(NotReady::Unavailable(*platform)))
    }

    /// Registers what builds have counted since the process started, and where they stand now.
    pub fn measure(&self, registry: &mut Registry) {
        self.services.gauges.register(registry);
    }

    /// Accepts no new builds, and ends every actor after what it is committing. Containers of open runs keep running:
    /// the next start adopts them, and their agents keep sending. Those of settled runs are removed, since there may be
    /// no next start.
    pub async fn drain(&self) {
        let shutdown = &self.services.shutdown;
        shutdown.accepting.store(false, Ordering::Release);
        shutdown.stopping.cancel();
        shutdown.actors.close();
        shutdown.actors.wait().await;
        shutdown.stopper.stop_all_once().await;
    }
}

/// Logs an error about one build.
fn log_error(build: BuildId, error: &(impl StdError + 'static), message: &'static str) {
    tracing::error!(%build, error = error as &dyn StdError, "{message}");
}

/// Sleeps until then; for ever without a time.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => future::pending().await,
    }
}
