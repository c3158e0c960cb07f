//! The meaning of Jobs, pods and events as the API server shows them. Pure.

use bakery_core::message::Message;
use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Event, Pod,
    PodCondition,
};

use super::super::exit::{End, tail_of};
use super::super::{Exit, labels};
use super::api_text::{QUOTA_HINT, lowercase_first, sentence};
use super::job::{CONTAINER, Nodes};

/// A notable step or trouble of a run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remark {
    /// The machine code, where it is trouble.
    pub(super) reason: Option<Reason>,
    /// The same for people.
    pub(super) message: Message,
}

/// The status of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ObservedPodStatus {
    /// Not ended, with the remarks that its present state gives rise to.
    Open(Vec<Remark>),
    /// Over, and how.
    Over(Exit),
}

fn remark(reason: impl Into<Option<Reason>>, message: impl Into<Message>) -> Remark {
    Remark { reason: reason.into(), message: message.into() }
}

/// The status of a pod. `stopped`: this server is ending it.
pub(super) fn pod(pod: &Pod, nodes: &Nodes, stopped: bool) -> ObservedPodStatus {
    let status = pod.status.as_ref();
    if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return ObservedPodStatus::Over(ended(pod));
    }
    let state = agent(pod).and_then(|agent| agent.state.as_ref());
    let mut remarks = Vec::new();
    if let Some(refused) = condition(pod, "PodScheduled").filter(|it| it.status == "False") {
        remarks.push(unscheduled(refused, nodes));
    }
    if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        remarks.push(remark(None, format!("the pod is on node {node}")));
    }
    match state {
        Some(ContainerState { waiting: Some(waiting), .. }) => remarks.extend(waiting_trouble(pod, waiting)),
        Some(ContainerState { running: Some(_), .. }) => {
            remarks.push(remark(None, "the container has started"));
        }
        _ => {}
    }
    if let Some((reason, why)) = disruption(pod) {
        remarks.push(remark(reason, format!("the pod is being terminated: {why}")));
    } else if pod.metadata.deletion_timestamp.is_some() && !stopped {
        remarks.push(remark(None, "the pod is being deleted, and not by this server"));
    }
    ObservedPodStatus::Open(remarks)
}

/// How a pod's agent ended, from the pod's last status. A pod that was deleted may show no end.
pub(super) fn ended(pod: &Pod) -> Exit {
    let status = pod.status.as_ref();
    let reason = status.and_then(|status| status.reason.as_deref()).unwrap_or_default();
    let message = status.and_then(|status| status.message.as_deref()).unwrap_or_default();
    let over = agent(pod).and_then(|agent| agent.state.as_ref()?.terminated.as_ref());
    let disruption = disruption(pod);
    let why = over
        .filter(|over| over.reason.as_deref() == Some("OOMKilled"))
        .map(|_| Reason::OutOfMemory)
        .or_else(|| disruption.as_ref().and_then(|(reason, _)| *reason).filter(|_| reason != "Evicted"))
        .or_else(|| pod_reason(reason, message));
    let deleted = pod.metadata.deletion_timestamp.is_some();
    let detail = match (&disruption, message) {
        (_, message) if !message.is_empty() => sentence(reason, message),
        (Some((_, text)), _) => text.clone(),
        _ if !reason.is_empty() => reason.to_owned(),
        _ => over.map(start_failure).unwrap_or_default(),
    };
    let detail = if detail.is_empty() && over.is_none() && deleted {
        "the pod was deleted".to_owned()
    } else {
        detail
    };
    let tail = over.and_then(|over| over.message.as_deref()).unwrap_or_default();
    let started = over.is_some_and(|over| !never_ran(over));
    Exit::of(&End {
        code: over.map(|over| over.exit_code).filter(|_| started),
        reason: why,
        detail: Some(&detail),
        tail: &if started { tail_of(tail.as_bytes()) } else { Vec::new() },
        arch_hint: "AGENT_IMAGE must be an index that holds the node's architecture",
        ..End::default()
    })
}

