//! What Compose's library and Bakery's client make of a case.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::vars;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::corpus::Case;

/// The registry of images that are named after their services.
pub(crate) const REGISTRY: &str = "registry.test/shop";

/// A case in a folder of its own.
pub(crate) struct CaseFolder<'a> {
    pub(crate) case: &'a Case,
    /// Absolute, links resolved.
    pub(crate) folder: PathBuf,
}

impl CaseFolder<'_> {
    fn cwd(&self) -> PathBuf {
        self.folder.join(&self.case.cwd)
    }

    fn root(&self) -> Result<PathBuf> {
        let repo = &self.case.repo;
        let root = if repo.is_empty() { self.cwd() } else { self.folder.join(repo) };
        Ok(root.canonicalize()?)
    }

    fn env(&self) -> BTreeMap<String, String> {
        let folder = self.folder.display().to_string();
        self.case.env.iter().map(|(name, value)| (name.clone(), value.replace("FOLDER", &folder))).collect()
    }
}

/// A call of `docker compose build`, as scripts/compose/main.go reads it.
#[derive(Serialize)]
struct ComposeCall {
    folder: PathBuf,
    root: PathBuf,
    files: Vec<String>,
    env_files: Vec<String>,
    services: Vec<String>,
    env: BTreeMap<String, String>,
}

/// What Compose does.
#[derive(Debug, Deserialize)]
pub(crate) struct ComposeAnswer {
    #[serde(default)]
    pub(crate) error: String,
    /// What it builds; none after an error.
    pub(crate) services: Option<BTreeMap<String, ComposeBuild>>,
}

/// What Compose builds of a service. Paths are relative to the source root.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ComposeBuild {
    pub(crate) image: String,
    pub(crate) named: bool,
    pub(crate) context: String,
    pub(crate) dockerfile: String,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) platforms: Option<Vec<String>>,
    pub(crate) target: String,
    pub(crate) no_cache: bool,
    /// The whole section, with the library's names of its keys.
    pub(crate) build: BTreeMap<String, Value>,
    /// The section's `x-bake`.
    pub(crate) x_bake: Value,
}

/// Asks Compose's library about all projects.
pub(crate) fn compose(projects: &[CaseFolder<'_>]) -> Result<Vec<ComposeAnswer>> {
    let question = |project: &CaseFolder<'_>| {
        Ok(ComposeCall {
            folder: project.cwd(),
            root: project.root()?,
            files: project.case.compose.clone(),
            env_files: project.case.env_files.clone(),
            services: project.case.services.clone(),
            env: project.env(),
        })
    };
    let questions = projects.iter().map(question).collect::<Result<Vec<_>>>()?;
    let mut child = Command::new(vars::COMPOSE.required())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("Compose's library")?;
    let mut input = child.stdin.take().context("standard input")?;
    input.write_all(&serde_json::to_vec(&questions)?)?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "Compose's library: {}", output.status);
    let answers: Vec<ComposeAnswer> = serde_json::from_slice(&output.stdout)?;
    ensure!(answers.len() == projects.len(), "{} answers for {} cases", answers.len(), projects.len());
    Ok(answers)
}

/// What the client does: `plan --json`.
pub(crate) struct Plan {
    /// What it would build; `None` if it refuses the case.
    pub(crate) document: Option<Value>,
    /// Its messages.
    pub(crate) messages: String,
}

/// Plans a project with the client.
pub(crate) fn bakery(project: &CaseFolder<'_>) -> Result<Plan> {
    let case = project.case;
    let mut command = Command::new(Path::new(&vars::BIN_DIR.required()).join("bakery-client"));
    command.args(["plan", "--json", "--registry", REGISTRY]).arg("--repo").arg(project.root()?);
    for file in &case.compose {
        command.args(["--compose", file]);
    }
    for file in &case.env_files {
        command.args(["--env-file", file]);
    }
    if !case.services.is_empty() {
        command.args(["--services", &case.services.join(",")]);
    }
    command.args(&case.args).current_dir(project.cwd()).env_clear().envs(project.env());
    let output = command.stdin(Stdio::null()).output().context("bakery-client")?;
    let messages = String::from_utf8(output.stderr)?;
    let document = match output.status.code() {
        Some(0) => Some(serde_json::from_slice(&output.stdout)?),
        Some(2) => None,
        other => anyhow::bail!("bakery-client ended with {other:?}: {messages}"),
    };
    Ok(Plan { document, messages })
}
