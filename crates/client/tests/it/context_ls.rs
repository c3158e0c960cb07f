//! `context ls`, and what is said about `.git` and about large sources.

use std::fs::File;
use std::path::Path;

use crate::files::{client, folder};

const COMPOSE: &str = "\
services:
  web:
    image: r.test/web:1
    build: web
  all:
    image: r.test/all:1
    build: .
";

fn place() -> tempfile::TempDir {
    let place = folder(&[
        ("compose.yaml", COMPOSE),
        (".dockerignore", "# what no build needs\n*.log\nnode_modules\ncompose.yaml\nweb\n"),
        ("Dockerfile", "FROM scratch\n"),
        ("a.log", "x"),
        ("node_modules/big", "0123456789"),
        ("web/Dockerfile", "FROM scratch\nCOPY . /\n"),
        ("web/.dockerignore", "dist\n"),
        ("web/dist/x", "x"),
        ("web/src/main", "12345"),
        (".git/HEAD", "ref: refs/heads/main\n"),
    ]);
    std::os::unix::fs::symlink("src/main", place.path().join("web/link")).unwrap();
    place
}

fn listed(place: &Path, args: &[&str]) -> String {
    let (code, out, err) = client(place, &[&["context", "ls"], args].concat());
    assert_eq!(code, 0, "{err}");
    out + &err
}

