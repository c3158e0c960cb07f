//! The JSON Schemas, read by a validator of a third party, against what the program itself accepts.

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use crate::files::{client, folder};
use crate::version_1;

const EXAMPLE: &str = include_str!("../../../../client-config.yaml.example");
const OF_CI: &str = include_str!("../../../../examples/client/bakery.yaml");

/// The schema that the program prints.
fn printed(of: &str) -> Value {
    let (code, out, err) = client(folder(&[]).path(), &["schema", of]);
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

/// What the validator says about texts in YAML.
struct Validator {
    schemas: Schemas,
    schema: boon::SchemaIndex,
}

impl Validator {
    fn of(schema: Value) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        // Compose's own schema is checked in the rung `examples`.
        compiler.add_resource(bakery_core::compose::schema::COMPOSE_SCHEMA, json!({})).unwrap();
        compiler.add_resource("https://bakery.test/schema.json", schema).unwrap();
        let schema = compiler.compile("https://bakery.test/schema.json", &mut schemas).unwrap();
        Self { schemas, schema }
    }

    fn accepts(&self, yaml: &str) -> Result<(), String> {
        let value: Value = serde_yaml::from_str(yaml).unwrap();
        self.schemas.validate(&value, self.schema).map_err(|error| error.to_string())
    }
}

/// Whether the program plans it.
fn plans(yaml: &str) -> (bool, String) {
    let files = folder(&[("config.yaml", yaml), ("Dockerfile", "FROM scratch\n"), ("token.txt", "crumbs")]);
    let (code, _, err) = client(files.path(), &["plan"]);
    (code == 0, err)
}

/// A config with one more line in `global` (`kaniko.KEY`: in its section `kaniko`, `cache.KEY`: in `kaniko.cache`).
fn with(line: &str) -> String {
    let head = "global:\n  arch: amd64\n";
    let kaniko = "  kaniko:\n    destination: reg.test/a:1\n";
    if let Some(line) = line.strip_prefix("kaniko.") {
        let destination = if line.starts_with("destination") { "  kaniko:\n" } else { kaniko };
        format!("{head}{destination}    {line}\n")
    } else if let Some(line) = line.strip_prefix("cache.") {
        format!("{head}{kaniko}    cache:\n      {line}\n")
    } else if line.starts_with("arch") {
        format!("global:\n  {line}\n{kaniko}")
    } else {
        format!("{head}  {line}\n{kaniko}")
    }
}

