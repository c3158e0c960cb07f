//! A build's log as it arrives.

use bakery_core::wire::FRAMES_TYPE;
use bakery_core::wire::log::{Decoder, EPOCH_HEADER, FrameHeader};
use bytes::Bytes;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;

use crate::LinkError;
use crate::http::HttpClient;

/// The frames of a log in order, heartbeats included.
#[derive(Debug)]
pub struct LogStream {
    http: HttpClient,
    response: Response,
    decoder: Decoder,
    epoch: u32,
}

impl LogStream {
    pub(crate) fn new(http: HttpClient, response: Response) -> Result<Self, LinkError> {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        if header(CONTENT_TYPE.as_str()) != Some(FRAMES_TYPE) {
            return Err(LinkError::foreign(http.server(), "sent a log that is not a stream of frames"));
        }
        let Some(epoch) = header(EPOCH_HEADER).and_then(|text| text.parse().ok()) else {
            return Err(LinkError::foreign(http.server(), "sent a log without its epoch"));
        };
        Ok(Self { http, response, decoder: Decoder::default(), epoch })
    }

    /// The log's current epoch. If it differs from the cursor's, sequence numbers from the cursor on may have been
    /// assigned twice.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The error of a stream that ended although the build has not.
    pub fn ended_early(&self) -> LinkError {
        LinkError::interrupted(self.http.server(), "the log stream ended before the build did")
    }

    /// The next frame with its payload; `None` if the server ended the stream between two frames. If nothing arrives for
    /// [`crate::IDLE_TIMEOUT`], or the stream ends inside a frame, it returns an error; a new call may succeed.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<(FrameHeader, Bytes)>, LinkError> {
        loop {
            let frame = self.decoder.next_frame::<FrameHeader>();
            let frame = frame.map_err(|error| {
                let text = format!("sent a log that cannot be parsed: {error}");
                LinkError::foreign(self.http.server(), text)
            })?;
            match frame {
                Some(frame) => return Ok(Some(frame)),
                None => match self.http.next_chunk(&mut self.response).await? {
                    Some(chunk) => self.decoder.push(chunk),
                    None if self.decoder.is_empty() => return Ok(None),
                    None => {
                        return Err(LinkError::interrupted(self.http.server(), "in the middle of a frame"));
                    }
                },
            }
        }
    }
}
