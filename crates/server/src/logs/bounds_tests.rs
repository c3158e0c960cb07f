//! Tests: what is not stored because of a run's limit, its agent's or the disk's.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tests::{append, block, build, end, lines_text, logs, read, run, text};
use super::*;
use crate::disk::DiskSpace;

#[tokio::test]
async fn beyond_its_bound_a_run_is_counted_not_kept() {
    let (folder, logs) = logs().await;
    let (header, payload) = block(run(0), 1, 10);
    let logs = logs.with_bound((payload.len() + writer::HEADER_ROOM) as u64);
    logs.append(build(), header, payload.clone()).await.unwrap();
    assert_eq!(append(&logs, run(0), 11, 3).await, 14);
    assert_eq!(append(&logs, run(0), 14, 7).await, 21);
    assert_eq!(append(&logs, run(1), 1, 2).await, 3, "others are not touched");
    logs.sync(build()).await.unwrap();
    let gaps = |frames: &[(FrameHeader, Vec<u8>)]| -> Vec<u64> {
        let gap = |h: &FrameHeader| if let Frame::Gap { lines, .. } = h.frame { Some(lines) } else { None };
        frames.iter().filter_map(|(h, _)| gap(h)).collect()
    };
    let frames = read(&logs, Cursor::default(), false).await;
    assert_eq!(gaps(&frames), [3, 7]);
    assert_eq!(text(&frames), lines_text(run(0), 1..=10) + &lines_text(run(1), 1..=2));
    let again = Logs::open(folder.path()).unwrap();
    assert_eq!(again.next(run(0)).await.unwrap(), 21);
    append(&again, run(0), 21, 1).await;
    again.sync(build()).await.unwrap();
    assert_eq!(gaps(&read(&again, Cursor::default(), false).await), [3, 7, 1], "full stays full");
}

#[tokio::test]
async fn lines_that_an_agent_has_not_kept_are_counted() {
    let (folder, logs) = logs().await;
    let dropped = |first, lines| (BlockHeader { run: run(0), first, lines, len: 0 }, Bytes::new());
    let send = async |logs: &Logs, (header, payload)| logs.append(build(), header, payload).await.unwrap();
    assert_eq!(send(&logs, dropped(3, 5)).await, 1, "a hole before it");
    append(&logs, run(0), 1, 2).await;
    assert_eq!(send(&logs, dropped(3, 1_000_000)).await, 1_000_003);
    assert_eq!(send(&logs, dropped(3, 1_000_005)).await, 1_000_008, "what is known already counts once");
    logs.sync(build()).await.unwrap();
    let gaps = async |logs: &Logs| -> Vec<u64> {
        let frames = logs.frames(build()).await.unwrap().into_iter();
        frames
            .filter_map(|h| if let Frame::Gap { lines, .. } = h.frame { Some(lines) } else { None })
            .collect()
    };
    assert_eq!(gaps(&logs).await, [1_000_000, 5]);
    assert_eq!(text(&read(&logs, Cursor::default(), false).await), lines_text(run(0), 1..=2));
    assert_eq!(Logs::open(folder.path()).unwrap().next(run(0)).await.unwrap(), 1_000_008);
}

#[tokio::test]
async fn an_agent_that_only_counts_lines_fills_no_disk() {
    let (folder, logs) = logs().await;
    let lines = 1_000_000;
    let count = async |logs: &Logs, from: u64, to: u64| {
        let gap = |nth| BlockHeader { run: run(0), first: 1 + nth * u64::from(lines), lines, len: 0 };
        let blocks = (from..to).map(|nth| (gap(nth), Bytes::new())).collect();
        logs.append_all(build(), run(0), blocks).await.unwrap()
    };
    assert_eq!(count(&logs, 0, 5_000).await, 1 + 5_000 * u64::from(lines));
    assert_eq!(logs.frames(build()).await.unwrap().len(), 13, "1, 1, 2, 4, .. 2048 blocks");
    // The counted lines are known after opening again.
    let again = Logs::open(folder.path()).unwrap();
    let next = again.next(run(0)).await.unwrap();
    assert_eq!(next, 1 + 4_096 * u64::from(lines));
    count(&again, 4_096, 8_191).await;
    assert_eq!(again.frames(build()).await.unwrap().len(), 13);
    count(&again, 8_191, 8_192).await;
    assert_eq!(again.frames(build()).await.unwrap().len(), 14);
}

#[tokio::test]
async fn probe_20_on_a_full_disk_lines_wait_at_their_agents_and_states_are_written() {
    let (_folder, logs) = logs().await;
    let free = Arc::new(AtomicU64::new(limits::LEDGER_RESERVE_BYTES + 1));
    let seen = Arc::clone(&free);
    let logs = logs.on_disk(DataDisk::measured_by(move || {
        Ok(DiskSpace { total: 1 << 40, free: seen.load(Ordering::Relaxed) })
    }));
    let send = async |first, lines| {
        let (header, payload) = block(run(0), first, lines);
        logs.append(build(), header, payload).await
    };
    assert!(matches!(send(1, 2).await, Err(LogError::DiskFull(_))));
    assert_eq!(logs.next(run(0)).await.unwrap(), 1, "nothing is acknowledged");
    free.store(1 << 30, Ordering::Relaxed);
    assert_eq!(send(1, 2).await.unwrap(), 3);
    free.store(0, Ordering::Relaxed);
    assert_eq!(send(1, 2).await.unwrap(), 3, "what is there needs no room");
    assert!(matches!(send(3, 1).await, Err(LogError::DiskFull(_))));
    logs.frame(build(), end()).await.unwrap();
    let frames = read(&logs, Cursor::default(), false).await;
    assert_eq!(text(&frames), lines_text(run(0), 1..=2));
    assert!(matches!(frames.last().unwrap().0.frame, Frame::End { .. }));
}
