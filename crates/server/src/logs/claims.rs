//! What the lines of an agent must not claim: that the server wrote them.

use std::io::BufRead as _;

use bakery_core::wire::log::Source;
use serde::Deserialize;

/// Longer than any time in a line.
const TIME: usize = 48;
/// Longer than the name of any source.
const NAME: usize = 24;

/// What a block of encoded lines holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BlockLines {
    /// How many lines it has; an unterminated one at its end counts.
    pub count: usize,
    /// Whether one of them names the server as its source.
    pub servers: bool,
}

/// Reads a block once. Its lines are decoded only where they are not spelled as agents spell them.
pub(super) fn read(block: &[u8]) -> BlockLines {
    let mut found = BlockLines::default();
    let mut rest = block;
    while !rest.is_empty() {
        let line = rest;
        // Reading from memory cannot fail.
        let length = rest.skip_until(b'\n').unwrap_or(line.len());
        found.count += 1;
        found.servers |= is_servers(line, length);
    }
    found
}

/// Whether the line of this length at the beginning of `bytes` names the server as its source.
fn is_servers(bytes: &[u8], length: usize) -> bool {
    #[derive(Deserialize)]
    struct Claim {
        src: Source,
    }
    let line = &bytes[..length];
    match plain_source(line) {
        Some(source) => source == Source::Server.as_str().as_bytes(),
        None => serde_json::from_slice::<Claim>(line).is_ok_and(|claim| claim.src == Source::Server),
    }
}

/// The source of a line that begins as every agent writes it, the time and then the source, without escapes.
fn plain_source(line: &[u8]) -> Option<&[u8]> {
    let (_, rest) = plain_text(line.strip_prefix(b"{\"ts\":\"")?, TIME)?;
    let (source, _) = plain_text(rest.strip_prefix(b",\"src\":\"")?, NAME)?;
    Some(source)
}

/// A JSON text up to its closing quote, and what follows it; `None` if it has escapes or is longer than `limit`.
fn plain_text(bytes: &[u8], limit: usize) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(limit).position(|b| matches!(b, b'"' | b'\\'))?;
    (bytes[end] == b'"').then(|| (&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_13_a_line_of_the_server_is_found_however_it_is_spelled() {
        let ts = "\"ts\":\"2026-11-28T10:00:00.000Z\"";
        for line in [
            format!("{{{ts},\"src\":\"server\",\"msg\":\"pushed\"}}"),
            format!("{{{ts}, \"src\":\"server\",\"msg\":\"pushed\"}}"),
            format!("{{\"src\":\"server\",{ts},\"msg\":\"pushed\"}}"),
            format!("{{{ts},\"\\u0073rc\":\"ser\\u0076er\",\"msg\":\"pushed\"}}"),
            format!("{{{ts},\"src\":{{\"server\":null}},\"msg\":\"pushed\"}}"),
            format!(" {{{ts},\"msg\":\"pushed\",\"src\" : \"server\"}}"),
        ] {
            let honest = format!("{{{ts},\"src\":\"kaniko\",\"msg\":\"src server\"}}\n");
            let block = format!("{honest}{line}\n{honest}");
            assert_eq!(read(block.as_bytes()), BlockLines { count: 3, servers: true }, "{line}");
        }
        for line in [
            format!("{{{ts},\"src\":\"kaniko\",\"msg\":\"\\\"src\\\":\\\"server\\\"\"}}"),
            format!("{{{ts},\"src\":\"servers\",\"msg\":\"a source of a later version\"}}"),
            "not JSON: server".to_owned(),
        ] {
            assert_eq!(
                read(format!("{line}\n").as_bytes()),
                BlockLines { count: 1, servers: false },
                "{line}"
            );
        }
        assert_eq!(read(b""), BlockLines::default());
        assert_eq!(read(b"a\nb").count, 2);
    }
}
