//! config.yaml: parsing, inheritance, and the resulting build spec.
//!
//! `read` one text, then `resolve` it; or take its `global` layer as the base of a Compose file
//! ([`crate::compose::ComposeFile::resolve`]). Mistakes in the file are kept until then, so that one report lists all.

pub mod forms;
pub mod keys;
pub mod layer;
pub mod schema;

mod decode;
mod merge;
mod naming;
mod readers;
mod resolve;
mod secrets;
mod shell_words;
mod values;

use std::collections::BTreeMap;

use crate::config::layer::TaskLayer;
use crate::decode::Field;
use crate::mask::name_suggests_secret;
use crate::plan::BuildPlan;
use crate::report::{Findings, Location, Mistake, Notice, Report};
use crate::secret::Secret;
use crate::spec::{BuildSpec, Order};
use crate::yaml;

pub use naming::{ImagePrefix, ImageTag, Naming};
pub use secrets::SecretSources;

pub(crate) use readers::read_text;
pub(crate) use resolve::{Located, Origin, build, task};
pub(crate) use secrets::add as add_secret;
pub(crate) use values::destination;

/// The name of the config file that is looked for in the working directory.
pub const FILE: &str = "config.yaml";

/// A config file that is valid YAML; [`Self::resolve`] reports its mistakes.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    global: TaskLayer,
    global_location: Location,
    entries: Vec<(TaskLayer, Location)>,
    findings: Findings,
}

/// The build that a file describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The build as it is sent to a server. Its tasks comply with all rules.
    pub spec: BuildSpec,
    /// The plan of the spec.
    pub plan: BuildPlan,
    /// Findings that are worth mentioning and are not mistakes.
    pub notices: Vec<Notice>,
    /// Paths that hold values of variables, each with the text that the file has for it: messages show that one.
    pub written: BTreeMap<String, String>,
}

/// Parses the text of a config file. `file` is its name in messages. The report holds what prevents parsing;
/// [`ConfigFile::resolve`] reports every other mistake.
pub fn read(file: &str, text: &str) -> Result<ConfigFile, Report> {
    let mut findings = Findings::default();
    match yaml::parse(file, text, &mut findings) {
        Some(tree) => Ok(decode::file(&Field::root(&tree), findings)),
        None => Err(findings.into_report()),
    }
}

impl ConfigFile {
    /// A file for which [`read`] returned a report. It can still be the base of a Compose file, whose own mistakes are
    /// then in the same report.
    pub fn unreadable(report: Report) -> Self {
        let location = report.mistakes.first().map(|mistake| mistake.location.clone()).unwrap_or_default();
        let findings = Findings::from(report);
        Self { global: decode::unknown(&location), global_location: location, entries: Vec::new(), findings }
    }

    /// The mistakes found while reading, for a caller that cannot resolve the file.
    pub fn mistakes(self) -> Vec<Mistake> {
        self.findings.mistakes
    }

    /// The file with the values of its build secrets. Only a client has them: without this, each is a mistake.
    #[must_use]
    pub fn with_secrets(mut self, sources: &dyn SecretSources) -> Self {
        let entries = self.entries.iter_mut().map(|(layer, _)| layer);
        for layer in std::iter::once(&mut self.global).chain(entries) {
            secrets::fill(&mut layer.kaniko.secrets, sources, &mut self.findings);
        }
        self
    }

    /// The build that the file describes, or every mistake in it at its location.
    pub fn resolve(self, order: Order, naming: &Naming) -> Result<Resolved, Report> {
        resolve::file(self, order, naming)
    }

    /// Whether the file holds logins, or variables whose names suggest a secret: then the file itself is secret.
    pub fn holds_secrets(&self) -> bool {
        let entries = self.entries.iter().map(|(layer, _)| layer);
        std::iter::once(&self.global).chain(entries).any(|layer| {
            let logins = layer.credentials.value().is_some_and(|logins| !logins.is_empty());
            let secret = |(name, (value, _)): (&String, &(Secret, Location))| {
                name_suggests_secret(name) && !value.expose().is_empty()
            };
            let mut variables = layer.env.entries.iter().chain(&layer.kaniko.env.entries);
            logins || layer.kaniko.holds_unused_login || variables.any(secret)
        })
    }

    /// `global.registry`: registry and path below which a Compose file's images without a name are pushed.
    pub fn registry(&self) -> Option<&ImagePrefix> {
        self.global.registry.value()
    }

    /// The `global` layer.
    pub(crate) fn global(&self) -> &TaskLayer {
        &self.global
    }

    /// The location of the first entry of `bake`, if there is one.
    pub(crate) fn first_entry(&self) -> Option<&Location> {
        self.entries.first().map(|(_, location)| location)
    }

    /// What was found while reading.
    pub(crate) fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests;
