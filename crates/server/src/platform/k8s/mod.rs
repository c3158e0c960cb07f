//! Tasks as Jobs of a Kubernetes cluster, each with one pod.
//!
//! `job` and `seen` are the pure half (what is asked, what is seen), `board` is what follows from it, `pods` the operator's
//! settings file; `cluster` and `watch` call out. An order's Job comes first, then the Secret that it owns: whatever
//! becomes of us in between, nothing stays behind that the Job does not take along.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bakery_core::image::ImageRef;
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use futures_util::stream::BoxStream;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams, PostParams, PropagationPolicy};
use kube::core::PartialObjectMeta;
use tokio::sync::{broadcast, watch as latest};

mod board;
mod check;
mod cluster;
mod job;
mod pods;
mod seen;
mod typed;
mod watch;

pub use check::{RIGHTS, Right};
pub use cluster::{Cluster, K8sError};
pub use pods::PodSettings;

use super::runs::Runs;
use super::{LaunchError, LaunchOrder, Launcher, Observation, Silence, TOLD};
use cluster::Refused;
use job::House;

/// Jobs in one answer of a listing.
const PAGE: u32 = 500;
/// How long the watch may take to see that a Job is gone before it is looked for; doubled up to the longest.
const FIRST_LOOK: Duration = Duration::from_secs(10);
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// What the operator decides about this platform.
#[derive(Debug, Clone)]
pub struct K8sSettings {
    /// The installation's UUID: what carries it is ours.
    pub installation: String,
    /// `AGENT_IMAGE`: the nodes pull it.
    pub agent_image: ImageRef,
    /// The file that `K8S_CONFIG_PATH` names.
    pub pods: PodSettings,
}

/// The platform `k8s`. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct K8sPlatform {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    cluster: Cluster,
    house: House,
    tell: broadcast::Sender<Observation>,
    silence: Silence,
    runs: Runs,
}

impl K8sPlatform {
    /// The platform in this cluster. Asks nothing of it yet: a cluster that does not answer is waited for.
    pub fn new(cluster: Cluster, settings: K8sSettings) -> Self {
        let K8sSettings { installation, agent_image, pods } = settings;
        let house = House { installation, image: agent_image.to_string(), pods };
        let (tell, silence) = (broadcast::Sender::new(TOLD), Silence::default());
        Self { core: Arc::new(Core { cluster, house, tell, silence, runs: Runs::default() }) }
    }
}

impl fmt::Display for K8sPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cluster { url, namespace, .. } = &self.core.cluster;
        write!(f, "{url}, namespace {namespace}")
    }
}

impl Core {
    /// The Job of an order: made, or found where it was made before.
    async fn job(&self, order: &LaunchOrder) -> Result<Job, LaunchError> {
        let (jobs, name) = (self.cluster.jobs(), order.run.to_string());
        let doing = format!("creating the Job {name} in the namespace {}", self.cluster.namespace);
        let wanted = self.house.job(order);
        match self.cluster.call(&doing, jobs.create(&PostParams::default(), &wanted)).await {
            Ok(job) => Ok(job),
            Err(Refused { code: 409, .. }) => {
                let found = self.cluster.call(&format!("looking at the Job {name}"), jobs.get(&name)).await?;
                if self.house.run_of(found.metadata.labels.as_ref()) == Some(order.run) {
                    return Ok(found);
                }
                Err(LaunchError {
                    retryable: false,
                    reason: Reason::LaunchRefused,
                    text: format!("the name {name} is taken by a Job that is not this server's"),
                })
            }
            Err(refused) => Err(refused.error),
        }
    }

    async fn secret(&self, order: &LaunchOrder, job: &Job) -> Result<(), LaunchError> {
        let doing = format!("creating the Secret of the Job {}", order.run);
        let wanted = self.house.secret(order, job);
        match self.cluster.call(&doing, self.cluster.secrets().create(&PostParams::default(), &wanted)).await
        {
            // What is there is the same: it depends on nothing but the order.
            Ok(_) | Err(Refused { code: 409, .. }) => Ok(()),
            Err(refused) => Err(refused.error),
        }
    }

