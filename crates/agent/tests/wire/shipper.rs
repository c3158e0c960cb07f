//! The log arrives whole and once, whatever happens to the connection and to the server.

use std::sync::Arc;
use std::time::Duration;

use crate::fake::{FakeController, LAUNCH_TOKEN, run_name};
use bakery_agent::log::Log;
use bakery_agent::mask::Masker;
use bakery_agent::shipper::spool::{SPOOL_BYTES, Spool};
use bakery_agent::shipper::{NotShipped, Shipper, Told};
use bakery_core::secret::Secret;
use bakery_core::wire::log::{Level, Source};
use bakery_core::wire::run::Stage;
use bakery_link::RunApi;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

struct Sender {
    log: Log,
    shipper: Shipper,
    _folder: tempfile::TempDir,
}

/// A session that is bound already: here it is the launch token.
fn sender(url: &str) -> Sender {
    bounded_sender(url, SPOOL_BYTES)
}

fn bounded_sender(url: &str, bound: u64) -> Sender {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::bounded(&folder.path().join("spool"), bound).unwrap());
    let log = Log::new(Arc::clone(&spool), Arc::new(Masker::default()));
    let runs = RunApi::new(url, run_name(), Secret::new("unused"), Secret::new(LAUNCH_TOKEN)).unwrap();
    let shipper = Shipper::start(runs, run_name(), spool);
    Sender { log, shipper, _folder: folder }
}

/// Random enough, and the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// A wire to `target` that breaks after a random number of bytes, again and again, `cuts` times.
async fn cutting_wire(target: String, seed: u64, mut cuts: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "a test's wire ends with its runtime")]
    tokio::spawn(async move {
        let mut dice = Dice(seed);
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let limit = if cuts > 0 { dice.roll(1_500_000) } else { u64::MAX };
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

fn check(controller: &FakeController, count: usize) {
    let messages = controller.seen().messages();
    assert_eq!(messages.len(), count);
    for (number, line) in (1..).zip(&messages) {
        assert_eq!(line.msg.split(' ').nth(1), Some(format!("{number}").as_str()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_wires_and_a_forgetful_server_lose_nothing_and_double_nothing() {
    for seed in [0x5eed_0001, 0x5eed_0002, 0x5eed_0003] {
        println!("seed {seed:x}");
        let controller = FakeController::start(&[]).await;
        controller.mood(|mood| mood.forget = vec![(2, 10), (5, 5_000), (9, 1), (12, 40_000)]);
        let wire = cutting_wire(controller.url.clone(), seed, 12).await;
        let Sender { log, shipper, _folder } = sender(&wire);
        for part in 0..10 {
            write(&log, part * 8_000 + 1..=(part + 1) * 8_000);
            controller.until(|seen| seen.lines.len() > part as usize * 4_000).await;
        }
        shipper.finish(Duration::from_mins(1)).await.unwrap();
        check(&controller, 80_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_spool_drops_costs_the_wire_nothing() {
    let controller = FakeController::start(&[]).await;
    controller.mood(|mood| mood.forget = vec![(1, 70_000)]);
    let Sender { log, shipper, _folder } = bounded_sender(&controller.url, 100_000);
    write(&log, 1..=100_000);
    shipper.finish(Duration::from_mins(1)).await.unwrap();
    let seen = controller.seen();
    let kept = seen.lines.iter().take_while(|line| !line.is_empty()).count();
    assert!((100..1000).contains(&kept), "{kept}");
    assert_eq!(seen.lines.len(), 100_000);
    assert!(seen.lines[kept..].iter().all(Vec::is_empty));
    for (number, line) in (1..).zip(&seen.lines[..kept]) {
        assert!(String::from_utf8_lossy(line).contains(&format!("\"line {number} ")));
    }
}

#[tokio::test]
async fn a_line_alone_arrives_soon_and_a_cancel_is_heard_while_nothing_is_written() {
    let controller = FakeController::start(&[]).await;
    let Sender { log, shipper, _folder } = sender(&controller.url);
    write(&log, 1..=1);
    timeout(Duration::from_secs(1), controller.until(|seen| seen.lines.len() == 1)).await.unwrap();
    controller.until(|seen| seen.heartbeats > 0).await;
    controller.mood(|mood| mood.cancel = true);
    let mut told = shipper.told();
    let heard = timeout(Duration::from_secs(2), told.wait_for(|told| *told == Told::Cancel)).await;
    heard.unwrap().unwrap();
    // A run that ends still delivers what it has to say.
    write(&log, 2..=2);
    shipper.finish(Duration::from_secs(10)).await.unwrap();
    check(&controller, 2);
}

#[tokio::test]
async fn a_new_stage_is_told_at_once() {
    let controller = FakeController::start(&[]).await;
    let Sender { log: _log, shipper, _folder } = sender(&controller.url);
    shipper.stage().send_replace(Stage::Push);
    let told = controller.until(|seen| seen.stages.last() == Some(&Stage::Push));
    timeout(Duration::from_millis(900), told).await.unwrap();
    shipper.finish(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_know_the_run_is_not_asked_for_ever() {
    let controller = FakeController::start(&[]).await;
    controller.mood(|mood| mood.refuse = Some(axum::http::StatusCode::NOT_FOUND));
    let Sender { log, shipper, _folder } = sender(&controller.url);
    write(&log, 1..=3);
    let error = timeout(Duration::from_secs(5), shipper.finish(Duration::from_mins(1))).await.unwrap();
    assert!(matches!(error, Err(NotShipped::Dismissed(_))));
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_then_given_up() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let Sender { log, shipper, _folder } = sender(&format!("http://{nowhere}"));
    write(&log, 1..=3);
    let error = shipper.finish(Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, NotShipped::TimeOver { acknowledged: 0, lines: 3, .. }), "{error}");
}
