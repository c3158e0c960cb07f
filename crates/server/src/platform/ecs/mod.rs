//! Tasks on AWS ECS, on Fargate or Fargate Spot.
//!
//! `size`, `definition`, `run`, `seen` and `meaning` are the pure half; `check`, `cloud`, `definitions`, `launch`, `secret`,
//! `tasks` and `watch` call AWS; `book` keeps which task is a run's. The permissions that a build needs are the baseline of docs/aws.md; what goes beyond it
//! (stopping, tags, listing) is done without where it is denied, and said.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_ecs::Client;
use bakery_core::message::{Hint, Message};
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use futures_util::stream::BoxStream;
use tokio::sync::{Notify, Semaphore, watch as latest};

mod book;
mod check;
mod cloud;
mod definition;
mod definitions;
mod launch;
mod meaning;
mod options;
mod run;
mod secret;
mod seen;
mod size;
mod tasks;
#[cfg(test)]
mod tests;
mod watch;
#[cfg(test)]
mod wire_tests;

pub use check::{Finding, check};
pub use options::EcsOptions;
pub use run::Capacity;
pub use secret::PullSecret;
pub use size::Size;

use super::runs::Runs;
use super::{Availability, AvailabilityState, LaunchError, LaunchOrder, Launcher, Observation};
use crate::spawn::Tasks;
use book::{Book, Entry, Interest};
use definition::Template;
use definitions::Definitions;
use launch::{Doubt, TURNS};
use run::House;

/// The book's name in the data folder.
const BOOK: &str = "ecs-tasks";
/// A task that is nobody's: whatever AWS says of it, it has answered.
const NOBODYS: &str = "00000000000000000000000000000000";
/// How long AWS may take to say whether a task lives.
const ASKED: Duration = Duration::from_secs(30);

/// Why there is no platform `ecs`.
#[derive(Debug, thiserror::Error)]
pub enum EcsError {
    /// The book of tasks.
    #[error("the book of ECS tasks in the data folder cannot be used: {0}")]
    Book(#[from] std::io::Error),
    /// The secret for the agent image.
    #[error("{0}")]
    Secret(Message),
}

impl Hint for EcsError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Book(_) => Some("BAKERY_DATA_DIR names the data folder".into()),
            Self::Secret(message) => message.hint.as_deref().map(Cow::Borrowed),
        }
    }
}

/// The platform `ecs`. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct EcsPlatform {
    core: Arc<Core>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Core {
    ecs: Client,
    /// The same for launches, each call of which is to be known by its own answer.
    starter: Client,
    house: House,
    definitions: Definitions,
    book: Book,
    availability: AvailabilityState,
    runs: Runs,
    /// Launches that may ask AWS now.
    turns: Semaphore,
    /// Wakes the watch before its time.
    hurry: Notify,
    /// The watch has asked AWS.
    asked: Notify,
    /// AWS has denied tags: tasks are started without.
    untagged: AtomicBool,
    /// Runs that AWS may have started, and whose tasks are not known.
    doubts: Mutex<HashMap<RunName, Doubt>>,
}

impl EcsPlatform {
    /// Makes ready what launches need, with AWS's usual chain of credentials: see [`EcsPlatform::with`].
    pub async fn prepare(options: EcsOptions, data: &Path, tasks: &Tasks) -> Result<Self, EcsError> {
        let config = cloud::config(&options.region, cloud::ATTEMPTS).await;
        Self::with(&config, &options, data, tasks).await
    }

    /// Makes ready what launches need: the secret for the image. Starts nothing; old definitions go beside what follows.
    /// `data` is the folder in which the platform keeps which task is a run's.
    pub async fn with(
        config: &SdkConfig,
        options: &EcsOptions,
        data: &Path,
        tasks: &Tasks,
    ) -> Result<Self, EcsError> {
        let pull_secret = match &options.pull_secret {
            Some(secret) => {
                let client = aws_sdk_secretsmanager::Client::new(config);
                Some(
                    secret
                        .arn(&client)
                        .await
                        .map_err(|refused| EcsError::Secret(secret::unusable(&refused)))?,
                )
            }
            None => None,
        };
        let ecs = Client::new(config);
        let once = aws_sdk_ecs::config::Builder::from(config).retry_config(RetryConfig::disabled());
        let template = template_of(options, pull_secret);
        let house = House {
            installation: options.installation.clone(),
            region: options.region.clone(),
            cluster: options.cluster.clone(),
            subnets: options.subnets.clone(),
            security_groups: options.security_groups.clone(),
            public_ip: options.public_ip,
            capacity: options.capacity,
        };
        let core = Core {
            definitions: Definitions::new(ecs.clone(), template),
            starter: Client::from_conf(once.build()),
            ecs,
            house,
            book: Book::open(&data.join(BOOK))?,
            availability: AvailabilityState::default(),
            runs: Runs::default(),
            turns: Semaphore::new(TURNS),
            hurry: Notify::new(),
            asked: Notify::new(),
            untagged: AtomicBool::new(false),
            doubts: Mutex::default(),
        };
        let (core, tasks) = (Arc::new(core), tasks.clone());
        if options.clean_up {
            let (tidy, stopping) = (Arc::clone(&core), tasks.stopping().clone());
            let tidy = async move { stopping.run_until_cancelled(tidy.tidy()).await };
            drop(tasks.spawn("clean-up of task definitions", tidy));
        }
        Ok(Self { core, tasks })
    }
}

