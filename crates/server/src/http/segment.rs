//! Receives one log segment, and relays it as it arrives.

use bakery_core::limits;
use bakery_core::wire::log::{BlockHeader, Decoder, FrameError};
use bakery_core::wire::run::{SegmentAck, Stage};
use bytes::Bytes;

use super::body::{self, BodyReader};
use super::problem::{ProblemKind, ProblemResponse};
use crate::builds::{RunError, RunSession};
use crate::logs::{LogError, Logs};

/// Chunks that have arrived are appended together, up to this many bytes.
const BATCH: usize = 256 << 10;
/// A correct agent ends a segment at [`limits::SEGMENT_BYTES`] and one block.
const LONGEST: usize = 2 * limits::SEGMENT_BYTES;

/// Appends the segment's blocks as they arrive, and returns the number of the next expected line. The complete blocks of
/// an interrupted segment are kept: the sender continues from the number in the next response.
pub(super) async fn receive(
    logs: &Logs,
    session: &RunSession,
    stage: Stage,
    mut reader: BodyReader,
) -> Result<SegmentAck, ProblemResponse> {
    let run = session.run;
    session.contact(stage);
    let mut decoder = Decoder::default();
    let mut length = 0;
    let mut next = None;
    loop {
        let chunk = match reader.next_chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%run, error = &error as &dyn std::error::Error, "a segment was interrupted");
                break;
            }
        };
        let mut gathered = chunk.len();
        let mut blocks = Vec::new();
        let mut whole = decode(&mut decoder, chunk, &mut blocks);
        while whole.is_ok()
            && gathered < BATCH
            && let Some(chunk) = reader.try_next_chunk()
        {
            gathered += chunk.len();
            whole = decode(&mut decoder, chunk, &mut blocks);
        }
        length += gathered;
        if session.ended() {
            return Err(RunError::Over.into());
        }
        if !blocks.is_empty() {
            session.contact(stage);
            next = Some(logs.append_all(run.task.build, run, blocks).await.map_err(log_problem)?);
        }
        if let Err(error) = whole {
            return Err(ProblemResponse::new(ProblemKind::BadBlock, error.to_string()));
        }
        if length > LONGEST {
            return Err(body::too_large(LONGEST));
        }
    }
    let next = match next {
        Some(next) => next,
        None => logs.next(run).await.map_err(log_problem)?,
    };
    Ok(SegmentAck { next, cancel: session.cancelled() })
}

/// Adds every block that is complete with this chunk to `blocks`.
fn decode(
    decoder: &mut Decoder,
    chunk: Bytes,
    blocks: &mut Vec<(BlockHeader, Bytes)>,
) -> Result<(), FrameError> {
    decoder.push(chunk);
    while let Some(block) = decoder.next_frame()? {
        blocks.push(block);
    }
    Ok(())
}

fn log_problem(error: LogError) -> ProblemResponse {
    match error {
        // Removed with its build: these lines are not needed.
        LogError::Missing(_) => ProblemResponse::new(ProblemKind::RunOver, error.to_string()),
        error => error.into(),
    }
}
