//! The Docker engine through its own command line, which is independent of our code.

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::parts::Parts;

/// The engine under test.
#[derive(Debug, Clone)]
pub struct Engine {
    host: String,
}

impl Engine {
    /// The ladder's engine.
    pub fn new(parts: &Parts) -> Self {
        Self { host: parts.docker_host.clone() }
    }

    /// Runs `docker ARGS`; returns its output.
    pub async fn docker(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("docker")
            .env("DOCKER_HOST", &self.host)
            .args(args)
            .output()
            .await
            .context("docker")?;
        ensure!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Names of the containers of one build, ended ones included.
    pub async fn containers(&self, build: &str) -> Result<Vec<String>> {
        let filter = format!("name=bk-{build}");
        let names = self.docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).await?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The names of the containers of one build in the order of their starts, from the engine's events.
    pub async fn started(&self, build: &str) -> Result<Vec<String>> {
        let format = "{{.Actor.Attributes.name}}";
        let args = [
            "events",
            "--since",
            "1h",
            "--until",
            // The command line truncates this to whole seconds: `0s` would omit the newest events.
            "-1s",
            "--filter",
            "type=container",
            "--filter",
            "event=start",
        ];
        let names = self.docker(&[&args[..], &["--format", format]].concat()).await?;
        let prefix = format!("bk-{build}-");
        Ok(names.lines().filter(|name| name.starts_with(&prefix)).map(str::to_owned).collect())
    }
}
