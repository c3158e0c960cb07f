//! The keys that become flags of Kaniko as they are: one table for the command line, for flags that an operator forbids,
//! and for flags that a task sets twice.

use super::flag_names::{folded, name_of};
use super::{Line, Paths};
use crate::message::Message;
use crate::spec::KanikoSpec;

/// The name that Kaniko has for Docker Hub where it compares names of registries.
const KANIKOS_HUB: &str = "index.docker.io";

/// What Kaniko makes of a flag that is there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twice {
    /// It takes all values.
    Adds,
    /// It takes the last one.
    LastWins,
    /// It builds all, and pushes the first: neither is what was meant.
    Wrong,
}

/// The values of a flag.
enum Values {
    /// A switch.
    Switch(bool),
    /// Each is one `--flag=value`.
    Texts(Vec<String>),
}

impl Values {
    fn one(text: Option<impl Into<String>>) -> Self {
        Self::Texts(text.into_iter().map(Into::into).collect())
    }

    fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self::Texts(pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }
}

/// A key and its flag.
struct FlagOfKey {
    key: &'static str,
    /// Without its dashes.
    flag: &'static str,
    twice: Twice,
    /// True if the image would be another one without it: then an executor that lacks the flag fails. Else it is left out
    /// with a notice.
    is_needed: bool,
    values: fn(&KanikoSpec, &Paths) -> Values,
}

const fn needed(
    key: &'static str,
    flag: &'static str,
    twice: Twice,
    values: fn(&KanikoSpec, &Paths) -> Values,
) -> FlagOfKey {
    FlagOfKey { key, flag, twice, is_needed: true, values }
}

const fn optional(
    key: &'static str,
    flag: &'static str,
    twice: Twice,
    values: fn(&KanikoSpec, &Paths) -> Values,
) -> FlagOfKey {
    FlagOfKey { key, flag, twice, is_needed: false, values }
}

const KEYS: [FlagOfKey; 16] = [
    needed("kaniko.build-args", "build-arg", Twice::Adds, |it, _| Values::pairs(&it.build_args)),
    needed("kaniko.target", "target", Twice::Wrong, |it, _| Values::one(it.target.as_deref())),
    needed("kaniko.labels", "label", Twice::Adds, |it, _| Values::pairs(&it.labels)),
    needed("kaniko.annotations", "annotation", Twice::Adds, |it, _| Values::pairs(&it.annotations)),
    needed("kaniko.compression", "compression", Twice::LastWins, |it, _| {
        Values::one(it.compression.map(crate::spec::Compression::as_str))
    }),
    needed("kaniko.reproducible", "reproducible", Twice::LastWins, |it, _| Values::Switch(it.reproducible)),
    needed("kaniko.single-snapshot", "single-snapshot", Twice::LastWins, |it, _| {
        Values::Switch(it.single_snapshot)
    }),
    optional("kaniko.snapshot-mode", "snapshot-mode", Twice::LastWins, |it, _| {
        Values::one(it.snapshot_mode.map(crate::spec::SnapshotMode::as_str))
    }),
    optional("kaniko.use-new-run", "use-new-run", Twice::LastWins, |it, _| Values::Switch(it.use_new_run)),
    optional("kaniko.cleanup", "cleanup", Twice::LastWins, |it, _| Values::Switch(it.cleanup)),
    optional("kaniko.ignore-path", "ignore-path", Twice::Adds, |it, _| Values::Texts(it.ignore_path.clone())),
    needed("kaniko.registry-mirrors", "registry-mirror", Twice::Adds, |it, _| {
        Values::Texts(it.registry_mirrors.clone())
    }),
    needed("kaniko.registry-map", "registry-map", Twice::Adds, |it, _| {
        let mirrors = |(host, mirrors): (&String, &Vec<String>)| {
            mirrors.iter().map(|mirror| format!("{}={mirror}", kanikos_name(host))).collect::<Vec<_>>()
        };
        Values::Texts(it.registry_map.iter().flat_map(mirrors).collect())
    }),
    needed("kaniko.certificates", "registry-certificate", Twice::Adds, |it, paths| {
        let file = |path: &String| {
            if path.starts_with('/') { path.clone() } else { format!("{}/{path}", paths.source) }
        };
        let pair = |(host, path): (&String, &String)| format!("{}={}", kanikos_name(host), file(path));
        Values::Texts(it.certificates.iter().map(pair).collect())
    }),
    needed("kaniko.secrets", "secret", Twice::Adds, |it, paths| {
        let file = |id| format!("id={id},type=file,src={}/{id}", paths.secrets);
        Values::Texts(it.secrets.keys().map(file).collect())
    }),
    optional("kaniko.push-retry", "push-retry", Twice::LastWins, |it, _| {
        Values::one(it.push_retry.map(|times| times.to_string()))
    }),
];

