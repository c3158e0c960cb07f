//! What the lines of an agent must be: JSON objects with exactly one source, which is not the server. A second `src` in a
//! line, or a second object, is the source that some reader of the log takes.

use std::fmt;
use std::io::BufRead as _;

use bakery_core::wire::log::Source;
use memchr::memchr_iter;
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
    let mut found = BlockLines::default();
    let mut rest = block;
    while !rest.is_empty() {
        let line = rest;
        // Reading from memory cannot fail.
        let length = rest.skip_until(b'\n').unwrap_or(line.len());
        found.count += 1;
        found.forged |= !is_agents(&line[..length]);
    }
    found
}

/// Whether a line has exactly one source, which is not the server.
fn is_agents(line: &[u8]) -> bool {
    match plain_source(line) {
        Some(source) => source != Source::Server.as_str().as_bytes(),
        None => is_agents_json(line),
    }
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

/// The source of a line that is spelled as every agent spells one without a hint: time, source, level and message, in this
/// order and each once.
fn plain_source(line: &[u8]) -> Option<&[u8]> {
    let (_, rest) = plain_text(line.strip_prefix(b"{\"ts\":\"")?, TIME)?;
    let (source, rest) = plain_text(rest.strip_prefix(b",\"src\":\"")?, NAME)?;
    let (_, rest) = plain_text(rest.strip_prefix(b",\"lvl\":\"")?, NAME)?;
    let rest = rest.strip_prefix(b",\"msg\":\"")?.strip_suffix(b"}\n")?;
    let message = rest.strip_suffix(b",\"more\":true").unwrap_or(rest).strip_suffix(b"\"")?;
    is_one_text(message).then_some(source)
}

/// A JSON text up to its closing quote, and what follows it; `None` if it has escapes or is longer than `limit`.
fn plain_text(bytes: &[u8], limit: usize) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(limit).position(|b| matches!(b, b'"' | b'\\'))?;
    (bytes[end] == b'"').then(|| (&bytes[..end], &bytes[end + 1..]))
}

/// Whether the quotes of a JSON text are around these bytes: each one inside is escaped, and the one after them is not.
fn is_one_text(inside: &[u8]) -> bool {
    let is_escaped = |at: usize| inside[..at].iter().rev().take_while(|&&b| b == b'\\').count() % 2 == 1;
    memchr_iter(b'"', inside).all(is_escaped) && !is_escaped(inside.len())
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
            "not JSON".to_owned(),
            String::new(),
        ] {
            let honest = format!("{{{ts},\"src\":\"kaniko\",\"msg\":\"src server\"}}\n");
            let block = format!("{honest}{line}\n{honest}");
            assert_eq!(read(block.as_bytes()), BlockLines { count: 3, forged: true }, "{line}");
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
