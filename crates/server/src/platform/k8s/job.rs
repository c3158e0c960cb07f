//! The Job and the Secret of a launch order. Pure.

use std::collections::BTreeMap;

use bakery_core::names::RunName;
use bakery_core::wire::run::launch_env;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, PodSpec, PodTemplateSpec, ResourceRequirements,
    SeccompProfile, Secret, SecretKeySelector, SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::super::capabilities::Capabilities as AgentCapabilities;
use super::super::{LaunchOrder, labels};
use super::pods::PodOptions;

/// The label of a node's architecture.
pub(super) const ARCH_LABEL: &str = "kubernetes.io/arch";
/// The name of a pod's one container.
pub(super) const CONTAINER: &str = "agent";
/// An ended Job that nobody has removed goes by itself after this many seconds: long enough for a server that was away.
const TTL_SECONDS: i32 = 3600;
/// Seconds between SIGTERM and SIGKILL: the agent ends Kaniko's process tree and reports in that time.
const GRACE_SECONDS: i64 = 10;
/// An autoscaler that tidies up nodes leaves running builds alone.
const STAY: [(&str, &str); 2] =
    [("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"), ("karpenter.sh/do-not-disrupt", "true")];

/// The nodes on which a pod may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nodes {
    /// The labels that a node must have, as `kubectl get nodes -l` takes them.
    pub(super) labels: String,
    /// Nothing but the task's architecture is required of a node.
    pub(super) any: bool,
}

/// What all Jobs of this installation have in common.
#[derive(Debug, Clone)]
pub(super) struct JobTemplate {
    /// The installation's UUID.
    pub(super) installation: String,
    /// The agent image.
    pub(super) image: String,
    /// The operator's part of every pod.
    pub(super) pods: PodOptions,
}

