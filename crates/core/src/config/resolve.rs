//! Layers become a spec: defaults, what depends on several keys, and the rules that only the whole can break.

use crate::check;
use crate::config::ConfigFile;
use crate::config::layer::{Given, Held, Key, MapLayer, TaskLayer};
use crate::image::{self, ImageRef};
use crate::names::{Arch, ServiceName};
use crate::plan;
use crate::report::{Findings, Notice, Place, Report};
use crate::secret::name_suggests_secret;
use crate::spec::{BuildSpec, CacheSpec, KanikoSpec, Order, ServiceSpec, TaskSpec};

pub(super) fn file(config: ConfigFile, order: Order) -> Result<(BuildSpec, Vec<Notice>), Report> {
    let ConfigFile { global, global_place, entries, mut findings } = config;
    // Without entries `global` alone is the task.
    let entries =
        if entries.is_empty() { vec![(TaskLayer::default(), global_place.clone())] } else { entries };
    let mut tasks = Vec::new();
    let mut places = Vec::new();
    for (entry, place) in entries {
        let layer = global.clone().under(entry);
        let hint = format!(
            "set `arch` here or in `global` ({})",
            Place { path: String::new(), ..global_place.clone() }
        );
        let origin = Origin { place: &place, arch: None, arch_hint: &hint, key: &|key| format!(".{key}") };
        tasks.extend(task(&layer, &origin, &mut findings));
        places.push(Placed::new(&layer, place));
    }
    let services = vec![(ServiceSpec { name: None, tasks }, places)];
    build(services, order, &global_place, findings)
}

/// Where a task comes from.
pub(crate) struct Origin<'a> {
    /// The entry or the service.
    pub(crate) place: &'a Place,
    /// The architecture where the layers name none.
    pub(crate) arch: Option<Arch>,
    /// What to do where there is none at all.
    pub(crate) arch_hint: &'a str,
    /// A config key as the file's own path, below `place`.
    pub(crate) key: &'a dyn Fn(&str) -> String,
}

/// The places of one task, for what is found once all are known.
pub(crate) struct Placed {
    place: Place,
    destination: Option<Place>,
}

impl Placed {
    pub(crate) fn new(layer: &TaskLayer, place: Place) -> Self {
        Self { place, destination: place_of(layer, "kaniko.destination").cloned() }
    }
}

/// The whole build, once no task has a mistake of its own.
pub(crate) fn build(
    services: Vec<(ServiceSpec, Vec<Placed>)>,
    order: Order,
    whole: &Place,
    mut findings: Findings,
) -> Result<(BuildSpec, Vec<Notice>), Report> {
    let (services, places): (Vec<ServiceSpec>, Vec<Vec<Placed>>) = services.into_iter().unzip();
    let names: Vec<Option<ServiceName>> = services.iter().map(|service| service.name.clone()).collect();
    let spec = BuildSpec { order, services };
    if findings.mistakes.is_empty() {
        for problem in plan::plan(&spec).err().unwrap_or_default() {
            let service = names.iter().position(|name| *name == problem.service);
            let placed = service.and_then(|at| places[at].get(problem.task.unwrap_or(0)));
            let place = match placed {
                Some(Placed { destination: Some(place), .. }) if problem.key.is_some() => place,
                Some(Placed { place, .. }) if problem.key.is_some() || problem.task.is_some() => place,
                _ => whole,
            };
            findings.mistake(place.clone(), problem.text, problem.hint);
        }
    }
    findings.finish(spec)
}

/// The exact task of a layer. `None` where what it lacks or breaks keeps it from being one; that is in `findings`.
/// Keys that were mistakes when they were read take their defaults: the report of those is there already.
pub(crate) fn task(layer: &TaskLayer, origin: &Origin<'_>, findings: &mut Findings) -> Option<TaskSpec> {
    let before = findings.mistakes.len();
    let arch = set(&layer.arch).or(origin.arch.filter(|_| !is_bad(&layer.arch)));
    if arch.is_none() && !is_bad(&layer.arch) {
        findings.mistake(below(origin, "arch"), "no architecture is named", origin.arch_hint);
    }
    let kaniko = &layer.kaniko;
    let spec = TaskSpec {
        platform: set(&layer.platform),
        arch: arch.unwrap_or(Arch::Amd64),
        cpu_millis: set(&layer.cpu_millis),
        memory_mib: set(&layer.memory_mib),
        env: entries(&layer.env),
        pre_script: set(&layer.pre_script),
        post_script: set(&layer.post_script),
        credentials: set(&layer.credentials).unwrap_or_default(),
        kaniko: KanikoSpec {
            context_path: set(&kaniko.context_path).unwrap_or_else(|| ".".to_owned()),
            dockerfile: set(&kaniko.dockerfile).unwrap_or_else(|| "Dockerfile".to_owned()),
            destination: set(&kaniko.destination),
            build_args: entries(&kaniko.build_args),
            cache: cache(layer, findings),
            snapshot_mode: set(&kaniko.snapshot_mode),
            use_new_run: set(&kaniko.use_new_run).unwrap_or_default(),
            cleanup: set(&kaniko.cleanup).unwrap_or_default(),
            no_push: set(&kaniko.no_push).unwrap_or_default(),
            custom_platform: set(&kaniko.custom_platform),
            ignore_path: set(&kaniko.ignore_path).unwrap_or_default(),
            extra_flags: set(&kaniko.extra_flags).unwrap_or_default(),
        },
    };
    for broken in check::task(&spec) {
        // What has been reported where it is written is not reported again as missing.
        if !rests_on_a_mistake(layer, &spec, broken.key) {
            let place = place_of(layer, broken.key).cloned().unwrap_or_else(|| below(origin, broken.key));
            findings.mistake(place, broken.text, broken.hint);
        }
    }
    notices(layer, &spec, findings);
    (findings.mistakes.len() == before).then_some(spec)
}

