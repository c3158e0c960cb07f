//! Variables in config files.

use std::time::{Duration, Instant};

use super::*;
use crate::compose::Withheld;
use crate::secret::Secret;

fn environment() -> BTreeMap<String, String> {
    let vars = [
        ("TAG", "1.10"),
        ("EMPTY", ""),
        ("SIZE", "lots-of-it"),
        ("YES", "yes"),
        ("ARCH", "arm64"),
        ("NULL", "null"),
        ("CI_REGISTRY_PASSWORD", "of-the-registry"),
        ("GITHUB_TOKEN", "of-the-host"),
    ];
    vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn resolve_in(vars: &BTreeMap<String, String>, allowed: &[&str], text: &str) -> Result<Resolved, Report> {
    let allowed: Vec<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
    let withheld = Withheld::of(vars, &allowed, "");
    let refuses = |name: &str, purpose| withheld.refuses_for(name, purpose);
    let variables = Variables::Of { vars, withheld: &refuses };
    read_with("config.yaml", text, &Surroundings { variables, secrets: &() })?
        .resolve(Order::Sequential, &Naming::default())
}

fn resolved(text: &str) -> Resolved {
    resolve_in(&environment(), &[], text).unwrap_or_else(|report| panic!("{report}"))
}

fn task(text: &str) -> TaskSpec {
    resolved(&format!("variables: true\n{text}")).spec.services.remove(0).tasks.remove(0)
}

fn refused(text: &str) -> String {
    resolve_in(&environment(), &[], text).map(|_| ()).expect_err(text).to_string()
}

fn args(lines: &str) -> Vec<String> {
    let task = task(&baked(&format!("build-args:\n{lines}")));
    task.kaniko.build_args.into_values().collect()
}

#[test]
fn a_variable_is_replaced_in_braces_only_and_its_value_is_a_text() {
    let text = with("cpu: '${CPU:-2}'\nenv: { A: '${TAG}', B: $TAG, C: $$, D: '$${TAG}', E: '${EMPTY}' }")
        .replace("reg.test/a:1", "reg.test/a:${TAG:?which}")
        .replace("amd64", "${ARCH}");
    let task = task(&text);
    assert_eq!((task.arch.as_str(), task.cpu_millis), ("arm64", Some(2000)));
    assert_eq!(task.kaniko.destination.unwrap().to_string(), "reg.test/a:1.10");
    let env: Vec<_> = task.env.values().map(Secret::expose).collect();
    assert_eq!(env, ["1.10", "$TAG", "$$", "${TAG}", ""]);
    // Whatever YAML would make of it.
    assert_eq!(args("  A: ${YES}\n  B: ${NULL}\n  C: ${NO:-[x]}\n"), ["yes", "null", "[x]"]);
}

#[test]
fn an_empty_value_is_one_that_clears() {
    let text = with("cpu: 2") + "bake: [{ cpu: '${EMPTY}' }, {}]\n";
    let resolved = resolved(&text);
    let cpus: Vec<_> = resolved.plan.tasks().map(|(_, task)| task.spec.cpu_millis).collect();
    assert_eq!(cpus, [None, Some(2000)]);
}

#[test]
fn scripts_keep_their_variables() {
    let task = task(&with("pre-script: echo ${TAG} ${NO:?}\npost-script: 'echo ${'"));
    assert_eq!(task.pre_script.as_deref(), Some("echo ${TAG} ${NO:?}"));
    assert_eq!(task.post_script.as_deref(), Some("echo ${"));
}

#[test]
fn every_mistake_shows_the_file_and_no_value() {
    let report = refused(
        "global:
  arch: ${SIZE}
  cpu: '${SIZE}'
  env: { A: '${NO}${NEITHER}', B: '${', C: '${NO:?set ${TAG}}' }
  kaniko-credentials: [{ registry: 'https://${SIZE}/x', username: a, password: '${EMPTY}' }]
  kaniko:
    destination: ${SIZE}//a
    cache: { ttl: '${SIZE}', enable: '${YES}' }
    extra-flags: \"--label='${SIZE}\"
",
    );
    for value in ["lots-of-it", "1.10", "yes"] {
        assert!(!report.contains(value), "{report}");
    }
    insta::assert_snapshot!(report, @r"
    config.yaml:2:9: global.arch: `${SIZE}`, with its variables replaced, is not a valid value
      hint: it must be: `amd64` or `arm64`
    config.yaml:3:8: global.cpu: `${SIZE}`, with its variables replaced, is not a valid value
      hint: it must be: `0.5`, `500m`, `2`
    config.yaml:4:13: global.env.A: the variable NO is not set
      hint: set it, or write ${NO:-} for an empty text, or $${NO} for the text itself
    config.yaml:4:13: global.env.A: the variable NEITHER is not set
      hint: set it, or write ${NEITHER:-} for an empty text, or $${NEITHER} for the text itself
    config.yaml:4:35: global.env.B: `${` is not followed by a variable's name, an operator or `}`
      hint: `$${` is a literal `${`
    config.yaml:4:44: global.env.C: the variable NO is required and has no value: set ${TAG}
      hint: set NO in the environment or in .env
    config.yaml:5:36: global.kaniko-credentials[0].registry: `https://${SIZE}/x`, with its variables replaced, is not a valid value
      hint: it must be: `HOST` or `HOST:PORT`
    config.yaml:5:70: global.kaniko-credentials[0].password: is empty
      hint: if it comes from a variable, check that the variable is set
    config.yaml:7:18: global.kaniko.destination: `${SIZE}//a`, with its variables replaced, is not a valid value
      hint: it must be: image reference without digest
    config.yaml:8:19: global.kaniko.cache.ttl: `${SIZE}`, with its variables replaced, is not a valid value
      hint: it must be: duration: `24h`, `90m`
    config.yaml:8:38: global.kaniko.cache.enable: `${YES}`, with its variables replaced, is not a valid value
      hint: it must be: boolean
    config.yaml:9:18: global.kaniko.extra-flags: `--label='${SIZE}`, with its variables replaced, is not a valid value
      hint: it must be: string, quoted as in a shell
    ");
}

#[test]
fn a_mistake_in_a_list_a_map_or_a_secret_shows_no_value_either() {
    let report = refused(&baked(
        "registry-mirrors: ['${SIZE} x']
registry-map: { quay.io: '${SIZE} x' }
certificates: { quay.io: '../${SIZE}' }
secrets: [{ id: '${SIZE}/x', env: A }, { id: a, env: '${SIZE}' }, { id: b, file: '${SIZE}' }]
push-retry: ${SIZE}
extra-flags: --digest-file=${SIZE}",
    ));
    assert!(!report.contains("lots-of-it"), "{report}");
    insta::assert_snapshot!(report, @"
    config.yaml:5:24: global.kaniko.registry-mirrors[0]: `${SIZE} x`, with its variables replaced, is not a valid value
      hint: it must be: `HOST`, `HOST/PATH`
    config.yaml:6:30: global.kaniko.registry-map.quay.io: `${SIZE} x`, with its variables replaced, is not a valid value
    config.yaml:7:30: global.kaniko.certificates.quay.io: `../${SIZE}`, with its variables replaced, is not a valid value
    config.yaml:8:21: global.kaniko.secrets[0].id: `${SIZE}/x`, with its variables replaced, is not a valid value
      hint: it must be: letters, digits, `.`, `_`, `-`
    config.yaml:8:44: global.kaniko.secrets[1]: only bakery-client reads variables and files for secrets
      hint: submit the build with bakery-client
    config.yaml:8:71: global.kaniko.secrets[2]: only bakery-client reads variables and files for secrets
      hint: submit the build with bakery-client
    config.yaml:9:17: global.kaniko.push-retry: `${SIZE}`, with its variables replaced, is not a valid value
      hint: it must be: number from 0 to 20
    config.yaml:10:18: global.kaniko.extra-flags: `--digest-file=${SIZE}`, with its variables replaced, is not a valid value
      hint: it must be: string, quoted as in a shell
    ");
}

#[test]
fn a_secret_of_the_environment_is_for_logins_only() {
    let login = |field: &str| {
        format!("kaniko-credentials: [{{ registry: r.test, username: u, password: p, {field}: '${{GITHUB_TOKEN}}' }}]")
            .replace(&format!("{field}: {}, ", if field == "password" { "p" } else { "u" }), "")
    };
    for field in ["username", "password"] {
        assert_eq!(task(&with(&login(field))).credentials.len(), 1, "{field}");
    }
    for text in [
        baked("build-args: { password: '${GITHUB_TOKEN}' }"),
        with("env: { NPM_TOKEN: '${NO:-${CI_REGISTRY_PASSWORD}}' }"),
        BASE.replace("reg.test/a:1", "reg.test/a:${GITHUB_TOKEN}"),
        baked("extra-flags: '--label=${GITHUB_TOKEN}'"),
        with("kaniko-credentials: [{ registry: '${GITHUB_TOKEN}', username: u, password: p }]"),
    ] {
        let report = refused(&text);
        assert!(report.contains("is a secret of the environment: a build does not get it"), "{report}");
        assert!(report.contains("it can be the `password` or `username` of a login"), "{report}");
        assert!(report.contains("--allow-env") && !report.contains("of-the"), "{report}");
    }
    let text = baked("build-args: { A: '${GITHUB_TOKEN}' }");
    assert!(resolve_in(&environment(), &["GITHUB_TOKEN"], &text).is_ok());
}

#[test]
fn no_part_of_a_password_with_a_dollar_sign_is_shown() {
    let login = |password: &str| {
        with(&format!("kaniko-credentials: [{{ registry: r.test, username: u, password: '{password}' }}]"))
    };
    for text in ["hunter${2secret", "hunter${hunter}x", "x${hunter:?hunter}", "${TAG}${hunter", "x${hunter!}"]
    {
        for text in [login(text), with(&format!("env: {{ DB_PASSWORD: '{text}' }}"))] {
            let report = refused(&text);
            assert!(!report.contains("hunter") && report.contains("holds `${`, which does not"), "{report}");
        }
    }
    assert!(refused(&login("${NO}")).contains("the variable NO is not set"));
    let notices = resolved(&login("hunter$${2}")).notices;
    assert!(!notices.is_empty() && !format!("{notices:?}").contains("hunter"), "{notices:?}");
}

#[test]
fn the_first_variable_of_a_file_is_said_once_unless_the_file_says_that_it_is_meant() {
    let text = baked("build-args: { A: '${TAG}', B: '$${TAG}' }");
    let notices = |text: &str| {
        let notices = resolved(text).notices;
        notices.iter().map(Notice::rendered).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(notices(&text), @r"
    config.yaml:5:22: global.kaniko.build-args.A: `${NAME}` is now replaced by a variable (2 places in this file)
      hint: `variables: true` at the top says that this is meant, `variables: false` keeps every text; `$${` is a literal `${`
    ");
    assert_eq!(notices(&format!("variables: true\n{text}")), "");
    let literal = resolved(&format!("{text}variables: false\n"));
    assert!(literal.notices.is_empty());
    let args: Vec<_> = literal.spec.services[0].tasks[0].kaniko.build_args.values().collect();
    assert_eq!(args, ["${TAG}", "$${TAG}"]);
    assert_eq!(notices(&with("pre-script: echo ${TAG}")), "");
    let report = refused(&format!("variables: maybe\n{text}"));
    assert_eq!(report.lines().count(), 2, "{report}");
}

#[test]
fn without_surroundings_every_text_stays_as_it_is() {
    let Resolved { spec, notices, .. } = resolve(&baked("build-args: { A: '${TAG}' }")).unwrap();
    assert_eq!(spec.services[0].tasks[0].kaniko.build_args["A"], "${TAG}");
    assert!(notices.is_empty());
    let said = report(&format!("variables: true\n{BASE}"));
    assert!(said.starts_with("config.yaml:1:12: variables: only bakery-client replaces variables"), "{said}");
}

#[test]
fn variables_that_could_not_be_read_cause_no_further_mistake() {
    let surroundings = Surroundings { variables: Variables::Unknown, secrets: &() };
    let file = read_with("config.yaml", &with("cpu: '${CPU}'\nmemory: none"), &surroundings).unwrap();
    let mistakes = file.mistakes();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert_eq!(mistakes[0].location.path, "global.memory");
}

#[test]
fn a_long_variable_cannot_be_used_without_bound() {
    let mut vars = environment();
    vars.insert("LONG".to_owned(), "x".repeat(500_000));
    let args = (0..800).map(|nth| format!("\n      A{nth}: '${{LONG}}'")).collect::<Vec<_>>().concat();
    let one = format!("\n      A: '{}'", "${LONG}".repeat(800));
    let began = Instant::now();
    for args in [args, one] {
        let report = resolve_in(&vars, &[], &format!("{BASE}    build-args:{args}\n")).unwrap_err();
        assert_eq!(report.mistakes.len(), 1, "{report}");
        assert!(report.to_string().contains("has more than 4194304 bytes"), "{report}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
