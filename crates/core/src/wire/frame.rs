//! Frames as bytes: written one after the other, and read from chunks that are cut anywhere.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::limits;

/// A header that contains the number of bytes that follow it.
pub trait Framed: DeserializeOwned + Serialize {
    /// Bytes of payload.
    fn payload_len(&self) -> usize;
}

/// Bytes that are not frames.
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
/// A frame that is complete within one chunk is not copied; one that was cut is copied once.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The last chunk, without what was already read.
    chunk: Bytes,
    /// The beginning of a frame whose end is yet to come; `chunk` continues it.
    part: Vec<u8>,
    /// Bytes of the header that `part` begins with, and of its whole frame; 0 while the header has no end yet.
    head: usize,
    whole: usize,
}

impl Decoder {
    /// Takes the next chunk. Cheapest where every whole frame was read before.
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
    use crate::names::{BuildId, RunName, TaskId};
    use crate::wire::log::{BlockHeader, Frame, FrameHeader};

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
}
