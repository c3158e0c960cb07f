mod dockerfile;
mod logins;
mod mistakes;
mod sizes;
mod typed_keys;
mod variables;

use proptest::prelude::*;

use super::*;
use crate::spec::TaskSpec;
use crate::{kaniko, plan};

fn resolve(text: &str) -> Result<Resolved, Report> {
    read("config.yaml", text)?.resolve(Order::Sequential, &Naming::default())
}

fn tasks(text: &str) -> Vec<TaskSpec> {
    let Resolved { spec, notices, .. } = resolve(text).unwrap_or_else(|report| panic!("{report}"));
    assert!(notices.is_empty(), "{notices:?}");
    let [service] = spec.services.try_into().unwrap();
    service.tasks
}

fn task(text: &str) -> TaskSpec {
    let [task] = tasks(text).try_into().unwrap();
    task
}

fn report(text: &str) -> String {
    resolve(text).map(|_| ()).expect_err(text).to_string()
}

fn notices(text: &str) -> String {
    let Resolved { notices, .. } = resolve(text).unwrap_or_else(|report| panic!("{report}"));
    notices.iter().map(Notice::rendered).collect::<Vec<_>>().join("\n")
}

const BASE: &str = "global:\n  arch: amd64\n  kaniko:\n    destination: reg.test/a:1\n";

fn indented(lines: &str, by: &str) -> String {
    lines.lines().fold(BASE.to_owned(), |text, line| text + by + line + "\n")
}

/// `global` with more lines at the level of `arch`.
fn with(lines: &str) -> String {
    indented(lines, "  ")
}

/// `global` with more lines at the level of `destination`.
fn baked(lines: &str) -> String {
    indented(lines, "    ")
}

#[test]
fn settings_are_inherited_as_in_the_example() {
    let tasks = tasks(
        r#"
global:
  arch: amd64
  env: { HTTP_PROXY: "http://proxy:3128", TIER: base }
  kaniko:
    destination: reg.test/shop/cart:7
    build-args: { GO: "1.25" }
    cache: { enable: true, repo: reg.test/cache, ttl: 24h }
bake:
- kaniko: { build-args: { FLAVOUR: a } }            # amd64; args GO + FLAVOUR; cache and destination inherited
- arch: arm64
  env: { TIER: arm }                                # HTTP_PROXY stays, TIER replaced
  kaniko: { dockerfile: Dockerfile.arm64, cache: { enable: false } }   # repo and ttl stay
"#,
    );
    let [first, second] = tasks.try_into().unwrap();
    let args: Vec<_> = first.kaniko.build_args.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!((first.arch.as_str(), args), ("amd64", vec!["FLAVOUR=a".to_owned(), "GO=1.25".to_owned()]));
    assert_eq!(first.kaniko.dockerfile, "Dockerfile");
    assert!(first.kaniko.cache.enable);
    let env: Vec<_> = second.env.iter().map(|(k, v)| format!("{k}={}", v.expose())).collect();
    assert_eq!(
        (second.arch.as_str(), env),
        ("arm64", vec!["HTTP_PROXY=http://proxy:3128".to_owned(), "TIER=arm".to_owned()])
    );
    assert_eq!(second.kaniko.dockerfile, "Dockerfile.arm64");
    assert_eq!(second.kaniko.build_args.len(), 1);
    assert!(!second.kaniko.cache.enable);
    for task in [first, second] {
        assert_eq!(task.kaniko.cache.repo.as_deref(), Some("reg.test/cache"));
        assert_eq!(task.kaniko.cache.ttl_seconds, Some(86_400));
        assert_eq!(task.kaniko.destination.unwrap().to_string(), "reg.test/shop/cart:7");
    }
}

