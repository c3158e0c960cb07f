//! Compose files: how their services are built.
//!
//! The steps of a caller: find the file ([`FILES`]), read the project's `.env` with [`dotenv`], [`read`] the file,
//! then [`ComposeFile::resolve`] it, with a config.yaml as the base or without. Nothing here accesses files or the
//! environment: the caller passes what is needed in [`Request`].

pub mod schema;

mod attributes;
mod build;
mod cache;
mod changes;
mod depends;
mod dockerfile;
mod dotenv;
mod files;
mod image;
mod image_names;
mod loader;
mod merge;
mod platforms;
mod project;
mod repeated;
mod resolve;
mod rewritten;
mod scalar;
mod secrets;
mod select;
mod tags;
mod top_level;
mod withheld;

use crate::change::Change;
use crate::config::{ConfigFile, Naming, Resolved};
use crate::message::Message;
use crate::names::Arch;
use crate::report::{Findings, Mistake, Report};
use crate::secret::Secret;
use crate::spec::Order;
use crate::vars::Vars;
use crate::yaml::{self, Node};

pub use attributes::{Attribute, Fate, NO_NETWORK, SECTIONS};
pub use dotenv::{dotenv, gather_dotenv};
pub use withheld::{WITHHELD, Withheld};

/// The file names that Compose looks for, in its order, in a folder and then in those above.
pub const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The file names of which Compose merges the first that exists into a file that it found by itself.
pub const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// A Compose file that is valid YAML, or several that are merged; [`Self::resolve`] checks their contents.
#[derive(Debug, Clone)]
pub struct ComposeFile {
    files: Vec<Node>,
    changes: Vec<Change>,
    findings: Findings,
}

/// The inputs of [`ComposeFile::resolve`] besides the file.
pub struct Request<'a> {
    /// The variables for `${NAME}`: the process environment over the project's `.env`.
    pub vars: &'a dyn Vars,
    /// The variables that a build does not get.
    pub withheld: &'a Withheld,
    /// The config file whose `global` is the base.
    pub config: Option<&'a ConfigFile>,
    /// The services of `--services`; empty = all.
    pub services: &'a [String],
    /// The source root (`--repo`): absolute, links resolved.
    pub root: &'a str,
    /// The folder of the first Compose file: absolute, links resolved.
    pub folder: &'a str,
    /// What options and settings say about the names of images.
    pub naming: &'a Naming,
    /// The architecture if nothing names one: the client's own.
    pub arch: Arch,
    /// Whether services are built one after the other.
    pub order: Order,
    /// The files that a Compose file names.
    pub files: &'a dyn OtherFiles,
}

/// The files that a Compose file names (`extends`, `include`), by their absolute paths.
pub trait OtherFiles {
    /// Whether a file exists.
    fn exists(&self, path: &str) -> bool;

    /// The text of a file whose name in messages is `name`.
    fn read(&self, name: &str, path: &str) -> Result<String, Message>;

    /// The value of a build secret, which is the text of a file whose name in messages is `name`.
    fn secret(&self, _name: &str, _path: &str) -> Result<Secret, Message> {
        Err("no file can be read".into())
    }
}

/// No file.
impl OtherFiles for () {
    fn exists(&self, _path: &str) -> bool {
        false
    }

    fn read(&self, _name: &str, _path: &str) -> Result<String, Message> {
        Err("no other file can be read".into())
    }
}

/// Parses the text of a Compose file. `file` is its name in messages. The report holds what prevents parsing;
/// [`ComposeFile::resolve`] reports every other mistake.
pub fn read(file: &str, text: &str) -> Result<ComposeFile, Report> {
    let mut findings = Findings::default();
    match yaml::parse(file, text, &mut findings) {
        Some(tree) => Ok(ComposeFile { files: vec![tree], changes: Vec::new(), findings }),
        None => Err(findings.into_report()),
    }
}

impl ComposeFile {
    /// This file with `later` merged over it. Paths stay relative to the folder of the first file.
    #[must_use]
    pub fn with(mut self, later: Self) -> Self {
        self.files.extend(later.files);
        for Mistake { location, text, hint } in later.findings.mistakes {
            self.findings.mistake(location, Message { text, hint });
        }
        self
    }

    /// The same with what options change: the last one wins.
    #[must_use]
    pub fn changed(self, changes: Vec<Change>) -> Self {
        Self { changes, ..self }
    }

    /// The mistakes found while parsing, for a caller that cannot resolve the file.
    pub fn mistakes(self) -> Vec<Mistake> {
        self.findings.mistakes
    }

    /// The build of the requested services; or every mistake in them and in the config file that is their base, each at
    /// its location.
    pub fn resolve(&self, request: &Request<'_>) -> Result<Resolved, Report> {
        resolve::files((&self.files, &self.changes), &self.findings, request)
    }
}

#[cfg(test)]
mod tests;