/// The arguments of every key that is set.
pub(super) fn arguments(line: &mut Line<'_>, kaniko: &KanikoSpec, paths: &Paths) {
    for FlagOfKey { flag, is_needed, values, .. } in &KEYS {
        match values(kaniko, paths) {
            Values::Switch(false) => {}
            Values::Switch(true) if *is_needed => line.args.push(format!("--{flag}")),
            Values::Switch(true) => line.switch(flag, true),
            Values::Texts(texts) if *is_needed => texts.iter().for_each(|text| line.always(flag, text)),
            Values::Texts(texts) => texts.iter().for_each(|text| line.value(flag, text)),
        }
    }
}

/// The keys that are set, each with its flag.
pub(super) fn set(kaniko: &KanikoSpec) -> impl Iterator<Item = (&'static str, &'static str)> {
    let paths = Paths::of(None);
    KEYS.iter().filter(move |key| is_set(key, kaniko, &paths)).map(|key| (key.key, key.flag))
}

fn is_set(key: &FlagOfKey, kaniko: &KanikoSpec, paths: &Paths) -> bool {
    match (key.values)(kaniko, paths) {
        Values::Switch(on) => on,
        Values::Texts(texts) => !texts.is_empty(),
    }
}

/// The arguments that keys with free text become, for a search for secrets in them.
pub fn free_arguments(kaniko: &KanikoSpec) -> Vec<String> {
    let pairs = |flag: &'static str, pairs: &std::collections::BTreeMap<String, String>| {
        pairs.iter().map(|(name, value)| format!("--{flag}={name}={value}")).collect::<Vec<_>>()
    };
    [pairs("label", &kaniko.labels), pairs("annotation", &kaniko.annotations)].concat()
}

/// Keys whose flag is in `extra-flags` too, where that is a mistake, each with what is wrong.
pub fn set_twice(kaniko: &KanikoSpec) -> Vec<(&'static str, Message)> {
    let wrong = |(key, flag): (&'static str, &str)| {
        (key, Message::new(format!("`--{flag}` is in `extra-flags` too")).with_hint("keep one of them"))
    };
    twice(kaniko, Twice::Wrong).map(wrong).collect()
}

/// Keys that have no effect because their flag is in `extra-flags`, each with what to say.
pub fn overridden(kaniko: &KanikoSpec) -> Vec<(&'static str, Message)> {
    let notice = |(key, flag): (&'static str, &str)| {
        let message = Message::new(format!("has no effect: `--{flag}` in `extra-flags` wins"));
        (key, message.with_hint("keep one of them"))
    };
    twice(kaniko, Twice::LastWins).map(notice).collect()
}

fn twice(kaniko: &KanikoSpec, kind: Twice) -> impl Iterator<Item = (&'static str, &'static str)> {
    let flags: Vec<String> =
        kaniko.extra_flags.iter().filter_map(|flag| name_of(flag)).map(|name| folded(&name)).collect();
    let paths = Paths::of(None);
    KEYS.iter()
        .filter(move |key| key.twice == kind && flags.contains(&folded(key.flag)))
        .filter(move |key| is_set(key, kaniko, &paths))
        .map(|key| (key.key, key.flag))
}

fn kanikos_name(registry: &str) -> &str {
    if registry == crate::image::DOCKER_HUB { KANIKOS_HUB } else { registry }
}
