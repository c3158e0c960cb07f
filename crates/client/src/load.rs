//! Reads the files that the options name and plans the build.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bakery_context::ContextFolder;
use bakery_core::compose::ComposeFile;
use bakery_core::config::{self, ConfigFile, LoginSearch, Resolved};
use bakery_core::message::Message;
use bakery_core::plan::BuildPlan;
use bakery_core::preflight::DockerfileFinding;
use bakery_core::report::{Findings, Mistake, Notice, Report};
use bakery_core::secret::Secret;
use bakery_core::spec::{BuildSpec, Order};

use crate::cli::BuildOptions;
use crate::compose_input::ComposeInput;
use crate::config_input::ConfigInput;
use crate::docker_logins::UserDockerLogins;
use crate::exit::Failure;
use crate::find::InputFiles;
use crate::git_wanted;
use crate::input_text::{read, read_compose};
use crate::naming;
use crate::option_rules;
use crate::preflight::CheckedSource;
use crate::project_variables::ProjectVariables;
use crate::secret_files;
use crate::set_options::OptionChanges;

/// What paths in files are relative to.
const OF_REPO: &str = "paths are relative to --repo, and Dockerfiles to their context";
/// What paths of options are relative to.
const OF_WORKING_DIRECTORY: &str =
    "-f and the context are relative to the working directory; without -f it is Dockerfile in the context";

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
    /// Whether `.git` is packed.
    pub git: bool,
    /// Warnings about files with secrets that are part of a context.
    pub secret_files: Vec<Notice>,
    /// Contexts and Dockerfiles that do not exist, one text each.
    pub missing: Vec<String>,
    /// What is found in the Dockerfiles.
    pub dockerfiles: Vec<DockerfileFinding>,
    /// What the paths of contexts and Dockerfiles are relative to.
    pub paths_hint: &'static str,
    /// Values of variables that were used in the spec and whose names suggest a secret.
    pub secrets: Vec<Secret>,
}

impl LoadedBuild {
    /// The failure of a build whose contexts or Dockerfiles do not exist.
    pub(crate) fn missing_failure(&self) -> Option<Failure> {
        (!self.missing.is_empty()).then(|| Failure::input(self.missing.join("\n"), self.paths_hint))
    }
}

