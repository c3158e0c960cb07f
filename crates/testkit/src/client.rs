//! `bakery-client`, run as in a CI job.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::parts::Parts;

/// A client set up for one server.
#[derive(Debug, Clone)]
pub struct Client {
    program: PathBuf,
    folder: PathBuf,
    vars: Vec<(String, String)>,
}

/// How a client ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output: the log.
    pub out: String,
    /// Standard error: the messages.
    pub err: String,
}

/// One line of `LOG_FORMAT=json`.
#[derive(Debug, Clone, Deserialize)]
pub struct JsonLine {
    /// When it was written, RFC 3339.
    pub ts: String,
    /// Text.
    pub message: String,
    /// The level.
    pub level: String,
    /// The build.
    #[serde(default)]
    pub build: Option<String>,
    /// The task.
    #[serde(default)]
    pub task: Option<serde_json::Value>,
    /// The source.
    #[serde(default)]
    pub source: Option<String>,
    /// The sequence number.
    #[serde(default)]
    pub seq: Option<u64>,
}

impl Client {
    /// A client in `folder` for the server at `url`.
    pub fn new(parts: &Parts, folder: &Path, url: &str) -> Self {
        let vars = [("CONTROLLER_URL", url), ("LOG_FORMAT", "json"), ("PATH", "/usr/bin:/bin")];
        Self {
            program: parts.bin_dir.join("bakery-client"),
            folder: folder.to_owned(),
            vars: vars.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        }
    }

    /// The same with one more variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.vars.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it.
    pub fn spawn(&self, args: &[&str]) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(args).env_clear().envs(self.vars.iter().cloned()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().context("start bakery-client")
    }

    /// Runs it to its end.
    pub async fn run(&self, args: &[&str]) -> Result<Ended> {
        finish(self.spawn(args)?).await
    }
}

/// The log of a running client.
#[derive(Debug)]
pub struct Log(BufReader<ChildStdout>);

impl Log {
    /// The log of a client that was just started.
    pub fn of(child: &mut Child) -> Result<Self> {
        Ok(Self(BufReader::new(child.stdout.take().context("stdout is taken")?)))
    }

    /// Reads until a line's text is `text`.
    pub async fn until(&mut self, text: &str) -> Result<JsonLine> {
        self.find(text, |message| message.trim() == text).await
    }

    /// Reads until a line's text contains `words`, for at most `limit`.
    pub async fn until_contains(&mut self, words: &str, limit: Duration) -> Result<JsonLine> {
        let found = self.find(words, |message| message.contains(words));
        tokio::time::timeout(limit, found)
            .await
            .with_context(|| format!("no line contained {words:?} within {limit:?}"))?
    }

    /// Reads until a build has printed `address:IP`. The command line that does so is logged too, without an address.
    pub async fn address(&mut self, limit: Duration) -> Result<(String, Ipv4Addr)> {
        loop {
            let line = self.until_contains("address:", limit).await?;
            let address = line.message.trim().strip_prefix("address:").map(str::parse);
            if let Some(Ok(address)) = address {
                return Ok((line.build.context("a build")?, address));
            }
        }
    }

    async fn find(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> Result<JsonLine> {
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line).await? > 0, "the log ended before {what:?}");
            let line: JsonLine = serde_json::from_str(&line)?;
            if is_it(&line.message) {
                return Ok(line);
            }
        }
    }
}

/// Waits for a client's end; returns the output that was not read yet.
pub async fn finish(client: Child) -> Result<Ended> {
    let output = client.wait_with_output().await?;
    Ok(Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Ended {
    /// The log, line by line; a line that is not JSON is an error.
    pub fn lines(&self) -> Result<Vec<JsonLine>> {
        let parse =
            |line: &str| serde_json::from_str(line).with_context(|| format!("not a JSON line: {line}"));
        self.out.lines().map(parse).collect()
    }

    /// The build's id, from the first line that has one.
    pub fn build(&self) -> Result<String> {
        let found = self.lines()?.into_iter().find_map(|line| line.build);
        found.with_context(|| format!("no build in the log; stderr:\n{}", self.err))
    }

    /// Whether a line of the log is this text, and not a command line that has it.
    pub fn said(&self, text: &str) -> Result<bool> {
        Ok(self.lines()?.iter().any(|line| line.message.trim() == text))
    }

    /// The numbers N of all lines whose text is `MARK N`.
    pub fn numbers(&self, mark: &str) -> Result<Vec<u64>> {
        let texts = self.lines()?.into_iter().map(|line| line.message);
        Ok(texts.filter_map(|text| text.trim().strip_prefix(mark)?.trim().parse().ok()).collect())
    }
}
