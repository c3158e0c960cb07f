//! One image from options alone: they become what `global` and the entries of a config.yaml hold, so that everything else is
//! the same.

mod paths;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bakery_core::buildx::{self, CacheReader, CacheRepository, CacheText, SecretOption, SecretPlace};
use bakery_core::change::{Change, NewValue};
use bakery_core::config::{self, ConfigFile, Naming, SecretPurpose, SecretSources};
use bakery_core::message::Message;
use bakery_core::report::{Findings, Location, nearest, shown};
use bakery_core::secret::Secret;
use bakery_core::vars::Vars as _;
use clap::CommandFactory as _;

use crate::checkout::read_secret;
use crate::cli::{BuildOptions, Cli};
use crate::compose_input::own_arch;
use crate::image_options::ImageOptions;
use crate::project_variables::ProjectVariables;

/// How the caches of the options are read.
const CACHES: CacheReader<'static> = CacheReader {
    instead: "Kaniko keeps its layers in a repository: --cache-to type=registry,ref=REGISTRY/REPOSITORY",
    several: &|first: &Location| format!("name one repository in all of them; the first is in {first}"),
};

/// What the options of one image are read with.
pub(crate) struct OneImage<'a> {
    pub(crate) options: &'a BuildOptions,
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// The source root.
    pub(crate) root: &'a Path,
    pub(crate) project: &'a ProjectVariables<'a>,
    pub(crate) naming: &'a Naming,
    /// The files of secrets that are read.
    pub(crate) files_of_secrets: &'a RefCell<Vec<PathBuf>>,
}

impl OneImage<'_> {
    /// The config that the options make, with further `changes`.
    pub(crate) fn config(&self, changes: Vec<Change>) -> ConfigFile {
        let image = &self.options.image;
        let mut reader = Reader { input: self, changes: Vec::new(), findings: Findings::default() };
        reader.names(image);
        reader.paths(image);
        let entries = reader.platforms(image);
        reader.set("--target", "global.kaniko.target", image.target.as_deref());
        reader.pairs("--build-arg", "global.kaniko.build-args", &image.build_arg);
        reader.pairs("--label", "global.kaniko.labels", &image.label);
        reader.pairs("--annotation", "global.kaniko.annotations", &image.annotation);
        reader.secrets(&image.secret);
        reader.cache(image);
        let Reader { changes: mut all, findings, .. } = reader;
        all.extend(changes);
        config::of_options(entries, &all, self, findings)
    }
}

/// The user names the variables and files of options, so the user's own are meant: none is withheld.
impl SecretSources for OneImage<'_> {
    fn env(&self, name: &str, _written: &str) -> Result<Secret, Message> {
        // The name is not shown: it may be the value, in the wrong place.
        self.environment.get(name).map(|value| Secret::new(value.as_str())).ok_or_else(|| {
            Message::new("its variable is not set")
                .with_hint("`env` is the name of a variable of the environment; id=ID,src=FILE takes a file")
        })
    }

    fn file(&self, path: &str, written: &str, _purpose: SecretPurpose) -> Result<Secret, Message> {
        let value = read_secret(&shown(written), Path::new(path))?;
        self.files_of_secrets.borrow_mut().push(path.into());
        Ok(value)
    }
}

struct Reader<'a> {
    input: &'a OneImage<'a>,
    changes: Vec<Change>,
    findings: Findings,
}

