//! From options and files to a plan.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bakery_context::ContextFolder;
use bakery_core::compose::{self, ComposeFile};
use bakery_core::config::{self, ConfigFile};
use bakery_core::limits;
use bakery_core::message::Message;
use bakery_core::names::Arch;
use bakery_core::plan::{self, BuildPlan};
use bakery_core::report::{Location, Mistake, Notice, Report};
use bakery_core::secret::{Secret, name_suggests_secret};
use bakery_core::spec::{BuildSpec, Order};
use bakery_core::vars::{Layered, Vars};

use crate::cli::Source;
use crate::exit::Failure;
use crate::exposed;
use crate::settings::env_file;

/// What the files say.
#[derive(Debug)]
pub struct Loaded {
    /// What is submitted.
    pub spec: BuildSpec,
    /// What will be done.
    pub plan: BuildPlan,
    /// Things worth saying.
    pub notices: Vec<Notice>,
    /// The source root: absolute, links resolved.
    pub root: PathBuf,
    /// Files with secrets that are part of a context.
    pub exposed: Vec<Notice>,
    /// Contexts and Dockerfiles that are not below the root.
    pub missing: Vec<String>,
    /// Values of variables that went into the spec and whose names suggest a secret.
    pub secrets: Vec<Secret>,
}

/// The files of one call.
struct Files {
    config: Option<PathBuf>,
    compose: Option<PathBuf>,
    /// Compose files beside one that was found by itself.
    overrides: Vec<String>,
    /// What is said of a Compose file beside a config.yaml that was found by itself.
    beside: Option<Notice>,
}

/// Reads everything that the options name. All mistakes of options and files come at once.
pub fn load(source: &Source, environment: &BTreeMap<String, String>) -> Result<Loaded, Failure> {
    let mut mistakes = Vec::new();
    let root = root(source).map_err(|mistake| mistakes.push(mistake));
    let order = if source.parallel { Order::Parallel } else { Order::Sequential };
    let services = source.service_names().map_err(|error| {
        let message = Message::new(error.to_string()).with_hint("separate names by commas");
        mistakes.push(Mistake::of_setting("--services", message));
    });
    let files = match find(source, &std::env::current_dir().unwrap_or_default()) {
        Ok(files) => files,
        Err(failure) => return Err(behind(mistakes, failure)),
    };
    if files.compose.is_none() && services.as_ref().is_ok_and(|names| !names.is_empty()) {
        mistakes.push(no_services(&files));
    }
    let config = files.config.as_deref().map(|path| {
        let read = read(path, "--config").and_then(|(name, text)| config::read(&name, &text));
        read.unwrap_or_else(ConfigFile::unreadable)
    });
    let compose = files.compose.as_deref().and_then(|path| {
        let read = read(path, "--compose").and_then(|(name, text)| compose::read(&name, &text));
        read.map_err(|report| mistakes.extend(report.mistakes)).ok()
    });
    let secret = config.as_ref().is_some_and(ConfigFile::holds_secrets);
    let asked_for = Noted { vars: environment, secrets: RefCell::default() };
    let resolved = match (config, compose, &files.compose) {
        (config, Some(compose), Some(path)) => {
            let services = services.unwrap_or_default();
            let services: Vec<_> = services.iter().map(ToString::to_string).collect();
            // Where the root is not known nothing can lie outside of it.
            let root = root.as_deref().unwrap_or(Path::new("/"));
            let request = Asked { path, root, services: &services, order, overrides: &files.overrides };
            match request.resolve(&compose, config.as_ref(), &asked_for) {
                Ok(resolved) => resolved,
                Err(failure) => {
                    mistakes.extend(config.map(ConfigFile::mistakes).unwrap_or_default());
                    mistakes.extend(compose.mistakes());
                    return Err(behind(mistakes, failure));
                }
            }
        }
        (Some(config), None, None) => config.resolve(order),
        // Without the Compose file nothing stands upon the config.
        (config, ..) => Err(Report { mistakes: config.map(ConfigFile::mistakes).unwrap_or_default() }),
    };
    let (root, spec, mut notices) = match (root, resolved) {
        (Ok(root), Ok((spec, notices))) if mistakes.is_empty() => (root, spec, notices),
        (_, resolved) => {
            let found = resolved.err().map(|report| report.mistakes).unwrap_or_default();
            // Options come first, then files.
            mistakes.extend(found);
            let hint = files.beside.map(|beside| {
                [Some(beside.text), beside.hint].into_iter().flatten().collect::<Vec<_>>().join("; ")
            });
            return Err(Failure { hint, ..Report { mistakes }.into() });
        }
    };
    notices.extend(files.beside);
    let plan = plan::plan(&spec).map_err(|problems| {
        Failure::from(Report { mistakes: problems.into_iter().map(Mistake::from).collect() })
    })?;
    let secret_config = files.config.as_deref().filter(|_| secret);
    let exposed = exposed::warnings(&root, &folders(&spec), secret_config);
    let missing = missing(&spec, &root);
    let secrets = asked_for.secrets.into_inner();
    Ok(Loaded { spec, plan, notices, root, exposed, missing, secrets })
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

/// An environment that remembers the secrets that it was asked for, and what stood in for them.
struct Noted<'a> {
    vars: &'a BTreeMap<String, String>,
    secrets: RefCell<Vec<Secret>>,
}

