//! Compose files: what their services say about building images.
//!
//! The steps of a caller: find the file ([`FILES`]), read the project's `.env` with [`dotenv`], [`read`] the file,
//! then [`ComposeFile::resolve`] it, with a config.yaml as the base or without. Nothing here touches a file or an
//! environment: what a step needs is handed in with [`Request`].

mod attributes;
mod build;
mod depends;
mod dotenv;
mod interpolate;
mod resolve;
mod scalar;

use crate::config::{ConfigFile, Resolved};
use crate::decode::Field;
use crate::names::Arch;
use crate::report::{Findings, Mistake, Report};
use crate::spec::Order;
use crate::vars::Vars;
use crate::yaml::{self, Node, Value};

pub use attributes::{Attribute, Fate, NO_NETWORK, SECTIONS};
pub use dotenv::{dotenv, gather_dotenv};
pub use interpolate::{Filled, InterpolationError, interpolate};

/// The names that Compose looks for, in its order, in a folder and then in those above.
pub const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The names of files that Compose lays upon one that it found by itself, in its order.
pub const OVERRIDES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// A Compose file that is YAML; whether it makes sense is said by [`Self::resolve`].
#[derive(Debug, Clone)]
pub struct ComposeFile {
    file: String,
    tree: Node,
    findings: Findings,
}

/// What is asked of a Compose file.
pub struct Request<'a> {
    /// The variables for `${NAME}`: the process environment over the project's `.env`.
    pub vars: &'a dyn Vars,
    /// The config file whose `global` is the base.
    pub config: Option<&'a ConfigFile>,
    /// The services of `--services`; none = all.
    pub services: &'a [String],
    /// The source root (`--repo`): absolute, links resolved.
    pub root: &'a str,
    /// The folder of the Compose file: absolute, links resolved.
    pub folder: &'a str,
    /// The architecture where nothing names one: the client's own.
    pub arch: Arch,
    /// How services follow one another.
    pub order: Order,
    /// Override files that lie beside the file (see [`OVERRIDES`]): they are not read, and a notice says so.
    pub overrides: &'a [String],
}

/// Reads the text of a Compose file. `file` is the name that messages carry. The report holds what keeps the text from
/// being read at all; every other mistake waits for [`ComposeFile::resolve`].
pub fn read(file: &str, text: &str) -> Result<ComposeFile, Report> {
    let mut findings = Findings::default();
    match yaml::parse(file, text, &mut findings) {
        Some(tree) => Ok(ComposeFile { file: file.to_owned(), tree, findings }),
        None => Err(findings.into_report()),
    }
}

impl ComposeFile {
    /// The names of all services, in the order of the file.
    pub fn services(&self) -> Vec<&str> {
        match self.tree.get("services").map(|services| &services.value) {
            Some(Value::Map(entries)) => entries.iter().map(|entry| entry.key.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    /// What is wrong with the file by itself, for when it cannot be resolved.
    pub fn mistakes(self) -> Vec<Mistake> {
        self.findings.mistakes
    }

    /// What the services that were asked for become; or every mistake of theirs, and of the config file below them, each
    /// at its location.
    pub fn resolve(&self, request: &Request<'_>) -> Result<Resolved, Report> {
        resolve::file(&Field::root(&self.file, &self.tree), &self.findings, request)
    }
}

#[cfg(test)]
mod tests;
