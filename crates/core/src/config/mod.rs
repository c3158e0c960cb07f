//! config.yaml: what a build is asked to be. Reading, the inheritance law, and the exact spec that comes of it.
//!
//! `read` one text, then `resolve` it; or take its `global` layer as the base of a Compose file
//! ([`crate::compose::ComposeFile::resolve`]). Mistakes of the file are kept until then, so that one report says all.

pub mod keys;
pub mod layer;

mod decode;
mod overlay;
mod resolve;
mod shell_words;
mod values;

use crate::config::layer::TaskLayer;
use crate::decode::Field;
use crate::plan::BuildPlan;
use crate::report::{Findings, Location, Mistake, Notice, Report};
use crate::secret::{Secret, name_suggests_secret};
use crate::spec::{BuildSpec, Order};
use crate::yaml;

pub(crate) use decode::read_text;
pub(crate) use resolve::{Located, Origin, build, task};
pub(crate) use values::destination;

/// The names under which a config file is looked for in the working directory.
pub const FILE: &str = "config.yaml";

/// A config file that is YAML; whether it makes sense is said by [`Self::resolve`].
#[derive(Debug, Clone)]
pub struct ConfigFile {
    global: TaskLayer,
    global_location: Location,
    entries: Vec<(TaskLayer, Location)>,
    findings: Findings,
}

/// What a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The build as it is sent to a server. Its tasks keep the rules.
    pub spec: BuildSpec,
    /// The plan of the spec.
    pub plan: BuildPlan,
    /// What is worth mentioning.
    pub notices: Vec<Notice>,
}

/// Reads the text of a config file. `file` is the name that messages carry. The report holds what keeps the text from
/// being read at all; every other mistake waits for [`ConfigFile::resolve`].
pub fn read(file: &str, text: &str) -> Result<ConfigFile, Report> {
    let mut findings = Findings::default();
    match yaml::parse(file, text, &mut findings) {
        Some(tree) => Ok(decode::file(&Field::root(file, &tree), findings)),
        None => Err(findings.into_report()),
    }
}

impl ConfigFile {
    /// A file that [`read`] gave a report of: it can still be the base of a Compose file, whose own mistakes then come
    /// in the same report.
    pub fn unreadable(report: Report) -> Self {
        let location = report.mistakes.first().map(|mistake| mistake.location.clone()).unwrap_or_default();
        let findings = Findings { mistakes: report.mistakes, notices: Vec::new() };
        Self { global: decode::unknown(&location), global_location: location, entries: Vec::new(), findings }
    }

    /// What is wrong with the file by itself, for when nothing can be built upon it.
    pub fn mistakes(self) -> Vec<Mistake> {
        self.findings.mistakes
    }

    /// What the file asks for, or every mistake of the file at its location.
    pub fn resolve(self, order: Order) -> Result<Resolved, Report> {
        resolve::file(self, order)
    }

    /// Whether the file holds logins, or variables whose names suggest a secret: then it is one itself.
    pub fn holds_secrets(&self) -> bool {
        let entries = self.entries.iter().map(|(layer, _)| layer);
        std::iter::once(&self.global).chain(entries).any(|layer| {
            let logins = layer.credentials.value().is_some_and(|logins| !logins.is_empty());
            let secret = |(name, (value, _)): (&String, &(Secret, Location))| {
                name_suggests_secret(name) && !value.expose().is_empty()
            };
            logins || layer.env.entries.iter().any(secret)
        })
    }

    /// The `global` layer.
    pub(crate) fn global(&self) -> &TaskLayer {
        &self.global
    }

    /// The location of the first entry of `bake`, where there is one.
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