#[test]
fn every_key_is_read() {
    let task = task(
        r#"
global:
  platform: k8s
  arch: arm64
  cpu: 500m
  memory: 1.5Gi
  env: { A: 1, B: yes, C: "" }
  pre-script: |
    echo one
    echo two
  post-script: echo done
  kaniko-credentials:
  - { registry: "https://index.docker.io/v1/", username: me, password: 0123 }
  - { registry: "reg.test:5000", username: me, password: x }
  kaniko:
    context-path: ./svc/../app/
    dockerfile: ../docker/Dockerfile
    destination: reg.test:5000/shop/cart
    build-args: { GO: 1.10 }
    cache: { enable: True, repo: reg.test/cache, ttl: 1h30m, copy-layers: true, run-layers: false, compressed: false }
    snapshot-mode: redo
    use-new-run: true
    cleanup: false
    no-push: false
    custom-platform: linux/arm64/v8
    ignore-path: [/product_uuid]
    extra-flags: --label "a b=c d" --single-snapshot
"#,
    );
    insta::assert_json_snapshot!(task, @r#"
    {
      "platform": "k8s",
      "arch": "arm64",
      "cpu_millis": 500,
      "memory_mib": 1536,
      "env": {
        "A": "1",
        "B": "yes",
        "C": ""
      },
      "pre_script": "echo one\necho two\n",
      "post_script": "echo done",
      "credentials": [
        {
          "registry": "docker.io",
          "username": "me",
          "password": "0123"
        },
        {
          "registry": "reg.test:5000",
          "username": "me",
          "password": "x"
        }
      ],
      "kaniko": {
        "context_path": "app",
        "dockerfile": "../docker/Dockerfile",
        "destination": "reg.test:5000/shop/cart",
        "build_args": {
          "GO": "1.10"
        },
        "cache": {
          "enable": true,
          "repo": "reg.test/cache",
          "ttl_seconds": 5400,
          "copy_layers": true,
          "run_layers": false,
          "compressed": false
        },
        "snapshot_mode": "redo",
        "use_new_run": true,
        "cleanup": false,
        "no_push": false,
        "custom_platform": "linux/arm64/v8",
        "ignore_path": [
          "/product_uuid"
        ],
        "extra_flags": [
          "--label",
          "a b=c d",
          "--single-snapshot"
        ]
      }
    }
    "#);
}

#[test]
fn an_explicit_empty_value_clears() {
    let text = r"
global:
  arch: amd64
  platform: docker
  cpu: 1
  pre-script: echo
  env: { A: a }
  kaniko-credentials: [{ registry: r.test, username: u, password: p }]
  kaniko:
    destination: reg.test/a:1
    build-args: { B: b }
    ignore-path: [/x]
    extra-flags: --force
    cache: { enable: true, repo: reg.test/c }
bake:
- platform: ''
  cpu: ''
  pre-script: ''
  env: ''
  kaniko-credentials: []
  kaniko: { build-args: [], ignore-path: [], extra-flags: '', cache: { repo: '' } }
- env: { A: '' }
";
    let [cleared, kept] = tasks(text).try_into().unwrap();
    assert_eq!((cleared.platform, cleared.cpu_millis, cleared.pre_script), (None, None, None));
    assert!(cleared.env.is_empty() && cleared.credentials.is_empty() && cleared.kaniko.build_args.is_empty());
    assert!(cleared.kaniko.ignore_path.is_empty() && cleared.kaniko.extra_flags.is_empty());
    assert_eq!((cleared.kaniko.cache.enable, cleared.kaniko.cache.repo), (true, None));
    assert_eq!(kept.env["A"].expose(), "");
    assert_eq!(kept.credentials.len(), 1);
}

#[test]
fn no_bake_is_one_task_and_an_empty_entry_is_global() {
    for bake in ["", "bake:\n", "bake: []\n", "bake: ''\n", "bake:\n- {}\n"] {
        let Resolved { spec, .. } = resolve(&format!("{BASE}{bake}")).unwrap();
        assert_eq!(spec.services[0].tasks.len(), 1, "{bake}");
    }
    let anchors = "x: &x 1\n";
    assert!(report(anchors).contains("unknown key"));
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "
global: &base
  arch: amd64
  kaniko: { destination: reg.test/a:1 }
bake:
- <<: *base
  arch: arm64
";
    assert_eq!(task(text).arch.as_str(), "arm64");
}

#[test]
fn a_bare_cache_host_is_completed_with_a_notice() {
    let text = baked("cache: { enable: true, repo: cache.example.com }");
    assert_eq!(
        notices(&text),
        "config.yaml:5:34: global.kaniko.cache.repo: is a bare host: completed to cache.example.com/a/cache"
    );
    let Resolved { spec, .. } = resolve(&text).unwrap();
    assert_eq!(spec.services[0].tasks[0].kaniko.cache.repo.as_deref(), Some("cache.example.com/a/cache"));
    for (repo, message) in [
        ("cache", "not a repository"),
        ("reg.test/c:tag", "has no tag"),
        ("http://reg.test/c", "not a repository"),
    ] {
        let report = report(&baked(&format!("cache: {{ enable: true, repo: '{repo}' }}")));
        assert!(report.contains(message) && report.lines().count() == 2, "{repo}: {report}");
    }
    let lost =
        "global: { arch: amd64, kaniko: { no-push: true, cache: { enable: true, repo: 'localhost:5000' } } }";
    assert!(report(lost).contains("no destination is set to take the repository from"));
}

#[test]
fn the_example_file_resolves_to_its_tasks() {
    let text = include_str!("../../../../client-config.yaml.example");
    let vars = BTreeMap::new();
    let variables = Variables::Of { vars: &vars, withheld: &|_, _| None };
    let file = read_with("config.yaml", text, &Surroundings { variables, secrets: &() }).unwrap();
    let Resolved { mut spec, plan, notices, .. } =
        file.resolve(Order::Sequential, &Naming::default()).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
    let [amd, arm] = spec.services.remove(0).tasks.try_into().unwrap();
    assert_eq!((amd.cpu_millis, amd.memory_mib), (Some(500), Some(2048)));
    assert_eq!((arm.cpu_millis, arm.memory_mib), (Some(1000), Some(4096)));
    assert_eq!(arm.kaniko.build_args.len(), 2);
    assert_eq!(amd.kaniko.extra_flags, ["--image-fs-extract-retry=5"]);
    assert_eq!(amd.kaniko.labels["org.opencontainers.image.title"], "Shop cart");
    assert!(amd.kaniko.single_snapshot);
    assert!(matches!(&plan.targets[..], [plan::Target { publish: Some(it), .. }] if it.is_index));
    for (_, task) in plan.tasks() {
        let input = kaniko::ArgvInput {
            arch: task.spec.arch,
            push_to: task.push_to.as_ref(),
            also_push_to: &task.also_push_to,
            push: crate::wire::run::Push::ByKaniko,
            insecure_registries: &[],
            paths: &kaniko::Paths::of(None),
        };
        let (_, left_out) = kaniko::argv(&task.spec.kaniko, &input, &kaniko::ExecutorFacts::pinned());
        assert!(left_out.is_empty());
    }
}

#[test]
fn the_example_shows_every_key_that_has_an_effect() {
    let text = include_str!("../../../../client-config.yaml.example");
    let sections = [
        (&keys::TOP[..], ""),
        (&keys::TASK, "  "),
        (&keys::CREDENTIAL, "    "),
        (&keys::CONTEXT, "    "),
        (&keys::KANIKO, "    "),
        (&keys::CACHE, "      "),
    ];
    for (keys, indent) in sections {
        for key in keys.iter().filter(|key| key.is_used()) {
            let starts = [format!("{indent}{}:", key.name), format!("{indent}# {}:", key.name)];
            // The first key of an entry of a list stands behind its dash.
            let item = format!("{}- {}:", indent.get(2..).unwrap_or_default(), key.name);
            let shown = |line: &str| starts.iter().chain([&item]).any(|start| line.starts_with(start));
            assert!(text.lines().any(shown), "{indent}{}", key.name);
        }
    }
    for key in keys::SECRET {
        assert!(text.contains(&format!(" {}: ", key.name)), "{}", key.name);
    }
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in r#"(global|bake|kaniko|cache|repo|env|arch|amd64|extra-flags|destination|a/b:1|[:\[\]{},\n '"-]|: |\n  |\n- ){0,40}"#) {
        let _ = resolve(&text);
    }

    #[test]
    fn no_value_breaks_it(value in any::<String>(), key in 0_usize..19) {
        let keys = ["cpu", "memory", "disk", "timeout", "platform", "pre-script", "context-path", "dockerfile", "destination", "ttl",
            "repo", "custom-platform", "extra-flags", "snapshot-mode", "ignore-path", "registry", "A", "password",
            "dockerfile-inline"];
        let quoted = serde_json::to_string(&value).unwrap();
        let key = keys[key];
        let line = match key {
            "cpu" | "memory" | "disk" | "timeout" | "platform" | "pre-script" => with(&format!("{key}: {quoted}")),
            "ttl" | "repo" => baked(&format!("cache: {{ enable: true, {key}: {quoted} }}")),
            "A" => with(&format!("env: {{ A: {quoted} }}")),
            "registry" => with(&format!("kaniko-credentials: [{{ registry: {quoted}, username: u, password: p }}]")),
            "password" => with(&format!("kaniko-credentials: [{{ registry: r.test, username: u, password: {quoted} }}]")),
            "destination" => BASE.replace("reg.test/a:1", &quoted),
            "ignore-path" => baked(&format!("ignore-path: [{quoted}]")),
            _ => baked(&format!("{key}: {quoted}")),
        };
        // What resolves is what the server accepts.
        if let Ok(Resolved { spec, plan, .. }) = resolve(&line) {
            prop_assert_eq!(plan::plan(&spec), Ok(plan));
        }
    }
}

#[test]
fn a_file_with_secrets_is_secret() {
    let login = "{ registry: r.test, username: u, password: hunter2 }";
    for (text, secret) in [
        (format!("global: {{ kaniko-credentials: [{login}] }}"), true),
        (format!("bake: [{{ arch: amd64 }}, {{ kaniko-credentials: [{login}] }}]"), true),
        ("global: { env: { NPM_TOKEN: hunter2 } }".to_owned(), true),
        ("global: { env: { NPM_TOKEN: '', TIER: base }, kaniko-credentials: [] }".to_owned(), false),
    ] {
        assert_eq!(read("config.yaml", &text).unwrap().holds_secrets(), secret, "{text}");
    }
}
