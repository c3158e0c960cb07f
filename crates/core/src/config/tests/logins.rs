//! Logins of config files.

use super::*;
use crate::message::Message;
use crate::secret::Secret;
use crate::spec::Credential;

/// Docker's logins: one for each registry that is named here.
struct Docker(&'static [&'static str]);

impl DockerLogins for Docker {
    fn find(&self, registry: &str) -> Result<Option<Credential>, Message> {
        let login = || Credential {
            registry: registry.to_owned(),
            username: "docker".to_owned(),
            password: "hunter2".into(),
        };
        Ok(self.0.contains(&registry).then(login))
    }
}

/// A checkout with `token` and `empty`.
struct TokenFiles;

impl SecretSources for TokenFiles {
    fn env(&self, _name: &str, _written: &str) -> Result<Secret, Message> {
        Err("is not set".into())
    }

    fn file(&self, path: &str, _written: &str, purpose: SecretPurpose) -> Result<Secret, Message> {
        match (path, purpose) {
            ("token", SecretPurpose::Login) => Ok("of-the-file\n".into()),
            ("empty", SecretPurpose::Login) => Ok("\n".into()),
            _ => Err("does not exist".into()),
        }
    }
}

fn logins(lines: &str) -> (Vec<String>, String) {
    logins_in(&with(lines), false, &["reg.test", "base.test"]).unwrap_or_else(|report| panic!("{report}"))
}

fn logins_in(
    text: &str,
    always: bool,
    docker: &'static [&'static str],
) -> Result<(Vec<String>, String), Report> {
    let surroundings = Surroundings { variables: Variables::None, secrets: &TokenFiles };
    let resolved =
        read_with("config.yaml", text, &surroundings)?.resolve(Order::Sequential, &Naming::default())?;
    let search = if always { LoginSearch::All } else { LoginSearch::AsFileSays };
    let Resolved { spec, plan, notices, .. } = resolved.with_docker_logins(search, &Docker(docker))?;
    let logins = &spec.services[0].tasks[0].credentials;
    // The plan is that of the spec.
    assert_eq!(plan.tasks().next().unwrap().1.spec.credentials, *logins);
    let logins = logins
        .iter()
        .map(|login| format!("{} {} {}", login.registry, login.username, login.password.expose()));
    Ok((logins.collect(), notices.iter().map(Notice::rendered).collect::<Vec<_>>().join("\n")))
}

fn mistakes(lines: &str) -> String {
    logins_in(&with(lines), false, &[]).expect_err(lines).to_string()
}

#[test]
fn case_05_one_newline_at_the_end_of_a_password_is_cut_and_said() {
    let login = |password: &str| {
        logins(&format!("kaniko-credentials:\n- registry: reg.test\n  username: ci\n  password: {password}"))
    };
    let (found, notices) = login("|\n    s3cret-registry-token-42");
    assert_eq!(found, ["reg.test ci s3cret-registry-token-42"]);
    assert_eq!(
        notices,
        "config.yaml:9:7: global.kaniko-credentials[0].password: ends with a newline, which is cut"
    );
    assert_eq!(login("\"a\\r\\n\"").0, ["reg.test ci a"]);
    let (found, notices) = login("\"a \\n\\n\"");
    assert_eq!(found, ["reg.test ci a \n"]);
    assert!(notices.contains("begins or ends with white space, which is kept"), "{notices}");
    assert_eq!(login("s3cret"), (vec!["reg.test ci s3cret".to_owned()], String::new()));
}

#[test]
fn case_22_a_json_key_stays_whole() {
    let key = "|\n    {\n      \"private_key\": \"a\\nb\"\n    }";
    let lines =
        format!("kaniko-credentials:\n- registry: reg.test\n  username: _json_key\n  password: {key}");
    let (found, notices) = logins(&lines);
    assert_eq!(found, ["reg.test _json_key {\n  \"private_key\": \"a\\nb\"\n}\n"]);
    assert_eq!(notices, "");
}

#[test]
fn a_user_name_that_basic_authentication_cannot_carry_is_refused() {
    for (name, said) in [("'a:b'", "cannot hold `:`"), ("\"ci\\n\"", "cannot hold control characters")] {
        let report =
            mistakes(&format!("kaniko-credentials: [{{ registry: r.test, username: {name}, password: p }}]"));
        assert!(report.contains(said), "{report}");
    }
}

#[test]
fn a_password_comes_from_a_file() {
    let login = |file: &str| {
        format!("kaniko-credentials: [{{ registry: r.test, username: u, password-file: {file} }}]")
    };
    let (found, notices) = logins(&login("token"));
    assert_eq!(found, ["r.test u of-the-file"]);
    assert!(notices.contains("ends with a newline, which is cut"), "{notices}");
    assert!(mistakes(&login("none")).contains("password-file: does not exist"));
    assert!(mistakes(&login("empty")).contains("password-file: the file is empty"));
}

