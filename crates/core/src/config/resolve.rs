//! Turns layers into a spec: puts each entry over `global`, applies defaults, and checks what concerns several keys or the
//! whole build.

use std::collections::BTreeMap;

use crate::config::layer::{Login, MapLayer, TaskLayer, WantedLogin};
use crate::config::{ConfigFile, Naming, Resolved, secrets};
use crate::kaniko;
use crate::mask::name_suggests_secret;
use crate::message::Message;
use crate::names::{Arch, ServiceName};
use crate::path;
use crate::plan::{self, PlanProblem};
use crate::report::{Findings, Location, Report, shown};
use crate::rules;
use crate::spec::{BuildSpec, CacheSpec, Credential, KanikoSpec, Order, ServiceSpec, TaskSpec};

pub(super) fn file(config: ConfigFile, order: Order, naming: &Naming) -> Result<Resolved, Report> {
    let ConfigFile { global, global_location, entries, mut findings, written, .. } = config;
    // Without entries `global` alone is the task.
    let entries =
        if entries.is_empty() { vec![(TaskLayer::default(), global_location.clone())] } else { entries };
    if let Some(location) = global.registry.location() {
        let message =
            Message::new("has no effect without a Compose file: the tasks of this file have no names");
        findings.notice(location.clone(), message.with_hint("set `kaniko.destination`"));
    }
    let mut tasks = Vec::new();
    let mut locations = Vec::new();
    for (entry, location) in entries {
        let layer = global.clone().under(entry);
        let hint = format!(
            "set `arch` here or in `global` ({})",
            Location { path: String::new(), ..global_location.clone() }
        );
        let origin = Origin {
            location: &location,
            arch: Err(&hint),
            key: &|key| format!(".{key}"),
            naming,
            written: &written,
        };
        tasks.extend(task(&layer, &origin, &mut findings));
        locations.push(Located::new(&layer, location));
    }
    let services = vec![(ServiceSpec { name: None, tasks }, locations)];
    let resolved = build(services, order, &global_location, findings)?;
    Ok(Resolved { written, ..resolved })
}

/// The source of a task.
pub(crate) struct Origin<'a> {
    /// The entry or the service.
    pub(crate) location: &'a Location,
    /// The architecture if the layers name none; or, if there is no such default, the hint for this mistake.
    pub(crate) arch: Result<Arch, &'a str>,
    /// A config key as the file's own path, below `location`.
    pub(crate) key: &'a dyn Fn(&str) -> String,
    /// What options say about the names of images.
    pub(crate) naming: &'a Naming,
    /// Values with variables, each with the text that the file has for it.
    pub(crate) written: &'a BTreeMap<String, String>,
}

/// The locations of one task, for mistakes that concern the whole build.
pub(crate) struct Located {
    location: Location,
    destination: Option<Location>,
    wanted_logins: Vec<WantedLogin>,
}

impl Located {
    pub(crate) fn new(layer: &TaskLayer, location: Location) -> Self {
        let logins = layer.credentials.value().into_iter().flatten();
        let wanted_logins = logins.filter_map(|login| match login {
            Login::Written(_) => None,
            Login::OfDocker(wanted) => Some(wanted.clone()),
        });
        let destination = location_of(layer, "kaniko.destination").cloned();
        Self { location, destination, wanted_logins: wanted_logins.collect() }
    }
}

/// The whole build, or the report if there is any mistake.
pub(crate) fn build(
    services: Vec<(ServiceSpec, Vec<Located>)>,
    order: Order,
    whole: &Location,
    mut findings: Findings,
) -> Result<Resolved, Report> {
    let (services, locations): (Vec<ServiceSpec>, Vec<Vec<Located>>) = services.into_iter().unzip();
    let names: Vec<Option<ServiceName>> = services.iter().map(|service| service.name.clone()).collect();
    let spec = BuildSpec { order, services };
    if !findings.mistakes.is_empty() {
        return Err(findings.into_report());
    }
    let location_of = |problem: &PlanProblem| {
        let service = names.iter().position(|name| *name == problem.service);
        match service.and_then(|at| locations[at].get(problem.task.unwrap_or(0))) {
            Some(Located { destination: Some(location), .. }) if problem.key.is_some() => location,
            Some(Located { location, .. }) if problem.key.is_some() || problem.task.is_some() => location,
            _ => whole,
        }
    };
    match plan::of_checked(&spec) {
        Ok(plan) => {
            let (plan, notices) = findings.finish(plan)?;
            let wanted_logins = locations.into_iter().flatten().map(|task| task.wanted_logins).collect();
            Ok(Resolved { spec, plan, notices, written: BTreeMap::new(), wanted_logins })
        }
        Err(problems) => {
            for problem in problems {
                findings.mistake(location_of(&problem).clone(), problem.message);
            }
            Err(findings.into_report())
        }
    }
}

