//! Variables and logins of a config.yaml.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::files::{client, client_with, folder};

const LOGIN: &str = "\
variables: true
global:
  arch: amd64
  kaniko-credentials: [{ registry: r.test, username: ci, LOGIN }]
  kaniko: { destination: 'r.test/a:${TAG:-dev}' }
";

fn with_login(login: &str) -> String {
    LOGIN.replace("LOGIN", login)
}

#[test]
fn variables_are_those_of_the_environment_and_of_dotenv() {
    let config = with_login("password: '${CI_REGISTRY_PASSWORD}'");
    let files = folder(&[
        ("config.yaml", config.as_str()),
        ("Dockerfile", "FROM scratch\n"),
        (".env", "TAG=of-dotenv\nCI_REGISTRY_PASSWORD=own\n"),
        ("other.env", "TAG=of-other\nCI_REGISTRY_PASSWORD=own\n"),
        ("sub/compose.yaml", "services: { a: { build: .., image: r.test/b } }\n"),
        ("sub/.env", "CI_REGISTRY_PASSWORD=own\n"),
    ]);
    for (args, vars, tag) in [
        (vec!["plan"], vec![], "r.test/a:of-dotenv"),
        (vec!["plan"], vec![("TAG", "1")], "r.test/a:1"),
        (vec!["plan", "--env-file", "other.env"], vec![], "r.test/a:of-other"),
        (vec!["plan"], vec![("COMPOSE_ENV_FILES", "other.env")], "r.test/a:of-other"),
        // The .env is that of the project.
        (vec!["plan", "--config", "config.yaml", "--compose", "sub/compose.yaml"], vec![], "r.test/b"),
    ] {
        let (code, out, err) = client_with(files.path(), &args, &vars);
        assert!(code == 0 && out.contains(&format!("pushes       {tag}")), "{args:?} {out}{err}");
        assert!(out.contains("r.test as ci, password ***"), "{out}");
    }
    std::fs::remove_file(files.path().join(".env")).unwrap();
    let (code, _, err) = client(files.path(), &["plan"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: one mistake
    config.yaml:4:68: global.kaniko-credentials[0].password: the variable CI_REGISTRY_PASSWORD is not set
      hint: set it, or write ${CI_REGISTRY_PASSWORD:-} for an empty text, or $${CI_REGISTRY_PASSWORD} for the text itself
    ");
}

#[test]
fn a_dotenv_is_read_only_for_a_file_with_variables() {
    let config = "global: { arch: amd64, kaniko: { no-push: true } }\n";
    let files = folder(&[("config.yaml", config), ("Dockerfile", "FROM scratch\n"), (".env", "A='\n")]);
    assert_eq!(client(files.path(), &["plan"]).0, 0);
    std::fs::write(files.path().join("config.yaml"), format!("{config}bake: [{{ cpu: '${{CPU}}' }}]\n"))
        .unwrap();
    let (code, _, err) = client(files.path(), &["plan"]);
    assert!(code == 2 && err.contains(".env:1") && !err.contains("CPU"), "{err}");
}

#[test]
fn case_05_a_password_with_a_newline_at_its_end_is_cut_and_shown_nowhere() {
    let config = "\
global:
  arch: amd64
  kaniko-credentials:
  - registry: r.test
    username: ci
    password: |
      s3cret-registry-token-42
  kaniko:
    destination: r.test/reports/pwnl:1
";
    let files = folder(&[("config.yaml", config), ("Dockerfile", "FROM scratch\n")]);
    let (code, out, err) = client(files.path(), &["plan"]);
    assert_eq!(code, 0, "{err}");
    let said = "config.yaml:7:7: global.kaniko-credentials[0].password: ends with a newline, which is cut";
    assert!(err.contains(said), "{err}");
    assert!(!out.contains("s3cret") && !err.contains("s3cret"), "{out}{err}");
}

#[test]
fn probe_23_4_a_config_takes_a_secret_of_the_environment_only_for_a_login() {
    let secret = [("GITHUB_TOKEN", "hunter2secret"), ("MY_TOKEN", "sesame-open")];
    let config = with_login("password: '${GITHUB_TOKEN}'");
    let files = folder(&[("config.yaml", config.as_str()), ("Dockerfile", "FROM scratch\n")]);
    let (code, out, err) = client_with(files.path(), &["plan"], &secret);
    assert!(code == 0 && !out.contains("hunter2") && err.is_empty(), "{out}{err}");
    let write = |config: &str| std::fs::write(files.path().join("config.yaml"), config).unwrap();
    // Not even for a login, if no registry takes it.
    write(&with_login("password: '${BAKERY_TOKEN}'"));
    let (code, out, err) = client_with(files.path(), &["plan"], &[("BAKERY_TOKEN", "hunter2hunter2hunter2")]);
    assert!(code == 2 && !format!("{out}{err}").contains("hunter2"), "{out}{err}");
    assert!(
        err.contains("BAKERY_TOKEN is a secret of the environment, and no password of a registry"),
        "{err}"
    );
    write(&config);
    let args = |value: &str| {
        format!(
            "variables: true\nglobal: {{ arch: amd64, kaniko: {{ no-push: true, build-args: {{ A: '{value}' }} }} }}\n"
        )
    };
    for value in ["${GITHUB_TOKEN}", "x${TAKEN}"] {
        write(&args(value));
        std::fs::write(files.path().join(".env"), "TAKEN=${GITHUB_TOKEN}\n").unwrap();
        let (code, out, err) = client_with(files.path(), &["plan"], &secret);
        assert!(code == 2 && out.is_empty() && !err.contains("hunter2"), "{err}");
        assert!(err.contains("a secret of the environment: a build does not get it"), "{err}");
        let allowed = client_with(files.path(), &["plan", "--allow-env", "GITHUB_TOKEN"], &secret);
        assert!(allowed.0 == 0 && !allowed.1.contains("hunter2"), "{}", allowed.1);
    }
    // A name that the project chose itself.
    write(&args("${MY_TOKEN}"));
    let (code, out, err) = client_with(files.path(), &["plan"], &secret);
    assert!(code == 0 && !out.contains("sesame") && !err.contains("sesame"), "{out}{err}");
}

#[test]
fn probe_23_8_a_password_file_is_in_the_checkout_or_named_by_the_environment() {
    let machine = folder(&[("id_rsa", "hunter2secret\n")]);
    let outside = machine.path().join("id_rsa").to_str().unwrap().to_owned();
    let files = folder(&[
        ("ci/token", "own-token"),
        ("ci/config.yaml", &with_login("password-file: ci/token")),
        ("literal.yaml", &with_login(&format!("password-file: {outside}"))),
        ("link.yaml", &with_login("password-file: link")),
        ("env.yaml", &with_login("password-file: '${TOKEN_FILE}'")),
        ("part.yaml", &with_login("password-file: '${FOLDER}/id_rsa'")),
        ("none.yaml", &with_login("password-file: none")),
        ("device.yaml", &with_login("password-file: '${DEVICE}'")),
        ("Dockerfile", "FROM scratch\n"),
    ]);
    std::os::unix::fs::symlink(&outside, files.path().join("link")).unwrap();
    let of_machine = machine.path().to_str().unwrap();
    let vars = [("TOKEN_FILE", outside.as_str()), ("FOLDER", of_machine), ("DEVICE", "/dev/zero")];
    let plan =
        |config: &str, vars: &[(&str, &str)]| client_with(files.path(), &["plan", "--config", config], vars);
    let (code, out, err) = plan("ci/config.yaml", &[]);
    assert!(code == 0 && out.contains("r.test as ci, password ***"), "{out}{err}");
    assert!(err.contains("warning: ci/token: contains a secret and is part of the build context"), "{err}");
    let (code, _, err) = plan("env.yaml", &vars);
    assert!(
        code == 0 && err.contains("ends with a newline, which is cut") && !err.contains("hunter2"),
        "{err}"
    );
    for config in ["literal.yaml", "link.yaml", "part.yaml"] {
        let (code, _, err) = plan(config, &vars);
        assert!(code == 2 && err.contains("is neither in this checkout nor below --repo"), "{config}: {err}");
    }
    // A `.env` of the checkout is none of the environment.
    std::fs::write(files.path().join(".env"), format!("TOKEN_FILE={outside}\n")).unwrap();
    assert_eq!(plan("env.yaml", &[]).0, 2);
    for config in ["none.yaml", "device.yaml"] {
        let (code, _, err) = plan(config, &vars);
        assert!(code == 2 && err.contains("password-file: `"), "{config}: {err}");
    }
}

fn helper(folder: &Path, name: &str) {
    let program = folder.join(format!("docker-credential-{name}"));
    let script = "#!/bin/sh\nread -r host; echo \"$host\" >> \"$ASKED\"\necho '{\"Username\":\"helped\",\"Secret\":\"hunter2secret\"}'\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn logins_of_docker_are_taken_for_the_registries_that_are_named() {
    let docker = r#"{ "auths": { "a.test": { "auth": "bWU6aHVudGVyMnNlY3JldA==" } }, "credHelpers": { "b.test": "mine" } }"#;
    let user = folder(&[(".docker/config.json", docker)]);
    helper(user.path(), "mine");
    let home = user.path().to_str().unwrap();
    let asked = user.path().join("asked");
    let vars =
        [("HOME", home), ("PATH", &format!("{home}:/bin:/usr/bin")), ("ASKED", asked.to_str().unwrap())];
    let service = |name: &str, image: &str| {
        format!("  {name}: {{ build: {{ context: ., args: {{ NAME: {name} }} }}, image: {image} }}\n")
    };
    let compose = format!(
        "services:\n{}{}{}",
        service("a", "a.test/x"),
        service("b", "b.test/y"),
        service("c", "b.test/z")
    );
    let config = "global: { arch: amd64, kaniko-credentials: docker, kaniko: { destination: a.test/x } }\n";
    let files = folder(&[
        ("compose.yaml", compose.as_str()),
        ("docker.yaml", config),
        ("Dockerfile", "FROM scratch\n"),
    ]);
    let (code, out, err) = client_with(files.path(), &["plan", "--credentials", "docker"], &vars);
    assert!(code == 0 && err.is_empty(), "{err}");
    assert!(out.contains("login        a.test as me, password ***"), "{out}");
    assert!(out.contains("login        b.test as helped, password ***") && !out.contains("hunter2"), "{out}");
    assert_eq!(std::fs::read_to_string(&asked).unwrap(), "b.test\n", "a helper runs once for a registry");
    let (code, out, _) = client_with(files.path(), &["plan", "--config", "docker.yaml"], &vars);
    assert!(code == 0 && out.contains("a.test as me") && !out.contains("b.test"), "{out}");
    assert_eq!(std::fs::read_to_string(&asked).unwrap(), "b.test\n");
}

#[test]
fn probe_23_9_a_checkout_does_not_name_dockers_helpers() {
    let user = folder(&[(".docker/config.json", "{}")]);
    let config = "global: { arch: amd64, kaniko-credentials: docker, kaniko: { destination: r.test/x } }\n";
    let files = folder(&[
        ("config.yaml", config),
        ("Dockerfile", "FROM scratch\n"),
        (".env", "DOCKER_CONFIG=evil\nHOME=evil\nPATH=evil\n"),
        ("evil/config.json", r#"{ "credsStore": "evil" }"#),
        ("evil/.docker/config.json", r#"{ "credsStore": "evil" }"#),
    ]);
    helper(files.path(), "evil");
    let asked = user.path().join("asked");
    let home = user.path().to_str().unwrap();
    let vars = [("HOME", home), ("PATH", ".:/bin"), ("ASKED", asked.to_str().unwrap())];
    let (code, out, err) = client_with(files.path(), &["plan"], &vars);
    assert!(
        code == 0 && !out.contains("helped") && err.contains("docker has no login for r.test"),
        "{out}{err}"
    );
    // Nor is a program of the checkout run if the user's config names one that is not installed.
    std::fs::write(user.path().join(".docker/config.json"), r#"{ "credsStore": "evil" }"#).unwrap();
    let (code, _, err) = client_with(files.path(), &["plan"], &vars);
    assert!(code == 2 && err.contains("`docker-credential-evil` is not installed"), "{err}");
    assert!(!asked.exists());
}
