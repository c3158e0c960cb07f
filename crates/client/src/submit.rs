//! Sends the source to where agents can read it, and submits the build.

use std::future::Future;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use bakery_context::s3::{PutOutcome, S3Error, S3Settings, S3Store};
use bakery_context::{Packed, SourceTree, pack, random};
use bakery_core::message::Message;
use bakery_core::spec::BuildSpec;
use bakery_core::units::format_bytes;
use bakery_core::wire::build::{SubmitBuild, Submitted};
use bakery_core::wire::context::{ContextAnswer, ContextLocation, ContextOffer, ContextRef, object_key};
use bakery_link::{LinkError, ServerApi};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep};

use crate::context_size;
use crate::exit::{Exit, Failure};
use crate::load::{LoadedBuild, folders};
use crate::settings::Settings;
use crate::stderr;

/// Compression level: gzip's default.
const LEVEL: u32 = 6;
/// Size of the buffer between the packer and the disk in bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// A packed context.
#[must_use]
pub enum PackedContext {
    /// The server has it.
    OnServer(ContextRef),
    /// It still has to be sent to the bucket.
    ForBucket(BucketUpload),
}

/// A context that the client sends to the bucket with its own credentials.
pub struct BucketUpload {
    s3: S3Settings,
    blob: NamedTempFile,
    context: ContextRef,
    key: String,
}

/// Packs the source and sends it to the server's own store, unless the server has it or reads contexts from a bucket.
/// Dropping the future leaves nothing behind.
pub async fn context(settings: &Settings, loaded: &LoadedBuild) -> Result<PackedContext, Failure> {
    let (packed, blob) = packed(loaded).await?;
    let Packed { id, sha256, len, entries, bytes, largest, notices } = packed;
    notices.iter().chain(&context_size::notice(bytes, &largest)).for_each(stderr::notice);
    let (size, packed_size) = (format_bytes(bytes), format_bytes(len));
    stderr::print(&format!("packed {entries} entries: {size}, compressed {packed_size}"));
    let key = object_key(&id);
    let location = match &settings.s3 {
        Some(s3) => ContextLocation::S3 { bucket: s3.bucket.clone(), key: key.clone() },
        None => ContextLocation::Store,
    };
    let offer = ContextOffer { id, sha256, len, location };
    let answer = retry(false, || settings.server.offer_context(&offer)).await?;
    let ContextOffer { id, sha256, len, location } = offer;
    match (answer, &settings.s3) {
        (ContextAnswer::Present { context }, _) => {
            stderr::print("context unchanged, nothing sent");
            Ok(PackedContext::OnServer(context))
        }
        (ContextAnswer::Upload { path }, _) => {
            upload(&settings.server, &path, blob.path(), len).await?;
            stderr::print(&format!("sent {}", format_bytes(len)));
            Ok(PackedContext::OnServer(ContextRef { id, sha256, len, location: ContextLocation::Store }))
        }
        (ContextAnswer::OwnCredentials, Some(s3)) => {
            let context = ContextRef { id, sha256, len, location };
            Ok(PackedContext::ForBucket(BucketUpload { s3: s3.clone(), blob, context, key }))
        }
        (ContextAnswer::OwnCredentials, None) => Err(Failure::input(
            "S3_BUCKET is not set, but the server reads contexts from a bucket",
            "set S3_BUCKET (and S3_ENDPOINT, S3_REGION) to the server's values",
        )),
    }
}

impl BucketUpload {
    /// Sends the context unless the bucket has it. When `stop` completes, what was sent so far is removed.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<ContextRef, Failure> {
        let bar = spinner("sending to the bucket");
        let store = S3Store::new(&self.s3).await;
        let put = store.put_if_absent_until(&self.key, self.blob.path(), stop).await;
        bar.finish_and_clear();
        match put {
            Ok(PutOutcome::Stored) => {
                let size = format_bytes(self.context.len);
                stderr::print(&format!("sent {size} to bucket {}", self.s3.bucket));
            }
            Ok(PutOutcome::Present) => stderr::print("context unchanged, already in the bucket"),
            Err(S3Error::Stopped { .. }) => return Err(Failure::silent(Exit::Interrupted)),
            Err(error) => return Err(bucket_failure(&error)),
        }
        Ok(self.context)
    }
}

