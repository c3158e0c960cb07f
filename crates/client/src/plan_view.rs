//! `plan`: what a build would do, as text or as JSON. Secrets are masked in both.

mod text;

use std::collections::BTreeMap;

use bakery_core::image::ImageRef;
use bakery_core::kaniko::{self, ArgvInput, ExecutorFacts, Paths};
use bakery_core::mask::{Form, Mask};
use bakery_core::message::Message;
use bakery_core::names::{Arch, Platform};
use bakery_core::plan::{BuildPlan, PlannedTask, Target};
use bakery_core::report::Finding;
use bakery_core::secret::Secret;
use bakery_core::spec::Order;
use bakery_core::wire::run::Push;
use serde::Serialize;

use crate::labels;
use crate::load::LoadedBuild;
use crate::render::{defuse, defuse_json};
use crate::{preflight, stderr};

/// The document of `plan --json`. Keys may be added, but are never changed.
#[derive(Debug, Serialize)]
struct PlanDocument {
    /// Kaniko's version, whose arguments are shown.
    executor: &'static str,
    order: Order,
    /// The files that were read.
    files: Vec<String>,
    targets: Vec<TargetPlan>,
}

#[derive(Debug, Serialize)]
struct TargetPlan {
    name: String,
    service: Option<String>,
    /// The reference that is published; null with `no-push`.
    destination: Option<String>,
    /// More names for the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// Whether the destination is an index of several images.
    index: bool,
    /// Names of the targets that must succeed before this one starts.
    after: Vec<String>,
    tasks: Vec<TaskPlan>,
}

#[derive(Debug, Serialize)]
struct TaskPlan {
    index: u16,
    name: String,
    arch: Arch,
    /// Null if the server decides, as for the sizes and the time.
    platform: Option<Platform>,
    cpu_millis: Option<u32>,
    memory_mib: Option<u32>,
    disk_mib: Option<u32>,
    timeout_seconds: Option<u64>,
    env: BTreeMap<String, String>,
    pre_script: Option<String>,
    post_script: Option<String>,
    /// The text of the Dockerfile, if it is not a file.
    dockerfile_inline: Option<String>,
    credentials: Vec<LoginPlan>,
    /// The reference that this task pushes.
    push_to: Option<String>,
    /// The same image under more names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also_push_to: Vec<String>,
    /// Kaniko's program and arguments.
    program: String,
    argv: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LoginPlan {
    registry: String,
    username: String,
}

/// The output of `plan`. Prints notices, and warnings about missing files and secrets, to standard error.
pub fn render(loaded: &LoadedBuild, json: bool) -> String {
    let (document, notices) = document(&loaded.plan, loaded.spec.order, &loaded.files, &loaded.secrets);
    loaded.notices.iter().map(Finding::message).chain(notices).for_each(|notice| stderr::notice(&notice));
    let missing = loaded.missing.iter().map(|text| Message::new(text.as_str()));
    let warnings = loaded.secret_files.iter().map(Finding::message).chain(missing);
    warnings.for_each(|warning| stderr::warning(&warning));
    preflight::say(&loaded.dockerfiles);
    if json {
        // Serializing plain values cannot fail.
        let text = serde_json::to_string_pretty(&document).unwrap_or_default();
        return format!("{}\n", defuse_json(&text));
    }
    document.to_string().split_inclusive('\n').map(defuse).collect()
}

fn document(
    plan: &BuildPlan,
    order: Order,
    files: &[String],
    secrets: &[Secret],
) -> (PlanDocument, Vec<Message>) {
    let labels = labels::of_plan(plan);
    let mask = Mask::of(plan.tasks().map(|(_, task)| &task.spec), secrets);
    // A target's name is the destination of its first task.
    let name = |target: &Target| mask.reference(&target.name);
    let mut notices = Vec::new();
    let targets = plan.targets.iter().map(|target| TargetPlan {
        name: name(target),
        service: target.service.as_ref().map(ToString::to_string),
        destination: target.publish.as_ref().map(|publish| mask.reference(&publish.destination.to_string())),
        tags: shown(target.publish.iter().flat_map(|publish| &publish.tags), &mask),
        index: target.publish.as_ref().is_some_and(|publish| publish.is_index),
        after: target.after.iter().map(|&index| name(&plan.targets[index])).collect(),
        tasks: target
            .tasks
            .iter()
            .filter_map(|task| {
                let label = labels.get(&task.index)?;
                Some(task_plan(task, mask.reference(&label.task), &mask, &mut notices))
            })
            .collect(),
    });
    let (executor, files) = (kaniko::PINNED_VERSION, files.to_vec());
    (PlanDocument { executor, order, files, targets: targets.collect() }, notices)
}

fn shown<'a>(names: impl IntoIterator<Item = &'a ImageRef>, mask: &Mask) -> Vec<String> {
    names.into_iter().map(|name| mask.reference(&name.to_string())).collect()
}

