//! `dockerfile_inline`.

use super::merge::{merged, web};
use super::*;

/// The Dockerfile of the only task, and what is said about it.
fn planned(resolved: Result<Resolved, Report>) -> String {
    match resolved {
        Ok(Resolved { spec, notices, .. }) => {
            let kaniko = spec.services[0].tasks[0].kaniko.clone();
            let dockerfile = kaniko.dockerfile_inline.unwrap_or(kaniko.dockerfile);
            let notices = notices.iter().map(Notice::rendered);
            std::iter::once(dockerfile).chain(notices).collect::<Vec<_>>().join("\n")
        }
        Err(report) => report.to_string(),
    }
}

#[test]
fn it_is_the_dockerfile_with_its_variables_replaced() {
    let text = "target: prod\ndockerfile_inline: |\n  FROM alpine:$TAG AS prod\n  RUN echo $$HOME $${A:-b} $NOWHERE.";
    insta::assert_snapshot!(planned(ask(&build(text), &[], None)), @"
    FROM alpine:7 AS prod
    RUN echo $HOME ${A:-b} .

    deploy/compose.yaml:8:9: services.web.build.dockerfile_inline: the variable NOWHERE is not set: it counts as empty
      hint: write $$NOWHERE to leave it to the Dockerfile, or set it
    ");
    let secrets = "dockerfile_inline: 'RUN $MY_TOKEN'";
    let vars = BTreeMap::from([("MY_TOKEN".to_owned(), "hunter2".to_owned())]);
    let Resolved { notices, .. } = ask_with(&build(secrets), &[], None, &vars).unwrap();
    insta::assert_snapshot!(notices[0].rendered(), @"
    deploy/compose.yaml:6:26: services.web.build.dockerfile_inline: the value of MY_TOKEN can be read in the Dockerfile, the log and the image
      hint: use a build secret (`secrets`), or write $$MY_TOKEN to leave it to the Dockerfile
    ");
    insta::assert_snapshot!(report(&build("dockerfile_inline: RUN $GITHUB_TOKEN")), @"
    deploy/compose.yaml:6:26: services.web.build.dockerfile_inline: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    ");
}

#[test]
fn it_and_a_file_exclude_each_other_in_one_service_and_replace_each_other_over_the_config() {
    for (lines, config, expected) in [
        ("dockerfile: a\ndockerfile_inline: ''", "", "a"),
        ("dockerfile: ''\ndockerfile_inline: FROM a", "", "FROM a"),
        ("dockerfile_inline:", "", "Dockerfile"),
        ("dockerfile_inline: FROM a", "dockerfile: b", "FROM a"),
        ("dockerfile: a", "dockerfile-inline: FROM b", "a"),
        ("target: a", "dockerfile-inline: FROM b", "FROM b"),
    ] {
        let config = format!("global: {{ arch: amd64, kaniko: {{ {config} }} }}");
        let resolved = ask(&build(lines), &[], Some(&config));
        assert_eq!(planned(resolved.map(|it| Resolved { notices: Vec::new(), ..it })), expected, "{lines}");
    }
    insta::assert_snapshot!(report(&build("dockerfile: a\ndockerfile_inline: FROM b")), @"
    deploy/compose.yaml:7:26: services.web.build.dockerfile_inline: `dockerfile` is set too
      hint: keep one of them; `dockerfile: !reset` removes that of an earlier file
    ");
}

#[test]
fn a_later_file_wins() {
    let a = web("dockerfile_inline: FROM a");
    for (b, expected) in [
        ("dockerfile_inline: FROM b", "FROM b"),
        ("dockerfile_inline:", "FROM a"),
        ("dockerfile_inline: !reset\ndockerfile: b", "b"),
    ] {
        assert_eq!(planned(merged(&[&a, &web(b)])), expected, "{b}");
    }
    insta::assert_snapshot!(planned(merged(&[&a, &web("dockerfile: b")])), @"
    a.yaml:5:26: services.web.build.dockerfile_inline: `dockerfile` is set too
      hint: keep one of them; `dockerfile: !reset` removes that of an earlier file
    ");
}
