//! Several Compose files: which are read, and how they are merged.

use crate::files::{client, client_with, folder};

const BASE: &str = "services: { web: { image: r.test/base, build: ./web } }\n";

fn image(name: &str) -> String {
    format!("services: {{ web: {{ image: r.test/{name} }} }}\n")
}

/// What is pushed, the context, and what is printed about the files.
fn plan(folder: &std::path::Path, args: &[&str], vars: &[(&str, &str)]) -> String {
    let (code, out, err) = client_with(folder, &[&["plan"], args].concat(), vars);
    assert_eq!(code, 0, "{err}");
    let found = |start: &str| out.lines().find_map(|line| line.trim().strip_prefix(start)).unwrap_or("-");
    let text = [found("pushes       "), found("--context=dir:///"), found("Read from ")].join(" ");
    text.replace(folder.parent().unwrap().canonicalize().unwrap().to_str().unwrap(), "ABOVE")
}

#[test]
fn compose_files_are_merged_in_their_order() {
    let place = folder(&[
        ("compose.yaml", BASE),
        ("compose.override.yaml", &image("override")),
        ("b/prod.yaml", &image("prod")),
        ("other.yaml", "services: { web: { build: ./other } }\n"),
        ("web/Dockerfile", "FROM scratch\n"),
        ("other/Dockerfile", "FROM scratch\n"),
        ("deep/x", ""),
    ]);
    let place = place.path();
    insta::assert_snapshot!(plan(place, &[], &[]), @"r.test/override:latest kaniko/bakery/ctx/web compose.yaml, compose.override.yaml.");
    insta::assert_snapshot!(plan(&place.join("deep"), &["--repo", ".."], &[]), @"r.test/override:latest kaniko/bakery/ctx/web ABOVE/compose.yaml, ABOVE/compose.override.yaml.");
    // A file that is named has no override file, and all paths are relative to the folder of the first.
    insta::assert_snapshot!(plan(place, &["--compose", "compose.yaml"], &[]), @"r.test/base:latest kaniko/bakery/ctx/web -");
    let two = ["--compose", "compose.yaml", "--compose", "b/prod.yaml"];
    insta::assert_snapshot!(plan(place, &two, &[]), @"r.test/prod:latest kaniko/bakery/ctx/web compose.yaml, b/prod.yaml.");
    let three = [&two[..], &["--compose", "other.yaml"]].concat();
    insta::assert_snapshot!(plan(place, &three, &[]), @"r.test/prod:latest kaniko/bakery/ctx/other compose.yaml, b/prod.yaml, other.yaml.");
    let (code, out, err) =
        client(place, &[&["--compose", "compose.yaml", "plan", "--json"], &two[2..]].concat());
    let json: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {err}"));
    assert_eq!(json["files"], serde_json::json!(["compose.yaml", "b/prod.yaml"]));
}

