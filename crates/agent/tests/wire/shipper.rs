//! Every line of the log arrives exactly once, whatever happens to the connection and to the server.

use std::sync::Arc;
use std::time::Duration;

use crate::fake_server::{FakeServer, LAUNCH_TOKEN, run_name};
use bakery_agent::log::Log;
use bakery_agent::mask::Masker;
use bakery_agent::shipper::spool::{SPOOL_BYTES, Spool};
use bakery_agent::shipper::{ServerSignal, ShipError, Shipper};
use bakery_core::secret::Secret;
use bakery_core::wire::log::{Level, Source};
use bakery_core::wire::run::Stage;
use bakery_link::RunApi;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

struct LogSender {
    log: Log,
    shipper: Shipper,
    _folder: tempfile::TempDir,
}

/// A sender whose session is bound already: the launch token is used as its session.
fn sender(url: &str) -> LogSender {
    sender_with_limit(url, SPOOL_BYTES)
}

fn sender_with_limit(url: &str, max_bytes: u64) -> LogSender {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::with_limit(&folder.path().join("spool"), max_bytes).unwrap());
    let log = Log::new(Arc::clone(&spool), Arc::new(Masker::default()));
    let runs = RunApi::new(url, run_name(), Secret::new("unused"), Secret::new(LAUNCH_TOKEN)).unwrap();
    let shipper = Shipper::start(runs, run_name(), spool);
    LogSender { log, shipper, _folder: folder }
}

/// A deterministic random number generator (xorshift).
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A proxy to `target` whose first `cuts` connections break after a random number of bytes.
async fn cutting_proxy(target: String, seed: u64, mut cuts: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "a test's proxy ends with its runtime")]
    tokio::spawn(async move {
        let mut rng = Rng(seed);
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let limit = if cuts > 0 { rng.below(1_500_000) } else { u64::MAX };
            cuts = cuts.saturating_sub(1);
            let target = target.trim_start_matches("http://").to_owned();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(target).await.unwrap();
                let (mut near_read, mut near_write) = near.split();
                let (mut far_read, mut far_write) = far.split();
                let there = async {
                    let (mut left, mut buffer) = (limit, vec![0; 16 << 10]);
                    while left > 0 {
                        let len = near_read.read(&mut buffer).await.unwrap_or(0);
                        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
                        if len == 0 || far_write.write_all(&buffer[..len]).await.is_err() {
                            break;
                        }
                        left -= len as u64;
                    }
                };
                tokio::select! {
                    () = there => {}
                    _ = tokio::io::copy(&mut far_read, &mut near_write) => {}
                }
            });
        }
    });
    url
}

fn write(log: &Log, numbers: std::ops::RangeInclusive<u32>) {
    let mut writer = log.writer(Source::Kaniko, Level::Info);
    for number in numbers {
        writer.push(format!("line {number} {}\n", "x".repeat(number as usize % 200)).as_bytes(), |_| {});
    }
}

fn check(server: &FakeServer, count: usize) {
    let messages = server.received().messages();
    assert_eq!(messages.len(), count);
    for (number, line) in (1..).zip(&messages) {
        assert_eq!(line.msg.split(' ').nth(1), Some(format!("{number}").as_str()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_connections_and_a_restarted_server_lose_and_duplicate_no_line() {
    for seed in [0x5eed_0001, 0x5eed_0002, 0x5eed_0003] {
        println!("seed {seed:x}");
        let server = FakeServer::start(&[]).await;
        server.faults(|faults| faults.forget = vec![(2, 10), (5, 5_000), (9, 1), (12, 40_000)]);
        let proxy = cutting_proxy(server.url.clone(), seed, 12).await;
        let LogSender { log, shipper, _folder } = sender(&proxy);
        for part in 0..10 {
            write(&log, part * 8_000 + 1..=(part + 1) * 8_000);
            server.until(|seen| seen.lines.len() > part as usize * 4_000).await;
        }
        shipper.finish(Duration::from_mins(1)).await.unwrap();
        check(&server, 80_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_a_full_spool_drops_are_only_counted() {
    let server = FakeServer::start(&[]).await;
    server.faults(|faults| faults.forget = vec![(1, 70_000)]);
    let LogSender { log, shipper, _folder } = sender_with_limit(&server.url, 100_000);
    write(&log, 1..=100_000);
    shipper.finish(Duration::from_mins(1)).await.unwrap();
    let received = server.received();
    let kept = received.lines.iter().take_while(|line| !line.is_empty()).count();
    assert!((100..1000).contains(&kept), "{kept}");
    assert_eq!(received.lines.len(), 100_000);
    assert!(received.lines[kept..].iter().all(Vec::is_empty));
    for (number, line) in (1..).zip(&received.lines[..kept]) {
        assert!(String::from_utf8_lossy(line).contains(&format!("\"line {number} ")));
    }
}

#[tokio::test]
async fn a_single_line_arrives_soon_and_a_cancel_arrives_while_nothing_is_written() {
    let server = FakeServer::start(&[]).await;
    let LogSender { log, shipper, _folder } = sender(&server.url);
    write(&log, 1..=1);
    timeout(Duration::from_secs(1), server.until(|seen| seen.lines.len() == 1)).await.unwrap();
    server.until(|seen| seen.heartbeats > 0).await;
    server.faults(|faults| faults.cancel = true);
    let mut signal = shipper.signal();
    let cancelled =
        timeout(Duration::from_secs(2), signal.wait_for(|signal| *signal == ServerSignal::Cancel)).await;
    cancelled.unwrap().unwrap();
    // A cancelled run still delivers its log.
    write(&log, 2..=2);
    shipper.finish(Duration::from_secs(10)).await.unwrap();
    check(&server, 2);
}

#[tokio::test]
async fn a_new_stage_is_sent_at_once() {
    let server = FakeServer::start(&[]).await;
    let LogSender { log: _log, shipper, _folder } = sender(&server.url);
    shipper.stage().send_replace(Stage::Push);
    let sent = server.until(|seen| seen.stages.last() == Some(&Stage::Push));
    timeout(Duration::from_millis(900), sent).await.unwrap();
    shipper.finish(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_rejects_the_run_is_not_retried() {
    let server = FakeServer::start(&[]).await;
    server.faults(|faults| faults.refuse = Some(axum::http::StatusCode::NOT_FOUND));
    let LogSender { log, shipper, _folder } = sender(&server.url);
    write(&log, 1..=3);
    let error = timeout(Duration::from_secs(5), shipper.finish(Duration::from_mins(1))).await.unwrap();
    assert!(matches!(error, Err(ShipError::Rejected(_))));
}

#[tokio::test]
async fn an_unreachable_server_is_retried_until_the_limit() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let LogSender { log, shipper, _folder } = sender(&format!("http://{nowhere}"));
    write(&log, 1..=3);
    let error = shipper.finish(Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, ShipError::TimedOut { acknowledged: 0, lines: 3, .. }), "{error}");
}