/// Reads everything that the options name. All mistakes in options and files are reported at once.
pub fn load(options: &BuildOptions, environment: &BTreeMap<String, String>) -> Result<LoadedBuild, Failure> {
    let Findings { mut mistakes, notices: of_options, .. } = option_rules::check(options);
    let changes = OptionChanges::of(options, &mut mistakes);
    let root = root(options).map_err(|mistake| mistakes.push(mistake));
    let order = if options.parallel { Order::Parallel } else { Order::Sequential };
    let services = options.service_names().map_err(|error| {
        let message = Message::new(error.to_string()).with_hint("separate names by commas");
        mistakes.push(Mistake::of_setting("--services", message));
    });
    let naming = naming::of(options, environment, &mut mistakes);
    let is_one_image = options.image.asks().is_some();
    let files = match InputFiles::find(options, environment) {
        Ok(files) => files,
        Err(failure) => return Err(after(mistakes, failure)),
    };
    if files.compose.is_empty() && !is_one_image && services.as_ref().is_ok_and(|names| !names.is_empty()) {
        mistakes.push(no_services(&files));
    }
    let config = files.config.as_deref().map(|path| read(path, "--config"));
    let compose = read_compose(&files.compose, &mut mistakes);
    let compose = compose.map(|compose| compose.changed(changes.of_compose()));
    let mut project = ProjectVariables::of_environment(options, environment);
    let has_variables = config.iter().flatten().any(|(_, text)| text.contains("${"));
    let is_project_read =
        if has_variables || !files.compose.is_empty() { project.add_files(options, &files) } else { Ok(()) };
    let files_of_secrets = RefCell::default();
    let config = ConfigInput {
        options,
        environment,
        root: root.as_deref().ok(),
        naming: &naming,
        project: &project,
        is_project_read: is_project_read.is_ok(),
        files_of_secrets: &files_of_secrets,
        changes: changes.of_config(!files.compose.is_empty()),
    }
    .read(config);
    if let Err(failure) = is_project_read {
        return Err(after(with_files(mistakes, config, compose), failure));
    }
    let secret = config.as_ref().is_some_and(ConfigFile::holds_secrets);
    let git = config.as_ref().is_some_and(ConfigFile::packs_git);
    let named = files.config.iter().chain(&files.compose);
    let read_files = RefCell::new(named.map(|path| path.display().to_string()).collect());
    let resolved = match (config, compose, files.compose.first()) {
        (config, Some(compose), Some(path)) => {
            let services = services.unwrap_or_default();
            let services: Vec<_> = services.iter().map(ToString::to_string).collect();
            // If the root is not known, no path is outside of it.
            let root = root.as_deref().unwrap_or(Path::new("/"));
            let input = ComposeInput {
                path,
                root,
                services: &services,
                order,
                project: &project,
                naming: &naming,
                read: &read_files,
                files_of_secrets: &files_of_secrets,
            };
            match input.resolve(&compose, config.as_ref()) {
                Ok(resolved) => resolved,
                Err(failure) => return Err(after(with_files(mistakes, config, Some(compose)), failure)),
            }
        }
        (Some(config), None, None) => config.resolve(order, &naming),
        // The config's services are in the Compose file, which cannot be read.
        (config, ..) => Err(Report { mistakes: with_files(Vec::new(), config, None) }),
    };
    let resolved = match resolved {
        // No helper runs for a build that cannot be sent.
        Ok(resolved) if root.is_ok() && mistakes.is_empty() => {
            resolved.with_docker_logins(login_search(options), &UserDockerLogins::new(environment))
        }
        resolved => resolved,
    };
    let (root, resolved) = match (root, resolved) {
        (Ok(root), Ok(resolved)) if mistakes.is_empty() => (root, resolved),
        (_, resolved) => return Err(refused(mistakes, resolved.err(), files.unused)),
    };
    let Resolved { spec, plan, notices, written, .. } = resolved;
    let git_notices = git_wanted::notices(&root, &folders(&spec), git);
    let notices = of_options.into_iter().chain(notices).chain(files.unused).chain(git_notices).collect();
    let secret_config = files.config.as_deref().filter(|_| secret);
    let secret_files =
        secret_files::warnings(&root, &folders(&spec), secret_config, &files_of_secrets.into_inner());
    let secrets = project.into_used_secrets();
    let dockerfiles = CheckedSource { root: &root, written: &written }.findings(&spec, &secrets, options);
    Ok(LoadedBuild {
        files: read_files.into_inner(),
        missing: missing(&spec, &root, &written),
        dockerfiles,
        spec,
        plan,
        notices,
        root,
        git,
        secret_files,
        paths_hint: if is_one_image { OF_WORKING_DIRECTORY } else { OF_REPO },
        secrets,
    })
}

/// The failure with the mistakes of the options, then those of the files, and the notice about files that are not used.
fn refused(mut mistakes: Vec<Mistake>, report: Option<Report>, unused: Option<Notice>) -> Failure {
    mistakes.extend(report.into_iter().flat_map(|report| report.mistakes));
    let mut failure = Failure::from(Report { mistakes });
    failure.messages.extend(unused.map(|notice| notice.message()));
    failure
}

/// Which logins of docker are looked for. One image has no config that could ask for them.
fn login_search(options: &BuildOptions) -> LoginSearch {
    match &options.credentials {
        Some(_) => LoginSearch::All,
        None if options.image.asks().is_some() => LoginSearch::AllQuietly,
        None => LoginSearch::AsFileSays,
    }
}

/// The build contexts of a spec, each once.
pub fn folders(spec: &BuildSpec) -> Vec<ContextFolder> {
    let tasks = spec.services.iter().flat_map(|service| &service.tasks);
    let all: BTreeSet<_> = tasks
        .map(|task| ContextFolder {
            path: task.kaniko.context_path.clone(),
            dockerfile: task.kaniko.dockerfile_in_source().map(str::to_owned),
        })
        .collect();
    all.into_iter().collect()
}

/// These mistakes, and those that were found while the files were read.
fn with_files(
    mut mistakes: Vec<Mistake>,
    config: Option<ConfigFile>,
    compose: Option<ComposeFile>,
) -> Vec<Mistake> {
    mistakes.extend(config.map(ConfigFile::mistakes).unwrap_or_default());
    mistakes.extend(compose.map(ComposeFile::mistakes).unwrap_or_default());
    mistakes
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
        } else if let Some(dockerfile) = task.kaniko.dockerfile_in_source()
            && task.pre_script.is_none()
            && !context.join(dockerfile).is_file()
        {
            all.insert(format!("dockerfile `{}`: no such file in {context_shown}", shown(dockerfile)));
        }
    }
    all.into_iter().collect()
}
