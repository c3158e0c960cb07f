//! Reads the config of a build: a file, what options change in it, or the options of one image alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bakery_core::change::Change;
use bakery_core::config::{self, ConfigFile, Naming, Surroundings, Variables};
use bakery_core::report::{Findings, Report};

use crate::cli::BuildOptions;
use crate::one_image::OneImage;
use crate::project_variables::ProjectVariables;
use crate::secret_sources::ClientSecrets;

/// What a config is read with.
pub(crate) struct ConfigInput<'a> {
    pub(crate) options: &'a BuildOptions,
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// The source root; `None` after a mistake in it.
    pub(crate) root: Option<&'a Path>,
    pub(crate) naming: &'a Naming,
    pub(crate) project: &'a ProjectVariables<'a>,
    /// Whether the variables of the project could be read.
    pub(crate) is_project_read: bool,
    /// The files of secrets that are read.
    pub(crate) files_of_secrets: &'a RefCell<Vec<PathBuf>>,
    /// What options change.
    pub(crate) changes: Vec<Change>,
}

impl ConfigInput<'_> {
    /// The config of a file, which is its name and its text; or what the options say without one. `None` if that is nothing.
    pub(crate) fn read(self, file: Option<Result<(String, String), Report>>) -> Option<ConfigFile> {
        let Self { options, environment, naming, project, files_of_secrets, changes, .. } = self;
        if options.image.asks().is_some() {
            // If the root is not known, no path is outside of it.
            let root = self.root.unwrap_or(Path::new("/"));
            let image = OneImage { options, environment, root, project, naming, files_of_secrets };
            return Some(image.config(changes));
        }
        let (vars, withheld) = (project.vars(), &project.withheld);
        let refuses = |name: &str, purpose| withheld.refuses_for(name, purpose);
        let of_project = Variables::Of { vars: &vars, withheld: &refuses };
        let root = self.root.unwrap_or(Path::new("."));
        let surroundings = Surroundings {
            variables: if self.is_project_read { of_project } else { Variables::Unknown },
            secrets: &ClientSecrets { environment, withheld, root, files: files_of_secrets },
        };
        match file {
            Some(file) => {
                let config = file
                    .and_then(|(name, text)| config::read_changed((&name, &text), &surroundings, &changes));
                Some(config.unwrap_or_else(ConfigFile::unreadable))
            }
            None if changes.is_empty() => None,
            None => Some(config::of_options(0, &changes, surroundings.secrets, Findings::default())),
        }
    }
}
