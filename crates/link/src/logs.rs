//! A build's log as it arrives.

use bakery_core::wire::FRAMES_TYPE;
use bakery_core::wire::log::{Decoder, EPOCH_HEADER, FrameHeader};
use bytes::Bytes;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;

use crate::LinkError;
use crate::door::Door;

/// Frames, in order, as the server sends them, beats included.
#[derive(Debug)]
pub struct LogStream {
    door: Door,
    response: Response,
    decoder: Decoder,
    epoch: u32,
}

impl LogStream {
    pub(crate) fn new(door: Door, response: Response) -> Result<Self, LinkError> {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        if header(CONTENT_TYPE.as_str()) != Some(FRAMES_TYPE) {
            return Err(LinkError::foreign(door.base(), "sends a log that is no stream of frames"));
        }
        let Some(epoch) = header(EPOCH_HEADER).and_then(|text| text.parse().ok()) else {
            return Err(LinkError::foreign(door.base(), "sends a log without its epoch"));
        };
        Ok(Self { door, response, decoder: Decoder::default(), epoch })
    }

    /// The log's epoch now. Where it is not the cursor's own, numbers from the cursor on may have been given twice.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The next frame with its payload; `None` where the server ended the stream between two frames. A stream that is
    /// silent for [`crate::SILENCE`], or ends inside a frame, is an error that a new call may mend.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<(FrameHeader, Bytes)>, LinkError> {
        loop {
            let frame = self.decoder.next_frame::<FrameHeader>();
            let frame = frame.map_err(|error| LinkError::foreign(self.door.base(), error.to_string()))?;
            match frame {
                Some(frame) => return Ok(Some(frame)),
                None => match self.door.chunk(&mut self.response).await? {
                    Some(chunk) => self.decoder.push(chunk),
                    None if self.decoder.is_empty() => return Ok(None),
                    None => return Err(LinkError::cut(self.door.base(), "in the middle of a frame")),
                },
            }
        }
    }
}
