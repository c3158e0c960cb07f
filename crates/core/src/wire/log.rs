//! Logs on the wire and on disk: frames, each a header line and a payload.
//!
//! A frame is one JSON header line, ended by `\n`, and then exactly `len` bytes of payload. The payload of `lines` and
//! `note` frames is NDJSON, one [`LogLine`] a line, encoded once by its writer and never decoded on the way. The same
//! bytes lie in the server's log file and go to followers.
//!
//! Inside one build every line, and every frame without lines, has a number of its own (`seq`, from 0): the order of
//! the log. A cursor names the next number that a follower wants.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits;
use crate::names::{BadName, RunName};
use crate::reason::Reason;
use crate::wire::build::{BuildOutcome, PublishState, PublishView, TaskPhase};

/// One line of log as its writer encodes it. Short keys: there are many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written, UTC, to the millisecond.
    pub ts: Timestamp,
    /// Who wrote it.
    pub src: Source,
    /// How loud.
    #[serde(default)]
    pub lvl: Level,
    /// The text without its line end; colours of the build are kept.
    pub msg: String,
    /// True for every part but the last of a line that was longer than [`limits::LINE_BYTES`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The server.
    Server,
    /// The agent itself.
    Agent,
    /// The pre-script.
    PreScript,
    /// Kaniko and what runs in it.
    Kaniko,
    /// The post-script.
    PostScript,
    /// A writer that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Source {
    /// The word on the wire and in JSON output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
            Self::PreScript => "pre-script",
            Self::Kaniko => "kaniko",
            Self::PostScript => "post-script",
            Self::Unknown => "unknown",
        }
    }
}

/// How loud a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Ordinary.
    #[default]
    Info,
    /// Worth reading.
    Warn,
    /// Why it failed.
    Error,
    /// A loudness that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Header of one block of a log segment (agent to server). Lines of a run count from 1.
///
/// A block without a payload tells of lines that their writer has not kept: they have numbers and nothing else, and
/// followers hear of them as [`Frame::Gap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHeader {
    /// The run; must be the one of the route.
    pub run: RunName,
    /// Number of the first line.
    pub first: u64,
    /// Lines in the payload.
    pub lines: u32,
    /// Bytes of the payload.
    pub len: u32,
}

impl BlockHeader {
    /// True where the lines are only counted.
    pub const fn is_gap(&self) -> bool {
        self.len == 0
    }
}

