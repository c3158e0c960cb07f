//! Caches: what `--cache-to`, `--cache-from` and the same in files name becomes the repository of Kaniko's cache.

use crate::image::ImageRef;
use crate::message::Message;
use crate::report::{Findings, Location};

/// How a cache is written that has an effect.
const FORM: &str = "type=registry,ref=REGISTRY/REPOSITORY";

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
#[derive(Debug)]
pub struct CacheRepository {
    /// Its name, without a tag.
    pub name: String,
    /// Where it is named.
    pub location: Location,
    /// Whether more than a repository was named: a tag, or settings that Kaniko does not have.
    is_narrowed: bool,
    is_written: bool,
}

/// A cache as it is written.
pub struct CacheText<'a> {
    /// The text.
    pub text: &'a str,
    /// Where it is.
    pub at: &'a Location,
    /// Whether it is one to write.
    pub is_written: bool,
    /// How messages show a part of the text.
    pub seen: &'a dyn Fn(&str) -> String,
    /// The hint for a text that is incomplete because a variable in it is not set.
    pub unset: &'a dyn Fn() -> Option<String>,
}

/// Reads the caches of a build.
pub struct CacheReader<'a> {
    /// What to do instead of a cache that is not a repository.
    pub instead: &'a str,
    /// What to do about several repositories, of which the first is at this location.
    pub several: &'a dyn Fn(&Location) -> String,
}

impl CacheReader<'_> {
    /// The repository of one cache. `None` for a cache that is not one for Kaniko, which is reported.
    pub fn repository(&self, cache: &CacheText<'_>, findings: &mut Findings) -> Option<CacheRepository> {
        let CacheText { text, at, is_written, seen, unset } = *cache;
        if text.is_empty() {
            return None;
        }
        let entry = if text.contains('=') {
            CacheEntry::parse(text)
        } else {
            // A reference alone: to write, a repository; to read, an image with an inline cache more often than not.
            let kind = if is_written { "registry" } else { "inline" };
            Ok(CacheEntry { kind: Some(kind), reference: Some(text), has_settings: false })
        };
        let unset = || unset().unwrap_or_else(|| FORM.to_owned());
        let wrong = match entry {
            Err(part) => Message::new(format!("`{}` is not `KEY=VALUE`", seen(part))).with_hint(FORM),
            Ok(CacheEntry { kind: None, .. }) => Message::new("`type` is missing").with_hint(FORM),
            Ok(CacheEntry { kind: Some(kind), .. }) if kind != "registry" => {
                findings.notice(at.clone(), Message::new("has no effect here").with_hint(self.instead));
                return None;
            }
            Ok(CacheEntry { reference: None | Some(""), .. }) => {
                Message::new("`ref` is missing").with_hint(unset())
            }
            Ok(CacheEntry { reference: Some(reference), has_settings, .. }) => {
                if let Ok(image) = reference.parse::<ImageRef>() {
                    let is_narrowed = has_settings || image.tag.is_some() || image.digest.is_some();
                    return Some(CacheRepository {
                        name: image.name(),
                        location: at.clone(),
                        is_narrowed,
                        is_written,
                    });
                }
                let message = format!("`{}` is not an image reference", seen(reference));
                Message::new(message).with_hint(unset())
            }
        };
        findings.mistake(at.clone(), wrong);
        None
    }

    /// The one repository that all of them name; `None` without any, or after a mistake.
    pub fn one<'r>(
        &self,
        all: &'r [CacheRepository],
        findings: &mut Findings,
    ) -> Option<&'r CacheRepository> {
        let (first, others) = all.split_first()?;
        let before = findings.mistakes.len();
        for other in others.iter().filter(|other| other.name != first.name) {
            self.second(other, &first.location, findings);
        }
        if let Some(narrowed) = all.iter().find(|it| it.is_narrowed) {
            let message = "only the repository is used: Kaniko names its layers itself";
            findings.notice(narrowed.location.clone(), message);
        }
        if all.iter().all(|it| !it.is_written) {
            let message = "Kaniko also writes to the repository that it reads, unless `kaniko.extra-flags` has `--no-push-cache`";
            findings.notice(first.location.clone(), message);
        }
        (findings.mistakes.len() == before).then_some(first)
    }

    /// Reports a repository besides the one at `first`. A cache that is not read costs time; two that are written are two
    /// promises, of which one cannot be kept.
    pub fn second(&self, other: &CacheRepository, first: &Location, findings: &mut Findings) {
        let (location, hint) = (other.location.clone(), (self.several)(first));
        if other.is_written {
            let message = Message::new("another repository: Kaniko writes its layers to one");
            findings.mistake(location, message.with_hint(hint));
        } else {
            let message = Message::new("has no effect: Kaniko reads its layers where it writes them");
            findings.notice(location, message.with_hint(hint));
        }
    }
}