/// The task of a layer. `None` if the layer is incomplete or breaks a rule; the mistakes are in `findings`.
/// Keys that were mistakes when they were read take their defaults: those mistakes have been reported already.
pub(crate) fn task(layer: &TaskLayer, origin: &Origin<'_>, findings: &mut Findings) -> Option<TaskSpec> {
    let mistakes = findings.mistakes.len();
    let arch = match (layer.arch.value(), origin.arch) {
        (Some(arch), _) => *arch,
        (None, Ok(arch)) => arch,
        (None, Err(hint)) => {
            if !layer.arch.is_bad() {
                let message = Message::new("no architecture is set").with_hint(hint);
                findings.mistake(below(origin, "arch"), message);
            }
            Arch::Amd64
        }
    };
    let kaniko = &layer.kaniko;
    let context_path = kaniko.context_path.value().cloned().unwrap_or_else(|| ".".to_owned());
    let mut env = entries(&layer.env);
    env.extend(entries(&kaniko.env));
    let spec = TaskSpec {
        platform: layer.platform.value().copied(),
        arch,
        cpu_millis: layer.cpu_millis.value().copied(),
        memory_mib: layer.memory_mib.value().copied(),
        disk_mib: layer.disk_mib.value().copied(),
        timeout_seconds: layer.timeout_seconds.value().copied(),
        env,
        pre_script: layer.pre_script.value().cloned(),
        post_script: layer.post_script.value().cloned(),
        credentials: written_logins(layer),
        kaniko: KanikoSpec {
            dockerfile: match kaniko.dockerfile.value().map(String::as_str) {
                None => "Dockerfile".to_owned(),
                Some(text) => text
                    .strip_prefix('/')
                    .map_or_else(|| text.to_owned(), |inner| path::from_folder(&context_path, inner)),
            },
            dockerfile_inline: kaniko.dockerfile_inline.value().cloned(),
            context_path,
            destination: kaniko.destination.value().map(|image| origin.naming.tagged(image)),
            tags: kaniko.tags.or_default().iter().map(|image| origin.naming.tagged(image)).collect(),
            build_args: entries(&kaniko.build_args),
            cache: cache(layer, origin, findings),
            snapshot_mode: kaniko.snapshot_mode.value().copied(),
            use_new_run: kaniko.use_new_run.or_default(),
            cleanup: kaniko.cleanup.or_default(),
            no_push: origin.naming.no_push || kaniko.no_push.or_default(),
            custom_platform: kaniko.custom_platform.value().cloned(),
            dir: kaniko.dir.value().cloned(),
            ignore_path: kaniko.ignore_path.or_default(),
            target: kaniko.target.value().cloned(),
            labels: entries(&kaniko.labels),
            annotations: entries(&kaniko.annotations),
            registry_mirrors: kaniko.registry_mirrors.or_default(),
            registry_map: entries(&kaniko.registry_map),
            certificates: entries(&kaniko.certificates),
            compression: kaniko.compression.value().copied(),
            reproducible: kaniko.reproducible.or_default(),
            single_snapshot: kaniko.single_snapshot.or_default(),
            secrets: secrets::values(&kaniko.secrets),
            push_retry: kaniko.push_retry.value().copied(),
            extra_flags: kaniko.extra_flags.or_default(),
        },
    };
    for broken in rules::task(&spec) {
        // A key that has been reported as a mistake is not reported again as missing.
        if !rests_on_a_mistake(layer, &spec, broken.key) {
            let at = location_of(layer, broken.key).cloned().unwrap_or_else(|| below(origin, broken.key));
            findings.mistake(at, broken.message);
        }
    }
    notices(layer, &spec, origin, findings);
    (findings.mistakes.len() == mistakes).then_some(spec)
}

fn written_logins(layer: &TaskLayer) -> Vec<Credential> {
    let logins = layer.credentials.value().into_iter().flatten();
    let written = logins.filter_map(|login| match login {
        Login::Written(credential) => Some(credential.clone()),
        Login::OfDocker(_) => None,
    });
    written.collect()
}

fn below(origin: &Origin<'_>, key: &str) -> Location {
    let path = format!("{}{}", origin.location.path, (origin.key)(key));
    Location { path: path.trim_start_matches('.').to_owned(), ..origin.location.clone() }
}

fn cache(layer: &TaskLayer, origin: &Origin<'_>, findings: &mut Findings) -> CacheSpec {
    let cache = &layer.kaniko.cache;
    CacheSpec {
        enable: cache.enable.or_default(),
        repo: cache_repo(layer, origin, findings),
        ttl_seconds: cache.ttl_seconds.value().copied(),
        copy_layers: cache.copy_layers.value().copied(),
        run_layers: cache.run_layers.value().copied(),
        compressed: cache.compressed.value().copied(),
    }
}

