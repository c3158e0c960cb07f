use std::collections::BTreeMap;

use kube::api::ListParams;
use kube::core::Status;

use super::*;

fn cluster() -> Cluster {
    let config = Config::new("http://127.0.0.1:1/".parse().unwrap());
    Cluster {
        client: Client::try_from(config).unwrap(),
        calls: Arc::new(Semaphore::new(CALLS)),
        namespace: "builds".to_owned(),
        url: "http://127.0.0.1:1".to_owned(),
    }
}

#[tokio::test]
async fn a_refusal_has_a_hint() {
    let cluster = cluster();
    let refused = |code, message: &str| {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        let error = cluster.launch_error("creating the Job bk-1", &Error::Api(Box::new(status)));
        (error.reason, error.retryable, error.message)
    };
    let hint = |code, message: &str| refused(code, message).2.hint.unwrap();
    let quota =
        refused(403, "jobs.batch \"bk-1\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1");
    assert_eq!((quota.0, quota.1), (Reason::NoCapacity, true));
    assert!(quota.2.text.starts_with("creating the Job bk-1: jobs.batch"), "{}", quota.2);
    assert!(quota.2.hint.is_some_and(|hint| hint.starts_with("raise")));
    let right = refused(403, "jobs.batch is forbidden: User \"x\" cannot create resource \"jobs\"");
    assert_eq!((right.0, right.1), (Reason::LaunchRefused, false));
    assert!(right.2.hint.is_some_and(|hint| hint.contains("role.yaml")));
    assert!(hint(404, "namespaces \"builds\" not found").contains("K8S_NAMESPACE"));
    // The Job was there a moment ago.
    let gone = refused(404, "jobs.batch \"bk-1\" not found");
    assert_eq!((gone.0, gone.1), (Reason::PlatformUnreachable, true));
    assert!(
        refused(409, "Operation cannot be fulfilled on resourcequotas \"q\": the object has been modified").1
    );
    assert!(refused(401, "Unauthorized").1);
    assert!(hint(422, "Job is invalid").contains("K8S_CONFIG_PATH"));
    assert_eq!(refused(500, "etcd").0, Reason::PlatformUnreachable);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    let cluster = cluster();
    let refused =
        cluster.call("listing Jobs", cluster.jobs().list(&ListParams::default())).await.unwrap_err();
    let text = refused.error.message.text;
    assert!(
        text.starts_with("listing Jobs: the Kubernetes API at http://127.0.0.1:1 does not answer ("),
        "{text}"
    );
    assert!(text.contains("refused") && refused.error.retryable, "{text}");
}

#[tokio::test]
async fn without_a_cluster_every_searched_location_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let find = async |vars: &[(&str, &str)]| {
        let vars: BTreeMap<_, _> =
            vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Cluster::find(&vars, "builds").await.unwrap_err()
    };
    let home = folder.path().display().to_string();
    assert!(find(&[("HOME", &home)]).await.text.contains("KUBECONFIG is not set"));
    let error = find(&[("KUBECONFIG", "/nowhere")]).await;
    assert!(error.text.starts_with("KUBECONFIG=/nowhere cannot be used: "), "{error}");
    assert!(error.hint.contains("kubeconfig"), "{error:?}");
    std::fs::create_dir(folder.path().join(".kube")).unwrap();
    std::fs::write(folder.path().join(".kube/config"), "clusters: 3").unwrap();
    assert!(find(&[("HOME", &home)]).await.text.contains(".kube/config cannot be used: "));
}
