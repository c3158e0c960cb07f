//! `--set` and the options of every task, with files.

use crate::files::{client, folder};

const COMPOSE: &str = "\
services:
  web:
    image: r.test/web:1
    build: { context: web, args: [A=1, B=2], tags: [r.test/web:a], x-bake: { platforms: [linux/amd64] } }
  my.worker:
    image: r.test/worker:1
    build: worker
  db:
    image: postgres
";
const CONFIG: &str = "\
global:
  arch: amd64
  platform: ecs
  kaniko: { destination: r.test/a:1, cache: { enable: true, repo: r.test/c }, tags: [r.test/a:2] }
bake:
- platform: docker
- { arch: arm64, cpu: 1 }
";

/// What `plan` prints with these changes of a file.
fn plan(file: (&str, &str), args: &[&str]) -> (i32, String, String) {
    let files = folder(&[
        file,
        ("Dockerfile", "FROM scratch\n"),
        ("web/Dockerfile", "FROM scratch\n"),
        ("worker/Dockerfile", "FROM scratch\n"),
    ]);
    client(files.path(), &[&["plan"], args].concat())
}

/// The same plan as with the file `expected`.
fn equals(file: &str, (text, expected): (&str, &str), args: &[&str]) {
    let with = |text, args: &[&str]| {
        let (code, out, err) = plan((file, text), args);
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    };
    assert_ne!(text, expected);
    assert_eq!(with(text, args), with(expected, &[]), "{args:?}");
}

#[test]
fn a_value_of_a_compose_file_is_changed() {
    for (old, new, set) in [
        ("r.test/web:1", "s.test/web:2", "web.image=s.test/web:2"),
        ("B=2", "B=3", "web.build.args.B=3"),
        ("B=2]", "B=2, C.D=e=f]", "web.build.args.C.D=e=f"),
        ("A=1", "'A=$${A}1.10'", "web.build.args.A=${A}1.10"),
        ("[linux/amd64]", "[linux/arm64, linux/amd64]", "web.build.x-bake.platforms=linux/arm64,linux/amd64"),
        ("[linux/amd64]", "[linux/amd64, linux/arm64]", "web.build.x-bake.platforms+=linux/arm64"),
        ("[r.test/web:a]", "[r.test/web:a, s.test/web:b]", "web.build.tags+=s.test/web:b"),
        ("tags: [r.test/web:a], ", "", "web.build.tags="),
        ("build: worker", "build: web", "my.worker.build=web"),
        ("build: worker", "build: { context: worker, target: prod }", "my.worker.build.target=prod"),
        (
            "build: worker",
            "build: { context: worker, cache_to: ['type=registry,ref=r.test/c'] }",
            "my.worker.build.cache_to=type=registry,ref=r.test/c",
        ),
    ] {
        equals("compose.yaml", (COMPOSE, &COMPOSE.replace(old, new)), &["--set", set]);
    }
    let both = COMPOSE
        .replace("context: web", "context: web, target: x")
        .replace("build: worker", "build: { context: worker, target: prod }");
    equals(
        "compose.yaml",
        (COMPOSE, &both),
        &["--set", "*.build.target=prod", "--set", "web.build.target=x"],
    );
}

#[test]
fn a_value_of_a_config_is_changed() {
    for (old, new, set) in [
        ("r.test/a:1", "s.test/a:2", "global.kaniko.destination=s.test/a:2"),
        ("enable: true", "enable: false", "global.kaniko.cache.enable=false"),
        ("cpu: 1", "cpu: 2", "bake[1].cpu=2"),
        ("platform: docker", "platform: docker\n  timeout: 1h", "bake[0].timeout=1h"),
        ("[r.test/a:2]", "[r.test/a:2, r.test/a:3]", "global.kaniko.tags+=r.test/a:3"),
        ("[r.test/a:2]", "[s.test/a:2, s.test/a:3]", "global.kaniko.tags=s.test/a:2,s.test/a:3"),
        (", tags: [r.test/a:2]", "", "global.kaniko.tags="),
        ("tags:", "labels: { a: '$${A}' }, tags:", "global.kaniko.labels.a=${A}"),
        ("tags:", "labels: { a.b: c=d }, tags:", "global.kaniko.labels.a.b=c=d"),
        (
            "tags:",
            "secrets: [{ id: d, file: Dockerfile }], tags:",
            "global.kaniko.secrets+=id=d,file=Dockerfile",
        ),
    ] {
        let changed = CONFIG.replace(old, new);
        equals("config.yaml", (CONFIG, &changed), &["--set", set]);
    }
    let alone = "global: { arch: amd64, kaniko: { destination: r.test/a } }\n";
    equals("config.yaml", (alone, &alone.replace("amd64", "arm64")), &["--set", "*.arch=arm64"]);
}

