use super::*;
use proptest::prelude::*;

fn spool(max_bytes: u64) -> (tempfile::TempDir, Spool) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::with_limit(&folder.path().join("spool"), max_bytes).unwrap();
    (folder, spool)
}

fn read_from(spool: &Spool, line: u64, max: usize) -> Vec<String> {
    let mut position = spool.position_of(line).unwrap();
    let mut out = Vec::new();
    while let Some((block, next)) = spool.read(position, max).unwrap() {
        assert_eq!(block.first, position.line);
        assert_eq!(u64::from(block.lines), next.line - position.line);
        if block.payload.is_empty() {
            out.extend((0..block.lines).map(|_| "dropped".to_owned()));
            position = next;
            continue;
        }
        let text = String::from_utf8(block.payload).unwrap();
        assert_eq!(text.lines().count(), block.lines as usize);
        out.extend(text.lines().map(str::to_owned));
        position = next;
    }
    out
}

proptest! {
    #[test]
    fn every_line_can_be_read_again_from_any_number_on(
        lengths in prop::collection::vec(prop::collection::vec(0_usize..3000, 1..8), 1..60),
        from in prop::collection::vec(any::<u64>(), 1..6),
        max in 3100_usize..200_000,
    ) {
        let (_folder, spool) = spool(SPOOL_BYTES);
        let mut lines = Vec::new();
        for batch in &lengths {
            let mut bytes = String::new();
            for length in batch {
                lines.push(format!("{}{}", lines.len() + 1, "x".repeat(*length)));
                bytes.extend([&lines[lines.len() - 1], "\n"]);
            }
            spool.append(bytes.as_bytes(), batch.len() as u64);
            let line = from[0] % lines.len() as u64 + 1;
            prop_assert_eq!(&read_from(&spool, line, max), &lines[usize::try_from(line).unwrap() - 1..]);
        }
        for from in from {
            let line = from % (lines.len() as u64 + 3) + 1;
            let at = usize::try_from(line).unwrap().min(lines.len() + 1) - 1;
            prop_assert_eq!(&read_from(&spool, line, max), &lines[at..]);
        }
    }
}

#[test]
fn lines_beyond_the_limit_are_counted_and_numbered() {
    let (_folder, spool) = spool(100_000);
    for number in 1..=3000 {
        spool.append(format!("{{\"n\":{number},\"pad\":\"{}\"}}\n", "x".repeat(80)).as_bytes(), 1);
    }
    assert_eq!(spool.lines(), 3000);
    let lines = read_from(&spool, 1, 64 << 10);
    assert_eq!(lines.len(), 3000);
    let kept = lines.iter().take_while(|line| line.contains("\"n\"")).count();
    assert!((900..1100).contains(&kept), "{kept}");
    assert!(lines[kept..].iter().all(|line| line == "dropped"));
    for line in [kept as u64, kept as u64 + 1, 2999, 3000] {
        assert_eq!(read_from(&spool, line, 64 << 10), &lines[usize::try_from(line).unwrap() - 1..]);
    }
    assert!(read_from(&spool, 3001, 64 << 10).is_empty());
    assert!(spool.state().bytes <= 100_000);
    let (block, next) = spool.read(spool.position_of(kept as u64 + 1).unwrap(), 1).unwrap().unwrap();
    let all =
        Block { first: kept as u64 + 1, lines: 3000 - u32::try_from(kept).unwrap(), payload: Vec::new() };
    assert_eq!((block, next.line), (all, 3001), "one block covers all dropped lines");
}

#[test]
fn a_full_buffer_is_sent_without_delay_and_a_single_line_is_not() {
    let (_folder, spool) = spool(SPOOL_BYTES);
    let extent = spool.watch();
    spool.append(b"{}\n", 1);
    assert_eq!(*extent.borrow(), Extent { lines: 1, flushed: 0, closed: false });
    spool.append(&[vec![b'x'; FLUSH_BYTES], b"\n".to_vec()].concat(), 1);
    spool.close();
    assert_eq!(*extent.borrow(), Extent { lines: 2, flushed: 2, closed: true });
}
