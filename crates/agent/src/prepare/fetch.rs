//! The context: downloaded, unpacked and checked in one pass, without a copy of the archive on the disk.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bakery_context::{ApplyError, ContextFolder, UnpackError, UnpackLimits, Unpacked, apply_ignore, unpack};
use bakery_core::reason::Reason;
use bakery_core::wire::run::{ContextSource, TaskOrder};
use bakery_link::{LinkError, RunApi};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::AWAY;
use crate::failure::Failure;

mod outside;
#[cfg(test)]
mod tests;

/// Pieces that wait for the disk.
const WAITING: usize = 16;

/// What is on the disk now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What the archive held.
    pub unpacked: Unpacked,
    /// How much the task's own ignore rules have removed of it.
    pub removed: u64,
}

/// How long a download that breaks is begun again.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// The first pause; each one after it is longer.
    first: Duration,
    /// The longest pause.
    longest: Duration,
    /// From the first trouble to the last try.
    whole: Duration,
}

/// As for the order: who has come so far outlives a restart of the server. The run's deadline ends it earlier.
const PATIENCE: Patience =
    Patience { first: Duration::from_millis(100), longest: Duration::from_secs(3), whole: AWAY };

/// Why a try has failed.
enum Trouble {
    /// Another one may help.
    Passing(String),
    Final(Failure),
}

type Pieces = BoxStream<'static, Result<Bytes, String>>;

/// Puts the context into the folder `dest`, proves that it is the one that the order names, and removes what the ignore
/// rules of the order's own context drop.
pub async fn context(order: &TaskOrder, runs: &RunApi, dest: &Path) -> Result<Fetched, Failure> {
    let unpacked = patiently(PATIENCE, || once(order, runs, dest)).await?;
    if unpacked.id != order.context.id {
        let text =
            format!("the context is {} and not {}, which the order names", unpacked.id, order.context.id);
        return Err(broken(text).hint("pack and send the context again with bakery-client"));
    }
    let (root, kaniko) = (dest.to_path_buf(), &order.kaniko);
    let folder = ContextFolder { path: kaniko.context_path.clone(), dockerfile: kaniko.dockerfile.clone() };
    let removed = blocking(move || apply_ignore(&root, &folder)).await?.map_err(|error| match error {
        ApplyError::Rules(rules) => {
            Failure::new(Reason::ContextIncomplete, rules.to_string()).hint(rules.hint())
        }
        remove @ ApplyError::Remove { .. } => broken(remove.to_string()),
    })?;
    Ok(Fetched { unpacked, removed })
}

/// Tries until it is done, until there is nothing to hope for, or until `patience` is at its end.
async fn patiently<T, F>(patience: Patience, mut attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(patience.first)
        .with_max_delay(patience.longest)
        .with_jitter()
        .without_max_times()
        .build();
    let mut began = None;
    loop {
        let text = match attempt().await {
            Ok(done) => return Ok(done),
            Err(Trouble::Final(failure)) => return Err(failure),
            Err(Trouble::Passing(text)) => text,
        };
        let began = *began.get_or_insert_with(Instant::now);
        match pauses.next() {
            Some(pause) if began.elapsed() < patience.whole => {
                tracing::warn!(%text, "the context did not arrive whole");
                sleep(pause).await;
            }
            // Nothing is known against the context itself.
            _ => {
                let text = format!("the context cannot be downloaded: {text}");
                return Err(Failure::new(Reason::PlatformUnreachable, text)
                    .hint("check the way from the task to where the context lies, then build again"));
            }
        }
    }
}

async fn once(order: &TaskOrder, runs: &RunApi, dest: &Path) -> Result<Unpacked, Trouble> {
    let mut pieces = open(&order.source, runs).await?;
    let (send, receive) = mpsc::channel(WAITING);
    let folder = dest.to_path_buf();
    let unpacking = async {
        blocking(move || {
            if folder.exists() {
                let failed = |cause| UnpackError::Write { path: folder.clone(), cause };
                std::fs::remove_dir_all(&folder).map_err(failed)?;
            }
            unpack(Arriving { receive, piece: Bytes::new() }, &folder, &UnpackLimits::default())
        })
        .await
    };
    let arriving = async {
        while let Some(piece) = pieces.next().await {
            // The other end goes away early only where unpacking has failed, and then it says why.
            if send.send(piece?).await.is_err() {
                break;
            }
        }
        drop(send);
        Ok(())
    };
    let (unpacked, arrived) = tokio::join!(unpacking, arriving);
    // What could be unpacked of half an archive tells nothing.
    arrived.map_err(Trouble::Passing)?;
    unpacked.map_err(Trouble::Final)?.map_err(|error| Trouble::Final(refused(&error)))
}

async fn open(source: &ContextSource, runs: &RunApi) -> Result<Pieces, Trouble> {
    match source {
        ContextSource::Server => {
            let body = runs.context().await.map_err(|error| link(&error))?;
            Ok(body.bytes.map(|piece| piece.map_err(|error| error.to_string())).boxed())
        }
        ContextSource::Url { url } => outside::url(url).await,
        ContextSource::S3 { endpoint, region, bucket, key } => {
            outside::s3(endpoint.as_deref(), region, bucket, key).await
        }
    }
}

fn link(error: &LinkError) -> Trouble {
    if error.is_transient() {
        Trouble::Passing(error.to_string())
    } else {
        Trouble::Final(broken(format!("the server does not give the context: {error}")))
    }
}

fn refused(error: &UnpackError) -> Failure {
    if let UnpackError::Write { cause, .. } = error
        && cause.kind() == io::ErrorKind::StorageFull
    {
        return Failure::new(Reason::DiskFull, error.to_string()).hint(Reason::DiskFull.hint());
    }
    broken(error.to_string()).hint(error.hint())
}

fn broken(text: impl Into<String>) -> Failure {
    Failure::new(Reason::ContextBroken, text)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::new(Reason::Internal, format!("the context was not unpacked: {error}")))
}

/// What has arrived, for a reader that blocks. Ends where the sender goes away.
struct Arriving {
    receive: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receive.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let part = self.piece.split_to(self.piece.len().min(buffer.len()));
        buffer[..part.len()].copy_from_slice(&part);
        Ok(part.len())
    }
}
