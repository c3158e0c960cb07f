//! The files that Compose files name.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use bakery_context::read_user_text;
use bakery_core::compose::OtherFiles;
use bakery_core::limits;
use bakery_core::message::{Hint as _, Message};
use bakery_core::report::{nearest, shown};
use bakery_core::secret::Secret;

use crate::checkout::{is_in_checkout, outside, read_secret};

/// How many names of a folder are compared with one that does not exist.
const COMPARED: usize = 1000;

/// Reads the files that Compose files name. A checkout cannot name files elsewhere: what they hold would reach its build.
pub(crate) struct ReferencedFiles<'a> {
    /// The project's folder.
    pub(crate) folder: &'a Path,
    /// The source root.
    pub(crate) root: &'a Path,
    /// The names of those that were read.
    pub(crate) names: RefCell<Vec<String>>,
    /// The files of build secrets that were read.
    pub(crate) secrets: &'a RefCell<Vec<PathBuf>>,
}

impl OtherFiles for ReferencedFiles<'_> {
    fn exists(&self, path: &str) -> bool {
        Path::new(path).is_file()
    }

    fn read(&self, name: &str, path: &str) -> Result<String, Message> {
        let path = Path::new(path);
        if !self.is_ours(path) {
            return Err(outside(name, "set --repo to the folder that holds both"));
        }
        let text = read_user_text(path, limits::SPEC_BYTES as u64).map_err(|error| {
            let message = Message::new(format!("`{}` {error}", shown(name)));
            let hint = if error.is_not_found() { self.similar(path) } else { error.hint().map(Into::into) };
            Message { hint, ..message }
        })?;
        self.names.borrow_mut().push(name.to_owned());
        Ok(text)
    }

    fn secret(&self, name: &str, path: &str) -> Result<Secret, Message> {
        let path = Path::new(path);
        if !self.is_ours(path) {
            return Err(outside(name, "put its text into a variable, and name that with `environment`"));
        }
        let value = read_secret(&shown(name), path)?;
        self.secrets.borrow_mut().push(path.to_owned());
        Ok(value)
    }
}

impl ReferencedFiles<'_> {
    fn is_ours(&self, path: &Path) -> bool {
        let below_root = path.canonicalize().is_ok_and(|target| target.starts_with(self.root));
        below_root || is_in_checkout(path, self.folder)
    }

    /// The hint for a file that does not exist.
    fn similar(&self, path: &Path) -> Option<String> {
        let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
        let entries = self.is_ours(folder).then(|| folder.read_dir().ok()).flatten();
        let names = entries.into_iter().flatten().take(COMPARED).flatten();
        let names: Vec<_> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let like = nearest(name, &names).map(|name| format!("did you mean `{}`?", shown(name)));
        Some(
            like.unwrap_or_else(|| "the path is relative to the folder of the file that names it".to_owned()),
        )
    }
}
