//! The cache of a build: what `cache_to`, `cache_from` and the same of `x-bake` name becomes the repository of Kaniko's
//! cache.

use crate::buildx::{CacheReader, CacheRepository, CacheText};
use crate::compose::build::ServiceReader;
use crate::config::layer::{Held, Key};
use crate::decode::Field;
use crate::report::{Location, shown};

/// How the caches of a Compose file are read.
const READER: CacheReader<'static> = CacheReader {
    instead: "Kaniko keeps its layers in a repository: cache_to: [\"type=registry,ref=REGISTRY/REPOSITORY\"]",
    several: &|first: &Location| {
        format!("the first one, in {first}, is used; `kaniko.cache.repo` of a config file names another")
    },
};

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
                // The value of a variable is not shown: the text of the file is.
                let seen = |part: &str| if text.is_substituted() { text.shown() } else { shown(part) };
                let unset = || self.scalars.unset(&at, text.written());
                let (text, at) = (text.value.as_str(), &at.location);
                let cache = CacheText { text, at, is_written, seen: &seen, unset: &unset };
                all.extend(READER.repository(&cache, self.findings));
            }
        }
        self.use_repositories(&all);
    }

    /// Turns the cache on, as far as `no_cache` and the config file leave that to the Compose file.
    fn use_repositories(&mut self, all: &[CacheRepository]) {
        let Some(first) = all.first() else { return };
        let layer = &mut self.service.layer.kaniko.cache;
        let config = self.request.config.map(|config| &config.global().kaniko.cache);
        let enable = config.map(|config| &config.enable).filter(|key| key.location().is_some());
        if layer.enable.value() == Some(&false) {
            self.findings.notice(first.location.clone(), "has no effect: `no_cache` is set");
            return;
        }
        if let Some(at) = enable.filter(|key| key.value() != Some(&true)).and_then(Key::location) {
            let message = format!("has no effect: `kaniko.cache.enable` is not true ({})", at.source);
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
        let repo = READER.one(all, self.findings).map_or(Held::Bad, |repo| Held::Set(repo.name.clone()));
        layer.repo = Key::new(repo, first.location.clone());
    }
}
