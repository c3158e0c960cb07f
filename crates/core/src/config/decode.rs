//! Decodes the tree of a config file into layers.

use std::collections::BTreeMap;

use crate::config::forms::ValueForm;
use crate::config::keys::{self, has, names};
use crate::config::layer::{CacheLayer, Held, KanikoLayer, Key, MapLayer, TaskLayer};
use crate::config::naming::ImagePrefix;
use crate::config::readers::{by_registry, list, one_of, refuse, single, texts, verbatim};
use crate::config::secrets::SecretSources;
use crate::config::values::{
    boolean, cache_repo, certificate, cpu, custom_platform, destination, disk, dockerfile, flags, inner_path,
    kaniko_dir, memory, mirror, mirrors, retries, target, timeout, ttl,
};
use crate::config::{ConfigFile, logins, secrets, variables};
use crate::decode::{Field, refuse_tags, section};
use crate::kaniko;
use crate::message::Message;
use crate::names::{Arch, Platform};
use crate::report::{Findings, Location};
use crate::rules;
use crate::secret::Secret;
use crate::spec::{Compression, SnapshotMode};
use crate::yaml::Value;

const TOP: [&str; 3] = names(&keys::TOP);
const TASK: [&str; 13] = names(&keys::TASK);
const KANIKO: [&str; 29] = names(&keys::KANIKO);
const CACHE: [&str; 6] = names(&keys::CACHE);
const CONTEXT: [&str; 1] = names(&keys::CONTEXT);

pub(super) fn file(root: &Field<'_>, sources: &dyn SecretSources, mut findings: Findings) -> ConfigFile {
    let findings = &mut findings;
    refuse_tags(root, "leave it out", findings);
    let mut global = TaskLayer::default();
    let mut global_location = root.location.clone();
    let mut entries = Vec::new();
    if root.node.is_null() {
        findings.mistake(
            root.location.clone(),
            Message::new("the file is empty").with_hint("add `global`, `bake` or both"),
        );
        global = unknown(&root.location);
    } else {
        let elsewhere = |key: &str| {
            (has(&keys::TASK, key) || has(&keys::KANIKO, key))
                .then(|| "it belongs below `global`, or in an entry of `bake`".to_owned())
        };
        for (key, field) in section(root, &TOP, elsewhere, findings).unwrap_or_default() {
            if key == "global" {
                global_location = field.location.clone();
                global = task(&field, sources, findings);
            } else if key == variables::KEY {
                // It has had its effect already.
                let _ = single(&field, findings, boolean);
            } else if let Value::List(_) = field.node.value {
                for entry in field.items() {
                    let layer = task(&entry, sources, findings);
                    for (location, why) in [
                        (layer.registry.location(), "it is for all services"),
                        (layer.context_git.location(), "there is one archive for all tasks"),
                    ] {
                        let Some(location) = location else { continue };
                        let message = Message::new(format!("belongs in `global`: {why}"));
                        findings.mistake(location.clone(), message.with_hint("move it there"));
                    }
                    entries.push((layer, entry.location));
                }
            } else if !field.clears() {
                field.expected("a list", findings);
            }
        }
    }
    ConfigFile {
        global,
        global_location,
        entries,
        findings: std::mem::take(findings),
        holds_secrets: false,
        written: BTreeMap::new(),
    }
}

fn task(field: &Field<'_>, sources: &dyn SecretSources, findings: &mut Findings) -> TaskLayer {
    if field.node.is_null() {
        let hint = "remove it, or write `{}` for a task that inherits everything from `global`";
        findings.mistake(field.location.clone(), Message::new("the entry is empty").with_hint(hint));
        return unknown(&field.location);
    }
    let mut layer = TaskLayer::default();
    let elsewhere = |key: &str| {
        let cache = CACHE.contains(&key).then(|| "it belongs below `kaniko.cache`".to_owned());
        has(&keys::KANIKO, key).then(|| "it belongs below `kaniko`".to_owned()).or(cache)
    };
    let Some(fields) = section(field, &TASK, elsewhere, findings) else {
        return unknown(&field.location);
    };
    for (key, field) in fields {
        match key {
            "platform" => {
                layer.platform =
                    one_of(&field, &Platform::ALL.map(|platform| (platform.as_str(), platform)), findings);
            }
            "arch" => layer.arch = one_of(&field, &Arch::ALL.map(|arch| (arch.as_str(), arch)), findings),
            "cpu" => layer.cpu_millis = single(&field, findings, cpu),
            "memory" => layer.memory_mib = single(&field, findings, memory),
            "disk" => layer.disk_mib = single(&field, findings, disk),
            "timeout" => layer.timeout_seconds = single(&field, findings, timeout),
            "env" => layer.env = environment(&field, findings),
            "pre-script" => layer.pre_script = verbatim(&field, findings),
            "post-script" => layer.post_script = verbatim(&field, findings),
            "kaniko-credentials" => layer.credentials = logins::decode(&field, sources, findings),
            "registry" => layer.registry = single(&field, findings, ImagePrefix::parse),
            "context" => {
                for (_, field) in section(&field, &CONTEXT, |_| None, findings).unwrap_or_default() {
                    layer.context_git = single(&field, findings, boolean);
                }
            }
            _ => layer.kaniko = kaniko_section(&field, sources, findings),
        }
    }
    layer
}

/// The layer of what could not be read: its required keys count as mistakes, so they are not reported as missing.
pub(super) fn unknown(location: &Location) -> TaskLayer {
    let mut layer = TaskLayer { arch: Key::new(Held::Bad, location.clone()), ..TaskLayer::default() };
    layer.kaniko.destination = Key::new(Held::Bad, location.clone());
    layer.kaniko.context_path = Key::new(Held::Bad, location.clone());
    layer.kaniko.dockerfile = Key::new(Held::Bad, location.clone());
    layer
}

