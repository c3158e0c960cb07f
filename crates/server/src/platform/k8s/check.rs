//! What `bakery-server check` tries on a cluster, without leaving anything in it.

use std::fmt;
use std::time::Duration;

use bakery_core::names::{Arch, BuildId, RunName, TaskId};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use super::super::LaunchOrder;
use super::{K8sPlatform, LaunchError};

/// One right in the agents' namespace, and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// API group; empty = core.
    pub group: &'static str,
    /// Resource.
    pub resource: &'static str,
    /// Verb.
    pub verb: &'static str,
    /// What fails without it.
    pub purpose: &'static str,
}

const fn right(
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    purpose: &'static str,
) -> Right {
    Right { group, resource, verb, purpose }
}

/// All rights that the server uses, and no others: a test compares `role.yaml` with them.
pub const RIGHTS: &[Right] = &[
    right("batch", "jobs", "create", "starting tasks"),
    right("batch", "jobs", "get", "adopting a Job that was created before, and confirming that one is gone"),
    right("batch", "jobs", "list", "finding running and leftover tasks"),
    right("batch", "jobs", "watch", "watching tasks"),
    right("batch", "jobs", "delete", "stopping tasks"),
    right("", "pods", "list", "watching tasks"),
    right("", "pods", "watch", "watching tasks"),
    right("", "events", "list", "reporting in build logs why a pod does not start"),
    right("", "events", "watch", "reporting in build logs why a pod does not start"),
    right("", "secrets", "create", "passing the launch token to a task"),
];

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, resource, verb, purpose } = self;
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "{verb} {resource}{dot}{group} ({purpose})")
    }
}

impl K8sPlatform {
    /// Asks for the API server's version.
    pub async fn version(&self) -> Result<String, LaunchError> {
        let cluster = &self.core.cluster;
        let info = cluster.call("asking for the version", cluster.client.apiserver_version()).await?;
        Ok(info.git_version)
    }

    /// The rights of [`RIGHTS`] that the server's account does not have.
    pub async fn missing_rights(&self) -> Result<Vec<Right>, LaunchError> {
        let cluster = &self.core.cluster;
        let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
        let (params, mut missing) = (PostParams::default(), Vec::new());
        for right in RIGHTS {
            let text = |text: &str| Some(text.to_owned());
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(ResourceAttributes {
                        namespace: text(&cluster.namespace),
                        group: text(right.group),
                        resource: text(right.resource),
                        verb: text(right.verb),
                        ..ResourceAttributes::default()
                    }),
                    non_resource_attributes: None,
                },
                ..SelfSubjectAccessReview::default()
            };
            let answer =
                cluster.call("asking for the server's rights", reviews.create(&params, &review)).await?;
            if !answer.status.is_some_and(|status| status.allowed) {
                missing.push(*right);
            }
        }
        Ok(missing)
    }

    /// Has the API server validate a Job with the operator's settings, without creating it (a dry run).
    pub async fn dry_run(&self, cpu_millis: u32, memory_mib: u32) -> Result<(), LaunchError> {
        let task = TaskId { build: BuildId::new(0, 0), index: 0 };
        let order = LaunchOrder {
            run: RunName { task, attempt: 1 },
            arch: Arch::Amd64,
            cpu_millis,
            memory_mib,
            disk_mib: None,
            env: Vec::new(),
            deadline: Duration::from_mins(1),
        };
        let (cluster, job) = (&self.core.cluster, self.core.template.job(&order));
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let doing = format!("dry run of a Job in the namespace {}", cluster.namespace);
        cluster.call(&doing, cluster.jobs().create(&params, &job)).await?;
        Ok(())
    }
}