#[test]
fn options_of_every_task_win_over_global_and_entries() {
    let (_, out, err) =
        plan(("config.yaml", CONFIG), &["--on", "k8s", "--cpu", "3", "--memory", "2G", "--no-cache"]);
    assert_eq!(err, "");
    for line in ["platform     k8s", "cpu          3", "memory       2048 MiB"] {
        assert_eq!(out.matches(line).count(), 2, "{line}: {out}");
    }
    assert!(!out.contains("--cache"), "{out}");
    let (code, out, err) = plan(("compose.yaml", COMPOSE), &["--on", "k8s", "--set", "global.cpu=3"]);
    assert!(code == 0 && out.matches("platform     k8s").count() == 2, "{err}");
    assert_eq!(out.matches("cpu          3").count(), 2, "{out}");
    let cached = COMPOSE.replace("build: worker", "build: { context: worker, cache_to: [r.test/c] }");
    let (_, out, err) = plan(("compose.yaml", &cached), &["--no-cache"]);
    assert!(
        !out.contains("--cache") && err.contains("`kaniko.cache.enable` is not true (--no-cache)"),
        "{err}"
    );
}

#[test]
fn mistakes_name_the_option_and_its_number() {
    let set = |file, changes: &[&str]| {
        let args: Vec<_> = changes.iter().flat_map(|change| ["--set", change]).collect();
        let (code, out, err) = plan(file, &args);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        err
    };
    insta::assert_snapshot!(set(("compose.yaml", COMPOSE), &[
        "hunter2", "wbe.image=a", "web.build.targt=a", "web.cpu=1", "web.environment.A=1", "web.build.no_cache=perhaps",
        "web.buld.target=a", "web.build.x-bake.platforms=linux/mips", "global.cpuu=1", "web.build.target+=a", "web.image=UPPER",
    ]), @r"
    error: 11 mistakes
    --set 1: not of the form PATH=VALUE
      hint: SERVICE.KEY=VALUE or global.KEY=VALUE, with dots between nested keys; += adds to a list
    --set 9: global.cpuu: unknown key
      hint: did you mean `cpu`?
    --set 2: wbe.image: there is no service `wbe`
      hint: did you mean `web`? known services: web, my.worker, db; `*` is each that is built
    --set 4: web.cpu: `cpu` is a key of config.yaml, not of a service
      hint: `global.cpu` is for all services
    --set 5: web.environment.A: `environment` is for running a service, and has no effect on its build
      hint: set a key below `build`
    --set 7: web.buld.target: unknown key
      hint: did you mean `build`?
    --set 3: web.build.targt: unknown key
      hint: did you mean `target`?
    --set 6: web.build.no_cache: `perhaps` is not true or false
    --set 10: web.build.target: expected a single value, found a list
    --set 8: web.build.x-bake.platforms: `linux/mips` is not a supported platform
      hint: linux/amd64 or linux/arm64
    --set 11: web.image: `UPPER` is not an image reference
      hint: image names must be lower case
    ");
    insta::assert_snapshot!(set(("config.yaml", CONFIG), &[
        "web.image=a", "globl.cpu=1", "global.kaniko.targt=a", "global.cpu=lots", "bake[2].cpu=1", "global.cpu+=1",
        "global.cpu.x=1", "global.kaniko.cache=1", "global.kaniko.secrets=hunter2", "global.kaniko.secrets=id=a,environ=b", "variables=false",
    ]), @r"
    error: 12 mistakes
    --set 11: `variables` is not a path
      hint: SERVICE.KEY=VALUE or global.KEY=VALUE, with dots between nested keys; += adds to a list
    --set 1: web.image: there is no service `web`: no Compose file is read
      hint: `global.KEY`, `bake[0].KEY` for an entry, or `*.KEY` for every entry
    --set 2: globl.cpu: there is no service `globl`: no Compose file is read
      hint: did you mean `global`?
    --set 5: bake[2].cpu: there is no entry 2: the file has 2
      hint: entries are counted from 0; a file without any has `global` alone
    --set 6: global.cpu: `+=` adds to a list, and this is not one
      hint: write `=`
    --set 7: global.cpu.x: `cpu` has no keys below it
      hint: set `cpu` itself
    --set 9: global.kaniko.secrets: not an entry of the list
      hint: write KEY=VALUE,KEY=VALUE: a list of `{id, env}` or `{id, file}`
    --set 3: global.kaniko.targt: unknown key
      hint: did you mean `target`?
    --set 8: global.kaniko.cache: expected a mapping, found a single value
    --set 10: global.kaniko.secrets: unknown key
      hint: one of id, env, file
    --set 10: global.kaniko.secrets: has no value
      hint: set `env` or `file`
    --set 4: global.cpu: `lots` is not a valid amount of cpu
      hint: for example `0.5`, `2` or `500m`; at most 1024
    ");
}
