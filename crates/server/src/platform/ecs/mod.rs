//! Tasks on AWS ECS, on Fargate or Fargate Spot.
//!
//! `size`, `definition`, `run`, `status` and `aws_messages` are pure; `check`, `client`, `definition_registry`, `launch`, `secret`,
//! `tasks` and `watch` call AWS; `task_index` keeps each run's task. The permissions that a build needs are the baseline of
//! docs/aws.md. Where one beyond it is denied (stopping, tags, listing), the platform works without it and reports that.

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
use tokio::sync::watch::Receiver;
use tokio::sync::{Notify, Semaphore};

mod aws_messages;
mod check;
mod client;
mod definition;
mod definition_registry;
mod launch;
mod options;
mod run;
mod secret;
mod size;
mod status;
mod task_index;
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

use super::run_registry::RunRegistry;
use super::{Availability, AvailabilityState, LaunchError, LaunchOrder, Launcher, Observation, complete};
use crate::spawn::Tasks;
use definition::DefinitionTemplate;
use definition_registry::Definitions;
use launch::{TURNS, UnconfirmedStart};
use run::RunTaskTemplate;
use task_index::{Interest, TaskEntry, TaskIndex};

/// The name of the task index in the data folder.
const TASK_INDEX: &str = "ecs-tasks";
/// A task id that no task has: whatever AWS answers about it, it has answered.
const NO_TASK: &str = "00000000000000000000000000000000";
/// How long AWS may take to answer whether a task is running.
const ASKED: Duration = Duration::from_secs(30);

/// Why there is no platform `ecs`.
#[derive(Debug, thiserror::Error)]
pub enum EcsError {
    /// The task index.
    #[error("the index of ECS tasks in the data folder cannot be used: {0}")]
    TaskIndex(#[from] std::io::Error),
    /// The secret for the agent image.
    #[error("{0}")]
    Secret(Message),
}

impl Hint for EcsError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::TaskIndex(_) => Some("BAKERY_DATA_DIR names the data folder".into()),
            Self::Secret(message) => message.hint.as_deref().map(Cow::Borrowed),
        }
    }
}

/// The platform `ecs`. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct EcsPlatform {
    core: Arc<EcsCore>,
    tasks: Tasks,
}

#[derive(Debug)]
struct EcsCore {
    ecs: Client,
    /// The same without retries, for launches: each call's own answer counts.
    starter: Client,
    task_template: RunTaskTemplate,
    definitions: Definitions,
    task_index: TaskIndex,
    availability: AvailabilityState,
    runs: RunRegistry,
    /// Permits for launches: bounds those that call AWS at once.
    turns: Semaphore,
    /// Wakes the watch before its next round is due.
    hurry: Notify,
    /// Notified after each round of the watch.
    asked: Notify,
    /// AWS denies tags: tasks are started without them.
    untagged: AtomicBool,
    /// Starts that AWS may have made, and whose tasks are not known.
    unconfirmed: Mutex<HashMap<RunName, UnconfirmedStart>>,
}

impl EcsPlatform {
    /// Prepares what launches need, with AWS's usual chain of credentials: see [`EcsPlatform::with`].
    pub async fn prepare(options: EcsOptions, data: &Path, tasks: &Tasks) -> Result<Self, EcsError> {
        let config = client::config(&options.region, client::ATTEMPTS).await;
        Self::with(&config, &options, data, tasks).await
    }

