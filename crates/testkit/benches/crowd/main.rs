//! A thousand tasks at once with a real API server, controller manager and scheduler. kwok simulates the node;
//! the agents are the real shipper without Kaniko, and read their launch tokens from the Secrets that the server made.
//!
//! Reports the server's requests to the API server, from its audit log, and the server's memory for each task.

mod audit;

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bakery_core::names::RunName;
use bakery_testkit::agent::TestAgent;
use bakery_testkit::k8s_env::K8sEnv;
use bakery_testkit::process::{Running, until};
use bakery_testkit::project::Project;
use bakery_testkit::vars;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinSet;

/// The number of builds, and of tasks in each.
const BUILDS: usize = 20;
const TASKS: usize = 50;
/// The pause between two lines of a task.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a task runs.
const LIFE: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> Result<()> {
    let settings = tempfile::tempdir()?;
    let file = settings.path().join("pods.yaml");
    std::fs::write(
        &file,
        "k8s:\n  nodeSelector: { pool: kwok }\n  tolerations: [{ key: kwok, operator: Exists }]\n",
    )?;
    let vars =
        [("K8S_CONFIG_PATH", &*file.display().to_string()), ("MAX_RUNS", "1000"), ("RUST_LOG", "warn")];
    let env = K8sEnv::start("crowd", &vars).await?;
    let _kwok = Kwok::start(&env).await?;
    let api = Api::of(&env).await?;
    let log = vars::K8S_AUDIT_LOG.required();
    let seen = audit::position(Path::new(&log))?;
    let idle = env.server.memory("VmRSS")?;

    let config = format!(
        "global:\n  platform: k8s\n  kaniko: {{ no-push: true }}\nbake:\n{}",
        "- arch: amd64\n".repeat(TASKS)
    );
    let project = Project::new(&env.parts, "RUN true", &config)?;
    let begin = Instant::now();
    let mut builds = JoinSet::new();
    for _ in 0..BUILDS {
        let client = env.client(&project);
        builds.spawn(async move { client.run(&[]).await });
    }
    let baked = api.bake(&env.server.url).await?;
    while let Some(ended) = builds.join_next().await {
        let ended = ended??;
        ensure!(ended.code == Some(0), "{}", env.details(&ended));
    }
    let took = begin.elapsed();
    env.gone(Duration::from_mins(2)).await?;
    let peak = env.server.memory("VmHWM")?;
    let who = format!("system:serviceaccount:{}:bakery", env.namespace.name);
    let calls = audit::calls(Path::new(&log), seen, &who)?;
    let tasks = BUILDS * TASKS;
    println!(
        "{tasks} tasks in {BUILDS} builds, a line every {PAUSE:?} for {LIFE:?}, all succeeded: {took:.0?}; most agents at once: {}",
        baked.most
    );
    println!("calls of the server's account to the API server, from its audit log:");
    print!("{}", calls.table(u32::try_from(tasks)?));
    let each = (peak - idle) / u64::try_from(tasks)?;
    println!("the server's memory: {idle} KiB idle, {peak} KiB at its peak: {each} KiB a task");
    Ok(())
}

/// Runs kwok with one node.
struct Kwok {
    _process: Running,
}

impl Kwok {
    async fn start(env: &K8sEnv) -> Result<Self> {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "kwok", "annotations": { "kwok.x-k8s.io/node": "fake" },
                          "labels": { "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "pool": "kwok" } },
            "spec": { "taints": [{ "key": "kwok", "effect": "NoSchedule" }] },
            "status": { "allocatable": { "cpu": "4k", "memory": "16Ti", "pods": "2000", "ephemeral-storage": "100Ti" },
                        "capacity": { "cpu": "4k", "memory": "16Ti", "pods": "2000", "ephemeral-storage": "100Ti" } }
        });
        env.namespace.apply(&node).await?;
        let mut command = Command::new(vars::KWOK.required());
        command.arg("--kubeconfig").arg(&env.namespace.cluster.kubeconfig);
        command.args([
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        ]);
        command.args(["--config", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/crowd/stages.yaml")]);
        let process = Running::start("kwok", command, &env.server.scratch().join("kwok.log"))?;
        until("kwok's node", Duration::from_mins(1), async || {
            let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            env.namespace
                .kubectl(&["get", "node", "kwok", "-o", ready])
                .await
                .is_ok_and(|printed| printed == "True")
        })
        .await?;
        Ok(Self { _process: process })
    }
}

/// The benchmark's own access to the API server, not with the server's account.
struct Api {
    http: reqwest::Client,
    namespace: String,
    _proxy: bakery_testkit::cluster::KubectlProxy,
}

struct Baked {
    /// The number of agents that run at the same time.
    most: usize,
}

impl Api {
    async fn of(env: &K8sEnv) -> Result<Self> {
        let proxy = env.namespace.cluster.proxy().await?;
        let namespace = format!("{}/api/v1/namespaces/{}", proxy.url, env.namespace.name);
        Ok(Self { http: reqwest::Client::new(), namespace, _proxy: proxy })
    }

    async fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let list: Value = self.http.get(format!("{}/{kind}", self.namespace)).send().await?.json().await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Plays the agent of every running pod, until all tasks are done.
    async fn bake(&self, url: &str) -> Result<Baked> {
        let (mut known, mut agents, mut most) = (HashSet::new(), JoinSet::new(), 0);
        while known.len() < BUILDS * TASKS || !agents.is_empty() {
            if known.len() < BUILDS * TASKS {
                let secrets = self.list("secrets").await?;
                for pod in self.list("pods").await?.iter().filter(|pod| pod["status"]["phase"] == "Running") {
                    let run = pod["metadata"]["labels"]["bakery.run"].as_str().context("a run")?;
                    let Some(secret) = secrets.iter().find(|it| it["metadata"]["name"] == run) else {
                        continue;
                    };
                    if known.insert(run.to_owned()) {
                        let token = secret["data"]["BAKERY_LAUNCH_TOKEN"].as_str().context("a token")?;
                        let token = String::from_utf8(STANDARD.decode(token)?)?;
                        let name = pod["metadata"]["name"].as_str().context("a name")?;
                        let pod = format!("{}/pods/{name}", self.namespace);
                        agents.spawn(play(self.http.clone(), url.to_owned(), run.parse()?, token, pod));
                    }
                }
            }
            most = most.max(agents.len());
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                Some(ended) = agents.join_next() => ended??,
            }
        }
        Ok(Baked { most })
    }
}

async fn play(http: reqwest::Client, url: String, run: RunName, token: String, pod: String) -> Result<()> {
    let agent = TestAgent::bind(&url, run, &token).await?;
    agent.live(PAUSE, tokio::time::sleep(LIFE)).await?;
    let done = json!({ "metadata": { "annotations": { "bakery.test/done": "true" } } });
    let patch = http.patch(pod).header("content-type", "application/merge-patch+json").body(done.to_string());
    patch.send().await?.error_for_status()?;
    Ok(())
}