impl Noted<'_> {
    fn note(&self, name: &str, value: &str) {
        if name_suggests_secret(name) {
            self.secrets.borrow_mut().push(Secret::new(value));
        }
    }
}

impl Vars for Noted<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let value = self.vars.get(name).cloned()?;
        self.note(name, &value);
        Some(value)
    }

    fn defaulted(&self, name: &str, text: &str) {
        self.note(name, text);
    }
}

struct Asked<'a> {
    path: &'a Path,
    root: &'a Path,
    services: &'a [String],
    order: Order,
    overrides: &'a [String],
}

impl Asked<'_> {
    fn resolve(
        &self,
        compose: &ComposeFile,
        config: Option<&ConfigFile>,
        environment: &Noted<'_>,
    ) -> Result<Result<(BuildSpec, Vec<Notice>), Report>, Failure> {
        let folder =
            self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // In the working directory it is the file of our own settings as well, and has one name.
        let beside = if folder == Path::new(".") { PathBuf::from(".env") } else { folder.join(".env") };
        let project = env_file(&beside, environment)?;
        // Within the file one value may hold another.
        for (name, value) in &project {
            environment.note(name, value);
        }
        let folder = folder.canonicalize().map_err(|error| {
            Failure::input(
                format!("{}: cannot be read: {error}", folder.display()),
                "the folder must be readable",
            )
        })?;
        let request = compose::Request {
            vars: &Layered { upper: environment, lower: project },
            config,
            services: self.services,
            root: text(self.root)?,
            folder: text(&folder)?,
            arch: own_arch(),
            order: self.order,
            overrides: self.overrides,
        };
        Ok(compose.resolve(&request))
    }
}

/// What stops the reading, behind the mistakes that were found before it.
fn behind(mistakes: Vec<Mistake>, failure: Failure) -> Failure {
    if mistakes.is_empty() { failure } else { Failure::from(Report { mistakes }).and(failure) }
}

fn root(source: &Source) -> Result<PathBuf, Mistake> {
    let given = source.repo.as_deref().unwrap_or(Path::new("."));
    let wrong = |why: String| {
        let message = Message::new(format!("`{}` {why}", given.display()));
        Mistake::of_setting("--repo", message.with_hint("name the folder that holds the source"))
    };
    let root = given.canonicalize().map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if root.is_dir() { Ok(root) } else { Err(wrong("is not a folder".to_owned())) }
}

/// Which files are meant; see section 2 of the reference: config.yaml here, else Compose's own search.
fn find(source: &Source, here: &Path) -> Result<Files, Failure> {
    if source.config.is_some() || source.compose.is_some() {
        let (config, compose) = (source.config.clone(), source.compose.clone());
        return Ok(Files { config, compose, overrides: Vec::new(), beside: None });
    }
    // What bears the name and cannot be read is a mistake to be told: not a reason to build something else.
    if Path::new(config::FILE).symlink_metadata().is_ok() {
        let beside = compose::FILES.iter().find(|name| Path::new(name).is_file()).map(|name| {
            let message = Message::new(format!("{name} lies beside it and is not read"));
            Notice::new(Location::file(config::FILE), message.with_hint(beside_hint(name)))
        });
        return Ok(Files { config: Some(config::FILE.into()), compose: None, overrides: Vec::new(), beside });
    }
    for folder in here.ancestors() {
        let Some(found) = compose::FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
        else {
            continue;
        };
        let overrides = compose::OVERRIDES.iter().filter(|name| folder.join(name).is_file());
        let overrides = overrides.map(|&name| name.to_owned()).collect();
        let shown = found.strip_prefix(here).map(Path::to_owned).unwrap_or(found);
        return Ok(Files { config: None, compose: Some(shown), overrides, beside: None });
    }
    Err(nothing_found())
}

