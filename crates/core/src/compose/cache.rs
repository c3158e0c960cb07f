//! The cache of a build: what `cache_to`, `cache_from` and the same of `x-bake` name becomes the repository of Kaniko's
//! cache.

use crate::compose::build::ServiceReader;
use crate::compose::scalar::Substituted;
use crate::config::layer::{Held, Key};
use crate::decode::Field;
use crate::image::ImageRef;
use crate::message::Message;
use crate::report::{Location, shown};

/// How a cache is written that has an effect.
const FORM: &str = "type=registry,ref=REGISTRY/REPOSITORY";
/// What to do instead of another cache.
const INSTEAD: &str =
    "Kaniko keeps its layers in a repository: cache_to: [\"type=registry,ref=REGISTRY/REPOSITORY\"]";

/// A cache, in the form of buildx.
#[derive(Debug, Default, PartialEq, Eq)]
struct CacheEntry<'t> {
    kind: Option<&'t str>,
    reference: Option<&'t str>,
    /// Whether it has settings that Kaniko does not have.
    has_settings: bool,
}

impl<'t> CacheEntry<'t> {
    /// `type=TYPE,KEY=VALUE`; the error is the part that is not of this form.
    fn parse(text: &'t str) -> Result<Self, &'t str> {
        let mut entry = Self::default();
        for part in text.split(',') {
            let (key, value) = part.split_once('=').ok_or(part)?;
            match key.to_ascii_lowercase().as_str() {
                "type" => entry.kind = Some(value),
                "ref" => entry.reference = Some(value),
                // Kaniko keeps the layers of all stages.
                "mode" => {}
                _ => entry.has_settings = true,
            }
        }
        Ok(entry)
    }
}

/// A repository that holds a cache.
struct Repository {
    name: String,
    /// Whether more than a repository was named: a tag, or settings that Kaniko does not have.
    is_narrowed: bool,
    is_written: bool,
    location: Location,
}

impl ServiceReader<'_, '_> {
    /// Reads the caches of a build, once its `no_cache` has been read.
    pub(super) fn cache(&mut self, build: &Field<'_>) {
        let bake = build.get("x-bake");
        let of_bake = |key| bake.as_ref().and_then(|bake| bake.get(key));
        let written = [build.get("cache_to"), of_bake("cache-to")].map(|field| (field, true));
        let read = [build.get("cache_from"), of_bake("cache-from")].map(|field| (field, false));
        let mut all = Vec::new();
        for (field, is_written) in written.into_iter().chain(read) {
            let Some(field) = field.filter(|field| !field.node.is_null()) else { continue };
            for (text, at) in self.scalars.list(&field, self.findings) {
                all.extend(self.repository(&text, &at, is_written));
            }
        }
        self.use_repositories(&all);
    }

    /// The repository of one cache. `None` for a cache that is not one for Kaniko, which is reported.
    fn repository(&mut self, text: &Substituted, at: &Field<'_>, is_written: bool) -> Option<Repository> {
        let value = text.value.as_str();
        if value.is_empty() {
            return None;
        }
        let entry = if value.contains('=') {
            CacheEntry::parse(value)
        } else {
            // A reference alone: to write, a repository; to read, an image with an inline cache more often than not.
            let kind = if is_written { "registry" } else { "inline" };
            Ok(CacheEntry { kind: Some(kind), reference: Some(value), has_settings: false })
        };
        // The value of a variable is not shown: the text of the file is.
        let seen = |part: &str| if text.is_substituted() { text.shown() } else { shown(part) };
        let unset = || self.scalars.unset(at, text.written()).unwrap_or_else(|| FORM.to_owned());
        let wrong = match entry {
            Err(part) => Message::new(format!("`{}` is not `KEY=VALUE`", seen(part))).with_hint(FORM),
            Ok(CacheEntry { kind: None, .. }) => Message::new("`type` is missing").with_hint(FORM),
            Ok(CacheEntry { kind: Some(kind), .. }) if kind != "registry" => {
                let message = Message::new("has no effect here").with_hint(INSTEAD);
                self.findings.notice(at.location.clone(), message);
                return None;
            }
            Ok(CacheEntry { reference: None | Some(""), .. }) => {
                Message::new("`ref` is missing").with_hint(unset())
            }
            Ok(CacheEntry { reference: Some(reference), has_settings, .. }) => {
                if let Ok(image) = reference.parse::<ImageRef>() {
                    let is_narrowed = has_settings || image.tag.is_some() || image.digest.is_some();
                    let location = at.location.clone();
                    return Some(Repository { name: image.name(), is_narrowed, is_written, location });
                }
                let message = format!("`{}` is not an image reference", seen(reference));
                Message::new(message).with_hint(unset())
            }
        };
        self.findings.mistake(at.location.clone(), wrong);
        None
    }

    /// Turns the cache on, as far as `no_cache` and the config file leave that to the Compose file.
    fn use_repositories(&mut self, all: &[Repository]) {
        let Some((first, others)) = all.split_first() else { return };
        let layer = &mut self.service.layer.kaniko.cache;
        let config = self.request.config.map(|config| &config.global().kaniko.cache);
        let enable = config.map(|config| &config.enable).filter(|key| key.location().is_some());
        if layer.enable.value() == Some(&false) {
            self.findings.notice(first.location.clone(), "has no effect: `no_cache` is set");
            return;
        }
        if enable.is_some_and(|enable| enable.value() != Some(&true)) {
            let message = "has no effect: `kaniko.cache.enable` of the config file is not true";
            self.findings.notice(first.location.clone(), message);
            return;
        }
        if enable.is_none() {
            layer.enable = Key::new(Held::Set(true), first.location.clone());
        }
        if let Some(repo) = config.map(|config| &config.repo).filter(|key| key.location().is_some()) {
            if all.iter().any(|it| repo.value() != Some(&it.name)) {
                let message = "has no effect: `kaniko.cache.repo` of the config file wins";
                self.findings.notice(first.location.clone(), message);
            }
            return;
        }
        // A cache that is not read costs time; two that are written are two promises, of which one cannot be kept.
        let before = self.findings.mistakes.len();
        for other in others.iter().filter(|other| other.name != first.name) {
            let hint = format!(
                "the first one, in {}, is used; `kaniko.cache.repo` of a config file names another",
                first.location
            );
            let location = other.location.clone();
            if other.is_written {
                let message = Message::new("another repository: Kaniko writes its layers to one");
                self.findings.mistake(location, message.with_hint(hint));
            } else {
                let message = "has no effect: Kaniko reads its layers where it writes them";
                self.findings.notice(location, Message::new(message).with_hint(hint));
            }
        }
        let bad = self.findings.mistakes.len() > before;
        let repo = if bad { Held::Bad } else { Held::Set(first.name.clone()) };
        layer.repo = Key::new(repo, first.location.clone());
        if let Some(narrowed) = all.iter().find(|it| it.is_narrowed) {
            let message = "only the repository is used: Kaniko names its layers itself";
            self.findings.notice(narrowed.location.clone(), message);
        }
        if all.iter().all(|it| !it.is_written) {
            let message = "Kaniko also writes to the repository that it reads, unless `kaniko.extra-flags` has `--no-push-cache`";
            self.findings.notice(first.location.clone(), message);
        }
    }
}
