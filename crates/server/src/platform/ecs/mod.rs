//! Tasks on AWS ECS, on Fargate or Fargate Spot.
//!
//! `size`, `definition`, `run` and `seen` are the pure half; `check`, `cloud`, `definitions`, `secret`, `tasks` and
//! `watch` call AWS; `book` keeps which task is a run's. The permissions that a build needs are the baseline of docs/aws.md; what goes beyond it
//! (stopping, tags, listing) is done without where it is denied, and said.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::DesiredStatus;
use bakery_core::image::ImageRef;
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use futures_util::stream::BoxStream;
use tokio::sync::{Notify, Semaphore, watch as latest};

mod book;
mod check;
mod cloud;
mod definition;
mod definitions;
mod run;
mod secret;
mod seen;
mod size;
mod tasks;
mod watch;
#[cfg(test)]
mod wire_tests;

pub use check::{Finding, check};
pub use run::Capacity;
pub use secret::PullSecret;
pub use size::Size;

use super::runs::Runs;
use super::{LaunchError, LaunchOrder, Launcher, Observation, Silence};
use book::{Book, Entry};
use definition::Template;
use definitions::Definitions;
use run::House;
use seen::Standing;
use tasks::TURNS;

/// The book's name in the data folder.
const BOOK: &str = "ecs-tasks";
/// How long a task whose end is due may still be seen to end by itself before it is stopped.
const BY_ITSELF: Duration = Duration::from_secs(3);
/// How long the watch may take to see the end of a task that was stopped.
const LOOK: Duration = Duration::from_secs(5);

/// What the operator decides about this platform.
#[derive(Debug, Clone)]
pub struct EcsSettings {
    /// The installation's UUID: what carries it is ours.
    pub installation: String,
    /// `AWS_REGION`.
    pub region: String,
    /// `ECS_CLUSTER`.
    pub cluster: String,
    /// `ECS_SUBNETS`.
    pub subnets: Vec<String>,
    /// `ECS_SECURITY_GROUPS`.
    pub security_groups: Vec<String>,
    /// `ECS_EXEC_ROLE_ARN`.
    pub execution_role: String,
    /// `ECS_TASK_ROLE_ARN`.
    pub task_role: Option<String>,
    /// `ECS_LOG_GROUP`.
    pub log_group: Option<String>,
    /// `ECS_CAPACITY`.
    pub capacity: Capacity,
    /// `ECS_PUBLIC_IP`.
    pub public_ip: bool,
    /// `ECS_EPHEMERAL_STORAGE`, in GiB.
    pub storage: Option<i32>,
    /// `AGENT_TASK_FAMILY`.
    pub family: String,
    /// `AGENT_IMAGE`.
    pub agent_image: ImageRef,
    /// With what it is pulled.
    pub pull_secret: Option<PullSecret>,
    /// `CLEANUP_ECS_TASK_DEFINITIONS`.
    pub clean_up: bool,
}

/// Why there is no platform `ecs`.
#[derive(Debug, thiserror::Error)]
pub enum EcsError {
    /// The book of tasks.
    #[error(
        "the book of ECS tasks in the data folder cannot be used: {0}\nhint: BAKERY_DATA_DIR names the data folder"
    )]
    Book(#[from] std::io::Error),
    /// The secret for the agent image.
    #[error(
        "{0}\nhint: name a secret that exists in AGENT_IMAGE_SECRET_ARN, or give the server's role this permission"
    )]
    Secret(String),
}

/// The platform `ecs`. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct EcsPlatform {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    ecs: Client,
    house: House,
    definitions: Definitions,
    book: Book,
    silence: Silence,
    runs: Runs,
    /// Launches that may ask AWS now.
    turns: Semaphore,
    /// Wakes the watch before its time.
    hurry: Notify,
    /// AWS has denied tags: tasks are started without.
    untagged: AtomicBool,
    /// Runs that AWS has started and whose task cannot be found.
    unseen: Mutex<HashSet<RunName>>,
}

impl EcsPlatform {
    /// Makes ready what launches need, with AWS's usual chain of credentials: see [`EcsPlatform::with`].
    pub async fn prepare(settings: EcsSettings, data: &Path) -> Result<Self, EcsError> {
        let config = cloud::config(&settings.region, cloud::ATTEMPTS).await;
        Self::with(&config, settings, data).await
    }

