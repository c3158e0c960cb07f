//! config.yaml: parsing, inheritance, and the resulting build spec.
//!
//! `read` one text, then `resolve` it; or take its `global` layer as the base of a Compose file
//! ([`crate::compose::ComposeFile::resolve`]). Mistakes in the file are kept until then, so that one report lists all.

pub mod forms;
pub mod keys;
pub mod layer;
pub mod schema;

mod changes;
mod decode;
mod held_secrets;
mod logins;
mod merge;
mod naming;
mod readers;
mod resolve;
mod secrets;
mod shell_words;
mod values;
mod variables;

use std::collections::BTreeMap;

use crate::change::Change;
use crate::config::layer::{TaskLayer, WantedLogin};
use crate::decode::Field;
use crate::plan::BuildPlan;
use crate::report::{Findings, Location, Mistake, Notice, Report};
use crate::spec::{BuildSpec, Order};
use crate::yaml::{self, Value};

pub use logins::{DockerLogins, LoginSearch};
pub use naming::{ImagePrefix, ImageTag, Naming};
pub use secrets::{SecretPurpose, SecretSources};
pub use variables::Variables;

pub(crate) use readers::read_text;
pub(crate) use resolve::{Located, Origin, build, task};
pub(crate) use secrets::add as add_secret;
pub(crate) use values::destination;

use variables::ReplacedTree;

/// The name of the config file that is looked for in the working directory.
pub const FILE: &str = "config.yaml";

/// A config file that is valid YAML; [`Self::resolve`] reports its mistakes.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    global: TaskLayer,
    global_location: Location,
    entries: Vec<(TaskLayer, Location)>,
    findings: Findings,
    /// Whether secrets stand in the file itself.
    holds_secrets: bool,
    /// Values with variables, each with the text that the file has for it.
    written: BTreeMap<String, String>,
}

/// What a config file may take from outside of it.
pub struct Surroundings<'a> {
    /// What `${NAME}` stands for.
    pub variables: Variables<'a>,
    /// Where it finds the secrets that it names.
    pub secrets: &'a dyn SecretSources,
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
    /// Values that hold values of variables, each with the text that the file has for it: messages show that one.
    pub written: BTreeMap<String, String>,
    /// The logins of docker that each task asks for, see [`Self::with_docker_logins`].
    pub wanted_logins: Vec<Vec<WantedLogin>>,
}

/// Parses the text of a config file, without anything else: variables stay text, and secrets that it names are mistakes.
/// `file` is its name in messages. The report holds what prevents parsing; [`ConfigFile::resolve`] reports every other
/// mistake.
pub fn read(file: &str, text: &str) -> Result<ConfigFile, Report> {
    read_with(file, text, &Surroundings { variables: Variables::None, secrets: &() })
}

/// Parses the text of a config file with its surroundings.
pub fn read_with(file: &str, text: &str, surroundings: &Surroundings<'_>) -> Result<ConfigFile, Report> {
    read_changed((file, text), surroundings, &[])
}

/// The same for a file that options change. `file` is its name and its text.
pub fn read_changed(
    (file, text): (&str, &str),
    surroundings: &Surroundings<'_>,
    changes: &[Change],
) -> Result<ConfigFile, Report> {
    let mut findings = Findings::default();
    let Some(tree) = yaml::parse(file, text, &mut findings) else { return Err(findings.into_report()) };
    let ReplacedTree { mut tree, written } = variables::replace(&tree, surroundings.variables, &mut findings);
    let holds_secrets = held_secrets::are_in_file(&Field::root(&tree));
    changes::apply(&mut tree, changes, &mut findings);
    let file = decode::file(&Field::root(&tree), surroundings.secrets, findings);
    Ok(ConfigFile { holds_secrets, written, ..file })
}

/// A config that options make alone, with so many entries of `bake`. `findings` are those about the options.
pub fn of_options(
    entries: usize,
    changes: &[Change],
    secrets: &dyn SecretSources,
    mut findings: Findings,
) -> ConfigFile {
    let top = Change::of_option("options", "", "");
    let entries = (0..entries).map(|_| top.mapping([])).collect();
    let mut tree = top.mapping([("bake", top.node(Value::List(entries)))]);
    changes::apply(&mut tree, changes, &mut findings);
    decode::file(&Field::root(&tree), secrets, findings)
}

impl ConfigFile {
    /// A file for which [`read`] returned a report. It can still be the base of a Compose file, whose own mistakes are
    /// then in the same report.
    pub fn unreadable(report: Report) -> Self {
        let location = report.mistakes.first().map(|mistake| mistake.location.clone()).unwrap_or_default();
        let findings = Findings::from(report);
        Self {
            global: decode::unknown(&location),
            global_location: location,
            entries: Vec::new(),
            findings,
            holds_secrets: false,
            written: BTreeMap::new(),
        }
    }

    /// The mistakes found while reading, for a caller that cannot resolve the file.
    pub fn mistakes(self) -> Vec<Mistake> {
        self.findings.mistakes
    }

    /// The build that the file describes, or every mistake in it at its location.
    pub fn resolve(self, order: Order, naming: &Naming) -> Result<Resolved, Report> {
        resolve::file(self, order, naming)
    }

    /// Whether the file itself holds passwords, or values of variables whose names suggest a secret: then it is secret.
    pub fn holds_secrets(&self) -> bool {
        self.holds_secrets
    }

    /// `global.registry`: registry and path below which a Compose file's images without a name are pushed.
    pub fn registry(&self) -> Option<&ImagePrefix> {
        self.global.registry.value()
    }

    /// `global.context.git`: whether `.git` is packed.
    pub fn packs_git(&self) -> bool {
        self.global.context_git.or_default()
    }

    /// The `global` layer.
    pub(crate) fn global(&self) -> &TaskLayer {
        &self.global
    }

    /// The location of the first entry of `bake`, if there is one.
    pub(crate) fn first_entry(&self) -> Option<&Location> {
        self.entries.first().map(|(_, location)| location)
    }

    /// Values with variables, each with the text that the file has for it.
    pub(crate) fn written(&self) -> &BTreeMap<String, String> {
        &self.written
    }

    /// What was found while reading.
    pub(crate) fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests;
