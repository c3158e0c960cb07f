//! Tests of what agents and followers rely on.

use std::collections::BTreeSet;

use bakery_core::image::Digest;
use bakery_core::names::{Arch, TaskId};
use bakery_core::reason::Reason;
use bakery_core::wire::build::{BuildOutcome, PublishedImage, TaskPhase, Verdict};
use bakery_core::wire::log::{Decoder, Level, Source};
use jiff::Timestamp;
use tempfile::TempDir;

use super::*;

pub(super) fn run(index: u16) -> RunName {
    RunName { task: TaskId { build: build(), index }, attempt: 1 }
}

pub(super) fn build() -> BuildId {
    BuildId::new(1_763_800_000_000, 7)
}

/// A block of numbered lines.
pub(super) fn block(run: RunName, first: u64, lines: u32) -> (BlockHeader, Bytes) {
    let text = lines_text(run, first..=first + u64::from(lines) - 1);
    let len = u32::try_from(text.len()).unwrap();
    (BlockHeader { run, first, lines, len }, text.into())
}

pub(super) fn end() -> Frame {
    Frame::End {
        outcome: BuildOutcome {
            verdict: Verdict::Baked,
            reason: None,
            text: None,
            hint: None,
            images: Vec::new(),
        },
    }
}

pub(super) async fn logs() -> (TempDir, Logs) {
    let folder = TempDir::new().unwrap();
    let logs = Logs::open(folder.path()).unwrap();
    logs.create(build()).await.unwrap();
    (folder, logs)
}

/// Reads a log as a follower does, to its end.
pub(super) async fn read(logs: &Logs, from: Cursor, follow: bool) -> Vec<(FrameHeader, Vec<u8>)> {
    let mut stream = logs.follow(build(), from, follow).await.unwrap();
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    while let Some(chunk) = stream.next().await {
        decoder.push(chunk.unwrap());
        while let Some((header, payload)) = decoder.next_frame::<FrameHeader>().unwrap() {
            frames.push((header, payload.to_vec()));
        }
    }
    assert!(decoder.is_empty(), "a log ends between frames");
    frames
}

pub(super) fn text(frames: &[(FrameHeader, Vec<u8>)]) -> String {
    frames.iter().map(|(_, payload)| String::from_utf8_lossy(payload)).collect()
}

pub(super) fn lines_text(run: RunName, numbers: std::ops::RangeInclusive<u64>) -> String {
    numbers.flat_map(|n| [format!("{{\"src\":\"kaniko\",\"{run}\":{n}}}"), "\n".to_owned()]).collect()
}

pub(super) async fn append(logs: &Logs, run: RunName, first: u64, lines: u32) -> u64 {
    let (header, payload) = block(run, first, lines);
    logs.append(build(), header, payload).await.unwrap()
}

#[tokio::test]
async fn lines_sent_twice_are_stored_once_and_a_gap_is_requested_again() {
    let (_folder, logs) = logs().await;
    assert_eq!(append(&logs, run(0), 1, 3).await, 4);
    assert_eq!(append(&logs, run(0), 1, 3).await, 4, "all known");
    assert_eq!(append(&logs, run(0), 2, 4).await, 6, "half known");
    assert_eq!(append(&logs, run(0), 9, 1).await, 6, "a gap: go back");
    assert_eq!(append(&logs, run(1), 1, 1).await, 2, "another run counts for itself");
    let frames = read(&logs, Cursor::default(), false).await;
    assert_eq!(text(&frames), lines_text(run(0), 1..=5) + &lines_text(run(1), 1..=1));
    assert_eq!(frames.iter().map(|(h, _)| h.seq).collect::<Vec<_>>(), [0, 3, 5]);
    assert_eq!(logs.next(run(0)).await.unwrap(), 6);
}

#[tokio::test]
async fn an_invalid_block_of_lines_is_refused() {
    let (_folder, logs) = logs().await;
    let (good, payload) = block(run(0), 1, 2);
    let forged = BlockHeader { run: run(1), ..good };
    let wrong = [
        (BlockHeader { lines: 3, ..good }, payload.clone()),
        (BlockHeader { lines: 1, ..good }, payload.clone()),
        (BlockHeader { len: 3, ..good }, payload.clone()),
        (BlockHeader { first: 0, ..good }, payload.clone()),
        (BlockHeader { lines: 1, len: 3, ..good }, Bytes::from_static(b"a\nb")),
        (forged, payload.clone()),
    ];
    for (header, payload) in wrong {
        let refused = logs.append_all(build(), run(0), vec![(header, payload)]).await;
        assert!(matches!(refused, Err(LogError::BadBlock { .. })), "{header:?}");
    }
    let other = RunName { task: TaskId { build: BuildId::new(1, 1), index: 0 }, attempt: 1 };
    assert!(logs.append(build(), BlockHeader { run: other, ..good }, payload).await.is_err());
    assert!(read(&logs, Cursor::default(), false).await.is_empty());
}

