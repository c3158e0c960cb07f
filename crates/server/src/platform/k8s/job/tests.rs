use std::time::Duration;

use bakery_core::names::{Arch, BuildId, TaskId};
use k8s_openapi::api::core::v1::{LocalObjectReference, Toleration};
use serde_json::json;

use super::*;

fn order() -> LaunchOrder {
    let env = [
        (launch_env::URL, "https://bakery.example.com"),
        (launch_env::RUN, "bk-01kanar9g00000000000000007-1-1"),
        (launch_env::TOKEN, "t0ken"),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("SOMETHING_NEW", "unknown"),
    ];
    LaunchOrder {
        run: RunName { task: TaskId { build: BuildId::new(1_763_800_000_000, 7), index: 1 }, attempt: 1 },
        arch: Arch::Arm64,
        cpu_millis: 500,
        memory_mib: 2048,
        disk_mib: None,
        env: env.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
        deadline: Duration::from_mins(25),
    }
}

fn template(pods: PodOptions) -> JobTemplate {
    JobTemplate { installation: "1f0c".to_owned(), image: "docker.io/me/agent:1".to_owned(), pods }
}

fn operators() -> PodOptions {
    let texts = |texts: &[(&str, &str)]| {
        texts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let kubernetes = |value: serde_json::Value| serde_json::from_value(value).unwrap();
    let claim = json!({ "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": "100Gi" } },
        "storageClassName": "fast",
    }});
    PodOptions {
        service_account_name: Some("bakery-agent".to_owned()),
        node_selector: texts(&[("pool", "builds"), ("kubernetes.io/arch", "s390x")]),
        tolerations: vec![Toleration {
            key: Some("builds".to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoSchedule".to_owned()),
            ..Toleration::default()
        }],
        affinity: None,
        image_pull_secrets: vec![LocalObjectReference { name: "reg-login".to_owned() }],
        priority_class_name: Some("low".to_owned()),
        annotations: texts(&[("team", "bread"), ("karpenter.sh/do-not-disrupt", "false")]),
        ephemeral_storage: Some("50Gi".to_owned()),
        work_volume: Some(kubernetes(json!({ "name": "", "emptyDir": { "sizeLimit": "10Gi" } }))),
        layers_volume: Some(kubernetes(json!({ "name": "", "ephemeral": { "volumeClaimTemplate": claim } }))),
        capabilities: AgentCapabilities::allowing(vec!["NET_RAW"]),
    }
}

#[test]
fn an_order_becomes_a_job() {
    insta::assert_snapshot!(serde_yaml::to_string(&template(PodOptions::default()).job(&order())).unwrap());
}

#[test]
fn the_operators_settings_become_part_of_the_pod() {
    let operators = template(operators());
    let job = operators.job(&order());
    insta::assert_snapshot!(serde_yaml::to_string(&job.spec.unwrap().template).unwrap());
    let nodes = operators.nodes("arm64");
    assert_eq!(
        (nodes.labels.as_str(), nodes.any),
        ("kubernetes.io/arch=arm64,kubernetes.io/os=linux,pool=builds", false)
    );
    assert!(template(PodOptions::default()).nodes("arm64").any);
}

#[test]
fn a_tasks_disk_is_request_and_limit_also_where_the_operator_sets_one() {
    for pods in [PodOptions::default(), operators()] {
        let order = LaunchOrder { disk_mib: Some(40 << 10), ..order() };
        let pod = template(pods).job(&order).spec.unwrap().template.spec.unwrap();
        insta::allow_duplicates! {
            insta::assert_snapshot!(serde_yaml::to_string(&pod.containers[0].resources).unwrap(), @"
            limits:
              cpu: 500m
              ephemeral-storage: 40960Mi
              memory: 2048Mi
            requests:
              cpu: 500m
              ephemeral-storage: 40960Mi
              memory: 2048Mi
            ");
        }
    }
}

#[test]
fn secrets_are_in_a_secret_object_that_the_job_owns() {
    let template = template(PodOptions::default());
    let mut job = template.job(&order());
    assert!(!serde_json::to_string(&job).unwrap().contains("t0ken"));
    job.metadata.uid = Some("5f0d".to_owned());
    insta::assert_snapshot!(serde_yaml::to_string(&template.secret(&order(), &job)).unwrap());
}

#[test]
fn an_object_is_ours_by_its_labels() {
    let (template, order) = (template(PodOptions::default()), order());
    let labels = template.job(&order).metadata.labels;
    assert_eq!(template.run_of(labels.as_ref()), Some(order.run));
    let other = JobTemplate { installation: "other".to_owned(), ..template };
    assert_eq!(other.run_of(labels.as_ref()), None);
}
