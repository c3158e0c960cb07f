//! What the program prints about options and files, without a server.

use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

const COMPOSE: &str = "\
services:
  web:
    image: ${REGISTRY:-r.test}/web:1
    build: { context: web, x-bake: { platforms: [linux/amd64, linux/arm64] } }
  worker:
    image: r.test/worker:1
    build: worker
";

pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// Runs the program in `folder`: exit code, standard output, standard error.
pub(crate) fn client(folder: &Path, args: &[&str]) -> (i32, String, String) {
    client_with(folder, args, &[])
}

pub(crate) fn client_with(folder: &Path, args: &[&str], vars: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bakery-client"));
    let output =
        command.args(args).current_dir(folder).env_clear().envs(vars.iter().copied()).output().unwrap();
    let place = folder.canonicalize().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(place.to_str().unwrap(), "FOLDER");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn probe_01_a_setting_that_is_not_utf8_is_a_mistake_and_not_unset() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bakery-client"));
    let spoilt = std::ffi::OsStr::from_bytes(b"fl\xf6ur");
    command.arg("ps").env_clear().env("BAKERY_TOKEN", spoilt).env("GREETING", spoilt);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = "error: BAKERY_TOKEN: not UTF-8\n  hint: set it to a text in UTF-8, or leave it unset\n";
    assert_eq!(said, expected);
}

