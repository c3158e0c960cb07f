//! Whether Bakery's plan is what Compose would build, field by field.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use bakery_core::compose::{Fate, SECTIONS};
use bakery_core::image::ImageRef;
use serde_json::Value;

use crate::programs::{ComposeBuild, Plan, REGISTRY};

/// Where Kaniko finds the source.
const SOURCE: &str = "/kaniko/bakery/ctx";
/// Where it finds a Dockerfile that is not a file of the source.
const INLINE: &str = "/kaniko/bakery/Dockerfile.inline";
/// The repository of the cache in the config files of the corpus.
const CACHE_OF_CONFIG: &str = "r.test/cache";

/// A target of the plan, as Compose has it.
#[derive(Debug, Default, PartialEq)]
struct BakeryBuild {
    image: String,
    /// More names of it.
    tags: BTreeSet<String>,
    context: String,
    /// Empty if it is not a file.
    dockerfile: String,
    dockerfile_inline: String,
    args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    platforms: BTreeSet<String>,
    target: String,
    /// The ids of the build secrets.
    secrets: BTreeSet<String>,
    /// The repository of Kaniko's cache, if it is used.
    cache: Option<String>,
}

/// Every difference, one line each. `cache` is whether the config file turns the cache on.
pub(crate) fn differences(
    compose: &BTreeMap<String, ComposeBuild>,
    plan: &Plan,
    cache: bool,
) -> Result<Vec<String>> {
    let document = plan.document.as_ref().context("no plan")?;
    let mut found = Vec::new();
    let mut planned = BTreeMap::new();
    for target in document["targets"].as_array().context("targets")? {
        let service = target["service"].as_str().context("service")?;
        planned.insert(service.to_owned(), planned_build(target)?);
    }
    for name in planned.keys().filter(|name| !compose.contains_key(*name)) {
        found.push(format!("{name}: only Bakery builds it"));
    }
    for (name, build) in compose {
        notices(name, build, &plan.messages, &mut found);
        if let Some(own) = planned.get(name) {
            let joined = compose.iter().filter(|(name, _)| !planned.contains_key(*name));
            let joined = joined.filter(|(_, other)| is_same_build(build, other)).map(|(_, other)| other);
            let names = joined.chain([build]).flat_map(names_of).collect();
            fields(name, build, names, own, cache, &mut found);
        } else if !is_built_once(build, compose, &planned) {
            found.push(format!("{name}: only Compose builds it"));
        }
    }
    Ok(found)
}

/// Whether Bakery builds another service that is the same, and pushes it under the image's name.
fn is_built_once(
    build: &ComposeBuild,
    compose: &BTreeMap<String, ComposeBuild>,
    planned: &BTreeMap<String, BakeryBuild>,
) -> bool {
    let image = image_of(build);
    planned.iter().any(|(name, planned)| {
        compose.get(name).is_some_and(|other| is_same_build(build, other))
            && (planned.image == image || planned.tags.contains(&image))
    })
}

/// Whether two services are the same build, whatever its names are.
fn is_same_build(one: &ComposeBuild, other: &ComposeBuild) -> bool {
    // The rest of the section has no effect.
    let taken = |build: &ComposeBuild| {
        let mut build = ComposeBuild { image: String::new(), named: false, ..build.clone() };
        build.build.retain(|key, _| key == "secrets");
        if let Some(bake) = build.x_bake.as_object_mut() {
            bake.retain(|key, _| matches!(key.as_str(), "platforms" | "secret"));
        }
        build
    };
    taken(one) == taken(other)
}

/// Every name of a build, with its registry and tag.
fn names_of(build: &ComposeBuild) -> BTreeSet<String> {
    let of_build = build.build.get("tags").and_then(Value::as_array).into_iter().flatten();
    let of_bake = build.x_bake.get("tags").and_then(Value::as_array).into_iter().flatten();
    let tags = of_build.chain(of_bake).filter_map(Value::as_str).filter_map(|text| {
        let image: ImageRef = text.parse().ok()?;
        Some(image.tagged().to_string())
    });
    tags.chain([image_of(build)]).collect()
}

/// The name under which Bakery pushes the image.
fn image_of(build: &ComposeBuild) -> String {
    match build.image.strip_prefix("docker.io/library/") {
        Some(image) if !build.named => format!("{REGISTRY}/{image}"),
        _ => build.image.clone(),
    }
}

