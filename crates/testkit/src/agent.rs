//! An agent without Kaniko: the real log, spool and shipper, with lines from the test.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bakery_agent::log::{Log, Writer};
use bakery_agent::mask::Masker;
use bakery_agent::shipper::Shipper;
use bakery_agent::shipper::spool::Spool;
use bakery_core::image::Digest;
use bakery_core::names::RunName;
use bakery_core::secret::Secret;
use bakery_core::wire::log::{Level, Source};
use bakery_core::wire::run::{Stage, TaskReport, TaskResult};
use bakery_link::RunApi;
use tempfile::TempDir;

/// How long the last lines may take to be delivered.
const PATIENCE: Duration = Duration::from_mins(5);

/// An agent that has bound its run.
#[derive(Debug)]
pub struct TestAgent {
    runs: RunApi,
    run: RunName,
    spool: Arc<Spool>,
    folder: TempDir,
}

impl TestAgent {
    /// Exchanges the launch token for the order.
    pub async fn bind(url: &str, run: RunName, token: &str) -> Result<Self> {
        let session = Secret::new(format!("{:064x}", u64::from(run.task.index) + 1));
        let runs = RunApi::new(url, run, Secret::new(token), session)?;
        runs.bind("acting").await?;
        let folder = tempfile::tempdir()?;
        let spool = Arc::new(Spool::create(&folder.path().join("spool"))?);
        Ok(Self { runs, run, spool, folder })
    }

    /// The writer that Kaniko would write to.
    pub fn writer(&self) -> Writer {
        Log::new(Arc::clone(&self.spool), Arc::new(Masker::default())).writer(Source::Kaniko, Level::Info)
    }

    /// The number of bytes that were written.
    pub fn written(&self) -> Result<u64> {
        Ok(std::fs::metadata(self.folder.path().join("spool"))?.len())
    }

    /// Starts to deliver all lines, written and to come.
    pub fn ship(&self) -> Shipper {
        Shipper::start(self.runs.clone(), self.run, Arc::clone(&self.spool))
    }

    /// Runs as an agent: writes a line at each `pause` until `over` completes, then reports success.
    pub async fn live(self, pause: Duration, over: impl Future<Output = ()>) -> Result<()> {
        let shipper = self.ship();
        let mut writer = self.writer();
        let mut over = pin!(over);
        let mut line = 0;
        while tokio::time::timeout(pause, &mut over).await.is_err() {
            line += 1;
            writer.push(format!("line {line} of {}\n", self.run).as_bytes(), |_| {});
        }
        self.end(shipper).await
    }

    /// Delivers the remaining lines and reports success.
    pub async fn end(self, shipper: Shipper) -> Result<()> {
        shipper.finish(PATIENCE).await?;
        let report = TaskReport {
            result: TaskResult::Baked { digest: Digest::of(b"nothing") },
            stage: Stage::Report,
            lines: self.spool.lines(),
            cut: false,
            millis: BTreeMap::new(),
        };
        ensure!(self.runs.report(&report).await?.accepted, "the report came too late");
        Ok(())
    }
}
