//! All settings together, and what mistakes in them say.

use std::collections::BTreeMap;

use super::*;

pub(super) fn read(vars: &[(&str, &str)]) -> Result<Settings, BadSettings> {
    let mut all = BTreeMap::from([("HOME".to_owned(), "/home/baker".to_owned())]);
    all.extend(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Settings::read(&all, false)
}

#[test]
fn no_variable_at_all_is_a_working_single_machine_default() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(settings.data_dir, PathBuf::from("/home/baker/.local/share/bakery"));
    let minutes = |n| Duration::from_mins(n);
    let expected = Limits {
        max_runs: None,
        provision: minutes(5),
        task: minutes(10),
        bounds: TaskBounds { timeout: minutes(10), disk_mib: None },
        result: minutes(10),
        cpu_millis: 500,
        memory_mib: 2048,
    };
    assert_eq!(settings.limits, expected);
}

#[test]
fn all_mistakes_are_in_one_report_and_name_their_variables() {
    let error = read(&[
        ("BAKERY_LISTEN", "0.0.0.0:3000"),
        ("BUILD_TASK_TIMEOUT", "10 minutes"),
        ("DEFAULT_BUILD_MEMORY", "much"),
        ("ALLOW_EMULATION", "yes"),
        ("MAX_RUNS", "0"),
        ("CONTROLLER_URL", "bakery.example.com"),
        ("RUST_LOG", "bakery_server=loud"),
        ("BAKERY_LOG_FORMAT", "simple"),
    ])
    .unwrap_err();
    let names: Vec<_> = error.0.iter().map(|mistake| &*mistake.location.source).collect();
    let expected = [
        "BAKERY_TOKEN",
        "CONTROLLER_URL",
        "MAX_RUNS",
        "BUILD_TASK_TIMEOUT",
        "DEFAULT_BUILD_MEMORY",
        "ALLOW_EMULATION",
        "RUST_LOG",
        "BAKERY_LOG_FORMAT",
    ];
    assert_eq!(names, expected, "{error}");
    assert_eq!(error.to_string().matches("hint: ").count(), 8);
}

