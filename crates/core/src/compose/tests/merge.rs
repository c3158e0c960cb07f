//! Several files: what the later ones change.

use super::*;

pub(super) fn merged(files: &[&str]) -> Result<Resolved, Report> {
    let read = |(nth, text): (usize, &&str)| read(["a.yaml", "b.yaml", "c.yaml"][nth], text);
    let files: Vec<_> = files.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let file = files.into_iter().reduce(ComposeFile::with).unwrap();
    file.resolve(&request(&env(), &Withheld::default(), &Naming::default()))
}

/// The settings of the only task.
fn only(files: &[&str]) -> KanikoSpec {
    let Resolved { spec, notices, .. } = merged(files).unwrap_or_else(|report| panic!("{report}"));
    assert!(notices.is_empty(), "{notices:?}");
    let mut tasks: Vec<_> = spec.services.into_iter().flat_map(|service| service.tasks).collect();
    assert_eq!(tasks.len(), 1);
    tasks.remove(0).kaniko
}

fn args(kaniko: &KanikoSpec) -> String {
    let args: Vec<_> = kaniko.build_args.iter().map(|(name, value)| format!("{name}={value}")).collect();
    args.join(" ")
}

/// One service with these lines below `build`.
pub(super) fn web(lines: &str) -> String {
    let head = "services:\n  web:\n    image: reg.test/web\n    build:\n".to_owned();
    lines.lines().fold(head, |text, line| text + "      " + line + "\n")
}

#[test]
fn a_later_file_changes_values_key_by_key() {
    let a = "
name: shop
services:
  web: { image: reg.test/web, build: ../web, command: [a], ports: ['1'] }
  db: { image: postgres }
";
    let b = "
services:
  web: { build: { dockerfile: prod.Dockerfile, target: prod }, command: x, ports: { odd: 1 } }
  db:
  worker: { image: reg.test/worker, build: . }
";
    let Resolved { spec, .. } = merged(&[a, b]).unwrap();
    let [(web, of_web), (worker, _)] = named(spec).try_into().unwrap();
    assert_eq!((web.as_str(), worker.as_str()), ("web", "worker"));
    let kaniko = &of_web[0].kaniko;
    assert_eq!((kaniko.context_path.as_str(), kaniko.dockerfile.as_str()), ("web", "prod.Dockerfile"));
    assert_eq!(flags(kaniko), ["--target=prod"]);
    // The short form in the later file, and three files.
    let c = "services: { web: { image: reg.test/other, build: ../c } }";
    let kaniko = merged(&[a, b, c]).unwrap().spec.services.remove(0).tasks.remove(0).kaniko;
    assert_eq!((kaniko.context_path.as_str(), kaniko.dockerfile.as_str()), ("c", "prod.Dockerfile"));
    assert_eq!(kaniko.destination.unwrap().to_string(), "reg.test/other");
}

#[test]
fn an_empty_file_changes_nothing_unless_all_are_empty() {
    assert_eq!(args(&only(&["", &web("args: [A=1]"), "# nothing"])), "A=1");
    for files in [&[""][..], &["", "---"], &["~", "", "# nothing"]] {
        let Err(report) = merged(files) else { panic!("{files:?} was taken") };
        let text = report.to_string();
        assert!(
            text.contains("a.yaml:1:") && text.contains("a mapping with `services`"),
            "{files:?}: {text}"
        );
    }
}

#[test]
fn arguments_and_labels_are_merged_by_name_in_both_forms() {
    for (a, b, expected) in [
        ("args: { A: 1, B: 2 }", "args: { B: 3, C: 4 }", "A=1 B=3 C=4"),
        ("args: [A=1, B=2]", "args: [B=3, C=4]", "A=1 B=3 C=4"),
        ("args: { A: 1, B: $TAG }", "args: [B=3, C=$TAG]", "A=1 B=3 C=7"),
        ("args: [A=1, 'B=2']", "args: { B: '$TAG', C: a=b }", "A=1 B=7 C=a=b"),
        // A name without a value takes the variable's, also over an earlier value.
        ("args: { GO: 1, A: 1 }", "args: { GO: }", "A=1 GO=1.25"),
        ("args: { GO: 1, A: 1 }", "args: [GO]", "A=1 GO=1.25"),
        ("args: { A: 1 }", "args:", "A=1"),
        ("args:", "args: { A: 1 }", "A=1"),
    ] {
        assert_eq!(args(&only(&[&web(a), &web(b)])), expected, "{a} {b}");
    }
    let kaniko = only(&[&web("labels: [a=1, b=2]"), &web("labels: { b: 3 }")]);
    assert_eq!(flags(&kaniko), ["--label=a=1", "--label=b=3"]);
}