#[test]
fn the_logins_of_docker_are_those_of_the_registries_that_are_named() {
    let both = vec!["reg.test docker hunter2".to_owned()];
    for lines in ["kaniko-credentials: docker", "kaniko-credentials: [docker]"] {
        assert_eq!(logins(lines), (both.clone(), String::new()), "{lines}");
    }
    assert_eq!(logins_in(BASE, true, &["reg.test", "base.test"]).unwrap().0, both);
    assert_eq!(logins_in(BASE, false, &["reg.test"]).unwrap().0, [""; 0]);
    // What the file says itself wins, in whichever order.
    let own = "kaniko-credentials: [docker, { registry: reg.test, username: me, password: own }]";
    assert_eq!(logins(own).0, ["reg.test me own"]);
    // A base image is not looked for: its registry is named.
    let (found, _) =
        logins("kaniko-credentials: [docker, { registry: https://base.test/v2/, credentials: docker }]");
    assert_eq!(found, ["base.test docker hunter2", "reg.test docker hunter2"]);
    let unpushed = BASE.to_owned() + "    no-push: true\n";
    assert_eq!(logins_in(&unpushed, true, &["reg.test"]).unwrap().0, [""; 0]);
    let tagged = BASE.to_owned() + "    tags: [base.test/a]\n";
    assert_eq!(logins_in(&tagged, true, &["reg.test", "base.test"]).unwrap().0.len(), 2);
    let cached = BASE.to_owned() + "    cache: { enable: true, repo: base.test/cache }\n";
    assert_eq!(logins_in(&cached, true, &["reg.test", "base.test"]).unwrap().0.len(), 2);
}

#[test]
fn a_login_that_docker_does_not_have_is_said() {
    let (found, notices) = logins_in(&with("kaniko-credentials: docker"), false, &[]).unwrap();
    assert!(found.is_empty());
    insta::assert_snapshot!(notices, @r"
    config.yaml:5:23: global.kaniko-credentials: docker has no login for reg.test
      hint: `docker login reg.test` adds it
    ");
    let report = mistakes("kaniko-credentials: [{ registry: base.test, credentials: docker }]");
    assert!(report.contains("kaniko-credentials[0]: docker has no login for base.test"), "{report}");
}

#[test]
fn a_login_has_one_source() {
    insta::assert_snapshot!(mistakes(
        "kaniko-credentials:
- { registry: a.test, username: u, password: p, password-file: token }
- { registry: b.test, username: u, credentials: docker }
- { registry: c.test, credentials: podman }
- { registry: d.test, username: u }
- { password: p }
- { registry: a.test, credentials: docker }
- { registry: e.test, credentials: docker }
- { registry: e.test, username: u, password: p }"
    ), @r"
    config.yaml:6:66: global.kaniko-credentials[0].password-file: a second source of the password beside `password`
      hint: remove `password-file` or the other
    config.yaml:7:35: global.kaniko-credentials[1].username: the user name is that of `docker login`
      hint: remove it
    config.yaml:8:38: global.kaniko-credentials[2].credentials: `podman` is not a valid value
      hint: `docker` is the only one
    config.yaml:9:5: global.kaniko-credentials[3]: `password` is missing
    config.yaml:10:5: global.kaniko-credentials[4]: `registry` is missing
    config.yaml:10:5: global.kaniko-credentials[4]: `username` is missing
    config.yaml:11:5: global.kaniko-credentials[5]: a second login for a.test
      hint: one login per registry: keep one
    config.yaml:13:5: global.kaniko-credentials[7]: a second login for e.test
      hint: one login per registry: keep one
    ");
}

#[test]
fn only_what_stands_in_the_file_makes_it_a_secret() {
    let holds = |lines: &str| {
        let vars = BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]);
        let variables = Variables::Of { vars: &vars, withheld: &|_, _| None };
        read_with("config.yaml", &with(lines), &Surroundings { variables, secrets: &TokenFiles })
            .unwrap()
            .holds_secrets()
    };
    let login = |field: &str| format!("kaniko-credentials: [{{ registry: r.test, username: u, {field} }}]");
    assert!(holds(&login("password: p")) && holds("env: { NPM_TOKEN: x }"));
    assert!(!holds(&login("password: '${TOKEN}'")) && !holds("env: { NPM_TOKEN: '${TOKEN}' }"));
    assert!(
        !holds(&login("password-file: token")) && !holds("kaniko-credentials: docker") && !holds("cpu: 1")
    );
}
