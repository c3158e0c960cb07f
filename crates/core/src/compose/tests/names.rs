//! Names of images and of the project.

use super::*;
use crate::compose::dotenv as dotenv_of;
use crate::config::{ImagePrefix, ImageTag};
use crate::vars::Layered;

fn registry() -> Naming {
    Naming { registry: Some(ImagePrefix::parse("reg.test/team").unwrap()), ..Naming::default() }
}

fn resolve(
    text: &str,
    naming: &Naming,
    vars: &[(&str, &str)],
    config: Option<&str>,
) -> Result<Resolved, Report> {
    let vars: BTreeMap<_, _> =
        vars.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let config = config.map(|text| config::read("config.yaml", text).unwrap());
    read("compose.yaml", text)?.resolve(&Request {
        config: config.as_ref(),
        root: "/src/Bread Shop",
        folder: "/src/Bread Shop",
        ..request(&vars, &Withheld::default(), naming)
    })
}

/// The mistakes of a file in an environment with `GITHUB_TOKEN`, which none of them shows.
fn refusal(text: &str, dotenv: &str) -> String {
    let environment = BTreeMap::from([("GITHUB_TOKEN".to_owned(), "hunter2".to_owned())]);
    let vars = Layered { upper: &environment, lower: dotenv_of(".env", dotenv, &environment).unwrap() };
    let withheld = Withheld::of(&environment, &[], dotenv);
    let resolved = read("compose.yaml", text).unwrap().resolve(&request(&vars, &withheld, &registry()));
    let report = resolved.unwrap_err().to_string();
    assert!(report.contains("secret of the environment") && !report.contains("hunter2"), "{report}");
    report
}

fn images(resolved: Result<Resolved, Report>) -> Vec<String> {
    let spec = resolved.unwrap_or_else(|report| panic!("{report}")).spec;
    let tasks = spec.services.into_iter().flat_map(|service| service.tasks);
    let names = tasks.flat_map(|task| task.kaniko.destination.into_iter().chain(task.kaniko.tags));
    names.map(|image| image.to_string()).collect()
}

#[test]
fn a_service_without_an_image_is_named_as_compose_names_it() {
    let text = "services: { web: { build: . }, db: { build: ., image: reg.test/db } }";
    assert_eq!(images(resolve(text, &registry(), &[], None)), ["reg.test/team/breadshop-web", "reg.test/db"]);
    let tagged = Naming { tag: Some(ImageTag::parse("7").unwrap()), ..registry() };
    assert_eq!(images(resolve(text, &tagged, &[], None)), ["reg.test/team/breadshop-web:7", "reg.test/db:7"]);
    let named = format!("name: shop-${{STAGE:-x}}\n{text}");
    assert_eq!(images(resolve(&named, &registry(), &[], None))[0], "reg.test/team/shop-x-web");
    let vars = [("COMPOSE_PROJECT_NAME", "other")];
    assert_eq!(images(resolve(&named, &registry(), &vars, None))[0], "reg.test/team/other-web");
    let config = "global: { registry: reg.test/of-the-config }";
    assert_eq!(
        images(resolve(text, &Naming::default(), &[], Some(config)))[0],
        "reg.test/of-the-config/breadshop-web"
    );
    assert_eq!(images(resolve(text, &registry(), &[], Some(config)))[0], "reg.test/team/breadshop-web");
    let base = "global: { registry: reg.test/x, kaniko: { destination: reg.test/base } }";
    let alone = "services: { web: { build: . } }";
    assert_eq!(images(resolve(alone, &Naming::default(), &[], Some(base))), ["reg.test/base"]);
    assert_eq!(
        images(resolve("services: { web: { build: ., image: '' } }", &registry(), &[], None)),
        ["reg.test/team/breadshop-web"]
    );
}