/// The end of a Job by its own conditions, `None` while it has none. `Failed` counts as much as `Complete`.
pub(super) fn job(job: &Job) -> Option<Exit> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    let over = conditions
        .iter()
        .find(|it| it.status == "True" && matches!(it.type_.as_str(), "Failed" | "Complete"))?;
    let reason = over.reason.as_deref().unwrap_or_default();
    let detail = sentence(reason, over.message.as_deref().unwrap_or_default());
    let why = (reason == "DeadlineExceeded").then_some(Reason::TaskTimeout);
    Some(Exit::of(&End { reason: why, detail: Some(&detail), ..End::default() }))
}

/// The run and the remark of an event about one of our Jobs or pods; `None` where their own status shows the same.
pub(super) fn event(event: &Event) -> Option<(RunName, Remark)> {
    let of = &event.involved_object;
    let name = of.name.as_deref()?;
    let run = match of.kind.as_deref()? {
        "Job" => name.parse().ok()?,
        // The Job's name and five characters.
        "Pod" => name.rsplit_once('-')?.0.parse().ok()?,
        _ => return None,
    };
    let (reason, message) = (event.reason.as_deref()?, event.message.as_deref().unwrap_or_default());
    let remark = match reason {
        "Pulling" => remark(None, lowercase_first(message)),
        "Pulled" if message.starts_with("Successfully") => remark(None, lowercase_first(message)),
        "FailedCreate" => failed_create(message),
        "NodeNotReady" => remark(Reason::NodeLost, format!("the pod's node is not ready: {message}")),
        "TaintManagerEviction" if message.starts_with("Marking") => {
            remark(Reason::NodeLost, lowercase_first(message))
        }
        "Evicted" => remark(pod_reason(reason, message), sentence(reason, message)),
        "Preempting" | "Preempted" => remark(Reason::Evicted, sentence(reason, message)),
        "FailedMount"
        | "FailedAttachVolume"
        | "FailedMapVolume"
        | "FailedBinding"
        | "ProvisioningFailed"
        | "FailedCreatePodSandBox"
        | "FailedCreatePodContainer"
        | "NetworkNotReady" => remark(Reason::ProvisionTimeout, sentence(reason, message)),
        _ => return None,
    };
    Some((run, remark))
}

/// The remark on a pod that could not be created.
fn failed_create(message: &str) -> Remark {
    let (reason, hint) = if message.contains("exceeded quota") {
        (Reason::NoCapacity, QUOTA_HINT)
    } else if message.contains("violates PodSecurity") {
        (Reason::LaunchRefused, "the namespace must admit Pod Security level `baseline`: Kaniko runs as root")
    } else if message.contains("serviceaccount") && message.contains("not found") {
        (Reason::LaunchRefused, "create the service account that the settings file (K8S_CONFIG_PATH) names")
    } else {
        (Reason::LaunchRefused, "`kubectl describe job` shows more")
    };
    remark(reason, Message::new(format!("the pod cannot be created: {message}")).with_hint(hint))
}

fn unscheduled(refused: &PodCondition, nodes: &Nodes) -> Remark {
    let message = refused.message.as_deref().unwrap_or_default();
    // The rest lists pods that could be preempted, which is of no use to the reader.
    let message = message.split(" preemption: ").next().unwrap_or_default().trim_end_matches('.');
    if !none_matches(message) {
        return remark(Reason::NoCapacity, format!("the pod cannot be scheduled: {message}"));
    }
    let reason = if nodes.any { Reason::NoSuchArch } else { Reason::NoCapacity };
    remark(reason, format!("no node of the cluster is labelled {} ({message})", nodes.labels))
}

