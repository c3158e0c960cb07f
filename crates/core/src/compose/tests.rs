mod cache;
mod cases;
mod dockerfile;
mod extends;
mod include;
mod merge;
mod mistakes;
mod names;
mod secrets;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::config;
use crate::plan;
use crate::report::{Notice, Report};
use crate::spec::{BuildSpec, KanikoSpec, TaskSpec};

/// Target and labels as flags of Kaniko.
fn flags(kaniko: &KanikoSpec) -> Vec<String> {
    let target = kaniko.target.iter().map(|target| format!("--target={target}"));
    target.chain(kaniko.labels.iter().map(|(name, value)| format!("--label={name}={value}"))).collect()
}

fn env() -> BTreeMap<String, String> {
    [
        ("TAG", "7"),
        ("EMPTY", ""),
        ("SECRET", "hunter2"),
        ("GO", "1.25"),
        ("BAD", "A B"),
        ("NO_CACHE", "yes"),
        ("GITHUB_TOKEN", "hunter2"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn ask(text: &str, services: &[&str], config: Option<&str>) -> Result<Resolved, Report> {
    ask_with(text, services, config, &env())
}

/// A request for all services of a file in `/work/shop/deploy`.
fn request<'a>(vars: &'a dyn Vars, withheld: &'a Withheld, naming: &'a Naming) -> Request<'a> {
    Request {
        vars,
        withheld,
        naming,
        config: None,
        services: &[],
        root: "/work/shop",
        folder: "/work/shop/deploy",
        arch: Arch::Arm64,
        order: Order::Sequential,
        files: &(),
    }
}

fn ask_with(
    text: &str,
    services: &[&str],
    config: Option<&str>,
    vars: &dyn Vars,
) -> Result<Resolved, Report> {
    let services: Vec<String> = services.iter().map(|&name| name.to_owned()).collect();
    let config = config.map(|text| config::read("config.yaml", text).unwrap());
    read("deploy/compose.yaml", text)?.resolve(&Request {
        config: config.as_ref(),
        services: &services,
        ..request(vars, &Withheld::of(&env(), &[], ""), &Naming::default())
    })
}

fn good(text: &str, config: Option<&str>) -> Vec<(String, Vec<TaskSpec>)> {
    let Resolved { spec, notices, .. } = ask(text, &[], config).unwrap_or_else(|report| panic!("{report}"));
    assert!(notices.is_empty(), "{notices:?}");
    named(spec)
}

fn named(spec: BuildSpec) -> Vec<(String, Vec<TaskSpec>)> {
    spec.services.into_iter().map(|service| (service.name.unwrap().to_string(), service.tasks)).collect()
}

fn report(text: &str) -> String {
    ask(text, &[], None).map(|_| ()).expect_err(text).to_string()
}

fn notices(text: &str) -> String {
    let Resolved { notices, .. } = ask(text, &[], None).unwrap_or_else(|report| panic!("{report}"));
    notices.iter().map(Notice::rendered).collect::<Vec<_>>().join("\n")
}

fn archs(tasks: &[TaskSpec]) -> Vec<&'static str> {
    tasks.iter().map(|task| task.arch.as_str()).collect()
}

/// One service with these lines below `build`.
fn build(lines: &str) -> String {
    let head = "services:\n  web:\n    image: reg.test/web\n    build:\n      context: .\n".to_owned();
    lines.lines().fold(head, |text, line| text + "      " + line + "\n")
}

