//! `extends`.

use super::*;

/// Files of `/work/shop`.
pub(super) struct Files<'a>(pub(super) &'a [(&'a str, &'a str)]);

impl OtherFiles for Files<'_> {
    fn exists(&self, path: &str) -> bool {
        self.read("", path).is_ok()
    }

    fn read(&self, _name: &str, path: &str) -> Result<String, Message> {
        let known = self.0.iter().find(|(name, _)| path == format!("/work/shop/{name}"));
        known.map(|(_, text)| (*text).to_owned()).ok_or_else(|| Message::new(format!("{path} is not there")))
    }
}

/// Resolves the first file; the others are read as they are named.
pub(super) fn extended(files: &[(&str, &str)]) -> Result<Resolved, Report> {
    read(files[0].0, files[0].1)?.resolve(&Request {
        folder: files[0].0.rsplit_once('/').map_or("/work/shop", |_| "/work/shop/deploy"),
        files: &Files(files),
        ..request(&env(), &Withheld::default(), &Naming::default())
    })
}

/// Each service: its images, context, arguments and flags.
pub(super) fn built(files: &[(&str, &str)]) -> String {
    let Resolved { spec, notices, .. } = extended(files).unwrap_or_else(|report| panic!("{report}"));
    let is_expected = |notice: &Notice| notice.rendered().contains("it is built once");
    assert!(notices.iter().all(is_expected), "{notices:?}");
    let line = |(name, tasks): (String, Vec<TaskSpec>)| {
        let kaniko = &tasks[0].kaniko;
        let args = kaniko.build_args.iter().map(|(name, value)| format!("{name}={value}"));
        let images = kaniko.destination.iter().chain(&kaniko.tags).map(ToString::to_string);
        let all: Vec<_> =
            images.chain([kaniko.context_path.clone()]).chain(args).chain(flags(kaniko)).collect();
        format!("{name}: {}", all.join(" "))
    };
    named(spec).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_service_has_what_it_extends() {
    let text = "
services:
  s: { image: reg.test/s, extends: { service: base } }
  base: { image: reg.test/base, build: { context: ., args: { A: 1, B: 2 }, target: dev, labels: [a=1] } }
  over:
    extends: s
    image: reg.test/over
    build: { context: ../over, args: [B=3], target: !reset , labels: !override [b=2] }
";
    insta::assert_snapshot!(built(&[("deploy/compose.yaml", text)]), @r"
    s: reg.test/s reg.test/base deploy A=1 B=2 --target=dev --label=a=1
    over: reg.test/over over A=1 B=3 --label=b=2
    ");
}

#[test]
fn a_file_that_is_extended_has_its_own_folder() {
    let text = "
services:
  web: { image: reg.test/web, extends: { file: '../${KIND:-common}/c.yaml', service: web } }
  own: { image: reg.test/own, extends: { file: ../common/c.yaml, service: web }, build: { context: ./own } }
  default: { image: reg.test/default, extends: { file: ../common/c.yaml, service: bare } }
";
    let common = "
services:
  web: { extends: { file: deep/d.yaml, service: web }, build: { args: { C: 1 } }, depends_on: !reset [x] }
  bare: { build: { target: prod } }
include: [ignored.yaml]
";
    let deep = "services: { web: { build: { context: app, args: { D: $TAG } }, depends_on: [gone] } }";
    let files = [("deploy/compose.yaml", text), ("common/c.yaml", common), ("common/deep/d.yaml", deep)];
    insta::assert_snapshot!(built(&files), @r"
    web: reg.test/web common/deep/app C=1 D=7
    own: reg.test/own deploy/own C=1 D=7
    default: reg.test/default deploy --target=prod
    ");
}

#[test]
fn mistakes_in_extends_are_all_reported() {
    let text = "
services:
  a: { image: x, extends: { file: ../c.yaml, service: wbe } }
  b: { image: x, extends: bse }
  base: { build: . }
  c: { extends: { file: none.yaml, service: x } }
  d: { extends: { file: ../c.yaml } }
  e: { extends: { fle: ../c.yaml, service: web } }
  f: { extends: [base] }
  g: { extends: h }
  h: { extends: { service: i } }
  i: { extends: g }
  j: { extends: i }
  k: { image: reg.test/k, extends: { file: ../c.yaml, service: bad } }
  l: { extends: { file: ../c.yaml, service: circle } }
  m: { extends: { file: ../broken.yaml, service: x } }
  n: { extends: { file: ../empty.yaml, service: x } }
  o: { extends: { file: 'https://example.com/c.yaml', service: x } }
  p: { extends: { file: ../c.yaml, service: scalar } }
  q: { extends: self }
  self: { extends: self }
";
    let common = "
services:
  web: { build: . }
  bad: { build: { contxt: . } }
  circle: { extends: { file: deploy/compose.yaml, service: l } }
  scalar: 1
";
    let files = [
        ("deploy/compose.yaml", text),
        ("c.yaml", common),
        ("broken.yaml", "services: ["),
        ("empty.yaml", "x-a: 1"),
    ];
    insta::assert_snapshot!(extended(&files).unwrap_err(), @r"
    deploy/compose.yaml:3:3: services: the service `base` has no `image`, so there is no name to push it to
      hint: --registry HOST/PATH (or BAKERY_REGISTRY, or `global.registry`) pushes them as HOST/PATH/<project>-<service>; --no-push only builds them
    deploy/compose.yaml:3:55: services.a.extends.service: there is no service `wbe` in c.yaml
      hint: did you mean `web`?
    deploy/compose.yaml:4:27: services.b.extends: there is no service `bse` in deploy/compose.yaml
      hint: did you mean `base`?
    deploy/compose.yaml:6:25: services.c.extends.file: /work/shop/deploy/none.yaml is not there
    deploy/compose.yaml:7:17: services.d.extends: `service` is missing
      hint: name the service to extend
    deploy/compose.yaml:8:19: services.e.extends.fle: unknown key
      hint: did you mean `file`?
    deploy/compose.yaml:8:44: services.e.extends.service: there is no service `web` in deploy/compose.yaml
      hint: one of a, b, base, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, self
    deploy/compose.yaml:9:17: services.f.extends: expected the name of a service, or `service` and `file`, found a list
    deploy/compose.yaml:12:17: services.i.extends: services extend each other in a circle: g -> h -> i -> g
      hint: remove one of these `extends`
    deploy/compose.yaml:15:17: services.l.extends: services extend each other in a circle: circle -> l (deploy/compose.yaml) -> circle
      hint: remove one of these `extends`
    deploy/compose.yaml:18:25: services.o.extends.file: a remote file is not supported
      hint: check it out and name the file
    deploy/compose.yaml:21:20: services.self.extends: services extend each other in a circle: self -> self
      hint: remove one of these `extends`
    c.yaml:4:27: services.k.build.contxt: unknown key
      hint: did you mean `context`?
    c.yaml:6:11: services.scalar: expected a mapping, found a single value
    broken.yaml:1:11: not valid YAML: unclosed bracket '['
      hint: check the indentation, and quote texts that hold `: `, `#`, `{`, `[`, `*`, `&` or `%`
    empty.yaml:1:1: `services` is missing
      hint: a Compose file lists its services there
    ");
}

#[test]
fn copies_are_bounded() {
    let args: Vec<_> = (0..1000).map(|nth| format!("A{nth}: 1")).collect();
    let many: Vec<_> = (0..2000).map(|nth| format!("  s{nth}: {{ extends: s }}\n")).collect();
    let text =
        format!("services:\n  s: {{ build: {{ args: {{ {} }} }} }}\n{}", args.join(", "), many.concat());
    let report = extended(&[("compose.yaml", &text)]).unwrap_err().to_string();
    assert!(report.contains("the services are too large once `extends` is resolved"), "{report}");
    // A long chain, from both ends, and one that ends in a mistake.
    for end in ["build: .", "extends: none"] {
        let chain: Vec<_> = (0..5000).map(|nth| format!("  s{nth}: {{ extends: s{} }}\n", nth + 1)).collect();
        let text = format!("services:\n{}  s5000: {{ {end} }}\n", chain.concat());
        let report = extended(&[("compose.yaml", &text)]).unwrap_err().to_string();
        let mistake =
            if end == "build: ." { "have no name to push to" } else { "there is no service `none`" };
        assert!(report.contains(mistake), "{}", &report[..1000.min(report.len())]);
    }
}

proptest! {
    #[test]
    fn no_extends_breaks_it(text in r"services:\n(  [abc]: \{ (build: [.x], )?extends: ([abcd]|\[a\]|\{ (file: [cd], )?service: [abc] \}) \}\n){1,3}") {
        let _ = extended(&[("deploy/compose.yaml", &text), ("deploy/c", &text)]);
    }
}
