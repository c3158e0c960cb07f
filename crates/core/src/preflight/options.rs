//! What of a task's settings changes how a Dockerfile is read and built.

use std::collections::{BTreeMap, BTreeSet};

use super::PreflightInput;
use crate::secret::Secret;

/// The settings, keys and flags together.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the executor's own")]
pub(super) struct ExecutorOptions {
    pub(super) build_args: BTreeMap<String, String>,
    pub(super) target: Option<String>,
    pub(super) target_platform: String,
    pub(super) build_platform: String,
    /// The ids of the secrets that are supplied.
    pub(super) secrets: BTreeSet<String>,
    /// Whether layers of RUN come from the cache.
    pub(super) caches_runs: bool,
    /// Whether layers of COPY do.
    pub(super) caches_copies: bool,
    pub(super) single_snapshot: bool,
    pub(super) new_run: bool,
    pub(super) ignores_immutable_tags: bool,
    /// `FF_KANIKO_RUN_MOUNT_BIND`
    pub(super) mounts_binds: bool,
    /// `FF_KANIKO_COPY_AS_ROOT`
    pub(super) copies_as_root: bool,
}

impl ExecutorOptions {
    pub(super) fn of(input: &PreflightInput<'_>) -> Self {
        let PreflightInput { arch, kaniko, env, .. } = input;
        let flags = ExtraFlags(&kaniko.extra_flags);
        let build_platform = format!("linux/{arch}");
        let mut build_args = kaniko.build_args.clone();
        for argument in flags.values("build-arg") {
            if let Some((name, value)) = argument.split_once('=') {
                build_args.insert(name.to_owned(), value.to_owned());
            } else if let Some(value) = env.get(argument) {
                build_args.insert(argument.to_owned(), value.expose().to_owned());
            }
        }
        let mut secrets: BTreeSet<String> = kaniko.secrets.keys().cloned().collect();
        for secret in flags.values("secret") {
            let parts = secret.split(',').filter_map(|part| part.split_once('='));
            secrets.extend(
                parts.filter(|(key, _)| key.trim() == "id").map(|(_, value)| value.trim().to_owned()),
            );
        }
        let caches = flags.is_on("cache", kaniko.cache.enable);
        Self {
            build_args,
            target: flags.values("target").last().map(str::to_owned).or_else(|| kaniko.target.clone()),
            target_platform: flags
                .values("custom-platform")
                .chain(flags.values("customPlatform"))
                .last()
                .map(str::to_owned)
                .or_else(|| kaniko.custom_platform.clone())
                .unwrap_or_else(|| build_platform.clone()),
            build_platform,
            secrets,
            caches_runs: caches && flags.is_on("cache-run-layers", kaniko.cache.run_layers.unwrap_or(true)),
            caches_copies: caches
                && flags.is_on("cache-copy-layers", kaniko.cache.copy_layers.unwrap_or(false)),
            single_snapshot: flags.is_on("single-snapshot", kaniko.single_snapshot),
            new_run: flags.is_on("use-new-run", kaniko.use_new_run),
            ignores_immutable_tags: flags.is_on("push-ignore-immutable-tag-errors", false),
            mounts_binds: is_set(env, "FF_KANIKO_RUN_MOUNT_BIND"),
            copies_as_root: is_set(env, "FF_KANIKO_COPY_AS_ROOT"),
        }
    }
}

/// Whether a variable is true for the executor.
fn is_set(env: &BTreeMap<String, Secret>, name: &str) -> bool {
    env.get(name).is_some_and(|value| is_true(value.expose()))
}

/// What Go reads as true.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// `extra-flags`.
struct ExtraFlags<'f>(&'f [String]);

impl<'f> ExtraFlags<'f> {
    /// The values of a flag: `--name=value`, or `--name value`.
    fn values(&self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().enumerate().filter_map(move |(at, flag)| {
            let rest = flag.strip_prefix("--")?.strip_prefix(name)?;
            match rest.strip_prefix('=') {
                None if rest.is_empty() => self.0.get(at + 1).map(String::as_str),
                value => value,
            }
        })
    }

    /// The last value of a switch: `--name`, or `--name=true`.
    fn is_on(&self, name: &str, unless_given: bool) -> bool {
        let given = self.0.iter().rev().find_map(|flag| {
            let rest = flag.strip_prefix("--")?.strip_prefix(name)?;
            if rest.is_empty() { Some(true) } else { rest.strip_prefix('=').map(is_true) }
        });
        given.unwrap_or(unless_given)
    }
}
