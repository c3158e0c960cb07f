//! The corpus: Compose files written for it, several cases a file of `cases/`.
//!
//! A case begins with `=== NAME`; then come lines of `KEY: VALUE` (and comments), then its files, each after `-- PATH --`. `FOLDER`
//! in any of them is the folder that the case is written to.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use bakery_testkit::repository;

/// Where the cases are.
const CASES: &str = "crates/testkit/tests/compose/cases";

/// What is right for a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Compose and Bakery build the same. A case without a `result` expects this.
    Equal,
    /// Compose builds it, Bakery refuses it with this message, and docs/reference/compose.md has this text about it.
    Refused { message: String, page: String },
    /// Both refuse it, with these messages.
    RefusedByBoth { message: String, compose: String },
    /// Compose refuses it with this message, Bakery builds it for this reason.
    Accepted { reason: String, compose: String },
}

/// A project, and how it is built.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Where the case is written.
    pub(crate) source: String,
    pub(crate) expected: Expected,
    /// The Compose files of the command line.
    pub(crate) compose: Vec<String>,
    pub(crate) env_files: Vec<String>,
    pub(crate) services: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// The working directory, below the case's folder.
    pub(crate) cwd: String,
    /// The source root, below the case's folder; empty for the working directory.
    pub(crate) repo: String,
    /// More arguments of the client.
    pub(crate) args: Vec<String>,
    pub(crate) files: Vec<(String, String)>,
}

impl Case {
    fn new(name: &str, source: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: source.to_owned(),
            expected: Expected::Equal,
            compose: Vec::new(),
            env_files: Vec::new(),
            services: Vec::new(),
            env: Vec::new(),
            cwd: String::new(),
            repo: String::new(),
            args: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Writes the files into a folder, which must exist.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let shown = folder.to_str().context("not UTF-8")?;
        for (name, text) in &self.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().context("a file has a folder")?)?;
            fs::write(path, text.replace("FOLDER", shown))?;
        }
        fs::create_dir_all(folder.join(&self.cwd))?;
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let words = || value.split_whitespace().map(str::to_owned).collect();
        match key {
            "result" => self.expected = expected(value)?,
            "page" => match &mut self.expected {
                Expected::Refused { page, .. } => value.clone_into(page),
                _ => bail!("only a refused case has a `page`"),
            },
            "theirs" => match &mut self.expected {
                Expected::RefusedByBoth { compose, .. } | Expected::Accepted { compose, .. } => {
                    value.clone_into(compose);
                }
                _ => bail!("only a case that Compose refuses has `theirs`"),
            },
            "compose" => self.compose = words(),
            "env-files" => self.env_files = words(),
            "services" => self.services = words(),
            "env" => {
                let (name, value) = value.split_once('=').context("env: NAME=VALUE")?;
                self.env.push((name.to_owned(), value.to_owned()));
            }
            "cwd" => value.clone_into(&mut self.cwd),
            "repo" => value.clone_into(&mut self.repo),
            "args" => self.args = words(),
            _ => bail!("unknown key `{key}`"),
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let missing = match &self.expected {
            Expected::Refused { page, .. } if page.is_empty() => {
                Some("`page`, a text of docs/reference/compose.md")
            }
            Expected::RefusedByBoth { compose, .. } | Expected::Accepted { compose, .. }
                if compose.is_empty() =>
            {
                Some("`theirs`, a part of Compose's message")
            }
            _ => None,
        };
        ensure!(missing.is_none(), "it needs a line {}", missing.unwrap_or_default());
        ensure!(!self.files.is_empty(), "no files");
        Ok(())
    }
}

fn expected(value: &str) -> Result<Expected> {
    if value == "equal" {
        return Ok(Expected::Equal);
    }
    let (kind, text) = value.split_once(": ").context("result: equal, or KIND: TEXT")?;
    let text = text.to_owned();
    Ok(match kind {
        "refused" => Expected::Refused { message: text, page: String::new() },
        "refused by both" => Expected::RefusedByBoth { message: text, compose: String::new() },
        "accepted" => Expected::Accepted { reason: text, compose: String::new() },
        _ => bail!("`{kind}` is not a result"),
    })
}

/// Every case.
pub(crate) fn all() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for file in repository::files(CASES)? {
        let name = repository::shown(&file);
        let text = fs::read_to_string(&file).with_context(|| name.clone())?;
        cases.extend(read(&name, &text)?);
    }
    Ok(cases)
}

fn read(source: &str, text: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at = || format!("{source}:{}", index + 1);
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case::new(name, &at()));
            continue;
        }
        let Some(case) = cases.last_mut() else {
            ensure!(line.is_empty() || line.starts_with('#'), "{}: no case", at());
            continue;
        };
        if let Some(name) = line.strip_prefix("-- ").and_then(|line| line.strip_suffix(" --")) {
            case.files.push((name.to_owned(), String::new()));
        } else if let Some((_, file)) = case.files.last_mut() {
            file.push_str(line);
            file.push('\n');
        } else if !line.is_empty() && !line.starts_with('#') {
            let (key, value) = line.split_once(": ").with_context(|| format!("{}: KEY: VALUE", at()))?;
            case.set(key, value).with_context(at)?;
        }
    }
    for case in &mut cases {
        // The blank line before the next case belongs to no file.
        if let Some((_, text)) = case.files.last_mut() {
            text.truncate(text.trim_end_matches('\n').len());
            text.push('\n');
        }
        case.check().with_context(|| format!("{}: {}", case.source, case.name))?;
    }
    Ok(cases)
}
