//! Reads the files that the options name and plans the build.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bakery_context::{ContextFolder, read_user_text};
use bakery_core::compose::{self, ComposeFile, Withheld};
use bakery_core::config::{self, ConfigFile, Naming, Resolved, Surroundings, Variables};
use bakery_core::limits;
use bakery_core::mask::name_suggests_secret;
use bakery_core::message::{Hint as _, Message};
use bakery_core::names::Arch;
use bakery_core::plan::BuildPlan;
use bakery_core::report::{Location, Mistake, Notice, Report};
use bakery_core::secret::Secret;
use bakery_core::spec::{BuildSpec, Order};
use bakery_core::vars::{Layered, Vars};

use crate::cli::BuildOptions;
use crate::docker_logins::UserDockerLogins;
use crate::dotenv_file::{DotenvFile, folder_of, project_env};
use crate::exit::Failure;
use crate::find::InputFiles;
use crate::naming;
use crate::password_files::NamedPasswordFiles;
use crate::referenced::ReferencedFiles;
use crate::secret_files;

/// A build, read from its files.
#[derive(Debug)]
pub struct LoadedBuild {
    /// The files that were read, in their order.
    pub files: Vec<String>,
    /// The spec to submit.
    pub spec: BuildSpec,
    /// What the server will do.
    pub plan: BuildPlan,
    /// Notices about the files.
    pub notices: Vec<Notice>,
    /// The source folder: absolute, links resolved.
    pub root: PathBuf,
    /// Warnings about files with secrets that are part of a context.
    pub secret_files: Vec<Notice>,
    /// Contexts and Dockerfiles that do not exist, one text each.
    pub missing: Vec<String>,
    /// Values of variables that were used in the spec and whose names suggest a secret.
    pub secrets: Vec<Secret>,
}

