//! Kaniko's command line: options and paths in, one argument per value out. No shell is ever involved.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::image::ImageRef;
use crate::message::Message;
use crate::names::Arch;
use crate::path;
use crate::spec::{CacheSpec, KanikoSpec};
use crate::units::format_duration;
use crate::wire::run::Push;

mod flag_names;
mod keys;
mod refused;

pub use keys::{free_arguments, overridden, set_twice};
pub use refused::RefusedFlags;

/// Where the agent's image has Kaniko and the agent.
pub const DIR: &str = "/kaniko";

/// The executor that Bakery is built and tested with; what `plan` prints is its command line.
pub const PINNED_VERSION: &str = "v1.27.5";

/// Every flag of [`PINNED_VERSION`], in the order of its own help.
const PINNED_FLAGS: &[&str] = &[
    "annotation",
    "build-arg",
    "cache",
    "cache-copy-layers",
    "cache-dir",
    "cache-repo",
    "cache-run-layers",
    "cache-ttl",
    "cleanup",
    "compressed-caching",
    "compression",
    "compression-level",
    "context",
    "context-sub-path",
    "credential-helpers",
    "custom-platform",
    "customPlatform",
    "destination",
    "digest-file",
    "dockerfile",
    "dryrun",
    "force",
    "force-build-metadata",
    "git",
    "ignore-path",
    "ignore-var-run",
    "image-download-retry",
    "image-fs-extract-retry",
    "image-name-tag-with-digest-file",
    "image-name-with-digest-file",
    "insecure",
    "insecure-pull",
    "insecure-registry",
    "kaniko-dir",
    "label",
    "log-format",
    "log-timestamp",
    "materialize",
    "no-push",
    "no-push-cache",
    "oci-layout-path",
    "pre-cleanup",
    "preserve-context",
    "push-ignore-immutable-tag-errors",
    "push-retry",
    "registry-certificate",
    "registry-client-cert",
    "registry-map",
    "registry-mirror",
    "reproducible",
    "secret",
    "single-snapshot",
    "skip-default-registry-fallback",
    "skip-push-permission-check",
    "skip-tls-verify",
    "skip-tls-verify-pull",
    "skip-tls-verify-registry",
    "skip-unused-stages",
    "snapshot-mode",
    "snapshotMode",
    "tar-path",
    "tarPath",
    "target",
    "use-new-run",
    "verbosity",
];

/// Flags that decide what an agent can prove about a build, and what a user sets instead.
const RESERVED: &[(&str, Option<char>, &str)] = &[
    ("context", Some('c'), "use `kaniko.context-path`"),
    ("bucket", Some('b'), "use `kaniko.context-path`"),
    ("dockerfile", Some('f'), "use `kaniko.dockerfile`"),
    ("destination", Some('d'), "use `kaniko.destination`"),
    ("digest-file", None, "Bakery reads the digest itself and prints it"),
    ("tar-path", None, "use `kaniko.destination`, or `kaniko.no-push: true`"),
    ("tarPath", None, "use `kaniko.destination`, or `kaniko.no-push: true`"),
    ("no-push", None, "use `kaniko.no-push: true`"),
    ("kaniko-dir", None, "use `kaniko.dir`, which moves the agent as well"),
    ("log-format", None, "set LOG_FORMAT for the client instead"),
    ("help", Some('h'), "remove it: Kaniko would print its help and exit"),
];

/// The levels at which Kaniko logs that it begins to push. A task that is lost after that is not retried, so the agent
/// must see that line.
const LEVELS: [&str; 3] = ["info", "debug", "trace"];

/// Where the agent keeps what Kaniko reads and writes: below Kaniko's own folder, because Kaniko wipes everything else
/// between stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The unpacked source root.
    pub source: String,
    /// The Dockerfile that is not a file of the source.
    pub dockerfile_inline: String,
    /// The folder of the build secrets.
    pub secrets: String,
    /// The digest of the image; its content counts only after exit code 0.
    pub digest: String,
    /// The image as an OCI layout, where the agent pushes and nothing is cached.
    pub oci_layout: String,
    /// The image as a tar, where the agent pushes and layers are cached: Kaniko rewrites the layout for every cache
    /// layer that it pushes.
    pub tar: String,
}

impl Paths {
    /// Those of a task whose Kaniko lives in `dir`; `None` = in [`DIR`].
    pub fn of(dir: Option<&str>) -> Self {
        Self::below(&format!("{}/bakery", dir.unwrap_or(DIR)))
    }

