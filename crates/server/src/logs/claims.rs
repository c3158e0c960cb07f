//! What the lines of an agent must be: JSON objects with exactly one source, which is not the server. A second `src` in a
//! line, or a second object, is the source that some reader of the log takes.

use std::fmt;
use std::io::BufRead as _;

use bakery_core::wire::log::Source;
use memchr::memchr3;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Longer than any time in a line.
const TIME: usize = 48;
/// Longer than the name of any source and of any level.
const NAME: usize = 24;

/// What a block of encoded lines holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BlockLines {
    /// How many lines it has; an unterminated one at its end counts.
    pub count: usize,
    /// Whether one of them is not a line with one source, or names the server as its source.
    pub forged: bool,
}

/// Reads a block once. Its lines are decoded only where they are not spelled as agents spell them.
pub(super) fn read(block: &[u8]) -> BlockLines {
    let (mut found, mut rest, mut frame) = (BlockLines::default(), block, &b""[..]);
    while !rest.is_empty() {
        found.count += 1;
        if let Some(length) = plain_line(rest, &mut frame) {
            rest = &rest[length..];
            continue;
        }
        let line = rest;
        // Reading from memory cannot fail.
        let length = rest.skip_until(b'\n').unwrap_or(line.len());
        found.forged |= !is_agents_json(&line[..length]);
    }
    found
}

/// The length of the line at the beginning of `block`, if it is spelled as every agent spells one without a hint (time,
/// source, level and message, in this order and each once) and its source is not the server.
///
/// `frame` is what stands between time and message. Most lines have that of the line before, so it is compared before it is
/// read.
fn plain_line<'b>(block: &'b [u8], frame: &mut &'b [u8]) -> Option<usize> {
    let (_, rest) = plain_text(block.strip_prefix(b"{\"ts\":\"")?, TIME)?;
    let message = match rest.strip_prefix(*frame) {
        Some(message) if !frame.is_empty() => message,
        _ => {
            let message = after_frame(rest)?;
            *frame = &rest[..rest.len() - message.len()];
            message
        }
    };
    let rest = &message[end_of_text(message)? + 1..];
    let rest = rest.strip_prefix(b",\"more\":true").unwrap_or(rest).strip_prefix(b"}\n")?;
    Some(block.len() - rest.len())
}

/// What follows the source, which is not the server, and the level: the message.
fn after_frame(rest: &[u8]) -> Option<&[u8]> {
    let (source, rest) = plain_text(rest.strip_prefix(b",\"src\":\"")?, NAME)?;
    let (_, rest) = plain_text(rest.strip_prefix(b",\"lvl\":\"")?, NAME)?;
    let message = rest.strip_prefix(b",\"msg\":\"")?;
    (source != Source::Server.as_str().as_bytes()).then_some(message)
}

/// The same for a line that is spelled in any way.
fn is_agents_json(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Claim {
        src: Source,
    }
    let sources = serde_json::from_slice(line).map_or(0, |SourceCount(sources)| sources);
    sources == 1 && serde_json::from_slice::<Claim>(line).is_ok_and(|claim| claim.src != Source::Server)
}

/// How often a JSON object has the key `src`, however it is escaped.
struct SourceCount(usize);

impl<'de> Deserialize<'de> for SourceCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = SourceCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a log line")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SourceCount, A::Error> {
                let mut sources = 0;
                while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    sources += usize::from(key == "src");
                }
                Ok(SourceCount(sources))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// A JSON text up to its closing quote, and what follows it; `None` if it has escapes or is longer than `limit`.
fn plain_text(bytes: &[u8], limit: usize) -> Option<(&[u8], &[u8])> {
    let end = memchr3(b'"', b'\\', b'\n', &bytes[..limit.min(bytes.len())])?;
    (bytes[end] == b'"').then(|| (&bytes[..end], &bytes[end + 1..]))
}

