//! Keys that the server may be too old for.

use std::process::{Command, Output};

use bakery_core::config::keys;
use bakery_core::wire::build::{TaskPhase, Verdict};
use tempfile::TempDir;

use crate::fake_server::{FakeServer, LogAnswer, end, state};

const COMPOSE: &str = "
services:
  app: { image: r.test/app, build: { context: ., target: prod, labels: { a: b } } }
";

fn project() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("compose.yaml"), COMPOSE).unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch AS prod\n").unwrap();
    folder
}

async fn build(fake: &FakeServer) -> (Option<i32>, String) {
    let (url, folder) = (fake.url.clone(), project());
    let run = move || -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bakery-client"));
        command.current_dir(folder.path()).env_clear().env("CONTROLLER_URL", url).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_does_not_know_is_named_before_the_upload() {
    let fake = FakeServer::start(Vec::new()).await;
    let expected = |keys: &str| {
        format!(
            "error: not supported by the server, whose version is 1.2.3: {keys}\n  hint: upgrade the server, or remove what \
             sets them (in a Compose file: the attributes of `build`)\n"
        )
    };
    assert_eq!(build(&fake).await, (Some(2), expected("kaniko.labels, kaniko.target")));
    fake.know(vec!["arch".to_owned(), "kaniko.target".to_owned()]);
    assert_eq!(build(&fake).await, (Some(2), expected("kaniko.labels")));
    fake.requests(|requests| assert!(requests.offers.is_empty() && requests.submitted.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_the_server_knows_are_sent() {
    let log = [state(0, TaskPhase::Running), end(1, Verdict::Baked, None)].concat();
    let fake = FakeServer::start(vec![LogAnswer::Frames(0, log)]).await;
    fake.know(keys::paths());
    let (code, err) = build(&fake).await;
    assert_eq!(code, Some(0), "{err}");
    fake.requests(|requests| {
        let kaniko = &requests.submitted[0].spec.services[0].tasks[0].kaniko;
        assert_eq!((kaniko.target.as_deref(), kaniko.labels["a"].as_str()), (Some("prod"), "b"));
    });
}
