//! `include`.

use super::extends::{built, extended};

fn mistakes(files: &[(&str, &str)]) -> String {
    extended(files).map(|_| ()).expect_err("mistakes").to_string()
}

#[test]
fn an_included_project_has_its_own_folder_and_variables() {
    let files = [
        (
            "deploy/compose.yaml",
            "
include:
  - ../db/compose.yaml
  - path: [../api/compose.yaml, ../api/over.yaml]
    project_directory: ..
    env_file: [one.env, two.env]
services:
  app: { image: 'reg.test/app:${TAG}${OWN:-}', build: ., depends_on: [db, api] }
",
        ),
        (
            "db/compose.yaml",
            "services: { db: { image: 'reg.test/db:${TAG}-${OWN}', build: { args: { P: '$COMPOSE_PROJECT_NAME' } } } }",
        ),
        ("db/.env", "OWN=db\nTAG=lost\n"),
        (
            "api/compose.yaml",
            "services: { api: { image: reg.test/api, build: { context: api, target: '${T}', args: [A=$A] } } }",
        ),
        ("api/over.yaml", "services: { api: { build: { context: src } } }"),
        ("deploy/one.env", "A=1\nT=one\n"),
        ("deploy/two.env", "T=${A}two\n"),
    ];
    insta::assert_snapshot!(built(&files), @r"
    app: reg.test/app:7 deploy
    db: reg.test/db:7-db db P=deploy
    api: reg.test/api src A=1 --target=1two
    ");
}

#[test]
fn the_file_that_includes_wins_and_extends_what_it_includes() {
    let files = [
        (
            "compose.yaml",
            "
include: [{ path: base/compose.yaml }, again.yaml]
services:
  base: { build: { args: { A: own }, labels: !override [b=2], target: !reset x } }
  child: { extends: base, image: reg.test/child }
",
        ),
        // The same project by two ways is the same.
        ("again.yaml", "include: [./base/compose.yaml]\n"),
        (
            "base/compose.yaml",
            "services: { base: { image: reg.test/base, build: { args: { A: 1, B: 2 }, labels: [a=1], target: dev } } }",
        ),
    ];
    insta::assert_snapshot!(built(&files), @"base: reg.test/base reg.test/child base A=own B=2 --label=b=2");
}

#[test]
fn files_that_cannot_be_included_are_mistakes_with_their_places() {
    let one = |text| {
        mistakes(&[
            ("compose.yaml", text),
            ("a.yaml", "include: [b.yaml]"),
            ("b.yaml", "include: [a.yaml]"),
            ("odd.yaml", "serices: {}"),
            ("bad.yaml", "include: [bad.env]\nservices: { a: [] }"),
            ("bad.env", "A B"),
            ("e.yaml", "services: {}"),
        ])
    };
    let all = [
        one("include: x.yaml"),
        one("include: [[x.yaml]]"),
        one(
            "include: [{ file: x.yaml }, { path: [] }, '', 'https://a.test/compose.yaml', git@a.test:b/c.git]",
        ),
        one("include: [none.yaml]"),
        one("include: [a.yaml]"),
        one("include: [odd.yaml, bad.yaml]"),
        one("include: [{ path: e.yaml, env_file: bad.env }]"),
        one("include: [{ path: e.yaml, env_file: none.env }]"),
        one("include: []"),
    ];
    insta::assert_snapshot!(all.join("\n---\n"), @r"
    compose.yaml:1:10: include: expected a list of files, found a single value
    ---
    compose.yaml:1:11: include[0]: expected a file, or a mapping with `path`, found a list
    ---
    compose.yaml:1:11: include[0]: `path` is missing
      hint: name the file to include
    compose.yaml:1:13: include[0].file: unknown key
      hint: one of path, project_directory, env_file
    compose.yaml:1:29: include[1]: `path` is missing
      hint: name the file to include
    compose.yaml:1:43: include[2]: names no file
      hint: name a file, or remove the key
    compose.yaml:1:47: include[3]: a remote file is not supported
      hint: check it out and name the file
    compose.yaml:1:78: include[4]: a remote file is not supported
      hint: check it out and name the file
    ---
    compose.yaml:1:11: include[0]: /work/shop/none.yaml is not there
    ---
    b.yaml:1:11: include[0]: files include each other in a circle: a.yaml -> b.yaml -> a.yaml
      hint: remove one of these `include`s
    ---
    odd.yaml:1:10: serices: unknown key
      hint: did you mean `services`?
    bad.env:1:1: expected a Compose file: a mapping with `services`, found a single value
    ---
    bad.env:1:1: A: the name is not followed by `=`
      hint: write NAME=value, one per line
    ---
    compose.yaml:1:11: include[0]: /work/shop/none.env is not there
    ---
    compose.yaml:1:1: `services` is missing
      hint: a Compose file lists its services there
    ");
}

#[test]
fn included_projects_are_bounded() {
    // Each includes the next one twice.
    let names: Vec<_> = (0..70).map(|nth| format!("{nth}.yaml")).collect();
    let text = |nth: usize| {
        let next = nth + 1;
        format!("include: [{next}.yaml, {{ path: {next}.yaml, project_directory: . }}]\nservices: {{}}")
    };
    let texts: Vec<_> = (0..70).map(text).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    assert!(mistakes(&files).contains("more than 64"), "{}", mistakes(&files));
}
