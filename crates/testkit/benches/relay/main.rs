//! Relays 1 M lines (150 MB) from 8 senders, each the agent's real shipper in a process of its own, to 4 readers, one of
//! them slow; compared with 8 senders of the same bytes as plain HTTP/1.1 bodies to a sink that writes them into a file.
//!
//! Measured from the first send to the last fast reader's `End`, on the same cores. Every reader checks that each run's lines
//! come once and in order. The server runs in a process of its own, so its peak memory is its own.

mod agent;
mod process;
mod raw;
mod reader;
mod server;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::bench::{interleave, pairs, spread};

use crate::process::Part;

/// The number of senders, and so of runs.
const SENDERS: usize = 8;
/// The number of readers at full speed; one more is slow.
const FAST: usize = 3;
/// The total number of lines.
const LINES: u64 = 1_000_000;
/// The number of lines of the small run with which the server's memory is compared.
const FEW: u64 = 100_000;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--bench").collect();
    match args.as_slice() {
        [] => compare().await,
        ["serve", folder] => server::serve(folder.as_ref()).await,
        ["ship", url, run, token, lines] => agent::ship(url, run.parse()?, token, lines.parse()?).await,
        ["sink", file, readers] => raw::sink(file.as_ref(), readers.parse()?),
        ["read", address, bytes] => raw::read(address, bytes.parse()?),
        ["send", address, run, lines] => raw::send(address, run.parse()?, lines.parse()?),
        other => anyhow::bail!("unknown part: {other:?}"),
    }
}

async fn compare() -> Result<()> {
    let few = relay(FEW).await?;
    let mut peaks = Vec::new();
    let mut bytes = 0;
    let ours = async || {
        let run = relay(LINES).await?;
        peaks.push(run.peak_kib);
        bytes = run.bytes;
        Ok(run.took)
    };
    let found = interleave(pairs(), ours, async || raw(0).await).await?;
    found.print(
        &format!("relay of {LINES} lines ({bytes} bytes)"),
        "raw HTTP/1.1 into a file",
        "s",
        "<= 2.0 (50 % of its bytes a second)",
    );
    #[expect(clippy::cast_precision_loss, reason = "kibibytes far below 2^52")]
    let (median, min, max) = spread(&peaks.iter().map(|kib| *kib as f64).collect::<Vec<_>>());
    println!(
        "  server's peak memory: {FEW} lines {} KiB, {LINES} lines median {median} KiB min {min} max {max}   bar: <= {} KiB",
        few.peak_kib,
        few.peak_kib + 10 * 1024
    );
    println!("  lines lost: 0, doubled: 0 (each of the 3 fast readers has counted every run)");
    let limit = interleave(pairs(), async || Ok(relay(LINES).await?.took), async || raw(FAST).await).await?;
    limit.print(
        "the same beside what this machine can do at all",
        "raw, and each byte written to 3 sockets",
        "s",
        "none: the peer above sends every byte once, a relay to 3 readers four times",
    );
    Ok(())
}

/// The result of one relay through a new server.
struct Relayed {
    took: Duration,
    bytes: u64,
    peak_kib: u64,
}

async fn relay(lines: u64) -> Result<Relayed> {
    let folder = tempfile::tempdir()?;
    let mut server = Part::start(&["serve", &folder.path().display().to_string()])?;
    let url = server.word().await?;
    let build = reader::submit(&url, SENDERS).await?;
    let mut senders = Vec::new();
    for _ in 0..SENDERS {
        let launch = server.word().await?;
        let [url, run, token] = launch.split(' ').collect::<Vec<_>>().try_into().ok().context("a launch")?;
        senders.push(Part::start(&["ship", url, run, token, &(lines / SENDERS as u64).to_string()])?);
    }
    let mut bytes = 0;
    for sender in &mut senders {
        bytes += sender.word().await?.parse::<u64>().context("the size of a spool")?;
    }
    // The slow one is not waited for, and must not delay the others.
    let mut slow = tokio::task::JoinSet::new();
    slow.spawn(reader::read(url.clone(), build, Duration::from_millis(20)));
    let fast = reader::fast(&url, build, FAST);
    let begin = Instant::now();
    for sender in &mut senders {
        sender.go().await?;
    }
    for counts in fast.await? {
        ensure!(
            counts.len() == SENDERS && counts.values().all(|count| *count == lines / SENDERS as u64),
            "lines lost or doubled: {counts:?}"
        );
    }
    let took = begin.elapsed();
    drop(slow);
    let peak_kib = server.peak_kib()?;
    for sender in senders {
        sender.finish().await?;
    }
    Ok(Relayed { took, bytes, peak_kib })
}

/// Sends the same bytes raw, to `readers` readers.
async fn raw(readers: usize) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("sunk").display().to_string();
    let mut sink = Part::start(&["sink", &file, &readers.to_string()])?;
    let address = sink.word().await?;
    let each = LINES / SENDERS as u64;
    let mut along = Vec::new();
    for _ in 0..readers {
        let bytes = raw::bytes(each) * SENDERS as u64;
        along.push(Part::start(&["read", &address, &bytes.to_string()])?);
    }
    for reader in &mut along {
        reader.word().await?;
    }
    let mut senders = Vec::new();
    for run in 0..SENDERS {
        senders.push(Part::start(&["send", &address, &run.to_string(), &each.to_string()])?);
    }
    for sender in &mut senders {
        sender.word().await?;
    }
    let begin = Instant::now();
    for sender in &mut senders {
        sender.go().await?;
    }
    for part in senders.iter_mut().chain(&mut along) {
        part.word().await?;
    }
    let took = begin.elapsed();
    for part in senders.into_iter().chain(along) {
        part.finish().await?;
    }
    Ok(took)
}
