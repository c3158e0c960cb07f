//! Settings that cannot work are refused at start, in one report.

use anyhow::{Result, ensure};

use bakery_testkit::k8s_env::K8sEnv;

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_of_the_settings_and_of_the_settings_file_come_in_one_report() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pods.yaml").display().to_string();
    std::fs::write(
        &file,
        "k8s:\n  nodeSelektor: { pool: builds }\n  tolerations: [{ efect: NoSchedule }]\n",
    )?;
    let vars = [("K8S_CONFIG_PATH", file.as_str()), ("MAX_RUNS", "none"), ("CONTROLLER_URL", "")];
    let mut env = K8sEnv::stopped("settings", &vars).await?;
    ensure!(env.server.run().await.is_err());
    let log = env.server.log();
    for expected in [
        "4 mistakes",
        "pods.yaml:2:3: k8s.nodeSelektor",
        "did you mean `nodeSelector`?",
        "efect",
        "MAX_RUNS",
        "CONTROLLER_URL",
    ] {
        ensure!(log.contains(expected), "no {expected:?} in\n{log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_kubeconfig_is_named() -> Result<()> {
    let mut env = K8sEnv::stopped("kubeconfig", &[("KUBECONFIG", "/nowhere/kubeconfig")]).await?;
    ensure!(env.server.run().await.is_err());
    let log = env.server.log();
    ensure!(log.contains("KUBECONFIG=/nowhere/kubeconfig cannot be used") && log.contains("hint: "), "{log}");
    Ok(())
}