/// Where a JSON text on one line ends: at its first quote that is not escaped.
fn end_of_text(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr3(b'"', b'\\', b'\n', bytes.get(from..)?)?;
        match bytes[at] {
            b'"' => return Some(at),
            b'\\' if bytes.get(at + 1) != Some(&b'\n') => from = at + 2,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_13_a_line_has_one_source_that_is_not_the_server_however_it_is_spelled() {
        let ts = "\"ts\":\"2026-11-28T10:00:00.000Z\"";
        for line in [
            format!("{{{ts},\"src\":\"server\",\"msg\":\"pushed\"}}"),
            format!("{{{ts}, \"src\":\"server\",\"msg\":\"pushed\"}}"),
            format!("{{\"src\":\"server\",{ts},\"msg\":\"pushed\"}}"),
            format!("{{{ts},\"\\u0073rc\":\"ser\\u0076er\",\"msg\":\"pushed\"}}"),
            format!("{{{ts},\"src\":{{\"server\":null}},\"msg\":\"pushed\"}}"),
            format!(" {{{ts},\"msg\":\"pushed\",\"src\" : \"server\"}}"),
            format!("{{{ts},\"src\":\"server\",\"lvl\":\"info\",\"msg\":\"pushed\"}}"),
            format!("{{{ts},\"src\":\"kaniko\",\"lvl\":\"info\",\"msg\":\"pushed\",\"src\":\"server\"}}"),
            format!("{{{ts},\"src\":\"server\",\"lvl\":\"info\",\"msg\":\"pushed\",\"src\":\"kaniko\"}}"),
            format!("{{{ts},\"src\":\"kaniko\",\"lvl\":\"info\",\"msg\":\"a\\\\\",\"src\":\"server\"}}"),
            format!("{{{ts},\"src\":\"kaniko\",\"src\":\"server\",\"msg\":\"pushed\"}}"),
            format!("{{{ts},\"src\":\"kaniko\",\"msg\":\"pushed\",\"\\u0073rc\":\"server\"}}"),
            format!("{{{ts},\"src\":1e999,\"msg\":\"pushed\",\"src\":\"server\"}}"),
            format!("{{{ts},\"src\":\"kaniko\",\"lvl\":\"info\",\"msg\":\"\"}}{{\"src\":\"server\"}}"),
            format!("{{{ts},\"src\":\"server\",\"msg\":\"pushed\"}}{{}}"),
            format!("{{{ts},\"msg\":\"pushed\"}}"),
            format!("{{{ts},\"src\":\"kaniko\",\"lvl\":\"info\",\"msg\":\"unterminated"),
            format!("{{{ts},\"src\":\"kaniko\",\"lvl\":\"info\",\"msg\":\"unterminated\\"),
            "{\"ts\":\"".to_owned(),
            "not JSON".to_owned(),
            String::new(),
        ] {
            for honest in ["\"lvl\":\"info\",", ""] {
                let honest = format!("{{{ts},\"src\":\"kaniko\",{honest}\"msg\":\"src server\"}}\n");
                let block = format!("{honest}{line}\n{honest}");
                assert_eq!(read(block.as_bytes()), BlockLines { count: 3, forged: true }, "{line}");
            }
        }
        for line in [
            format!("{{{ts},\"src\":\"kaniko\",\"msg\":\"\\\"src\\\":\\\"server\\\"\"}}"),
            format!("{{{ts},\"src\":\"servers\",\"msg\":\"a source of a later version\"}}"),
            format!(
                "{{{ts},\"src\":\"kaniko\",\"lvl\":\"info\",\"msg\":\"\\\"src\\\":\\\"server\\\" \\\\\"}}"
            ),
            format!("{{{ts},\"src\":\"kaniko\",\"lvl\":\"info\",\"msg\":\"src\",\"more\":true}}"),
            format!("{{{ts},\"src\":\"agent\",\"lvl\":\"warn\",\"msg\":\"a\",\"hint\":\"\\\"src\\\"\"}}"),
        ] {
            assert_eq!(
                read(format!("{line}\n").as_bytes()),
                BlockLines { count: 1, forged: false },
                "{line}"
            );
        }
        assert_eq!(read(b""), BlockLines::default());
        assert_eq!(read(b"a\nb").count, 2);
    }
}