    /// Makes ready what launches need: the secret for the image, and tidy task definitions. Starts nothing. `data` is the
    /// folder in which the platform keeps which task is a run's.
    pub async fn with(config: &SdkConfig, settings: EcsSettings, data: &Path) -> Result<Self, EcsError> {
        let pull_secret = match &settings.pull_secret {
            Some(secret) => {
                let client = aws_sdk_secretsmanager::Client::new(config);
                Some(secret.arn(&client).await.map_err(|refused| EcsError::Secret(refused.to_string()))?)
            }
            None => None,
        };
        let ecs = Client::new(config);
        let template = template_of(&settings, pull_secret);
        let house = House {
            installation: settings.installation,
            cluster: settings.cluster,
            subnets: settings.subnets,
            security_groups: settings.security_groups,
            public_ip: settings.public_ip,
            capacity: settings.capacity,
        };
        let core = Core {
            definitions: Definitions::new(ecs.clone(), template),
            ecs,
            house,
            book: Book::open(&data.join(BOOK))?,
            silence: Silence::default(),
            runs: Runs::default(),
            turns: Semaphore::new(TURNS),
            hurry: Notify::new(),
            untagged: AtomicBool::new(false),
            unseen: Mutex::default(),
        };
        if settings.clean_up {
            core.tidy().await;
        }
        Ok(Self { core: Arc::new(core) })
    }
}

fn template_of(settings: &EcsSettings, pull_secret: Option<String>) -> Template {
    Template {
        family: settings.family.clone(),
        image: settings.agent_image.to_string(),
        execution_role: settings.execution_role.clone(),
        task_role: settings.task_role.clone(),
        log_group: settings.log_group.clone().map(|group| (group, settings.region.clone())),
        pull_secret,
        storage: settings.storage,
    }
}

#[async_trait]
impl Launcher for EcsPlatform {
    /// Fargate has both.
    fn can_run(&self, _arch: Arch) -> Result<(), Reason> {
        Ok(())
    }

    fn fit(&self, cpu_millis: u32, memory_mib: u32) -> Result<Option<String>, String> {
        Size::of(cpu_millis, memory_mib).map(|size| size.notice(cpu_millis, memory_mib))
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        let (core, run) = (&*self.core, order.run);
        let Some(_launching) = core.runs.launch(run) else { return Ok(()) };
        if core.book.get(run).is_none() {
            let size = Size::of(order.cpu_millis, order.memory_mib).map_err(|text| LaunchError {
                retryable: false,
                reason: Reason::LaunchRefused,
                text,
            })?;
            core.start(order, size).await?;
        }
        // A stop may have come meanwhile, and have found no task.
        if let Err(stopped) = core.runs.check(run) {
            if let Some(entry) = core.book.get(run) {
                core.end(run, &entry.arn).await?;
            }
            return Err(stopped);
        }
        Ok(())
    }

    async fn stop(&self, run: &RunName) -> Result<(), LaunchError> {
        let (core, run) = (&*self.core, *run);
        if core.runs.is_removed(run) {
            return Ok(());
        }
        // First of all, so that a launch under way sees it.
        core.runs.remember(run, None);
        if core.book.get(run).is_none() && !core.lives(run).await? {
            return if core.is_unseen(run) { Err(cannot_be_found(run)) } else { Ok(()) };
        }
        core.book.with(run, Entry::leave);
        core.hurry.notify_one();
        if tokio::time::timeout(BY_ITSELF, core.runs.removal(run)).await.is_ok() {
            return Ok(());
        }
        let Some(entry) = core.book.get(run) else { return Ok(()) };
        core.end(run, &entry.arn).await?;
        // The watch sees the end. Where nobody watches AWS is asked from time to time.
        while tokio::time::timeout(LOOK, core.runs.removal(run)).await.is_err() {
            let tasks = core.describe(vec![entry.arn.clone()]).await.map_err(|refused| refused.error())?;
            if let Some(Standing::Over(exit)) = tasks.first().map(seen::task) {
                core.runs.remember(run, Some(exit.clone()));
                core.book.remove(run);
                core.runs.removed(run);
                core.runs.tell(Observation::Gone { run, exit });
                break;
            }
        }
        Ok(())
    }

    fn heard(&self, run: &RunName) {
        self.core.book.with(*run, |entry| entry.lives(true));
    }

    async fn holds(&self, run: &RunName) -> Result<bool, LaunchError> {
        // The watch asks AWS, and tells the end with its cause if it is over.
        self.core.book.with(*run, Entry::doubt);
        self.core.hurry.notify_one();
        Ok(self.core.is_unseen(*run) || self.core.book.get(*run).is_some())
    }

    fn silence(&self) -> latest::Receiver<Option<String>> {
        self.core.silence.subscribe()
    }

    fn watch(&self) -> BoxStream<'static, Observation> {
        watch::watch(Arc::clone(&self.core))
    }

    async fn list(&self) -> Result<Vec<RunName>, LaunchError> {
        let core = &self.core;
        match core.find_all(DesiredStatus::Running).await {
            Ok(()) => {}
            Err(refused) if refused.is_denied() => {
                tracing::info!(%refused, "tasks that no build knows of are not looked for");
            }
            Err(refused) => return Err(refused.error()),
        }
        Ok(core.book.all().into_iter().map(|(run, _)| run).collect())
    }
}

fn cannot_be_found(run: RunName) -> LaunchError {
    let text = format!("the task {run} cannot be stopped: it cannot be found without ecs:ListTasks");
    LaunchError { retryable: true, reason: Reason::LaunchRefused, text }
}