#[test]
fn what_is_sent_is_listed_with_its_size() {
    let place = place();
    insta::assert_snapshot!(listed(place.path(), &[]), @r"
        58 B  .dockerignore
        13 B  Dockerfile
         5 B  web/.dockerignore
        22 B  web/Dockerfile
        link  web/link -> src/main
         5 B  web/src/main
    6 files and links, 103 B
    ");
    insta::assert_snapshot!(listed(place.path(), &["--largest", "2"]), @r"
        58 B  .dockerignore
        22 B  web/Dockerfile
    6 files and links, 103 B
    ");
    insta::assert_snapshot!(listed(place.path(), &["--json"]), @r#"
    {"files": [
      {"path":".dockerignore","bytes":58},
      {"path":"Dockerfile","bytes":13},
      {"path":"web/.dockerignore","bytes":5},
      {"path":"web/Dockerfile","bytes":22},
      {"path":"web/link","bytes":0,"target":"src/main"},
      {"path":"web/src/main","bytes":5}
    ]}
    6 files and links, 103 B
    "#);
}

#[test]
fn what_is_left_out_is_listed_with_the_line_that_excludes_it() {
    let place = place();
    insta::assert_snapshot!(listed(place.path(), &["--dropped"]), @r"
    .git/	`.git` is not sent (`context.git`)
    a.log	.dockerignore:2: *.log
    compose.yaml	.dockerignore:4: compose.yaml
    node_modules/	.dockerignore:3: node_modules
    web/dist/	.dockerignore:5: web, web/.dockerignore:1: dist
    ");
    insta::assert_snapshot!(listed(place.path(), &["--dropped", "--json"]), @r#"
    {"dropped": [
      {"path":".git/","reason":"git","lines":[]},
      {"path":"a.log","reason":"ignored","lines":[{"file":".dockerignore","line":2,"text":"*.log"}]},
      {"path":"compose.yaml","reason":"ignored","lines":[{"file":".dockerignore","line":4,"text":"compose.yaml"}]},
      {"path":"node_modules/","reason":"ignored","lines":[{"file":".dockerignore","line":3,"text":"node_modules"}]},
      {"path":"web/dist/","reason":"ignored","lines":[{"file":".dockerignore","line":5,"text":"web"},{"file":"web/.dockerignore","line":1,"text":"dist"}]}
    ]}
    "#);
    let (code, _, err) = client(place.path(), &["context", "ls", "--dropped", "--largest", "1"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
}

#[test]
fn a_services_own_context_is_listed() {
    let place = place();
    insta::assert_snapshot!(listed(place.path(), &["--service", "web"]), @r"
         5 B  web/.dockerignore
        22 B  web/Dockerfile
        link  web/link -> src/main
         5 B  web/src/main
    4 files and links, 32 B
    ");
    insta::assert_snapshot!(listed(place.path(), &["--service", "all", "--json"]), @r#"
    {"files": [
      {"path":".dockerignore","bytes":58},
      {"path":"Dockerfile","bytes":13}
    ]}
    2 files and links, 71 B
    "#);
    let (code, _, err) = client(place.path(), &["context", "ls", "--service", "wbe"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: there is no service `wbe`
      hint: known services with a build: web, all
    ");
}

#[test]
fn names_of_files_cannot_command_the_terminal_or_a_ci_system() {
    let config = "global: { arch: amd64, kaniko: { destination: r.test/a:1 } }\n";
    let place = folder(&[("config.yaml", config), ("Dockerfile", ""), ("a\x1b[2J\n##[error]b", "")]);
    let out = listed(place.path(), &[]);
    assert!(out.contains(r"a\u{1b}[2J\n# #[error]b"), "{out}");
    let out = listed(place.path(), &["--json"]);
    assert!(!out.contains('\x1b') && !out.contains("##"), "{out}");
}

#[test]
fn git_is_sent_when_the_config_says_so_and_missed_where_it_is_wanted() {
    let config =
        |git: &str| format!("global:\n  arch: amd64\n  {git}\n  kaniko: {{ destination: r.test/a:1 }}\n");
    let place = folder(&[
        ("config.yaml", &config("env: { A: b }")),
        (".dockerignore", "*\n!.git/HEAD\n"),
        ("Dockerfile", "FROM alpine\nCOPY .git/HEAD /head\n"),
        (".git/HEAD", "ref: refs/heads/main\n"),
        (".git/config", "[core]\n[remote \"origin\"] url = https://a:hunter2@git.test/b\n"),
    ]);
    insta::assert_snapshot!(listed(place.path(), &[]), @r"
        13 B  .dockerignore
        33 B  Dockerfile
    notice: .dockerignore:2:1: `!.git/HEAD` has no effect: `.git` is not sent
      hint: `context.git: true` in `global` of the config sends it, without the credentials of its own config
    notice: Dockerfile:2:1: `.git/HEAD` is not there: `.git` is not sent
      hint: `context.git: true` in `global` of the config sends it, without the credentials of its own config
    2 files and links, 46 B
    ");
    std::fs::write(place.path().join("config.yaml"), config("context: { git: true }")).unwrap();
    insta::assert_snapshot!(listed(place.path(), &[]), @r"
        13 B  .dockerignore
        21 B  .git/HEAD
        33 B  Dockerfile
    3 files and links, 67 B
    ");
    std::fs::rename(place.path().join(".git"), place.path().join("moved")).unwrap();
    insta::assert_snapshot!(listed(place.path(), &["--largest", "0"]), @r"
    notice: context.git: there is no `.git` in FOLDER
      hint: choose `--repo` so that it is the folder of the repository
    2 files and links, 46 B
    ");
    let entry = "bake:\n- arch: amd64\n  context: { git: true }\n  kaniko: { destination: r.test/a:1 }\n";
    std::fs::write(place.path().join("config.yaml"), entry).unwrap();
    let (code, _, err) = client(place.path(), &["plan"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: one mistake
    config.yaml:3:19: bake[0].context.git: belongs in `global`: there is one archive for all tasks
      hint: move it there
    ");
}

#[test]
fn a_large_source_is_explained() {
    let place = place();
    let large = File::create(place.path().join("web/src/large")).unwrap();
    large.set_len(123_456_789).unwrap();
    insta::assert_snapshot!(listed(place.path(), &["--largest", "1"]), @r"
      123 MB  web/src/large
    7 files and links, 123 MB
    notice: the source has 123 MB: `web/src` has 123 MB
      hint: exclude what the build does not need in `.dockerignore`; `bakery-client context ls --largest 20` lists the largest files
    ");
}