    /// Those in the folder `home` of the agent's own.
    pub fn below(home: &str) -> Self {
        Self {
            source: format!("{home}/ctx"),
            dockerfile_inline: format!("{home}/Dockerfile.inline"),
            secrets: format!("{home}/secrets"),
            digest: format!("{home}/digest"),
            oci_layout: format!("{home}/oci"),
            tar: format!("{home}/image.tar"),
        }
    }
}

/// What an executor reports about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorFacts {
    /// Its version, `v1.27.5`; `unknown` where it printed none.
    pub version: String,
    flags: BTreeSet<String>,
}

impl ExecutorFacts {
    /// The facts of [`PINNED_VERSION`].
    pub fn pinned() -> Self {
        Self {
            version: PINNED_VERSION.to_owned(),
            flags: PINNED_FLAGS.iter().map(|&flag| flag.to_owned()).collect(),
        }
    }

    /// Reads what `executor version` and `executor --help` printed. Where the help names no flags at all, the pinned
    /// version's are assumed.
    pub fn read(version_output: &str, help_output: &str) -> Self {
        let version = version_output
            .split_whitespace()
            .find(|word| {
                word.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
            .unwrap_or("unknown")
            .to_owned();
        let flags: BTreeSet<String> = help_output.lines().filter_map(flag_of_help_line).collect();
        if flags.is_empty() { Self { version, ..Self::pinned() } } else { Self { version, flags } }
    }

    /// True where this executor has the flag; `flag` without its dashes.
    pub fn knows(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }
}

/// The variables that `--secret` hands to the build as secrets: those of `env=`, and one with the secret's `id` where it
/// names no other source.
pub fn secret_variables(flags: &[String]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut flags = flags.iter().map(String::as_str);
    while let Some(flag) = flags.next() {
        let value = if flag == "--secret" { flags.next() } else { flag.strip_prefix("--secret=") };
        let part = |name: &str| {
            value.into_iter().flat_map(|value| value.split(',')).find_map(|part| {
                let (key, value) = part.split_once('=')?;
                (key.trim() == name).then(|| value.trim())
            })
        };
        let source = part("src").or_else(|| part("source"));
        let of_type = part("type") == Some("env");
        names.extend(part("env").or(source.filter(|_| of_type)).or(part("id").filter(|_| source.is_none())));
    }
    names
}

/// What one task adds to its `kaniko` section.
#[derive(Debug, Clone, Copy)]
pub struct ArgvInput<'a> {
    /// The architecture to build for.
    pub arch: Arch,
    /// Where this task's image goes: the destination, or its `tag_<arch>`; `None` with `no-push`.
    pub push_to: Option<&'a ImageRef>,
    /// Where it goes besides.
    pub also_push_to: &'a [ImageRef],
    /// Who pushes.
    pub push: Push,
    /// Registries (host and port) that are reached over plain HTTP.
    pub insecure_registries: &'a [String],
    /// Where the agent keeps Kaniko's files.
    pub paths: &'a Paths,
}

/// The executor's arguments (without the program itself), and notices about what had to be left out.
///
/// The task's own names (`push_to`, `also_push_to`) are the only destinations; `kaniko.destination` and `kaniko.tags` are
/// the user's wish for the whole target. Extra flags go last, so that they override Bakery's.
pub fn argv(kaniko: &KanikoSpec, input: &ArgvInput<'_>, facts: &ExecutorFacts) -> (Vec<String>, Vec<String>) {
    let mut line = Line { facts, args: Vec::new(), notices: Vec::new() };
    let below = |inner: &str, path: &str| {
        let path = path::join(inner, path).unwrap_or_else(|| path.to_owned());
        if path == "." { input.paths.source.clone() } else { format!("{}/{path}", input.paths.source) }
    };
    line.always("context", &format!("dir://{}", below(".", &kaniko.context_path)));
    match kaniko.dockerfile_in_source() {
        Some(path) => line.always("dockerfile", &below(&kaniko.context_path, path)),
        None => line.always("dockerfile", &input.paths.dockerfile_inline),
    }
    match &kaniko.custom_platform {
        Some(platform) => line.value("custom-platform", platform),
        None => line.value("custom-platform", &format!("linux/{}", input.arch)),
    }
    keys::arguments(&mut line, kaniko, input.paths);
    output(&mut line, kaniko, input);
    if kaniko.cache.enable {
        cache(&mut line, &kaniko.cache, input);
    }
    for host in input.insecure_registries {
        line.value("insecure-registry", host);
    }
    if kaniko.push_retry.is_none() {
        line.value("push-retry", "5");
    }
    line.value("image-download-retry", "3");
    line.value("image-fs-extract-retry", "3");
    line.value("log-format", "color");
    line.value("log-timestamp", "false");
    line.args.extend(kaniko.extra_flags.iter().cloned());
    (line.args, line.notices)
}

/// Why `flag` (one item of `extra-flags`) may not be used; `None` if it may.
pub fn refuse_extra_flag(flag: &str) -> Option<Message> {
    if flag == "--" {
        let hint = "remove it: only flags and their values are allowed";
        return Some(Message::new("`--` would end the flags").with_hint(hint));
    }
    if let Some(level) = verbosity(flag) {
        let level = level.to_ascii_lowercase();
        return (!LEVELS.contains(&level.as_str())).then(|| {
            let hint = "write `--verbosity=debug` as one argument; at a lower verbosity Kaniko does not print when its \
                        push begins";
            Message::new(format!("`--verbosity` must be one of {}", LEVELS.join(", "))).with_hint(hint)
        });
    }
    let (name, _, hint) = if let Some(long) = flag.strip_prefix("--") {
        let name = long.split_once('=').map_or(long, |(name, _)| name);
        RESERVED.iter().find(|(known, ..)| *known == name)?
    } else {
        let short = flag.strip_prefix('-')?.chars().next()?;
        RESERVED.iter().find(|(_, letter, _)| *letter == Some(short))?
    };
    Some(Message::new(format!("the flag `--{name}` is reserved")).with_hint(*hint))
}

/// The level that `flag` sets, empty if the next argument has it; `None` for any other flag.
fn verbosity(flag: &str) -> Option<&str> {
    let value = match flag.strip_prefix("--") {
        Some(long) => long.strip_prefix("verbosity").filter(|rest| rest.is_empty() || rest.starts_with('=')),
        None => flag.strip_prefix("-v"),
    }?;
    Some(value.strip_prefix('=').unwrap_or(value))
}

struct Line<'a> {
    facts: &'a ExecutorFacts,
    args: Vec<String>,
    notices: Vec<String>,
}

