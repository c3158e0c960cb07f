//! Which files a build is read from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bakery_core::message::Message;
use bakery_core::report::{Location, Notice};
use bakery_core::vars::Vars as _;
use bakery_core::{compose, config};

use crate::checkout::is_in_checkout;
use crate::cli::BuildOptions;
use crate::dotenv_file::{DotenvFile, project_env};
use crate::exit::Failure;
use crate::shared_folder;

/// The variable with the Compose files, and the one with what separates them.
const COMPOSE_FILE: &str = "COMPOSE_FILE";
const COMPOSE_PATH_SEPARATOR: &str = "COMPOSE_PATH_SEPARATOR";

/// The files to read.
#[derive(Debug, Default)]
pub(crate) struct InputFiles {
    pub(crate) config: Option<PathBuf>,
    /// Compose files, each merged over those before it. The folder of the first is the project's.
    pub(crate) compose: Vec<PathBuf>,
    /// Notice about a file that would be read if another were not there.
    pub(crate) unused: Option<Notice>,
}

impl InputFiles {
    /// None for one image from options; else the files that the options name; without options config.yaml in the working directory, else those of
    /// `COMPOSE_FILE`, else a Compose file by Compose's own search.
    pub(crate) fn find(
        options: &BuildOptions,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        if options.image.asks().is_some() {
            return Ok(Self::default());
        }
        if options.config.is_some() || !options.compose.is_empty() {
            let (config, compose) = (options.config.clone(), options.compose.clone());
            return Ok(Self { config, compose, unused: None });
        }
        // A config.yaml that cannot be read is a mistake, not a reason to build something else.
        if Path::new(config::FILE).symlink_metadata().is_ok() {
            let unused = unused_compose(options, environment);
            return Ok(Self { config: Some(config::FILE.into()), compose: Vec::new(), unused });
        }
        let compose = of_variable(options, environment)?;
        if !compose.is_empty() {
            return Ok(Self { config: None, compose, unused: None });
        }
        search(&std::env::current_dir().unwrap_or_default())
    }
}

/// What would be read without a config.yaml.
fn unused_compose(options: &BuildOptions, environment: &BTreeMap<String, String>) -> Option<Notice> {
    // What is wrong with it does not matter here.
    let named = of_variable(options, environment).unwrap_or_default();
    let (what, first) = if let Some(first) = named.first() {
        (format!("{COMPOSE_FILE} is"), first.display().to_string())
    } else {
        let name = compose::FILES.iter().find(|name| Path::new(name).is_file())?;
        (format!("{name} in the same folder is"), (*name).to_owned())
    };
    let message = Message::new(format!("{what} not read")).with_hint(format!(
        "--compose {first} builds its services; with --config {} as well, that file's `global` is their base",
        config::FILE
    ));
    Some(Notice::new(Location::file(config::FILE), message))
}

/// The files of `COMPOSE_FILE`, in the environment or in `.env`. A checkout may hold the `.env`: that one can only name
/// files of the checkout.
fn of_variable(
    options: &BuildOptions,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<PathBuf>, Failure> {
    let DotenvFile { values: project, .. } = project_env(&options.env_file, environment, &[Path::new(".")])?;
    let by_environment = environment.setting(COMPOSE_FILE);
    let trusted = by_environment.is_some();
    let Some(files) = by_environment.or_else(|| project.setting(COMPOSE_FILE)) else { return Ok(Vec::new()) };
    let separator = environment.setting(COMPOSE_PATH_SEPARATOR);
    let separator =
        separator.or_else(|| project.setting(COMPOSE_PATH_SEPARATOR)).unwrap_or_else(|| ":".to_owned());
    let files: Vec<_> = files.split(&separator).filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    let outside = files.iter().find(|file| !trusted && !is_in_checkout(file, Path::new(".")));
    outside.map_or(Ok(()), |file| {
        let text = format!(".env: COMPOSE_FILE names {}, which is not in this checkout", file.display());
        Err(Failure::input(text, "name the files with --compose, or set COMPOSE_FILE in the environment"))
    })?;
    Ok(files)
}

/// A Compose file in `here` or above, and its override file.
fn search(here: &Path) -> Result<InputFiles, Failure> {
    let mut trusted = true;
    for folder in here.ancestors() {
        trusted &= folder == here || !shared_folder::is_shared(folder);
        let first = |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let Some(found) = first(&compose::FILES) else { continue };
        let files = [Some(found), first(&compose::OVERRIDES)].into_iter().flatten();
        let files: Vec<_> = files.collect();
        let planted = |file: &&PathBuf| !trusted || folder != here && shared_folder::may_be_planted(file);
        if let Some(file) = files.iter().find(planted) {
            return Err(nothing_found(Some(file)));
        }
        let shown = |file: PathBuf| file.strip_prefix(here).map(Path::to_owned).unwrap_or(file);
        let compose = files.into_iter().map(shown).collect();
        return Ok(InputFiles { config: None, compose, unused: None });
    }
    Err(nothing_found(None))
}

fn nothing_found(passed_over: Option<&Path>) -> Failure {
    let names = compose::FILES.join(", ");
    let passed_over = passed_over.map(|file| {
        format!(
            "; {} was passed over: it is in or above a folder that everybody can write to",
            file.display()
        )
    });
    let text = format!(
        "no {} in this folder, and no Compose file ({names}) in this or a parent folder{}",
        config::FILE,
        passed_over.unwrap_or_default()
    );
    Failure::input(text, "name one with --config or --compose")
}
