//! A job of a CI system according to its documentation: which variables it gets, and how its script is run in a
//! container of the client image.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use bakery_testkit::engine::Engine;
use bakery_testkit::parts::Parts;
use bakery_testkit::repository;
use bakery_testkit::vars;
use serde_yaml::Value;
use tempfile::TempDir;
use tokio::process::Child;

/// The commit of every job here.
pub(crate) const COMMIT: &str = "5f0c1d2e3b4a59687786a5b4c3d2e1f001234567";

/// A CI system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    GitHub,
    GitLab,
}

/// The event for which a job runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ref {
    Branch(&'static str),
    Tag(&'static str),
}

/// Variables by name.
pub(crate) type Vars = Vec<(String, String)>;

/// The settings of a repository.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// GitHub's `vars`, GitLab's CI/CD variables.
    pub(crate) vars: Vars,
    /// The secret store.
    pub(crate) secrets: Vars,
}

/// A job in a container of its own, which is removed with it.
#[derive(Debug)]
pub(crate) struct Job {
    system: System,
    example: Value,
    engine: Engine,
    docker_host: String,
    container: String,
    folder: TempDir,
}

impl System {
    /// The example, from the repository's root.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::GitHub => "examples/client/.github-actions.yml",
            Self::GitLab => "examples/client/.gitlab.yml",
        }
    }

    pub(crate) fn example(self) -> Result<Value> {
        serde_yaml::from_str(&repository::read(self.path())?).context(self.path())
    }

    /// The image that the example's job runs in.
    pub(crate) fn image(self, example: &Value) -> Result<&str> {
        match self {
            Self::GitHub => text(&example["jobs"]["bake"]["container"]["image"]),
            Self::GitLab => text(&example["bake"]["image"]["name"]),
        }
    }

    /// The path at which the system mounts its folder in a job's container.
    pub(crate) const fn root(self) -> &'static str {
        match self {
            Self::GitHub => "/__w",
            Self::GitLab => "/builds",
        }
    }

    /// The path of the sources below it.
    const fn sources(self) -> &'static str {
        match self {
            Self::GitHub => "cart/cart",
            Self::GitLab => "shop/cart",
        }
    }

    fn workspace(self) -> String {
        format!("{}/{}", self.root(), self.sources())
    }

    /// The variables that the system itself sets.
    fn variables(self, to: Ref) -> Vars {
        let (name, tag) = match to {
            Ref::Branch(name) => (name, false),
            Ref::Tag(name) => (name, true),
        };
        let vars = match self {
            Self::GitHub => vec![
                ("GITHUB_ACTIONS", "true".to_owned()),
                ("GITHUB_SHA", COMMIT.to_owned()),
                ("GITHUB_REF_NAME", name.to_owned()),
                ("GITHUB_REF_TYPE", if tag { "tag" } else { "branch" }.to_owned()),
                ("GITHUB_WORKSPACE", self.workspace()),
                ("RUNNER_TEMP", format!("{}/_temp", self.root())),
            ],
            Self::GitLab => vec![
                ("GITLAB_CI", "true".to_owned()),
                ("CI_COMMIT_SHA", COMMIT.to_owned()),
                ("CI_COMMIT_SHORT_SHA", COMMIT[..8].to_owned()),
                ("CI_COMMIT_REF_NAME", name.to_owned()),
                (
                    "CI_COMMIT_REF_SLUG",
                    name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
                ),
                (if tag { "CI_COMMIT_TAG" } else { "CI_COMMIT_BRANCH" }, name.to_owned()),
                ("CI_PROJECT_DIR", self.workspace()),
            ],
        };
        let vars = vars.into_iter().chain([("CI", "true".to_owned())]);
        vars.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Job {
    /// A job with these files as its sources.
    pub(crate) async fn new(
        parts: &Parts,
        system: System,
        name: &str,
        files: &[(&str, String)],
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let sources = folder.path().join(system.sources());
        fs::create_dir_all(&sources)?;
        fs::create_dir(folder.path().join("_temp"))?;
        for (file, content) in files {
            fs::write(sources.join(file), content)?;
        }
        let job = Self {
            system,
            example: system.example()?,
            engine: Engine::new(parts),
            docker_host: parts.docker_host.clone(),
            container: format!("ship-{name}-{}", std::process::id()),
            folder,
        };
        job.give_away().await?;
        if system == System::GitHub {
            // One container for all steps, in which the runner starts each of them.
            let mut args = vec!["run", "-d", "--entrypoint", "tail"];
            let (mount, image) = (job.mount(), vars::CLIENT_IMAGE.required());
            args.extend(job.mount_args(&mount));
            args.extend([&image, "-f", "/dev/null"]);
            job.engine.docker(&args).await?;
        }
        Ok(job)
    }

    /// Gives the workspace to the runner's user, as both systems do although the job's container runs as root. GitLab's is
    /// writable for everybody besides.
    async fn give_away(&self) -> Result<()> {
        let (mount, image) = (self.mount(), vars::CLIENT_IMAGE.required());
        let mode = if self.system == System::GitLab { "a+rwX" } else { "go-w" };
        let root = self.system.root();
        let script = format!("chown -R 1001:1001 {root} && chmod -R {mode} {root}");
        let args = ["run", "--rm", "--entrypoint", "sh", "-v", &mount, &image, "-c", &script];
        self.engine.docker(&args).await.map(drop)
    }

    fn mount(&self) -> String {
        format!("{}:{}", self.folder.path().display(), self.system.root())
    }

    /// The machine's own network, so that the server is on loopback, which plain HTTP with credentials requires.
    fn mount_args<'a>(&'a self, mount: &'a str) -> [&'a str; 6] {
        ["--name", &self.container, "--network", "host", "-v", mount]
    }

    /// Starts the example's script.
    pub(crate) fn start(&self, to: Ref, settings: &Settings) -> Result<Child> {
        let mut env = self.system.variables(to);
        let (root, workspace) = (self.system.root(), self.system.workspace());
        let Settings { vars, secrets } = settings;
        match self.system {
            System::GitHub => {
                let job = &self.example["jobs"]["bake"];
                let step = step(job, "Bake and push")?;
                let written = written(&job["env"])?.into_iter().chain(written(&step["env"])?);
                for (name, value) in written {
                    env.push((name, resolve(&value, vars, secrets)?));
                }
                fs::write(self.folder.path().join("_temp/step.sh"), text(&step["run"])?)?;
                let script = format!("{root}/_temp/step.sh");
                let args = ["exec", "--workdir", &workspace];
                self.spawn(&args, &env, &[&self.container, "sh", "-e", &script])
            }
            System::GitLab => {
                let job = &self.example["bake"];
                // The user's settings override the file's: the last value of a name counts.
                env.extend(written(&job["variables"])?);
                env.extend(vars.iter().chain(secrets).cloned());
                let lines = job["script"].as_sequence().context("no script")?;
                let lines = lines.iter().map(text).collect::<Result<Vec<_>>>()?;
                fs::write(self.folder.path().join("_temp/step.sh"), lines.join("\n"))?;
                let (mount, image) = (self.mount(), vars::CLIENT_IMAGE.required());
                let mounts = self.mount_args(&mount);
                let args = [&["run", "--workdir", &workspace, "--entrypoint", ""], &mounts[..]].concat();
                // The script is a child of process 1, and runs in bash if the image has it.
                let script = format!(
                    "if command -v bash >/dev/null; then bash -eo pipefail {root}/_temp/step.sh; \
                     else sh -e {root}/_temp/step.sh; fi; exit $?"
                );
                self.spawn(&args, &env, &[&image, "sh", "-c", &script])
            }
        }
    }

    /// `docker ARGS`; variables are passed by name, since the process list is part of the test.
    fn spawn(&self, args: &[&str], env: &Vars, rest: &[&str]) -> Result<Child> {
        let mut command = tokio::process::Command::new("docker");
        command.args(args);
        for (name, value) in env {
            command.arg("-e").arg(name).env(name, value);
        }
        command.args(rest).env("DOCKER_HOST", &self.docker_host);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().context("docker")
    }

    /// Ends a running script as the system does when a user clicks "cancel".
    pub(crate) async fn cancel(&self, script: &mut Child) -> Result<()> {
        match self.system {
            System::GitHub => {
                // The runner ends the program outside the container, and runs the steps that are marked for this.
                script.start_kill()?;
                let step = step(&self.example["jobs"]["bake"], "Cancel the build")?;
                ensure!(text(&step["if"])? == "cancelled()");
                fs::write(self.folder.path().join("_temp/cancel.sh"), text(&step["run"])?)?;
                let root = self.system.root();
                let temp = format!("RUNNER_TEMP={root}/_temp");
                let file = format!("{root}/_temp/cancel.sh");
                let args = ["exec", "-e", &temp, &self.container, "sh", "-e", &file];
                self.engine.docker(&args).await.map(drop)
            }
            System::GitLab => {
                let all = "cd /proc; for p in [0-9]*; do [ $p = 1 ] || [ $p = $$ ] || kill -TERM $p; done";
                self.inside(all).await.map(drop)
            }
        }
    }

    /// Runs a command in the job's container; returns its output.
    pub(crate) async fn inside(&self, command: &str) -> Result<String> {
        self.engine.docker(&["exec", &self.container, "sh", "-c", command]).await
    }

    /// Files of the container that were not in its image, but for those in the system's own folder.
    pub(crate) async fn left(&self) -> Result<Vec<String>> {
        let changes = self.engine.docker(&["diff", &self.container]).await?;
        let added = changes.lines().filter_map(|line| line.strip_prefix("A "));
        let left: Vec<_> = added.filter(|path| !path.starts_with(self.system.root())).collect();
        Ok(left.into_iter().map(str::to_owned).collect())
    }

    /// The names of all files in the workspace.
    pub(crate) fn sources(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.folder.path().join(self.system.sources()))?;
        let mut names: Vec<_> = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        names.sort();
        Ok(names)
    }

    /// Removes the container, so that the job can start again on a system with one container for each script.
    pub(crate) async fn clear(&self) -> Result<()> {
        if self.system == System::GitLab {
            self.engine.docker(&["rm", "-f", &self.container]).await?;
        }
        Ok(())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let mut docker = Command::new("docker");
        docker.args(["rm", "-f", &self.container]).env("DOCKER_HOST", &self.docker_host);
        let _ = docker.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("no text: {value:?}"))
}

