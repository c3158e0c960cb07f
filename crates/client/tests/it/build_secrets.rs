//! Build secrets: which variables and files the client reads, and what it shows of them.

use std::path::Path;
use std::process::Command;

const DOCKERFILE: &str = "FROM scratch\n";

/// Code and output of `plan` in a checkout with these files.
fn plan(files: &[(&str, &str)], env: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let outside = tempfile::tempdir().unwrap();
    let checkout = outside.path().join("checkout");
    std::fs::create_dir_all(checkout.join(".git")).unwrap();
    std::fs::write(checkout.join("Dockerfile"), DOCKERFILE).unwrap();
    std::fs::write(outside.path().join("secret.txt"), "sesame-open").unwrap();
    for (name, text) in files {
        std::fs::write(checkout.join(name), text).unwrap();
    }
    run(&checkout, env, args)
}

fn run(folder: &Path, env: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bakery-client"));
    command.arg("plan").args(args).current_dir(folder).env_clear().envs(env.iter().copied());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn config(secret: &str) -> String {
    format!(
        "global: {{ arch: amd64, kaniko: {{ destination: r.test/a, secrets: [{{ id: npm, {secret} }}] }} }}\n"
    )
}

#[test]
fn a_secret_is_named_in_the_plan_and_never_shown() {
    let compose = "services: { a: { image: r.test/a, build: { context: ., secrets: [npm] } } }\nsecrets: { npm: { environment: NPM } }\n";
    for (name, text) in [("config.yaml", config("env: NPM")), ("compose.yaml", compose.to_owned())] {
        let (code, out) = plan(&[(name, &text)], &[("NPM", "sesame-open")], &[]);
        assert_eq!(code, Some(0), "{out}");
        assert!(out.contains("--secret=id=npm,type=file,src=/kaniko/bakery/secrets/npm\n"), "{out}");
        assert!(!out.contains("sesame"), "{out}");
    }
}

#[test]
fn a_file_of_a_secret_that_is_part_of_a_context_is_a_warning() {
    let files = [("config.yaml", config("file: npm.txt")), ("npm.txt", "sesame-open".to_owned())];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (code, out) = plan(&files, &[], &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("warning: npm.txt: contains a secret and is part of the build context\n"), "{out}");
    assert!(!out.contains("sesame"), "{out}");
}

#[test]
fn a_checkout_names_no_secret_of_the_machine() {
    let token = [("GITHUB_TOKEN", "sesame-open")];
    let text = config("env: GITHUB_TOKEN");
    let (code, out) = plan(&[("config.yaml", &text)], &token, &[]);
    assert!(code == Some(2) && out.contains("is a secret of the environment"), "{out}");
    let (code, out) = plan(&[("config.yaml", &text)], &token, &["--allow-env", "GITHUB_TOKEN"]);
    assert_eq!(code, Some(0), "{out}");
    let compose = "services: { a: { image: r.test/a, build: { context: ., secrets: [npm] } } }\nsecrets: { npm: { file: ../secret.txt } }\n";
    for (name, text) in [("config.yaml", config("file: ../secret.txt")), ("compose.yaml", compose.to_owned())]
    {
        let (code, out) = plan(&[(name, &text)], &[], &[]);
        assert!(code == Some(2) && out.contains("neither in this checkout nor below --repo"), "{out}");
    }
    // Nor by a variable: the Dockerfile that reads the secret belongs to the checkout too.
    let named = [("FILE", "../secret.txt"), ("GITHUB_TOKEN", "sesame-open"), ("NAME", "sesame")];
    for (secret, said) in [
        ("file: '${FILE}'", "`${FILE}` is neither in this checkout nor below --repo"),
        ("env: '${GITHUB_TOKEN}'", "is a secret of the environment"),
        ("env: '${NAME}'", "the variable ${NAME} is not set"),
    ] {
        let (code, out) = plan(&[("config.yaml", &config(secret))], &named, &[]);
        assert!(code == Some(2) && out.contains(said) && !out.contains("sesame"), "{out}");
    }
}
