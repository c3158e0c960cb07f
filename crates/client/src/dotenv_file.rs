//! Reads `.env` files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bakery_context::read_user_text;
use bakery_core::vars::{Layered, Vars};
use bakery_core::{compose, limits};

use crate::checkout::is_in_checkout;
use crate::exit::Failure;

/// A `.env` file.
#[derive(Debug, Default)]
pub struct DotenvFile {
    /// Its text.
    pub text: String,
    /// Its variables.
    pub values: BTreeMap<String, String>,
}

/// Reads a `.env` file; a file that does not exist is empty. Its variables reach builds, so a checkout cannot make it a link
/// to a file of the machine.
pub fn env_file(path: &Path, environment: &dyn Vars) -> Result<DotenvFile, Failure> {
    let name = path.display().to_string();
    match read_user_text(path, limits::SPEC_BYTES as u64) {
        Ok(text) => {
            check_place(path, &name)?;
            let values = compose::dotenv(&name, &text, environment)?;
            Ok(DotenvFile { text, values })
        }
        Err(error) if error.is_not_found() => Ok(DotenvFile::default()),
        Err(error) => {
            Err(Failure::input(format!("{name} {error}"), "make it a readable text file, or remove it"))
        }
    }
}

/// The variable with files to read in place of a project's `.env`, and the one that has none read.
const COMPOSE_ENV_FILES: &str = "COMPOSE_ENV_FILES";
const COMPOSE_DISABLE_ENV_FILE: &str = "COMPOSE_DISABLE_ENV_FILE";

/// The variables of a Compose project besides the environment: of the files of `--env-file`, else of `COMPOSE_ENV_FILES`, of
/// which a later one wins; else of `.env` in `folders`, of which an earlier one wins.
pub(crate) fn project_env(
    named: &[PathBuf],
    environment: &dyn Vars,
    folders: &[&Path],
) -> Result<DotenvFile, Failure> {
    let mut all = DotenvFile::default();
    let by_variable = environment.setting(COMPOSE_ENV_FILES).unwrap_or_default();
    let by_variable = by_variable.split(',').map(str::trim).filter(|name| !name.is_empty());
    let files = if named.is_empty() { by_variable.map(PathBuf::from).collect() } else { named.to_vec() };
    if files.is_empty() {
        let is_disabled = environment.setting(COMPOSE_DISABLE_ENV_FILE);
        if is_disabled.is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "t" | "true")) {
            return Ok(all);
        }
        for folder in folders {
            // In the working directory this is also the file with the client's settings; both use the same name for it.
            let here = *folder == Path::new(".");
            let path = if here { PathBuf::from(".env") } else { folder.join(".env") };
            let vars = Layered { upper: environment, lower: &all.values };
            let DotenvFile { text, values } = env_file(&path, &vars)?;
            for (name, value) in values {
                all.values.entry(name).or_insert(value);
            }
            // The later text wins.
            all.text = format!("{text}\n{}", all.text);
        }
        return Ok(all);
    }
    for file in files {
        let name = file.display().to_string();
        let text = read_user_text(&file, limits::SPEC_BYTES as u64).map_err(|error| {
            Failure::input(
                format!("{name} {error}"),
                "--env-file and COMPOSE_ENV_FILES name text files that exist",
            )
        })?;
        let vars = Layered { upper: environment, lower: &all.values };
        let values = compose::dotenv(&name, &text, &vars)?;
        all.values.extend(values);
        all.text.push_str(&text);
        all.text.push('\n');
    }
    Ok(all)
}

/// Checks that a file is in the checkout that its folder belongs to.
fn check_place(path: &Path, name: &str) -> Result<(), Failure> {
    if is_in_checkout(path, folder_of(path)) {
        return Ok(());
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let text = format!("{name} is a link to {}, which is not in this checkout", target.display());
    Err(Failure::input(text, "put the file itself there, or set its variables in the environment"))
}

/// The folder of a file.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
