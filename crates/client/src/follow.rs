//! Reads a build's log completely and without repetition, even if the connection is interrupted.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use bakery_core::names::{BuildId, RunName};
use bakery_core::wire::build::BuildOutcome;
use bakery_core::wire::log::{Cursor, Frame, FrameHeader};
use bakery_link::{LinkError, ServerApi};
use tokio::time::Instant;

use crate::exit::{Exit, Failure};
use crate::render::Renderer;
use crate::stderr;
use crate::stdout::LogOutput;

/// How the follower reconnects.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// The pause before the first retry. Every further pause is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
    /// After this long without an answer of the server the follower gives up.
    pub total: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(100),
            max_pause: Duration::from_secs(3),
            total: Duration::from_mins(5),
        }
    }
}

/// Follows one build.
pub struct Follower<'a> {
    /// The server.
    pub server: &'a ServerApi,
    /// The build.
    pub id: BuildId,
    /// Whether the server has already returned something about this build. Only then does the follower reconnect.
    pub known: bool,
    /// How it reconnects.
    pub retry: RetryPolicy,
}

/// Why reading from one connection ended before the build did.
enum ReadError {
    /// The call failed.
    Link(LinkError),
    /// The output cannot be written.
    Output,
}

impl Follower<'_> {
    /// Reads from `from` to the build's end and writes to `out`. If the server is gone in between, waits for it. Dropping
    /// the future does not affect the build.
    pub async fn follow(
        mut self,
        from: Cursor,
        renderer: &mut Renderer,
        out: &LogOutput,
    ) -> Result<BuildOutcome, Failure> {
        let mut shown = ShownFrames::from(from);
        let mut lost: Option<Instant> = None;
        let mut pause = self.retry.first_pause;
        loop {
            let mut on_contact = || {
                if lost.take().is_some() {
                    stderr::print("reconnected to the server; the log continues");
                }
                pause = self.retry.first_pause;
            };
            let error = match self.read(&mut shown, renderer, out, &mut on_contact).await {
                Ok(outcome) => return Ok(outcome),
                Err(ReadError::Output) => return Err(Failure::silent(Exit::Unknown)),
                Err(ReadError::Link(error)) => error,
            };
            self.known |= shown.any;
            if !self.known {
                return Err(error.into());
            }
            let since = *lost.get_or_insert_with(|| {
                stderr::print(&format!("{error}\nthe build continues; waiting for the server"));
                Instant::now()
            });
            if !error.is_transient() || since.elapsed() >= self.retry.total {
                return Err(Failure::lost_contact(self.id, &error));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.retry.max_pause);
        }
    }

    /// Reads one connection to the build's end.
    async fn read(
        &self,
        shown: &mut ShownFrames,
        renderer: &mut Renderer,
        out: &LogOutput,
        on_contact: &mut (dyn FnMut() + Send),
    ) -> Result<BuildOutcome, ReadError> {
        let mut log = self.server.logs(self.id, shown.cursor, true).await.map_err(ReadError::Link)?;
        shown.enter(log.epoch());
        while let Some((header, payload)) = log.next().await.map_err(ReadError::Link)? {
            let Some(skip) = shown.add(&header, &payload) else {
                // A heartbeat arrives only after a while, so the connection is stable.
                if header.frame == Frame::Beat {
                    on_contact();
                }
                continue;
            };
            on_contact();
            let mut text = Vec::with_capacity(payload.len());
            renderer.frame(&header, &payload, skip, &mut text);
            if !out.send(text).await {
                return Err(ReadError::Output);
            }
            if let Frame::End { outcome } = header.frame {
                return Ok(outcome);
            }
        }
        Err(ReadError::Link(log.ended_early()))
    }
}

/// The frames that have been shown.
///
/// Within one epoch the sequence numbers show what is new. A new epoch means that the server has lost the end of the log
/// and assigns its numbers again. Then lines are recognised by their numbers within their run, which never change, and all
/// other frames by their content.
#[derive(Debug)]
struct ShownFrames {
    cursor: Cursor,
    runs: HashMap<RunName, u64>,
    others: HashSet<u64>,
    any: bool,
}

impl ShownFrames {
    fn from(cursor: Cursor) -> Self {
        Self { cursor, runs: HashMap::new(), others: HashSet::new(), any: false }
    }

    /// Called for each new connection with the log's epoch.
    fn enter(&mut self, epoch: u32) {
        if epoch != self.cursor.epoch {
            // The server decides where the log continues for a cursor of another epoch.
            self.cursor = Cursor { epoch, seq: 0 };
        }
    }

    /// Adds a frame. Returns how many of its first lines have been shown before; `None` if nothing in it is new.
    fn add(&mut self, header: &FrameHeader, payload: &[u8]) -> Option<u64> {
        let width = header.frame.width();
        if width == 0 || header.frame == Frame::Unknown {
            self.cursor.seq = self.cursor.seq.max(header.seq + width);
            return None;
        }
        let old = self.cursor.seq.saturating_sub(header.seq);
        if old >= width {
            return None;
        }
        self.cursor.seq = header.seq + width;
        self.any = true;
        if let Frame::Lines { run, first, .. } = header.frame {
            let next = self.runs.entry(run).or_insert(1);
            let old = old.max(next.saturating_sub(first));
            *next = (*next).max(first + width);
            return (old < width).then_some(old);
        }
        let mut hasher = DefaultHasher::new();
        (header.seq, payload).hash(&mut hasher);
        serde_json::to_string(&header.frame).unwrap_or_default().hash(&mut hasher);
        (self.others.insert(hasher.finish()) || old > 0).then_some(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakery_core::names::TaskId;

    fn lines(seq: u64, first: u64, lines: u32) -> FrameHeader {
        let run = RunName { task: TaskId { build: BuildId::new(1, 2), index: 0 }, attempt: 1 };
        FrameHeader { len: 0, seq, frame: Frame::Lines { run, first, lines } }
    }

    fn note(seq: u64) -> FrameHeader {
        FrameHeader { len: 0, seq, frame: Frame::Note { run: None, lines: 1 } }
    }

    #[test]
    fn what_is_below_the_cursor_is_skipped() {
        let mut shown = ShownFrames::from(Cursor { epoch: 0, seq: 5 });
        shown.enter(0);
        assert_eq!(shown.add(&lines(2, 1, 3), b""), None);
        assert_eq!(shown.add(&lines(2, 1, 5), b""), Some(3));
        assert_eq!(shown.add(&note(7), b"a"), Some(0));
        assert_eq!(shown.add(&note(7), b"a"), None);
        assert_eq!(shown.cursor.seq, 8);
    }

    #[test]
    fn a_new_epoch_repeats_nothing_and_loses_nothing() {
        let mut shown = ShownFrames::from(Cursor::default());
        shown.enter(0);
        assert_eq!(shown.add(&lines(0, 1, 4), b""), Some(0));
        assert_eq!(shown.add(&note(4), b"old"), Some(0));
        assert_eq!(shown.add(&lines(5, 5, 3), b""), Some(0));
        // The server lost what came after number 3 and numbers it again in another order.
        shown.enter(1);
        assert_eq!(shown.cursor, Cursor { epoch: 1, seq: 0 });
        assert_eq!(shown.add(&lines(3, 4, 2), b""), None);
        assert_eq!(shown.add(&note(5), b"new"), Some(0));
        assert_eq!(shown.add(&lines(6, 6, 4), b""), Some(2));
        assert_eq!(shown.cursor.seq, 10);
    }
}
