use std::time::Duration;

use bakery_core::names::{Arch, BuildId, TaskId};

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
        env: env.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
        deadline: Duration::from_mins(25),
    }
}

fn house(pods: &str) -> House {
    let pods = PodSettings::read("pods.yaml", pods).unwrap();
    House { installation: "1f0c".to_owned(), image: "docker.io/me/agent:1".to_owned(), pods }
}

#[test]
fn an_order_becomes_a_job() {
    insta::assert_snapshot!(serde_yaml::to_string(&house("").job(&order())).unwrap());
}

#[test]
fn the_operators_settings_become_part_of_the_pod() {
    let settings = "k8s:\n  serviceAccountName: bakery-agent\n  nodeSelector: { pool: ovens, kubernetes.io/arch: s390x }\n  \
                    tolerations: [{ key: ovens, operator: Exists, effect: NoSchedule }]\n  \
                    imagePullSecrets: [{ name: reg-login }]\n  priorityClassName: low\n  \
                    annotations: { team: bread, karpenter.sh/do-not-disrupt: 'false' }\n  ephemeralStorage: 50Gi\n  \
                    workVolume: { emptyDir: { sizeLimit: 10Gi } }\n  \
                    layersVolume: { ephemeral: { storageClassName: fast, storage: 100Gi } }\n";
    let job = house(settings).job(&order());
    insta::assert_snapshot!(serde_yaml::to_string(&job.spec.unwrap().template).unwrap());
    let nodes = house(settings).nodes("arm64");
    assert_eq!(
        (nodes.labels.as_str(), nodes.any),
        ("kubernetes.io/arch=arm64,kubernetes.io/os=linux,pool=ovens", false)
    );
    assert!(house("").nodes("arm64").any);
}

#[test]
fn what_the_pod_spec_may_not_show_lies_in_a_secret_that_the_job_owns() {
    let house = house("");
    let mut job = house.job(&order());
    assert!(!serde_json::to_string(&job).unwrap().contains("t0ken"));
    job.metadata.uid = Some("5f0d".to_owned());
    insta::assert_snapshot!(serde_yaml::to_string(&house.secret(&order(), &job)).unwrap());
}

#[test]
fn an_object_is_ours_by_its_labels() {
    let (house, order) = (house(""), order());
    let labels = house.job(&order).metadata.labels;
    assert_eq!(house.run_of(labels.as_ref()), Some(order.run));
    let other = House { installation: "other".to_owned(), ..house };
    assert_eq!(other.run_of(labels.as_ref()), None);
}