fn template_of(options: &EcsOptions, pull_secret: Option<String>) -> Template {
    Template {
        family: options.family.clone(),
        image: options.agent_image.to_string(),
        execution_role: options.execution_role.clone(),
        task_role: options.task_role.clone(),
        log_group: options.log_group.clone().map(|group| (group, options.region.clone())),
        pull_secret,
        storage: options.storage,
    }
}

#[async_trait]
impl Launcher for EcsPlatform {
    /// Fargate has both.
    fn can_run(&self, _arch: Arch) -> Result<(), Reason> {
        Ok(())
    }

    fn fit(&self, cpu_millis: u32, memory_mib: u32) -> Result<Option<String>, Message> {
        Size::of(cpu_millis, memory_mib).map(|size| size.notice(cpu_millis, memory_mib))
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        // A caller that gives up must not lose the answer: nothing but its ARN leads to a task.
        let (core, order, stopping) = (Arc::clone(&self.core), order.clone(), self.tasks.stopping().clone());
        let launch = async move { stopping.run_until_cancelled(Box::pin(core.launch(&order))).await };
        self.tasks.spawn("launch", launch).await.ok().flatten().unwrap_or_else(|| {
            let message = "the server stops".into();
            Err(LaunchError { retryable: true, reason: Reason::PlatformUnreachable, message })
        })
    }

    async fn stop(&self, run: &RunName) -> Result<(), LaunchError> {
        let (core, run) = (&*self.core, *run);
        if core.runs.is_removed(run) {
            return Ok(());
        }
        // First of all, so that a launch under way sees it.
        core.runs.remember(run, None);
        core.runs.launched(run).await;
        if core.locate(run).await? { core.conclude(run).await } else { Ok(()) }
    }

    fn agent_connected(&self, run: &RunName) {
        if self.core.runs.past(*run).is_none() {
            self.core.book.heard(*run);
        }
    }

    /// Asks with the watch's next round, and not by itself: many agents fall silent at once. An end is told by the watch,
    /// with its cause.
    async fn holds(&self, run: &RunName) -> Result<bool, LaunchError> {
        let (core, run) = (&*self.core, *run);
        if core.book.get(run).is_none() {
            match core.find(run).await {
                Ok(found) if !found && !core.may_live(run, true) => return Ok(false),
                Ok(_) => {}
                // Nobody can say that it is not.
                Err(refused) if refused.is_denied() => return Ok(true),
                Err(refused) => return Err(refused.error()),
            }
        }
        core.book.with(run, Entry::doubt);
        let asked = async {
            loop {
                // Listening before looking: what is asked in between is not missed.
                let mut asked = pin!(core.asked.notified());
                asked.as_mut().enable();
                if core.book.get(run).is_none_or(|entry| entry.interest != Interest::Life) {
                    return;
                }
                core.hurry.notify_one();
                asked.await;
            }
        };
        tokio::time::timeout(ASKED, asked).await.map(|()| true).map_err(|_| LaunchError {
            retryable: true,
            reason: Reason::PlatformUnreachable,
            message: "AWS has not said yet whether the task lives".into(),
        })
    }

    fn availability(&self) -> latest::Receiver<Availability> {
        self.core.availability.subscribe()
    }

    fn watch(&self) -> BoxStream<'static, Observation> {
        watch::watch(Arc::clone(&self.core))
    }

    async fn list(&self) -> Result<Vec<RunName>, LaunchError> {
        let core = &self.core;
        match core.find_all().await {
            Ok(()) => {}
            Err(refused) if refused.is_denied() => {
                tracing::info!(%refused, "tasks that no build knows of are not looked for");
            }
            Err(refused) => return Err(refused.error()),
        }
        Ok(core.book.all().into_iter().map(|(run, _)| run).collect())
    }
}