fn fields(
    name: &str,
    build: &ComposeBuild,
    mut names: BTreeSet<String>,
    planned: &BakeryBuild,
    cache: bool,
    found: &mut Vec<String>,
) {
    let image = image_of(build);
    names.remove(&image);
    // Bakery's documented order: `x-bake.platforms` comes first.
    let of_bake = build.x_bake.get("platforms").and_then(Value::as_array);
    let of_bake = of_bake.map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    let platforms: BTreeSet<String> =
        of_bake.unwrap_or_else(|| build.platforms.iter().flatten().cloned().collect());
    let own = BTreeSet::from([own_platform()]);
    let wanted = BakeryBuild {
        image,
        tags: names,
        context: build.context.clone(),
        dockerfile: build.dockerfile.clone(),
        dockerfile_inline: text_of(build.build.get("dockerfile_inline")),
        args: build.args.clone(),
        labels: build.labels.clone().unwrap_or_default(),
        platforms: if platforms.is_empty() { own } else { platforms },
        target: build.target.clone(),
        secrets: secret_ids(build),
        cache: cache_repository(build, cache).filter(|_| !build.no_cache),
    };
    let mut compare = |field: &str, ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
        let (ours, theirs) = (format!("{ours:?}"), format!("{theirs:?}"));
        if ours != theirs {
            found.push(format!("{name}: {field}: {ours}, Compose: {theirs}"));
        }
    };
    compare("image", &planned.image, &wanted.image);
    compare("tags", &planned.tags, &wanted.tags);
    compare("context", &planned.context, &wanted.context);
    compare("dockerfile", &planned.dockerfile, &wanted.dockerfile);
    compare("dockerfile_inline", &planned.dockerfile_inline, &wanted.dockerfile_inline);
    compare("args", &planned.args, &wanted.args);
    compare("labels", &planned.labels, &wanted.labels);
    compare("platforms", &planned.platforms, &wanted.platforms);
    compare("target", &planned.target, &wanted.target);
    compare("secrets", &planned.secrets, &wanted.secrets);
    compare("cache", &planned.cache, &wanted.cache);
}

/// The caches of a build with their places, those that are written first.
fn caches(build: &ComposeBuild) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (of_build, of_bake) in [("cache_to", "cache-to"), ("cache_from", "cache-from")] {
        let places = [
            (format!("build.{of_build}"), build.build.get(of_build)),
            (format!("build.x-bake.{of_bake}"), build.x_bake.get(of_bake)),
        ];
        for (place, list) in places {
            let texts = list.and_then(Value::as_array).into_iter().flatten().map(|text| text_of(Some(text)));
            all.extend(texts.enumerate().map(|(nth, text)| (format!("{place}[{nth}]"), text)));
        }
    }
    all
}

/// The repository of `type=registry,ref=REPOSITORY:TAG`.
fn registry_cache(text: &str) -> Option<String> {
    let image: ImageRef = text.strip_prefix("type=registry,ref=")?.split(',').next()?.parse().ok()?;
    Some(image.name())
}

/// The repository of Kaniko's cache; `of_config` is whether the config file has one.
fn cache_repository(build: &ComposeBuild, of_config: bool) -> Option<String> {
    if of_config {
        return Some(CACHE_OF_CONFIG.to_owned());
    }
    caches(build).iter().find_map(|(_, text)| registry_cache(text))
}

