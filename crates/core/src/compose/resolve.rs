//! The services to build, and the tasks of each.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::compose::Request;
use crate::compose::build::{Service, service};
use crate::compose::depends;
use crate::config::layer::{Held, Key, TaskLayer};
use crate::config::{Located, Origin, Resolved, build, task};
use crate::decode::{Field, unknown_key};
use crate::limits;
use crate::message::Message;
use crate::names::ServiceName;
use crate::report::{Findings, Location, Report, did_you_mean, shown};
use crate::spec::ServiceSpec;
use crate::yaml::Value;

use super::image::ServiceImages;
use super::project::{self, WithProject};
use super::scalar::Scalars;

const TOP: &[&str] =
    &["version", "name", "services", "networks", "volumes", "configs", "secrets", "include", "models"];

/// Resolves a file; `read` holds the findings of parsing it.
pub(super) fn file(root: &Field<'_>, read: &Findings, request: &Request<'_>) -> Result<Resolved, Report> {
    let mut findings = request.config.map(|config| config.findings().clone()).unwrap_or_default();
    findings.mistakes.extend_from_slice(&read.mistakes);
    if let Some(location) = request.config.and_then(|config| config.first_entry()) {
        let hint = "architectures come from the Compose file (`build.x-bake.platforms`)";
        findings.notice(
            location.clone(),
            Message::new("the entries of `bake` are not used with a Compose file").with_hint(hint),
        );
    }
    for name in request.overrides {
        let message = format!("{name} is not read: override files are not supported yet");
        findings.notice(
            Location::file(&root.location.source),
            Message::new(message).with_hint("put what the build needs into one file"),
        );
    }
    let Some(services) = top_level(root, &mut findings) else {
        return Err(findings.into_report());
    };
    let left = Cell::new(limits::INTERPOLATED_BYTES);
    let of_project = Scalars::new(request.vars, &left).for_build(request.withheld);
    let project = project::name(root, request, &of_project, &mut findings);
    let vars = WithProject { vars: request.vars, project: project.as_deref() };
    let scalars = Scalars::new(&vars, &left);
    let of_build = scalars.for_build(request.withheld);
    let (mut built, mut written) = (Vec::new(), BTreeMap::new());
    let mut names = ServiceImages::new(request, project.as_deref());
    for (name, field) in select(&services, request, &scalars, &mut findings) {
        let Some(mut service) = service(&field, request, &of_build, &mut findings) else { continue };
        written.extend(service.written.drain(..));
        names.complete(&name, &mut service.layer, &field, &mut findings);
        let (tasks, locations) = tasks(&service, &field.location, request, &mut findings);
        let spec = ServiceSpec { name: Some(name), tasks };
        if !is_repeated(&spec, &field, &built, &mut findings) {
            built.push((spec, locations));
        }
    }
    names.report(&services, &mut findings);
    if built.is_empty() && findings.mistakes.is_empty() {
        let inactive = depends::profiles_of_builds(&services, &scalars);
        let hint = match inactive.first() {
            None => "give a service a `build` section".to_owned(),
            Some((name, profile)) => format!(
                "`{name}` is built only in profile `{profile}`: name it with --services, or set COMPOSE_PROFILES={profile}"
            ),
        };
        findings
            .mistake(services.location.clone(), Message::new("there is no service to build").with_hint(hint));
    }
    let resolved = build(built, request.order, &services.location, findings)?;
    Ok(Resolved { written, ..resolved })
}

fn top_level<'n>(root: &Field<'n>, findings: &mut Findings) -> Option<Field<'n>> {
    let Value::Map(_) = root.node.value else {
        root.expected("a Compose file: a mapping with `services`", findings);
        return None;
    };
    let mut services = None;
    for (key, field) in root.entries() {
        match key {
            "services" if matches!(field.node.value, Value::Map(_)) => services = Some(field),
            "services" => field.expected("a mapping of services", findings),
            "include" if !field.node.is_null() && !field.clears() => {
                let hint = "name the included file with --compose, or put its services here";
                findings.mistake(field.location, Message::new("not supported yet").with_hint(hint));
            }
            "version" => {
                findings.notice(field.location, Message::new("obsolete, ignored").with_hint("leave it out"));
            }
            _ if TOP.contains(&key) || key.starts_with("x-") => {}
            _ => findings.mistake(field.location, unknown_key(key, did_you_mean(key, TOP))),
        }
    }
    if services.is_none() && root.get("services").is_none() {
        findings.mistake(
            root.location.clone(),
            Message::new("`services` is missing").with_hint("a Compose file lists its services there"),
        );
    }
    services
}

