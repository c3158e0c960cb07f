//! Programs that a test starts and that end with it.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

/// A running program; killed and reaped when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
}

impl Running {
    /// Starts `command` with its output in the file `log`.
    pub fn start(name: &str, mut command: Command, log: &std::path::Path) -> Result<Self> {
        let out = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// SIGKILL, then reap: to everything else this looks like a power cut.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("kill {}", self.name))
    }

    /// The process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Result<std::process::ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// SIGTERM, then waits at most `limit` for its end, then SIGKILL. Blocks: for use in `drop`.
    pub fn stop(mut self, limit: Duration) {
        let Some(pid) = self.child.id() else { return };
        let _ = std::process::Command::new("kill").arg(pid.to_string()).status();
        let end = Instant::now() + limit;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails if the program has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended early: {status}", self.name),
        }
    }
}

/// A port on `ip` that was free a moment ago.
pub fn free_port(ip: &str) -> Result<SocketAddr> {
    let listener = TcpListener::bind((ip, 0)).with_context(|| format!("no port on {ip}"))?;
    Ok(listener.local_addr()?)
}

/// Calls `ready` every 20 ms until it returns true, for at most `limit`.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, limit: Duration, mut ready: F) -> Result<()> {
    let end = Instant::now() + limit;
    while !ready().await {
        if Instant::now() > end {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
