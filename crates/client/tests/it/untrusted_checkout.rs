//! A checkout that somebody else wrote: probes 23.1 to 23.6.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::files::{client, client_with, folder};

const CONFIG: &str = "global: { arch: amd64, kaniko: { no-push: true } }\n";
const TOKEN: (&str, &str) = ("BAKERY_TOKEN", "of-the-environment");

#[test]
fn probe_23_1_a_token_of_the_environment_is_not_sent_to_a_url_of_the_checkout() {
    let files = |env| folder(&[("config.yaml", CONFIG), ("Dockerfile", "FROM scratch\n"), (".env", env)]);
    let evil = files("CONTROLLER_URL=https://evil.test\n");
    for args in [vec![], vec!["ps"], vec!["cancel", "01jd0000000000000000000000"]] {
        let (code, out, err) = client_with(evil.path(), &args, &[TOKEN]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(
            err.contains("CONTROLLER_URL in .env is not used for BAKERY_TOKEN of the environment"),
            "{err}"
        );
        assert!(err.contains("--trust-dotenv"), "{err}");
    }
    // Nobody listens there: the request was sent.
    let nobody = files("CONTROLLER_URL=http://127.0.0.1:1\n");
    for (args, vars) in [
        (vec!["--trust-dotenv", "ps"], vec![TOKEN]),
        (vec!["ps", "--trust-dotenv"], vec![TOKEN]),
        (vec!["ps"], vec![]),
        (vec!["ps"], vec![TOKEN, ("CONTROLLER_URL", "http://127.0.0.1:1")]),
    ] {
        let (code, _, err) = client_with(nobody.path(), &args, &vars);
        assert!(code == 3 && err.contains("cannot reach"), "{args:?}: {err}");
    }
    let both = files("CONTROLLER_URL=http://127.0.0.1:1\nBAKERY_TOKEN=own\n");
    assert_eq!(client(both.path(), &["ps"]).0, 3);
}

#[test]
fn probe_23_2_plain_http_is_not_allowed_by_the_checkout() {
    let files = folder(&[(".env", "BAKERY_INSECURE=true\n")]);
    let vars = [TOKEN, ("CONTROLLER_URL", "http://bakery.test")];
    let (code, _, err) = client_with(files.path(), &["ps"], &vars);
    assert!(code == 2 && err.contains("BAKERY_INSECURE in .env does not count"), "{err}");
}

#[test]
fn probe_23_7_a_dotenv_that_is_a_link_to_a_file_of_the_machine_is_refused() {
    let compose = "services: { a: { image: r.test/a, build: { context: ., args: { V: $DEPLOY_KEY } } } }\n";
    let machine = folder(&[("other.env", "DEPLOY_KEY=hunter2secret\n")]);
    let files = folder(&[
        ("compose.yaml", compose),
        ("Dockerfile", "FROM scratch\n"),
        ("shared.env", "DEPLOY_KEY=1\n"),
    ]);
    let link = files.path().join(".env");
    symlink(machine.path().join("other.env"), &link).unwrap();
    let (code, out, err) = client(files.path(), &["plan"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("which is not in this checkout") && !err.contains("hunter2secret"), "{err}");
    std::fs::remove_file(&link).unwrap();
    symlink("shared.env", &link).unwrap();
    assert_eq!(client(files.path(), &["plan"]).0, 0);
}

#[test]
fn a_plan_is_no_command_to_a_ci_system() {
    let compose = "services:\n  a:\n    image: r.test/a\n    build: { context: ., args: { B: '##vso[task.x]y', A: '##teamcity[x]' } }\n";
    let files = folder(&[("compose.yaml", compose), ("Dockerfile", "FROM scratch\n")]);
    for args in [vec!["plan"], vec!["plan", "--json"]] {
        let (code, out, err) = client(files.path(), &args);
        assert!(code == 0 && !out.contains("##vso") && !out.contains("##teamcity"), "{out}{err}");
        assert!(out.contains("vso[task.x]y"), "{out}");
    }
}

#[test]
fn probe_23_4_a_build_gets_no_secret_of_the_environment_unless_it_is_allowed() {
    let compose = "services:\n  a:\n    image: r.test/a\n    build: { context: ., args: { T: '${GITHUB_TOKEN}', R: $AWS_REGION } }\n";
    let files = folder(&[("compose.yaml", compose), ("Dockerfile", "FROM scratch\n")]);
    let vars = [("GITHUB_TOKEN", "hunter2secret"), ("AWS_REGION", "eu-west-1")];
    let (code, out, err) = client_with(files.path(), &["plan"], &vars);
    assert_eq!((code, out.as_str()), (2, ""));
    insta::assert_snapshot!(err, @r"
    error: one mistake
    compose.yaml:4:37: services.a.build.args.T: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    ");
    let allowed = ["plan", "--allow-env", "OTHER", "--allow-env", "GITHUB_TOKEN"];
    let (code, out, err) = client_with(files.path(), &allowed, &vars);
    assert!(code == 0 && out.contains("R=eu-west-1") && !out.contains("hunter2"), "{out}{err}");
    // The project's own file is the checkout's.
    std::fs::write(files.path().join(".env"), "GITHUB_TOKEN=own-token\n").unwrap();
    assert_eq!(client(files.path(), &["plan"]).0, 0);
}

#[test]
fn probe_23_4_no_secret_of_the_environment_is_a_part_of_an_images_name() {
    let compose = "services: { a: { build: . } }\n";
    let files = folder(&[
        ("compose.yaml", compose),
        ("Dockerfile", "FROM scratch\n"),
        (".env", "BAKERY_REGISTRY=evil.test/${BAKERY_TOKEN}\n"),
    ]);
    let vars = [("BAKERY_TOKEN", "hunter2secret"), ("CONTROLLER_URL", "http://127.0.0.1:1")];
    for args in [vec!["plan"], vec![]] {
        let (code, out, err) = client_with(files.path(), &args, &vars);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(
            err.contains("BAKERY_REGISTRY: the variable BAKERY_REGISTRY has the value of BAKERY_TOKEN"),
            "{err}"
        );
        assert!(!err.contains("hunter2"), "{err}");
    }
    let named = ["plan", "--registry", "r.test"];
    assert_eq!(client_with(files.path(), &named, &vars).0, 0, "the file's registry is not used");
}

#[test]
fn probe_23_5_a_compose_file_in_a_shared_parent_folder_is_passed_over() {
    let compose = "services: { a: { image: r.test/a, build: . } }\n";
    let files = folder(&[("shared/compose.yaml", compose), ("shared/x/y/z", ""), ("shared/Dockerfile", "")]);
    let shared = files.path().join("shared");
    let plan = |here: &str| client(&shared.join(here), &["plan", "--repo", shared.to_str().unwrap()]);
    assert_eq!(plan("x/y").0, 0);
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let (code, _, err) = plan("x/y");
    assert_eq!(code, 2);
    let sentence =
        "/shared/compose.yaml was passed over: it is in or above a folder that everybody can write to\n";
    assert!(err.contains(sentence), "{err}");
    assert_eq!(plan(".").0, 0, "whoever works in the folder means its file");
}

#[test]
fn probe_23_6_devices_and_fifos_are_refused_at_once() {
    let config = ("config.yaml", CONFIG);
    let fifo: fn(&Path) = |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let zero: fn(&Path) = |path| symlink("/dev/zero", path).unwrap();
    for (kind, make) in [("a FIFO", fifo), ("a device", zero)] {
        for (name, files, args) in [
            (".env", vec![("compose.yaml", "services: { a: { image: a, build: . } }")], vec!["plan"]),
            (".env", vec![config], vec!["ps"]),
            ("config.yaml", vec![], vec!["plan"]),
            ("other.yaml", vec![], vec!["plan", "--compose", "other.yaml"]),
            (".dockerignore", vec![config, ("Dockerfile", "")], vec![]),
        ] {
            let folder = folder(&files);
            make(&folder.path().join(name));
            let start = Instant::now();
            let (code, _, err) = client(folder.path(), &args);
            assert!(code == 2 && start.elapsed() < Duration::from_secs(5), "{name} {args:?}: {err}");
            // A link to outside is refused as a link.
            let outside = err.contains("`.dockerignore` is outside of the source folder");
            assert!(
                outside || err.contains(&format!("{kind}, not a regular file")) || name == ".dockerignore",
                "{err}"
            );
        }
    }
}

#[test]
fn a_context_that_does_not_exist_is_shown_as_it_is_written() {
    let compose = "services: { a: { image: r.test/a, build: { context: 'x-${SECRET_TOKEN}' } }, b: { image: r.test/b, build: { context: ., dockerfile: $SECRET_TOKEN } } }\n";
    let files = folder(&[("compose.yaml", compose)]);
    let nobody = ("CONTROLLER_URL", "http://127.0.0.1:1");
    let (code, _, err) = client_with(files.path(), &[], &[nobody, ("SECRET_TOKEN", "hunter2")]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: context `x-${SECRET_TOKEN}`: no such folder below FOLDER
    dockerfile `$SECRET_TOKEN`: no such file in FOLDER
      hint: paths are relative to --repo, and Dockerfiles to their context
    ");
}