#[test]
fn services_become_targets_in_the_order_of_the_file() {
    let services = good(
        r"
services:
  worker:
    image: reg.test/worker:${TAG:-dev}
    build:
      context: ../worker
      dockerfile: docker/Dockerfile
      args: { GO: , NOWHERE: , KIND: worker, N: '1.10' }
      x-bake: { platforms: [linux/amd64, linux/arm64] }
  app:
    image: reg.test/app
    platform: linux/amd64
    build:
      args: [GO, NOWHERE, 'EQ=a=b', FLAG]
      target: prod
      no_cache: ${NC:-false}
  short: { image: reg.test/short, build: .. }
",
        None,
    );
    let names: Vec<_> = services.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["worker", "app", "short"]);
    let [(_, worker), (_, app), (_, short)] = services.try_into().unwrap();
    assert_eq!(archs(&worker), ["amd64", "arm64"]);
    let kaniko = &worker[0].kaniko;
    assert_eq!((kaniko.context_path.as_str(), kaniko.dockerfile.as_str()), ("worker", "docker/Dockerfile"));
    assert_eq!(kaniko.destination.as_ref().unwrap().to_string(), "reg.test/worker:7");
    let args = |task: &TaskSpec| -> Vec<String> {
        task.kaniko.build_args.iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    assert_eq!(args(&worker[0]), ["GO=1.25", "KIND=worker", "N=1.10"]);
    assert_eq!(
        (archs(&app), args(&app[0])),
        (vec!["amd64"], vec!["EQ=a=b".to_owned(), "GO=1.25".to_owned()])
    );
    assert_eq!(
        (app[0].kaniko.context_path.as_str(), flags(&app[0].kaniko)),
        ("deploy", vec!["--target=prod".to_owned()])
    );
    // Nothing names an architecture: the client's own.
    assert_eq!((archs(&short), short[0].kaniko.context_path.as_str()), (vec!["arm64"], "."));
}

#[test]
fn architectures_come_from_the_first_that_names_one() {
    let amd = Some("global: { arch: amd64 }");
    for (lines, config, expected) in [
        ("platforms: [linux/amd64]\nx-bake: { platforms: [linux/arm64] }", None, vec!["arm64"]),
        ("platforms: [linux/amd64, linux/arm64/v8]", None, vec!["amd64", "arm64"]),
        ("x-bake: { platforms: linux/amd64 linux/arm64 }", None, vec!["amd64", "arm64"]),
        ("x-bake: {}", amd, vec!["amd64"]),
        ("", None, vec!["arm64"]),
    ] {
        let services = good(&build(lines), config);
        assert_eq!(archs(&services[0].1), expected, "{lines}");
    }
    let variant = good(&build("platforms: [linux/arm64/v9]"), None);
    assert_eq!(variant[0].1[0].kaniko.custom_platform.as_deref(), Some("linux/arm64/v9"));
    assert_eq!(
        notices(&build("platforms: [linux/amd64, linux/amd64]")),
        "deploy/compose.yaml:6:32: services.web.build.platforms[1]: listed twice, used once"
    );
    let text = build("platforms: [linux/amd64]").replace("    image", "    platform: linux/arm64\n    image");
    assert!(report(&text).contains("linux/arm64 is not among `build.platforms`"));
    assert!(report(&build("platforms: [linux/riscv64]")).contains("hint: linux/amd64 or linux/arm64"));
}

#[test]
fn the_configs_global_is_the_base() {
    let config = "
global:
  arch: amd64
  cpu: 2
  disk: 40G
  pre-script: make
  kaniko:
    context-path: base
    destination: reg.test/base
    build-args: { A: base, B: base }
    cache: { enable: true, repo: reg.test/cache }
bake: [{ arch: arm64 }, { arch: amd64 }]
";
    let text = "services: { a: { image: reg.test/a, build: { args: { A: own } } }, b: { build: { context: ., no_cache: true } } }";
    let Resolved { spec, notices, .. } = ask(text, &[], Some(config)).unwrap();
    assert_eq!(notices[0].location.path, "bake[0]");
    let [(_, a), (_, b)] = named(spec).try_into().unwrap();
    assert_eq!(
        (archs(&a), a[0].cpu_millis, a[0].pre_script.as_deref()),
        (vec!["amd64"], Some(2000), Some("make"))
    );
    assert_eq!((a[0].disk_mib, b[0].disk_mib), (Some(40 << 10), Some(40 << 10)));
    assert_eq!((a[0].kaniko.build_args["A"].as_str(), a[0].kaniko.build_args["B"].as_str()), ("own", "base"));
    assert_eq!((a[0].kaniko.context_path.as_str(), b[0].kaniko.context_path.as_str()), ("base", "deploy"));
    assert_eq!(b[0].kaniko.destination.as_ref().unwrap().to_string(), "reg.test/base");
    assert!(a[0].kaniko.cache.enable && !b[0].kaniko.cache.enable);
}