#[test]
fn what_is_planned_is_valid() {
    let validator = Validator::of(printed("config"));
    let mut valid = vec![EXAMPLE.to_owned(), version_1::EVERY_KEY.to_owned(), version_1::OF_A_JOB.to_owned()];
    let lines = [
        "platform: docker",
        "platform: ''",
        "platform:",
        "cpu: 0.5",
        "cpu: 500m",
        "cpu: \"2\"",
        "cpu: []",
        "memory: 1.5Gi",
        "memory: 2048",
        "memory: 512 mib",
        "disk: 40G",
        "disk: 1024",
        "disk: ''",
        "timeout: 1h30m",
        "timeout: ''",
        "env: { A: 1, B: yes, C: '', d: true, E: 1.5 }",
        "env: ''",
        "env:",
        "pre-script: 5",
        "post-script: ''",
        "kaniko-credentials: []",
        "kaniko-credentials: [{ registry: 'https://index.docker.io/v1/', username: me, password: 0123 }]",
        "kaniko-credentials: [{ registry: 'reg.test:5000', username: me, password: true }]",
        "kaniko-credentials: docker",
        "kaniko-credentials: [docker, { registry: a.test, username: me, password-file: token.txt }]",
        "registry: localhost/team",
        "registry: 'reg.test:5000/a/b_c/'",
        "kaniko.context-path: ./a/../b",
        "kaniko.context-path: /workspace/src",
        "kaniko.dockerfile: docker/../Dockerfile",
        "kaniko.dockerfile: /workspace/docker/Dockerfile",
        "kaniko.dockerfile-inline: FROM scratch",
        "kaniko.destination: reg.test:5000/shop/cart__x/y-z",
        "kaniko.destination: shop",
        "kaniko.destination: 'localhost:5000/a:V1.0_rc-1'",
        "kaniko.build-args: { GO: 1.10, a.b: '' }",
        "kaniko.snapshot-mode: full",
        "kaniko.use-new-run: True",
        "kaniko.cleanup: 'false'",
        "kaniko.no-push:",
        "kaniko.custom-platform: linux/arm64/v8",
        "kaniko.dir: /opt/kaniko-2.0",
        "kaniko.ignore-path: [/a, '', /b c]",
        "kaniko.extra-flags: --label 'a b=c d'",
        "kaniko.extra-flags: ''",
        "kaniko.env: { A: a }",
        "kaniko.secrets: [{ id: a, file: token.txt }]",
        "kaniko.target: '${NO:-prod}'",
        "kaniko.reproducible: ${NO:-true}",
        "kaniko.snapshot-mode: ${NO:-redo}",
        "kaniko.registry-mirrors: ['${NO:-mirror.test}']",
        "kaniko.push-retry: ${NO:-3}",
        "kaniko.container-name: x",
        "kaniko.image: { secret: [] }",
        "kaniko.cache:",
        "cache.enable: true",
        "cache.repo: cache.test",
        "cache.repo: reg.test:5000/a/b",
        "cache.repo: oci:/cache",
        "cache.ttl: 1h30m",
        "cache.compressed: 'True'",
    ];
    valid.extend(lines.map(with));
    let tops = [
        "bake: []",
        "bake: [{}]",
        "bake: ''",
        "bake:",
        "bake: [{ env: { A: b } }, { kaniko: { cache: {} } }]",
    ];
    valid.extend(tops.map(|bake| format!("{}{bake}\n", with("platform: k8s"))));
    for text in valid {
        let (planned, err) = plans(&text);
        assert!(planned, "{text}\n{err}");
        assert_eq!(validator.accepts(&text), Ok(()), "{text}");
    }
    // Its variables are those of a CI job.
    assert_eq!(validator.accepts(OF_CI), Ok(()));
}

#[test]
fn a_planted_mistake_is_found_by_schema_and_program() {
    let validator = Validator::of(printed("config"));
    let lines = [
        "platform: k9s",
        "arch: x86_64",
        "arch: [amd64]",
        "cpu: lots",
        "cpu: 0",
        "cpu: 2000",
        "cpu: 1e3m",
        "memory: 2X",
        "memory: 16",
        "disk: 40",
        "disk: lots",
        "timeout: 30",
        "timeout: 1d",
        "arhc: amd64",
        "dockerfile: x",
        "env: { KANIKO_DIR: /x }",
        "env: { LD_PRELOAD: /x }",
        "env: { 9A: x }",
        "env: { NOTHING: }",
        "env: { LIST: [a] }",
        "env: [A=b]",
        "pre-script: [echo]",
        "kaniko-credentials: { registry: reg.test, username: me, password: x }",
        "kaniko-credentials: [{ registry: ghcr.io/me, username: me, password: x }]",
        "kaniko-credentials: [{ registry: ghcr.io, username: '', password: x }]",
        "kaniko-credentials: [{ registry: ghcr.io, username: me }]",
        "kaniko-credentials: [{ registry: ghcr.io, username: 'a:b', password: x }]",
        "kaniko-credentials: [{ registry: ghcr.io, username: me, password: x, password-file: token.txt }]",
        "kaniko-credentials: [{ registry: ghcr.io, username: me, credentials: docker }]",
        "kaniko-credentials: [{ registry: ghcr.io, credentials: podman }]",
        "kaniko-credentials: podman",
        "kaniko-credentials: [podman]",
        "kaniko.secrets: [{ id: a, env: PATH, file: token.txt }]",
        "kaniko.secrets: [{ id: a }]",
        "kaniko-credentials: [{ registry: ghcr.io, username: me, password: x, pasword: y }]",
        "registry: team",
        "registry: https://reg.test",
        "kaniko.context-path: ../other",
        "kaniko.context-path: /src",
        "kaniko.context-path: /workspaces",
        "kaniko.dockerfile: /etc/passwd",
        "kaniko.dockerfile-inline: [FROM scratch]",
        "kaniko.destination: https://reg.test/a",
        "kaniko.destination: reg.test/A",
        "kaniko.destination: 'reg.test/a b:1'",
        "kaniko.destination: 'reg.test/a:'",
        "kaniko.destination: reg.test/a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "kaniko.build-args: [A=b]",
        "kaniko.build-args: { 'A=b': c }",
        "kaniko.snapshot-mode: fast",
        "kaniko.use-new-run: 1",
        "kaniko.cleanup: yes",
        "kaniko.custom-platform: windows/amd64",
        "kaniko.dir: /kaniko/mine",
        "kaniko.dir: /usr",
        "kaniko.dir: kaniko2",
        "kaniko.ignore-path: /a",
        "kaniko.extra-flags: single-snapshot",
        "kaniko.arch: amd64",
        "cache: { enable: true }",
        "cache.enable: maybe",
        "cache.enabled: true",
        "cache.repo: cache",
        "cache.repo: reg.test/c:tag",
        "cache.ttl: 1d",
        "cache.ttl: 24",
    ];
    let good = with("platform: k8s");
    let tops =
        ["bakes: []", "bake: { arch: amd64 }", "bake: [[]]", "bake: [{ registry: reg.test }]", "bake: [~]"];
    let tops = tops.map(|line| format!("{good}{line}\n"));
    let whole = ["- a\n", "global: x\n", "global: { kaniko: x }\n", "arch: amd64\n"].map(str::to_owned);
    for text in lines.map(with).into_iter().chain(tops).chain(whole) {
        let (planned, _) = plans(&text);
        assert!(!planned, "the program accepts\n{text}");
        assert!(validator.accepts(&text).is_err(), "the schema accepts\n{text}");
    }
}