    /// Prepares what launches need: the secret for the image. Starts no task; old task definitions are deregistered in the
    /// background. `data` is the folder of the task index.
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
                        .map_err(|failed| EcsError::Secret(secret::why_unusable(&failed)))?,
                )
            }
            None => None,
        };
        let ecs = Client::new(config);
        let once = aws_sdk_ecs::config::Builder::from(config).retry_config(RetryConfig::disabled());
        let template = template_of(options, pull_secret);
        let task_template = RunTaskTemplate {
            installation: options.installation.clone(),
            region: options.region.clone(),
            cluster: options.cluster.clone(),
            subnets: options.subnets.clone(),
            security_groups: options.security_groups.clone(),
            public_ip: options.public_ip,
            capacity: options.capacity,
        };
        let core = EcsCore {
            definitions: Definitions::new(ecs.clone(), template),
            starter: Client::from_conf(once.build()),
            ecs,
            task_template,
            task_index: TaskIndex::open(&data.join(TASK_INDEX))?,
            availability: AvailabilityState::default(),
            runs: RunRegistry::default(),
            turns: Semaphore::new(TURNS),
            hurry: Notify::new(),
            asked: Notify::new(),
            untagged: AtomicBool::new(false),
            unconfirmed: Mutex::default(),
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

fn template_of(options: &EcsOptions, pull_secret: Option<String>) -> DefinitionTemplate {
    DefinitionTemplate {
        family: options.family.clone(),
        image: options.agent_image.to_string(),
        execution_role: options.execution_role.clone(),
        task_role: options.task_role.clone(),
        log_group: options.log_group.clone().map(|group| (group, options.region.clone())),
        pull_secret,
        storage: options.storage,
        capabilities: options.capabilities.clone(),
    }
}

#[async_trait]
impl Launcher for EcsPlatform {
    /// Fargate has both architectures.
    fn can_run(&self, _arch: Arch) -> Result<(), Reason> {
        Ok(())
    }

    fn fit(&self, cpu_millis: u32, memory_mib: u32, disk_mib: Option<u32>) -> Result<Vec<String>, Message> {
        let size = Size::of(cpu_millis, memory_mib, disk_mib)?;
        Ok(size.notices(cpu_millis, memory_mib, disk_mib))
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        // A task is found by its ARN alone.
        let (core, order, stopping) = (Arc::clone(&self.core), order.clone(), self.tasks.stopping().clone());
        let launch = async move {
            let launched = stopping.run_until_cancelled(Box::pin(core.launch(&order))).await;
            launched.unwrap_or_else(|| Err(LaunchError::stopping()))
        };
        complete(&self.tasks, launch).await
    }

    async fn stop(&self, run: &RunName) -> Result<(), LaunchError> {
        let (core, run) = (&*self.core, *run);
        if core.runs.is_removed(run) {
            return Ok(());
        }
        // Before anything else, so that a launch under way notices.
        core.runs.remember(run, None);
        core.runs.wait_launched(run).await;
        if core.locate(run).await? { core.end_and_wait(run).await } else { Ok(()) }
    }

    fn agent_connected(&self, run: &RunName) {
        if self.core.runs.exit_of(*run).is_none() {
            self.core.task_index.agent_connected(*run);
        }
    }

    /// Waits for the watch's next round instead of calling AWS itself: many agents lose their connection at once. The watch
    /// reports an end, with its cause.
    async fn holds(&self, run: &RunName) -> Result<bool, LaunchError> {
        let (core, run) = (&*self.core, *run);
        if core.task_index.get(run).is_none() {
            match core.find(run).await {
                Ok(found) if !found && !core.may_live(run, true) => return Ok(false),
                Ok(_) => {}
                // It cannot be ruled out.
                Err(failed) if failed.is_denied() => return Ok(true),
                Err(failed) => return Err(failed.error()),
            }
        }
        core.task_index.with(run, TaskEntry::agent_lost);
        let asked = async {
            loop {
                // Subscribed before the look, so that no round in between is missed.
                let mut asked = pin!(core.asked.notified());
                asked.as_mut().enable();
                if core.task_index.get(run).is_none_or(|entry| entry.interest != Interest::Liveness) {
                    return;
                }
                core.hurry.notify_one();
                asked.await;
            }
        };
        tokio::time::timeout(ASKED, asked).await.map(|()| true).map_err(|_| LaunchError {
            retryable: true,
            reason: Reason::PlatformUnreachable,
            message: "AWS has not answered yet whether the task is running".into(),
        })
    }

    fn availability(&self) -> Receiver<Availability> {
        self.core.availability.subscribe()
    }

    fn watch(&self) -> BoxStream<'static, Observation> {
        watch::watch(Arc::clone(&self.core))
    }

    async fn list(&self) -> Result<Vec<RunName>, LaunchError> {
        let core = &self.core;
        match core.find_all().await {
            Ok(()) => {}
            Err(failed) if failed.is_denied() => {
                tracing::info!(error = %failed, "listing is denied: tasks that belong to no build are not found");
            }
            Err(failed) => return Err(failed.error()),
        }
        Ok(core.task_index.all().into_iter().map(|(run, _)| run).collect())
    }
}