#[test]
fn lists_are_appended_and_platforms_are_once() {
    let archs = |a: &str, b: &str| {
        let Resolved { spec, notices, .. } = merged(&[&web(a), &web(b)]).unwrap();
        assert!(notices.is_empty(), "{notices:?}");
        super::archs(&spec.services[0].tasks).join(" ")
    };
    let both = "platforms: [linux/amd64, linux/arm64]";
    assert_eq!(archs("platforms: [linux/amd64]", both), "amd64 arm64");
    assert_eq!(archs(both, "platforms: [linux/amd64]"), "amd64 arm64");
    assert_eq!(archs(both, "platforms: !override [linux/arm64]"), "arm64");
    assert_eq!(
        archs("x-bake: { platforms: [linux/amd64] }", &format!("x-bake: {{ {both} }}")),
        "amd64 arm64"
    );
    let profiles = |b: &str| {
        let a = "services: { web: { image: reg.test/web, build: ., profiles: [dev] } }";
        merged(&[a, &format!("services: {{ web: {{ profiles: {b} }} }}")]).is_ok()
    };
    assert!(!profiles("[x]") && profiles("!reset") && profiles("!override []"));
}

#[test]
fn tags_remove_and_replace() {
    let a = web("context: ../web\ntarget: dev\nargs: { A: 1, B: 2 }\nlabels: [a=1]");
    for (b, expected) in [
        ("target: !reset null", "web --label=a=1 A=1 B=2"),
        ("args: !reset {}", "web --target=dev --label=a=1 "),
        ("args: { A: !reset , C: 3 }", "web --target=dev --label=a=1 B=2 C=3"),
        ("args: !override { C: 3 }", "web --target=dev --label=a=1 C=3"),
        ("labels: { a: !reset }", "web --target=dev A=1 B=2"),
        ("context: !reset", "deploy --target=dev --label=a=1 A=1 B=2"),
    ] {
        let kaniko = only(&[&a, &web(b)]);
        let all = [vec![kaniko.context_path.clone()], flags(&kaniko), vec![args(&kaniko)]].concat();
        assert_eq!(all.join(" "), expected, "{b}");
    }
    let whole = "services: { web: { build: !override { context: ../x } } }";
    let kaniko = only(&[&a, whole]);
    assert_eq!((kaniko.context_path.as_str(), flags(&kaniko).len(), args(&kaniko)), ("x", 0, String::new()));
    let short = "services: { web: { image: reg.test/web, build: ../web } }";
    assert_eq!(only(&[short, "services: { web: { build: { context: !reset } } }"]).context_path, "deploy");
    let other = "services: { web: !reset null, other: { image: reg.test/other, build: . } }";
    assert_eq!(only(&[&a, other]).destination.unwrap().to_string(), "reg.test/other");
    // In one file alone.
    assert_eq!(args(&only(&[&web("args: !override { A: 1, B: !reset 2 }\ntarget: !reset x")])), "A=1");
    let report = merged(&[&web("target: !reset x\nargs: !fancy { A: 1 }")]).unwrap_err();
    insta::assert_snapshot!(report, @r"
    a.yaml:6:20: services.web.build.args: the tag `!fancy` is not supported
      hint: a Compose file has the tags `!reset` and `!override`
    ");
}

#[test]
fn a_mistake_names_the_line_of_its_own_file() {
    let b = "\nservices:\n  web: { image: 'A B' }\n  worker: { build: { contxt: . }, depends_on: [wbe] }\n";
    let c = "services: { web: { build: { args: 1, platforms: x } } }\nversion: 1\nservice: {}";
    insta::assert_snapshot!(merged(&[&web("args: [A=1]\nplatforms: [linux/amd64]"), b, c]).unwrap_err(), @r"
    a.yaml:2:3: services: the service `worker` has no `image`, so there is no name to push it to
      hint: --registry HOST/PATH (or BAKERY_REGISTRY, or `global.registry`) pushes them as HOST/PATH/<project>-<service>; --no-push only builds them
    b.yaml:3:17: services.web.image: `A B` is not an image reference
      hint: remove the blanks: REGISTRY/REPOSITORY:TAG
    b.yaml:4:30: services.worker.build.contxt: unknown key
      hint: did you mean `context`?
    b.yaml:4:48: services.worker.depends_on[0]: there is no service `wbe`
      hint: did you mean `web`?
    c.yaml:1:35: services.web.build.args: expected a list, found a single value
      hint: it changes a.yaml:5; `!override` replaces that value
    c.yaml:1:49: services.web.build.platforms: expected a list, found a single value
      hint: it changes a.yaml:6; `!override` replaces that value
    c.yaml:3:10: service: unknown key
      hint: did you mean `services`?
    ");
    insta::assert_snapshot!(merged(&["services: { a: }", "[]"]).unwrap_err(), @r"
    a.yaml:1:14: services.a: expected a mapping, found nothing
      hint: a service is written as `NAME: { image: .., build: .. }`
    b.yaml:1:1: expected a Compose file: a mapping with `services`, found a list
    ");
    insta::assert_snapshot!(merged(&["", ""]).unwrap_err(), @r"
    a.yaml:1:1: expected a Compose file: a mapping with `services`, found nothing
    b.yaml:1:1: expected a Compose file: a mapping with `services`, found nothing
    ");
}

#[test]
fn dependencies_are_merged_as_names() {
    let a = "services: { db: { image: x }, q: { image: x }, web: { image: reg.test/web, build: ., depends_on: [db] } }";
    for (b, good) in [
        ("[db, q]", true),
        ("{ q: { condition: service_started } }", true),
        ("{ db: { required: false } }", true),
        ("[zz]", false),
    ] {
        let b = format!("services: {{ web: {{ depends_on: {b} }} }}");
        assert_eq!(merged(&[a, &b]).is_ok(), good, "{b}");
    }
    let b = "services: { db: !reset , web: { depends_on: { db: !reset } } }";
    assert!(merged(&[a, b]).is_ok());
}

#[test]
fn the_values_of_variables_are_bounded_over_all_files() {
    let big = BTreeMap::from([("BIG".to_owned(), "x".repeat(100_000))]);
    let file = |name: &str, service: &str| {
        let args: Vec<_> = (0..30).map(|nth| format!("A{nth}: $BIG")).collect();
        let args = args.join(", ");
        let text = format!(
            "services: {{ {service}: {{ image: reg.test/{service}, build: {{ args: {{ {args} }} }} }} }}"
        );
        read(name, &text).unwrap()
    };
    let report = |file: ComposeFile| {
        let resolved = file.resolve(&request(&big, &Withheld::default(), &Naming::default()));
        resolved.map(|_| ()).map_err(|report| report.to_string())
    };
    let text = report(file("a.yaml", "a").with(file("b.yaml", "b"))).unwrap_err();
    assert!(text.contains("b.yaml:1:") && text.contains("with its variables replaced"), "{text}");
}

proptest! {
    #[test]
    fn no_pair_of_files_breaks_it(a in TEXT, b in TEXT, c in TEXT) {
        let _ = merged(&[&a, &b, &c]);
    }

    /// A file merged over itself is the file: nothing is appended twice.
    #[test]
    fn a_file_over_itself_changes_nothing(args in "(A=1|B=2|C)(, (A=3|D))?", labels in "a: 1(, b: 2)?", other in "(target: x|dockerfile: y|no_cache: true)?") {
        let text = web(&format!("args: [{args}]\nlabels: {{ {labels} }}\nplatforms: [linux/amd64]\n{other}"));
        let once = merged(&[&text]).map(|resolved| resolved.spec);
        prop_assert_eq!(merged(&[&text, &text]).map(|resolved| resolved.spec), once);
    }
}

const TEXT: &str = r"services: \{ web: (!override |!reset )?(\{ build: (x|\[\]|\{ (args: (!reset )?(\[A=1\]|\{ A: !reset 1 \}|1), )?(platforms: \[linux/amd64\], )?context: (!override )?. \}), image: reg.test/x(, depends_on: (\[web\]|\{ web: x \}|\[\[\]\]))? \}|x|\[\]) \}";
