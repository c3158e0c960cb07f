//! A sender: the agent's own log, spool and shipper, without Kaniko.

use anyhow::Result;
use bakery_core::names::RunName;
use bakery_testkit::agent::TestAgent;

use crate::process::wait_for_go;
use crate::raw::text;

/// Fills a spool, prints its size, waits for the start, ships it and reports.
pub(crate) async fn ship(url: &str, run: RunName, token: &str, lines: u64) -> Result<()> {
    let agent = TestAgent::bind(url, run, token).await?;
    let mut writer = agent.writer();
    for line in 1..=lines {
        writer.push(text(line).as_bytes(), |_| {});
    }
    writer.flush(|_| {});
    println!("{}", agent.written()?);
    wait_for_go()?;
    let shipper = agent.ship();
    agent.end(shipper).await
}