impl Line<'_> {
    /// A flag that every build needs: never left out.
    fn always(&mut self, flag: &str, value: &str) {
        self.args.push(format!("--{flag}={value}"));
    }

    fn value(&mut self, flag: &str, value: &str) {
        if self.known(flag) {
            self.always(flag, value);
        }
    }

    fn switch(&mut self, flag: &str, on: bool) {
        if on && self.known(flag) {
            self.args.push(format!("--{flag}"));
        }
    }

    fn known(&mut self, flag: &str) -> bool {
        let known = self.facts.knows(flag);
        if !known {
            let notice = format!("Kaniko {} does not support --{flag}: omitted", self.facts.version);
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
        known
    }
}

fn output(line: &mut Line<'_>, kaniko: &KanikoSpec, input: &ArgvInput<'_>) {
    let by_agent = input.push == Push::ByAgent;
    match input.push_to {
        Some(image) if !kaniko.no_push => {
            // Kaniko writes a tar only under a name, so the name is passed even where the agent pushes.
            line.always("destination", &image.to_string());
            for image in input.also_push_to {
                line.always("destination", &image.to_string());
            }
            if by_agent {
                line.args.push("--no-push".to_owned());
                if kaniko.cache.enable {
                    line.always("tar-path", &input.paths.tar);
                } else {
                    line.always("oci-layout-path", &input.paths.oci_layout);
                }
            }
        }
        _ => line.args.push("--no-push".to_owned()),
    }
    line.always("digest-file", &input.paths.digest);
}

fn cache(line: &mut Line<'_>, cache: &CacheSpec, input: &ArgvInput<'_>) {
    line.args.push("--cache=true".to_owned());
    match (&cache.repo, input.push_to) {
        (Some(repo), _) => line.value("cache-repo", repo),
        // Without a push Kaniko cannot infer the repository that it would take otherwise.
        (None, Some(image)) if input.push == Push::ByAgent => {
            line.value("cache-repo", &format!("{}/cache", image.name()));
        }
        _ => {}
    }
    if let Some(seconds) = cache.ttl_seconds {
        // Go's `time.ParseDuration` reads the same form.
        line.value("cache-ttl", &format_duration(Duration::from_secs(seconds)));
    }
    for (flag, value) in [
        ("cache-copy-layers", cache.copy_layers),
        ("cache-run-layers", cache.run_layers),
        ("compressed-caching", cache.compressed),
    ] {
        if let Some(on) = value {
            line.value(flag, if on { "true" } else { "false" });
        }
    }
}

/// `  -c, --context string   Path ...` -> `context`.
fn flag_of_help_line(line: &str) -> Option<String> {
    let line = line.trim_start();
    let line = match line.strip_prefix('-') {
        Some(rest) if !rest.starts_with('-') => rest.split_once(", ").map(|(_, long)| long)?,
        _ => line,
    };
    let name = line.strip_prefix("--")?.split_whitespace().next()?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
