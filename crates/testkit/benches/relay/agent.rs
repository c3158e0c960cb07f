//! A sender: the agent's own log, spool and shipper, without Kaniko.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bakery_agent::log::Log;
use bakery_agent::mask::Masker;
use bakery_agent::shipper::Shipper;
use bakery_agent::shipper::spool::Spool;
use bakery_core::image::Digest;
use bakery_core::names::RunName;
use bakery_core::secret::Secret;
use bakery_core::wire::log::{Level, Source};
use bakery_core::wire::run::{Stage, TaskReport, TaskResult};
use bakery_link::Runs;

use crate::process::wait_for_go;
use crate::raw::text;

const PATIENCE: Duration = Duration::from_mins(5);

/// Fills a spool, says its size, waits for the word, ships it and reports.
pub(crate) async fn ship(url: &str, run: RunName, token: &str, lines: u64) -> Result<()> {
    let session = Secret::new(format!("{:064x}", u64::from(run.task.index) + 1));
    let runs = Runs::new(url, run, Secret::new(token), session)?;
    runs.bind("bench").await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("spool");
    let spool = Arc::new(Spool::create(&file)?);
    let log = Log::new(Arc::clone(&spool), Arc::new(Masker::default()));
    let mut writer = log.writer(Source::Kaniko, Level::Info);
    for line in 1..=lines {
        writer.push(text(line).as_bytes(), |_| {});
    }
    writer.flush(|_| {});
    println!("{}", std::fs::metadata(&file)?.len());
    wait_for_go()?;
    Shipper::start(runs.clone(), run, spool).finish(PATIENCE).await?;
    let report = TaskReport {
        result: TaskResult::Baked { digest: Digest::of(b"nothing") },
        stage: Stage::Report,
        lines,
        cut: false,
        millis: BTreeMap::new(),
    };
    ensure!(runs.report(&report).await?.accepted, "the report came too late");
    Ok(())
}