/// A store that does not answer or fails cannot be reached; everything else is a mistake in the settings.
fn bucket_failure(error: &S3Error) -> Failure {
    let exit = if error.is_transient() { Exit::Unknown } else { Exit::BadInput };
    Failure::new(exit, Message::of(error))
}

/// Submits the build. All attempts use one idempotency key, so a lost answer does not lead to a second build.
pub async fn submit(server: &ServerApi, spec: BuildSpec, context: ContextRef) -> Result<Submitted, Failure> {
    let idempotency_key = random::hex::<16>()
        .map_err(|error| Failure::local(format!("the system returns no random numbers: {error}")))?;
    let build = SubmitBuild { spec, context, idempotency_key };
    Ok(retry(true, || server.submit(&build)).await?)
}

/// Repeats a call while the server is busy and, if it is `known` to exist, while it cannot be reached. Says once that the
/// server's disk is full.
pub async fn retry<T, F, C>(known: bool, call: C) -> Result<T, LinkError>
where
    F: Future<Output = Result<T, LinkError>>,
    C: Fn() -> F,
{
    let (start, mut pause) = (Instant::now(), Duration::from_millis(200));
    let mut told = false;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let bound = match error {
            LinkError::Unreachable { .. } if known => Duration::from_mins(2),
            LinkError::Refused(_) if error.is_transient() => Duration::from_secs(20),
            _ => return Err(error),
        };
        if start.elapsed() + pause > bound {
            return Err(error);
        }
        if error.is_disk_full() && !std::mem::replace(&mut told, true) {
            stderr::notice(&"the server's disk is full; trying again".into());
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(3));
    }
}

/// Packs into a temporary file, which is deleted when the returned handle is dropped.
async fn packed(loaded: &LoadedBuild) -> Result<(Packed, NamedTempFile), Failure> {
    let no_file = |error: io::Error| {
        Failure::input(
            format!("a temporary file cannot be created: {error}"),
            "TMPDIR must be a folder with enough space for the packed source",
        )
    };
    let blob = NamedTempFile::with_prefix("bakery-").map_err(no_file)?;
    let target = blob.reopen().map_err(no_file)?;
    let (root, folders, git) = (loaded.root.clone(), folders(&loaded.spec), loaded.git);
    let bar = spinner("packing {bytes} ({binary_bytes_per_sec})");
    let seen = bar.clone();
    let packing = tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, seen.wrap_write(target));
        let source = SourceTree { root: &root, contexts: &folders, git };
        let packed = pack(&source, &mut out, LEVEL)?;
        out.flush().map_err(bakery_context::PackError::Write)?;
        Ok::<_, bakery_context::PackError>(packed)
    });
    let packed = packing.await;
    bar.finish_and_clear();
    let packed = packed.map_err(|error| Failure::local(format!("the packer panicked: {error}")))?;
    let packed = packed.map_err(|error| Failure::new(Exit::BadInput, Message::of(&error)))?;
    Ok((packed, blob))
}

async fn upload(server: &ServerApi, path: &str, blob: &Path, len: u64) -> Result<(), Failure> {
    let bar = meter(len);
    let sent = retry(true, || async {
        let file = tokio::fs::File::open(blob).await;
        let file = file.map_err(|error| LinkError::Settings {
            text: format!("the packed source cannot be read: {error}"),
            hint: "check that no other program removes files in TMPDIR".to_owned(),
        })?;
        let bar = bar.clone();
        match server.put_context(path, file, len, move |sent| bar.set_position(sent)).await {
            // Sending everything again, some seconds later, fills the same disk.
            Err(error) if error.is_disk_full() => Ok(Err(error)),
            sent => sent.map(Ok),
        }
    });
    let sent = sent.await;
    bar.finish_and_clear();
    Ok(sent??)
}

/// Progress of unknown length; shown only on a terminal.
fn spinner(template: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(&format!("{{spinner}} {template}")) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Progress of known length; shown only on a terminal.
fn meter(len: u64) -> ProgressBar {
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template("sending {wide_bar} {bytes} of {total_bytes}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}
