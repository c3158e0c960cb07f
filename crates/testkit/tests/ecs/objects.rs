//! The S3 server behind the proxy, with curl's signatures, which are independent of our code.

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::{AwsEnv, CLIENT};
use bakery_testkit::s3::Keys;
use tokio::process::Command;

/// The status and the body.
async fn curl(aws: &AwsEnv, keys: &Keys, args: &[&str], object: &str) -> Result<(u16, String)> {
    let bucket = &aws.names.bucket;
    let mut command = Command::new("curl");
    command.args(["-s", "-w", "\n%{http_code}", "--aws-sigv4", "aws:amz:us-east-1:s3"]);
    command.args(["--user", &format!("{}:{}", keys.id, keys.secret)]).args(args);
    command.arg(format!("{}/{bucket}/{object}", aws.proxy.url()));
    let output = command.output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_writes_the_task_role_reads_and_nobody_does_more() -> Result<()> {
    let aws = AwsEnv::with_s3("objects").await?;
    let (client, task) = (Keys::new(CLIENT, "client-secret"), aws.emulator.task.clone());
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), vec![b'x'; 3 << 20])?;
    let path = file.path().display().to_string();

    let (status, body) = curl(&aws, &client, &["-T", &path], "a/b").await?;
    ensure!(status == 200, "{status} {body}");
    let (status, body) = curl(&aws, &client, &[], "a/b").await?;
    assert_eq!(status, 403);
    assert!(body.contains("<Code>AccessDenied</Code>") && body.contains("s3:GetObject"), "{body}");
    let token = format!("x-amz-security-token: {}", aws.emulator.task_token);
    let session = ["-H", &token];
    let (status, read) = curl(&aws, &task, &session, "a/b").await?;
    ensure!((status, read.len()) == (200, 3 << 20), "{status} {read:.200}");
    let (status, body) = curl(&aws, &task, &[], "a/b").await?;
    assert!(
        status == 403 && body.contains("InvalidAccessKeyId"),
        "a session without its token: {status} {body}"
    );
    assert_eq!(curl(&aws, &task, &session, "a/none").await?.0, 404);
    aws.proxy.deny("s3:ListBucket");
    assert_eq!(
        curl(&aws, &task, &session, "a/none").await?.0,
        403,
        "without the right to list, a missing object is forbidden"
    );
    assert_eq!(curl(&aws, &task, &["-H", &token, "-X", "DELETE"], "a/b").await?.0, 403);
    for (forged, args) in [(&task.id, session), (&client.id, ["-T", &path])] {
        let (status, body) = curl(&aws, &Keys::new(forged, "forged"), &args, "a/b").await?;
        assert!(status == 403 && body.contains("SignatureDoesNotMatch"), "{status} {body}");
    }

    let calls = aws.proxy.calls_of("s3:PutObject");
    assert_eq!((calls[0].principal.as_str(), calls[0].status, calls[0].size), ("client", 200, 3 << 20));
    Ok(())
}