impl Reader<'_> {
    fn set(&mut self, option: &str, path: &str, value: Option<&str>) {
        self.changes.extend(value.map(|value| Change::of_option(option, path, value)));
    }

    fn mistake(&mut self, option: &str, message: impl Into<Message>) {
        self.findings.mistake(Location::setting(option), message);
    }

    /// The destination, and more names.
    fn names(&mut self, image: &ImageOptions) {
        if image.tag.is_empty() && !self.input.options.no_push {
            let hint = format!(
                "{}-t REGISTRY/REPOSITORY:TAG names it; --no-push builds without a name",
                something_else(image).map(|hint| format!("{hint} ")).unwrap_or_default()
            );
            self.mistake("--tag", Message::new("the image has no name").with_hint(hint));
            // It is missing once.
            self.set("--tag", "global.kaniko.no-push", Some("true"));
        }
        for (option, text) in numbered("--tag", &image.tag) {
            let name = match self.input.naming.completed(text) {
                Ok(name) => name,
                Err(message) => {
                    self.mistake(&option, message);
                    // It is not missing.
                    text.to_owned()
                }
            };
            let is_first = self.changes.is_empty();
            let path = if is_first { "global.kaniko.destination" } else { "global.kaniko.tags" };
            let change = Change::of_option(&option, path, &name);
            self.changes.push(if is_first { change } else { change.appended() });
        }
    }

    /// One entry for each platform; their number.
    fn platforms(&mut self, image: &ImageOptions) -> usize {
        let default = || self.input.environment.setting(buildx::DEFAULT_PLATFORM);
        let is_given = image.platform.iter().any(|text| !text.is_empty());
        let (option, texts) = match default().filter(|_| !is_given) {
            Some(text) => (buildx::DEFAULT_PLATFORM, vec![text]),
            // One that is empty is a variable of a job that is not set.
            None => ("--platform", image.platform.iter().filter(|text| !text.is_empty()).cloned().collect()),
        };
        let mut known = Vec::new();
        for (option, text) in numbered(option, &texts) {
            match buildx::platform(text) {
                Ok(platform) if known.contains(&platform) => {
                    self.findings.notice(Location::setting(&option), "listed twice, used once");
                }
                Ok(platform) => known.push(platform),
                Err(expected) => {
                    let hint = "--on says where the task runs: ecs, k8s or docker";
                    let message = Message::new(format!("`{}` is not {expected}", shown(text)));
                    self.mistake(&option, message.with_hint(hint));
                }
            }
        }
        if known.is_empty() {
            known.push((own_arch(), None));
        }
        for (nth, (arch, variant)) in known.iter().enumerate() {
            self.set(option, &format!("bake[{nth}].arch"), Some(arch.as_str()));
            self.set(option, &format!("bake[{nth}].kaniko.custom-platform"), variant.as_deref());
        }
        known.len()
    }

    /// `NAME=VALUE`; what a name alone means is up to the option.
    fn pairs(&mut self, option: &str, section: &str, texts: &[String]) {
        for (option, text) in numbered(option, texts) {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            if name.is_empty() {
                self.mistake(&option, Message::new("has no name").with_hint("write NAME=VALUE"));
                continue;
            }
            let pair = match (section.rsplit('.').next(), value) {
                (Some("build-args"), None) => self.of_variable(&option, name).map(|value| (name, value)),
                (Some("annotations"), value) => self.annotation(&option, name, value),
                (_, value) => Some((name, value.unwrap_or_default())),
            };
            if let Some((name, value)) = pair {
                self.set(&option, &format!("{section}.{name}"), Some(&value));
            }
        }
    }

    /// The value of an argument that has none, as in buildx: that of the variable, if it is set.
    fn of_variable(&mut self, option: &str, name: &str) -> Option<String> {
        if let Some(message) = self.input.project.withheld.refuses(name) {
            let hint = message.hint.unwrap_or_default();
            let hint = format!("--secret id=ID,env={name} passes it as a secret; {hint}");
            self.mistake(option, Message::new(message.text).with_hint(hint));
            return None;
        }
        self.input.project.vars().get(name)
    }

    /// An annotation of the manifest, which buildx may also write as `manifest:NAME`.
    fn annotation<'t>(
        &mut self,
        option: &str,
        name: &'t str,
        value: Option<String>,
    ) -> Option<(&'t str, String)> {
        const LEVELS: [&str; 3] = ["index", "index-descriptor", "manifest-descriptor"];
        let Some(value) = value else {
            self.mistake(
                option,
                Message::new("not of the form NAME=VALUE").with_hint("write NAME= for an empty value"),
            );
            return None;
        };
        let (level, rest) = name.split_once(':').map_or(("manifest", name), |(level, rest)| (level, rest));
        if level == "manifest" {
            return Some((rest, value));
        }
        if LEVELS.contains(&level.split('[').next().unwrap_or_default()) || level.starts_with("manifest[") {
            let message = Message::new(format!("`{}` cannot be annotated", shown(level)));
            self.mistake(
                option,
                message.with_hint("Kaniko annotates the manifest of each image: NAME=VALUE"),
            );
            return None;
        }
        Some((name, value))
    }

    fn secrets(&mut self, texts: &[String]) {
        for (option, text) in numbered("--secret", texts) {
            let secret = match SecretOption::parse(text) {
                Ok(secret) => secret,
                Err(message) => {
                    self.mistake(&option, message);
                    continue;
                }
            };
            let is_file =
                |name: &str| !self.input.environment.contains_key(name) && Path::new(name).is_file();
            let (key, value) = match secret.source {
                SecretPlace::Variable(name) => ("env", name),
                SecretPlace::File(path) => ("file", path),
                SecretPlace::OfId if is_file(secret.id) => ("file", secret.id),
                SecretPlace::OfId => ("env", secret.id),
            };
            let option = format!("--secret id={}", shown(secret.id));
            let record = vec![("id", secret.id.to_owned()), (key, value.to_owned())];
            let change = Change::of_option(&option, "global.kaniko.secrets", "");
            self.changes.push(change.with(NewValue::Record(record)).appended());
        }
    }

    fn cache(&mut self, image: &ImageOptions) {
        let mut all: Vec<CacheRepository> = Vec::new();
        for (option, texts, is_written) in
            [("--cache-to", &image.cache_to, true), ("--cache-from", &image.cache_from, false)]
        {
            for (option, text) in numbered(option, texts) {
                let at = Location::setting(&option);
                let cache = CacheText { text, at: &at, is_written, seen: &shown, unset: &|| None };
                all.extend(CACHES.repository(&cache, &mut self.findings));
            }
        }
        let of_option = image
            .cache_repo
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(|name| ("--cache-repo".to_owned(), name));
        let named = CACHES.one(&all, &mut self.findings);
        if let (Some((first, name)), Some(second)) = (&of_option, named)
            && name.trim_end_matches('/') != second.name
        {
            CACHES.second(second, &Location::setting(first), &mut self.findings);
        }
        let named = named.map(|repo| (repo.location.source.to_string(), repo.name.as_str()));
        let Some((option, name)) = of_option.or(named) else { return };
        if self.input.options.no_cache {
            self.findings.notice(Location::setting(&option), "has no effect: --no-cache is set");
            return;
        }
        self.set(&option, "global.kaniko.cache.enable", Some("true"));
        self.set(&option, "global.kaniko.cache.repo", Some(name));
    }
}

/// What the user may have meant: a command, or a file that is not a Dockerfile.
fn something_else(image: &ImageOptions) -> Option<String> {
    let cli = Cli::command();
    let commands: Vec<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let command = image.path.as_ref().and_then(|path| nearest(path.to_str()?, &commands));
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|it| it == "yaml" || it == "yml");
    let file = image.file.as_ref().filter(|path| is_yaml(path));
    command.map(|name| format!("did you mean the command `{name}`?")).or_else(|| {
        let file = shown(file?.to_str()?);
        Some(format!("--compose {file} reads a Compose file, --config {file} a config.yaml;"))
    })
}

/// The values of an option, each with the option's name, which has a number if there are several.
fn numbered<'t>(option: &str, texts: &'t [String]) -> Vec<(String, &'t str)> {
    let name = |nth| if texts.len() > 1 { format!("{option} {nth}") } else { option.to_owned() };
    (1..).zip(texts).map(|(nth, text)| (name(nth), text.as_str())).collect()
}
