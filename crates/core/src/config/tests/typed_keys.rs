//! Keys that become flags of Kaniko as they are.

use super::*;
use crate::secret::Secret;

const GLOBAL: &str = r#"
global:
  arch: amd64
  kaniko:
    destination: reg.test/a
    target: prod
    labels: { a: 1, b: two words }
    annotations: { c: "" }
    registry-mirrors: [mirror.test, "mirror.test:5000/hub"]
    registry-map: { quay.io: "a.test, b.test/q", docker.io: c.test }
    certificates: { reg.test: ./certs/ca.pem, https://Other.test/v2/: /kaniko/ssl/own.pem }
    compression: zstd
    reproducible: true
    single-snapshot: true
    push-retry: 0
"#;

#[test]
fn they_are_read_merged_and_cleared() {
    let entries = "
bake:
- {}
- kaniko:
    target: ''
    labels: { b: '' }
    annotations: ''
    registry-mirrors: []
    registry-map: { quay.io: d.test }
    compression: gzip
    reproducible: false
";
    let spec = tasks(&format!("{GLOBAL}{entries}"));
    let text = |of: &TaskSpec| {
        let all = serde_json::to_value(&of.kaniko).unwrap();
        let shown = |name: &str| Some(format!("{name}={}", all.get(name)?));
        let names = "target labels annotations registry_mirrors registry_map certificates compression reproducible \
                     single_snapshot push_retry";
        names.split(' ').filter_map(shown).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(text(&spec[0]), @r#"
    target="prod"
    labels={"a":"1","b":"two words"}
    annotations={"c":""}
    registry_mirrors=["mirror.test","mirror.test:5000/hub"]
    registry_map={"docker.io":["c.test"],"quay.io":["a.test","b.test/q"]}
    certificates={"other.test":"/kaniko/ssl/own.pem","reg.test":"certs/ca.pem"}
    compression="zstd"
    reproducible=true
    single_snapshot=true
    push_retry=0
    "#);
    insta::assert_snapshot!(text(&spec[1]), @r#"
    labels={"a":"1","b":""}
    registry_map={"docker.io":["c.test"],"quay.io":["d.test"]}
    certificates={"other.test":"/kaniko/ssl/own.pem","reg.test":"certs/ca.pem"}
    compression="gzip"
    single_snapshot=true
    push_retry=0
    "#);
}

#[test]
fn their_mistakes_are_reported_at_once() {
    let text = "
global:
  arch: amd64
  kaniko:
    destination: reg.test/a
    target: a,b
    labels: { 'a=b': c, d: }
    annotations: [a]
    registry-mirrors: [https://x.test, 'a;b=c']
    registry-map: { Not a host: a.test, quay.io: 'a.test;x=y', docker.io: a, index.docker.io: b }
    certificates: { reg.test: ../ca.pem, b.test: certs/ }
    compression: lz4
    reproducible: maybe
    push-retry: 21
bake:
- kaniko: { target: prod, extra-flags: --target=dev, push-retry: many }
- kaniko: { labels: prod }
- target: prod
";
    insta::assert_snapshot!(report(text), @"
    config.yaml:6:13: global.kaniko.target: not a name of a stage
      hint: write one name that a `FROM ... AS NAME` gives
    config.yaml:7:22: global.kaniko.labels.a=b: not a valid name of a label
      hint: write NAME: value
    config.yaml:7:26: global.kaniko.labels.d: has no value
      hint: write '' for an empty string
    config.yaml:8:18: global.kaniko.annotations: expected a mapping, found a list
      hint: write `NAME: value`, one per line
    config.yaml:9:24: global.kaniko.registry-mirrors[0]: not a registry
      hint: HOST or HOST/PATH, without a scheme
    config.yaml:9:40: global.kaniko.registry-mirrors[1]: not a registry
      hint: HOST or HOST/PATH, without a scheme
    config.yaml:10:33: global.kaniko.registry-map.Not a host: `Not a host` is not a registry
      hint: HOST or HOST:PORT
    config.yaml:10:50: global.kaniko.registry-map.quay.io: not a registry
      hint: HOST or HOST/PATH, without a scheme
    config.yaml:10:95: global.kaniko.registry-map.index.docker.io: the same registry as in config.yaml:10:75: global.kaniko.registry-map.docker.io
      hint: keep one
    config.yaml:11:31: global.kaniko.certificates.reg.test: leaves the source root
      hint: only files below --repo are packed: set --repo to a parent folder
    config.yaml:11:50: global.kaniko.certificates.b.test: not a path of a file
      hint: write a path relative to the source root, or an absolute one in the agent's container
    config.yaml:12:18: global.kaniko.compression: `lz4` is not a valid value
      hint: one of gzip, zstd
    config.yaml:13:19: global.kaniko.reproducible: `maybe` is not true or false
      hint: write true or false
    config.yaml:14:17: global.kaniko.push-retry: too many retries
      hint: at most 20
    config.yaml:16:21: bake[0].kaniko.target: `--target` is in `extra-flags` too
      hint: keep one of them
    config.yaml:16:66: bake[0].kaniko.push-retry: `many` is not a number
      hint: for example `5`
    config.yaml:17:21: bake[1].kaniko.labels: expected a mapping, found a single value
      hint: write `NAME: value`, one per line
    config.yaml:18:3: bake[2].target: unknown key
      hint: it belongs below `kaniko`
    ");
}

struct OneVariable;

impl SecretSources for OneVariable {
    fn env(&self, name: &str, _written: &str) -> Result<Secret, crate::message::Message> {
        if name == "NPM" { Ok(Secret::new("sesame-open")) } else { Err("is not set".into()) }
    }

    fn file(&self, _: &str, _: &str, _: SecretPurpose) -> Result<Secret, crate::message::Message> {
        Err("cannot be read".into())
    }
}

fn with_secrets(text: &str) -> Result<Resolved, Report> {
    let surroundings = Surroundings { variables: Variables::None, secrets: &OneVariable };
    read_with("config.yaml", text, &surroundings)?.resolve(Order::Sequential, &Naming::default())
}

#[test]
fn secrets_get_their_values_from_the_client_alone() {
    let text = baked("secrets: [{ id: npm, env: NPM }]");
    let resolved = with_secrets(&text).unwrap();
    let secrets = &resolved.spec.services[0].tasks[0].kaniko.secrets;
    assert_eq!(secrets["npm"].expose(), "sesame-open");
    insta::assert_snapshot!(report(&text), @"
    config.yaml:5:15: global.kaniko.secrets[0]: only bakery-client reads variables and files for secrets
      hint: submit the build with bakery-client
    ");
}

#[test]
fn mistakes_in_secrets_are_reported_at_once() {
    let lines = "secrets: [{ id: a b, env: NPM }, { env: NPM }, { id: c }, { id: d, env: NPM, file: x }, { id: e, env: NPM }, { id: e, env: NPM }]";
    insta::assert_snapshot!(with_secrets(&baked(lines)).unwrap_err().to_string(), @"
    config.yaml:5:21: global.kaniko.secrets[0].id: not a valid id of a secret
      hint: use letters, digits, `.`, `_` and `-`, with no dot first; at most 64
    config.yaml:5:38: global.kaniko.secrets[1]: `id` is missing
    config.yaml:5:52: global.kaniko.secrets[2]: has no value
      hint: set `env` or `file`
    config.yaml:5:63: global.kaniko.secrets[3]: has both `env` and `file`
      hint: keep one of them
    config.yaml:5:114: global.kaniko.secrets[5]: a second secret with this id
      hint: keep one
    ");
    let text = baked("secrets: [{ id: a, env: LOST }, { id: b, file: lost }]");
    insta::assert_snapshot!(with_secrets(&text).unwrap_err().to_string(), @"
    config.yaml:5:15: global.kaniko.secrets[0]: is not set
    config.yaml:5:37: global.kaniko.secrets[1]: cannot be read
    ");
}

#[test]
fn a_flag_in_extra_flags_wins_with_a_notice_or_adds_to_the_key() {
    let text = "
bake:
- arch: amd64
  kaniko:
    destination: reg.test/a
    push-retry: 3
    snapshot-mode: redo
    labels: { a: b }
    extra-flags: --push-retry=9 --label=c=d --snapshot-mode time
";
    insta::assert_snapshot!(notices(text), @"
    config.yaml:6:17: bake[0].kaniko.push-retry: has no effect: `--push-retry` in `extra-flags` wins
      hint: keep one of them
    config.yaml:7:20: bake[0].kaniko.snapshot-mode: has no effect: `--snapshot-mode` in `extra-flags` wins
      hint: keep one of them
    ");
}
