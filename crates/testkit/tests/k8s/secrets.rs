//! A reader of pod specs sees no secret of a build. The search is known to work, since it finds values
//! that may be seen.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::{Log, finish};
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::registry::{LOGIN, Registry};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use bakery_testkit::k8s_env::{K8sEnv, single};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_agents_pod_shows_no_secret_and_baseline_admits_it() -> Result<()> {
    let mut env = K8sEnv::stopped("secrets", &[("BAKERY_INSECURE", "true")]).await?;
    let guarded = Registry::with_login(&env.parts).await?;
    env.server.set("INSECURE_REGISTRIES", &format!("{},{}", env.parts.base_registry(), guarded.host));
    env.server.run().await?;
    let (user, password) = LOGIN;
    let config = single(&format!("{}/secrets/app:1", guarded.host)).replace(
        "global:\n",
        &format!(
            "global:\n  kaniko-credentials: [{{ registry: \"{}\", username: {user}, password: {password} }}]\n  \
             env: {{ API_KEY: {password} }}\n  pre-script: echo \"{password}\"\n",
            guarded.host
        ),
    );
    let project = Project::new(&env.parts, &numbered("tick", 40, 100), &config)?;
    let client = env.client(&project).with("BAKERY_INSECURE", "true");
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 5").await?.build.context("build")?;

    let kubectl = async |args: &[&str]| env.namespace.kubectl(args).await;
    let token =
        kubectl(&["get", "secret", &format!("bk-{build}-0-1"), "-o", "jsonpath={.data.BAKERY_LAUNCH_TOKEN}"])
            .await?;
    let token = String::from_utf8(STANDARD.decode(token.trim())?)?;
    ensure!(token.len() >= 32, "the launch token lies in the Secret, and nowhere else");
    for kind in ["pods", "jobs", "events", "configmaps"] {
        let text = kubectl(&["get", kind, "-o", "yaml"]).await?;
        ensure!(
            kind == "configmaps" || text.contains(&build),
            "{kind} are searched, and those of this build"
        );
        for secret in [password, token.as_str()] {
            for form in [secret.to_owned(), STANDARD.encode(secret)] {
                ensure!(!text.contains(&form), "{kind} show a secret");
            }
        }
    }
    let yaml = kubectl(&["get", "pods", "-o", "yaml"]).await?;
    println!("{yaml}");
    let name = env.pods().await?.pop().context("a pod")?;
    ensure!(!kubectl(&["describe", "pod", &name]).await?.contains(password));

    // The namespace enforces `baseline`, so the running pod was admitted under it.
    let namespace = kubectl(&["get", "namespace", &env.namespace.name, "-o", "yaml"]).await?;
    ensure!(namespace.contains("pod-security.kubernetes.io/enforce: baseline"), "{namespace}");
    // A stolen token is of no use: the run is bound.
    let url = format!("{}/v1/runs/bk-{build}-0-1/order", env.server.url);
    let theft = reqwest::Client::new().post(url).bearer_auth(&token);
    let body = serde_json::json!({ "session": "0".repeat(64), "agent_version": "stolen" });
    let answer = theft.json(&body).send().await?;
    ensure!(answer.status().is_client_error(), "{}", answer.status());
    let ended = finish(child).await?;
    ensure!(ended.code == Some(4), "a second binder fails the run\n{}", env.details(&ended));
    env.gone(Duration::from_secs(20)).await
}