fn step<'a>(job: &'a Value, name: &str) -> Result<&'a Value> {
    let steps = job["steps"].as_sequence().context("no steps")?;
    steps.iter().find(|step| step["name"] == name).with_context(|| format!("no step {name:?}"))
}

/// The variables that an example sets, as written.
fn written(section: &Value) -> Result<Vars> {
    let entries = section.as_mapping().context("no variables")?;
    let entry = |(name, value)| Ok((text(name)?.to_owned(), text(value)?.to_owned()));
    entries.iter().map(entry).collect()
}

/// Expands `${{ vars.NAME || 'default' }}` and `${{ secrets.NAME }}` like GitHub: a missing value is empty.
fn resolve(value: &str, vars: &Vars, secrets: &Vars) -> Result<String> {
    let Some(expression) = value.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) else {
        ensure!(!value.contains("${{"), "an expression amid text: {value}");
        return Ok(value.to_owned());
    };
    for term in expression.split("||").map(str::trim) {
        let found = if let Some(name) = term.strip_prefix("vars.") {
            of(vars, name)
        } else if let Some(name) = term.strip_prefix("secrets.") {
            of(secrets, name)
        } else if let Some(text) = term.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            text.to_owned()
        } else {
            bail!("not foreseen: {value}");
        };
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(String::new())
}

fn of(set: &Vars, name: &str) -> String {
    set.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone()).unwrap_or_default()
}
