//! `bakery-server` as an operator runs it: a program with variables and a data folder, which can be killed and started again.

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
    /// `http://ADDRESS:PORT` of the public door; loopback unless `BAKERY_LISTEN` says otherwise.
    pub url: String,
    /// Its data folder.
    pub data: PathBuf,
    program: PathBuf,
    vars: BTreeMap<String, String>,
    process: Option<Running>,
    folder: TempDir,
}

impl Server {
    /// Makes a server that is not running yet, on ports of its own. `vars` go on top of what every test wants.
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

    /// A server that is up.
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
            // One that ended will never be ready: no need to wait for it.
            process.check().is_err()
                || reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
        };
        until("a ready server", Duration::from_mins(1), up).await.with_context(|| self.log())?;
        process.check()?;
        self.process = Some(process);
        Ok(())
    }

    /// What `bakery-server check` prints with its variables. A server that runs holds the address meanwhile.
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

    /// A line of its `/proc/PID/status`, in KiB: `VmRSS` is what it has now, `VmHWM` the most that it had.
    pub fn memory(&self, line: &str) -> Result<u64> {
        let pid = self.pid().context("the server is gone")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let value = status.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
        Ok(value.context("no such line")?.trim().trim_end_matches(" kB").parse()?)
    }

    /// Where its own log goes.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// Its own log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// A folder that goes with the server.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }
}

/// Asked to stop, so that it puts away what it made on the engine.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop(Duration::from_secs(15));
        }
    }
}
