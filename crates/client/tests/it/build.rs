//! Whole builds through the real program.

use std::path::Path;
use std::process::Stdio;

use bakery_core::reason::Reason;
use bakery_core::wire::build::{TaskPhase, Verdict};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::fake_server::{BUILD, FAILED, FakeServer, LogAnswer, end, lines, state};

const CONFIG: &str =
    "global: { kaniko: { destination: r.test/shop:1 } }\nbake: [{ arch: amd64 }, { arch: arm64 }]\n";

fn project() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yaml"), CONFIG).unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    folder
}

fn client(fake: &FakeServer, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bakery-client"));
    command
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("CONTROLLER_URL", &fake.url)
        .env("LOG_FORMAT", "plain");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("the client runs").to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap().success());
}

/// Waits for a line of the log that ends with `end`.
async fn until(child: &mut Child, end: &str) {
    let mut lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.ends_with(end) {
            return;
        }
    }
    panic!("no line ends with {end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_goes_from_a_folder_to_an_exit_code() {
    let log = || [state(0, TaskPhase::Running), lines(1, 1, 2), end(3, Verdict::Baked, None)].concat();
    let fake = FakeServer::start(vec![LogAnswer::Frames(0, log()), LogAnswer::Frames(0, log())]).await;
    let folder = project();
    let (code, out, err) = ended(client(&fake, folder.path(), &[]).spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{err}");
    insta::assert_snapshot!(out, @r"
    [docker][shop/arm64] running
    [docker][shop/amd64] line 1
    [docker][shop/amd64] line 2
    [bakery] r.test/shop:1@sha256:1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6 (amd64, arm64)
    [bakery] build 01jdb3v1q8z6p3k4m5n6p7q8r9 baked
    ");
    assert!(err.contains("\nsent ") && err.contains("notice: the platform is warm"), "{err}");
    assert!(err.ends_with(&format!("build {BUILD} baked\n")), "{err}");
    fake.requests(|requests| {
        let build = &requests.submitted[0];
        assert_eq!(requests.uploads[0].len() as u64, build.context.len);
        assert_eq!(build.spec.services[0].tasks.len(), 2);
        assert!((16..=128).contains(&build.idempotency_key.len()));
    });
    // The same folder again: the server has its context.
    let (code, _, err) = ended(client(&fake, folder.path(), &[]).spawn().unwrap()).await;
    assert_eq!((code, err.contains("context unchanged, nothing sent")), (Some(0), true), "{err}");
    assert_eq!(fake.requests(|requests| requests.uploads.len()), 1);
    fake.requests(|requests| {
        assert_ne!(requests.submitted[0].idempotency_key, requests.submitted[1].idempotency_key);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_before_the_first_line_have_the_builds_time() {
    let log = [state(0, TaskPhase::Launching), lines(1, 1, 1), end(2, Verdict::Baked, None)].concat();
    let fake = FakeServer::start(vec![LogAnswer::Frames(0, log)]).await;
    let checkout = project();
    let mut command = client(&fake, checkout.path(), &["logs", BUILD]);
    let (code, out, err) = ended(command.env("LOG_FORMAT", "json").spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{err}");
    let times: Vec<_> = out.lines().map(|line| line[..28].to_owned()).collect();
    let at = |second| format!("{{\"ts\":\"2026-11-22T10:00:0{second}Z\"");
    assert_eq!(times, [at(0), at(1), at(1), at(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_is_reported_on_standard_error_with_its_code() {
    let folder = project();
    let endings =
        [(Verdict::Failed, Some(Reason::ExecutorFailed), 1), (Verdict::Lost, Some(Reason::NoCapacity), 4)];
    for (verdict, reason, expected) in endings {
        let fake = FakeServer::start(vec![LogAnswer::Frames(0, end(0, verdict, reason))]).await;
        let (code, _, err) = ended(client(&fake, folder.path(), &["logs", BUILD]).spawn().unwrap()).await;
        assert_eq!(code, Some(expected));
        assert!(err.contains(reason.unwrap().text()) && err.starts_with("error: "), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_cancels_and_waits_for_the_end() {
    let folder = project();
    for name in ["INT", "TERM"] {
        let cancelled =
            [state(1, TaskPhase::Cancelled), end(2, Verdict::Cancelled, Some(Reason::Cancelled))].concat();
        let fake = FakeServer::start(vec![LogAnswer::UntilCancelled(0, lines(0, 1, 1), cancelled)]).await;
        let mut child = client(&fake, folder.path(), &[]).spawn().unwrap();
        until(&mut child, "line 1").await;
        signal(&child, name).await;
        let (code, out, err) = ended(child).await;
        assert_eq!((code, fake.requests(|requests| requests.cancelled)), (Some(130), 1), "{err}");
        assert!(out.contains("cancelled"), "{out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_exits_at_once() {
    let folder = project();
    let fake = FakeServer::start(vec![LogAnswer::UntilCancelled(0, lines(0, 1, 1), lines(1, 2, 1))]).await;
    let mut child = client(&fake, folder.path(), &[]).spawn().unwrap();
    until(&mut child, "line 1").await;
    signal(&child, "INT").await;
    fake.cancelled().await;
    signal(&child, "INT").await;
    assert_eq!(ended(child).await.0, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_exits_does_not_cancel_the_build() {
    let folder = project();
    let quiet = || LogAnswer::UntilCancelled(0, lines(0, 1, 1), Vec::new());
    let fake = FakeServer::start(vec![quiet(), quiet()]).await;
    let mut child = client(&fake, folder.path(), &[]).spawn().unwrap();
    until(&mut child, "line 1").await;
    signal(&child, "HUP").await;
    assert_eq!(ended(child).await.0, Some(3));
    let mut child = client(&fake, folder.path(), &["logs", BUILD]).spawn().unwrap();
    until(&mut child, "line 1").await;
    signal(&child, "INT").await;
    let (code, _, err) = ended(child).await;
    assert_eq!(code, Some(130));
    assert!(err.contains("continues"), "{err}");
    assert_eq!(fake.requests(|requests| requests.cancelled), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_does_not_cancel_the_build() {
    let folder = project();
    let many: Vec<u8> = (0..40).flat_map(|n| lines(n * 500, n * 500 + 1, 500)).collect();
    let fake = FakeServer::start(vec![LogAnswer::UntilCancelled(0, many, Vec::new())]).await;
    let mut child = client(&fake, folder.path(), &[]).spawn().unwrap();
    until(&mut child, "line 1").await;
    drop(child.stdout.take());
    let (code, _, err) = ended(child).await;
    assert_eq!((code, err.contains("error")), (Some(3), false), "{err}");
    assert_eq!(fake.requests(|requests| requests.cancelled), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_server_is_reported_and_the_context_is_sent_once() {
    const NOTICE: &str = "notice: the server's disk is full; trying again\n";
    let folder = project();
    let log = [state(0, TaskPhase::Running), lines(1, 1, 2), end(3, Verdict::Baked, None)].concat();
    let fake = FakeServer::start(vec![LogAnswer::Frames(0, log)]).await;
    fake.fill(&["offer", "offer"]);
    let (code, _, err) = ended(client(&fake, folder.path(), &[]).spawn().unwrap()).await;
    assert_eq!((code, err.matches(NOTICE).count()), (Some(0), 1), "{err}");

    let fake = FakeServer::start(Vec::new()).await;
    fake.fill(&["upload"]);
    let (code, _, err) = ended(client(&fake, folder.path(), &[]).spawn().unwrap()).await;
    assert_eq!((code, fake.requests(|requests| requests.uploads.len())), (Some(4), 1), "{err}");
    assert!(err.contains("error: the disk is full\n  hint: try again later\n"), "{err}");
    assert!(!err.contains("trying again"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_bad_input() {
    let folder = project();
    let fake = FakeServer::start(Vec::new()).await;
    let mut command = client(&fake, folder.path(), &["ps"]);
    let (code, _, err) = ended(command.env("BAKERY_TOKEN", "wrong").spawn().unwrap()).await;
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(err, @r"
    error: the token is not valid
      hint: BAKERY_TOKEN must be the server's token
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_from_a_file_below_the_environment() {
    let fake = FakeServer::start(Vec::new()).await;
    let folder = project();
    let file = format!("CONTROLLER_URL={}\nBAKERY_TOKEN=from-the-file\nLOG_FORMAT=fancy\n", fake.url);
    std::fs::write(folder.path().join(".env"), file).unwrap();
    let mut command = client(&fake, folder.path(), &["ps"]);
    let (code, out, err) = ended(command.env("CONTROLLER_URL", "").spawn().unwrap()).await;
    assert_eq!((code, out.lines().count()), (Some(0), 2), "{out}{err}");
    assert_eq!(fake.requests(|requests| requests.tokens.clone()), ["Bearer from-the-file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_cancelled_by_its_id() {
    let folder = project();
    let fake = FakeServer::start(Vec::new()).await;
    let (code, _, err) = ended(client(&fake, folder.path(), &["cancel", BUILD]).spawn().unwrap()).await;
    assert_eq!((code, fake.requests(|requests| requests.cancelled)), (Some(0), 1));
    assert!(err.contains("is being cancelled"), "{err}");
    let (code, _, err) = ended(client(&fake, folder.path(), &["cancel", FAILED]).spawn().unwrap()).await;
    assert_eq!((code, err), (Some(0), format!("build {FAILED} has already ended: failed\n")));
    assert_eq!(fake.requests(|requests| requests.cancelled), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_are_listed_as_a_document() {
    let fake = FakeServer::start(Vec::new()).await;
    let (code, out, err) = ended(client(&fake, project().path(), &["ps", "--json"]).spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{err}");
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    let build = &value["builds"][0];
    assert_eq!((&build["id"], &build["state"]), (&BUILD.into(), &"baking".into()));
    assert_eq!(build["targets"][0]["tasks"][1]["arch"], "arm64");
}
