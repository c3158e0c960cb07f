//! `bakery-server`, run as by an operator: a program with variables and a data folder, which can be killed and restarted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::Command;

use crate::parts::Parts;
use crate::process::{Running, free_port, until};

/// A server under test. Its data folder outlives [`Server::kill`].
#[derive(Debug)]
pub struct Server {
    /// `http://ADDRESS:PORT` of the public listener; on loopback unless `BAKERY_LISTEN` is set.
    pub url: String,
    /// Its data folder.
    pub data: PathBuf,
    program: PathBuf,
    vars: BTreeMap<String, String>,
    process: Option<Running>,
    folder: TempDir,
}

impl Server {
    /// A server that is not started yet, on ports of its own. `vars` override the variables of every test.
    pub fn new(parts: &Parts, insecure: &[&str], vars: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let loopback = free_port("127.0.0.1")?.to_string();
        let data = folder.path().join("data");
        let mut insecure = insecure.to_vec();
        insecure.push(parts.base_registry());
        let mut all = BTreeMap::from([
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("HOME".to_owned(), folder.path().display().to_string()),
            ("DOCKER_HOST".to_owned(), parts.docker_host.clone()),
            ("BAKERY_LISTEN".to_owned(), loopback),
            ("BAKERY_DATA_DIR".to_owned(), data.display().to_string()),
            ("AGENT_IMAGE".to_owned(), parts.agent_index.clone()),
            ("INSECURE_REGISTRIES".to_owned(), insecure.join(",")),
            ("RUST_LOG".to_owned(), "info".to_owned()),
        ]);
        all.extend(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Ok(Self {
            url: format!("http://{}", all["BAKERY_LISTEN"]),
            data,
            program: parts.bin_dir.join("bakery-server"),
            vars: all,
            process: None,
            folder,
        })
    }

    /// A server that is ready.
    pub async fn start(parts: &Parts, insecure: &[&str], vars: &[(&str, &str)]) -> Result<Self> {
        let mut server = Self::new(parts, insecure, vars)?;
        server.run().await?;
        Ok(server)
    }

    /// Changes a variable for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), value.to_owned());
    }

    /// Its variables.
    pub const fn vars(&self) -> &BTreeMap<String, String> {
        &self.vars
    }

    /// Starts the program and waits until it is ready.
    pub async fn run(&mut self) -> Result<()> {
        self.run_until("readyz").await
    }

    /// Starts the program and waits until it answers, ready or not.
    pub async fn run_alive(&mut self) -> Result<()> {
        self.run_until("livez").await
    }

    async fn run_until(&mut self, probe: &str) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(&self.vars).current_dir(self.folder.path());
        let mut process = Running::start("bakery-server", command, &self.log_file())?;
        let ready = format!("{}/{probe}", self.url);
        let up = async || {
            // A server that has ended will not become ready.
            process.check().is_err()
                || reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
        };
        until("a ready server", Duration::from_mins(1), up).await.with_context(|| self.log())?;
        process.check()?;
        self.process = Some(process);
        Ok(())
    }

    /// Runs `bakery-server check` with its variables; returns the output. A running server occupies the address.
    pub async fn check(&self) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.arg("check").env_clear().envs(&self.vars).current_dir(self.folder.path());
        let output = command.output().await?;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Running::id)
    }

    /// A line of its `/proc/PID/status`, in KiB: `VmRSS` is the current memory, `VmHWM` the peak.
    pub fn memory(&self, line: &str) -> Result<u64> {
        let pid = self.pid().context("the server is gone")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let value = status.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
        Ok(value.context("no such line")?.trim().trim_end_matches(" kB").parse()?)
    }

    /// The path of its own log.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// Its own log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// A folder that is removed with the server.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }
}

/// Stops it with SIGTERM, so that it removes its objects on the engine.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop(Duration::from_secs(15));
        }
    }
}
