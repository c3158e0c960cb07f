//! Parts of the benchmark that run as processes of their own: this program, with its part as the first argument. They
//! exchange single lines.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// One part; killed when dropped.
pub(crate) struct Part {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Part {
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("stdin")?;
        let output = BufReader::new(child.stdout.take().context("stdout")?).lines();
        Ok(Self { child, input, output })
    }

    /// The next line that it prints.
    pub(crate) async fn word(&mut self) -> Result<String> {
        self.output.next_line().await?.context("a part of the benchmark ended early")
    }

    /// Lets it start.
    pub(crate) async fn go(&mut self) -> Result<()> {
        Ok(self.input.write_all(b"go\n").await?)
    }

    /// Waits for its end, which must be a success.
    pub(crate) async fn finish(mut self) -> Result<()> {
        drop(self.input);
        let status = self.child.wait().await?;
        ensure!(status.success(), "a part of the benchmark ended with {status}");
        Ok(())
    }

    /// Its peak memory in KiB, as counted by the kernel.
    pub(crate) fn peak_kib(&self) -> Result<u64> {
        let pid = self.child.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }
}

/// Waits until the orchestrator lets it start.
pub(crate) fn wait_for_go() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    ensure!(line == "go\n", "expected the line `go`");
    Ok(())
}
