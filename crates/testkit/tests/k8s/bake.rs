//! Builds that succeed.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::Log;
use bakery_testkit::cluster::example;
use bakery_testkit::engine::Engine;
use bakery_testkit::hostile;
use bakery_testkit::parts::Parts;
use bakery_testkit::project::Project;
use bakery_testkit::skopeo::architectures;
use bakery_testkit::vars;

use bakery_testkit::k8s_env::{K8sEnv, single};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_built_in_pods() -> Result<()> {
    let env = K8sEnv::start("demo", &[]).await?;
    let project = Project::demo()?;
    // This cluster has one architecture.
    let compose = fs::read_to_string(project.path().join("compose.yaml"))?;
    let amd64 = compose.replace("[linux/amd64, linux/arm64]", "[linux/amd64]");
    ensure!(amd64 != compose, "the demo's Compose file does not read as expected");
    project.write("compose.yaml", &amd64)?;
    let client = env.client(&project).with("REGISTRY", &env.registry.host);
    let client = client.with("BASE_IMAGE", &env.parts.base_image);
    let ended = client.run(&["--compose", "compose.yaml", "--config", "config.yaml"]).await?;
    ensure!(ended.code == Some(0), "{}", env.details(&ended));
    for name in ["demo/shop:1", "demo/worker:1"] {
        let config = env.inspect(&env.image(name), &["--config"]).await?;
        ensure!(config["architecture"] == "amd64", "{name}: {config}");
    }
    ensure!(ended.out.contains("the pod is on node "), "{}", ended.out);
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_03_and_28_a_run_step_has_eight_capabilities_and_cannot_end_the_agent() -> Result<()> {
    let env = K8sEnv::start("hostile", &[]).await?;
    // The kubelet limits the pod, the container's own group shows no limit: start processes until it refuses one.
    let limit = "RUN cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; \
        (trap 'echo processes:$n; kill -9 $all' EXIT; n=0; \
         while [ $n -lt 5000 ]; do sleep 120 & all=\"$all $!\"; n=$((n+1)); done) 2>&1; true";
    let steps = format!("{}\n{limit}", hostile::STEPS);
    let project = Project::new(&env.parts, &steps, &single(&env.image("hostile/app:1")))?;
    let ended = env.client(&project).run(&[]).await?;
    ensure!(ended.code == Some(0), "{}", env.details(&ended));
    let lines = ended.lines()?;
    hostile::check(&lines)?;
    let number =
        |text: &str| text.trim().strip_prefix("processes:").and_then(|number| number.parse::<u32>().ok());
    let started = lines.iter().find_map(|line| number(&line.message)).context("no number of processes")?;
    // The threads of agent and Kaniko count too.
    ensure!((3900..4096).contains(&started), "{started}: {}", env.details(&ended));
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_04_a_run_step_does_not_reach_its_neighbour() -> Result<()> {
    let env = K8sEnv::start("neighbour", &[]).await?;
    let steps = "RUN echo address:$(hostname -i | cut -d' ' -f1); \
                 end=$(($(date +%s)+300)); while [ $(date +%s) -lt $end ]; do timeout 60 nc -l -p 9999 </dev/null >/dev/null; done; true";
    let victim = Project::new(&env.parts, steps, &single(&env.image("hostile/victim:1")))?;
    let mut child = env.client(&victim).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let (build, address) = log.address(Duration::from_mins(2)).await?;
    let policy = example("netpol.yaml").display().to_string();
    // Then it is reached without the policy: it was there, and the policy is what protected it.
    for (verb, name, expected) in [("apply", "protected", "it is SAFE"), ("delete", "open", "it is REACHED")]
    {
        env.namespace.kubectl(&[verb, "-f", &policy]).await?;
        let steps = format!("RUN nc -w 3 {address} 9999 </dev/null && echo it is REACHED || echo it is SAFE");
        let project = Project::new(&env.parts, &steps, &single(&env.image(&format!("hostile/{name}:1"))))?;
        let ended = env.client(&project).run(&[]).await?;
        ensure!(ended.code == Some(0), "{}", env.details(&ended));
        let said = ended.lines()?.iter().any(|line| line.message.trim() == expected);
        ensure!(said, "{name}: {}", env.details(&ended));
    }
    child.kill().await?;
    env.client(&victim).run(&["cancel", &build]).await?;
    env.gone(Duration::from_secs(30)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_on_the_cluster_and_one_on_an_engine_become_one_index() -> Result<()> {
    let parts = Parts::required();
    let vars = [("DOCKER_HOST", parts.docker_host.as_str()), ("ALLOW_EMULATION", "true")];
    let mut env = K8sEnv::stopped("both", &vars).await?;
    // An engine uses plain HTTP for loopback only: it gets a copy under the name that the nodes use.
    let engine = Engine::new(&parts);
    let copy = format!("{}_arm64", env.namespace.cluster.agent_image);
    engine.docker(&["tag", &vars::AGENT_IMAGE_ARM64.required(), &copy]).await?;
    let baked = match env.server.run().await {
        Ok(()) => both(&env).await,
        Err(error) => Err(error),
    };
    engine.docker(&["rmi", &copy]).await?;
    baked
}

async fn both(env: &K8sEnv) -> Result<()> {
    let image = env.image("both/app:1");
    let config = format!(
        "global:\n  kaniko: {{ destination: \"{image}\" }}\nbake:\n- {{ arch: amd64, platform: k8s }}\n\
         - {{ arch: arm64, platform: docker }}\n"
    );
    let project = Project::new(&env.parts, "RUN uname -m > /machine", &config)?;
    let ended = env.client(&project).run(&[]).await?;
    ensure!(ended.code == Some(0), "{}", env.details(&ended));
    let index = env.inspect(&image, &["--raw"]).await?;
    ensure!(architectures(&index)? == [Some("amd64"), Some("arm64")], "{index}");
    let view = env.view(&project, &ended.build()?).await?;
    let tasks = view["targets"][0]["tasks"].as_array().context("tasks")?;
    let platforms: Vec<_> = tasks.iter().map(|task| task["platform"].as_str()).collect();
    ensure!(platforms == [Some("k8s"), Some("docker")], "{view}");
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_the_settings_file_are_used_by_builds() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pods.yaml").display().to_string();
    let text = "k8s:\n  ephemeralStorage: 3Gi\n  annotations: { team: bread }\n  \
                workVolume: { emptyDir: { sizeLimit: 1Gi } }\n  layersVolume: { emptyDir: { medium: Memory } }\n";
    fs::write(&file, text)?;
    let env = K8sEnv::start("volumes", &[("K8S_CONFIG_PATH", &file)]).await?;
    let image = env.image("volumes/app:1");
    // Two stages: Kaniko removes everything but its own files between them.
    let base = &env.parts.base_image;
    let steps = format!(
        "RUN echo one > /one\nFROM {base}\nCOPY --from=0 /one /two\nCOPY src /src\nRUN cat /two /src"
    );
    let project = Project::new(&env.parts, &steps, &bakery_testkit::k8s_env::single(&image))?;
    project.write("src", "flour\n")?;
    let ended = env.client(&project).run(&[]).await?;
    ensure!(ended.code == Some(0), "{}", env.details(&ended));
    env.inspect(&image, &["--config"]).await?;
    env.gone(Duration::from_secs(20)).await
}
