//! Real buildx on a real BuildKit, to compare with.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{Running, until};
use crate::vars;

/// A BuildKit of its own for one test; needs root. Fields are dropped in order: the process first.
#[derive(Debug)]
pub struct Buildx {
    _daemon: Running,
    program: PathBuf,
    folder: TempDir,
}

impl Buildx {
    /// Starts BuildKit, which uses plain HTTP for these registries.
    pub async fn start(insecure: &[&str]) -> Result<Self> {
        let programs = PathBuf::from(vars::BUILDKIT.required());
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let registries = insecure.iter().map(|host| format!("[registry.\"{host}\"]\n  http = true\n"));
        fs::write(path("buildkit.toml"), registries.collect::<String>())?;
        let address = format!("unix://{}", path("socket").display());
        let mut daemon = Command::new(programs.join("buildkitd"));
        daemon.arg("--root").arg(path("root")).args(["--addr", &address, "--containerd-worker=false"]);
        daemon.arg("--config").arg(path("buildkit.toml")).arg("--otel-socket-path").arg(path("otel.sock"));
        let daemon = Running::start("buildkitd", daemon, &path("log"))?;
        let buildx = Self { _daemon: daemon, program: programs.join("buildx"), folder };
        buildx
            .run(Path::new("/"), &["create", "--name", "bakery", "--driver", "remote", &address], &[])
            .await?;
        let up = async || buildx.run(Path::new("/"), &["inspect", "--bootstrap"], &[]).await.is_ok();
        until("BuildKit", Duration::from_secs(30), up).await?;
        Ok(buildx)
    }

    /// Runs buildx in a folder.
    pub async fn run(&self, folder: &Path, args: &[&str], vars: &[(&str, &str)]) -> Result<()> {
        let mut buildx = Command::new(&self.program);
        buildx
            .args(args)
            .current_dir(folder)
            .envs(vars.iter().copied())
            .env("BUILDX_CONFIG", self.folder.path().join("buildx"));
        let output = buildx.env("BUILDX_BUILDER", "bakery").output().await?;
        ensure!(output.status.success(), "buildx {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
