use super::*;
use bakery_core::mask::{MASK, Secrets};
use proptest::prelude::*;

fn masker(secrets: &[&str]) -> Arc<Masker> {
    let mut all = Secrets::default();
    for secret in secrets {
        all.add(secret);
    }
    Arc::new(Masker::new(all).unwrap())
}

fn messages(masker: Arc<Masker>, chunks: &[&[u8]]) -> Vec<(String, bool)> {
    let mut lines = Lines::new(masker);
    let mut out = Vec::new();
    let mut emit = |text: &str, more: bool| out.push((text.to_owned(), more));
    for chunk in chunks {
        lines.push(chunk, &mut emit);
    }
    lines.flush(&mut emit);
    out
}

/// Joins the parts of split lines.
fn joined(messages: &[(String, bool)]) -> Vec<String> {
    let mut out = Vec::new();
    let mut open = String::new();
    for (text, more) in messages {
        open += text;
        if !more {
            out.push(std::mem::take(&mut open));
        }
    }
    assert!(open.is_empty(), "the last message is marked as incomplete");
    out
}

/// Splits `bytes` at the given offsets, in any order.
fn split<'a>(bytes: &'a [u8], offsets: &[usize]) -> Vec<&'a [u8]> {
    let mut offsets: Vec<_> = offsets.iter().map(|offset| offset % (bytes.len() + 1)).collect();
    offsets.extend([0, bytes.len()]);
    offsets.sort_unstable();
    offsets.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

#[test]
fn line_ends_are_those_of_unix_and_windows_and_a_lone_return_is_kept() {
    let got = messages(masker(&[]), &[b"a\nb\r", b"\n\n10%\r20%\r\nlast"]);
    let text: Vec<_> = got.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(text, ["a", "b", "", "10%\r20%", "last"]);
    assert!(got.iter().all(|(_, more)| !more));
}

#[test]
fn invalid_utf8_is_replaced() {
    let got = messages(masker(&[]), &[b"\xff\xfe caf\xc3", b"\xa9 \xc3\n"]);
    assert_eq!(got, [("\u{fffd}\u{fffd} café \u{fffd}".to_owned(), false)]);
}

#[test]
fn every_message_fits_into_a_block_however_it_is_escaped() {
    for byte in [0x1b, b'"', 0xff, b'x', 0xc3] {
        // More control characters than that are not kept.
        let line = vec![byte; if byte == 0x1b { LINE_BYTES } else { 3 * LINE_BYTES }];
        let got = messages(masker(&["hunter2"]), &[&line, b"\n"]);
        for (text, _) in &got {
            assert!(text.len() <= LINE_BYTES && serde_json::to_string(text).unwrap().len() <= BLOCK_BYTES);
        }
        assert_eq!(joined(&got), [String::from_utf8_lossy(&line)]);
    }
}

#[test]
fn an_endless_line_needs_bounded_memory() {
    let mut lines = Lines::new(masker(&["hunter2"]));
    let chunk = vec![b'x'; 64 << 10];
    for _ in 0..200 {
        lines.push(&chunk, &mut |_, more| assert!(more));
        assert!(lines.open.len() <= LINE_BYTES + lines.matcher.longest());
        assert!(lines.open.capacity() <= 4 * LINE_BYTES);
    }
}

#[test]
fn a_long_line_of_control_characters_needs_bounded_memory_and_hides_no_secret() {
    let mut lines = Lines::new(masker(&["hunter2"]));
    let mut out = String::new();
    for byte in b"x hunter2 y" {
        let chunk = [&[*byte], vec![0; 3 * LINE_BYTES].as_slice()].concat();
        for part in chunk.chunks(8 << 10) {
            lines.push(part, &mut |text, _| out += text);
            assert!(lines.open.len() <= LINE_BYTES + lines.matcher.longest());
        }
    }
    lines.push(b"\n", &mut |text, _| out += text);
    let seen = out.replace('\0', "");
    assert_eq!(seen, "x *** y");
}