fn task_plan(task: &PlannedTask, name: String, mask: &Mask, notices: &mut Vec<Message>) -> TaskPlan {
    let spec = &task.spec;
    let input = ArgvInput {
        arch: spec.arch,
        push_to: task.push_to.as_ref(),
        also_push_to: &task.also_push_to,
        push: Push::ByKaniko,
        insecure_registries: &[],
        paths: &Paths::of(spec.kaniko.dir.as_deref()),
    };
    let (argv, left_out) = kaniko::argv(&spec.kaniko, &input, &ExecutorFacts::pinned());
    for notice in left_out {
        let notice = Message::from(format!("{name}: {notice}"));
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }
    let script = |text: &Option<String>| text.as_deref().map(|text| mask.text(text, Form::Script));
    TaskPlan {
        index: task.index,
        name,
        arch: spec.arch,
        platform: spec.platform,
        cpu_millis: spec.cpu_millis,
        memory_mib: spec.memory_mib,
        disk_mib: spec.disk_mib,
        timeout_seconds: spec.timeout_seconds,
        env: spec.env.iter().map(|(name, value)| (name.clone(), mask.value(name, value.expose()))).collect(),
        pre_script: script(&spec.pre_script),
        post_script: script(&spec.post_script),
        dockerfile_inline: script(&spec.kaniko.dockerfile_inline),
        credentials: spec
            .credentials
            .iter()
            .map(|login| LoginPlan {
                registry: login.registry.clone(),
                username: mask.text(&login.username, Form::Plain),
            })
            .collect(),
        push_to: task.push_to.as_ref().map(|image| mask.reference(&image.to_string())),
        also_push_to: shown(&task.also_push_to, mask),
        program: format!("{}/executor", spec.kaniko.dir.as_deref().unwrap_or(kaniko::DIR)),
        argv: mask.arguments(&argv),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakery_core::config;

    const CONFIG: &str = r#"
global:
  arch: amd64
  env: { HTTP_PROXY: "http://me:hunter2@proxy:3128", NPM_TOKEN: sesame-open, TIER: base }
  pre-script: |
    echo "$NPM_TOKEN" sesame-open
    make ready
  kaniko-credentials: [{ registry: reg.test, username: baker, password: correct-horse }]
  kaniko:
    destination: reg.test/shop/cart:7
    build-args: { GO: "1.25", DB_PASSWORD: battery-staple }
    extra-flags: --build-arg API_KEY=extra-secret --label=by=correct-horse
bake:
- { cpu: 0.5, memory: 2G, platform: k8s }
- { arch: arm64, disk: 40G, timeout: 90m, env: { TIER: arm }, pre-script: "" }
"#;

    fn planned() -> (PlanDocument, Vec<Message>) {
        let file = config::read("config.yaml", CONFIG).unwrap();
        let resolved = file.resolve(Order::Sequential, &config::Naming::default()).unwrap();
        document(&resolved.plan, resolved.spec.order, &[], &[])
    }

    #[test]
    fn a_plan_shows_the_effective_values() {
        insta::assert_snapshot!(planned().0, @r#"
        target reg.test/shop/cart:7 (index)
          task amd64
            platform     k8s
            arch         amd64
            cpu          0.5
            memory       2048 MiB
            disk         server default
            timeout      server default
            pushes       reg.test/shop/cart:7_amd64
            login        reg.test as baker, password ***
            env          HTTP_PROXY=http://me:***@proxy:3128
            env          NPM_TOKEN=***
            env          TIER=base
            pre-script   echo "$NPM_TOKEN" ***
            pre-script   make ready
            /kaniko/executor
              --context=dir:///kaniko/bakery/ctx
              --dockerfile=/kaniko/bakery/ctx/Dockerfile
              --custom-platform=linux/amd64
              --build-arg=DB_PASSWORD=***
              --build-arg=GO=1.25
              --destination=reg.test/shop/cart:7_amd64
              --digest-file=/kaniko/bakery/digest
              --push-retry=5
              --image-download-retry=3
              --image-fs-extract-retry=3
              --log-format=color
              --log-timestamp=false
              --build-arg
              API_KEY=***
              --label=by=***
          task arm64
            platform     server default
            arch         arm64
            cpu          server default
            memory       server default
            disk         40 GiB
            timeout      1h30m
            pushes       reg.test/shop/cart:7_arm64
            login        reg.test as baker, password ***
            env          HTTP_PROXY=http://me:***@proxy:3128
            env          NPM_TOKEN=***
            env          TIER=arm
            /kaniko/executor
              --context=dir:///kaniko/bakery/ctx
              --dockerfile=/kaniko/bakery/ctx/Dockerfile
              --custom-platform=linux/arm64
              --build-arg=DB_PASSWORD=***
              --build-arg=GO=1.25
              --destination=reg.test/shop/cart:7_arm64
              --digest-file=/kaniko/bakery/digest
              --push-retry=5
              --image-download-retry=3
              --image-fs-extract-retry=3
              --log-format=color
              --log-timestamp=false
              --build-arg
              API_KEY=***
              --label=by=***

        Kaniko's arguments are those for v1.27.5.
        "#);
    }

    #[test]
    fn a_plan_writes_control_characters_as_escape_sequences() {
        let config = r#"
bake:
- arch: amd64
  env: { A: "one\nFORGED\e[2J" }
  pre-script: "true \e]0;title\a\nfalse\r"
  kaniko: { destination: reg.test/a, build-args: { B: "one\nFORGED" }, extra-flags: "--label=c=\e[1A" }
"#;
        let resolved = config::read("config.yaml", config)
            .unwrap()
            .resolve(Order::Sequential, &config::Naming::default())
            .unwrap();
        let text = document(&resolved.plan, resolved.spec.order, &[], &[]).0.to_string();
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("FORGED")), "{text}");
        for shown in
            [r"A=one\nFORGED\u{1b}[2J", r"true \u{1b}]0;title\u{7}", r"B=one\nFORGED", r"c=\u{1b}[1A"]
        {
            assert!(text.contains(shown), "{shown} in\n{text}");
        }
    }

    #[test]
    fn no_secret_is_in_either_form() {
        let (document, notices) = planned();
        let all = format!("{document}{}{notices:?}", serde_json::to_string(&document).unwrap());
        for secret in ["hunter2", "sesame", "correct-horse", "battery", "extra-secret"] {
            assert!(!all.contains(secret), "{secret} in\n{all}");
        }
        assert!(all.contains("http://me:***@proxy:3128") && all.contains("DB_PASSWORD=***"));
    }

    #[test]
    fn the_json_document_has_a_stable_shape() {
        let value = serde_json::to_value(planned().0).unwrap();
        let keys = |value: &serde_json::Value| {
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        insta::assert_snapshot!(keys(&value), @"executor files order targets");
        insta::assert_snapshot!(keys(&value["targets"][0]), @"after destination index name service tasks");
        insta::assert_snapshot!(keys(&value["targets"][0]["tasks"][0]), @"arch argv cpu_millis credentials disk_mib dockerfile_inline env index memory_mib name platform post_script pre_script program push_to timeout_seconds");
        assert!(value["targets"][0]["tasks"][1]["platform"].is_null());
    }
}