    /// Deletes a Job with what it owns. Success where it is not there.
    async fn remove(&self, run: RunName, policy: PropagationPolicy) -> Result<(), LaunchError> {
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        let jobs = self.cluster.jobs();
        let name = run.to_string();
        match self.cluster.call(&format!("deleting the Job {name}"), jobs.delete(&name, &params)).await {
            Ok(_) | Err(Refused { code: 404, .. }) => {
                self.runs.leaves(run);
                Ok(())
            }
            Err(refused) => Err(refused.error),
        }
    }

    /// Waits until a Job that is being deleted is gone: it goes after its pod. The watch sees that; where nobody watches,
    /// or the watch has missed it, the API server is asked from time to time.
    async fn vanished(&self, run: RunName) -> Result<(), LaunchError> {
        let jobs = self.cluster.api::<PartialObjectMeta<Job>>();
        let name = run.to_string();
        let mut pause = FIRST_LOOK;
        while tokio::time::timeout(pause, self.runs.removal(run)).await.is_err() {
            match self.cluster.call(&format!("looking for the Job {name}"), jobs.get(&name)).await {
                Ok(_) => {}
                Err(Refused { code: 404, .. }) => break,
                Err(refused) => return Err(refused.error),
            }
            pause = (pause * 2).min(LONGEST_LOOK);
        }
        Ok(())
    }
}

#[async_trait]
impl Launcher for K8sPlatform {
    /// A cluster may get nodes of any architecture while a pod waits for one.
    fn can_run(&self, _arch: Arch) -> Result<(), Reason> {
        Ok(())
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        let (core, run) = (&*self.core, order.run);
        let _launching = core.runs.launch(run);
        if let Some(exit) = core.runs.past(run) {
            // The watcher may have missed it; the order is answered, and starts nothing.
            let _ = core.tell.send(Observation::Gone { run, exit });
            return Ok(());
        }
        let job = core.job(order).await?;
        if job.metadata.deletion_timestamp.is_none() && core.runs.past(run).is_none() {
            core.secret(order, &job).await?;
        }
        // A stop may have come meanwhile, and have found no Job.
        if let Err(stopped) = core.runs.check(run) {
            core.remove(run, PropagationPolicy::Foreground).await?;
            return Err(stopped);
        }
        Ok(())
    }

    async fn stop(&self, run: &RunName) -> Result<(), LaunchError> {
        let core = &*self.core;
        if core.runs.is_removed(*run) {
            return Ok(());
        }
        // First of all, so that a launch under way sees it.
        core.runs.remember(*run, None);
        if core.runs.has_ended(*run) {
            // Nothing lives that a deletion would have to wait for.
            return if core.runs.is_leaving(*run) {
                Ok(())
            } else {
                core.remove(*run, PropagationPolicy::Background).await
            };
        }
        core.remove(*run, PropagationPolicy::Foreground).await?;
        core.vanished(*run).await
    }

    fn silence(&self) -> latest::Receiver<Option<String>> {
        self.core.silence.subscribe()
    }

    fn watch(&self) -> BoxStream<'static, Observation> {
        watch::watch(Arc::clone(&self.core))
    }

    async fn list(&self) -> Result<Vec<RunName>, LaunchError> {
        let core = &self.core;
        let jobs = core.cluster.api::<PartialObjectMeta<Job>>();
        let mut params = ListParams::default().labels(&core.house.selector()).limit(PAGE);
        let mut runs = Vec::new();
        loop {
            let page = core.cluster.call("listing Jobs", jobs.list(&params)).await?;
            runs.extend(page.items.iter().filter_map(|job| core.house.run_of(job.metadata.labels.as_ref())));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(runs),
            }
        }
    }
}
