//! One segment of log, relayed as it arrives.

use bakery_core::limits;
use bakery_core::wire::log::{BlockHeader, Decoder, FrameError};
use bakery_core::wire::run::{SegmentAck, Stage};
use bytes::Bytes;

use super::body::{self, Pieces};
use super::problem::{Kind, Refusal};
use crate::builds::RunSession;
use crate::logs::{LogError, Logs};

/// What has arrived meanwhile is appended together, up to this many bytes.
const BATCH: usize = 256 << 10;
/// An honest agent ends a segment at [`limits::SEGMENT_BYTES`] and one block.
const LONGEST: usize = 2 * limits::SEGMENT_BYTES;

/// Appends the segment's blocks as they come, and says which line is wanted next. A segment that is cut, by whatever,
/// keeps what was whole: the sender goes on from the number in the next answer.
pub(super) async fn receive(
    logs: &Logs,
    session: &RunSession,
    stage: Stage,
    mut pieces: Pieces,
) -> Result<SegmentAck, Refusal> {
    let run = session.run;
    session.heard(stage);
    let mut decoder = Decoder::default();
    let mut length = 0;
    let mut next = None;
    loop {
        let piece = match pieces.next().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%run, error = &error as &dyn std::error::Error, "a segment is cut");
                break;
            }
        };
        let mut gathered = piece.len();
        let mut blocks = Vec::new();
        let mut taken = take(&mut decoder, piece, &mut blocks);
        while taken.is_ok()
            && gathered < BATCH
            && let Some(piece) = pieces.at_hand()
        {
            gathered += piece.len();
            taken = take(&mut decoder, piece, &mut blocks);
        }
        length += gathered;
        if !blocks.is_empty() {
            session.heard(stage);
            next = Some(logs.append_all(run.task.build, run, blocks).await.map_err(refusal)?);
        }
        if let Err(error) = taken {
            return Err(Refusal::new(Kind::BadBlock, error.to_string()));
        }
        if length > LONGEST {
            return Err(body::too_large(LONGEST));
        }
    }
    let next = match next {
        Some(next) => next,
        None => logs.next(run).await.map_err(refusal)?,
    };
    Ok(SegmentAck { next, cancel: session.cancelled() })
}

/// Every block that is whole with this piece.
fn take(
    decoder: &mut Decoder,
    piece: Bytes,
    blocks: &mut Vec<(BlockHeader, Bytes)>,
) -> Result<(), FrameError> {
    decoder.push(piece);
    while let Some(block) = decoder.next_frame()? {
        blocks.push(block);
    }
    Ok(())
}

fn refusal(error: LogError) -> Refusal {
    match error {
        // Removed with its build: nobody waits for these lines.
        LogError::Missing(_) => Refusal::new(Kind::RunOver, error.to_string()),
        error => error.into(),
    }
}
