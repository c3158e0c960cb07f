//! A Kubernetes cluster through kubectl, and namespaces in it that are deleted with their tests.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::repository;
use crate::vars;

/// The files of the example deployment that a namespace gets.
const FILES: [&str; 4] = ["namespace.yaml", "sa.yaml", "role.yaml", "rolebinding.yaml"];

/// The cluster under test, with every right in it.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// A kubeconfig file with every right in the cluster.
    pub kubeconfig: PathBuf,
    /// An address of this machine that pods reach.
    pub host: String,
    /// The agent image as nodes pull it.
    pub agent_image: String,
    kubectl: PathBuf,
    /// The script that started the cluster; `None` for an existing cluster.
    script: Option<PathBuf>,
}

impl Cluster {
    /// Reads it from the environment.
    ///
    /// # Panics
    /// If a variable is missing.
    pub fn required() -> Self {
        Self {
            kubeconfig: vars::KUBECONFIG.required().into(),
            host: vars::K8S_HOST.required(),
            agent_image: vars::K8S_AGENT_IMAGE.required(),
            kubectl: vars::KUBECTL.required().into(),
            script: vars::K8S_CLUSTER.optional().map(PathBuf::from),
        }
    }

    /// Runs `kubectl ARGS`; returns its output.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args).stdin(Stdio::null());
        let output = command.output().await.context("kubectl")?;
        ensure!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A long-running command of kubectl, such as a port-forward.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        command
    }

    /// Runs the script that started the cluster, for what kubectl cannot do; `None` for an existing cluster.
    pub async fn script(&self, args: &[&str]) -> Result<Option<String>> {
        let Some(script) = &self.script else { return Ok(None) };
        let output = Command::new(script).args(args).stdin(Stdio::null()).output().await?;
        ensure!(output.status.success(), "cluster {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// Whether the cluster was started for these tests, which may then disturb all of it.
    pub const fn is_ours(&self) -> bool {
        self.script.is_some()
    }

    /// Forwards plain HTTP to the API server, with every right; ends when dropped.
    pub async fn proxy(&self) -> Result<KubectlProxy> {
        let mut command = self.command(&["proxy", "--port=0"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("kubectl proxy")?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("stdout")?).read_line(&mut line).await?;
        let address = line.trim().strip_prefix("Starting to serve on ");
        let address = address.with_context(|| format!("kubectl proxy printed {line:?}"))?;
        Ok(KubectlProxy { url: format!("http://{address}"), _child: child })
    }

    /// The API server's `host:port`.
    pub async fn api(&self) -> Result<String> {
        let view = self.view().await?;
        let url = view["clusters"][0]["cluster"]["server"].as_str().context("no server in the kubeconfig")?;
        let host = url.trim_start_matches("https://").trim_end_matches('/');
        Ok(if host.contains(':') { host.to_owned() } else { format!("{host}:443") })
    }

    async fn view(&self) -> Result<Value> {
        let text = self.kubectl(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]).await?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// `kubectl proxy`.
#[derive(Debug)]
pub struct KubectlProxy {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    _child: Child,
}

/// A namespace with the accounts and rights of the example deployment; deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// The cluster it is in.
    pub cluster: Cluster,
    folder: TempDir,
}

impl Namespace {
    /// A new one. `name` and the process id keep parallel tests apart.
    pub async fn create(cluster: &Cluster, name: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let name = format!("bakery-{name}-{}", std::process::id());
        let namespace = Self { name: name.clone(), cluster: cluster.clone(), folder };
        for file in FILES {
            std::fs::copy(example(file), namespace.folder.path().join(file))?;
        }
        let resources = FILES.join(", ");
        let text = format!("namespace: {name}\nresources: [{resources}]\n");
        std::fs::write(namespace.folder.path().join("kustomization.yaml"), text)?;
        cluster.kubectl(&["apply", "-k", &namespace.folder.path().display().to_string()]).await?;
        Ok(namespace)
    }

    /// Runs `kubectl -n NAMESPACE ARGS`.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["-n", &self.name], args].concat()).await
    }

    /// The objects that `kubectl get KINDS` lists, as JSON.
    pub async fn get(&self, kinds: &str) -> Result<Vec<Value>> {
        let list: Value = serde_json::from_str(&self.kubectl(&["get", kinds, "-o", "json"]).await?)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The same for the server's objects only.
    pub async fn ours(&self, kinds: &str) -> Result<Vec<Value>> {
        let mine =
            |item: &Value| item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "bakery-server";
        Ok(self.get(kinds).await?.into_iter().filter(mine).collect())
    }

    /// The runs that ever had a pod, from the events of their Jobs.
    pub async fn made(&self) -> Result<Vec<String>> {
        let events = self.get("events").await?;
        let made = events.iter().filter(|event| event["reason"] == "SuccessfulCreate");
        Ok(made.filter_map(|event| event["involvedObject"]["name"].as_str().map(str::to_owned)).collect())
    }

    /// Applies a manifest.
    pub async fn apply(&self, manifest: &Value) -> Result<()> {
        let file = self.folder.path().join("manifest.json");
        std::fs::write(&file, manifest.to_string())?;
        self.kubectl(&["apply", "-f", &file.display().to_string()]).await.map(drop)
    }

    /// A kubeconfig of this namespace's service account `bakery`; it reaches the API server
    /// through `via` (`host:port`), or directly.
    pub async fn kubeconfig(&self, via: Option<&str>) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", "bakery", "--duration=2h"]).await?;
        let mut cluster = self.cluster.view().await?["clusters"][0]["cluster"].take();
        if let Some(via) = via {
            let api = self.cluster.api().await?;
            let Some((host, _)) = api.rsplit_once(':') else { bail!("no port in {api}") };
            cluster["tls-server-name"] = host.into();
            cluster["server"] = format!("https://{via}").into();
        }
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": cluster }],
            "users": [{ "name": "test", "user": { "token": token.trim() } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        let file = self.folder.path().join(if via.is_some() { "kubeconfig-via" } else { "kubeconfig" });
        std::fs::write(&file, config.to_string())?;
        Ok(file)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let mut command = std::process::Command::new(&self.cluster.kubectl);
        command.arg("--kubeconfig").arg(&self.cluster.kubeconfig);
        command.args(["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]);
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A file of `examples/server/k8s`.
pub fn example(file: &str) -> PathBuf {
    repository::path("examples/server/k8s").join(file)
}