#[test]
fn services_without_a_name_are_one_mistake_that_says_what_names_them() {
    let report = resolve("services: { a: { build: . }, b: { build: . } }", &Naming::default(), &[], None);
    insta::assert_snapshot!(report.unwrap_err().to_string(), @r"
    compose.yaml:1:11: services: services without an `image` have no name to push to: `a`, `b`
      hint: --registry HOST/PATH (or BAKERY_REGISTRY, or `global.registry`) pushes them as HOST/PATH/<project>-<service>; --no-push only builds them
    ");
    let report = resolve("name: '...'\nservices: { a: { build: . } }", &registry(), &[], None).unwrap_err();
    insta::assert_snapshot!(report.to_string(), @r"
    compose.yaml:1:7: name: not a name of a project
      hint: lower-case letters, digits, `-` and `_`, with a letter or a digit first
    ");
    let report = resolve("services: { Web: { build: . } }", &registry(), &[], None).unwrap_err();
    insta::assert_snapshot!(report.to_string(), @r"
    compose.yaml:1:18: services.Web: its image cannot be named after `Web`
      hint: names of images are lower-case: set `image`
    ");
}

#[test]
fn a_name_in_the_file_is_brought_to_composes_form_with_a_notice() {
    let text = "name: Bread Shop.1\nservices: { a: { build: { context: ., args: [COMPOSE_PROJECT_NAME] } } }";
    let resolved = resolve(text, &registry(), &[], None).unwrap();
    assert_eq!(
        resolved.notices[0].text,
        "what is not allowed in a project's name is left out, as in Compose"
    );
    assert_eq!(resolved.spec.services[0].tasks[0].kaniko.build_args["COMPOSE_PROJECT_NAME"], "breadshop1");
    assert_eq!(images(Ok(resolved)), ["reg.test/team/breadshop1-a"]);
}

#[test]
fn without_a_push_no_name_is_needed() {
    let naming = Naming { no_push: true, ..Naming::default() };
    let resolved = resolve("services: { a: { build: . } }", &naming, &[], None).unwrap();
    assert!(resolved.spec.services[0].tasks[0].kaniko.no_push);
    assert_eq!(resolved.notices[0].text, "has no `image`: built, and not pushed (--no-push)");
}

#[test]
fn case_01_the_projects_name_is_always_a_variable() {
    let text = "name: bread-shop\nservices:\n  web:\n    image: reg.test/reports/${COMPOSE_PROJECT_NAME}:1\n    build: { context: ., args: { PROJECT: $COMPOSE_PROJECT_NAME } }\n";
    let of = |vars: &[(&str, &str)]| {
        let spec = resolve(text, &Naming::default(), vars, None).unwrap().spec;
        let task = spec.services[0].tasks[0].kaniko.clone();
        (task.destination.unwrap().to_string(), task.build_args["PROJECT"].clone())
    };
    assert_eq!(of(&[]), ("reg.test/reports/bread-shop:1".to_owned(), "bread-shop".to_owned()));
    assert_eq!(of(&[("COMPOSE_PROJECT_NAME", "other")]).1, "other");
}

#[test]
fn probe_23_4_no_secret_of_the_environment_is_the_projects_name() {
    let services = "services: { web: { build: { context: ., args: { P: $COMPOSE_PROJECT_NAME } } } }";
    let of_file = refusal(&format!("name: x-${{GITHUB_TOKEN}}\n{services}"), "");
    assert!(of_file.starts_with("compose.yaml:1:7: name: "), "{of_file}");
    let of_dotenv = refusal(services, "COMPOSE_PROJECT_NAME=$GITHUB_TOKEN\n");
    assert!(of_dotenv.starts_with("COMPOSE_PROJECT_NAME: "), "{of_dotenv}");
}

#[test]
fn case_03_one_build_of_one_image_is_done_once() {
    let text = "x-app: &app { image: reg.test/app, build: . }\nservices: { web: *app, worker: *app }";
    let resolved = resolve(text, &Naming::default(), &[], None).unwrap();
    assert_eq!(resolved.spec.services.len(), 1);
    assert_eq!(resolved.notices[0].text, "the same build as `web`: it is built once");
    // Another build of the same image is still a clash.
    let text = "services: { a: { image: reg.test/app, build: . }, b: { image: reg.test/app, build: { context: ., target: x } } }";
    assert!(
        resolve(text, &Naming::default(), &[], None).unwrap_err().to_string().contains("is also pushed by")
    );
}

#[test]
fn no_secret_of_the_environment_is_the_default_platform() {
    let report = refusal("services: { a: { build: . } }", "DOCKER_DEFAULT_PLATFORM=$GITHUB_TOKEN\n");
    assert!(report.starts_with("DOCKER_DEFAULT_PLATFORM: "), "{report}");
}

#[test]
fn a_service_has_more_names_by_its_tags() {
    let text = "
services:
  a: { image: reg.test/a, build: { context: a, tags: ['reg.test/a:1', '', $NO, 'o.test/b:$TAG'], x-bake: { tags: [c] } } }
  b: { build: { context: b, tags: [reg.test/b, 'reg.test/b:2'] } }
";
    let found = images(resolve(text, &Naming::default(), &[("TAG", "7")], None));
    assert_eq!(
        found,
        ["reg.test/a", "reg.test/a:1", "o.test/b:7", "docker.io/library/c", "reg.test/b", "reg.test/b:2"]
    );
    let empty = "services: { a: { image: '${NO:-}', build: { tags: [reg.test/b] } } }";
    assert_eq!(images(resolve(empty, &Naming::default(), &[], None)), ["reg.test/b"]);
    let tagged = Naming { tag: Some(ImageTag::parse("9").unwrap()), ..registry() };
    let text = "services: { a: { image: reg.test/a, build: { tags: [reg.test/b] } } }";
    assert_eq!(images(resolve(text, &tagged, &[], None)), ["reg.test/a:9", "reg.test/b:9"]);
    let text = "services: { a: { image: reg.test/a, build: { tags: ['A B', 'reg.test/a@sha256:12'] } } }";
    insta::assert_snapshot!(resolve(text, &registry(), &[], None).unwrap_err(), @r"
    compose.yaml:1:53: services.a.build.tags[0]: `A B` is not an image reference
      hint: remove the blanks: REGISTRY/REPOSITORY:TAG
    compose.yaml:1:60: services.a.build.tags[1]: `reg.test/a@sha256:12` is not an image reference
      hint: REGISTRY/REPOSITORY:TAG
    ");
}

#[test]
fn services_with_the_same_build_are_built_once() {
    let text = "
services:
  a: { image: reg.test/a, build: . }
  b: { image: reg.test/b, build: { context: ., tags: [reg.test/a] } }
  c: { image: reg.test/a, build: . }
  d: { image: reg.test/d, build: { context: ., args: [A=1] } }
  e: { image: reg.test/e, build: { context: ., x-bake: { platforms: [linux/amd64] } } }
  f: { build: . }
";
    let Resolved { spec, notices, plan, .. } = resolve(text, &registry(), &[], None).unwrap();
    let names: Vec<_> = spec.services.iter().map(|service| service.name.as_ref().unwrap().as_str()).collect();
    assert_eq!(names, ["a", "d", "e"]);
    let published: Vec<_> =
        plan.targets[0].publish.as_ref().unwrap().names().map(ToString::to_string).collect();
    assert_eq!(published, ["reg.test/a:latest", "reg.test/b:latest", "reg.test/team/breadshop-f:latest"]);
    let notices: Vec<_> = notices.iter().map(Notice::rendered).collect();
    insta::assert_snapshot!(notices.join("\n"), @r"
    compose.yaml:4:6: services.b: the same build as `a`: it is built once, and also pushed as reg.test/b
    compose.yaml:5:6: services.c: the same build as `a`: it is built once
    compose.yaml:8:6: services.f: the same build as `a`: it is built once, and also pushed as reg.test/team/breadshop-f
    ");
}
