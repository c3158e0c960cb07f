//! `check`, and what a build says about its Dockerfiles before it packs anything.

use crate::files::{client, client_with, folder};

const CONFIG: &str = "\
global: { arch: amd64 }
bake:
- kaniko: { destination: r.test/a:1, context-path: web }
- kaniko: { destination: r.test/b:1, context-path: web }
- arch: arm64
  kaniko: { destination: r.test/c:1, context-path: web, target: base }
- kaniko: { destination: r.test/d:1, dockerfile-inline: \"FROM scratch\\nCOPY --parents a/b /\\n\" }
";
const DOCKERFILE: &str = "\
FROM busybox AS base
ENV API_TOKEN=hunter2
FROM busybox
RUN <<'EOF'
echo a
EOF
RUN --mount=type=ssh git clone a
";

#[test]
fn dockerfiles_are_checked_without_a_server() {
    let place = folder(&[("config.yaml", CONFIG), ("web/Dockerfile", DOCKERFILE)]);
    let (code, out, err) = client(place.path(), &["check"]);
    assert_eq!(code, 2, "{err}");
    insta::assert_snapshot!(out, @r"
    web/Dockerfile:2:5: warning[BK104]: the value of `API_TOKEN` can be read in the image and its history, and its name suggests a secret
        ENV API_TOKEN=***
            ^^^^^^^^^
      hint: use `RUN --mount=type=secret,id=NAME`, and give the secret by `kaniko.secrets`, `build.secrets` or --secret
    web/Dockerfile:4:5: error[BK201]: Kaniko runs nothing of the heredoc `EOF`
        RUN <<'EOF'
            ^^^^^^^
      hint: write `RUN sh <<'EOF'`, or the name of another program in place of `sh`
    web/Dockerfile:7:5: error[BK215]: Kaniko has no SSH mounts
        RUN --mount=type=ssh git clone a
            ^^^^^^^^^^^^^^^^
      hint: give a key by `RUN --mount=type=secret`, or fetch in the `pre-script`
    inline Dockerfile:2:6: error[BK303]: Kaniko does not keep the folders of the source for `--parents`
        COPY --parents a/b /
             ^^^^^^^^^
      hint: write one COPY for each folder: `COPY a/b/ /a/b/`
    ");
    let (code, out, _) = client(place.path(), &["check", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, document["findings"].as_array().unwrap().len()), (2, 4));
    assert_eq!(document["findings"][0]["level"], "warning");
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn a_build_with_errors_is_not_packed() {
    let place = folder(&[("config.yaml", CONFIG), ("web/Dockerfile", DOCKERFILE)]);
    let (code, out, err) = client_with(place.path(), &[], &[("CONTROLLER_URL", "http://127.0.0.1:9")]);
    assert_eq!((code, out.as_str()), (2, ""));
    insta::assert_snapshot!(err, @r"
    error: 3 errors in the Dockerfiles
      hint: `--allow CODE`, or a line `# bakery: allow=CODE` in the Dockerfile, lets one pass
    web/Dockerfile:2:5: warning[BK104]: the value of `API_TOKEN` can be read in the image and its history, and its name suggests a secret
        ENV API_TOKEN=***
            ^^^^^^^^^
      hint: use `RUN --mount=type=secret,id=NAME`, and give the secret by `kaniko.secrets`, `build.secrets` or --secret
    web/Dockerfile:4:5: error[BK201]: Kaniko runs nothing of the heredoc `EOF`
        RUN <<'EOF'
            ^^^^^^^
      hint: write `RUN sh <<'EOF'`, or the name of another program in place of `sh`
    web/Dockerfile:7:5: error[BK215]: Kaniko has no SSH mounts
        RUN --mount=type=ssh git clone a
            ^^^^^^^^^^^^^^^^
      hint: give a key by `RUN --mount=type=secret`, or fetch in the `pre-script`
    inline Dockerfile:2:6: error[BK303]: Kaniko does not keep the folders of the source for `--parents`
        COPY --parents a/b /
             ^^^^^^^^^
      hint: write one COPY for each folder: `COPY a/b/ /a/b/`
    ");
    // A plan shows them, and is made.
    let (code, out, err) = client(place.path(), &["plan"]);
    assert!(code == 0 && out.contains("--target=base") && err.contains("error[BK201]"), "{err}");
}

#[test]
fn findings_are_let_pass() {
    let allowed = format!("# bakery: allow=BK104\n{DOCKERFILE}");
    let place = folder(&[("config.yaml", CONFIG), ("web/Dockerfile", &allowed)]);
    let (code, out, err) = client(place.path(), &["check", "--allow", "bk201,BK215", "--allow", "BK303"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "no findings\n", ""));
    let (code, _, err) = client(place.path(), &["check", "--allow", "BK2O1", "--allow", "security.insecure"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: 2 mistakes
    --allow: `BK2O1` is not the code of a finding
      hint: did you mean `BK201`?
    --allow: nothing can be granted
      hint: Kaniko builds without privileges: remove it
    ");
}

#[test]
fn what_a_pre_script_may_change_is_no_error() {
    let config = "global: { arch: amd64, pre-script: make, kaniko: { destination: r.test/a:1 } }\n";
    let place = folder(&[("config.yaml", config), ("Dockerfile", "FROM a\nRUN --mount=type=ssh b\n")]);
    let (code, out, err) = client(place.path(), &["check"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("Dockerfile:2:5: warning[BK215]: "), "{out}");
    std::fs::remove_file(place.path().join("Dockerfile")).unwrap();
    let (code, out, err) = client(place.path(), &["check"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "no findings\n", ""));
}

#[test]
fn what_cannot_be_read_is_found() {
    let config = "global: { arch: amd64, kaniko: { destination: r.test/a:1 } }\n";
    let place = folder(&[("config.yaml", config)]);
    let (code, out, err) = client(place.path(), &["check"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("dockerfile `Dockerfile`: no such file in FOLDER"), "{err}");
    std::fs::write(place.path().join("Dockerfile"), "#".repeat(10 << 20)).unwrap();
    let (code, out, _) = client(place.path(), &["check"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(out, @r"
    Dockerfile: error[BK001]: is larger than 1048576 bytes
      hint: check that this is the right file
    ");
}

#[test]
fn a_secret_in_an_inline_dockerfile_is_not_shown() {
    let compose = "\
services:
  web:
    image: r.test/web:1
    build:
      args: { DB_PASSWORD: \"${DB_PASSWORD}\" }
      dockerfile_inline: |
        FROM busybox
        RUN --mount=type=ssh login ${DB_PASSWORD}
";
    let place = folder(&[("compose.yaml", compose), (".env", "DB_PASSWORD=hunter2-correct\n")]);
    let (code, out, err) = client(place.path(), &["check"]);
    assert_eq!(code, 2, "{err}");
    insta::assert_snapshot!(out, @r"
    inline Dockerfile of web:2:5: error[BK215]: Kaniko has no SSH mounts
        RUN --mount=type=ssh login ***
            ^^^^^^^^^^^^^^^^
      hint: give a key by `RUN --mount=type=secret`, or fetch in the `pre-script`
    ");
}
