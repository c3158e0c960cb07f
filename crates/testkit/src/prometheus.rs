//! A real Prometheus, set up as `examples/server/prometheus` sets it up.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::process::{Running, free_port, until};
use crate::project::copy;
use crate::repository;

/// A Prometheus that scrapes one server, five times a second.
#[derive(Debug)]
pub struct Prometheus {
    url: String,
    promtool: PathBuf,
    _process: Running,
    folder: TempDir,
}

impl Prometheus {
    /// Starts `program` on a server at `host:port` that knows `token`; `promtool` lies beside it.
    pub async fn start(program: &Path, server: &str, token: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        copy(&repository::path("examples/server/prometheus"), folder.path())?;
        let config = folder.path().join("prometheus.yaml");
        let mut text = std::fs::read_to_string(&config)?;
        for (example, ours) in [("15s", "200ms"), ("bakery:3000", server)] {
            ensure!(text.contains(example), "{example} in {text}");
            text = text.replace(example, ours);
        }
        std::fs::write(&config, text)?;
        // An editor leaves a line end, and so do many secret stores.
        std::fs::write(folder.path().join("bakery-token"), format!("{token}\n"))?;
        let address = free_port("127.0.0.1")?;
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let mut process = Running::start("prometheus", command, &folder.path().join("log"))?;
        let url = format!("http://{address}");
        let ready = async || {
            process.check().is_err()
                || reqwest::get(format!("{url}/-/ready"))
                    .await
                    .is_ok_and(|answer| answer.status().is_success())
        };
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        until("a ready Prometheus", Duration::from_secs(30), ready).await.with_context(log)?;
        process.check().with_context(log)?;
        Ok(Self { url, promtool: program.with_file_name("promtool"), _process: process, folder })
    }

    /// The one value of a query now; `None` where there is none yet.
    pub async fn value(&self, query: &str) -> Result<Option<f64>> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", query)])?;
        let answer: Value = reqwest::get(url).await?.json().await?;
        ensure!(answer["status"] == "success", "{query}: {answer}");
        let found = answer["data"]["result"].as_array().context("no result")?;
        ensure!(found.len() < 2, "{query} has more than one value: {answer}");
        let Some(one) = found.first() else { return Ok(None) };
        Ok(Some(one["value"][1].as_str().context("no value")?.parse()?))
    }

    /// Waits until a claim holds: a comparison, which gives a value where it is true.
    pub async fn until(&self, claim: &str, limit: Duration) -> Result<()> {
        let mut last = Ok(None);
        let holds = async || {
            last = self.value(claim).await;
            matches!(last, Ok(Some(_)))
        };
        let done = until(claim, limit, holds).await;
        done.with_context(|| format!("asked last: {last:?}; {}", self.log()))
    }

    /// The names of all rules, each with the error of its last evaluation where it had one.
    pub async fn rules(&self) -> Result<Vec<(String, Option<String>)>> {
        let answer: Value = reqwest::get(format!("{}/api/v1/rules", self.url)).await?.json().await?;
        let groups = answer["data"]["groups"].as_array().context("no groups")?.iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let state_of = |rule: &Value| {
            let error = rule["lastError"].as_str().filter(|error| !error.is_empty());
            Some((rule["name"].as_str()?.to_owned(), error.map(str::to_owned)))
        };
        rules.map(|rule| state_of(rule).context("a rule without a name")).collect()
    }

    /// What `promtool check metrics` has against a scrape.
    pub async fn lint(&self, scrape: &str) -> Result<String> {
        let mut command = Command::new(&self.promtool);
        command
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("start promtool")?;
        child.stdin.take().context("no stdin")?.write_all(scrape.as_bytes()).await?;
        let output = child.wait_with_output().await?;
        let printed = [output.stdout, output.stderr].concat();
        ensure!(output.status.success() || !printed.is_empty(), "promtool ends with {}", output.status);
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