/// An editor shows these texts.
#[test]
fn every_key_of_the_schema_has_a_text() {
    fn check(schema: &Value, path: &str) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(property["description"].as_str().is_some_and(|text| text.ends_with('.')), "{path}");
            let value = if property["anyOf"][0].is_object() { &property["anyOf"][0] } else { property };
            check(value, &path);
            check(&value["items"], &path);
        }
    }
    let schema = printed("config");
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    check(&schema, "");
    let global = schema["properties"]["global"]["properties"].as_object().unwrap();
    let entry = schema["properties"]["bake"]["anyOf"][0]["items"]["properties"].as_object().unwrap();
    assert_eq!((global.len(), entry.len()), (13, 11), "`registry` and `context` are in `global` only");
    assert_eq!(global["kaniko"]["properties"]["container-name"]["deprecated"], true);
}

#[test]
fn the_schema_of_compose_files_adds_x_bake_and_what_is_not_supported() {
    let schema = printed("compose");
    assert_eq!(schema["allOf"][0]["$ref"], bakery_core::compose::schema::COMPOSE_SCHEMA);
    let validator = Validator::of(schema);
    let file = |build: &str| {
        format!("services: {{ web: {{ image: r.test/a, build: {{ context: ., {build} }} }} }}\n")
    };
    for build in [
        "x-bake: { platforms: [linux/amd64, linux/arm64/v8, arm64, '${PLATFORM}'] }",
        "x-bake: { platforms: linux/amd64 }",
        "x-bake: { tags: [a], other: { tool: 1 } }",
        "x-bake:",
        "args: [A=b], ssh: [], privileged: false, labels: { a: b }",
        "dockerfile_inline: FROM scratch, cache_to: ['type=registry,ref=reg.test/c']",
    ] {
        assert_eq!(validator.accepts(&file(build)), Ok(()), "{build}");
    }
    for build in [
        "x-bake: { platforms: [linux/riscv64] }",
        "x-bake: { platforms: windows/amd64 }",
        "x-bake: { output: [type=docker] }",
        "x-bake: [linux/amd64]",
        "ssh: [default]",
        "privileged: true",
    ] {
        assert!(validator.accepts(&file(build)).is_err(), "{build}");
        let files = folder(&[("compose.yaml", file(build).as_str()), ("Dockerfile", "FROM scratch\n")]);
        let (code, _, err) = client(files.path(), &["plan"]);
        assert_eq!(code, 2, "{build}: {err}");
    }
}
