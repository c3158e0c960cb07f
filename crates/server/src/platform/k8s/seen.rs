//! The pure half of watching: what the API server shows of Jobs, pods and events becomes words and endings.

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
use super::cluster::one_line;

/// What to do where a namespace may have no more.
pub(super) const QUOTA_HINT: &str =
    "raise the namespace's ResourceQuota, or lower MAX_RUNS or the task's cpu and memory";

/// Something worth saying of a run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// The machine's word, where it is trouble.
    pub(super) reason: Option<Reason>,
    /// The same for people.
    pub(super) message: Message,
}

/// On which nodes a pod may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nodes {
    /// The labels that a node must have.
    pub(super) labels: String,
    /// Nothing but the task's architecture is asked of a node.
    pub(super) any: bool,
}

/// What a Job or a pod has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not over; with what there is to say of it now.
    Open(Vec<Word>),
    /// Over, and how.
    Over(Exit),
}

fn word(reason: impl Into<Option<Reason>>, message: impl Into<Message>) -> Word {
    Word { reason: reason.into(), message: message.into() }
}

/// What a pod has come to. `stopped` says that this server ends it.
pub(super) fn pod(pod: &Pod, nodes: &Nodes, stopped: bool) -> Standing {
    let status = pod.status.as_ref();
    if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return Standing::Over(ended(pod));
    }
    let state = agent(pod).and_then(|agent| agent.state.as_ref());
    let mut words = Vec::new();
    if let Some(refused) = condition(pod, "PodScheduled").filter(|it| it.status == "False") {
        words.push(unscheduled(refused, nodes));
    }
    if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        words.push(word(None, format!("the pod is on node {node}")));
    }
    match state {
        Some(ContainerState { waiting: Some(waiting), .. }) => words.extend(held_up(pod, waiting)),
        Some(ContainerState { running: Some(_), .. }) => words.push(word(None, "the container has started")),
        _ => {}
    }
    if let Some((reason, why)) = disruption(pod) {
        words.push(word(reason, format!("the pod is being ended: {why}")));
    } else if pod.metadata.deletion_timestamp.is_some() && !stopped {
        words.push(word(None, "the pod is being deleted, and not by this server"));
    }
    Standing::Open(words)
}

/// How a pod's agent ended, from the last that was seen of the pod; one that was deleted may show nothing of an end.
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
        .or_else(|| of_pod(reason, message));
    let deleted = pod.metadata.deletion_timestamp.is_some();
    let said = match (&disruption, message) {
        (_, message) if !message.is_empty() => sentence(reason, message),
        (Some((_, text)), _) => text.clone(),
        _ if !reason.is_empty() => reason.to_owned(),
        _ => over.map(broken_start).unwrap_or_default(),
    };
    let said =
        if said.is_empty() && over.is_none() && deleted { "the pod was deleted".to_owned() } else { said };
    let tail = over.and_then(|over| over.message.as_deref()).unwrap_or_default();
    let started = over.is_some_and(|over| !never_ran(over));
    Exit::of(&End {
        code: over.map(|over| over.exit_code).filter(|_| started),
        reason: why,
        detail: Some(&said),
        tail: &if started { tail_of(tail.as_bytes()) } else { Vec::new() },
        arch_hint: "AGENT_IMAGE must be an index that holds the node's architecture",
        ..End::default()
    })
}

/// What a Job has come to by its own word. `Failed` counts as much as `Complete`.
pub(super) fn job(job: &Job) -> Option<Exit> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    let over = conditions
        .iter()
        .find(|it| it.status == "True" && matches!(it.type_.as_str(), "Failed" | "Complete"))?;
    let reason = over.reason.as_deref().unwrap_or_default();
    let said = sentence(reason, over.message.as_deref().unwrap_or_default());
    let why = (reason == "DeadlineExceeded").then_some(Reason::TaskTimeout);
    Some(Exit::of(&End { reason: why, detail: Some(&said), ..End::default() }))
}

/// An event about one of our Jobs or pods that tells what neither of them shows itself.
pub(super) fn event(event: &Event) -> Option<(RunName, Word)> {
    let of = &event.involved_object;
    let name = of.name.as_deref()?;
    let run = match of.kind.as_deref()? {
        "Job" => name.parse().ok()?,
        // The Job's name and five characters.
        "Pod" => name.rsplit_once('-')?.0.parse().ok()?,
        _ => return None,
    };
    let (reason, message) = (event.reason.as_deref()?, event.message.as_deref().unwrap_or_default());
    let word = match reason {
        "Pulling" => word(None, lower(message)),
        "Pulled" if message.starts_with("Successfully") => word(None, lower(message)),
        "FailedCreate" => failed_create(message),
        "NodeNotReady" => word(Reason::NodeLost, format!("the pod's node does not answer: {message}")),
        "TaintManagerEviction" if message.starts_with("Marking") => word(Reason::NodeLost, lower(message)),
        "Evicted" => word(of_pod(reason, message), sentence(reason, message)),
        "Preempting" | "Preempted" => word(Reason::Evicted, sentence(reason, message)),
        "FailedMount"
        | "FailedAttachVolume"
        | "FailedMapVolume"
        | "FailedBinding"
        | "ProvisioningFailed"
        | "FailedCreatePodSandBox"
        | "FailedCreatePodContainer"
        | "NetworkNotReady" => word(Reason::ProvisionTimeout, sentence(reason, message)),
        _ => return None,
    };
    Some((run, word))
}

