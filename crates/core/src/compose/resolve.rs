//! The services to build, and the tasks of each.

use std::collections::BTreeMap;

use crate::change::Change;
use crate::compose::Request;
use crate::compose::build::{Service, service};
use crate::compose::depends;
use crate::config::layer::{Held, Key, TaskLayer};
use crate::config::{Located, Origin, Resolved, build, task};
use crate::decode::Field;
use crate::message::Message;
use crate::report::{Findings, Location, Report};
use crate::spec::ServiceSpec;
use crate::yaml::Node;

use super::changes;
use super::files::FileReader;
use super::image::ServiceImages;
use super::loader::Loader;
use super::project::{self, WithProject};
use super::repeated::DistinctBuilds;
use super::scalar::{Scalars, Shared};
use super::select::select;
use super::top_level::services_of;

/// Resolves files that are merged, and what options change in them; `read` holds the findings of parsing them.
pub(super) fn files(
    (files, changes): (&[Node], &[Change]),
    read: &Findings,
    request: &Request<'_>,
) -> Result<Resolved, Report> {
    let mut findings = request.config.map(|config| config.findings().clone()).unwrap_or_default();
    findings.mistakes.extend_from_slice(&read.mistakes);
    if let Some(location) = request.config.and_then(|config| config.first_entry()) {
        let hint = "architectures come from the Compose file (`build.x-bake.platforms`)";
        findings.notice(
            location.clone(),
            Message::new("the entries of `bake` are not used with a Compose file").with_hint(hint),
        );
    }
    let shared = Shared::default();
    // The name reaches a build by its image and as a variable.
    let of_name = Scalars::new(request.vars, &shared).for_build(request.withheld);
    let project = project::name(files, request.folder, &of_name, &mut findings);
    let vars = WithProject { vars: request.vars, project: project.as_deref() };
    let scalars = Scalars::new(&vars, &shared);
    let first = files.first().map(|file| file.file.name.clone()).unwrap_or_default();
    let merged = Loader::new(FileReader::new(request, &first), &scalars, &mut findings).merged(files);
    let merged = merged.map(|tree| changes::apply(tree, changes, &mut findings));
    let Some(services) = merged.as_ref().and_then(|tree| services_of(&Field::root(tree), &mut findings))
    else {
        return Err(findings.into_report());
    };
    let declared = merged.as_ref().and_then(|tree| Field::root(tree).get("secrets"));
    let of_build = scalars.for_build(request.withheld);
    let mut built = DistinctBuilds::default();
    let mut written = request.config.map(|config| config.written().clone()).unwrap_or_default();
    let mut names = ServiceImages::new(request, project.as_deref());
    for (name, field) in select(&services, request, &scalars, &mut findings) {
        let Some(mut service) = service(&field, declared.clone(), request, &of_build, &mut findings) else {
            continue;
        };
        written.extend(service.written.drain(..));
        names.complete(&name, &mut service.layer, &field, &mut findings);
        let (tasks, locations) = tasks(&service, &field.location, request, &mut findings);
        let spec = ServiceSpec { name: Some(name), tasks };
        built.add(spec, locations, &field.location, &mut findings);
    }
    names.report(&services, &mut findings);
    if built.services.is_empty() && findings.mistakes.is_empty() {
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
    let resolved = build(built.services, request.order, &services.location, findings)?;
    Ok(Resolved { written, ..resolved })
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
    let nothing = BTreeMap::new();
    let origin = Origin {
        location,
        arch: Ok(request.arch),
        key: &|key| match key {
            "kaniko.destination" => ".image".to_owned(),
            "kaniko.dockerfile" => ".build.dockerfile".to_owned(),
            "kaniko.context-path" => ".build.context".to_owned(),
            "kaniko.target" => ".build.target".to_owned(),
            _ => String::new(),
        },
        naming: request.naming,
        written: request.config.map_or(&nothing, |config| config.written()),
    };
    let mut tasks = Vec::new();
    let mut locations = Vec::new();
    for layer in layers {
        tasks.extend(task(&layer, &origin, findings));
        locations.push(Located::new(&layer, location.clone()));
    }
    (tasks, locations)
}