/// Whether the scheduler reports that no node has the labels: `0/3 nodes are available: 1 node(s) had untolerated taint
/// {node-role.kubernetes.io/control-plane: }, 2 node(s) didn't match Pod's node affinity/selector`. Nodes of the control
/// plane do not count: no task could run there.
fn none_matches(message: &str) -> bool {
    let Some((count, why)) =
        message.strip_prefix("0/").and_then(|rest| rest.split_once(" nodes are available: "))
    else {
        return false;
    };
    let nodes: u32 = count.parse().unwrap_or(0);
    let (mut mismatched, mut apart) = (0, 0);
    for part in why.split(", ") {
        let Some((count, why)) = part.split_once(" node(s) ") else { continue };
        let count: u32 = count.trim().parse().unwrap_or(0);
        if why.starts_with("didn't match Pod's node affinity/selector") {
            mismatched += count;
        } else if why.contains("node-role.kubernetes.io/control-plane")
            || why.contains("node-role.kubernetes.io/master")
        {
            apart += count;
        }
    }
    mismatched > 0 && mismatched + apart == nodes
}

/// The remark on a waiting container, where it waits because of trouble.
fn waiting_trouble(pod: &Pod, waiting: &ContainerStateWaiting) -> Option<Remark> {
    let kind = waiting.reason.as_deref()?;
    let message = waiting.message.as_deref().unwrap_or_default();
    let reason = match kind {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Reason::ImagePull,
        // The pod started before its Secret, which is created right after the Job.
        "CreateContainerConfigError" if awaits_secret(pod, message) => return None,
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Reason::ProvisionTimeout
        }
        _ => return None,
    };
    let hint = (reason == Reason::ImagePull).then(|| {
        "check AGENT_IMAGE, the settings file's imagePullSecrets, and that the nodes reach the registry"
            .to_owned()
    });
    Some(remark(reason, Message { text: sentence(kind, message), hint }))
}

fn awaits_secret(pod: &Pod, message: &str) -> bool {
    let run = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::RUN));
    run.is_some_and(|run| message.contains(&format!("secret \"{run}\" not found")))
}

/// Who is ending the pod, where it is not its Job, and the reason where it is known.
fn disruption(pod: &Pod) -> Option<(Option<Reason>, String)> {
    let target = condition(pod, "DisruptionTarget").filter(|it| it.status == "True")?;
    let kind = target.reason.as_deref().unwrap_or_default();
    let reason = match kind {
        "DeletionByTaintManager" | "DeletionByPodGC" => Reason::NodeLost,
        _ => Reason::Evicted,
    };
    Some((Some(reason), sentence(kind, target.message.as_deref().unwrap_or_default())))
}

/// The reason that a pod's own status names for its end.
fn pod_reason(reason: &str, message: &str) -> Option<Reason> {
    match reason {
        "Evicted" if used_up(message) => Some(Reason::DiskFull),
        "Evicted" | "Preempting" => Some(Reason::Evicted),
        "NodeLost" | "NodeShutdown" | "Shutdown" | "Terminated" => Some(Reason::NodeLost),
        "DeadlineExceeded" => Some(Reason::TaskTimeout),
        "NodeAffinity" | "UnexpectedAdmissionError" => Some(Reason::NoCapacity),
        out if out.starts_with("OutOf") => Some(Reason::NoCapacity),
        _ => None,
    }
}

/// Whether the kubelet evicted a pod for what the pod itself used, and not because its node has little left.
fn used_up(message: &str) -> bool {
    [
        "exceeded its local ephemeral storage limit",
        "ephemeral local storage usage exceeds",
        "Usage of EmptyDir volume",
    ]
    .iter()
    .any(|part| message.contains(part))
}

/// Whether the runtime could not start the container: the exit code is then not the agent's.
fn never_ran(over: &ContainerStateTerminated) -> bool {
    matches!(over.reason.as_deref(), Some("StartError" | "ContainerCannotRun" | "ContainerStatusUnknown"))
}

fn start_failure(over: &ContainerStateTerminated) -> String {
    if never_ran(over) {
        sentence(over.reason.as_deref().unwrap_or_default(), over.message.as_deref().unwrap_or_default())
    } else {
        String::new()
    }
}

fn agent(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|it| it.name == CONTAINER)
}

fn condition<'p>(pod: &'p Pod, kind: &str) -> Option<&'p PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|it| it.type_ == kind)
}

#[cfg(test)]
mod tests;