/// The pod could not even be made.
fn failed_create(message: &str) -> Word {
    let (reason, hint) = if message.contains("exceeded quota") {
        (Reason::NoCapacity, QUOTA_HINT)
    } else if message.contains("violates PodSecurity") {
        (Reason::LaunchRefused, "the namespace must admit Pod Security level `baseline`: Kaniko runs as root")
    } else if message.contains("serviceaccount") && message.contains("not found") {
        (Reason::LaunchRefused, "make the service account that the settings file (K8S_CONFIG_PATH) names")
    } else {
        (Reason::LaunchRefused, "`kubectl describe job` tells more")
    };
    word(reason, Message::new(format!("the pod cannot be made: {message}")).with_hint(hint))
}

fn unscheduled(refused: &PodCondition, nodes: &Nodes) -> Word {
    let message = refused.message.as_deref().unwrap_or_default();
    // What follows tells whose pods could be put out for this one, which is of no use to anybody here.
    let message = message.split(" preemption: ").next().unwrap_or_default().trim_end_matches('.');
    if !none_matches(message) {
        return word(Reason::NoCapacity, format!("the pod cannot be scheduled: {message}"));
    }
    let reason = if nodes.any { Reason::NoSuchArch } else { Reason::NoCapacity };
    word(reason, format!("no node of the cluster is labelled {} ({message})", nodes.labels))
}

/// Whether the scheduler says that no node has the labels: `0/3 nodes are available: 1 node(s) had untolerated taint
/// {node-role.kubernetes.io/control-plane: }, 2 node(s) didn't match Pod's node affinity/selector`. A control plane's node
/// is none that anything of ours could run on.
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

/// Why a container waits, where that is trouble.
fn held_up(pod: &Pod, waiting: &ContainerStateWaiting) -> Option<Word> {
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
        // The pod was faster than its Secret, which follows the Job at once.
        "CreateContainerConfigError" if awaits_secret(pod, message) => return None,
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Reason::ProvisionTimeout
        }
        _ => return None,
    };
    let hint = (reason == Reason::ImagePull).then(|| {
        "check AGENT_IMAGE, the settings file's imagePullSecrets, and the nodes' way to the registry"
            .to_owned()
    });
    Some(word(reason, Message { text: sentence(kind, message), hint }))
}

fn awaits_secret(pod: &Pod, message: &str) -> bool {
    let run = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::RUN));
    run.is_some_and(|run| message.contains(&format!("secret \"{run}\" not found")))
}

/// Who ends the pod, where it is not its Job: the reason is known for some of them.
fn disruption(pod: &Pod) -> Option<(Option<Reason>, String)> {
    let target = condition(pod, "DisruptionTarget").filter(|it| it.status == "True")?;
    let kind = target.reason.as_deref().unwrap_or_default();
    let reason = match kind {
        "DeletionByTaintManager" | "DeletionByPodGC" => Reason::NodeLost,
        _ => Reason::Evicted,
    };
    Some((Some(reason), sentence(kind, target.message.as_deref().unwrap_or_default())))
}

/// The pod's own word for its end.
fn of_pod(reason: &str, message: &str) -> Option<Reason> {
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

/// Whether the kubelet evicts a pod for what the pod has used itself, and not because its node has little left.
fn used_up(message: &str) -> bool {
    [
        "exceeded its local ephemeral storage limit",
        "ephemeral local storage usage exceeds",
        "Usage of EmptyDir volume",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// The runtime could not start the container: its code is not the agent's.
fn never_ran(over: &ContainerStateTerminated) -> bool {
    matches!(over.reason.as_deref(), Some("StartError" | "ContainerCannotRun" | "ContainerStatusUnknown"))
}

fn broken_start(over: &ContainerStateTerminated) -> String {
    if never_ran(over) {
        sentence(over.reason.as_deref().unwrap_or_default(), over.message.as_deref().unwrap_or_default())
    } else {
        String::new()
    }
}

fn agent(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|it| it.name == super::job::CONTAINER)
}

fn condition<'p>(pod: &'p Pod, kind: &str) -> Option<&'p PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|it| it.type_ == kind)
}

/// Kubernetes' word and its sentence, on one line.
fn sentence(word: &str, message: &str) -> String {
    let message = one_line(message);
    match (word, message.is_empty()) {
        ("", _) => message,
        (_, true) => word.to_owned(),
        (_, false) => format!("{word}: {message}"),
    }
}

/// Kubernetes begins its sentences with a capital; ours stand within a line.
fn lower(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