/// The cache repository. A bare host, which Kaniko would read as a repository of Docker Hub, becomes
/// `HOST/<destination's path>/cache`.
fn cache_repo(layer: &TaskLayer, origin: &Origin<'_>, findings: &mut Findings) -> Option<String> {
    let (text, location) = (layer.kaniko.cache.repo.value()?, layer.kaniko.cache.repo.location()?);
    if !rules::is_bare_host(text) {
        return Some(text.clone());
    }
    if layer.kaniko.destination.is_bad() {
        return None;
    }
    let Some(destination) = layer.kaniko.destination.value() else {
        let message = "is a host without a repository, and no destination is set to take the repository from";
        findings.mistake(location.clone(), Message::new(message).with_hint("HOST/REPOSITORY"));
        return None;
    };
    let repo = format!("{text}/{}/cache", destination.repository);
    let host = origin.written.get(text).map_or_else(|| text.clone(), |written| shown(written));
    let notice = format!("is a bare host: completed to {host}/{}/cache", destination.repository);
    findings.notice(location.clone(), notice);
    Some(repo)
}

fn notices(layer: &TaskLayer, spec: &TaskSpec, origin: &Origin<'_>, findings: &mut Findings) {
    for (key, message) in kaniko::overridden(&spec.kaniko) {
        if let Some(location) = location_of(layer, key) {
            findings.notice(location.clone(), message);
        }
    }
    for (name, (_, location)) in &layer.kaniko.build_args.entries {
        if name_suggests_secret(name) {
            let message = "a build argument can be read in the image's history";
            findings
                .notice(location.clone(), Message::new(message).with_hint("do not pass a secret this way"));
        }
    }
    if let (Some(platform), Some(location)) =
        (&spec.kaniko.custom_platform, layer.kaniko.custom_platform.location())
        && platform.split('/').nth(1).is_some_and(|arch| arch != spec.arch.as_str())
    {
        let platform =
            origin.written.get(platform).map_or_else(|| platform.clone(), |written| shown(written));
        let message = format!("the task runs on {}, but its image will be marked as {platform}", spec.arch);
        findings.notice(
            location.clone(),
            Message::new(message).with_hint("remove it to use the platform of `arch`"),
        );
    }
    if let (true, Some(_), Some(location)) =
        (spec.kaniko.cleanup, &spec.post_script, layer.kaniko.cleanup.location())
    {
        let message =
            "Kaniko deletes the container's files at its end: the post-script finds only those below /kaniko";
        findings.notice(location.clone(), message);
    }
}

fn entries<V: Clone>(map: &MapLayer<V>) -> BTreeMap<String, V> {
    map.entries.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect()
}

fn location_of<'a>(layer: &'a TaskLayer, key: &str) -> Option<&'a Location> {
    let kaniko = &layer.kaniko;
    match key {
        "cpu" => layer.cpu_millis.location(),
        "memory" => layer.memory_mib.location(),
        "disk" => layer.disk_mib.location(),
        "timeout" => layer.timeout_seconds.location(),
        "pre-script" => layer.pre_script.location(),
        "post-script" => layer.post_script.location(),
        "kaniko-credentials" => layer.credentials.location(),
        "kaniko.context-path" => kaniko.context_path.location(),
        "kaniko.dockerfile" => kaniko.dockerfile.location().or(kaniko.context_path.location()),
        "kaniko.dockerfile-inline" => kaniko.dockerfile_inline.location(),
        "kaniko.destination" => kaniko.destination.location(),
        "kaniko.tags" => kaniko.tags.location(),
        "kaniko.cache.repo" => kaniko.cache.repo.location().or(kaniko.cache.enable.location()),
        "kaniko.custom-platform" => kaniko.custom_platform.location(),
        "kaniko.dir" => kaniko.dir.location(),
        "kaniko.ignore-path" => kaniko.ignore_path.location(),
        "kaniko.extra-flags" => kaniko.extra_flags.location(),
        "kaniko.secrets" => kaniko.secrets.location(),
        "kaniko.target" => kaniko.target.location(),
        "kaniko.compression" => kaniko.compression.location(),
        "kaniko.reproducible" => kaniko.reproducible.location(),
        "kaniko.single-snapshot" => kaniko.single_snapshot.location(),
        "kaniko.push-retry" => kaniko.push_retry.location(),
        "kaniko.snapshot-mode" => kaniko.snapshot_mode.location(),
        "kaniko.use-new-run" => kaniko.use_new_run.location(),
        "kaniko.cleanup" => kaniko.cleanup.location(),
        _ => None,
    }
}

/// True if the value that a rule requires was written and has been reported as a mistake.
fn rests_on_a_mistake(layer: &TaskLayer, spec: &TaskSpec, key: &str) -> bool {
    let kaniko = &layer.kaniko;
    match key {
        "kaniko.destination" => kaniko.destination.is_bad() || kaniko.no_push.is_bad(),
        "kaniko.tags" => kaniko.destination.is_bad(),
        "kaniko.dockerfile" => kaniko.dockerfile.is_bad() || kaniko.context_path.is_bad(),
        "kaniko.cache.repo" => {
            kaniko.no_push.is_bad()
                || kaniko.cache.enable.is_bad()
                || kaniko.extra_flags.is_bad()
                || kaniko.cache.repo.is_bad()
                || kaniko.cache.repo.value().is_some() && spec.kaniko.cache.repo.is_none()
        }
        _ => false,
    }
}
