//! Warnings about files with secrets in a build context.

use crate::files::{client, client_with, folder};

const CONFIG: &str = "\
global:
  arch: amd64
  kaniko-credentials: [{ registry: r.test, username: u, password: hunter2 }]
  kaniko: { destination: r.test/a:1 }
";
const TOKEN: (&str, &str) = (".env", "# settings\nexport BAKERY_TOKEN='hunter2'\n");

fn warnings(files: &[(&str, &str)], args: &[&str]) -> String {
    let (code, _, err) = client(folder(files).path(), &[&["plan"], args].concat());
    assert_eq!(code, 0, "{err}");
    assert!(!err.contains("hunter2"), "{err}");
    err
}

#[test]
fn secrets_in_a_context_are_named_before_anything_is_sent() {
    let files = [("config.yaml", CONFIG), TOKEN, ("Dockerfile", "FROM scratch\n")];
    let expected = "\
warning: .env: contains secrets and is part of the build context
  hint: add `.env` to .dockerignore, else `COPY . .` copies it into the image
warning: config.yaml: contains credentials and is part of the build context
  hint: add `config.yaml` to .dockerignore, else `COPY . .` copies it into the image
";
    assert_eq!(warnings(&files, &[]), expected);
    let nobody = [("CONTROLLER_URL", "http://127.0.0.1:1")];
    let (code, _, err) = client_with(folder(&files).path(), &[], &nobody);
    assert!(code == 3 && err.starts_with(expected), "{err}");
}

#[test]
fn excluded_files_and_files_outside_of_the_contexts_cause_no_warning() {
    let ignored = (".dockerignore", ".env\nconfig.yaml\n");
    assert_eq!(
        warnings(&[("config.yaml", CONFIG), TOKEN, ("Dockerfile", "FROM scratch\n"), ignored], &[]),
        ""
    );
    let inner = CONFIG.replace("kaniko: {", "kaniko: { context-path: app,");
    let outside = [("config.yaml", inner.as_str()), TOKEN, ("app/Dockerfile", "FROM scratch\n")];
    assert_eq!(warnings(&outside, &[]), "");
    let bare = "global: { arch: amd64, kaniko: { destination: r.test/a:1 } }\n";
    let empty = (".env", "BAKERY_TOKEN=\n#DB_PASSWORD=x\nLOG_FORMAT=json\n");
    assert_eq!(warnings(&[("config.yaml", bare), empty, ("Dockerfile", "FROM scratch\n")], &[]), "");
}

#[test]
fn each_context_has_its_own_ignore_file() {
    let compose = "services: { web: { image: r.test/w, build: app }, all: { image: r.test/a, build: . } }\n";
    let files = [
        ("compose.yaml", compose),
        ("c.yaml", CONFIG),
        ("Dockerfile", "FROM scratch\n"),
        (".dockerignore", "c.yaml\napp/.env\n"),
        ("app/Dockerfile", "FROM scratch\n"),
        ("app/Dockerfile.dockerignore", ""),
        ("app/.env", TOKEN.1),
    ];
    assert_eq!(
        warnings(&files, &["--config", "c.yaml", "--compose", "compose.yaml"]),
        "\
warning: app/.env: contains secrets and is part of the build context
  hint: add `.env` to app/Dockerfile.dockerignore, else `COPY . .` copies it into the image
"
    );
}