#[test]
fn a_folder_without_files_is_reported_with_what_was_searched() {
    let (code, out, err) = client(folder(&[]).path(), &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    insta::assert_snapshot!(err, @r"
    error: no config.yaml in this folder, and no Compose file (compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml) in this or a parent folder
      hint: name one with --config or --compose
    ");
}

#[test]
fn all_mistakes_of_all_files_come_in_one_report() {
    let config = "global:\n  arhc: amd64\n  cpu: lots\n  platform: moon\nbake:\n- kaniko: { destination: UPPER/case }\n- env: [A]\n";
    let (code, _, err) = client(folder(&[("config.yaml", config)]).path(), &[]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: 7 mistakes
    config.yaml:2:3: global.arhc: unknown key
      hint: did you mean `arch`?
    config.yaml:3:8: global.cpu: `lots` is not a valid amount of cpu
      hint: for example `0.5`, `2` or `500m`; at most 1024
    config.yaml:4:13: global.platform: `moon` is not a valid value
      hint: one of ecs, k8s, docker
    config.yaml:6:3: bake[0].arch: no architecture is set
      hint: set `arch` here or in `global` (config.yaml:2:3)
    config.yaml:7:3: bake[1].arch: no architecture is set
      hint: set `arch` here or in `global` (config.yaml:2:3)
    config.yaml:7:3: bake[1].kaniko.destination: no destination
      hint: set `kaniko.destination` (Compose: `image`), or `kaniko.no-push: true`
    config.yaml:7:8: bake[1].env: expected a mapping, found a list
      hint: write `NAME: value`, one per line
    ");
    let broken = folder(&[("c.yaml", "global: {"), ("compose.yaml", "services: [")]);
    let (code, _, err) = client(broken.path(), &["--config", "c.yaml", "--compose", "compose.yaml"]);
    assert!(code == 2 && err.contains("c.yaml:1:") && err.contains("compose.yaml:1:"), "{err}");
}

#[test]
fn no_mistake_hides_another() {
    let config = "global:\n  cpu: lots\n  kaniko: { extra-flags: --destination=x --no-push }\n";
    let compose = "services:\n  web: { build: . }\n  db: postgres\n";
    let place = folder(&[
        ("c.yaml", config),
        ("broken.yaml", "global: ["),
        ("compose.yaml", compose),
        ("sub/compose.yaml", compose),
        ("sub/.env", "A='open\n"),
    ]);
    let files = |config| ["--config", config, "--compose", "compose.yaml", "--services", "web,wbe"];
    let vars = [("LOG_FORMAT", "fancy")];
    let (code, _, err) = client_with(place.path(), &files("c.yaml"), &vars);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: LOG_FORMAT: `fancy` is not simple, plain or json
      hint: settings are read from the environment and from .env in the working directory
    6 mistakes
    c.yaml:2:8: global.cpu: `lots` is not a valid amount of cpu
      hint: for example `0.5`, `2` or `500m`; at most 1024
    c.yaml:3:26: global.kaniko.extra-flags: the flag `--destination` is reserved
      hint: use `kaniko.destination`
    c.yaml:3:26: global.kaniko.extra-flags: the flag `--no-push` is reserved
      hint: use `kaniko.no-push: true`
    compose.yaml:2:3: services: there is no service `wbe`
      hint: did you mean `web`? known services: web, db
    compose.yaml:2:3: services: the service `web` has no `image`, so there is no name to push it to
      hint: --registry HOST/PATH (or BAKERY_REGISTRY, or `global.registry`) pushes them as HOST/PATH/<project>-<service>; --no-push only builds them
    compose.yaml:3:7: services.db: expected a mapping, found a single value
      hint: a service is written as `NAME: { image: .., build: .. }`
    ");
    for (args, all) in [
        (&files("broken.yaml")[..], &["broken.yaml:1:", "no service `wbe`", "services.db"][..]),
        (&files("nowhere.yaml"), &["nowhere.yaml: cannot be read", "no service `wbe`"]),
        (&["--config", "c.yaml", "--compose", "broken.yaml"], &["global.cpu", "broken.yaml:1:"]),
        (
            &["--config", "c.yaml", "--repo", "gone", "--services", "a b"],
            &["--repo: `gone`", "--services: ", "lots"],
        ),
        // What ends reading comes after what was found before it.
        (&["--config", "c.yaml", "--compose", "sub/compose.yaml"], &["global.cpu", "sub/.env:1:"]),
    ] {
        let (code, _, err) = client(place.path(), args);
        assert!(code == 2 && all.iter().all(|part| err.contains(part)), "{args:?}: {err}");
    }
}

#[test]
fn credentials_that_would_be_sent_unencrypted_are_refused_before_packing() {
    let config =
        "global: { arch: amd64, env: { NPM_TOKEN: hunter2 }, kaniko: { destination: r.test/a:1 } }\n";
    let place = folder(&[("config.yaml", config)]);
    let (code, _, err) = client_with(place.path(), &[], &[("CONTROLLER_URL", "http://bakery.invalid")]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: the build's credentials would be sent unencrypted to http://bakery.invalid (CONTROLLER_URL)
      hint: use https:// in CONTROLLER_URL, or allow it with BAKERY_INSECURE=true
    dockerfile `Dockerfile`: no such file in FOLDER
      hint: paths are relative to --repo, and Dockerfiles to their context
    ");
}

#[test]
fn a_mistake_in_the_one_env_file_is_reported_once() {
    let place = folder(&[("compose.yaml", COMPOSE), (".env", "A='open\n")]);
    for args in [&[][..], &["--compose", "./compose.yaml"]] {
        let (code, _, err) = client(place.path(), args);
        assert!(code == 2 && err.matches(".env:").count() == 1, "{err}");
    }
}

#[test]
fn a_folder_is_not_accepted_as_a_file() {
    let config = "global: { arch: amd64, kaniko: { destination: r.test/a:1 } }\n";
    let place = folder(&[("x/config.yaml", config), ("x/compose.yml", COMPOSE), ("y/z", "")]);
    let err = |args: &[&str]| client(place.path(), args).2;
    insta::assert_snapshot!(err(&["--config", "x"]), @r"
    error: one mistake
    x: --config requires a file, but this is a folder
      hint: use --config x/config.yaml or --compose x/compose.yml; --repo names the folder with the source
    ");
    assert!(
        err(&["--compose", "y"]).contains("hint: name the file; --repo names the folder with the source")
    );
    let inside = place.path().join("x");
    insta::assert_snapshot!(client(&inside, &["plan", "--services", "web"]).2, @r"
    error: one mistake
    --services: selects services of a Compose file, but only config.yaml is read
      hint: name the Compose file with --compose; the entries of a config.yaml have no names
    config.yaml: compose.yml in the same folder is not read
      hint: --compose compose.yml builds its services; with --config config.yaml as well, that file's `global` is their base
    ");
    let (code, _, err) = client(&inside, &["plan"]);
    assert!(
        code == 0 && err.contains("notice: config.yaml: compose.yml in the same folder is not read"),
        "{err}"
    );
    // Paths are shown in their usual form.
    assert!(err.contains("dockerfile `Dockerfile`: no such file in FOLDER\n"), "{err}");
}

#[test]
fn a_config_that_cannot_be_read_is_not_skipped() {
    let place = folder(&[("compose.yaml", COMPOSE), ("link/x", ""), ("folder/config.yaml/x", "")]);
    std::os::unix::fs::symlink("nowhere", place.path().join("link/config.yaml")).unwrap();
    insta::assert_snapshot!(client(&place.path().join("link"), &["plan"]).2, @r"
    error: one mistake
    config.yaml: cannot be read: No such file or directory (os error 2)
      hint: it is a link to a file that does not exist
    ");
    let (code, _, err) = client(&place.path().join("folder"), &["plan"]);
    assert!(
        code == 2 && err.contains("config.yaml: --config requires a file, but this is a folder"),
        "{err}"
    );
}

#[test]
fn missing_files_and_folders_are_named() {
    let place = folder(&[(
        "config.yaml",
        "global: { arch: amd64, kaniko: { destination: r.test/a:1, context-path: app } }\n",
    )]);
    for (args, named) in [
        (&["--config", "other.yaml"][..], "other.yaml"),
        (&["--compose", "other.yaml"], "other.yaml"),
        (&["--repo", "nowhere"], "nowhere"),
        (&["--services", "a"], "--services"),
        (&["--services", "a b", "--compose", "x"], "a b"),
        (&[], "context `app`"),
        (&["logs", "nonsense"], "nonsense"),
        (&["--config", "x", "ps"], "`ps`"),
    ] {
        let (code, out, err) = client(place.path(), args);
        assert!(code == 2 && out.is_empty() && err.contains(named), "{args:?}: {code}\n{err}");
    }
}

#[test]
fn a_setting_with_an_invalid_value_is_an_error() {
    let place = folder(&[]);
    let vars = [("LOG_FORMAT", "fancy"), ("S3_BUCKET", "b")];
    let (code, _, err) = client_with(place.path(), &["ps"], &vars);
    assert!(code == 2 && err.contains("LOG_FORMAT: `fancy`"), "{err}");
}

#[test]
fn a_server_that_cannot_be_reached_is_exit_3() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let place = folder(&[
        ("config.yaml", "global: { arch: amd64, kaniko: { destination: r.test/a:1 } }\n"),
        ("Dockerfile", "FROM scratch\n"),
    ]);
    for args in
        [&[][..], &["ps"], &["logs", crate::fake_server::BUILD], &["cancel", crate::fake_server::BUILD]]
    {
        let (code, _, err) = client_with(place.path(), args, &[("CONTROLLER_URL", &url)]);
        assert!(
            code == 3 && err.contains(&url) && err.contains("hint: start bakery-server there"),
            "{args:?}: {code}\n{err}"
        );
    }
}

#[test]
fn a_plan_needs_no_server_and_no_sources() {
    let place = folder(&[
        ("compose.yaml", COMPOSE),
        (".env", "REGISTRY=reg.test:5000\n"),
        ("web/Dockerfile", "FROM scratch\n"),
    ]);
    let (code, out, err) = client(place.path(), &["plan", "--services", "web , worker"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("warning: context `worker`"), "{err}");
    let targets: Vec<_> = out.lines().filter(|line| !line.starts_with("    ")).collect();
    insta::assert_snapshot!(targets.join("\n"), @r"
    target web -> reg.test:5000/web:1 (index)
      task web/amd64
      task web/arm64

    target worker -> r.test/worker:1
      after web
      task worker/amd64

    Kaniko's arguments are those for v1.27.5.
    ");
    let (_, parallel, _) = client(place.path(), &["plan", "--async"]);
    assert!(!parallel.contains("  after "), "{parallel}");
}

#[test]
fn a_plan_shows_no_secret_whatever_its_source() {
    let compose = "\
services:
  web:
    image: r.test/web:1
    build:
      context: .
      args: { MIRROR: 'https://m.test/${DEPLOY_PAT}', DIRECT: '${LINK}', INNER: '${MY_TOKEN2:-in-a-default}' }
      labels: { by: 'x-${SENTRY_DSN}' }
      dockerfile_inline: |
        FROM scratch
        ENV API_KEY in-a-dockerfile
        RUN fetch ${DEPLOY_PAT} ${SENTRY_DSN} --token in-a-step
";
    let config = "\
global:
  env: { DB: 'me:in-a-login@db', HTTPS_PROXY: 'http://me:in-a-url@proxy:3128' }
  pre-script: |
    curl -H 'Authorization: Bearer in-a-header' https://x.test
    tool --reg-password in-a-script
  kaniko: { extra-flags: --label=a=in-a-login --registry-token in-a-flag }
";
    let place = folder(&[
        ("compose.yaml", compose),
        ("config.yaml", config),
        (".env", "LINK=https://m.test/$FETCH_TOKEN\nSENTRY_DSN=in-the-dotenv\n"),
    ]);
    let vars = [("DEPLOY_PAT", "in-the-shell"), ("FETCH_TOKEN", "through-the-dotenv")];
    let files = ["--config", "config.yaml", "--compose", "compose.yaml"];
    for form in [&["plan"][..], &["plan", "--json"]] {
        let (code, out, err) = client_with(place.path(), &[form, &files].concat(), &vars);
        assert_eq!(code, 0, "{err}");
        for secret in ["in-a-", "in-the-", "through-the-"] {
            assert!(!out.contains(secret) && !err.contains(secret), "{secret}: {out}{err}");
        }
        assert!(out.contains("https://m.test/***") && out.contains("Bearer ***"), "{out}");
        assert!(out.contains("ENV API_KEY ***") && out.contains("RUN fetch *** ***"), "{out}");
        assert!(out.contains("--dockerfile=/kaniko/bakery/Dockerfile.inline"), "{out}");
        // A Dockerfile that is not a file is not missing.
        assert!(!err.contains("no such file"), "{err}");
    }
}

#[test]
fn a_compose_file_is_found_in_a_parent_folder() {
    let place = folder(&[("compose.yaml", COMPOSE), ("web/deep/x", "")]);
    let (code, out, err) =
        client(&place.path().join("web/deep"), &["--repo", "../..", "plan", "--services=worker", "--json"]);
    assert_eq!(code, 0, "{err}");
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(plan["targets"][0]["service"], "worker");
    assert_eq!(plan["targets"][0]["tasks"][0]["cpu_millis"], serde_json::Value::Null);
}