#[tokio::test]
async fn a_follower_starts_at_the_frame_of_its_cursor_and_stops_at_the_end() {
    let (_folder, logs) = logs().await;
    append(&logs, run(0), 1, 10).await;
    append(&logs, run(0), 11, 10).await;
    let state = Frame::State {
        run: run(0),
        phase: TaskPhase::Lost,
        reason: Some(Reason::Evicted),
        text: None,
        hint: None,
    };
    logs.frame(build(), state.clone()).await.unwrap();
    let reader = {
        let logs = logs.clone();
        async move { read(&logs, Cursor { epoch: 0, seq: 13 }, true).await }
    };
    let writer = async {
        append(&logs, run(0), 21, 5).await;
        logs.frame(build(), end()).await.unwrap();
    };
    let (frames, ()) = tokio::join!(reader, writer);
    assert_eq!(frames.iter().map(|(h, _)| h.seq).collect::<Vec<_>>(), [10, 20, 21, 26]);
    assert_eq!(text(&frames), lines_text(run(0), 11..=25));
    assert_eq!(append(&logs, run(0), 26, 5).await, 31, "late lines are acknowledged and dropped");
    logs.frame(build(), state.clone()).await.unwrap();
    assert_eq!(read(&logs, Cursor { epoch: 0, seq: 26 }, true).await.len(), 1, "nothing follows the end");
    let headers: Vec<_> = logs.frames(build()).await.unwrap().into_iter().map(|h| h.frame).collect();
    assert_eq!(headers, [state, end()]);
}

#[tokio::test]
async fn a_log_without_news_sends_heartbeats() {
    let (_folder, logs) = logs().await;
    append(&logs, run(0), 1, 2).await;
    let log = logs.log(build()).await.unwrap();
    let at = log.file.tip().end;
    let mut stream = std::pin::pin!(follow::stream(log, at, true, Duration::from_millis(5)));
    for _ in 0..2 {
        let beat = stream.next().await.unwrap().unwrap();
        assert_eq!(beat, "{\"len\":0,\"seq\":2,\"kind\":\"beat\"}\n");
    }
    append(&logs, run(0), 3, 1).await;
    // A beat may have been due at the same moment.
    let mut chunk = stream.next().await.unwrap().unwrap();
    if chunk.ends_with(b"\"beat\"}\n") {
        chunk = stream.next().await.unwrap().unwrap();
    }
    assert!(chunk.starts_with(b"{\"len\":") && chunk.ends_with(b":3}\n"));
}