/// Reads everything that the options name. All mistakes in options and files are reported at once.
pub fn load(options: &BuildOptions, environment: &BTreeMap<String, String>) -> Result<LoadedBuild, Failure> {
    let mut mistakes = Vec::new();
    let root = root(options).map_err(|mistake| mistakes.push(mistake));
    let order = if options.parallel { Order::Parallel } else { Order::Sequential };
    let services = options.service_names().map_err(|error| {
        let message = Message::new(error.to_string()).with_hint("separate names by commas");
        mistakes.push(Mistake::of_setting("--services", message));
    });
    let naming = naming::of(options, environment, &mut mistakes);
    let files = match InputFiles::find(options, environment) {
        Ok(files) => files,
        Err(failure) => return Err(after(mistakes, failure)),
    };
    if files.compose.is_empty() && services.as_ref().is_ok_and(|names| !names.is_empty()) {
        mistakes.push(no_services(&files));
    }
    let recorder = SecretRecorder { vars: environment, secrets: RefCell::default() };
    let config_text = files.config.as_deref().map(|path| (path, read(path, "--config")));
    let compose = read_compose(&files.compose, &mut mistakes);
    let has_variables =
        |text: &Result<(String, String), _>| text.as_ref().is_ok_and(|(_, text)| text.contains("${"));
    let is_needed =
        !files.compose.is_empty() || config_text.as_ref().is_some_and(|(_, text)| has_variables(text));
    let project = if is_needed {
        let folder = files.compose.first().map_or(Path::new("."), |path| folder_of(path));
        project_env(&options.env_file, &recorder, folder)
    } else {
        Ok(DotenvFile::default())
    };
    let dotenv = project.as_ref().map(|project| project.text.as_str()).unwrap_or_default();
    let withheld = Withheld::of(environment, &options.allow_env, dotenv);
    let values = project.as_ref().map(|project| project.values.clone()).unwrap_or_default();
    // A value in the file may contain another one.
    values.iter().for_each(|(name, value)| recorder.record(name, value));
    let vars = Layered { upper: &recorder, lower: &values };
    let password_files =
        NamedPasswordFiles::new(files.config.as_deref().unwrap_or(Path::new("")), environment);
    let config = config_text.map(|(_, text)| {
        let variables = if project.is_ok() {
            Variables::Of { vars: &vars, withheld: &withheld }
        } else {
            Variables::Unknown
        };
        let surroundings = Surroundings { variables, files: &password_files };
        let read = text.and_then(|(name, text)| config::read_with(&name, &text, &surroundings));
        read.unwrap_or_else(ConfigFile::unreadable)
    });
    if let Err(failure) = project {
        mistakes.extend(config.map(ConfigFile::mistakes).unwrap_or_default());
        mistakes.extend(compose.map(ComposeFile::mistakes).unwrap_or_default());
        return Err(after(mistakes, failure));
    }
    let secret = config.as_ref().is_some_and(ConfigFile::holds_secrets);
    let named = files.config.iter().chain(&files.compose);
    let read_files = RefCell::new(named.map(|path| path.display().to_string()).collect());
    let resolved = match (config, compose, files.compose.first()) {
        (config, Some(compose), Some(path)) => {
            let services = services.unwrap_or_default();
            let services: Vec<_> = services.iter().map(ToString::to_string).collect();
            // If the root is not known, no path is outside of it.
            let root = root.as_deref().unwrap_or(Path::new("/"));
            let request = ComposeInput {
                path,
                root,
                services: &services,
                order,
                vars: &vars,
                withheld: &withheld,
                project: &values,
                naming: &naming,
                read: &read_files,
            };
            match request.resolve(&compose, config.as_ref()) {
                Ok(resolved) => resolved,
                Err(failure) => {
                    mistakes.extend(config.map(ConfigFile::mistakes).unwrap_or_default());
                    mistakes.extend(compose.mistakes());
                    return Err(after(mistakes, failure));
                }
            }
        }
        (Some(config), None, None) => config.resolve(order, &naming),
        // The config's services are in the Compose file, which cannot be read.
        (config, ..) => Err(Report { mistakes: config.map(ConfigFile::mistakes).unwrap_or_default() }),
    };
    let docker = UserDockerLogins::new(environment);
    let resolved = match resolved {
        // No helper runs for a build that cannot be sent.
        Ok(resolved) if root.is_ok() && mistakes.is_empty() => {
            resolved.with_docker_logins(options.credentials.is_some(), &docker)
        }
        resolved => resolved,
    };
    let (root, resolved) = match (root, resolved) {
        (Ok(root), Ok(resolved)) if mistakes.is_empty() => (root, resolved),
        (_, resolved) => {
            let found = resolved.err().map(|report| report.mistakes).unwrap_or_default();
            // Options come first, then files.
            mistakes.extend(found);
            let mut failure = Failure::from(Report { mistakes });
            failure.messages.extend(files.unused.map(|notice| notice.message()));
            return Err(failure);
        }
    };
    let Resolved { spec, plan, mut notices, written, .. } = resolved;
    notices.extend(files.unused);
    let secret_config = files.config.as_deref().filter(|_| secret);
    let secret_files =
        secret_files::warnings(&root, &folders(&spec), secret_config, &password_files.into_paths());
    let missing = missing(&spec, &root, &written);
    let secrets = recorder.secrets.into_inner();
    Ok(LoadedBuild {
        files: read_files.into_inner(),
        spec,
        plan,
        notices,
        root,
        secret_files,
        missing,
        secrets,
    })
}

/// The build contexts of a spec, each once.
pub fn folders(spec: &BuildSpec) -> Vec<ContextFolder> {
    let tasks = spec.services.iter().flat_map(|service| &service.tasks);
    let all: BTreeSet<_> = tasks
        .map(|task| ContextFolder {
            path: task.kaniko.context_path.clone(),
            dockerfile: task.kaniko.dockerfile.clone(),
        })
        .collect();
    all.into_iter().collect()
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

/// The Compose files as one; `None` without any, or if one cannot be read.
fn read_compose(paths: &[PathBuf], mistakes: &mut Vec<Mistake>) -> Option<ComposeFile> {
    let (mut all, mut failed) = (Vec::new(), false);
    for path in paths {
        match read(path, "--compose").and_then(|(name, text)| compose::read(&name, &text)) {
            Ok(file) => all.push(file),
            Err(report) => {
                failed = true;
                mistakes.extend(report.mistakes);
            }
        }
    }
    let all = all.into_iter().reduce(ComposeFile::with)?;
    if failed {
        mistakes.extend(all.mistakes());
        return None;
    }
    Some(all)
}

/// What the resolution of Compose files needs.
struct ComposeInput<'a> {
    /// The first of the files.
    path: &'a Path,
    root: &'a Path,
    services: &'a [String],
    order: Order,
    vars: &'a dyn Vars,
    withheld: &'a Withheld,
    /// The project's variables besides the environment.
    project: &'a BTreeMap<String, String>,
    naming: &'a Naming,
    /// The names of all files that are read.
    read: &'a RefCell<Vec<String>>,
}

