//! `kubectl apply -k` of the example deployment, with images of this checkout: the server starts in the cluster, and a
//! client outside builds through it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::Client;
use bakery_testkit::cluster::{Cluster, Namespace, example};
use bakery_testkit::parts::Parts;
use bakery_testkit::project::{Project, copy, numbered};
use bakery_testkit::registry::Registry;
use bakery_testkit::vars;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use bakery_testkit::k8s_env::{CLUSTER_LOCK, single};

const TOKEN: &str = "flour-water-salt-and-time";

/// The example's folder with the values that an operator has to set by its comments.
fn filled_in(into: &Path, namespace: &Namespace, registry: &Registry, parts: &Parts) -> Result<()> {
    copy(&example(""), into)?;
    let change = |file: &str, changes: &[(&str, &str)]| -> Result<()> {
        let mut text = fs::read_to_string(into.join(file))?;
        for (from, to) in changes {
            ensure!(text.contains(from), "{file} does not hold {from:?}");
            text = text.replace(from, to);
        }
        Ok(fs::write(into.join(file), text)?)
    };
    let image = vars::K8S_SERVER_IMAGE.required();
    let (name, tag) = image.rsplit_once(':').context("the server image has no tag")?;
    let url = format!("CONTROLLER_URL=http://bakery.{}.svc:3000", namespace.name);
    let agent = format!("AGENT_IMAGE={}", namespace.cluster.agent_image);
    let insecure = format!("INSECURE_REGISTRIES={},{}\n", registry.host, parts.base_registry());
    change(
        "kustomization.yaml",
        &[
            ("namespace: bakery\n", &format!("namespace: {}\n", namespace.name)),
            ("  newTag: 0.1.0\n", &format!("  newName: {name}\n  newTag: {tag}\n")),
        ],
    )?;
    change(
        ".env",
        &[
            ("CONTROLLER_URL=https://bakery.example.com", &url),
            ("AGENT_IMAGE=docker.io/rayshoo/bakery-agent:0.1.0", &agent),
            ("BAKERY_TOKEN=\n", &format!("BAKERY_TOKEN={TOKEN}\n{insecure}")),
        ],
    )
}

/// Forwards a local port to the server's port; ends when dropped.
async fn forward(namespace: &Namespace) -> Result<(Child, String)> {
    let mut command = namespace.cluster.command(&[
        "-n",
        &namespace.name,
        "port-forward",
        "deployment/bakery",
        ":3000",
        "--address=127.0.0.1",
    ]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().context("stdout")?).read_line(&mut line).await?;
    let port = line.split_whitespace().find_map(|word| word.strip_prefix("127.0.0.1:"));
    let port = port.with_context(|| format!("kubectl port-forward printed {line:?}"))?;
    Ok((child, format!("http://127.0.0.1:{port}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_deployment_builds_for_a_client_outside() -> Result<()> {
    let _lock = CLUSTER_LOCK.read().await;
    let (parts, cluster) = (Parts::required(), Cluster::required());
    let registry = Registry::start(&parts).await?;
    let namespace = Namespace::create(&cluster, "deploy").await?;
    // A cluster that was started here has no provisioner of volumes.
    cluster.script(&["volume", &namespace.name, "40Gi"]).await?;
    let folder = tempfile::tempdir()?;
    filled_in(folder.path(), &namespace, &registry, &parts)?;
    cluster.kubectl(&["apply", "-k", &folder.path().display().to_string()]).await?;
    let rolled = namespace.kubectl(&["rollout", "status", "deployment/bakery", "--timeout=120s"]).await;
    if let Err(error) = rolled {
        let pods = namespace.kubectl(&["describe", "pods"]).await.unwrap_or_default();
        let log = namespace.kubectl(&["logs", "deployment/bakery", "--tail=50"]).await.unwrap_or_default();
        anyhow::bail!("{error}\n{pods}\n{log}");
    }
    let (_forward, url) = forward(&namespace).await?;
    let image = format!("{}/deployed/app:1", registry.host);
    let project = Project::new(&parts, &numbered("line", 5, 100), &single(&image))?;
    let client = Client::new(&parts, project.path(), &url);
    let refused = client.run(&[]).await?;
    ensure!(refused.code != Some(0) && refused.err.contains("BAKERY_TOKEN"), "{}", refused.err);
    let ended = client.with("BAKERY_TOKEN", TOKEN).run(&[]).await?;
    let log = namespace.kubectl(&["logs", "deployment/bakery"]).await?;
    ensure!(ended.code == Some(0), "{}\n{}\nserver:\n{log}", ended.out, ended.err);
    ensure!(ended.numbers("line")? == [1, 2, 3, 4, 5], "{}", ended.out);
    ensure!(!log.contains("WARN"), "{log}");

    // It meets the level `restricted`, and was never restarted.
    let pods = namespace.get("pods").await?;
    let server: &Value = pods
        .iter()
        .find(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "bakery")
        .context("the server's pod")?;
    ensure!(server["status"]["containerStatuses"][0]["restartCount"] == 0, "{server}");
    let jobs = async || namespace.ours("jobs,pods,secrets").await.is_ok_and(|left| left.is_empty());
    bakery_testkit::process::until("an empty namespace", Duration::from_secs(20), jobs).await?;
    // A dry run of the label warns about pods that the level would not admit: only the server's pod exists now.
    let label = "pod-security.kubernetes.io/enforce=restricted";
    let mut relabel =
        cluster.command(&["label", "--dry-run=server", "--overwrite", "namespace", &namespace.name, label]);
    let relabelled = relabel.output().await?;
    let warned = String::from_utf8_lossy(&relabelled.stderr);
    ensure!(
        relabelled.status.success() && warned.is_empty(),
        "the server's pod is less restricted than its labels: {warned}"
    );
    Ok(())
}
