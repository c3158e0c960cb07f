//! The upload of a context of 500 MB to a real S3 server, compared with `aws s3 cp` of the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bakery_context::s3::{PutOutcome, S3Settings, S3Store};
use bakery_testkit::bench::{Pairs, pairs};
use bakery_testkit::parts::Parts;
use bakery_testkit::s3::S3;
use bakery_testkit::vars;
use tokio::process::Command;

const BYTES: u64 = 500_000_000;

#[tokio::main]
async fn main() -> Result<()> {
    let parts = Parts::required();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("context");
    // A compressed archive has no patterns either.
    io::copy(&mut File::open("/dev/urandom")?.take(BYTES), &mut File::create(&file)?)?;
    let mut found = Pairs::default();
    // The first pair warms caches and does not count.
    for pair in 0..=pairs() {
        // A server for each pair: the objects of all would fill the disk.
        let server = S3::start(&parts).await?;
        let (ours, peer) = if pair % 2 == 0 {
            let ours = ours(&server, &file).await?;
            (ours, peer(&server, &file).await?)
        } else {
            let peer = peer(&server, &file).await?;
            (ours(&server, &file).await?, peer)
        };
        if pair > 0 {
            found.push(ours.as_secs_f64(), peer.as_secs_f64());
        }
    }
    found.print("uploading 500 MB to S3", "aws s3 cp", "s", "<= 1.0");
    Ok(())
}

async fn ours(server: &S3, file: &Path) -> Result<Duration> {
    let settings: BTreeMap<String, String> =
        server.vars().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let settings = S3Settings::from_vars(&settings).ok().flatten().context("the settings of the server")?;
    let store = S3Store::new(&settings).await;
    let begin = Instant::now();
    let outcome = store.put_if_absent("ours", file).await?;
    ensure!(outcome == PutOutcome::Stored, "{outcome:?}");
    Ok(begin.elapsed())
}

async fn peer(server: &S3, file: &Path) -> Result<Duration> {
    let mut aws = Command::new(vars::AWS_CLI.required());
    aws.args(["s3", "cp", "--quiet", "--endpoint-url"]).arg(format!("http://{}", server.host));
    aws.arg(file).arg(format!("s3://{}/theirs", server.bucket)).env("AWS_REGION", "us-east-1");
    for (name, value) in server.vars() {
        match name {
            "S3_ACCESS_KEY" => aws.env("AWS_ACCESS_KEY_ID", value),
            "S3_SECRET_KEY" => aws.env("AWS_SECRET_ACCESS_KEY", value),
            _ => &mut aws,
        };
    }
    let begin = Instant::now();
    ensure!(aws.status().await?.success(), "aws s3 cp failed");
    Ok(begin.elapsed())
}
