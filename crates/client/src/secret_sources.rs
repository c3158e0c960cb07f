//! The secrets that a config file names: variables of the environment, and files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bakery_core::compose::Withheld;
use bakery_core::config::{SecretPurpose, SecretSources};
use bakery_core::message::Message;
use bakery_core::report::shown;
use bakery_core::secret::Secret;

use crate::checkout::{is_in_checkout, outside, read_secret};

/// The environment, and the files of a checkout. Whoever writes the config also writes the Dockerfile, so it gets neither a
/// secret of the environment nor a file elsewhere for a build, unless an option allows it. For a login it gets a file that
/// the environment names.
pub(crate) struct ClientSecrets<'a> {
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) withheld: &'a Withheld,
    /// The source root.
    pub(crate) root: &'a Path,
    /// The files that were read.
    pub(crate) files: &'a RefCell<Vec<PathBuf>>,
}

impl ClientSecrets<'_> {
    /// Whether a path is the value of a variable of the environment, and written as that variable.
    fn is_of_environment(&self, path: &str, written: &str) -> bool {
        let name = written.strip_prefix("${").and_then(|rest| rest.split([':', '-', '?', '+', '}']).next());
        name.and_then(|name| self.environment.get(name)).is_some_and(|value| value == path)
    }
}

impl SecretSources for ClientSecrets<'_> {
    fn env(&self, name: &str, written: &str) -> Result<Secret, Message> {
        if let Some(refusal) = self.withheld.refuses(name) {
            return Err(refusal);
        }
        self.environment.get(name).map(|value| Secret::new(value.as_str())).ok_or_else(|| {
            Message::new(format!("the variable {} is not set", shown(written)))
                .with_hint("set it, or remove the secret")
        })
    }

    fn file(&self, path: &str, written: &str, purpose: SecretPurpose) -> Result<Secret, Message> {
        let file = self.root.join(path);
        let (is_allowed, hint) = match purpose {
            SecretPurpose::Build => (false, "put its text into a variable, and name that with `env`"),
            SecretPurpose::Login => (
                self.is_of_environment(path, written),
                "move the file below --repo, or write a variable of the environment alone: `${REGISTRY_PASSWORD_FILE}`",
            ),
        };
        if !is_allowed && !is_in_checkout(&file, self.root) {
            return Err(outside(written, hint));
        }
        let value = read_secret(&shown(written), &file)?;
        self.files.borrow_mut().push(file);
        Ok(value)
    }
}