fn below(origin: &Origin<'_>, key: &str) -> Place {
    let path = format!("{}{}", origin.place.path, (origin.key)(key));
    Place { path: path.trim_start_matches('.').to_owned(), ..origin.place.clone() }
}

fn cache(layer: &TaskLayer, findings: &mut Findings) -> CacheSpec {
    let cache = &layer.kaniko.cache;
    CacheSpec {
        enable: set(&cache.enable).unwrap_or_default(),
        repo: cache_repo(layer, findings),
        ttl_seconds: set(&cache.ttl_seconds),
        copy_layers: set(&cache.copy_layers),
        run_layers: set(&cache.run_layers),
        compressed: set(&cache.compressed),
    }
}

/// Kaniko would take a bare host for a repository of Docker Hub: it becomes `HOST/<destination's path>/cache`.
fn cache_repo(layer: &TaskLayer, findings: &mut Findings) -> Option<String> {
    let given = layer.kaniko.cache.repo.as_ref()?;
    let Held::Set(text) = &given.value else { return None };
    let host = text.strip_suffix('/').unwrap_or(text);
    let bare = !host.contains('/')
        && (host.contains(['.', ':']) || host == "localhost")
        && image::registry_host(host).is_some();
    if !bare {
        return Some(text.clone());
    }
    if is_bad(&layer.kaniko.destination) {
        return None;
    }
    let Some(destination) = set::<ImageRef>(&layer.kaniko.destination) else {
        let message = "is a bare host, and there is no destination to take the path from";
        findings.mistake(given.place.clone(), message, "HOST/REPOSITORY");
        return None;
    };
    let repo = format!("{host}/{}/cache", destination.repository);
    findings.notice(given.place.clone(), format!("is a bare host: completed to {repo}"), "");
    Some(repo)
}

fn notices(layer: &TaskLayer, spec: &TaskSpec, findings: &mut Findings) {
    for (name, (_, place)) in &layer.kaniko.build_args.entries {
        if name_suggests_secret(name) {
            let message = "a build argument can be read in the image's history";
            findings.notice(place.clone(), message, "do not pass a secret this way");
        }
    }
    if let (Some(platform), Some(given)) = (&spec.kaniko.custom_platform, &layer.kaniko.custom_platform)
        && platform.split('/').nth(1).is_some_and(|arch| arch != spec.arch.as_str())
    {
        let message = format!("the task runs on {}, and its image will say {platform}", spec.arch);
        findings.notice(given.place.clone(), message, "leave it out to take it from `arch`");
    }
    if let (true, Some(_), Some(given)) = (spec.kaniko.cleanup, &spec.post_script, &layer.kaniko.cleanup) {
        let message =
            "Kaniko wipes the container at its end: the post-script finds only what lies below /kaniko";
        findings.notice(given.place.clone(), message, "");
    }
}

fn set<T: Clone>(key: &Key<T>) -> Option<T> {
    match key {
        Some(Given { value: Held::Set(value), .. }) => Some(value.clone()),
        _ => None,
    }
}

fn is_bad<T>(key: &Key<T>) -> bool {
    matches!(key, Some(Given { value: Held::Bad, .. }))
}

fn entries<V: Clone>(map: &MapLayer<V>) -> std::collections::BTreeMap<String, V> {
    map.entries.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect()
}

fn place<T>(key: &Key<T>) -> Option<&Place> {
    key.as_ref().map(|given| &given.place)
}

fn place_of<'a>(layer: &'a TaskLayer, key: &str) -> Option<&'a Place> {
    let kaniko = &layer.kaniko;
    match key {
        "cpu" => place(&layer.cpu_millis),
        "memory" => place(&layer.memory_mib),
        "pre-script" => place(&layer.pre_script),
        "post-script" => place(&layer.post_script),
        "kaniko-credentials" => place(&layer.credentials),
        "kaniko.context-path" => place(&kaniko.context_path),
        "kaniko.dockerfile" => place(&kaniko.dockerfile).or(place(&kaniko.context_path)),
        "kaniko.destination" => place(&kaniko.destination),
        "kaniko.cache.repo" => place(&kaniko.cache.repo).or(place(&kaniko.cache.enable)),
        "kaniko.custom-platform" => place(&kaniko.custom_platform),
        "kaniko.ignore-path" => place(&kaniko.ignore_path),
        "kaniko.extra-flags" => place(&kaniko.extra_flags),
        _ => None,
    }
}

/// True where the value that a rule asks for was written, and was a mistake.
fn rests_on_a_mistake(layer: &TaskLayer, spec: &TaskSpec, key: &str) -> bool {
    let kaniko = &layer.kaniko;
    match key {
        "kaniko.destination" => is_bad(&kaniko.destination) || is_bad(&kaniko.no_push),
        "kaniko.dockerfile" => is_bad(&kaniko.dockerfile) || is_bad(&kaniko.context_path),
        "kaniko.cache.repo" => {
            is_bad(&kaniko.no_push)
                || is_bad(&kaniko.cache.enable)
                || is_bad(&kaniko.extra_flags)
                || is_bad(&kaniko.cache.repo)
                || set(&kaniko.cache.repo).is_some() && spec.kaniko.cache.repo.is_none()
        }
        _ => false,
    }
}
