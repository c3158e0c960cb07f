//! The messages about mistakes in Compose files.

use super::*;

#[test]
fn mistakes_of_both_files_are_one_report() {
    let report = ask(
        "services:\n  a: { image: 'reg.test/${BAD}', build: ../.. }\n  b: { build: '${' }\n",
        &["a", "b", "wbe"],
        Some("global:\n  cpu: lots\n"),
    );
    insta::assert_snapshot!(report.unwrap_err(), @r"
    config.yaml:2:8: global.cpu: `lots` is not a valid amount of cpu
      hint: for example `0.5`, `2` or `500m`; at most 1024
    deploy/compose.yaml:2:3: services: there is no service `wbe`
      hint: known services: a, b
    deploy/compose.yaml:2:3: services: the service `b` has no `image`, so there is no name to push it to
      hint: --registry HOST/PATH (or BAKERY_REGISTRY, or `global.registry`) pushes them as HOST/PATH/<project>-<service>; --no-push only builds them
    deploy/compose.yaml:2:15: services.a.image: `reg.test/${BAD}` is not an image reference
      hint: remove the blanks: REGISTRY/REPOSITORY:TAG
    deploy/compose.yaml:2:41: services.a.build: outside the source root /work/shop
      hint: set --repo to the folder that holds all contexts
    deploy/compose.yaml:3:15: services.b.build: `${` is not followed by a variable's name, an operator or `}`
      hint: `$$` is a dollar sign
    ");
}

#[test]
fn a_repeated_key_hides_no_other_mistake() {
    insta::assert_snapshot!(report(&build("dockerfile: a\ndockerfile: b\ncontxt: x")), @r"
    deploy/compose.yaml:7:7: the key `dockerfile` is defined twice (first on line 6)
      hint: keep one of them
    deploy/compose.yaml:8:15: services.web.build.contxt: unknown key
      hint: did you mean `context`?
    ");
}

#[test]
fn attributes_that_change_the_result_are_mistakes_and_others_are_notices() {
    let keys = "
contxt: x
x-own: x
secrets: [npm]
ssh: [default]
additional_contexts: { a: b }
extra_hosts: ['a=1.2.3.4']
privileged: true
entitlements: [network.host]
network: none
provenance: mode=max
sbom: true
x-bake: { output: [x], secret: [x], platfroms: [linux/amd64] }
";
    insta::assert_snapshot!(report(&build(keys.trim())), @r"
    deploy/compose.yaml:6:15: services.web.build.contxt: unknown key
      hint: did you mean `context`?
    deploy/compose.yaml:8:17: services.web.build.secrets[0]: there is no secret `npm`
      hint: declare it in `secrets` at the top of the file
    deploy/compose.yaml:9:12: services.web.build.ssh: not supported by Kaniko
      hint: Kaniko has no SSH mounts: fetch in the `pre-script`
    deploy/compose.yaml:10:28: services.web.build.additional_contexts: not supported yet
      hint: it changes the result, so it is not ignored: remove it if you do not need it
    deploy/compose.yaml:11:20: services.web.build.extra_hosts: not supported yet
      hint: it changes the result, so it is not ignored: remove it if you do not need it
    deploy/compose.yaml:12:19: services.web.build.privileged: cannot be granted
      hint: Kaniko builds without privileges: leave it out
    deploy/compose.yaml:13:21: services.web.build.entitlements: cannot be granted
      hint: Kaniko builds without privileges: leave it out
    deploy/compose.yaml:14:16: services.web.build.network: builds without a network are not possible
      hint: a RUN step always has the task's network; remove it if you do not need it
    deploy/compose.yaml:15:19: services.web.build.provenance: not supported yet
      hint: it changes the result, so it is not ignored: remove it if you do not need it
    deploy/compose.yaml:16:13: services.web.build.sbom: not supported yet
      hint: it changes the result, so it is not ignored: remove it if you do not need it
    deploy/compose.yaml:17:25: services.web.build.x-bake.output: not supported yet
      hint: it changes the result, so it is not ignored: remove it if you do not need it
    deploy/compose.yaml:17:39: services.web.build.x-bake.secret[0]: not a secret of buildx
      hint: id=ID,env=NAME or id=ID,src=FILE
    deploy/compose.yaml:17:54: services.web.build.x-bake.platfroms: unknown key
      hint: did you mean `platforms`?
    ");
    let harmless = "
privileged: false
secrets: []
sbom: false
network: default
pull: true
x-own: { a: b }
isolation: default
";
    assert_eq!(notices(&build(harmless.trim())), "");
    let ignored = "
tags: [reg.test/other]
cache_from: [reg.test/c]
no_cache: '${NO_CACHE}'
no_cache_filter: [a]
network: host
shm_size: 1gb
ulimits: { nofile: 1 }
args: { NPM_TOKEN: '${SECRET}', A: $UNSET }
x-bake: { no-cache: true, zzzz: 1 }
";
    insta::assert_snapshot!(notices(&build(ignored.trim())), @r#"
    deploy/compose.yaml:7:20: services.web.build.cache_from[0]: has no effect here
      hint: Kaniko keeps its layers in a repository: cache_to: ["type=registry,ref=REGISTRY/REPOSITORY"]
    deploy/compose.yaml:8:17: services.web.build.no_cache: read as true
      hint: write true or false
    deploy/compose.yaml:9:24: services.web.build.no_cache_filter: has no effect here
    deploy/compose.yaml:10:16: services.web.build.network: has no effect here
    deploy/compose.yaml:11:17: services.web.build.shm_size: has no effect here
    deploy/compose.yaml:12:16: services.web.build.ulimits: has no effect here
    deploy/compose.yaml:13:26: services.web.build.args.NPM_TOKEN: a build argument can be read in the image's history
      hint: do not pass a secret this way
    deploy/compose.yaml:13:42: services.web.build.args.A: the variable UNSET is not set: it counts as empty
      hint: set it, or write ${UNSET:-default}
    deploy/compose.yaml:14:27: services.web.build.x-bake.no-cache: has no effect here
    deploy/compose.yaml:14:39: services.web.build.x-bake.zzzz: unknown key: not read
      hint: `platforms`, `tags`, `secret`, `cache-to` and `cache-from` are read here; `cpu` and `memory` are set in a config file (--config)
    "#);
}

#[test]
fn an_invalid_compose_file_is_reported() {
    for (text, message) in [
        ("- a", "expected a Compose file"),
        ("", "expected a Compose file: a mapping with `services`, found nothing"),
        ("name: x", "`services` is missing"),
        ("service: {}", "did you mean `services`?"),
        ("services: []", "expected a mapping of services, found a list"),
        ("services: {}", "there is no service to build"),
        ("services: { a: { image: b } }", "there is no service to build"),
        ("services: { a: { image: b, biuld: . } }", "did you mean `build`?"),
        ("include: [a.yaml]\nservices: {}", "compose.yaml:1:11: include[0]: no other file can be read"),
        (
            "services: { a: { build: ., extends: b } }",
            "services.a.extends: there is no service `b` in deploy/compose.yaml",
        ),
        ("services: { a: { build: !fancy ., image: b } }", "the tag `!fancy` is not supported"),
        ("services: { a: { build: [x], image: b } }", "expected a folder or a mapping, found a list"),
        (
            "services: { a: { build: ., image: b }, 'a b': { build: ., image: c } }",
            "not a valid service name",
        ),
        (
            "services: { a: { build: ., image: 'r.test/a:${NO}' } }",
            "hint: the variable NO is not set: set it, or write ${NO:-default}",
        ),
        ("services: { a: { build: . } }", "compose.yaml:1:11: services: the service `a` has no `image`"),
        ("services: { a: { build: ., image: '${EMPTY}' } }", "services: the service `a` has no `image`"),
        ("services: { a: { build: ., image: b@sha256:12 } }", "is not an image reference"),
        (
            "services: { a: { build: ., image: '${NO:?set NO}' } }",
            "required and has no value: set NO\n  hint: set NO in the environment or in .env",
        ),
        (
            "services: { a: { build: ., image: x }, b: { build: b, image: 'x:latest' } }",
            "docker.io/library/x:latest is also pushed by a",
        ),
        ("services: { a: { build: { dockerfile: ../../../x }, image: x } }", "leaves the source root"),
    ] {
        let report = report(text);
        assert!(report.contains(message), "{text}: {report}");
    }
}

#[test]
fn an_invalid_service_is_reported() {
    let text = "services:\n  web: { build: ., image: x }\n  worker: ./worker\n  db: [postgres]\n  cache:\n";
    insta::assert_snapshot!(report(text), @r"
    deploy/compose.yaml:3:11: services.worker: expected a mapping, found a single value
      hint: a service is written as `NAME: { image: .., build: .. }`
    deploy/compose.yaml:4:7: services.db: expected a mapping, found a list
      hint: a service is written as `NAME: { image: .., build: .. }`
    deploy/compose.yaml:5:8: services.cache: expected a mapping, found nothing
      hint: a service is written as `NAME: { image: .., build: .. }`
    ");
}

#[test]
fn dependencies_are_checked_as_compose_does() {
    let text = "
services:
  web: { build: ., image: x, depends_on: [db, cahce] }
  db: { image: x, depends_on: { web: { condition: service_started }, seed: {}, opt: { required: false } } }
  cache: { image: x }
  seed: { image: x, profiles: [dev] }
  opt: { image: x, profiles: [dev], depends_on: [nobody] }
";
    insta::assert_snapshot!(report(text), @r"
    deploy/compose.yaml:3:47: services.web.depends_on[1]: there is no service `cahce`
      hint: did you mean `cache`?
    deploy/compose.yaml:4:31: services.db.depends_on: services depend on each other in a cycle: db -> web -> db
      hint: remove one of these dependencies
    deploy/compose.yaml:4:76: services.db.depends_on.seed: the service `seed` is not active: none of its profiles is enabled
      hint: set COMPOSE_PROFILES=dev, or write `required: false` below it
    ");
    let asked = |profiles: &str, services: &[&str]| {
        let vars = BTreeMap::from([("COMPOSE_PROFILES".to_owned(), profiles.to_owned())]);
        let text = "
services:
  web: { build: ., image: x, depends_on: [seed] }
  seed: { build: ., image: y, profiles: [dev], depends_on: [nobody] }
";
        ask_with(text, services, None, &vars).map(|_| ()).unwrap_err().to_string()
    };
    assert!(asked("", &[]).contains("services.web.depends_on[0]: the service `seed` is not active"));
    for report in [asked("dev", &[]), asked("", &["seed"]), asked("*", &["web"])] {
        assert!(
            !report.contains("is not active") && report.contains("there is no service `nobody`"),
            "{report}"
        );
    }
}

#[test]
fn a_profile_that_hides_every_build_is_named() {
    let text = "services: { a: { build: ., image: x, profiles: [dev] }, b: { image: y } }";
    insta::assert_snapshot!(report(text), @r"
    deploy/compose.yaml:1:11: services: there is no service to build
      hint: `a` is built only in profile `dev`: name it with --services, or set COMPOSE_PROFILES=dev
    ");
}

#[test]
fn a_config_that_cannot_be_read_hides_no_mistake_of_the_compose_file() {
    let config = ConfigFile::unreadable(config::read("config.yaml", "global: [").unwrap_err());
    let vars = env();
    let (withheld, naming) = (Withheld::default(), Naming::default());
    let request = Request {
        config: Some(&config),
        services: &["a".to_owned(), "wbe".to_owned()],
        ..request(&vars, &withheld, &naming)
    };
    let report =
        read("compose.yaml", "services: { a: { build: . } }").unwrap().resolve(&request).unwrap_err();
    let report = report.to_string();
    assert!(report.contains("config.yaml:1:") && report.contains("no service `wbe`"), "{report}");
    // The destination may be in the config.
    assert_eq!(config.mistakes().len() + 1, report.matches("yaml:").count(), "{report}");
}

#[test]
fn what_a_variable_holds_is_not_shown() {
    for text in [
        "services: { a: { build: ., image: 'x y ${SECRET}' } }",
        "services: { a: { build: { context: ., platforms: ['${SECRET}'] }, image: x } }",
        "services: { a: { build: { context: '/${SECRET}' }, image: x } }",
        "services: { a: { build: { context: ., no_cache: '${SECRET}' }, image: x } }",
        "services: { a: { platform: '${SECRET}', build: ., image: x } }",
    ] {
        let report = report(text);
        assert!(!report.contains("hunter2"), "{text}: {report}");
    }
}

#[test]
fn probe_23_4_a_secret_of_the_environment_does_not_reach_a_build() {
    let keys = "
args: { T: '${GITHUB_TOKEN}', U: 'x${NO:-$GITHUB_TOKEN}', V: '${GITHUB_TOKEN:+set}', TAG: $TAG }
target: $GITHUB_TOKEN
labels: ['a=$GITHUB_TOKEN']
x-bake: { platforms: ['linux/${GITHUB_TOKEN}'] }
";
    insta::assert_snapshot!(report(&build(keys.trim())), @r"
    deploy/compose.yaml:6:18: services.web.build.args.T: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    deploy/compose.yaml:6:40: services.web.build.args.U: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    deploy/compose.yaml:7:15: services.web.build.target: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    deploy/compose.yaml:8:16: services.web.build.labels[0]: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    deploy/compose.yaml:9:29: services.web.build.x-bake.platforms[0]: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    ");
    let listed =
        "services: { a: { build: { context: ., args: [GITHUB_TOKEN] }, image: 'x:${GITHUB_TOKEN}' } }";
    insta::assert_snapshot!(report(listed), @r"
    deploy/compose.yaml:1:46: services.a.build.args[0]: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    deploy/compose.yaml:1:70: services.a.image: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    ");
    // What does not reach a build may hold it.
    let elsewhere = "services: { a: { build: ., image: x, environment: { T: $GITHUB_TOKEN } }, b: { image: $GITHUB_TOKEN } }";
    assert!(ask(elsewhere, &[], None).is_ok());
}

#[test]
fn the_value_of_a_secret_is_not_shown_wherever_it_stands() {
    let texts = [
        "services: { a: { build: ., image: x, depends_on: ['${SECRET}'] } }",
        "services: { a: { build: ., image: x, depends_on: 'b ${SECRET}' }, b: { image: y } }",
        "services: { a: { build: ., image: x, depends_on: [b] }, b: { image: y, profiles: ['${SECRET}'] } }",
        "services: { a: { build: ., image: x, profiles: '${SECRET} y' } }",
        "services: { a: { build: ., image: x, platform: 'linux/${SECRET}' } }",
    ];
    insta::assert_snapshot!(texts.map(report).join("\n"), @r"
    deploy/compose.yaml:1:51: services.a.depends_on[0]: there is no service `${SECRET}`
      hint: one of a
    deploy/compose.yaml:1:50: services.a.depends_on: expected a list or a mapping of services, found a single value
    deploy/compose.yaml:1:51: services.a.depends_on[0]: the service `b` is not active: none of its profiles is enabled
      hint: set COMPOSE_PROFILES=${SECRET}, or write `required: false` below it
    deploy/compose.yaml:1:11: services: there is no service to build
      hint: `a` is built only in profile `${SECRET} y`: name it with --services, or set COMPOSE_PROFILES=${SECRET} y
    deploy/compose.yaml:1:48: services.a.platform: `linux/${SECRET}`, with its variables replaced, is not a supported platform (linux/amd64, linux/arm64)
    ");
    for text in texts {
        assert!(!report(text).contains("hunter2"), "{text}");
    }
    // The client looks for the context.
    let resolved = ask("services: { a: { build: 'x/../${SECRET}', image: x } }", &[], None).unwrap();
    assert_eq!(resolved.written["deploy/hunter2"], "x/../${SECRET}");
}

#[test]
fn a_forgotten_blank_shows_no_secret() {
    let config = "global: { arch: amd64, password:hunter4secret, env: { MY_PASSWORD:hunter6secret } }\nkaniko-credentials:hunter5: x\n";
    let report = config::read("config.yaml", config)
        .unwrap()
        .resolve(Order::Sequential, &Naming::default())
        .unwrap_err();
    insta::assert_snapshot!(report, @r"
    config.yaml:1:9: global.kaniko.destination: no destination
      hint: set `kaniko.destination` (Compose: `image`), or `kaniko.no-push: true`
    config.yaml:1:24: global.password:***: unknown key
      hint: put a blank after `password:`
    config.yaml:1:81: global.env.MY_PASSWORD:***: not a valid variable name
      hint: put a blank after `MY_PASSWORD:`
    config.yaml:2:1: kaniko-credentials:***: unknown key
      hint: put a blank after `kaniko-credentials:`
    ");
}

#[test]
fn a_long_variable_is_a_mistake_at_its_place() {
    let vars = BTreeMap::from([("BIG".to_owned(), "x".repeat(100_000))]);
    let args = |count| {
        format!(
            "services: {{ a: {{ image: x, build: {{ context: ., args: {{ A: '{}', B: $BIG }} }} }} }}",
            "${BIG}".repeat(count)
        )
    };
    assert!(ask_with(&args(40), &[], None, &vars).is_ok());
    let report = ask_with(&args(41), &[], None, &vars).unwrap_err();
    insta::assert_snapshot!(report, @r"
    deploy/compose.yaml:1:313: services.a.build.args.B: with its variables replaced, the file has more than 4194304 bytes
      hint: use fewer variables with long values
    ");
}
