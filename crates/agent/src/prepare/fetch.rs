//! Fetches the context: downloaded, unpacked and verified in one pass, without a copy of the archive on disk.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bakery_context::{ApplyError, ContextFolder, UnpackError, UnpackLimits, Unpacked, apply_ignore, unpack};
use bakery_core::message::Hint as _;
use bakery_core::message::Message;
use bakery_core::reason::Reason;
use bakery_core::wire::run::{ContextSource, TaskOrder};
use bakery_link::{LinkError, RunApi};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::OUTAGE_LIMIT;
use crate::failure::Failure;

mod outside;
#[cfg(test)]
mod tests;

/// Chunks that may wait to be unpacked.
const QUEUED_CHUNKS: usize = 16;

/// A context on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What the archive contained.
    pub unpacked: Unpacked,
    /// Number of entries that were removed by the task's own ignore rules.
    pub removed: u64,
}

/// How a download that fails is retried, with exponential backoff.
#[derive(Debug, Clone, Copy)]
struct RetryPolicy {
    /// The first pause.
    min_pause: Duration,
    /// The longest pause.
    max_pause: Duration,
    /// Time from the first failure to the last attempt.
    limit: Duration,
}

/// Long enough to survive a restart of the server, as for the order. The run's time limit may end it earlier.
const RETRY: RetryPolicy = RetryPolicy {
    min_pause: Duration::from_millis(100),
    max_pause: Duration::from_secs(3),
    limit: OUTAGE_LIMIT,
};

/// Why an attempt failed.
enum FetchError {
    /// A retry may help.
    Transient(String),
    /// A retry cannot help.
    Permanent(Failure),
}

type Chunks = BoxStream<'static, Result<Bytes, String>>;

/// Fetches the context to the folder `dest`, verifies its id against the order, and removes the files that the ignore
/// rules of the task's own build context exclude.
pub async fn context(order: &TaskOrder, runs: &RunApi, dest: &Path) -> Result<Fetched, Failure> {
    let unpacked = with_retries(RETRY, || attempt(order, runs, dest)).await?;
    if unpacked.id != order.context.id {
        let text =
            format!("the context has the id {}, but the order requires {}", unpacked.id, order.context.id);
        return Err(context_broken(text).with_hint("submit the build again with bakery-client"));
    }
    let (root, kaniko) = (dest.to_path_buf(), &order.kaniko);
    let folder = ContextFolder {
        path: kaniko.context_path.clone(),
        dockerfile: kaniko.dockerfile_in_source().map(str::to_owned),
    };
    let removed = blocking(move || apply_ignore(&root, &folder)).await?.map_err(|error| match error {
        ApplyError::Rules(rules) => Failure::of(Reason::ContextIncomplete, &rules),
        error @ ApplyError::Remove { .. } => context_broken(error.to_string()),
    })?;
    Ok(Fetched { unpacked, removed })
}

/// Repeats `attempt` until it succeeds, fails permanently, or the limit of `policy` is reached.
async fn with_retries<T, F>(policy: RetryPolicy, mut attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, FetchError>>,
{
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(policy.min_pause)
        .with_max_delay(policy.max_pause)
        .with_jitter()
        .without_max_times()
        .build();
    let mut began = None;
    loop {
        let text = match attempt().await {
            Ok(done) => return Ok(done),
            Err(FetchError::Permanent(failure)) => return Err(failure),
            Err(FetchError::Transient(text)) => text,
        };
        let began = *began.get_or_insert_with(Instant::now);
        match pauses.next() {
            Some(pause) if began.elapsed() < policy.limit => {
                tracing::warn!(%text, "the download of the context failed; retrying");
                sleep(pause).await;
            }
            // Not `ContextBroken`: the context itself may be intact.
            _ => {
                let text = format!("the context cannot be downloaded: {text}");
                return Err(Failure::new(Reason::PlatformUnreachable, text).with_hint(
                    "check the network between the task and the context's storage, then build again",
                ));
            }
        }
    }
}

async fn attempt(order: &TaskOrder, runs: &RunApi, dest: &Path) -> Result<Unpacked, FetchError> {
    let mut chunks = open(&order.source, runs).await?;
    let (send, receive) = mpsc::channel(QUEUED_CHUNKS);
    let folder = dest.to_path_buf();
    let unpacking = async {
        blocking(move || {
            if folder.exists() {
                let failed = |cause| UnpackError::Write { path: folder.clone(), cause };
                std::fs::remove_dir_all(&folder).map_err(failed)?;
            }
            unpack(ChannelReader { receive, chunk: Bytes::new() }, &folder, &UnpackLimits::default())
        })
        .await
    };
    let downloading = async {
        while let Some(chunk) = chunks.next().await {
            // The receiver is dropped early only if unpacking has failed, and that error is returned below.
            if send.send(chunk?).await.is_err() {
                break;
            }
        }
        drop(send);
        Ok(())
    };
    let (unpacked, downloaded) = tokio::join!(unpacking, downloading);
    // The download's error comes first: unpacking a truncated archive fails because of it.
    downloaded.map_err(FetchError::Transient)?;
    unpacked.map_err(FetchError::Permanent)?.map_err(|error| FetchError::Permanent(unpack_failure(&error)))
}

async fn open(source: &ContextSource, runs: &RunApi) -> Result<Chunks, FetchError> {
    match source {
        ContextSource::Server => {
            let body = runs.context().await.map_err(|error| link_error(&error))?;
            Ok(body.bytes.map(|chunk| chunk.map_err(|error| error.to_string())).boxed())
        }
        ContextSource::Url { url } => outside::url(url).await,
        ContextSource::S3 { endpoint, region, bucket, key } => {
            outside::s3(endpoint.as_deref(), region, bucket, key).await
        }
    }
}

fn link_error(error: &LinkError) -> FetchError {
    if error.is_transient() {
        FetchError::Transient(error.to_string())
    } else {
        let mut failure = context_broken(format!("the server does not return the context: {error}"));
        failure.message.hint = error.hint().map(Cow::into_owned);
        FetchError::Permanent(failure)
    }
}

fn unpack_failure(error: &UnpackError) -> Failure {
    if let UnpackError::Write { cause, .. } = error
        && cause.kind() == io::ErrorKind::StorageFull
    {
        return Failure::new(Reason::DiskFull, error.to_string()).with_hint(Reason::DiskFull.hint());
    }
    Failure::of(Reason::ContextBroken, error)
}

fn context_broken(text: impl Into<Message>) -> Failure {
    Failure::new(Reason::ContextBroken, text)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::new(Reason::Internal, format!("the context cannot be unpacked: {error}")))
}

/// A blocking reader of the chunks of a channel; its end is the end of the channel.
struct ChannelReader {
    receive: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receive.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let part = self.chunk.split_to(self.chunk.len().min(buffer.len()));
        buffer[..part.len()].copy_from_slice(&part);
        Ok(part.len())
    }
}