#[test]
fn add_mask_hides_its_line_and_what_it_names_from_then_on() {
    let masker = masker(&[]);
    let (mut script, mut kaniko) =
        (Lines::with_commands(Arc::clone(&masker)), Lines::new(Arc::clone(&masker)));
    let mut out = Vec::new();
    let mut emit = |text: &str, _: bool| out.push(text.to_owned());
    script.push(b"before t0psecret\n  ::add-mask::t0psecret\nafter t0psecret\n::add-m", &mut emit);
    script
        .push(b"ask::two%0Alonger-line%25\nlonger-line% and echo ::add-mask::x\n::add-mask::ab\n", &mut emit);
    kaniko.push(b"t0psecret dDBwc2VjcmV0\n::add-mask::other\nother\n", &mut emit);
    let long = [b"::add-mask::".to_vec(), vec![b'x'; 3 * LINE_BYTES], b"\nend\n".to_vec()].concat();
    long.chunks(8 << 10).for_each(|part| script.push(part, &mut emit));
    assert_eq!(
        out,
        [
            "before t0psecret",
            "after ***",
            "*** and echo ::add-mask::x",
            "::add-mask:: has no effect on this text: it is a common word or has fewer than 4 characters",
            "*** ***",
            "::add-mask::other",
            "other",
            "::add-mask:: has no effect on this text: it has more than 65536 bytes",
            "end"
        ]
    );
    assert_eq!(masker.text("t0psecret"), "***");
    let many: Vec<_> = (0..150).map(|nth| format!("::add-mask::secret-{nth}\n")).collect();
    let mut refused = 0;
    let mut script = Lines::with_commands(self::masker(&[]));
    script.push(many.concat().as_bytes(), &mut |text, _| {
        assert!(text.starts_with("::add-mask:: has no effect"), "{text}");
        refused += 1;
    });
    assert_eq!(refused, 50);
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_the_chunks(text in "([a-zö\r \n]|hunter2|s3cr3t hunter2|hunter)*", offsets in prop::collection::vec(any::<usize>(), 0..12)) {
        let masker = masker(&["hunter2", "s3cr3t hunter"]);
        let whole = messages(Arc::clone(&masker), &[text.as_bytes()]);
        prop_assert_eq!(&messages(Arc::clone(&masker), &split(text.as_bytes(), &offsets)), &whole);
        for (message, _) in &whole {
            prop_assert!(!message.contains("hunter2") && !message.contains("s3cr3t hunter"));
        }
        let plain: Vec<_> = text.strip_suffix('\n').unwrap_or(&text).split('\n').collect();
        if !text.is_empty() {
            prop_assert_eq!(whole.len(), plain.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_secret_is_masked_wherever_a_long_line_is_split(
        distances in prop::collection::vec(-24_isize..24, 1..6),
        doubled in any::<bool>(),
        offsets in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let secret = "s3cr3t-s3cr3t-s3cr3t-";
        let mut line = Vec::new();
        for (nth, distance) in (1..).zip(&distances) {
            // Near each offset at which a line of this length is split.
            let at = (nth * LINE_BYTES).saturating_add_signed(*distance);
            line.resize(at.max(line.len()), b'.');
            line.extend_from_slice(secret.as_bytes());
            if doubled {
                line.extend_from_slice(b"s3cr3t-");
            }
        }
        line.extend_from_slice(b"..\n");
        let got = messages(masker(&[secret]), &split(&line, &offsets));
        let text = joined(&got);
        prop_assert_eq!(text.len(), 1);
        prop_assert!(!text[0].contains("s3c") && text[0].contains(MASK));
        let dots = memchr::memchr_iter(b'.', &line).count();
        prop_assert_eq!(memchr::memchr_iter(b'.', text[0].as_bytes()).count(), dots);
    }
}
