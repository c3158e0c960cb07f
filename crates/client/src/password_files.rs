//! Reads the files with passwords that a config file names (`password-file`).
//!
//! A checkout may hold the config file, and a build could show what it gets: such a file names others of its checkout only.
//! A file elsewhere is named by the environment.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bakery_context::read_user_text;
use bakery_core::config::PasswordFiles;
use bakery_core::limits;
use bakery_core::message::{Hint as _, Message};
use bakery_core::report::shown;
use bakery_core::secret::Secret;

use crate::dotenv_file::{folder_of, is_in_checkout};

/// The files that one config file names.
pub(crate) struct NamedPasswordFiles<'a> {
    config: &'a Path,
    environment: &'a BTreeMap<String, String>,
    /// Those that were read.
    read: RefCell<Vec<PathBuf>>,
}

impl<'a> NamedPasswordFiles<'a> {
    pub(crate) fn new(config: &'a Path, environment: &'a BTreeMap<String, String>) -> Self {
        Self { config, environment, read: RefCell::default() }
    }

    /// The files that were read.
    pub(crate) fn into_paths(self) -> Vec<PathBuf> {
        self.read.into_inner()
    }

    /// Whether the environment alone decides which file it is.
    fn is_of_environment(&self, path: &str, written: &str) -> bool {
        let name = written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        name.and_then(|name| self.environment.get(name)).is_some_and(|value| value == path)
    }
}

impl PasswordFiles for NamedPasswordFiles<'_> {
    fn read(&self, path: &str, written: &str) -> Result<Secret, Message> {
        let folder = folder_of(self.config);
        let file = folder.join(path);
        let shown = shown(written);
        if !self.is_of_environment(path, written) && !is_in_checkout(&file, folder) {
            let hint = "put it there, or name it by one variable of the environment alone: `${REGISTRY_PASSWORD_FILE}`";
            return Err(
                Message::new(format!("`{shown}` is not in the checkout of this file")).with_hint(hint)
            );
        }
        let text = read_user_text(&file, limits::SPEC_BYTES as u64).map_err(|error| {
            let hint =
                error.hint().map_or("paths are relative to the folder of this file".into(), Into::into);
            Message { text: format!("`{shown}` {error}"), hint: Some(hint) }
        })?;
        self.read.borrow_mut().push(file);
        Ok(Secret::new(text))
    }
}