fn text_of(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What a `RUN --mount=type=secret` can name.
fn secret_ids(build: &ComposeBuild) -> BTreeSet<String> {
    let of_compose = build.build.get("secrets").and_then(Value::as_array).into_iter().flatten();
    let id = |secret: &Value| secret.get("target").or_else(|| secret.get("source")).cloned();
    let of_bake = build.x_bake.get("secret").and_then(Value::as_array).into_iter().flatten();
    let of_bake = of_bake.filter_map(Value::as_str).filter_map(id_of);
    of_compose.filter_map(id).filter_map(|id| id.as_str().map(str::to_owned)).chain(of_bake).collect()
}

/// The id of `id=ID,src=FILE`.
fn id_of(text: &str) -> Option<String> {
    text.split(',').find_map(|part| part.strip_prefix("id=")).map(str::to_owned)
}

/// The platform of this machine.
fn own_platform() -> String {
    format!("linux/{}", if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" })
}

/// What has no effect must be reported, and what is refused must not have a value.
fn notices(name: &str, build: &ComposeBuild, messages: &str, found: &mut Vec<String>) {
    for (key, value) in &build.build {
        let attribute = section("build").iter().find(|attribute| attribute.name == key);
        match attribute.map(|attribute| attribute.fate) {
            None => found.push(format!("{name}: build.{key}: Bakery does not know this attribute")),
            Some(_) if is_off(value) => {}
            Some(Fate::Refused { .. }) => found.push(format!("{name}: build.{key}: {value} was not refused")),
            Some(Fate::Ignored { .. }) => {
                if !messages.contains(&format!("services.{name}.build.{key}: has no effect here")) {
                    found.push(format!("{name}: build.{key}: {value} was ignored without a notice"));
                }
            }
            Some(Fate::Taken(_)) => {}
        }
    }
    for (place, text) in caches(build).into_iter().filter(|(_, text)| registry_cache(text).is_none()) {
        if !messages.contains(&format!("services.{name}.{place}: has no effect here")) {
            found.push(format!("{name}: {place}: {text} was ignored without a notice"));
        }
    }
    for (key, value) in build.x_bake.as_object().into_iter().flatten() {
        let attribute = section("build.x-bake").iter().find(|attribute| attribute.name == key);
        if attribute.is_some_and(|it| matches!(it.fate, Fate::Refused { .. })) && !is_off(value) {
            found.push(format!("{name}: build.x-bake.{key}: {value} was not refused"));
        }
    }
}

/// The attributes of a section.
fn section(path: &str) -> &'static [bakery_core::compose::Attribute] {
    SECTIONS.iter().find(|(known, _)| *known == path).map_or(&[], |(_, attributes)| attributes)
}

/// Whether a value is one that changes nothing.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => matches!(text.as_str(), "" | "false" | "default"),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

/// A target, whose tasks may only differ in their platforms.
fn planned_build(target: &Value) -> Result<BakeryBuild> {
    let mut all: Option<BakeryBuild> = None;
    for task in target["tasks"].as_array().context("tasks")? {
        let mut build = task_build(task, target)?;
        if let Some(earlier) = all.take() {
            build.platforms.extend(earlier.platforms.iter().cloned());
            let same = BakeryBuild { platforms: build.platforms.clone(), ..earlier };
            ensure!(same == build, "the tasks of a target differ: {same:?} {build:?}");
        }
        all = Some(build);
    }
    all.context("a target has tasks")
}

fn task_build(task: &Value, target: &Value) -> Result<BakeryBuild> {
    let argv: Vec<&str> = task["argv"].as_array().context("argv")?.iter().filter_map(Value::as_str).collect();
    let all = |flag: &str| {
        let start = format!("--{flag}=");
        argv.iter().filter_map(|arg| arg.strip_prefix(&start)).map(str::to_owned).collect::<Vec<_>>()
    };
    let pairs = |flag: &str| {
        let pair =
            |text: &String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        all(flag).iter().filter_map(pair).collect::<BTreeMap<_, _>>()
    };
    let one = |flag: &str| all(flag).pop().unwrap_or_default();
    let is_inline = one("dockerfile") == INLINE;
    Ok(BakeryBuild {
        image: target["destination"].as_str().unwrap_or_default().to_owned(),
        tags: target["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        context: inside(&one("context").replacen("dir://", "", 1)),
        dockerfile: if is_inline { String::new() } else { inside(&one("dockerfile")) },
        dockerfile_inline: text_of(task.get("dockerfile_inline")),
        args: pairs("build-arg"),
        labels: pairs("label"),
        platforms: all("custom-platform").into_iter().collect(),
        target: one("target"),
        secrets: all("secret").iter().filter_map(|text| id_of(text)).collect(),
        cache: (one("cache") == "true").then(|| one("cache-repo")),
    })
}

/// A path of a container, relative to the source root.
fn inside(path: &str) -> String {
    match path.strip_prefix(SOURCE) {
        Some("") => ".".to_owned(),
        Some(inner) => inner.trim_start_matches('/').to_owned(),
        None => path.to_owned(),
    }
}