fn beside_hint(compose: &str) -> String {
    format!(
        "--compose {compose} builds its services; with --config {} as well, that file's `global` is their base",
        config::FILE
    )
}

fn no_services(files: &Files) -> Mistake {
    let config = files.config.as_deref().unwrap_or(Path::new(config::FILE));
    let text = format!("names services of a Compose file, and only {} is read", config.display());
    let hint = "name the Compose file with --compose; the entries of a config.yaml have no names";
    Mistake::of_setting("--services", Message::new(text).with_hint(hint))
}

fn nothing_found() -> Failure {
    let names = compose::FILES.join(", ");
    Failure::input(
        format!("no {} here, and no Compose file ({names}) here or above", config::FILE),
        "name one with --config or --compose",
    )
}

/// The name and the text of the file that `option` names.
fn read(path: &Path, option: &str) -> Result<(String, String), Report> {
    let name = path.display().to_string();
    let wrong = |text: String, hint: String| {
        let message = Message::new(text).with_hint(hint);
        Report { mistakes: vec![Mistake::new(Location::file(&name), message)] }
    };
    if path.is_dir() {
        return Err(wrong(format!("{option} takes a file, and this is a folder"), file_within(path)));
    }
    let unreadable = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound if path.is_symlink() => "it is a link that leads nowhere",
            io::ErrorKind::NotFound => "check the path; it is relative to the working directory",
            io::ErrorKind::InvalidData => "the file must be UTF-8 text",
            _ => "the file must be readable",
        };
        wrong(format!("cannot be read: {error}"), hint.to_owned())
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let limit = limits::SPEC_BYTES as u64;
    let read = file.take(limit + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read as u64 > limit {
        return Err(wrong(format!("longer than {limit} bytes"), "is this the right file?".to_owned()));
    }
    Ok((name, text))
}

/// Which options would read what lies in a folder.
fn file_within(folder: &Path) -> String {
    let option = |(option, name): (&str, &str)| {
        let path = folder.join(name);
        path.is_file().then(|| format!("{option} {}", path.display()))
    };
    let compose = compose::FILES.iter().map(|name| ("--compose", *name)).find_map(option);
    let found: Vec<_> = option(("--config", config::FILE)).into_iter().chain(compose).collect();
    if found.is_empty() {
        "name the file; the folder with the source is named by --repo".to_owned()
    } else {
        format!("write {}; the folder with the source is named by --repo", found.join(" or "))
    }
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        Failure::input(
            format!("{}: the path is not UTF-8", path.display()),
            "move the source to another folder",
        )
    })
}

/// What the archive will lack. A task with a pre-script may still make its Dockerfile.
fn missing(spec: &BuildSpec, root: &Path) -> Vec<String> {
    let mut all = BTreeSet::new();
    for task in spec.services.iter().flat_map(|service| &service.tasks) {
        let context = match task.kaniko.context_path.as_str() {
            "." => root.to_owned(),
            inner => root.join(inner),
        };
        if !context.is_dir() {
            all.insert(format!(
                "context `{}`: no such folder below {}",
                task.kaniko.context_path,
                root.display()
            ));
        } else if task.pre_script.is_none() && !context.join(&task.kaniko.dockerfile).is_file() {
            all.insert(format!(
                "dockerfile `{}`: no such file in {}",
                task.kaniko.dockerfile,
                context.display()
            ));
        }
    }
    all.into_iter().collect()
}

/// This machine's architecture; one that Bakery does not know has no better default than the most common.
fn own_arch() -> Arch {
    if std::env::consts::ARCH == "aarch64" { Arch::Arm64 } else { Arch::Amd64 }
}