#[test]
fn services_are_selected_as_compose_does() {
    let text = "
services:
  web: { image: reg.test/web, build: . }
  tools: { image: reg.test/tools, build: tools, profiles: [dev, '${TAG}'] }
  db: { image: postgres }
  broken: { image: reg.test/broken, build: { context: 'git@github.com:a/b' }, profiles: [never] }
";
    let names = |services: &[&str], profiles: &str| -> Vec<String> {
        let mut vars = env();
        vars.insert("COMPOSE_PROFILES".to_owned(), profiles.to_owned());
        let Resolved { spec, .. } = ask_with(text, services, None, &vars).unwrap();
        named(spec).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&[], ""), ["web"]);
    assert_eq!(names(&[], "x, dev"), ["web", "tools"]);
    assert_eq!(names(&[], "7"), ["web", "tools"]);
    assert_eq!(names(&["tools"], ""), ["tools"]);
    assert_eq!(names(&["tools", "web"], ""), ["web", "tools"]);
    let refused = |services: &[&str]| ask(text, services, None).map(|_| ()).unwrap_err().to_string();
    insta::assert_snapshot!(refused(&["wbe", "db", "zzz"]), @r"
    deploy/compose.yaml:3:3: services: there is no service `wbe`
      hint: did you mean `web`? known services: web, tools, db, broken
    deploy/compose.yaml:3:3: services: there is no service `zzz`
      hint: known services: web, tools, db, broken
    deploy/compose.yaml:5:7: services.db: the service `db` has no `build`
      hint: give it a `build`, or remove it from --services
    ");
    assert!(refused(&["broken"]).contains("a remote context is not supported yet"));
}

#[test]
fn contexts_stay_below_the_source_root() {
    for (context, inner) in [
        (".", Some("deploy")),
        ("..", Some(".")),
        ("../a/./b/..", Some("a")),
        ("../..", None),
        ("../../shop", Some(".")),
        ("../../shopping", None),
        ("/work/shop/x", Some("x")),
        ("/work", None),
    ] {
        let text = format!("services: {{ a: {{ build: '{context}', image: x }} }}");
        let path = ask(&text, &[], None)
            .ok()
            .map(|resolved| resolved.spec.services[0].tasks[0].kaniko.context_path.clone());
        assert_eq!(path.as_deref(), inner, "{context}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in r#"(services|web|build|image|context|args|x-bake|platforms|linux/amd64|[$][{]TAG|:-|[:\[\]{},\n '"-]|: |\n  |\n    |- ){0,40}"#) {
        let _ = ask(&text, &[], None);
    }

    #[test]
    fn no_value_breaks_it(value in any::<String>(), key in 0_usize..13) {
        let quoted = serde_json::to_string(&value).unwrap();
        let line = match key {
            0 => format!("context: {quoted}"),
            1 => format!("dockerfile: {quoted}"),
            2 => format!("args: {{ {quoted}: x }}"),
            3 => format!("args: [{quoted}]"),
            4 => format!("platforms: [{quoted}]"),
            5 => format!("target: {quoted}"),
            6 => format!("labels: [{quoted}]"),
            7 => format!("no_cache: {quoted}"),
            8 => format!("x-bake: {{ platforms: {quoted} }}"),
            9 => format!("dockerfile_inline: {quoted}"),
            10 => format!("cache_to: [{quoted}]"),
            11 => format!("x-bake: {{ cache-from: {quoted} }}"),
            _ => format!("network: {quoted}"),
        };
        let text = format!("services:\n  web:\n    image: reg.test/web\n    build:\n      {line}\n");
        if let Ok(Resolved { spec, plan, .. }) = ask(&text, &[], None) {
            prop_assert_eq!(plan::plan(&spec), Ok(plan));
        }
    }
}