impl ComposeInput<'_> {
    fn resolve(
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
        let naming = naming::with_project(self.naming, self.project)?;
        let files = ReferencedFiles { folder: &folder, root: self.root, names: RefCell::default() };
        let request = compose::Request {
            vars: self.vars,
            withheld: self.withheld,
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

/// A failure that ends reading, after the mistakes that were found before it.
fn after(mistakes: Vec<Mistake>, failure: Failure) -> Failure {
    if mistakes.is_empty() { failure } else { Failure::from(Report { mistakes }).and(failure) }
}

fn root(options: &BuildOptions) -> Result<PathBuf, Mistake> {
    let given = options.repo.as_deref().unwrap_or(Path::new("."));
    let wrong = |problem: String| {
        let message = Message::new(format!("`{}` {problem}", given.display()));
        Mistake::of_setting("--repo", message.with_hint("it must be the folder with the source"))
    };
    let root = given.canonicalize().map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if root.is_dir() { Ok(root) } else { Err(wrong("is not a folder".to_owned())) }
}

fn no_services(files: &InputFiles) -> Mistake {
    let config = files.config.as_deref().unwrap_or(Path::new(config::FILE));
    let text = format!("selects services of a Compose file, but only {} is read", config.display());
    let hint = "name the Compose file with --compose; the entries of a config.yaml have no names";
    Mistake::of_setting("--services", Message::new(text).with_hint(hint))
}

/// Name and content of the file that `option` names.
fn read(path: &Path, option: &str) -> Result<(String, String), Report> {
    let name = path.display().to_string();
    let wrong = |text: String, hint: String| {
        let message = Message::new(text).with_hint(hint);
        Report { mistakes: vec![Mistake::new(Location::file(&name), message)] }
    };
    if path.is_dir() {
        return Err(wrong(format!("{option} requires a file, but this is a folder"), file_within(path)));
    }
    match read_user_text(path, limits::SPEC_BYTES as u64) {
        Ok(text) => Ok((name.clone(), text)),
        Err(error) => {
            let hint = match &error {
                error if !error.is_not_found() => error.hint().unwrap_or_default().into_owned(),
                _ if path.is_symlink() => "it is a link to a file that does not exist".to_owned(),
                _ => "check the path; it is relative to the working directory".to_owned(),
            };
            Err(wrong(error.to_string(), hint))
        }
    }
}

/// A hint with the options that read the files in a folder.
fn file_within(folder: &Path) -> String {
    let option = |(option, name): (&str, &str)| {
        let path = folder.join(name);
        path.is_file().then(|| format!("{option} {}", path.display()))
    };
    let compose = compose::FILES.iter().map(|name| ("--compose", *name)).find_map(option);
    let found: Vec<_> = option(("--config", config::FILE)).into_iter().chain(compose).collect();
    if found.is_empty() {
        "name the file; --repo names the folder with the source".to_owned()
    } else {
        format!("use {}; --repo names the folder with the source", found.join(" or "))
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

/// Contexts and Dockerfiles that do not exist. The Dockerfile of a task with a pre-script is not checked: the script may
/// create it.
fn missing(spec: &BuildSpec, root: &Path, written: &BTreeMap<String, String>) -> Vec<String> {
    // A path with the value of a variable is shown as the file has it: the value may be a secret.
    let shown = |path: &str| written.get(path).cloned().unwrap_or_else(|| path.to_owned());
    let mut all = BTreeSet::new();
    for task in spec.services.iter().flat_map(|service| &service.tasks) {
        let context = match task.kaniko.context_path.as_str() {
            "." => root.to_owned(),
            inner => root.join(inner),
        };
        let context_shown = match written.get(&task.kaniko.context_path) {
            Some(written) => format!("context `{written}`"),
            None => context.display().to_string(),
        };
        if !context.is_dir() {
            all.insert(format!(
                "context `{}`: no such folder below {}",
                shown(&task.kaniko.context_path),
                root.display()
            ));
        } else if task.pre_script.is_none() && !context.join(&task.kaniko.dockerfile).is_file() {
            all.insert(format!(
                "dockerfile `{}`: no such file in {}",
                shown(&task.kaniko.dockerfile),
                context_shown
            ));
        }
    }
    all.into_iter().collect()
}

/// The architecture of this machine; amd64 if Bakery does not support it.
fn own_arch() -> Arch {
    if std::env::consts::ARCH == "aarch64" { Arch::Arm64 } else { Arch::Amd64 }
}
