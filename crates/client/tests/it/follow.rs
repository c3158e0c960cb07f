//! Each line once, whatever happens to the connection.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use bakery_client::exit::{Exit, Failure};
use bakery_client::follow::{Follower, Patience};
use bakery_client::out::Out;
use bakery_client::render::{LogFormat, Renderer};
use bakery_core::wire::build::{BuildOutcome, TaskPhase, Verdict};
use bakery_core::wire::log::Cursor;
use bakery_link::{Options, ServerApi};
use jiff::Timestamp;

use crate::fake::{Fake, Script, end, id, lines, state};

const IMPATIENT: Patience = Patience {
    first: Duration::from_millis(1),
    most: Duration::from_millis(4),
    total: Duration::from_millis(200),
};

/// What was written, for all to see.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn follow(
    fake: &Fake,
    known: bool,
    patience: Patience,
) -> (Result<BuildOutcome, Failure>, Vec<String>) {
    let server = ServerApi::new(&fake.url, None, Options::default()).unwrap();
    let page = Page::default();
    let out = Out::new(page.clone());
    let mut renderer = Renderer::new(LogFormat::Plain, false, id(), BTreeMap::new(), Timestamp::UNIX_EPOCH);
    let follower = Follower { server: &server, id: id(), known, patience };
    let ended = follower.follow(Cursor::default(), &mut renderer, &out).await;
    out.finish().await.unwrap();
    let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    (ended, text.lines().map(|line| line.rsplit("] ").next().unwrap().to_owned()).collect())
}

fn numbered(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

#[tokio::test]
async fn a_log_cut_inside_a_frame_goes_on_where_it_was() {
    let torn = [lines(0, 1, 3), lines(3, 4, 2)[..60].to_vec()].concat();
    let rest = [lines(3, 4, 2), end(5, Verdict::Baked, None)].concat();
    let fake = Fake::start(vec![Script::Frames(0, torn), Script::Frames(0, rest)]).await;
    let (ended, text) = follow(&fake, true, Patience::default()).await;
    assert_eq!(ended.unwrap().verdict, Verdict::Baked);
    assert_eq!(text[..5], numbered(1..=5));
    assert_eq!(
        fake.asked(|asked| asked.cursors.clone()),
        [(0, 0), (0, 3)].map(|(epoch, seq)| Cursor { epoch, seq })
    );
}

#[tokio::test]
async fn what_is_sent_twice_is_shown_once() {
    let first = [lines(0, 1, 3), state(3, TaskPhase::Running)].concat();
    let again = [lines(0, 1, 3), state(3, TaskPhase::Running), lines(2, 3, 3), end(5, Verdict::Failed, None)]
        .concat();
    let fake = Fake::start(vec![Script::Frames(0, first), Script::Frames(0, again)]).await;
    let (ended, text) = follow(&fake, true, IMPATIENT).await;
    assert_eq!(ended.unwrap().verdict, Verdict::Failed);
    assert_eq!(text[..5], ["line 1", "line 2", "line 3", "running", "line 5"]);
}

#[tokio::test]
async fn a_new_epoch_takes_nothing_away() {
    let before = [lines(0, 1, 3), lines(3, 4, 3)].concat();
    // The server's end was torn: 4 to 6 are sent anew by the agent, behind another line.
    let after =
        [state(3, TaskPhase::Running), lines(4, 4, 2), lines(6, 6, 2), end(8, Verdict::Baked, None)].concat();
    let fake = Fake::start(vec![Script::Frames(0, before), Script::Frames(1, after)]).await;
    let (ended, text) = follow(&fake, true, IMPATIENT).await;
    assert!(ended.is_ok());
    assert_eq!(text[..8], [numbered(1..=6), vec!["running".to_owned()], numbered(7..=7)].concat());
    let asked = fake.asked(|asked| asked.cursors.clone());
    assert_eq!(asked[1], Cursor { epoch: 0, seq: 6 });
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up() {
    let fake = Fake::start(vec![Script::Frames(0, lines(0, 1, 2))]).await;
    let (ended, text) = follow(&fake, true, IMPATIENT).await;
    let failure = ended.unwrap_err();
    assert_eq!((failure.exit, text), (Exit::Unknown, numbered(1..=2)));
    assert_eq!(failure.hint.unwrap(), format!("`bakery-client logs {}` follows on", id()));
}

#[tokio::test]
async fn a_busy_server_is_waited_for_only_where_it_is_known() {
    let busy = || Script::Status(StatusCode::SERVICE_UNAVAILABLE);
    let fake = Fake::start(vec![busy(), busy(), Script::Frames(0, end(0, Verdict::Baked, None))]).await;
    assert!(follow(&fake, true, IMPATIENT).await.0.is_ok());
    let fake = Fake::start(vec![busy()]).await;
    let failure = follow(&fake, false, IMPATIENT).await.0.unwrap_err();
    assert_eq!((failure.exit, failure.text.as_str()), (Exit::Ours, "not now"));
}