fn kaniko_section(field: &Field<'_>, sources: &dyn SecretSources, findings: &mut Findings) -> KanikoLayer {
    let mut layer = KanikoLayer::default();
    let elsewhere = |key: &str| {
        let up = TASK.contains(&key).then(|| "it belongs beside `kaniko`, one level up".to_owned());
        CACHE.contains(&key).then(|| "it belongs below `kaniko.cache`".to_owned()).or(up)
    };
    for (key, field) in section(field, &KANIKO, elsewhere, findings).unwrap_or_default() {
        match key {
            "context-path" => layer.context_path = single(&field, findings, inner_path),
            "dockerfile" => layer.dockerfile = single(&field, findings, dockerfile),
            "dockerfile-inline" => layer.dockerfile_inline = verbatim(&field, findings),
            "destination" => layer.destination = single(&field, findings, destination),
            "tags" => layer.tags = list(&field, findings, |text, _, _| destination(text)),
            "build-args" => layer.build_args = texts(&field, rules::arg_name, findings),
            "target" => layer.target = single(&field, findings, target),
            "labels" => layer.labels = texts(&field, rules::label_name, findings),
            "annotations" => layer.annotations = texts(&field, rules::label_name, findings),
            "registry-mirrors" => {
                layer.registry_mirrors = list(&field, findings, |text, _, _| mirror(text));
            }
            "registry-map" => layer.registry_map = by_registry(&field, findings, mirrors),
            "certificates" => layer.certificates = by_registry(&field, findings, certificate),
            "compression" => {
                let all = Compression::ALL.map(|it| (it.as_str(), it));
                layer.compression = one_of(&field, &all, findings);
            }
            "reproducible" => layer.reproducible = single(&field, findings, boolean),
            "single-snapshot" => layer.single_snapshot = single(&field, findings, boolean),
            "secrets" => layer.secrets = secrets::list(&field, sources, findings),
            "push-retry" => layer.push_retry = single(&field, findings, retries),
            "cache" => layer.cache = cache(&field, findings),
            "snapshot-mode" => {
                let modes = SnapshotMode::ALL.map(|mode| (mode.as_str(), mode));
                layer.snapshot_mode = one_of(&field, &modes, findings);
            }
            "use-new-run" => layer.use_new_run = single(&field, findings, boolean),
            "cleanup" => layer.cleanup = single(&field, findings, boolean),
            "no-push" => layer.no_push = single(&field, findings, boolean),
            "custom-platform" => layer.custom_platform = single(&field, findings, custom_platform),
            "dir" => layer.dir = single(&field, findings, kaniko_dir),
            "ignore-path" => layer.ignore_path = list(&field, findings, ignored_path),
            "extra-flags" => layer.extra_flags = extra_flags(&field, findings),
            "env" => layer.env = environment(&field, findings),
            _ => unused(key, &field, findings),
        }
    }
    if let Some(at) = layer.settle_dockerfile() {
        findings.mistake(at, Message::new("`dockerfile` is set too").with_hint("keep one of them"));
    }
    layer
}

/// Reports a key of version 1.0 that has no effect.
fn unused(key: &str, field: &Field<'_>, findings: &mut Findings) {
    if let Some(ValueForm::Unused { why, hint }) =
        keys::KANIKO.iter().find(|it| it.name == key).map(|it| it.form)
    {
        let message = Message::new(format!("no effect: {why}")).with_hint(hint);
        findings.notice(field.location.clone(), message);
    }
}

fn cache(field: &Field<'_>, findings: &mut Findings) -> CacheLayer {
    let mut layer = CacheLayer::default();
    let elsewhere =
        |key: &str| has(&keys::KANIKO, key).then(|| "it belongs beside `cache`, one level up".to_owned());
    for (key, field) in section(field, &CACHE, elsewhere, findings).unwrap_or_default() {
        match key {
            "enable" => layer.enable = single(&field, findings, boolean),
            "repo" => layer.repo = single(&field, findings, cache_repo),
            "ttl" => layer.ttl_seconds = single(&field, findings, ttl),
            "copy-layers" => layer.copy_layers = single(&field, findings, boolean),
            "run-layers" => layer.run_layers = single(&field, findings, boolean),
            _ => layer.compressed = single(&field, findings, boolean),
        }
    }
    layer
}

/// Variables: their values may be secrets.
fn environment(field: &Field<'_>, findings: &mut Findings) -> MapLayer<Secret> {
    let map = texts(field, rules::env_name, findings);
    let secret = |(name, (text, location))| (name, (Secret::new(text), location));
    MapLayer { cleared: map.cleared, entries: map.entries.into_iter().map(secret).collect() }
}

#[expect(clippy::unnecessary_wraps, reason = "the form that `list` takes")]
fn ignored_path(text: &str, location: &Location, findings: &mut Findings) -> Result<String, Message> {
    if !text.starts_with('/') {
        let message = Message::new("not an absolute path: it matches nothing");
        findings
            .notice(location.clone(), message.with_hint("write the path in the image, such as /var/cache"));
    }
    Ok(text.to_owned())
}

/// Splits the flags; each one that is reserved is a mistake of its own.
fn extra_flags(field: &Field<'_>, findings: &mut Findings) -> Key<Vec<String>> {
    let flags = single(field, findings, flags);
    let before = findings.mistakes.len();
    let refused = flags.value().into_iter().flatten().filter_map(|flag| kaniko::refuse_extra_flag(flag));
    for message in refused {
        refuse(field, message, findings);
    }
    if findings.mistakes.len() > before { Key::new(Held::Bad, field.location.clone()) } else { flags }
}
