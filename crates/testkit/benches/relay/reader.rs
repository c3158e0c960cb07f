//! Readers of a build's log, which count its lines.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_core::config;
use bakery_core::image::Digest;
use bakery_core::names::{BuildId, RunName};
use bakery_core::secret::Secret;
use bakery_core::spec::Order;
use bakery_core::wire::build::SubmitBuild;
use bakery_core::wire::context::{ContextLocation, ContextRef};
use bakery_core::wire::log::{Cursor, Frame};
use bakery_link::{Options, ServerApi};
use tokio::task::JoinSet;

/// The number of lines by run.
pub(crate) type Counts = BTreeMap<RunName, u64>;

fn server(url: &str) -> Result<ServerApi> {
    Ok(ServerApi::new(url, None::<Secret>, Options { insecure: false })?)
}

/// Submits a build of `tasks` tasks that push nothing.
pub(crate) async fn submit(url: &str, tasks: usize) -> Result<BuildId> {
    let entries = "- arch: amd64\n".repeat(tasks);
    let text = format!("global:\n  kaniko: {{ no-push: true }}\nbake:\n{entries}");
    let spec = config::read("config.yaml", &text)?.resolve(Order::Parallel, &config::Naming::default())?.spec;
    let digest = Digest::of(b"nothing");
    let context = ContextRef { id: digest.clone(), sha256: digest, len: 7, location: ContextLocation::Store };
    let key = "relay-benchmark-1".to_owned();
    Ok(server(url)?.submit(&SubmitBuild { spec, context, idempotency_key: key }).await?.id)
}

/// Runs `readers` readers at full speed, each until its `End`.
pub(crate) async fn fast(url: &str, build: BuildId, readers: usize) -> Result<Vec<Counts>> {
    let mut all = JoinSet::new();
    for _ in 0..readers {
        all.spawn(read(url.to_owned(), build, Duration::ZERO));
    }
    let mut counts = Vec::new();
    while let Some(done) = all.join_next().await {
        counts.push(done??);
    }
    Ok(counts)
}

/// Reads until the `End`, with a pause after each frame. Each run's lines must come once and in order.
pub(crate) async fn read(url: String, build: BuildId, pause: Duration) -> Result<Counts> {
    let mut log = server(&url)?.logs(build, Cursor::default(), true).await?;
    let mut counts = Counts::new();
    while let Some((header, payload)) = log.next().await? {
        match header.frame {
            Frame::Lines { run, first, lines } => {
                let count = counts.entry(run).or_default();
                ensure!(first == *count + 1, "{run}: line {first} after line {count}");
                let ends = memchr::memchr_iter(b'\n', &payload).count();
                ensure!(ends == lines as usize, "{run}: {ends} lines where {lines} were announced");
                *count += u64::from(lines);
            }
            Frame::End { .. } => return Ok(counts),
            _ => {}
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    None.context("the log ended without its end")
}
