//! Tests: a server killed during a write, after which the file may end anywhere.

use bakery_core::wire::build::TaskPhase;
use proptest::prelude::*;
use tempfile::TempDir;

use super::tests::{block, build, end, read, run};
use super::*;

fn state(index: u16) -> Frame {
    Frame::State { run: run(index), phase: TaskPhase::Running, reason: None, text: None, hint: None }
}

/// A log of a few frames; returns its bytes and the offsets between frames.
async fn sample(folder: &Path, lines: &[u32]) -> (Vec<u8>, Vec<usize>) {
    let logs = Logs::open(folder).unwrap();
    logs.create(build()).await.unwrap();
    let mut seams = vec![0];
    let mut next = 1;
    for (i, count) in lines.iter().enumerate() {
        if i % 3 == 2 {
            logs.frame(build(), state(0)).await.unwrap();
        } else {
            let (header, payload) = block(run(0), next, *count);
            next = logs.append(build(), header, payload).await.unwrap();
        }
        seams.push(usize::try_from(logs.sizes().unwrap()[&build()]).unwrap());
    }
    (std::fs::read(folder.join(format!("{}.log", build()))).unwrap(), seams)
}

async fn reopen_after_a_cut(lines: &[u32], cut: prop::sample::Index) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let (bytes, seams) = sample(folder.path(), lines).await;
    let cut = cut.index(bytes.len() + 1);
    let path = folder.path().join(format!("{}.log", build()));
    std::fs::write(&path, &bytes[..cut]).unwrap();

    let whole = *seams.iter().rfind(|seam| **seam <= cut).unwrap();
    let logs = Logs::open(folder.path()).unwrap();
    let epoch = logs.epoch(build()).await.unwrap();
    prop_assert_eq!(epoch, u32::from(whole != cut), "the epoch goes up if and only if the end was torn");
    prop_assert_eq!(&std::fs::read(&path).unwrap(), &bytes[..whole], "what stands is a prefix of frames");

    // The agent sends on from what the server wants.
    let next = logs.next(run(0)).await.unwrap();
    let (header, payload) = block(run(0), next, 4);
    prop_assert_eq!(logs.append(build(), header, payload).await.unwrap(), next + 4);
    logs.frame(build(), end()).await.unwrap();
    let frames = read(&logs, Cursor::default(), true).await;
    let (mut seq, mut line) = (0, 1);
    for (header, _) in &frames {
        prop_assert_eq!(header.seq, seq);
        seq += header.frame.width();
        if let Frame::Lines { first, lines, .. } = header.frame {
            prop_assert_eq!(first, line);
            line += u64::from(lines);
        }
    }
    prop_assert_eq!(line, next + 4);

    // Opened once more, nothing is torn and the epoch stays.
    let again = Logs::open(folder.path()).unwrap();
    prop_assert_eq!(again.epoch(build()).await.unwrap(), epoch);
    prop_assert_eq!(read(&again, Cursor::default(), true).await, frames);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_that_is_cut_anywhere_can_be_continued(
        lines in prop::collection::vec(1u32..40, 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(reopen_after_a_cut(&lines, cut))?;
    }
}

#[tokio::test]
async fn a_cursor_of_an_older_epoch_starts_at_the_first_renumbered_line() {
    let folder = TempDir::new().unwrap();
    let (bytes, seams) = sample(folder.path(), &[10, 10]).await;
    let path = folder.path().join(format!("{}.log", build()));
    std::fs::write(&path, &bytes[..seams[1] + 5]).unwrap();
    let logs = Logs::open(folder.path()).unwrap();
    let (header, payload) = block(run(1), 1, 10);
    logs.append(build(), header, payload).await.unwrap();
    // It had seen numbers 10 to 19 of epoch 0: they are others now.
    let seen = read(&logs, Cursor { epoch: 0, seq: 20 }, false).await;
    assert_eq!(seen.iter().map(|(h, _)| h.seq).collect::<Vec<_>>(), [10]);
    assert!(read(&logs, Cursor { epoch: 1, seq: 20 }, false).await.is_empty());
    assert_eq!(read(&logs, Cursor { epoch: 0, seq: 3 }, false).await.len(), 2);
}

#[tokio::test]
async fn garbage_at_the_end_is_not_a_frame() {
    let folder = TempDir::new().unwrap();
    let (bytes, _) = sample(folder.path(), &[10]).await;
    let path = folder.path().join(format!("{}.log", build()));
    let wrong_number = "{\"len\":0,\"seq\":99,\"kind\":\"gap\",\"run\":\"RUN\",\"lines\":1}\n"
        .replace("RUN", &run(0).to_string());
    let wrong_count =
        "{\"len\":4,\"seq\":10,\"kind\":\"lines\",\"run\":\"RUN\",\"first\":11,\"lines\":2}\nab\n\n"
            .replace("RUN", &run(0).to_string())
            .replace("ab\n\n", "abc\n");
    for garbage in [vec![0; 5000], vec![b'x'; 40_000], wrong_number.into_bytes(), wrong_count.into_bytes()] {
        std::fs::write(&path, [bytes.as_slice(), &garbage].concat()).unwrap();
        let logs = Logs::open(folder.path()).unwrap();
        assert_eq!(logs.next(run(0)).await.unwrap(), 11);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
