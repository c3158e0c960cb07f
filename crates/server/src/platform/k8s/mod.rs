//! Tasks as Jobs of a Kubernetes cluster, each with one pod.
//!
//! Pure: `job` makes the objects, `status` reads their status, `run_tracker` derives observations, `pods` is the operator's
//! part of a pod. `cluster` and `watch` call the API server. An order's Job is created first, then the Secret that it
//! owns: should the server die in between, nothing stays behind that is not deleted with the Job.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bakery_core::image::ImageRef;
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use futures_util::stream::BoxStream;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{DeleteParams, ListParams, PropagationPolicy};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use tokio::sync::watch::Receiver;

mod api_text;
mod check;
mod cluster;
mod job;
mod pods;
mod run_tracker;
mod status;
mod watch;

pub use check::{RIGHTS, Right};
pub use cluster::{Cluster, K8sError};
pub use pods::PodOptions;

use super::run_registry::RunRegistry;
use super::{Availability, AvailabilityState, LaunchError, LaunchOrder, Launcher, Observation, complete};
use crate::spawn::Tasks;
use cluster::K8sCallError;
use job::JobTemplate;

/// Jobs in one answer of a listing.
const PAGE: u32 = 500;
/// How long the watch may take to see that a Job is gone before the API server is asked; doubled up to the longest.
const FIRST_LOOKUP: Duration = Duration::from_secs(10);
const LONGEST_LOOKUP: Duration = Duration::from_secs(30);

/// What the platform `k8s` is made with.
#[derive(Debug, Clone)]
pub struct K8sOptions {
    /// The installation's UUID: what carries it is ours.
    pub installation: String,
    /// The agent image, which the nodes pull.
    pub agent_image: ImageRef,
    /// The operator's part of every pod.
    pub pods: PodOptions,
}

/// The platform `k8s`. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct K8sPlatform {
    core: Arc<K8sCore>,
    tasks: Tasks,
}

#[derive(Debug)]
struct K8sCore {
    cluster: Cluster,
    template: JobTemplate,
    availability: AvailabilityState,
    runs: RunRegistry,
}

impl K8sPlatform {
    /// The platform in this cluster. Makes no call yet: a cluster that does not answer is waited for.
    pub fn new(cluster: Cluster, options: K8sOptions, tasks: &Tasks) -> Self {
        let K8sOptions { installation, agent_image, pods } = options;
        let template = JobTemplate { installation, image: agent_image.to_string(), pods };
        // The watch makes the first call.
        let unasked = format!("the Kubernetes API at {} has not answered yet", cluster.url).into();
        let availability = AvailabilityState::new(Availability::Unavailable(unasked));
        let core = Arc::new(K8sCore { cluster, template, availability, runs: RunRegistry::default() });
        Self { core, tasks: tasks.clone() }
    }
}

impl fmt::Display for K8sPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cluster { url, namespace, .. } = &self.core.cluster;
        write!(f, "{url}, namespace {namespace}")
    }
}

impl K8sCore {
    /// The Job of an order: created, or found where it was created before.
    async fn job(&self, order: &LaunchOrder) -> Result<Job, LaunchError> {
        let (jobs, name) = (self.cluster.jobs(), order.run.to_string());
        let doing = format!("creating the Job {name} in the namespace {}", self.cluster.namespace);
        let wanted = self.template.job(order);
        match self.cluster.create(&doing, &jobs, &wanted).await {
            Ok(job) => Ok(job),
            Err(failed) if failed.status == "AlreadyExists" => {
                let found = self.cluster.call(&format!("reading the Job {name}"), jobs.get(&name)).await?;
                if self.template.run_of(found.metadata.labels.as_ref()) == Some(order.run) {
                    return Ok(found);
                }
                Err(LaunchError {
                    retryable: false,
                    reason: Reason::LaunchRefused,
                    message: format!("the name {name} is taken by a Job that is not this server's").into(),
                })
            }
            Err(failed) => Err(failed.error),
        }
    }

    async fn secret(&self, order: &LaunchOrder, job: &Job) -> Result<(), LaunchError> {
        let doing = format!("creating the Secret of the Job {}", order.run);
        let wanted = self.template.secret(order, job);
        match self.cluster.create(&doing, &self.cluster.secrets(), &wanted).await {
            Ok(_) => Ok(()),
            // The one that is there is equal: it depends on nothing but the order.
            Err(failed) if failed.status == "AlreadyExists" => Ok(()),
            Err(failed) => Err(failed.error),
        }
    }