/// Header of one frame of a build's log (server's file, server to follower).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameHeader {
    /// Bytes of the payload that follows the header line; a reader that does not know `kind` skips them.
    #[serde(default)]
    pub len: u32,
    /// Number in the build's order: of the first line, or of the frame itself. `beat` frames have that of the next.
    pub seq: u64,
    /// What it is.
    #[serde(flatten)]
    pub frame: Frame,
}

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Frame {
    /// Lines of an agent; the payload is the agent's own bytes.
    Lines {
        /// The run.
        run: RunName,
        /// Number of the first line within the run, from 1.
        first: u64,
        /// Lines in the payload.
        lines: u32,
    },
    /// Lines of the server about a run or (`None`) about the whole build.
    Note {
        /// The run that it is about.
        run: Option<RunName>,
        /// Lines in the payload.
        lines: u32,
    },
    /// A task has changed its phase.
    State {
        /// The run.
        run: RunName,
        /// Its new phase.
        phase: TaskPhase,
        /// Why, where it is not plain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
        /// The same in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// A destination has been published, or has failed to be.
    Published {
        /// What and how.
        publish: PublishView,
    },
    /// Lines that were dropped because a task's log is full.
    Gap {
        /// The run.
        run: RunName,
        /// How many lines, as far as is known when the frame is written.
        lines: u64,
    },
    /// Nothing new, still here. Never stored.
    Beat,
    /// Nothing will follow.
    End {
        /// How the build ended.
        outcome: BuildOutcome,
    },
    /// A frame that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Frame {
    /// The frame with its texts and images cut to their limits, so that its header fits [`limits::HEADER_BYTES`].
    #[must_use]
    pub fn bounded(mut self) -> Self {
        match &mut self {
            Self::State { text: Some(text), .. } => *text = limits::clip(std::mem::take(text)),
            Self::Published { publish: PublishView { state: PublishState::Failed { text, .. }, .. } } => {
                *text = limits::clip(std::mem::take(text));
            }
            Self::End { outcome } => {
                outcome.text = outcome.text.take().map(limits::clip);
                outcome.images.truncate(limits::TASKS);
            }
            _ => {}
        }
        self
    }

    /// How many numbers of the build's order the frame takes.
    pub fn width(&self) -> u64 {
        match self {
            Self::Lines { lines, .. } | Self::Note { lines, .. } => u64::from(*lines),
            Self::Beat => 0,
            _ => 1,
        }
    }
}

/// A place in a build's log: `epoch:seq`. The epoch goes up when a restart of the server cuts a torn tail, so that a
/// number that was given twice can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The log's epoch.
    pub epoch: u32,
    /// Number of the next line or frame wanted.
    pub seq: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let parse = || {
            let (epoch, seq) = text.split_once(':')?;
            Some(Self { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
        };
        parse().ok_or_else(|| BadName { text: text.to_owned(), expected: "a cursor (epoch:seq)" })
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The response header that carries the log's current epoch.
pub const EPOCH_HEADER: &str = "bakery-epoch";

/// A header that says how many bytes follow it.
pub trait Framed: DeserializeOwned + Serialize {
    /// Bytes of payload.
    fn payload_len(&self) -> usize;
}

impl Framed for BlockHeader {
    fn payload_len(&self) -> usize {
        self.len as usize
    }
}

impl Framed for FrameHeader {
    fn payload_len(&self) -> usize {
        self.len as usize
    }
}

/// Bytes that are no frames.
#[derive(Debug, Error)]
pub enum FrameError {
    /// A header is longer than [`limits::HEADER_BYTES`].
    #[error("a frame header is longer than {} bytes", limits::HEADER_BYTES)]
    LongHeader,
    /// A payload is longer than [`limits::BLOCK_BYTES`].
    #[error("a frame's payload of {0} bytes is longer than {max} bytes", max = limits::BLOCK_BYTES)]
    LongPayload(usize),
    /// A header is not what was expected.
    #[error("a frame header cannot be read")]
    Header(#[source] serde_json::Error),
}

/// Appends one frame to `out`. The caller has put the payload's length into the header.
pub fn encode<H: Framed>(header: &H, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert_eq!(header.payload_len(), payload.len());
    encode_header(header, out);
    out.extend_from_slice(payload);
}

/// Appends a frame's header to `out`; its payload is to follow.
pub fn encode_header<H: Framed>(header: &H, out: &mut Vec<u8>) {
    // Serialising our own plain structs into memory cannot fail; a reader would reject the frame if it did.
    if serde_json::to_writer(&mut *out, header).is_ok() {
        out.push(b'\n');
    }
}

/// Turns chunks of bytes, cut anywhere, back into frames. Holds at most one frame and one chunk.
///
/// A frame that lies whole in one chunk is not copied; one that was cut is put together once.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The last chunk, without what was taken of it.
    chunk: Bytes,
    /// The beginning of a frame whose end is yet to come; `chunk` goes on behind it.
    part: Vec<u8>,
    /// Bytes of the header that `part` begins with, and of its whole frame; 0 while the header has no end yet.
    head: usize,
    whole: usize,
}

impl Decoder {
    /// Takes the next chunk. Cheapest where every whole frame was taken out before.
    pub fn push(&mut self, chunk: Bytes) {
        self.chunk = if self.chunk.is_empty() { chunk } else { [&self.chunk[..], &chunk].concat().into() };
    }

    /// True between frames: a stream that ends elsewhere was cut.
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty() && self.part.is_empty()
    }

    /// The next whole frame, if one is there. After an error the stream cannot be read any further.
    pub fn next_frame<H: Framed>(&mut self) -> Result<Option<(H, Bytes)>, FrameError> {
        if self.head == 0 {
            let Some(end) = self.chunk.iter().position(|&b| b == b'\n') else {
                self.part.extend_from_slice(&std::mem::take(&mut self.chunk));
                let long = self.part.len() > limits::HEADER_BYTES;
                return if long { Err(FrameError::LongHeader) } else { Ok(None) };
            };
            let head = self.part.len() + end + 1;
            let header: H = if self.part.is_empty() {
                read_header(&self.chunk[..head])?
            } else {
                self.part.extend_from_slice(&self.chunk.split_to(end + 1));
                read_header(&self.part)?
            };
            let whole = head + header.payload_len();
            if self.part.is_empty() && self.chunk.len() >= whole {
                let mut frame = self.chunk.split_to(whole);
                return Ok(Some((header, frame.split_off(head))));
            }
            self.part.reserve_exact(whole - self.part.len());
            (self.head, self.whole) = (head, whole);
        }
        let missing = self.whole - self.part.len();
        self.part.extend_from_slice(&self.chunk.split_to(missing.min(self.chunk.len())));
        if self.part.len() < self.whole {
            return Ok(None);
        }
        let header = read_header(&self.part[..self.head])?;
        let mut frame = Bytes::from(std::mem::take(&mut self.part));
        self.whole = 0;
        Ok(Some((header, frame.split_off(std::mem::take(&mut self.head)))))
    }
}

fn read_header<H: Framed>(line: &[u8]) -> Result<H, FrameError> {
    if line.len() > limits::HEADER_BYTES + 1 {
        return Err(FrameError::LongHeader);
    }
    let header: H = serde_json::from_slice(line).map_err(FrameError::Header)?;
    let len = header.payload_len();
    if len > limits::BLOCK_BYTES { Err(FrameError::LongPayload(len)) } else { Ok(header) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{BuildId, TaskId};

    fn run() -> RunName {
        RunName { task: TaskId { build: BuildId::new(1, 2), index: 0 }, attempt: 1 }
    }

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = Vec::new();
        let frame = |seq, frame, len| FrameHeader { len, seq, frame };
        encode(&frame(0, Frame::Lines { run: run(), first: 1, lines: 2 }, 6), b"{}\n{}\n", &mut bytes);
        encode(&frame(2, Frame::Beat, 0), b"", &mut bytes);
        encode(&frame(2, Frame::Gap { run: run(), lines: 7 }, 0), b"", &mut bytes);
        for size in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(size) {
                decoder.push(Bytes::copy_from_slice(chunk));
                while let Some((header, payload)) = decoder.next_frame::<FrameHeader>().unwrap() {
                    seen.push((header.seq, header.frame.width(), payload.len()));
                }
            }
            assert_eq!(seen, [(0, 2, 6), (2, 0, 0), (2, 1, 0)]);
            assert!(decoder.is_empty());
        }
    }

    #[test]
    fn a_newer_servers_frame_is_skipped_with_its_payload() {
        let mut decoder = Decoder::default();
        decoder.push(Bytes::from_static(
            b"{\"kind\":\"picture\",\"seq\":4,\"len\":3,\"w\":1}\nabc{\"kind\":\"beat\",\"seq\":5}\n",
        ));
        let (header, payload) = decoder.next_frame::<FrameHeader>().unwrap().unwrap();
        assert_eq!((header.frame, payload), (Frame::Unknown, Bytes::from_static(b"abc")));
        assert_eq!(decoder.next_frame::<FrameHeader>().unwrap().unwrap().0.frame, Frame::Beat);
    }

    #[test]
    fn floods_without_a_line_end_are_refused() {
        let mut decoder = Decoder::default();
        decoder.push(vec![b'x'; limits::HEADER_BYTES + 1].into());
        assert!(matches!(decoder.next_frame::<BlockHeader>(), Err(FrameError::LongHeader)));
    }

    #[test]
    fn cursors_are_text() {
        let cursor = Cursor { epoch: 3, seq: 99 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert!("3".parse::<Cursor>().is_err());
    }
}