/// The services to build, in the order of the file: those that were named, else all whose profiles are active.
fn select<'n>(
    services: &Field<'n>,
    request: &Request<'_>,
    scalars: &Scalars<'_>,
    findings: &mut Findings,
) -> Vec<(ServiceName, Field<'n>)> {
    let all = services.entries();
    let known: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    for name in request.services.iter().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("there is no service `{}`", shown(name));
        let nearest =
            crate::report::nearest(name, &known).map(|service| format!("did you mean `{service}`? "));
        let hint = format!("{}known services: {}", nearest.unwrap_or_default(), known.join(", "));
        findings.mistake(services.location.clone(), Message::new(message).with_hint(hint));
    }
    let mut mappings = Vec::new();
    for (name, field) in all {
        if let Value::Map(_) = field.node.value {
            mappings.push((name, field));
        } else {
            let message = format!("expected a mapping, found {}", field.node.kind());
            findings.mistake(
                field.location,
                Message::new(message).with_hint("a service is written as `NAME: { image: .., build: .. }`"),
            );
        }
    }
    let active = depends::Active::of(&mappings, request, scalars, findings);
    depends::check(&mappings, &known, &active, scalars, findings);
    let mut selected = Vec::new();
    for (name, field) in mappings {
        let named = request.services.iter().any(|wanted| wanted == name);
        if !named && !request.services.is_empty() {
            continue;
        }
        if !named && !active.is_alone(name) {
            continue;
        }
        if field.get("build").is_none_or(|build| build.node.is_null()) {
            if named {
                let hint = "give it a `build`, or remove it from --services";
                findings.mistake(
                    field.location,
                    Message::new(format!("the service `{name}` has no `build`")).with_hint(hint),
                );
            } else {
                report_misspelt_build(&field, findings);
            }
            continue;
        }
        match name.parse() {
            Ok(name) => selected.push((name, field)),
            Err(_) => findings.mistake(
                field.location,
                Message::new("not a valid service name")
                    .with_hint("use letters, digits, `.`, `_`, `-`, with a letter or a digit first"),
            ),
        }
    }
    selected
}

/// Reports a misspelt `build`: without this, the service would be skipped without a notice.
fn report_misspelt_build(field: &Field<'_>, findings: &mut Findings) {
    for (key, value) in field.entries() {
        if crate::report::nearest(key, &["build"]) == Some("build") && key != "build" {
            findings.mistake(value.location, unknown_key(key, "did you mean `build`?".to_owned()));
        }
    }
}

/// Whether an earlier service is the same build of the same image, which is then done once.
fn is_repeated(
    spec: &ServiceSpec,
    field: &Field<'_>,
    built: &[(ServiceSpec, Vec<Located>)],
    findings: &mut Findings,
) -> bool {
    let mut earlier = built.iter().map(|(earlier, _)| earlier);
    let same = earlier.find(|earlier| !spec.tasks.is_empty() && earlier.tasks == spec.tasks);
    let Some(earlier) = same.and_then(|earlier| earlier.name.as_ref()) else { return false };
    let message = format!("the same image and build as `{earlier}`: it is built once");
    findings.notice(field.location.clone(), message);
    true
}

fn tasks(
    service: &Service,
    location: &Location,
    request: &Request<'_>,
    findings: &mut Findings,
) -> (Vec<crate::spec::TaskSpec>, Vec<Located>) {
    let base = || request.config.map(|config| config.global().clone()).unwrap_or_default();
    let mut layers = Vec::new();
    if service.platforms.is_empty() {
        layers.push(base().under(service.layer.clone()));
    }
    for (arch, variant, at) in &service.platforms {
        let mut upper: TaskLayer = service.layer.clone();
        upper.arch = Key::new(Held::Set(*arch), at.clone());
        if let Some(platform) = variant {
            upper.kaniko.custom_platform = Key::new(Held::Set(platform.clone()), at.clone());
        }
        layers.push(base().under(upper));
    }
    let origin = Origin {
        location,
        arch: Ok(request.arch),
        key: &|key| match key {
            "kaniko.destination" => ".image".to_owned(),
            "kaniko.dockerfile" => ".build.dockerfile".to_owned(),
            "kaniko.context-path" => ".build.context".to_owned(),
            _ => String::new(),
        },
        naming: request.naming,
    };
    let mut tasks = Vec::new();
    let mut locations = Vec::new();
    for layer in layers {
        let mut spec = task(&layer, &origin, findings);
        if let Some(spec) = &mut spec {
            spec.kaniko.extra_flags.splice(0..0, service.flags.iter().cloned());
        }
        tasks.extend(spec);
        locations.push(Located::new(&layer, location.clone()));
    }
    (tasks, locations)
}