    /// A whole launch. It must be run to its end: the API server goes on creating a Job whose caller has given up.
    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        let run = order.run;
        let Some(_launching) = self.runs.begin_launch(run) else { return Ok(()) };
        let job = self.job(order).await?;
        if job.metadata.deletion_timestamp.is_none() && self.runs.exit_of(run).is_none() {
            self.secret(order, &job).await?;
        }
        // A stop may have been asked for meanwhile, and waits.
        if let Err(stopped) = self.runs.ensure_open(run) {
            self.remove(run, PropagationPolicy::Foreground).await?;
            return Err(stopped);
        }
        Ok(())
    }

    /// Deletes a Job with what it owns. Returns whether it was there.
    async fn remove(&self, run: RunName, policy: PropagationPolicy) -> Result<bool, LaunchError> {
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        let jobs = self.cluster.jobs();
        let name = run.to_string();
        let there =
            match self.cluster.call(&format!("deleting the Job {name}"), jobs.delete(&name, &params)).await {
                Ok(_) => true,
                Err(K8sCallError { code: 404, .. }) => false,
                Err(failed) => return Err(failed.error),
            };
        self.runs.mark_removing(run);
        Ok(there)
    }

    /// Waits until neither Job nor pod of a run that is being deleted is there. The watch notices that; where nobody
    /// watches, or it was noticed before, the API server is asked: at once where `now`, and from time to time.
    async fn wait_gone(&self, run: RunName, now: bool) -> Result<(), LaunchError> {
        let mut pause = if now { Duration::ZERO } else { FIRST_LOOKUP };
        while tokio::time::timeout(pause, self.runs.wait_removed(run)).await.is_err() {
            if !self.exists(run).await? {
                break;
            }
            pause = (pause * 2).clamp(Duration::from_secs(1), LONGEST_LOOKUP);
        }
        Ok(())
    }

    /// Whether a run's Job exists, or a pod that has not ended: one may outlive the other.
    async fn exists(&self, run: RunName) -> Result<bool, LaunchError> {
        let (jobs, name) = (self.cluster.api::<PartialObjectMeta<Job>>(), run.to_string());
        match self.cluster.call(&format!("looking up the Job {name}"), jobs.get(&name)).await {
            Ok(_) => return Ok(true),
            Err(K8sCallError { code: 404, .. }) => {}
            Err(failed) => return Err(failed.error),
        }
        Ok(!self.live_pods(&self.template.selector_of(run)).await?.is_empty())
    }

    /// The runs of pods that have not ended.
    async fn live_pods(&self, selector: &str) -> Result<Vec<RunName>, LaunchError> {
        let params =
            ListParams::default().labels(selector).fields("status.phase!=Succeeded,status.phase!=Failed");
        self.runs_of::<Pod>("listing pods", params).await
    }

    async fn runs_of<K>(&self, doing: &str, params: ListParams) -> Result<Vec<RunName>, LaunchError>
    where
        K: Clone + std::fmt::Debug + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let objects = self.cluster.api::<PartialObjectMeta<K>>();
        let (mut params, mut runs) = (params.limit(PAGE), Vec::new());
        loop {
            let page = self.cluster.call(doing, objects.list(&params)).await?;
            runs.extend(page.items.iter().filter_map(|it| self.template.run_of(it.metadata.labels.as_ref())));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(runs),
            }
        }
    }
}

#[async_trait]
impl Launcher for K8sPlatform {
    /// A cluster may get nodes of any architecture while a pod waits for one.
    fn can_run(&self, _arch: Arch) -> Result<(), Reason> {
        Ok(())
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        let (core, order) = (Arc::clone(&self.core), order.clone());
        complete(&self.tasks, async move { core.launch(&order).await }).await
    }

    async fn stop(&self, run: &RunName) -> Result<(), LaunchError> {
        let core = &*self.core;
        if core.runs.is_removed(*run) {
            return Ok(());
        }
        // Before anything else, so that a launch under way notices.
        core.runs.remember(*run, None);
        core.runs.wait_launched(*run).await;
        if core.runs.has_ended(*run) {
            // Nothing runs that the deletion would have to wait for.
            return if core.runs.is_removing(*run) {
                Ok(())
            } else {
                core.remove(*run, PropagationPolicy::Background).await.map(drop)
            };
        }
        let there = core.remove(*run, PropagationPolicy::Foreground).await?;
        core.wait_gone(*run, !there).await
    }

    fn availability(&self) -> Receiver<Availability> {
        self.core.availability.subscribe()
    }

    fn watch(&self) -> BoxStream<'static, Observation> {
        watch::watch(Arc::clone(&self.core))
    }

    async fn list(&self) -> Result<Vec<RunName>, LaunchError> {
        let core = &self.core;
        let selector = core.template.selector();
        let mut runs = core.runs_of::<Job>("listing Jobs", ListParams::default().labels(&selector)).await?;
        runs.extend(core.live_pods(&selector).await?);
        runs.sort_unstable();
        runs.dedup();
        Ok(runs)
    }
}
