//! Each line is shown once, even if the connection is interrupted.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use bakery_client::exit::{Exit, Failure};
use bakery_client::follow::{Follower, RetryPolicy};
use bakery_client::render::{LogFormat, Renderer};
use bakery_client::stdout::LogOutput;
use bakery_core::wire::build::{BuildOutcome, TaskPhase, Verdict};
use bakery_core::wire::log::Cursor;
use bakery_link::{Options, ServerApi};
use jiff::Timestamp;

use crate::fake_server::{FakeServer, LogAnswer, end, id, lines, state};

const SHORT: RetryPolicy = RetryPolicy {
    first_pause: Duration::from_millis(1),
    max_pause: Duration::from_millis(4),
    total: Duration::from_millis(200),
};

/// Collects what was written.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn follow(
    fake: &FakeServer,
    known: bool,
    retry: RetryPolicy,
) -> (Result<BuildOutcome, Failure>, Vec<String>) {
    let server = ServerApi::new(&fake.url, None, Options::default()).unwrap();
    let buffer = Buffer::default();
    let out = LogOutput::new(buffer.clone());
    let mut renderer = Renderer::new(LogFormat::Plain, false, id(), BTreeMap::new(), Timestamp::UNIX_EPOCH);
    let follower = Follower { server: &server, id: id(), known, retry };
    let ended = follower.follow(Cursor::default(), &mut renderer, &out).await;
    out.finish().await.unwrap();
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    (ended, text.lines().map(|line| line.rsplit("] ").next().unwrap().to_owned()).collect())
}

fn numbered(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

#[tokio::test]
async fn a_log_that_is_interrupted_inside_a_frame_continues_there() {
    let torn = [lines(0, 1, 3), lines(3, 4, 2)[..60].to_vec()].concat();
    let rest = [lines(3, 4, 2), end(5, Verdict::Baked, None)].concat();
    let fake = FakeServer::start(vec![LogAnswer::Frames(0, torn), LogAnswer::Frames(0, rest)]).await;
    let (ended, text) = follow(&fake, true, RetryPolicy::default()).await;
    assert_eq!(ended.unwrap().verdict, Verdict::Baked);
    assert_eq!(text[..5], numbered(1..=5));
    assert_eq!(
        fake.requests(|requests| requests.cursors.clone()),
        [(0, 0), (0, 3)].map(|(epoch, seq)| Cursor { epoch, seq })
    );
}

#[tokio::test]
async fn what_is_sent_twice_is_shown_once() {
    let first = [lines(0, 1, 3), state(3, TaskPhase::Running)].concat();
    let again = [lines(0, 1, 3), state(3, TaskPhase::Running), lines(2, 3, 3), end(5, Verdict::Failed, None)]
        .concat();
    let fake = FakeServer::start(vec![LogAnswer::Frames(0, first), LogAnswer::Frames(0, again)]).await;
    let (ended, text) = follow(&fake, true, SHORT).await;
    assert_eq!(ended.unwrap().verdict, Verdict::Failed);
    assert_eq!(text[..5], ["line 1", "line 2", "line 3", "running", "line 5"]);
}

#[tokio::test]
async fn a_new_epoch_removes_nothing() {
    let before = [lines(0, 1, 3), lines(3, 4, 3)].concat();
    // The server lost the end of the log: the agent sends 4 to 6 again, after another frame.
    let after =
        [state(3, TaskPhase::Running), lines(4, 4, 2), lines(6, 6, 2), end(8, Verdict::Baked, None)].concat();
    let fake = FakeServer::start(vec![LogAnswer::Frames(0, before), LogAnswer::Frames(1, after)]).await;
    let (ended, text) = follow(&fake, true, SHORT).await;
    assert!(ended.is_ok());
    assert_eq!(text[..8], [numbered(1..=6), vec!["running".to_owned()], numbered(7..=7)].concat());
    let cursors = fake.requests(|requests| requests.cursors.clone());
    assert_eq!(cursors[1], Cursor { epoch: 0, seq: 6 });
}

#[tokio::test]
async fn a_server_that_does_not_come_back_is_given_up() {
    let fake = FakeServer::start(vec![LogAnswer::Frames(0, lines(0, 1, 2))]).await;
    let (ended, text) = follow(&fake, true, SHORT).await;
    let failure = ended.unwrap_err();
    assert_eq!((failure.exit, text), (Exit::Unknown, numbered(1..=2)));
    let hint = format!("`bakery-client logs {}` shows the rest of its log", id());
    assert_eq!(failure.messages.last().unwrap().hint.as_ref(), Some(&hint));
}

#[tokio::test]
async fn a_token_that_is_refused_after_a_restart_ends_the_client_at_once_and_not_the_build() {
    let refused = LogAnswer::Status(StatusCode::UNAUTHORIZED);
    let fake = FakeServer::start(vec![LogAnswer::Frames(0, lines(0, 1, 2)), refused]).await;
    let (ended, text) = follow(&fake, true, RetryPolicy::default()).await;
    let failure = ended.unwrap_err();
    assert_eq!((failure.exit, text), (Exit::Unknown, numbered(1..=2)));
    assert_eq!(fake.requests(|requests| (requests.cursors.len(), requests.cancelled)), (2, 0));
}

#[tokio::test]
async fn a_busy_server_is_waited_for_only_after_it_accepted_the_build() {
    let busy = || LogAnswer::Status(StatusCode::SERVICE_UNAVAILABLE);
    let fake =
        FakeServer::start(vec![busy(), busy(), LogAnswer::Frames(0, end(0, Verdict::Baked, None))]).await;
    assert!(follow(&fake, true, SHORT).await.0.is_ok());
    let fake = FakeServer::start(vec![busy()]).await;
    let failure = follow(&fake, false, SHORT).await.0.unwrap_err();
    assert_eq!((failure.exit, failure.messages[0].text.as_str()), (Exit::Internal, "not now"));
}