#[test]
fn a_task_may_request_as_much_time_as_others_have_unless_the_operator_allows_more() {
    let bounds = |vars: &[(&str, &str)]| read(vars).unwrap().limits.bounds;
    let default = ("BUILD_TASK_TIMEOUT", "20m");
    assert_eq!(bounds(&[default]), TaskBounds { timeout: Duration::from_mins(20), disk_mib: None });
    let set = bounds(&[default, ("MAX_TASK_TIMEOUT", "2h"), ("MAX_TASK_DISK", "100G")]);
    assert_eq!(set, TaskBounds { timeout: Duration::from_hours(2), disk_mib: Some(100 << 10) });
    let error = read(&[default, ("MAX_TASK_TIMEOUT", "5m"), ("MAX_TASK_DISK", "100")]).unwrap_err();
    insta::assert_snapshot!(error, @"
    2 mistakes in the settings
    MAX_TASK_TIMEOUT: is shorter than BUILD_TASK_TIMEOUT (20m)
      hint: set it to the longest time that a task may request
    MAX_TASK_DISK: `100` is not a valid size
      hint: for example 100G, at least 1G
    ");
}

#[test]
fn beyond_loopback_a_token_or_bakery_open_is_required() {
    assert!(read(&[("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_TOKEN", "0123456789abcdef")]).is_ok());
    assert!(read(&[("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_OPEN", "true")]).is_ok());
}

#[test]
fn a_token_over_plain_http_gives_a_warning_until_the_operator_accepts_it() {
    let warning = |vars: &[(&str, &str)]| read(vars).unwrap().warning();
    let (outside, token) = (("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_TOKEN", "flour-water-salt"));
    let text = warning(&[outside, token]).unwrap().rendered();
    assert!(text.contains("0.0.0.0:3000") && text.contains("BAKERY_INSECURE"), "{text}");
    assert!(!text.contains("flour"), "{text}");
    assert_eq!(warning(&[outside, token, ("BAKERY_INSECURE", "true")]), None);
    assert_eq!(warning(&[token]), None, "loopback");
    assert_eq!(warning(&[outside, ("BAKERY_OPEN", "true")]), None, "no token travels");
}

#[test]
fn registries_are_names_and_not_urls() {
    let good = [
        ("INSECURE_REGISTRIES", "reg.test, 10.0.0.1:5000,[::1]:5000"),
        ("REGISTRY_TRUSTED_HOSTS", "auth.test, auth.test:8443"),
        ("PUBLISH_ALLOW", "reg.test/shop"),
    ];
    let rules = read(&good).unwrap().registries;
    assert_eq!((rules.insecure.len(), rules.trusted.len(), rules.publish_allow.len()), (3, 2, 1));
    let bad = [
        ("INSECURE_REGISTRIES", "http://reg.test, reg.test:port"),
        ("REGISTRY_TRUSTED_HOSTS", "https://auth.test"),
        ("PUBLISH_ALLOW", "reg.test,a b,/shop"),
    ];
    let report = read(&bad).unwrap_err().to_string();
    for wrong in ["`http://reg.test`", "`reg.test:port`", "`https://auth.test`", "`a b`", "`/shop`"] {
        assert!(report.contains(wrong), "{wrong}: {report}");
    }
    assert!(!report.contains("`reg.test`"), "{report}");
}

#[test]
fn refused_flags_are_names_with_or_without_dashes() {
    let settings = read(&[("REFUSED_KANIKO_FLAGS", "--insecure, skip-tls-verify,")]).unwrap();
    let mut expected = RefusedFlags::default();
    for flag in ["insecure", "--skip-tls-verify"] {
        expected.add(flag).unwrap();
    }
    assert_eq!(settings.refused_flags, expected);
    let report = read(&[("REFUSED_KANIKO_FLAGS", "a=b,destination")]).unwrap_err().to_string();
    assert!(report.contains("`a=b` is not") && report.contains("every build needs it"), "{report}");
}

#[test]
fn mistakes_of_the_bucket_name_their_variable_once() {
    let error = read(&[("S3_BUCKET", "ab"), ("S3_SSL", "maybe")]).unwrap_err();
    let names: Vec<_> = error.0.iter().map(|mistake| &*mistake.location.source).collect();
    assert_eq!(names, ["S3_BUCKET", "S3_SSL"], "{error}");
    assert!(error.0.iter().all(|mistake| !mistake.text.contains("S3_")), "{error}");
}

#[test]
fn an_empty_value_counts_as_unset() {
    assert_eq!(read(&[("BAKERY_LISTEN", ""), ("MAX_RUNS", "")]).unwrap().limits.max_runs, None);
}

#[test]
fn a_login_in_a_url_is_refused_and_not_quoted() {
    let error = read(&[("CONTROLLER_URL", "http://baker:butter@h")]).unwrap_err().to_string();
    assert!(error.contains("CONTROLLER_URL: contains a user name") && !error.contains("butter"), "{error}");
    for name in ["S3_ENDPOINT", "BAKERY_LISTEN", "AGENT_IMAGE", "INSECURE_REGISTRIES", "PUBLISH_ALLOW"] {
        let error = read(&[("S3_BUCKET", "crumbs"), (name, "http://baker:butter@h:1/x")]).unwrap_err();
        assert!(error.to_string().contains(name) && !error.to_string().contains("butter"), "{error}");
    }
}

#[test]
fn a_token_that_no_header_carries_is_refused_and_not_quoted() {
    for token in ["brötchen", "flour and water", "flour\twater"] {
        let error = read(&[("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_TOKEN", token)]).unwrap_err();
        assert_eq!(error.0.len(), 1, "{error}");
        assert!(error.to_string().starts_with("1 mistake in the settings\nBAKERY_TOKEN: "), "{error}");
        assert!(!error.to_string().contains(token), "{error}");
    }
}

#[test]
fn a_token_is_not_shown() {
    let settings = read(&[("BAKERY_TOKEN", "flour-water-salt")]).unwrap();
    assert!(!format!("{settings:?}").contains("flour"));
}

#[test]
fn probe_01_a_short_token_is_a_mistake_wherever_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token").display().to_string();
    let mistake = |vars: &[(&str, &str)]| read(vars).map(drop).unwrap_err().to_string();
    let short = "hunter2-hunter2";
    std::fs::write(&path, format!("{short}\n")).unwrap();
    for (name, value) in [("BAKERY_TOKEN", short), ("BAKERY_TOKEN_FILE", &path)] {
        for listen in ["127.0.0.1:3000", "0.0.0.0:3000"] {
            let found = mistake(&[(name, value), ("BAKERY_LISTEN", listen), ("BAKERY_OPEN", "true")]);
            let text = format!(
                "1 mistake in the settings\n{name}: has fewer than 16 characters: it could be guessed\n  \
                 hint: create one with `openssl rand -hex 32`"
            );
            assert_eq!(found, text);
        }
    }
}

#[test]
fn a_token_is_read_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let name = path.display().to_string();
    let vars = [("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_TOKEN_FILE", &*name)];
    let mistake = |vars: &[(&str, &str)]| {
        let found = read(vars).map(drop).unwrap_err();
        assert_eq!(found.0.len(), 1, "{found}");
        found.to_string()
    };
    assert!(mistake(&vars).contains("token cannot be read: "));
    std::fs::write(&path, "\n").unwrap();
    assert!(mistake(&vars).contains("token is empty"));
    std::fs::write(&path, "x".repeat(5000)).unwrap();
    assert!(mistake(&vars).contains("token is larger than 4096 bytes"));
    assert!(mistake(&[("BAKERY_TOKEN_FILE", "/dev/zero")]).contains("is a device, not a regular file"));
    std::fs::write(&path, "flour-water-salt\r\n").unwrap();
    assert_eq!(read(&vars).unwrap().token.unwrap().expose(), "flour-water-salt");
    let both = mistake(&[vars[1], ("BAKERY_TOKEN", "flour-water-salt")]);
    assert!(both.contains("BAKERY_TOKEN_FILE: is set, and BAKERY_TOKEN too"), "{both}");
}