#[test]
fn compose_file_of_the_environment_or_dotenv_names_the_files() {
    let place = folder(&[
        ("compose.yaml", BASE),
        ("b.yaml", &image("b")),
        ("c.yaml", &image("c")),
        ("web/Dockerfile", "FROM scratch\n"),
    ]);
    let place = place.path();
    insta::assert_snapshot!(plan(place, &[], &[("COMPOSE_FILE", "compose.yaml:b.yaml")]), @"r.test/b:latest kaniko/bakery/ctx/web compose.yaml, b.yaml.");
    let vars = [("COMPOSE_FILE", "compose.yaml;b.yaml;"), ("COMPOSE_PATH_SEPARATOR", ";")];
    insta::assert_snapshot!(plan(place, &[], &vars), @"r.test/b:latest kaniko/bakery/ctx/web compose.yaml, b.yaml.");
    insta::assert_snapshot!(plan(place, &["--compose", "compose.yaml"], &vars), @"r.test/base:latest kaniko/bakery/ctx/web -");
    std::fs::write(place.join(".env"), "COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=compose.yaml,c.yaml\n")
        .unwrap();
    insta::assert_snapshot!(plan(place, &[], &[]), @"r.test/c:latest kaniko/bakery/ctx/web compose.yaml, c.yaml.");
    insta::assert_snapshot!(plan(place, &[], &[("COMPOSE_FILE", "compose.yaml,b.yaml")]), @"r.test/b:latest kaniko/bakery/ctx/web compose.yaml, b.yaml.");
    // A checkout cannot name files elsewhere.
    std::fs::write(place.join(".env"), "COMPOSE_FILE=/etc/passwd\n").unwrap();
    insta::assert_snapshot!(client(place, &["plan"]).2, @r"
    error: .env: COMPOSE_FILE names /etc/passwd, which is not in this checkout
      hint: name the files with --compose, or set COMPOSE_FILE in the environment
    ");
    // A config.yaml is what is read, also if a `.env` has this variable for other tools.
    let config = "bake: [{ arch: amd64, kaniko: { destination: r.test/config, context-path: web } }]";
    std::fs::write(place.join("config.yaml"), config).unwrap();
    insta::assert_snapshot!(client(place, &["plan"]).2, @r"
    notice: config.yaml: compose.yaml in the same folder is not read
      hint: --compose compose.yaml builds its services; with --config config.yaml as well, that file's `global` is their base
    ");
    std::fs::write(place.join(".env"), "COMPOSE_FILE=c.yaml\n").unwrap();
    insta::assert_snapshot!(client(place, &["plan"]).2, @r"
    notice: config.yaml: COMPOSE_FILE is not read
      hint: --compose c.yaml builds its services; with --config config.yaml as well, that file's `global` is their base
    ");
}

#[test]
fn files_with_variables_are_named_by_options_or_a_variable() {
    let place = folder(&[
        ("compose.yaml", "services: { web: { image: '${A}${B:-}/x', build: web } }"),
        (".env", "A=of-dotenv\n"),
        ("a.env", "A=of-a\nB=.test\n"),
        ("b.env", "A=${A}-b\n"),
        ("web/Dockerfile", "FROM scratch\n"),
    ]);
    let place = place.path();
    insta::assert_snapshot!(plan(place, &[], &[]), @"docker.io/of-dotenv/x:latest kaniko/bakery/ctx/web -");
    insta::assert_snapshot!(plan(place, &["--env-file", "a.env"], &[]), @"of-a.test/x:latest kaniko/bakery/ctx/web -");
    insta::assert_snapshot!(plan(place, &["--env-file", "a.env", "--env-file", "b.env"], &[]), @"of-a-b.test/x:latest kaniko/bakery/ctx/web -");
    insta::assert_snapshot!(plan(place, &[], &[("COMPOSE_ENV_FILES", "a.env,b.env")]), @"of-a-b.test/x:latest kaniko/bakery/ctx/web -");
    insta::assert_snapshot!(plan(place, &[], &[("COMPOSE_DISABLE_ENV_FILE", "1"), ("A", "of-environment")]), @"docker.io/of-environment/x:latest kaniko/bakery/ctx/web -");
    insta::assert_snapshot!(client(place, &["--env-file", "none.env", "plan"]).2, @r"
    error: none.env cannot be read: No such file or directory (os error 2)
      hint: --env-file and COMPOSE_ENV_FILES name text files that exist
    ");
    insta::assert_snapshot!(client(place, &["--env-file", "/dev/zero", "plan"]).2, @r"
    error: /dev/zero is a device, not a regular file
      hint: --env-file and COMPOSE_ENV_FILES name text files that exist
    ");
}

#[test]
fn dotenv_of_the_working_directory_comes_first_if_no_option_names_the_files() {
    let place = folder(&[
        ("compose.yaml", "services: { web: { image: 'r.test/$A-$B-$C', build: ./web } }\n"),
        (".env", "A=top\nB=top$A\n"),
        ("web/Dockerfile", "FROM scratch\n"),
        ("deep/.env", "A=deep\nC=${A}c\n"),
    ]);
    let deep = place.path().join("deep");
    let found = plan(&deep, &["--repo", ".."], &[]);
    assert!(found.starts_with("r.test/deep-topdeep-deepc:latest "), "{found}");
    let by_variable = plan(&deep, &["--repo", ".."], &[("COMPOSE_FILE", "../compose.yaml"), ("C", "env")]);
    assert!(by_variable.starts_with("r.test/deep-topdeep-env:latest "), "{by_variable}");
    let named = plan(&deep, &["--repo", "..", "--compose", "../compose.yaml"], &[("C", "env")]);
    assert!(named.starts_with("r.test/top-toptop-env:latest "), "{named}");
}

#[test]
fn a_mistake_in_one_of_several_files_is_located_there() {
    let place = folder(&[
        ("compose.yaml", BASE),
        ("compose.override.yml", "services:\n  web:\n    build: { trget: x, args: 1 }\n"),
        ("broken.yaml", "services: ["),
        ("twice.yaml", "services: {}\nservices: {}\n"),
    ]);
    insta::assert_snapshot!(client(place.path(), &["plan"]).2, @r"
    error: 2 mistakes
    compose.override.yml:3:21: services.web.build.trget: unknown key
      hint: did you mean `target`?
    compose.override.yml:3:30: services.web.build.args: expected a mapping or a list of NAME=value, found a single value
    ");
    let args = ["--compose", "broken.yaml", "--compose", "twice.yaml", "--compose", "none.yaml", "plan"];
    insta::assert_snapshot!(client(place.path(), &args).2, @r"
    error: 3 mistakes
    broken.yaml:1:11: not valid YAML: unclosed bracket '['
      hint: check the indentation, and quote texts that hold `: `, `#`, `{`, `[`, `*`, `&` or `%`
    none.yaml: cannot be read: No such file or directory (os error 2)
      hint: check the path; it is relative to the working directory
    twice.yaml:2:1: the key `services` is defined twice (first on line 1)
      hint: keep one of them
    ");
}

#[test]
fn extended_files_are_read_within_the_checkout() {
    let place = folder(&[
        // shared/cases/compose/silent-extends-left-out
        (
            "compose.yaml",
            "services:\n  base: {image: r.example.com/base, build: .}\n  s:\n    image: r.example.com/s\n    extends: {service: base}\n",
        ),
        ("Dockerfile", "FROM scratch\n"),
        ("far/app/Dockerfile", "FROM scratch\n"),
        ("far/common.yaml", "services: { app: { build: ./app, image: r.test/app } }\n"),
        ("file.yaml", "services: { s: { extends: { file: far/common.yaml, service: app } } }\n"),
        (
            "typo.yaml",
            "services:\n  s: { extends: { file: far/comon.yaml, service: app } }\n  t: { extends: { file: nowhere/x, service: app } }\n",
        ),
        ("outside.yaml", "services: { s: { extends: { file: /etc/passwd, service: app } } }\n"),
        ("far/up.yaml", "services: { s: { extends: { file: ../file.yaml, service: s } } }\n"),
    ]);
    let place = place.path();
    let (code, out, err) = client(place, &["plan"]);
    assert_eq!(code, 0, "{err}");
    let pushed: Vec<_> = out.lines().filter_map(|line| line.trim().strip_prefix("pushes       ")).collect();
    assert_eq!(pushed, ["r.example.com/base:latest"]);
    assert!(out.contains("also as r.example.com/s:latest"), "{out}");
    insta::assert_snapshot!(plan(place, &["--compose", "file.yaml"], &[]), @"r.test/app:latest kaniko/bakery/ctx/far/app file.yaml, far/common.yaml.");
    let far = place.join("far");
    insta::assert_snapshot!(client(place, &["plan", "--compose", "typo.yaml"]).2, @r"
    error: 2 mistakes
    typo.yaml:2:25: services.s.extends.file: `far/comon.yaml` cannot be read: No such file or directory (os error 2)
      hint: did you mean `common.yaml`?
    typo.yaml:3:25: services.t.extends.file: `nowhere/x` cannot be read: No such file or directory (os error 2)
      hint: the path is relative to the folder of the file that names it
    ");
    insta::assert_snapshot!(client(place, &["plan", "--compose", "outside.yaml"]).2, @r"
    error: one mistake
    outside.yaml:1:35: services.s.extends.file: `/etc/passwd` is neither in this checkout nor below --repo
      hint: set --repo to the folder that holds both
    ");
    // The folder above is not below the source root.
    insta::assert_snapshot!(client(&far, &["plan", "--compose", "up.yaml"]).2, @r"
    error: one mistake
    up.yaml:1:35: services.s.extends.file: `../file.yaml` is neither in this checkout nor below --repo
      hint: set --repo to the folder that holds both
    ");
    insta::assert_snapshot!(plan(&far, &["--compose", "up.yaml", "--repo", ".."], &[]), @"r.test/app:latest kaniko/bakery/ctx/far/app up.yaml, ../file.yaml, ../far/common.yaml.");
}

#[test]
fn an_included_project_takes_no_secret_and_no_file_from_elsewhere() {
    let place = folder(&[
        ("compose.yaml", "include: [sub/compose.yaml]\n"),
        ("outside.yaml", "include: [/etc/passwd, { path: sub/compose.yaml, env_file: /etc/hostname }]\n"),
        (
            "sub/compose.yaml",
            "services: { web: { image: r.test/x, build: { args: { A: '$A', B: '$B', C: '$C' } } } }",
        ),
        ("sub/.env", "A=1${GITHUB_TOKEN}\nB=${A:-x}\nC=own\n"),
        ("sub/Dockerfile", "FROM scratch\n"),
        (".git/HEAD", ""),
    ]);
    let place = place.path();
    let (code, out, err) = client_with(place, &["plan"], &[("GITHUB_TOKEN", "hunter2")]);
    assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{out}{err}");
    insta::assert_snapshot!(format!("{code} {err}"), @r"
    2 error: 2 mistakes
    sub/compose.yaml:1:57: services.web.build.args.A: the variable A has the value of GITHUB_TOKEN, a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    sub/compose.yaml:1:66: services.web.build.args.B: the variable B has the value of GITHUB_TOKEN, a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    ");
    insta::assert_snapshot!(client(place, &["--compose", "outside.yaml", "plan"]).2, @r"
    error: 2 mistakes
    outside.yaml:1:11: include[0]: `/etc/passwd` is neither in this checkout nor below --repo
      hint: set --repo to the folder that holds both
    outside.yaml:1:24: include[1]: `/etc/hostname` is neither in this checkout nor below --repo
      hint: set --repo to the folder that holds both
    ");
}
