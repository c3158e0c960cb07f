//! What `${NAME}` stands for in the files of a build.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use bakery_core::compose::Withheld;
use bakery_core::mask::name_suggests_secret;
use bakery_core::secret::Secret;
use bakery_core::vars::{Layered, Vars};

use crate::cli::BuildOptions;
use crate::dotenv_file::{DotenvFile, folder_of, project_env};
use crate::exit::Failure;
use crate::find::InputFiles;

/// The variables of the environment, and those of the project.
pub(crate) struct ProjectVariables<'a> {
    environment: SecretRecorder<'a>,
    /// What `.env`, or the files of `--env-file` set.
    pub(crate) values: BTreeMap<String, String>,
    /// Secrets of the environment that a build does not get.
    pub(crate) withheld: Withheld,
}

impl<'a> ProjectVariables<'a> {
    /// Those of the environment alone.
    pub(crate) fn of_environment(options: &BuildOptions, environment: &'a BTreeMap<String, String>) -> Self {
        Self {
            environment: SecretRecorder { vars: environment, secrets: RefCell::default() },
            values: BTreeMap::new(),
            withheld: Withheld::of(environment, &options.allow_env, ""),
        }
    }

    /// Adds those of the project that these files belong to.
    pub(crate) fn add_files(&mut self, options: &BuildOptions, files: &InputFiles) -> Result<(), Failure> {
        let here = Path::new(".");
        let folder = files.compose.first().map_or(here, |path| folder_of(path));
        // As in Compose, `.env` in the working directory comes first if no option names the files.
        let is_found = options.compose.is_empty();
        let folders = if is_found && folder != here { &[here, folder][..] } else { &[folder] };
        let DotenvFile { text, values } = project_env(&options.env_file, &self.environment, folders)?;
        // A value in the file may contain another one.
        for (name, value) in &values {
            self.environment.record(name, value);
        }
        self.withheld = Withheld::of(self.environment.vars, &options.allow_env, &text);
        self.values = values;
        Ok(())
    }

    /// All of them; the environment wins.
    pub(crate) fn vars(&self) -> Layered<&dyn Vars, &BTreeMap<String, String>> {
        Layered { upper: &self.environment, lower: &self.values }
    }

    /// Values that were used, of variables whose names suggest a secret.
    pub(crate) fn into_used_secrets(self) -> Vec<Secret> {
        self.environment.secrets.into_inner()
    }
}

/// An environment that records the values of secrets that were read, and the defaults used in place of them.
struct SecretRecorder<'a> {
    vars: &'a BTreeMap<String, String>,
    secrets: RefCell<Vec<Secret>>,
}

impl SecretRecorder<'_> {
    fn record(&self, name: &str, value: &str) {
        let known = || self.secrets.borrow().iter().any(|known| known.expose() == value);
        // Each value once: a file can name a long variable any number of times.
        if name_suggests_secret(name) && !known() {
            self.secrets.borrow_mut().push(Secret::new(value));
        }
    }
}

impl Vars for SecretRecorder<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let value = self.vars.get(name).cloned()?;
        self.record(name, &value);
        Some(value)
    }

    fn defaulted(&self, name: &str, text: &str) {
        self.record(name, text);
    }
}