impl JobTemplate {
    /// The Job of an order: one pod, started once.
    pub(super) fn job(&self, order: &LaunchOrder) -> Job {
        let labels = self.labels(order.run);
        let template = PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels.clone()),
                annotations: Some(self.annotations()),
                ..ObjectMeta::default()
            }),
            spec: Some(self.pod(order)),
        };
        Job {
            metadata: ObjectMeta {
                name: Some(order.run.to_string()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: Some(JobSpec {
                // Another attempt is the server's decision, and another run.
                backoff_limit: Some(0),
                active_deadline_seconds: Some(i64::try_from(order.deadline.as_secs()).unwrap_or(i64::MAX)),
                ttl_seconds_after_finished: Some(TTL_SECONDS),
                template,
                ..JobSpec::default()
            }),
            status: None,
        }
    }

    /// The variables that no pod spec may show. The Job owns the Secret, so it is deleted with the Job.
    pub(super) fn secret(&self, order: &LaunchOrder, job: &Job) -> Secret {
        let owner = OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: order.run.to_string(),
            uid: job.metadata.uid.clone().unwrap_or_default(),
            controller: None,
            // True would take rights on the Job's finalizers.
            block_owner_deletion: Some(false),
        };
        let hidden = order.env.iter().filter(|(name, _)| !is_plain(name));
        Secret {
            metadata: ObjectMeta {
                name: Some(order.run.to_string()),
                labels: Some(self.labels(order.run)),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            immutable: Some(true),
            string_data: Some(
                hidden.map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
            ),
            ..Secret::default()
        }
    }

    /// The label selector for everything of this installation.
    pub(super) fn selector(&self) -> String {
        labels::selector(&self.installation)
    }

    /// The label selector for the pod of one run.
    pub(super) fn selector_of(&self, run: RunName) -> String {
        format!("{},{}={run}", self.selector(), labels::RUN)
    }

    /// The run of an object of ours, from its labels.
    pub(super) fn run_of(&self, labels: Option<&BTreeMap<String, String>>) -> Option<RunName> {
        labels::run_of(&self.installation, |name| labels?.get(name))
    }

    /// The nodes on which a pod for this architecture may run.
    pub(super) fn nodes(&self, arch: &str) -> Nodes {
        let labels = self.node_selector(arch);
        let labels =
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
        Nodes { labels, any: self.pods.node_selector.is_empty() && self.pods.affinity.is_none() }
    }

    fn node_selector(&self, arch: &str) -> BTreeMap<String, String> {
        let mut selector = self.pods.node_selector.clone();
        selector.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
        selector.insert(ARCH_LABEL.to_owned(), arch.to_owned());
        selector
    }

    fn labels(&self, run: RunName) -> BTreeMap<String, String> {
        let labels = [
            ("app.kubernetes.io/name", "bakery-agent".to_owned()),
            ("app.kubernetes.io/part-of", "bakery".to_owned()),
            ("app.kubernetes.io/managed-by", "bakery-server".to_owned()),
        ];
        labels
            .into_iter()
            .chain(labels::of(&self.installation, run))
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let stay = STAY.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        stay.chain(self.pods.annotations.clone()).collect()
    }

    fn pod(&self, order: &LaunchOrder) -> PodSpec {
        let options = &self.pods;
        let (volumes, mounts): (Vec<_>, Vec<VolumeMount>) = options.volumes().into_iter().unzip();
        PodSpec {
            restart_policy: Some("Never".to_owned()),
            service_account_name: options.service_account_name.clone(),
            // The agent never calls the API. Cloud roles come by a volume of their own.
            automount_service_account_token: Some(false),
            // A Service called `bakery` would become variables that look like ours.
            enable_service_links: Some(false),
            node_selector: Some(self.node_selector(order.arch.as_str())),
            tolerations: filled(options.tolerations.clone()),
            affinity: options.affinity.clone(),
            image_pull_secrets: filled(options.image_pull_secrets.clone()),
            priority_class_name: options.priority_class_name.clone(),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            volumes: filled(volumes),
            containers: vec![Container {
                name: CONTAINER.to_owned(),
                image: Some(self.image.clone()),
                env: Some(
                    order.env.iter().map(|(name, value)| variable(order.run, name, value.expose())).collect(),
                ),
                resources: Some(self.resources(order)),
                security_context: Some(security(&options.capabilities)),
                // The last output of a failed agent is then part of the pod's status.
                termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
                volume_mounts: filled(mounts),
                ..Container::default()
            }],
            ..PodSpec::default()
        }
    }

    /// Requests equal limits, so that a build is the same on an empty and on a full node. Only the disk request is smaller
    /// than its limit, unless the task or the operator sets the size.
    fn resources(&self, order: &LaunchOrder) -> ResourceRequirements {
        let disk = self.pods.disk(order.disk_mib);
        let of = |disk: &str| {
            BTreeMap::from([
                ("cpu".to_owned(), Quantity(format!("{}m", order.cpu_millis))),
                ("memory".to_owned(), Quantity(format!("{}Mi", order.memory_mib))),
                ("ephemeral-storage".to_owned(), Quantity(disk.to_owned())),
            ])
        };
        ResourceRequirements {
            requests: Some(of(&disk.request)),
            limits: Some(of(&disk.limit)),
            ..ResourceRequirements::default()
        }
    }
}

/// `None` for an empty list, so that the field is left out.
fn filled<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

/// Whether a variable may appear in a pod spec, which many can read; every other one goes into the run's Secret.
fn is_plain(name: &str) -> bool {
    [launch_env::URL, launch_env::RUN].contains(&name) || launch_env::PROXIES.contains(&name)
}

fn variable(run: RunName, name: &str, value: &str) -> EnvVar {
    if is_plain(name) {
        return EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..EnvVar::default() };
    }
    let key = SecretKeySelector { name: run.to_string(), key: name.to_owned(), optional: None };
    let from = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(from), ..EnvVar::default() }
}

/// Root, since Kaniko unpacks images with their owners, and the few capabilities that this takes. `allowPrivilegeEscalation`
/// stays on: RUN steps may use `su` and `sudo`.
fn security(capabilities: &AgentCapabilities) -> SecurityContext {
    SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: Some(capabilities.added()),
        }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    }
}

#[cfg(test)]
mod tests;
