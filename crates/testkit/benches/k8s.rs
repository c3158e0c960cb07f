//! A build on a cluster, compared with a Job of the same image and resources that runs only the executor on the same context.
//!
//! Measured from the request (the client's start; the Job's POST) until Kaniko's
//! last line was written, by the times in its log. The registry is emptied before each run.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::bench::{interleave, pairs};
use bakery_testkit::k8s_env::{K8sEnv, single};
use bakery_testkit::process::until;
use bakery_testkit::project::Project;
use jiff::Timestamp;
use serde_json::{Value, json};

/// About a second of work besides Kaniko's own: a layer of random bytes, hashed and compressed.
const STEPS: &str = "COPY . /src\nRUN dd if=/dev/urandom of=/blob bs=1M count=12 2>/dev/null && sha256sum /blob\n\
                     RUN i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done; echo $i";

#[tokio::main]
async fn main() -> Result<()> {
    let env = K8sEnv::start("bench", &[]).await?;
    let (namespace, cluster) = (&env.namespace, &env.namespace.cluster);
    // The peer's context is a folder of this machine, which `baseline` does not admit.
    let label = "pod-security.kubernetes.io/enforce=privileged";
    cluster.kubectl(&["label", "--overwrite", "namespace", &namespace.name, label]).await?;
    let proxy = cluster.proxy().await?;
    let image = env.image("bench/app:1");
    let config = single(&image).replace("global:\n", "global:\n  cpu: 1\n  memory: 2G\n");
    let project = Project::new(&env.parts, STEPS, &config)?;
    for n in 0..200 {
        project.write(&format!("src/{n}.txt"), &format!("{n}\n").repeat(500))?;
    }
    let client = env.client(&project);
    let ours = async || {
        env.registry.clear()?;
        let begin = now();
        let ended = client.run(&[]).await?;
        ensure!(ended.code == Some(0), "{}", env.details(&ended));
        let lines = ended.lines()?;
        let last = lines.iter().rfind(|line| line.source.as_deref() == Some("kaniko"));
        let took = since(begin, &last.context("no line of Kaniko's")?.ts)?;
        env.gone(Duration::from_secs(20)).await?;
        Ok(took)
    };
    let http = reqwest::Client::new();
    let jobs = format!("{}/apis/batch/v1/namespaces/{}/jobs", proxy.url, namespace.name);
    let pods = format!("{}/api/v1/namespaces/{}/pods", proxy.url, namespace.name);
    let insecure =
        [&env.registry.host, env.parts.base_registry()].map(|host| format!("--insecure-registry={host}"));
    let job = peer(&project.path().display().to_string(), &cluster.agent_image, &image, &insecure);
    let peer = async || {
        env.registry.clear()?;
        let begin = now();
        let made: Value = http.post(&jobs).json(&job).send().await?.error_for_status()?.json().await?;
        let name = made["metadata"]["name"].as_str().context("a name")?.to_owned();
        let url = format!("{jobs}/{name}");
        until("the bare Job's end", Duration::from_mins(2), async || {
            let found = async { http.get(&url).send().await?.json::<Value>().await };
            found.await.is_ok_and(|job| job["status"]["succeeded"] == 1)
        })
        .await?;
        let listed: Value =
            http.get(format!("{pods}?labelSelector=job-name={name}")).send().await?.json().await?;
        let pod = listed["items"][0]["metadata"]["name"].as_str().context("a pod")?;
        let log =
            http.get(format!("{pods}/{pod}/log?timestamps=true&tailLines=1")).send().await?.text().await?;
        let took = since(begin, log.split(' ').next().context("no line")?)?;
        http.delete(format!("{url}?propagationPolicy=Foreground")).send().await?.error_for_status()?;
        until("an empty namespace", Duration::from_secs(30), async || {
            http.get(&url).send().await.is_ok_and(|answer| answer.status() == 404)
        })
        .await?;
        Ok::<Duration, anyhow::Error>(took)
    };
    let found = interleave(pairs(), ours, peer).await?;
    found.print(
        "one build on the cluster, from the client's start to Kaniko's last line",
        "a Job of the bare executor, from its POST",
        "s",
        "<= 1.15",
    );
    Ok(())
}

/// The executor alone, in a pod like ours.
fn peer(context: &str, agent: &str, destination: &str, insecure: &[String; 2]) -> Value {
    let resources = json!({ "cpu": "1", "memory": "2Gi" });
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "generateName": "bare-" },
        "spec": { "backoffLimit": 0, "template": { "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
            "nodeSelector": { "kubernetes.io/arch": "amd64" },
            "containers": [{
                "name": "executor", "image": agent, "command": ["/kaniko/executor"],
                "args": ["--context=dir:///workspace", format!("--destination={destination}"), insecure[0], insecure[1]],
                "resources": { "requests": resources, "limits": resources },
                "volumeMounts": [{ "name": "context", "mountPath": "/workspace", "readOnly": true }]
            }],
            "volumes": [{ "name": "context", "hostPath": { "path": context } }]
        } } }
    })
}

#[expect(clippy::disallowed_methods, reason = "both logs are stamped by this machine's wall clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn since(begin: Timestamp, stamp: &str) -> Result<Duration> {
    let end: Timestamp = stamp.trim().parse().with_context(|| format!("no time: {stamp:?}"))?;
    Ok(Duration::try_from(end.duration_since(begin))?)
}
