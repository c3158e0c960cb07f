//! The source goes to where agents can read it, and the build goes to the server.

use std::future::Future;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use bakery_context::s3::{PutOutcome, S3Error, S3Settings, S3Store};
use bakery_context::{Packed, pack, random};
use bakery_core::spec::BuildSpec;
use bakery_core::wire::build::{SubmitBuild, Submitted};
use bakery_core::wire::context::{ContextAnswer, ContextLocation, ContextOffer, ContextRef, object_key};
use bakery_link::{LinkError, ServerApi};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep};

use crate::exit::{Exit, Failure};
use crate::load::{Loaded, folders};
use crate::settings::Settings;
use crate::talk;

/// The usual compromise of gzip between size and time.
const LEVEL: u32 = 6;
/// Buffer between the packer and the disk.
const BUFFER: usize = 1 << 20;

/// A context on its way.
#[must_use]
pub enum Sent {
    /// The server has it.
    There(ContextRef),
    /// It still has to go to the bucket.
    ToBucket(ToBucket),
}

/// A context that this client's own credentials put into the bucket.
pub struct ToBucket {
    s3: S3Settings,
    blob: NamedTempFile,
    context: ContextRef,
    key: String,
}

/// Packs the source and asks whether the server has it; sends it to the server's own store where it does not.
/// Dropping the future leaves nothing anywhere.
pub async fn context(settings: &Settings, loaded: &Loaded) -> Result<Sent, Failure> {
    let (packed, blob) = packed(loaded).await?;
    let Packed { id, sha256, len, entries, bytes, notices } = packed;
    for notice in notices {
        talk::say(&format!("notice: {notice}"));
    }
    talk::say(&format!("packed {entries} entries, {} as {}", talk::bytes(bytes), talk::bytes(len)));
    let key = object_key(&id);
    let location = match &settings.s3 {
        Some(s3) => ContextLocation::S3 { bucket: s3.bucket.clone(), key: key.clone() },
        None => ContextLocation::Store,
    };
    let offer = ContextOffer { id, sha256, len, location };
    let answer = persist(false, || settings.server.offer_context(&offer)).await?;
    let ContextOffer { id, sha256, len, location } = offer;
    match (answer, &settings.s3) {
        (ContextAnswer::Present { context }, _) => {
            talk::say("context unchanged, nothing sent");
            Ok(Sent::There(context))
        }
        (ContextAnswer::Upload { path }, _) => {
            upload(&settings.server, &path, blob.path(), len).await?;
            talk::say(&format!("sent {}", talk::bytes(len)));
            Ok(Sent::There(ContextRef { id, sha256, len, location: ContextLocation::Store }))
        }
        (ContextAnswer::OwnCredentials, Some(s3)) => {
            let context = ContextRef { id, sha256, len, location };
            Ok(Sent::ToBucket(ToBucket { s3: s3.clone(), blob, context, key }))
        }
        (ContextAnswer::OwnCredentials, None) => Err(Failure::input(
            "the server reads contexts from a bucket, and this client knows none",
            "set S3_BUCKET (and S3_ENDPOINT, S3_REGION) as for the server",
        )),
    }
}

impl ToBucket {
    /// Sends it, unless the bucket has it; on `stop` takes back what was sent.
    pub async fn put(self, stop: impl Future<Output = ()>) -> Result<ContextRef, Failure> {
        let bar = spinner("sending to the bucket");
        let store = S3Store::new(&self.s3).await;
        let put = store.put_if_absent_until(&self.key, self.blob.path(), stop).await;
        bar.finish_and_clear();
        match put {
            Ok(PutOutcome::Stored) => {
                let size = talk::bytes(self.context.len);
                talk::say(&format!("sent {size} to bucket {}", self.s3.bucket));
            }
            Ok(PutOutcome::Present) => talk::say("context unchanged, the bucket has it"),
            Err(S3Error::Stopped { .. }) => return Err(Failure::quiet(Exit::Interrupted)),
            Err(error) => return Err(refused_by_bucket(&error)),
        }
        Ok(self.context)
    }
}

/// Credentials and names are the user's, an absent or failing store is out of reach.
fn refused_by_bucket(error: &S3Error) -> Failure {
    let exit = if error.is_transient() { Exit::Unknown } else { Exit::Input };
    Failure { exit, ..Failure::input(error.to_string(), error.hint()) }
}

/// Submits under one key, so that asking again after a lost answer does not build twice.
pub async fn submit(server: &ServerApi, spec: BuildSpec, context: ContextRef) -> Result<Submitted, Failure> {
    let idempotency_key =
        random::hex::<16>().map_err(|error| Failure::ours(format!("no random numbers: {error}")))?;
    let build = SubmitBuild { spec, context, idempotency_key };
    Ok(persist(true, || server.submit(&build)).await?)
}

/// Calls again while the server is busy, and, where it is `known` to be there, while it cannot be reached.
pub async fn persist<T, F, C>(known: bool, call: C) -> Result<T, LinkError>
where
    F: Future<Output = Result<T, LinkError>>,
    C: Fn() -> F,
{
    let (start, mut pause) = (Instant::now(), Duration::from_millis(200));
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
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(3));
    }
}

/// Packs into a temporary file, which goes away with what is returned.
async fn packed(loaded: &Loaded) -> Result<(Packed, NamedTempFile), Failure> {
    let no_room = |error: io::Error| Failure {
        hint: Some("TMPDIR must name a folder with room for the packed source".to_owned()),
        ..Failure::input(format!("no temporary file: {error}"), "")
    };
    let blob = NamedTempFile::with_prefix("bakery-").map_err(no_room)?;
    let target = blob.reopen().map_err(no_room)?;
    let (root, folders) = (loaded.root.clone(), folders(&loaded.spec));
    let bar = spinner("packing {bytes} ({binary_bytes_per_sec})");
    let seen = bar.clone();
    let packing = tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(BUFFER, seen.wrap_write(target));
        let packed = pack(&root, &folders, &mut out, LEVEL)?;
        out.flush().map_err(bakery_context::PackError::Write)?;
        Ok::<_, bakery_context::PackError>(packed)
    });
    let packed = packing.await;
    bar.finish_and_clear();
    let packed = packed.map_err(|error| Failure::ours(format!("the packer ended early: {error}")))?;
    let packed = packed.map_err(|error| Failure::input(error.to_string(), error.hint()))?;
    Ok((packed, blob))
}

async fn upload(server: &ServerApi, path: &str, blob: &Path, len: u64) -> Result<(), Failure> {
    let bar = meter(len);
    let sent = persist(true, || async {
        let file = tokio::fs::File::open(blob).await;
        let file = file.map_err(|error| LinkError::Settings {
            text: format!("the packed source is gone: {error}"),
            hint: "does something clean TMPDIR?".to_owned(),
        })?;
        let bar = bar.clone();
        server.put_context(path, file, len, move |sent| bar.set_position(sent)).await
    });
    let sent = sent.await;
    bar.finish_and_clear();
    Ok(sent?)
}

/// Progress of unknown length, on a terminal only.
fn spinner(template: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(&format!("{{spinner}} {template}")) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Progress of known length, on a terminal only.
fn meter(len: u64) -> ProgressBar {
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template("sending {wide_bar} {bytes} of {total_bytes}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}
