//! The values of the build secrets of a config file: variables of the environment, and files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bakery_core::compose::Withheld;
use bakery_core::config::SecretSources;
use bakery_core::message::Message;
use bakery_core::report::shown;
use bakery_core::secret::Secret;

use crate::dotenv_file::is_in_checkout;
use crate::referenced::read_secret;

/// The environment, and the files of a checkout. Whoever writes the config also writes the Dockerfile, so it gets neither a
/// secret of the environment nor a file elsewhere, unless an option allows it.
pub(crate) struct ClientSecrets<'a> {
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) withheld: &'a Withheld,
    /// The source root.
    pub(crate) root: &'a Path,
    /// The files that were read.
    pub(crate) files: &'a RefCell<Vec<PathBuf>>,
}

impl SecretSources for ClientSecrets<'_> {
    fn env(&self, name: &str) -> Result<Secret, Message> {
        if let Some(refusal) = self.withheld.refuses(name) {
            return Err(refusal);
        }
        self.environment.get(name).map(|value| Secret::new(value.as_str())).ok_or_else(|| {
            Message::new(format!("the variable {} is not set", shown(name)))
                .with_hint("set it, or remove the secret")
        })
    }

    fn file(&self, path: &str) -> Result<Secret, Message> {
        let file = self.root.join(path);
        if !is_in_checkout(&file, self.root) {
            let text = format!("`{}` is neither in this checkout nor below --repo", shown(path));
            return Err(
                Message::new(text).with_hint("put its text into a variable, and name that with `env`")
            );
        }
        let value = read_secret(&shown(path), &file)?;
        self.files.borrow_mut().push(file);
        Ok(value)
    }
}
