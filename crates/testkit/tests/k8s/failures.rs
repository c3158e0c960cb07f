//! Failures of pods, and what a user sees of them: in the log, and as a reason in JSON.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::{Ended, Log, finish};
use bakery_testkit::cluster::Cluster;
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered};
use serde_json::json;

use bakery_testkit::k8s_env::{K8sEnv, single};

/// Checks the build's exit code, its reason, and texts of its output.
async fn expect(
    env: &K8sEnv,
    project: &Project,
    ended: &Ended,
    code: i32,
    reason: &str,
    words: &[&str],
) -> Result<()> {
    let details = env.details(ended);
    ensure!(ended.code == Some(code), "exit {code} was expected\n{details}");
    let view = env.view(project, &ended.build()?).await?;
    ensure!(view["reason"] == reason, "{reason} was expected: {view}\n{details}");
    for word in words {
        ensure!(ended.out.contains(word) || ended.err.contains(word), "no {word:?} in\n{details}");
    }
    println!("--- {reason}, exit {code}\n{}", ended.err);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_exceeds_the_tasks_memory_is_reported_as_out_of_memory() -> Result<()> {
    let env = K8sEnv::start("oom", &[]).await?;
    let config = single(&env.image("oom/app:1")).replace("global:\n", "global:\n  memory: 128\n");
    let project = Project::new(&env.parts, "RUN x=xxxxxxxx; while true; do x=$x$x; done", &config)?;
    let ended = env.client(&project).run(&[]).await?;
    expect(&env, &project, &ended, 1, "out-of-memory", &["memory"]).await?;
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_reported_at_once_and_fails_at_the_provision_deadline() -> Result<()>
{
    let registry = Cluster::required().agent_image;
    let image =
        registry.rsplit_once("/bakery/").context("the ladder's registry")?.0.to_owned() + "/nothing/here:1";
    let vars = [("AGENT_IMAGE", image.as_str()), ("BUILD_PROVISION_TIMEOUT", "12s")];
    let env = K8sEnv::start("pull", &vars).await?;
    let project = Project::new(&env.parts, "RUN true", &single(&env.image("pull/app:1")))?;
    let ended = env.client(&project).run(&[]).await?;
    let words = ["ErrImagePull", &image, "BUILD_PROVISION_TIMEOUT (12s)", "AGENT_IMAGE"];
    expect(&env, &project, &ended, 4, "image-pull", &words).await?;
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_scheduled_reports_what_is_missing() -> Result<()> {
    let env = K8sEnv::start("capacity", &[("BUILD_PROVISION_TIMEOUT", "4s")]).await?;
    let config = single(&env.image("capacity/app:1")).replace("global:\n", "global:\n  cpu: 500\n");
    let project = Project::new(&env.parts, "RUN true", &config)?;
    let ended = env.client(&project).run(&[]).await?;
    let words = ["Insufficient cpu", "retrying once"];
    expect(&env, &project, &ended, 4, "no-capacity", &words).await?;
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_architecture_that_no_node_has_is_reported() -> Result<()> {
    let env = K8sEnv::start("arch", &[("BUILD_PROVISION_TIMEOUT", "4s")]).await?;
    let config = single(&env.image("arch/app:1")).replace("arch: amd64", "arch: arm64");
    let project = Project::new(&env.parts, "RUN true", &config)?;
    let ended = env.client(&project).run(&[]).await?;
    let words = ["no node of the cluster is labelled kubernetes.io/arch=arm64,kubernetes.io/os=linux"];
    expect(&env, &project, &ended, 1, "no-such-arch", &words).await?;
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_deleted_by_hand_is_noticed_and_tried_once_more() -> Result<()> {
    let env = K8sEnv::start("deleted", &[]).await?;
    let steps = format!("{}\nRUN sleep 600", numbered("tick", 1, 100));
    let project = Project::new(&env.parts, &steps, &single(&env.image("deleted/app:1")))?;
    let client = env.client(&project);
    let child = client.spawn(&[])?;
    for attempt in [1, 2] {
        let mut found = None;
        // This line of the step comes before the deletion, so the agent has connected.
        until("a running pod of this attempt", Duration::from_mins(1), async || {
            let pods = env.namespace.ours("pods").await.unwrap_or_default();
            found = pods.into_iter().find_map(|pod| {
                let name = pod["metadata"]["name"].as_str()?.to_owned();
                let this =
                    pod["metadata"]["labels"]["bakery.run"].as_str()?.ends_with(&format!("-{attempt}"));
                (this && pod["status"]["phase"] == "Running").then_some(name)
            });
            found.is_some()
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        env.namespace.kubectl(&["delete", "pod", &found.context("a pod")?, "--wait=false"]).await?;
    }
    let ended = finish(child).await?;
    let words = ["the pod is being deleted, and not by this server", "retrying once"];
    expect(&env, &project, &ended, 4, "evicted", &words).await?;
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_of_a_job_deleted_by_hand_ends_before_the_next_attempt_starts() -> Result<()> {
    let env = K8sEnv::start("orphaned", &[]).await?;
    // The step ignores SIGTERM, so the pod outlives its Job for the whole grace period.
    let steps = format!("{}\nRUN trap '' TERM; sleep 20", numbered("tick", 1, 100));
    let project = Project::new(&env.parts, &steps, &single(&env.image("orphaned/app:1")))?;
    let client = env.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 1").await?.build.context("build")?;
    env.namespace.kubectl(&["delete", "job", &format!("bk-{build}-0-1"), "--wait=false"]).await?;
    let mut most = 0;
    until("a second attempt", Duration::from_mins(1), async || {
        let pods = env.namespace.ours("pods").await.unwrap_or_default();
        let live = |phase: &serde_json::Value| phase == "Running" || phase == "Pending";
        most = most.max(pods.iter().filter(|pod| live(&pod["status"]["phase"])).count());
        pods.iter().any(|pod| {
            pod["metadata"]["labels"]["bakery.run"].as_str().is_some_and(|run| run.ends_with("-2"))
        })
    })
    .await?;
    ensure!(most == 1, "{most} pods of one task lived at the same time");
    log.until("tick 1").await?;
    ensure!(child.wait().await?.code() == Some(0), "{}", env.server.log());
    env.gone(Duration::from_secs(30)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_named_whether_it_forbids_the_job_or_its_pod() -> Result<()> {
    let env = K8sEnv::start("quota", &[("BUILD_PROVISION_TIMEOUT", "4s")]).await?;
    let project = Project::new(&env.parts, "RUN true", &single(&env.image("quota/app:1")))?;
    for hard in [json!({ "pods": "0" }), json!({ "count/jobs.batch": "0" })] {
        let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none" },
                            "spec": { "hard": hard } });
        env.namespace.apply(&quota).await?;
        until("a quota that counts", Duration::from_secs(20), async || {
            let quotas = env.namespace.get("resourcequotas").await.unwrap_or_default();
            quotas.first().is_some_and(|quota| quota["status"]["hard"] == hard)
        })
        .await?;
        let ended = env.client(&project).run(&[]).await?;
        let words = ["exceeded quota: none", "ResourceQuota"];
        expect(&env, &project, &ended, 4, "no-capacity", &words).await?;
        env.namespace.kubectl(&["delete", "resourcequota", "none"]).await?;
    }
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_missing_is_named() -> Result<()> {
    let cluster = Cluster::required();
    let kubeconfig = cluster.kubeconfig.display().to_string();
    // With every right, so that no right is missing.
    let vars = [("K8S_NAMESPACE", "bakery-nowhere"), ("KUBECONFIG", kubeconfig.as_str())];
    let env = K8sEnv::start("missing", &vars).await?;
    let project = Project::new(&env.parts, "RUN true", &single(&env.image("missing/app:1")))?;
    let ended = env.client(&project).run(&[]).await?;
    let words = ["namespaces \"bakery-nowhere\" not found", "K8S_NAMESPACE"];
    expect(&env, &project, &ended, 4, "launch-refused", &words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_admits_no_root_is_named() -> Result<()> {
    let env = K8sEnv::start("restricted", &[("BUILD_PROVISION_TIMEOUT", "4s")]).await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    env.namespace.cluster.kubectl(&["label", "namespace", &env.namespace.name, label, "--overwrite"]).await?;
    let project = Project::new(&env.parts, "RUN true", &single(&env.image("restricted/app:1")))?;
    let ended = env.client(&project).run(&[]).await?;
    let words = ["violates PodSecurity", "baseline"];
    expect(&env, &project, &ended, 4, "launch-refused", &words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fills_its_disk_is_evicted_and_reports_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pods.yaml").display().to_string();
    for (name, settings, script, words) in [
        (
            "disk",
            "ephemeralStorage: 64Mi",
            "RUN dd if=/dev/zero of=/big bs=1M count=200 && sleep 120",
            "ephemeral",
        ),
        (
            "volume",
            "workVolume: { emptyDir: { sizeLimit: 64Mi } }",
            "RUN true",
            "EmptyDir volume \"bakery-work\"",
        ),
    ] {
        std::fs::write(&file, format!("k8s: {{ {settings} }}\n"))?;
        let env = K8sEnv::start(name, &[("K8S_CONFIG_PATH", &file)]).await?;
        // Files that a pre-script writes to the root of the source are on the work volume.
        let script_of_volume =
            "  pre-script: dd if=/dev/zero of=big bs=1M count=200 2>/dev/null; sleep 120\n";
        let config = single(&env.image("disk/app:1"));
        let config = if name == "volume" {
            config.replace("global:\n", &format!("global:\n{script_of_volume}"))
        } else {
            config
        };
        let project = Project::new(&env.parts, script, &config)?;
        let ended = env.client(&project).run(&[]).await?;
        expect(&env, &project, &ended, 1, "disk-full", &[words]).await?;
        env.gone(Duration::from_secs(20)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_the_pod() -> Result<()> {
    let env = K8sEnv::start("cancel", &[]).await?;
    let steps = format!("{}\nRUN sleep 600", numbered("tick", 3, 100));
    let project = Project::new(&env.parts, &steps, &single(&env.image("cancel/app:1")))?;
    let client = env.client(&project);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 3").await?.build.context("build")?;
    let cancelled = client.run(&["cancel", &build]).await?;
    ensure!(cancelled.code == Some(0), "{}", env.details(&cancelled));
    env.gone(Duration::from_secs(15)).await?;
    ensure!(child.wait().await?.code() == Some(1), "a build that somebody else cancelled did not fail");
    Ok(())
}
