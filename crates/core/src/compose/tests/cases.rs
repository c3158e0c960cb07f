//! Files of real projects that were read wrongly, each by the name of its case.

use super::extends::{built, extended};
use super::*;

/// What is built, and what is said about it.
fn read_with(text: &str, vars: &[(&str, &str)]) -> String {
    let vars: BTreeMap<String, String> =
        vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    match ask_with(text, &[], None, &vars) {
        Ok(Resolved { spec, notices, .. }) => {
            let service = |(name, tasks): (String, Vec<TaskSpec>)| {
                format!("{name}: {} {}", archs(&tasks).join(","), tasks[0].kaniko.context_path)
            };
            let services = named(spec).into_iter().map(service);
            services.chain(notices.iter().map(Notice::rendered)).collect::<Vec<_>>().join("\n")
        }
        Err(report) => report.to_string(),
    }
}

#[test]
fn silent_extends_left_out_is_built() {
    let text = "services: { base: { image: reg.test/base, build: . }, s: { image: reg.test/s, extends: { service: base } } }";
    insta::assert_snapshot!(built(&[("compose.yaml", text)]), @"base: reg.test/base reg.test/s .");
}

#[test]
fn include_two_messages_are_none() {
    let files = [
        ("compose.yaml", "include: [other.yaml]"),
        ("other.yaml", "services: { s: { image: reg.test/s, build: . } }"),
    ];
    insta::assert_snapshot!(built(&files), @"s: reg.test/s .");
    let missing = extended(&[("compose.yaml", "include: [none.yaml]\nservices: { a: { depends_on: [s] } }")]);
    insta::assert_snapshot!(missing.map(|_| ()).unwrap_err(), @"compose.yaml:1:11: include[0]: /work/shop/none.yaml is not there");
}

#[test]
fn platform_empty_refused_is_no_platform() {
    let all = ["''", "'${P:-}'", "~", "", "arm64", "linux/amd64", "amd64", "linux/arm/v7", "windows"].map(
        |platform| {
            read_with(
                &format!("services: {{ s: {{ image: reg.test/s, build: ., platform: {platform} }} }}"),
                &[],
            )
        },
    );
    insta::assert_snapshot!(all.join("\n---\n"), @r"
    s: arm64 deploy
    ---
    s: arm64 deploy
    ---
    s: arm64 deploy
    ---
    s: arm64 deploy
    ---
    s: arm64 deploy
    ---
    s: amd64 deploy
    ---
    s: amd64 deploy
    ---
    deploy/compose.yaml:1:57: services.s.platform: `linux/arm/v7` is not a supported platform (linux/amd64, linux/arm64)
    ---
    deploy/compose.yaml:1:57: services.s.platform: `windows` is not a supported platform (linux/amd64, linux/arm64)
    ");
}

#[test]
fn the_default_platform_is_that_of_services_without_one() {
    let all = [
        ("build: .", "linux/amd64"),
        ("build: ., platform: arm64", "linux/amd64"),
        ("build: ., platform: ''", "amd64"),
        ("build: { platforms: [arm64] }", "linux/amd64"),
        ("build: { platforms: [arm64, amd64] }", "linux/amd64"),
        ("build: { platforms: [] }", "linux/amd64"),
        ("build: { x-bake: { platforms: [arm64] } }", "linux/amd64"),
        ("build: .", "linux/386"),
    ]
    .map(|(keys, default)| {
        let text = format!("services: {{ s: {{ image: reg.test/s, {keys} }} }}");
        read_with(&text, &[("DOCKER_DEFAULT_PLATFORM", default)])
    });
    insta::assert_snapshot!(all.join("\n---\n"), @r"
    s: amd64 deploy
    ---
    s: arm64 deploy
    ---
    s: amd64 deploy
    ---
    DOCKER_DEFAULT_PLATFORM: linux/amd64 is not among `build.platforms`
      hint: add it there, or remove this
    ---
    s: arm64,amd64 deploy
    ---
    s: amd64 deploy
    ---
    s: arm64 deploy
    ---
    DOCKER_DEFAULT_PLATFORM: not a supported platform (linux/amd64, linux/arm64)
    ");
}

#[test]
fn profiles_empty_string_is_active_if_no_profile_is_asked_for() {
    let text = "services: { s: { image: reg.test/s, build: ., profiles: ['${P:-}'] }, t: { image: reg.test/t, build: . } }";
    let all = [read_with(text, &[]), read_with(text, &[("COMPOSE_PROFILES", "dev")])];
    insta::assert_snapshot!(all.join("\n---\n"), @r"
    s: arm64 deploy
    deploy/compose.yaml:1:74: services.t: the same build as `s`: it is built once, and also pushed as reg.test/t
    ---
    t: arm64 deploy
    deploy/compose.yaml:1:11: services: not built, because their profiles are not active: `s`
      hint: name them with --services, or their profiles in COMPOSE_PROFILES
    ");
}

#[test]
fn tilde_context_is_the_home_folder() {
    let text = |context| format!("services: {{ s: {{ image: reg.test/s, build: {context} }} }}");
    let all = [
        read_with(&text("~/custom"), &[("HOME", "/work/shop/home")]),
        read_with(&text("'~'"), &[("HOME", "/root")]),
        read_with(&text("~/custom"), &[]),
        read_with(&text("~custom"), &[("HOME", "/work/shop/home")]),
    ];
    insta::assert_snapshot!(all.join("\n---\n"), @r"
    s: arm64 home/custom
    deploy/compose.yaml:1:44: services.s.build: an absolute path works on this machine only
      hint: write it relative to the Compose file
    ---
    deploy/compose.yaml:1:44: services.s.build: outside the source root /work/shop
      hint: set --repo to the folder that holds all contexts
    ---
    s: arm64 deploy/~/custom
    ---
    s: arm64 deploy/~custom
    ");
}

#[test]
fn an_unknown_key_of_a_service_with_a_build_is_a_mistake() {
    let text = "
services:
  s: { image: reg.test/s, build: ., enviroment: {}, restart: always, x-own: 1, frobnicate: yes }
  db: { image: postgres, enviroment: {} }
";
    insta::assert_snapshot!(read_with(text, &[]), @r"
    deploy/compose.yaml:3:49: services.s.enviroment: unknown key
      hint: did you mean `environment`?
    deploy/compose.yaml:3:92: services.s.frobnicate: unknown key
      hint: Compose has no such attribute of a service
    ");
}

#[test]
fn a_service_that_is_not_built_is_named_with_the_reason() {
    let text = "
services:
  s: { image: reg.test/s, build: . }
  db: { image: postgres }
  mq: { image: rabbitmq, build: ~ }
  e2e: { image: reg.test/e2e, build: ., profiles: [test] }
";
    insta::assert_snapshot!(read_with(text, &[]), @r"
    s: arm64 deploy
    deploy/compose.yaml:3:3: services: without a `build`, so not built: `db`, `mq`
    deploy/compose.yaml:3:3: services: not built, because their profiles are not active: `e2e`
      hint: name them with --services, or their profiles in COMPOSE_PROFILES
    ");
}
