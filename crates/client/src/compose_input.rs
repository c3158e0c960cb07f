//! Resolves the Compose files of a build.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use bakery_core::compose::{self, ComposeFile};
use bakery_core::config::{ConfigFile, Naming, Resolved};
use bakery_core::names::Arch;
use bakery_core::report::Report;
use bakery_core::spec::Order;

use crate::dotenv_file::folder_of;
use crate::exit::Failure;
use crate::naming;
use crate::project_variables::ProjectVariables;
use crate::referenced::ReferencedFiles;

/// What the resolution of Compose files needs.
pub(crate) struct ComposeInput<'a> {
    /// The first of the files.
    pub(crate) path: &'a Path,
    pub(crate) root: &'a Path,
    pub(crate) services: &'a [String],
    pub(crate) order: Order,
    pub(crate) project: &'a ProjectVariables<'a>,
    pub(crate) naming: &'a Naming,
    /// The names of all files that are read.
    pub(crate) read: &'a RefCell<Vec<String>>,
    /// The files of secrets that are read.
    pub(crate) files_of_secrets: &'a RefCell<Vec<PathBuf>>,
}

impl ComposeInput<'_> {
    /// The build that the files describe. The outer error ends reading: what else is wrong is not known.
    pub(crate) fn resolve(
        &self,
        compose: &ComposeFile,
        config: Option<&ConfigFile>,
    ) -> Result<Result<Resolved, Report>, Failure> {
        let folder = folder_of(self.path);
        let folder = folder.canonicalize().map_err(|error| {
            Failure::input(
                format!("`{}` cannot be read: {error}", folder.display()),
                "the folder must be readable",
            )
        })?;
        let ProjectVariables { values, withheld, .. } = self.project;
        let naming = naming::with_project(self.naming, values, withheld)?;
        let files = ReferencedFiles {
            folder: &folder,
            root: self.root,
            names: RefCell::default(),
            secrets: self.files_of_secrets,
        };
        let request = compose::Request {
            vars: &self.project.vars(),
            withheld,
            config,
            services: self.services,
            naming: &naming,
            root: text(self.root)?,
            folder: text(&folder)?,
            arch: own_arch(),
            order: self.order,
            files: &files,
        };
        let resolved = compose.resolve(&request);
        self.read.borrow_mut().append(&mut files.names.borrow_mut());
        Ok(resolved)
    }
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        Failure::input(
            format!("`{}` is not valid UTF-8", path.display()),
            "move the source to a folder whose path is UTF-8",
        )
    })
}

/// The architecture of this machine; amd64 if Bakery does not support it.
pub(crate) fn own_arch() -> Arch {
    if std::env::consts::ARCH == "aarch64" { Arch::Arm64 } else { Arch::Amd64 }
}
