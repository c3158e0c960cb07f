use serde_json::{Value, json};

use super::*;

fn nodes(any: bool) -> Nodes {
    Nodes { labels: "kubernetes.io/arch=arm64".to_owned(), any }
}

fn read(body: Value) -> Pod {
    serde_json::from_value(body).unwrap()
}

/// The remark on a pod for which the scheduler gives this message.
fn unscheduled_by(message: &str, any: bool) -> Remark {
    let pod = read(json!({ "status": { "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }] } }));
    match super::pod(&pod, &nodes(any), false) {
        ObservedPodStatus::Open(mut remarks) => remarks.remove(0),
        ObservedPodStatus::Over(exit) => panic!("{exit:?}"),
    }
}

/// The reason for the end of a pod that the kubelet evicted with this message.
fn evicted_for(message: &str) -> Option<Reason> {
    ended(&read(json!({ "status": { "phase": "Failed", "reason": "Evicted", "message": message } }))).reason
}

#[test]
fn a_missing_architecture_differs_from_missing_capacity() {
    let mismatch = "2 node(s) didn't match Pod's node affinity/selector";
    let control = "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }";
    for (message, reason) in [
        (
            format!(
                "0/2 nodes are available: {mismatch}. preemption: 0/2 nodes are available: 2 Preemption is not helpful."
            ),
            Reason::NoSuchArch,
        ),
        (format!("0/3 nodes are available: {control}, {mismatch}."), Reason::NoSuchArch),
        (format!("0/3 nodes are available: 1 node(s) were unschedulable, {mismatch}."), Reason::NoCapacity),
        (format!("0/3 nodes are available: 1 Insufficient cpu, {mismatch}."), Reason::NoCapacity),
        (format!("0/1 nodes are available: {control}."), Reason::NoCapacity),
        ("0/1 nodes are available: 1 Insufficient memory.".to_owned(), Reason::NoCapacity),
        ("running PreBind plugin: timed out".to_owned(), Reason::NoCapacity),
    ] {
        assert_eq!(unscheduled_by(&message, true).reason, Some(reason), "{message}");
    }
    let own = unscheduled_by(&format!("0/2 nodes are available: {mismatch}."), false);
    assert_eq!(
        own.reason,
        Some(Reason::NoCapacity),
        "a mismatch of the operator's own labels is not the build's fault"
    );
    assert!(
        own.message.text.contains("labelled kubernetes.io/arch=arm64")
            && !own.message.text.contains("preemption"),
        "{}",
        own.message
    );
}

#[test]
fn a_pod_that_used_up_its_disk_differs_from_one_whose_node_ran_out() {
    // The kubelet's own messages (pkg/kubelet/eviction/helpers.go).
    for (message, reason) in [
        ("Pod ephemeral local storage usage exceeds the total limit of containers 64Mi. ", Reason::DiskFull),
        ("Container agent exceeded its local ephemeral storage limit \"20Gi\". ", Reason::DiskFull),
        ("Usage of EmptyDir volume \"bakery-work\" exceeds the limit \"10Gi\". ", Reason::DiskFull),
        (
            "The node was low on resource: ephemeral-storage. Threshold quantity: 1, available: 0. Container agent was \
          using 3Gi, request is 2Gi, has larger consumption of ephemeral-storage. ",
            Reason::Evicted,
        ),
        ("The node was low on resource: memory. ", Reason::Evicted),
    ] {
        assert_eq!(evicted_for(message), Some(reason), "{message}");
    }
}

#[test]
fn who_ends_a_pod_gives_the_reason() {
    let ended_by = |reason: &str| {
        let pod = read(
            json!({ "metadata": { "deletionTimestamp": "2026-11-25T09:00:00Z" }, "status": { "phase": "Failed",
            "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": reason, "message": "why" }] } }),
        );
        ended(&pod).reason
    };
    for (condition, reason) in [
        ("EvictionByEvictionAPI", Reason::Evicted),
        ("PreemptionByScheduler", Reason::Evicted),
        ("TerminationByKubelet", Reason::Evicted),
        ("DeletionByTaintManager", Reason::NodeLost),
        ("DeletionByPodGC", Reason::NodeLost),
    ] {
        assert_eq!(ended_by(condition), Some(reason), "{condition}");
    }
}

#[test]
fn the_end_of_a_container_includes_its_last_output() {
    let ended_as = |terminated: Value| {
        ended(&read(json!({ "status": { "phase": "Failed", "containerStatuses": [
            { "name": "agent", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": { "terminated": terminated } }] } })))
    };
    let oom = ended_as(json!({ "exitCode": 137, "reason": "OOMKilled" }));
    assert_eq!((oom.code, oom.reason), (Some(137), Some(Reason::OutOfMemory)));
    let crashed = ended_as(json!({ "exitCode": 2, "reason": "Error", "message": "panic: no url\n" }));
    assert_eq!(crashed.message, "the container exited with code 2; its last output:\n  panic: no url".into());
    let foreign =
        ended_as(json!({ "exitCode": 128, "reason": "StartError", "message": "exec: exec format error" }));
    assert_eq!((foreign.code, foreign.reason), (None, Some(Reason::NoSuchArch)));
    assert!(foreign.message.hint.is_some_and(|hint| hint.starts_with("AGENT_IMAGE")));
}

#[test]
fn a_cancelled_eviction_is_not_reported() {
    let of = |message: &str| {
        let body = json!({ "metadata": {}, "reason": "TaintManagerEviction", "message": message,
            "involvedObject": { "kind": "Pod", "name": "bk-01kanar9g00000000000000007-1-1-abcde" } });
        event(&serde_json::from_value(body).unwrap())
    };
    assert!(of("Marking for deletion Pod builds/bk").is_some());
    assert!(of("Cancelling deletion of Pod builds/bk").is_none());
}
