//! Decodes the tree of a config file into layers.

use std::collections::BTreeMap;

use crate::config::ConfigFile;
use crate::config::keys::{self, names};
use crate::config::layer::{CacheLayer, Held, KanikoLayer, Key, MapLayer, TaskLayer};
use crate::config::logins::{self, PasswordFiles};
use crate::config::naming::ImagePrefix;
use crate::config::values::{
    boolean, cache_repo, cpu, custom_platform, destination, dockerfile, flags, inner_path, kaniko_dir,
    memory, ttl,
};
use crate::config::{held_secrets, variables};
use crate::decode::{Field, refuse_tags, section};
use crate::kaniko;
use crate::message::Message;
use crate::names::{Arch, Platform};
use crate::report::{Findings, Location, did_you_mean, shown};
use crate::rules;
use crate::secret::Secret;
use crate::spec::SnapshotMode;
use crate::yaml::{Replacement, Value};

const TOP: [&str; 3] = names(&keys::TOP);
const TASK: [&str; 10] = names(&keys::TASK);
const KANIKO: [&str; 13] = names(&keys::KANIKO);
const CACHE: [&str; 6] = names(&keys::CACHE);

pub(super) fn file(root: &Field<'_>, files: &dyn PasswordFiles, mut findings: Findings) -> ConfigFile {
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
            (TASK.contains(&key) || KANIKO.contains(&key))
                .then(|| "it belongs below `global`, or in an entry of `bake`".to_owned())
        };
        for (key, field) in section(root, &TOP, elsewhere, findings).unwrap_or_default() {
            if key == "global" {
                global_location = field.location.clone();
                global = task(&field, files, findings);
            } else if key == variables::KEY {
                // It has had its effect already.
                let _ = single(&field, findings, boolean);
            } else if let Value::List(_) = field.node.value {
                for entry in field.items() {
                    let layer = task(&entry, files, findings);
                    if let Some(location) = layer.registry.location() {
                        let message = Message::new("belongs in `global`: it is for all services");
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
        holds_secrets: held_secrets::are_in_file(root),
        written: BTreeMap::new(),
    }
}

fn task(field: &Field<'_>, files: &dyn PasswordFiles, findings: &mut Findings) -> TaskLayer {
    if field.node.is_null() {
        let hint = "remove it, or write `{}` for a task that inherits everything from `global`";
        findings.mistake(field.location.clone(), Message::new("the entry is empty").with_hint(hint));
        return unknown(&field.location);
    }
    let mut layer = TaskLayer::default();
    let elsewhere = |key: &str| {
        let cache = CACHE.contains(&key).then(|| "it belongs below `kaniko.cache`".to_owned());
        KANIKO.contains(&key).then(|| "it belongs below `kaniko`".to_owned()).or(cache)
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
            "env" => {
                let map = texts(&field, rules::env_name, findings);
                let secret = |(name, (text, location))| (name, (Secret::new(text), location));
                layer.env =
                    MapLayer { cleared: map.cleared, entries: map.entries.into_iter().map(secret).collect() };
            }
            "pre-script" => layer.pre_script = verbatim(&field, findings),
            "post-script" => layer.post_script = verbatim(&field, findings),
            "kaniko-credentials" => layer.credentials = logins::decode(&field, files, findings),
            "registry" => layer.registry = single(&field, findings, ImagePrefix::parse),
            _ => layer.kaniko = kaniko_section(&field, findings),
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

fn kaniko_section(field: &Field<'_>, findings: &mut Findings) -> KanikoLayer {
    let mut layer = KanikoLayer::default();
    let elsewhere = |key: &str| {
        let up = TASK.contains(&key).then(|| "it belongs beside `kaniko`, one level up".to_owned());
        CACHE.contains(&key).then(|| "it belongs below `kaniko.cache`".to_owned()).or(up)
    };
    for (key, field) in section(field, &KANIKO, elsewhere, findings).unwrap_or_default() {
        match key {
            "context-path" => layer.context_path = single(&field, findings, inner_path),
            "dockerfile" => layer.dockerfile = single(&field, findings, dockerfile),
            "destination" => layer.destination = single(&field, findings, destination),
            "build-args" => layer.build_args = texts(&field, rules::arg_name, findings),
            "cache" => layer.cache = cache(&field, findings),
            "snapshot-mode" => {
                let modes = [SnapshotMode::Full, SnapshotMode::Redo, SnapshotMode::Time];
                layer.snapshot_mode = one_of(&field, &modes.map(|mode| (mode.as_str(), mode)), findings);
            }
            "use-new-run" => layer.use_new_run = single(&field, findings, boolean),
            "cleanup" => layer.cleanup = single(&field, findings, boolean),
            "no-push" => layer.no_push = single(&field, findings, boolean),
            "custom-platform" => layer.custom_platform = single(&field, findings, custom_platform),
            "dir" => layer.dir = single(&field, findings, kaniko_dir),
            "ignore-path" => layer.ignore_path = ignore_path(&field, findings),
            _ => layer.extra_flags = extra_flags(&field, findings),
        }
    }
    layer
}

fn cache(field: &Field<'_>, findings: &mut Findings) -> CacheLayer {
    let mut layer = CacheLayer::default();
    let elsewhere =
        |key: &str| KANIKO.contains(&key).then(|| "it belongs beside `cache`, one level up".to_owned());
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

/// A single value, or an empty one that clears it.
fn single<T>(
    field: &Field<'_>,
    findings: &mut Findings,
    read: impl Fn(&str) -> Result<T, Message>,
) -> Key<T> {
    let value = if field.clears() {
        Held::Cleared
    } else {
        match read_text(field, findings).map(read) {
            Some(Ok(value)) => Held::Set(value),
            Some(Err(message)) => {
                let message = field.written().map_or(message, |written| with_variables(field, written));
                findings.mistake(field.location.clone(), message);
                Held::Bad
            }
            None => Held::Bad,
        }
    };
    Key::new(value, field.location.clone())
}

/// What is wrong with a value whose variables are replaced, without the values of these.
fn with_variables(field: &Field<'_>, written: &str) -> Message {
    let message = format!("`{}`, with its variables replaced, is not a valid value", shown(written));
    let key = field.location.path.rsplit('.').next().unwrap_or_default();
    match keys::form_of(key) {
        Some(form) => Message::new(message).with_hint(format!("it must be: {form}")),
        None => message.into(),
    }
}

/// A single value without NUL bytes, which no process accepts. `None` after a mistake, also in one of its variables.
pub(crate) fn read_text<'n>(field: &Field<'n>, findings: &mut Findings) -> Option<&'n str> {
    let text = field.text(findings)?;
    if field.node.replacement == Replacement::Failed {
        return None;
    }
    if text.contains('\0') {
        findings.mistake(field.location.clone(), Message::new("holds a NUL byte").with_hint("remove it"));
        return None;
    }
    Some(text)
}

fn one_of<T: Copy>(field: &Field<'_>, known: &[(&str, T)], findings: &mut Findings) -> Key<T> {
    let accepted: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    single(field, findings, |text| {
        known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            // Other names of the same architectures.
            let hint = match text {
                "x86_64" | "x86-64" | "x64" if accepted.contains(&"amd64") => {
                    "did you mean `amd64`?".to_owned()
                }
                "aarch64" if accepted.contains(&"arm64") => "did you mean `arm64`?".to_owned(),
                _ => did_you_mean(text, &accepted),
            };
            Message::new(format!("`{}` is not a valid value", shown(text))).with_hint(hint)
        })
    })
}

/// A map of texts; a name for which `refuse` returns a reason is a mistake.
fn texts(
    field: &Field<'_>,
    refuse: impl Fn(&str) -> Option<Message>,
    findings: &mut Findings,
) -> MapLayer<String> {
    let mut map = MapLayer { cleared: field.clears(), ..MapLayer::default() };
    match &field.node.value {
        Value::Map(entries) if entries.is_empty() => {
            let hint = "write '' to clear the inherited entries";
            findings.notice(
                field.location.clone(),
                Message::new("`{}` adds nothing: inherited entries are kept").with_hint(hint),
            );
        }
        Value::Map(_) => {}
        _ if map.cleared => {}
        _ => {
            findings.mistake(
                field.location.clone(),
                Message::new(format!("expected a mapping, found {}", field.node.kind()))
                    .with_hint("write `NAME: value`, one per line"),
            );
        }
    }
    for (name, value) in field.entries() {
        if let Some(message) = refuse(name) {
            findings.mistake(value.location, message);
        } else if value.node.is_null() {
            findings.mistake(
                value.location,
                Message::new("has no value").with_hint("write '' for an empty string"),
            );
        } else if let Some(text) = read_text(&value, findings) {
            map.entries.insert(name.to_owned(), (text.to_owned(), value.location));
        }
    }
    map
}

fn ignore_path(field: &Field<'_>, findings: &mut Findings) -> Key<Vec<String>> {
    let location = field.location.clone();
    let value = match &field.node.value {
        _ if field.clears() => Held::Cleared,
        Value::List(_) => {
            let before = findings.mistakes.len();
            let mut paths = Vec::new();
            for item in field.items() {
                let Some(path) = read_text(&item, findings) else { continue };
                if !path.starts_with('/') {
                    let message = "not an absolute path: it matches nothing";
                    findings.notice(
                        item.location,
                        Message::new(message).with_hint("write the path in the image, such as /var/cache"),
                    );
                }
                paths.push(path.to_owned());
            }
            if findings.mistakes.len() > before { Held::Bad } else { Held::Set(paths) }
        }
        _ => {
            field.expected("a list", findings);
            Held::Bad
        }
    };
    Key::new(value, location)
}

fn verbatim(field: &Field<'_>, findings: &mut Findings) -> Key<String> {
    single(field, findings, |text| Ok(text.to_owned()))
}

/// Splits the flags; each one that is reserved is a mistake of its own.
fn extra_flags(field: &Field<'_>, findings: &mut Findings) -> Key<Vec<String>> {
    let flags = single(field, findings, flags);
    let before = findings.mistakes.len();
    let refused = flags.value().into_iter().flatten().filter_map(|flag| kaniko::refuse_extra_flag(flag));
    for message in refused {
        findings.mistake(field.location.clone(), message);
    }
    if findings.mistakes.len() > before { Key::new(Held::Bad, field.location.clone()) } else { flags }
}