#[tokio::test]
async fn notes_of_the_server_are_split_into_as_many_frames_as_they_need() {
    let (_folder, logs) = logs().await;
    let line = |n: usize| LogLine {
        ts: Timestamp::UNIX_EPOCH,
        src: Source::Server,
        lvl: Level::Warn,
        msg: format!("{n} {}", "x".repeat(60_000)),
        more: false,
        hint: None,
    };
    logs.note(build(), Some(run(0)), (0..10).map(line).collect()).await.unwrap();
    let frames = read(&logs, Cursor::default(), false).await;
    assert!(frames.len() > 1);
    let messages: Vec<LogLine> =
        text(&frames).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages, (0..10).map(line).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_and_readers_see_each_line_once() {
    let (_folder, logs) = logs().await;
    let (senders, blocks, lines) = (4u16, 60u64, 50u32);
    let reading: Vec<_> = (0..3)
        .map(|reader| {
            let logs = logs.clone();
            let read = async move {
                if reader == 0 {
                    tokio::task::yield_now().await;
                }
                read(&logs, Cursor::default(), true).await
            };
            crate::spawn::Tasks::new().spawn("reader", read)
        })
        .collect();
    let sending = (0..senders).map(|sender| {
        let logs = logs.clone();
        async move {
            for n in 0..blocks {
                let first = n * u64::from(lines) + 1;
                append(&logs, run(sender), first, lines).await;
                // What an agent does after a lost reply.
                append(&logs, run(sender), first, lines).await;
            }
        }
    });
    futures_util::future::join_all(sending).await;
    logs.frame(build(), end()).await.unwrap();
    for reader in reading {
        let frames = reader.await.unwrap();
        let mut next = 0;
        for (header, _) in &frames {
            assert_eq!(header.seq, next);
            next += header.frame.width();
        }
        let text = text(&frames);
        let seen: BTreeSet<_> = text.lines().collect();
        assert_eq!(text.lines().count(), seen.len(), "a line came twice");
        assert_eq!(seen.len() as u64, u64::from(senders) * blocks * u64::from(lines));
        for sender in 0..senders {
            let own = format!("{{\"src\":\"kaniko\",\"{}\"", run(sender));
            let mine: String = text.split_inclusive('\n').filter(|line| line.starts_with(&own)).collect();
            assert_eq!(mine, lines_text(run(sender), 1..=blocks * u64::from(lines)), "out of order");
        }
    }
}

#[tokio::test]
async fn a_reader_far_behind_is_served_from_the_file() {
    let (_folder, logs) = logs().await;
    let mut slow = logs.follow(build(), Cursor::default(), true).await.unwrap();
    for n in 0..400 {
        append(&logs, run(0), n * 500 + 1, 500).await;
    }
    logs.frame(build(), end()).await.unwrap();
    let (mut bytes, mut largest) = (0, 0);
    while let Some(chunk) = slow.next().await {
        let chunk = chunk.unwrap();
        bytes += chunk.len() as u64;
        largest = largest.max(chunk.len());
    }
    assert_eq!(bytes, logs.sizes().unwrap()[&build()]);
    assert!(bytes > 4 << 20 && largest <= 256 << 10);
    // The index finds every position without reading from the start.
    for seq in [0, 499, 500, 99_999, 199_999, 200_000] {
        let frames = read(&logs, Cursor { epoch: 0, seq }, false).await;
        let header = &frames[0].0;
        assert!(header.seq <= seq && seq < header.seq + header.frame.width(), "{seq}");
    }
}

#[tokio::test]
async fn the_longest_outcome_is_whole_after_opening_again() {
    let (folder, logs) = logs().await;
    let image = |n: usize| {
        let destination = format!("reg.test/{}{n:02}:{}", "x".repeat(240), "t".repeat(128));
        PublishedImage {
            destination: destination.parse().unwrap(),
            digest: Digest::of(b"image"),
            archs: Arch::ALL.to_vec(),
        }
    };
    // Characters that JSON escapes take the most space.
    let text = || Some("\u{1}".repeat(100_000));
    let state =
        Frame::State { run: run(0), phase: TaskPhase::Lost, reason: None, text: text(), hint: text() };
    logs.frame(build(), state).await.unwrap();
    let images: Vec<_> = (0..limits::TASKS).map(image).collect();
    let outcome = BuildOutcome {
        verdict: Verdict::Failed,
        reason: Some(Reason::PushRefused),
        text: text(),
        hint: text(),
        images: images.clone(),
    };
    logs.frame(build(), Frame::End { outcome }).await.unwrap();
    logs.sync(build()).await.unwrap();
    let again = Logs::open(folder.path()).unwrap();
    assert_eq!(again.epoch(build()).await.unwrap(), 0, "nothing was torn");
    let frames = read(&again, Cursor::default(), true).await;
    let [(FrameHeader { frame: Frame::State { text: Some(text), .. }, .. }, _), (end, _)] = &frames[..]
    else {
        panic!("{}", frames.len())
    };
    assert!(text.len() <= limits::TEXT_BYTES && text.ends_with('…'));
    assert!(matches!(&end.frame, Frame::End { outcome } if outcome.images == images));
}

#[tokio::test]
async fn idle_files_are_closed_and_opened_again() {
    let (_folder, logs) = logs().await;
    append(&logs, run(0), 1, 2).await;
    assert_eq!(lock(&logs.open).len(), 1);
    logs.close_idle(Duration::ZERO);
    assert_eq!(lock(&logs.open).len(), 1, "not before it is synced");
    logs.sync(build()).await.unwrap();
    logs.close_idle(IDLE);
    assert_eq!(lock(&logs.open).len(), 1, "it was used just now");
    let follower = logs.follow(build(), Cursor::default(), true).await.unwrap();
    logs.close_idle(Duration::ZERO);
    assert_eq!(lock(&logs.open).len(), 1, "it has a follower");
    drop(follower);
    let cell = lock(&logs.open).get(&build()).cloned();
    logs.close_idle(Duration::ZERO);
    assert_eq!(lock(&logs.open).len(), 1, "somebody is about to use it");
    drop(cell);
    logs.close_idle(Duration::ZERO);
    assert_eq!(lock(&logs.open).len(), 0);
    assert_eq!(append(&logs, run(0), 3, 1).await, 4);
}

#[tokio::test]
async fn a_removed_log_is_missing() {
    let (_folder, logs) = logs().await;
    logs.create(build()).await.unwrap();
    logs.remove(build()).await.unwrap();
    logs.remove(build()).await.unwrap();
    assert!(matches!(logs.epoch(build()).await, Err(LogError::Missing(_))));
    assert!(lock(&logs.open).is_empty());
    assert!(logs.sizes().unwrap().is_empty());
}

#[tokio::test]
async fn the_keeper_syncs_before_it_ends() {
    let (_folder, logs) = logs().await;
    append(&logs, run(0), 1, 2).await;
    let stop = CancellationToken::new();
    stop.cancel();
    logs.clone().keep(stop).await;
    assert!(!logs.log(build()).await.unwrap().file.is_dirty());
}
