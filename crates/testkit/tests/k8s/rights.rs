//! Every right of the example's Role, removed in turn, and what fails without it. With all rights nothing fails.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bakery_core::names::Arch;
use bakery_server::platform::Launcher as _;
use bakery_server::platform::k8s::{RIGHTS, Right};
use bakery_testkit::client::Log;
use bakery_testkit::launcher_fixture::Orders;
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered};
use serde_json::{Value, json};

use crate::contract::platform;

use bakery_testkit::k8s_env::{K8sEnv, single};

/// What a right is for: something that works with it and fails without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// A build succeeds.
    Bake,
    /// The server reports the platform as available.
    Watch,
    /// A cancelled build leaves no objects, and the server's state shows it.
    Cancel,
    /// A Job whose launch was never answered is adopted by the next launch of the same order.
    Adopt,
}

fn deed(right: &Right) -> Deed {
    match (right.resource, right.verb) {
        ("jobs" | "secrets", "create") => Deed::Bake,
        ("jobs", "delete") => Deed::Cancel,
        ("jobs", "get") => Deed::Adopt,
        _ => Deed::Watch,
    }
}

/// Does it; the error describes what happened instead.
async fn attempt(env: &K8sEnv, deed: Deed) -> Result<()> {
    let image = env.image("rights/app:1");
    match deed {
        Deed::Watch => {
            let url = format!("{}/readyz", env.server.url);
            let mut seen = String::new();
            let ready = until("a ready server", Duration::from_secs(4), async || {
                let Ok(answer) = reqwest::get(&url).await else { return false };
                let good = answer.status().is_success();
                seen = answer.text().await.unwrap_or_default();
                good
            });
            ready.await.with_context(|| seen)
        }
        Deed::Bake => {
            let project = Project::new(&env.parts, "RUN true", &single(&image))?;
            let ended = env.client(&project).run(&[]).await?;
            if ended.code != Some(0) {
                // Log and JSON both name what is missing.
                let view = env.view(&project, &ended.build()?).await?;
                let clear = ended.out.contains("is forbidden: User") && ended.out.contains("role.yaml");
                ensure!(
                    view["reason"] == "launch-refused" && clear,
                    "UNCLEAR: {view}\n{}",
                    env.details(&ended)
                );
                bail!("exit {:?}: {}", ended.code, ended.err);
            }
            Ok(())
        }
        Deed::Adopt => adopt(env).await,
        Deed::Cancel => {
            let steps = format!("{}\nRUN sleep 600", numbered("tick", 1, 100));
            let project = Project::new(&env.parts, &steps, &single(&image))?;
            let client = env.client(&project);
            let mut child = client.spawn(&[])?;
            let mut log = Log::of(&mut child)?;
            let build = log.until("tick 1").await?.build.context("build")?;
            client.run(&["cancel", &build]).await?;
            child.wait().await?;
            env.gone(Duration::from_secs(12)).await?;
            let seen = env.server.log();
            let unsure = seen
                .lines()
                .find(|line| line.contains(&build) && line.contains("stopping a container failed"));
            unsure.map_or(Ok(()), |line| bail!("{line}"))
        }
    }
}

/// Launches one order with two separate platforms, as a server does before and after a restart.
async fn adopt(env: &K8sEnv) -> Result<()> {
    let image = &env.namespace.cluster.agent_image;
    let order = Orders::of("adopt", 100, 64).running(Arch::Amd64, "");
    for _ in 0..2 {
        let life = platform(&env.namespace, "two-lives", image).await?;
        life.launch(&order).await?;
    }
    Ok(())
}

/// The example's Role in the namespace.
async fn role(env: &K8sEnv) -> Result<Value> {
    Ok(serde_json::from_str(&env.namespace.kubectl(&["get", "role", "bakery", "-o", "json"]).await?)?)
}

/// The rules as single rights.
fn rights(rules: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for rule in rules.as_array().into_iter().flatten() {
        for group in rule["apiGroups"].as_array().into_iter().flatten() {
            for resource in rule["resources"].as_array().into_iter().flatten() {
                for verb in rule["verbs"].as_array().into_iter().flatten() {
                    all.push((text(group), text(resource), text(verb)));
                }
            }
        }
    }
    all.sort();
    all
}

async fn give(env: &K8sEnv, given: &[&Right]) -> Result<()> {
    let rules: Vec<_> = given
        .iter()
        .map(|right| json!({ "apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb] }))
        .collect();
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                       "metadata": { "name": "bakery" }, "rules": rules });
    env.namespace.apply(&role).await?;
    let who = format!("--as=system:serviceaccount:{}:bakery", env.namespace.name);
    // The API server applies the change within a moment.
    for right in RIGHTS {
        let wanted = given.contains(&right);
        let what = if right.group.is_empty() {
            right.resource.to_owned()
        } else {
            format!("{}.{}", right.resource, right.group)
        };
        until("rights that count", Duration::from_secs(10), async || {
            let args = ["auth", "can-i", right.verb, &what, &who];
            let answer = env.namespace.kubectl(&args).await;
            answer.is_ok_and(|seen| seen.trim() == "yes") == wanted
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_these_rights_are_needed() -> Result<()> {
    let mut env = K8sEnv::stopped("rights", &[]).await?;
    let known: Vec<_> = {
        let own = |right: &Right| (right.group.to_owned(), right.resource.to_owned(), right.verb.to_owned());
        let mut known: Vec<_> = RIGHTS.iter().map(own).collect();
        known.sort();
        known
    };
    ensure!(rights(&role(&env).await?["rules"]) == known, "role.yaml gives what the server asks for");
    for right in RIGHTS {
        let rest: Vec<_> = RIGHTS.iter().filter(|other| *other != right).collect();
        give(&env, &rest).await?;
        let checked = env.server.check().await?;
        ensure!(checked.matches("MISSING").count() >= 1 && checked.contains(&right.to_string()), "{checked}");
        env.server.run_alive().await?;
        let deed = deed(right);
        let outcome = attempt(&env, deed).await;
        env.server.kill().await?;
        match outcome {
            Err(why) if why.to_string().contains("UNCLEAR") => return Err(why),
            Err(why) => println!("without {right}: {deed:?} fails: {why:#}"),
            Ok(()) => bail!("without {right} {deed:?} should fail"),
        }
        give(&env, &RIGHTS.iter().collect::<Vec<_>>()).await?;
        env.namespace.kubectl(&["delete", "jobs", "--all", "--wait=true"]).await?;
    }
    env.server.run().await?;
    for deed in [Deed::Watch, Deed::Bake, Deed::Cancel, Deed::Adopt] {
        attempt(&env, deed).await.with_context(|| format!("{deed:?} with every right"))?;
    }
    env.namespace.kubectl(&["delete", "jobs", "--all", "--wait=true"]).await?;
    let checked = env.server.check().await?;
    let accepted = checked.contains("accepts an agent's Job");
    ensure!(accepted && !checked.contains("lacks a permission"), "{checked}");
    println!("{checked}");
    env.gone(Duration::from_secs(20)).await
}
