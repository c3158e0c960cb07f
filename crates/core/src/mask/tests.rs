use proptest::prelude::*;

use super::*;
use crate::names::Arch;
use crate::spec::KanikoSpec;

#[test]
fn the_forms_of_secrets_are_masked() {
    for (text, shown) in [
        // Logins in URLs and without a scheme.
        ("http://me:hunter2@proxy:3128", "http://me:***@proxy:3128"),
        ("postgres://me:hun/ter2@db/app?x=1", "postgres://me:***@db/app?x=1"),
        ("https://me:p@ss@reg.test/a", "https://me:***@reg.test/a"),
        ("git clone https://0a1b2c3d@git.test/x", "git clone https://***@git.test/x"),
        ("me:hunter2@proxy:3128", "me:***@proxy:3128"),
        ("me:x@reg.test", "me:***@reg.test"),
        ("me:hunter2@db", "me:***@db"),
        ("me:p@ssw@10.0.0.1", "me:***@10.0.0.1"),
        ("root:hunter2@tcp(db:3306)/app", "root:***@tcp(db:3306)/app"),
        // Names.
        ("export DB_PASS=hunter2; make", "export DB_PASS=***; make"),
        ("GITHUB_PAT='a b' npm ci", "GITHUB_PAT='***' npm ci"),
        ("//npm.test/:_authToken=hunter2", "//npm.test/:_authToken=***"),
        ("Server=db;Password=hunter2;App=x", "Server=db;Password=***;App=x"),
        ("Server=db;Uid=me; Pwd=hunter2;", "Server=db;Uid=me; Pwd=***;"),
        ("AccountName=a;AccountKey=aHVudGVyMg==;X=y", "AccountName=a;AccountKey=***;X=y"),
        ("host=db password=hunter2", "host=db password=***"),
        ("password = hunter2", "password = ***"),
        ("  password: hunter2", "  password: ***"),
        (r#"{"password":"hunter2","a":1}"#, r#"{"password":"***","a":1}"#),
        (r#"-d "{\"token\": \"hunter2\"}""#, r#"-d "{\"token\": \"***\"}""#),
        ("https://x.test/?access_token=hunter2&a=b", "https://x.test/?access_token=***&a=b"),
        ("${DB_PASSWORD:-hunter2}", "${DB_PASSWORD:-***}"),
        // Flags.
        ("tool --reg-password hunter2 --x", "tool --reg-password *** --x"),
        ("tool --password=hunter2", "tool --password=***"),
        ("tool --token \\\n  'a b' x", "tool --token \\\n  '***' x"),
        ("docker login -u me -p hunter2 reg.test", "docker login -u me -p *** reg.test"),
        ("skopeo copy --src-creds me:hunter2 a b", "skopeo copy --src-creds *** a b"),
        ("http -a me:hunter2 x.test", "http -a me:*** x.test"),
        ("curl -u me:hunter2 https://x.test", "curl -u me:*** https://x.test"),
        ("curl -sSfu me:hunter2 https://x.test", "curl -sSfu me:*** https://x.test"),
        ("curl --user=me:hunter2 https://x.test", "curl --user=me:*** https://x.test"),
        ("curl --proxy-user='me:hun ter2' x", "curl --proxy-user='me:***' x"),
        ("docker login -u=me -p=hunter2 reg.test", "docker login -u=me -p=*** reg.test"),
        ("npm config set //npm.test/:_authToken hunter2", "npm config set //npm.test/:_authToken ***"),
        ("npm config set _password 'hunter2'", "npm config set _password '***'"),
        ("mysql -uroot -phunter2 app", "mysql -uroot -p*** app"),
        (
            "echo hunter2 | docker login --password-stdin reg.test",
            "echo *** | docker login --password-stdin reg.test",
        ),
        ("docker login --password-stdin <<< hunter2", "docker login --password-stdin <<< ***"),
        ("echo 'machine x login me password hunter2' >f", "echo 'machine x login me password ***' >f"),
        ("FROM x\nENV DB_PASSWORD hunter2 x\nENV A b", "FROM x\nENV DB_PASSWORD ***\nENV A b"),
        ("ENV DB_PASSWORD=hunter2 A=b", "ENV DB_PASSWORD=*** A=b"),
        // Headers.
        ("curl -H 'Authorization: Bearer hunter2'", "curl -H 'Authorization: Bearer ***'"),
        ("-H \"authorization: Basic bWU6aHVudGVyMg==\"", "-H \"authorization: Basic ***\""),
        ("--header=\"Authorization: hunter2\" x", "--header=\"Authorization: ***\" x"),
        ("bearer 0123456789abcdef", "bearer ***"),
        ("Basic bWU6aHVudGVyMg==", "Basic ***"),
        ("-H 'PRIVATE-TOKEN:hunter2'", "-H 'PRIVATE-TOKEN:***'"),
        ("-H 'X-Api-Key: hunter2'", "-H 'X-Api-Key: ***'"),
        // Tokens of well-known services, and private keys.
        ("fetch ghp_0123456789abcdefABCDEF0123456789abcd now", "fetch *** now"),
        ("x glpat-0123456789abcdefghij", "x ***"),
        ("sk_live_0123456789abcdef sk_test_0123456789abcdef", "*** ***"),
        ("key=AIzaSyA0123456789abcdefghijklmnopqrstuv", "key=***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "***"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----",
        ),
    ] {
        assert_eq!(super::text(text, Form::Script), shown, "{text}");
    }
}

#[test]
fn what_is_not_a_secret_stays() {
    let digest = format!("reg.test/app:1.2@sha256:{}", "0f".repeat(32));
    for text in [
        digest.as_str(),
        &format!("FROM=alpine@sha256:{}", "0f".repeat(32)),
        "a:b@c",
        "cp /src/a:b@c.d /x",
        "3df25bb0c6a1f4d27e9a1b2c3d4e5f6071829304",
        "git@github.com:org/repo.git",
        "ssh://git@github.com/org/repo",
        "https://reg.test:5000/a@b",
        "http://proxy:3128",
        "npm i lodash@4.17.21 npm:react@18 @scope/x@latest",
        "go install example.com/x@v1.2.3 tool:x@v1.2.3",
        "mailto:someone@example.com",
        "mkdir -p out && cp -p a b",
        "docker run --user 1000:1000 -p 80:80 x",
        "docker login --password-stdin reg.test < file",
        "tool --token-file /run/token --secret id=npm,src=/run/npm --secret-id prod/db",
        "--credential-helpers=ecr-login",
        "reg.test/secret:latest",
        "[ \"$TOKEN\" == x ] || exit 1",
        "TOKEN= make",
        "--password \"$PW\" --token ${T} https://me:$PW@reg.test Authorization: Bearer $T",
        "TOKEN=$(cat /run/token) PASS=`cat f`",
        "SSH_AUTH_SOCK=/run/x PATH=/bin:/usr/bin CACHE_KEY=abc",
        "npm_config_registry_and_other_settings_of_it=1",
        "Basic settings, basic authentication and Basic 1234",
        "curl -sSfL https://x.test --user-agent=a:b",
        "npm config set registry https://x.test; grep _authToken .npmrc",
        "docker run -p=80:80 -u=1:2 x",
        "make TARGET=prod VERSION=1.2.3; PWD=/src make",
    ] {
        assert_eq!(super::text(text, Form::Script), text);
    }
    // Variables are not expanded in a plain text: this is a password.
    assert_eq!(super::text("https://me:$PW@reg.test", Form::Plain), "https://me:***@reg.test");
}

/// Each text consists of beginnings of secrets that never end. A search that reads the text before or after each of
/// them takes some 10^11 steps for 1 MiB, and this test then runs for more than an hour.
#[test]
fn a_text_made_to_be_slow_is_searched_in_linear_time() {
    for piece in [
        "@",
        "a:b@",
        "://",
        "http://a:b/",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "token=",
        "${token:-",
        "token='",
        "authorization:",
        "authorization: bearer ",
        "ghp_",
        "eyJ-",
        "npm_",
        "a:$a",
        "--password-stdin ",
        "--password-stdin <<< ",
        "echo a ",
    ] {
        let len = if ["@", "://", "-----BEGIN "].contains(&piece) { 1 << 20 } else { 1 << 18 };
        let text = format!("echo a:{}", piece.repeat(len / piece.len()));
        for form in [Form::Plain, Form::Script] {
            assert!(super::text(&text, form).len() <= 2 * text.len(), "{piece}");
        }
    }
}

fn task() -> TaskSpec {
    let map = |name: &str, value: &str| std::iter::once((name.to_owned(), value.into())).collect();
    TaskSpec {
        platform: None,
        arch: Arch::Amd64,
        cpu_millis: None,
        memory_mib: None,
        disk_mib: None,
        timeout_seconds: None,
        env: map("SENTRY_DSN", "sesame-open"),
        pre_script: Some("echo sesame-open; tool --password hunter2\necho hunter2 true".to_owned()),
        post_script: None,
        credentials: Vec::new(),
        kaniko: KanikoSpec {
            extra_flags: ["--reg-password", "correct; horse", "--label=a=b", "--label", "x.token=a b"]
                .map(str::to_owned)
                .into(),
            ..KanikoSpec::default()
        },
    }
}

#[test]
fn a_secret_is_masked_wherever_it_occurs() {
    let task = task();
    let mask = Mask::of([&task], &["from-the-shell".into(), "true".into(), "demo".into()]);
    let script = mask.text(task.pre_script.as_deref().unwrap(), Form::Script);
    assert_eq!(script, "echo ***; tool --password ***\necho *** true");
    assert_eq!(
        mask.arguments(&task.kaniko.extra_flags),
        ["--reg-password", "***", "--label=a=b", "--label", "x.token=***"]
    );
    let args = ["--build-arg=URL=a/from-the-shell", "correct; horse", "--cache=true"].map(str::to_owned);
    assert_eq!(mask.arguments(&args), ["--build-arg=URL=a/***", "***", "--cache=true"]);
    assert_eq!((mask.value("A_PAT", "x"), mask.value("A", "demo.x")), ("***".to_owned(), "***.x".to_owned()));
    assert_eq!(mask.reference("reg.test/demo/from-the-shell"), "reg.test/demo/***");
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in r#"(token|password|--password|authorization|bearer |echo|-stdin|login|-p|://|@|=|:|[$][{]|[}]|ü|\\|\n| |["'|;<.-]|eyJ){0,30}"#) {
        for form in [Form::Script, Form::Plain] {
            super::text(&text, form);
        }
        Mask::default().arguments(&[text.clone(), text]);
    }
}

#[test]
fn case_16_a_variable_that_kaniko_gets_as_a_secret_is_one_whatever_its_name() {
    let mut task = task();
    task.env.insert("DEPLOY".to_owned(), "tok-4711-do-not-show".into());
    task.kaniko.extra_flags = ["--secret", "id=tok,env=DEPLOY"].map(str::to_owned).into();
    let mask = Mask::of([&task], &[]);
    assert_eq!(mask.value("DEPLOY", "tok-4711-do-not-show"), "***");
    assert_eq!(mask.text("echo tok-4711-do-not-show", Form::Script), "echo ***");
    assert_eq!(mask.arguments(&task.kaniko.extra_flags), ["--secret", "id=tok,env=DEPLOY"]);
}

#[test]
fn a_plan_masks_a_secret_in_every_encoding() {
    let (mut one, mut other) = (task(), task());
    one.env.insert("TOKEN".to_owned(), "hunter2-secret".into());
    other.pre_script =
        Some("echo aHVudGVyMi1zZWNyZXQ=\necho hun\x1b[0mter2-secret 68756e746572322d736563726574".to_owned());
    let mask = Mask::of([&one, &other], &[]);
    let script = other.pre_script.unwrap();
    assert_eq!(mask.text(&script, Form::Script), "echo ***=\necho *** ***");
}
