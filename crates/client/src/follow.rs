//! A build's log, whole and once, whatever happens to the connection.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use bakery_core::names::{BuildId, RunName};
use bakery_core::wire::build::BuildOutcome;
use bakery_core::wire::log::{Cursor, Frame, FrameHeader};
use bakery_link::{LinkError, ServerApi};
use tokio::time::Instant;

use crate::exit::{Exit, Failure};
use crate::out::Out;
use crate::render::Renderer;
use crate::talk;

/// How a lost connection is taken up again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The first pause.
    pub first: Duration,
    /// Pauses double up to this.
    pub most: Duration,
    /// Without any word from the server for this long the client gives up.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            most: Duration::from_secs(3),
            total: Duration::from_mins(5),
        }
    }
}

/// One follower of one build.
pub struct Follower<'a> {
    /// The server.
    pub server: &'a ServerApi,
    /// The build.
    pub id: BuildId,
    /// True where the server has spoken of this build before: then a lost connection is taken up again.
    pub known: bool,
    /// How long.
    pub patience: Patience,
}

/// Why one connection's reading ended before the build did.
enum Ended {
    /// The connection's fault, or the server's.
    Link(LinkError),
    /// Nothing can be written any more.
    Deaf,
}

impl Follower<'_> {
    /// Reads from `from` to the build's end and writes to `out`. A server that goes away in between is waited for.
    /// Dropping the future loses nothing of the build.
    pub async fn follow(
        mut self,
        from: Cursor,
        renderer: &mut Renderer,
        out: &Out,
    ) -> Result<BuildOutcome, Failure> {
        let mut seen = Seen::from(from);
        let mut lost: Option<Instant> = None;
        let mut pause = self.patience.first;
        loop {
            let mut heard = || {
                if lost.take().is_some() {
                    talk::say("the server is back, the log goes on");
                }
                pause = self.patience.first;
            };
            let error = match self.read(&mut seen, renderer, out, &mut heard).await {
                Ok(outcome) => return Ok(outcome),
                Err(Ended::Deaf) => return Err(Failure::quiet(Exit::Unknown)),
                Err(Ended::Link(error)) => error,
            };
            self.known |= seen.any;
            if !self.known {
                return Err(error.into());
            }
            let since = *lost.get_or_insert_with(|| {
                talk::say(&format!("{error}\nthe build goes on; waiting for the server"));
                Instant::now()
            });
            if !error.is_transient() || since.elapsed() >= self.patience.total {
                return Err(Failure::lost_sight(self.id, &error));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.patience.most);
        }
    }

    /// Reads one connection to the build's end.
    async fn read(
        &self,
        seen: &mut Seen,
        renderer: &mut Renderer,
        out: &Out,
        heard: &mut (dyn FnMut() + Send),
    ) -> Result<BuildOutcome, Ended> {
        let mut log = self.server.logs(self.id, seen.cursor, true).await.map_err(Ended::Link)?;
        seen.enter(log.epoch());
        while let Some((header, payload)) = log.next().await.map_err(Ended::Link)? {
            let Some(skip) = seen.take(&header, &payload) else {
                // A beat comes only after a while: a connection that lives that long is a good one.
                if header.frame == Frame::Beat {
                    heard();
                }
                continue;
            };
            heard();
            let mut text = Vec::with_capacity(payload.len());
            renderer.frame(&header, &payload, skip, &mut text);
            if !out.send(text).await {
                return Err(Ended::Deaf);
            }
            if let Frame::End { outcome } = header.frame {
                return Ok(outcome);
            }
        }
        Err(Ended::Link(log.ended_early()))
    }
}

/// What a follower has been shown.
///
/// Within one epoch the numbers of the build's order say what is new. When the epoch changes the server goes back to the
/// place that it cut, and numbers are given anew: then the lines of a run are told apart by their numbers in the run,
/// which never change, and all else by what it says.
#[derive(Debug)]
struct Seen {
    cursor: Cursor,
    runs: HashMap<RunName, u64>,
    others: HashSet<u64>,
    any: bool,
}

impl Seen {
    fn from(cursor: Cursor) -> Self {
        Self { cursor, runs: HashMap::new(), others: HashSet::new(), any: false }
    }

    /// A connection to a log of this epoch begins.
    fn enter(&mut self, epoch: u32) {
        if epoch != self.cursor.epoch {
            // The server decides where a cursor of another epoch goes on.
            self.cursor = Cursor { epoch, seq: 0 };
        }
    }

    /// How many of the frame's first lines have been shown; `None` where there is nothing new in it.
    fn take(&mut self, header: &FrameHeader, payload: &[u8]) -> Option<u64> {
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
    fn what_lies_below_the_cursor_is_dropped() {
        let mut seen = Seen::from(Cursor { epoch: 0, seq: 5 });
        seen.enter(0);
        assert_eq!(seen.take(&lines(2, 1, 3), b""), None);
        assert_eq!(seen.take(&lines(2, 1, 5), b""), Some(3));
        assert_eq!(seen.take(&note(7), b"a"), Some(0));
        assert_eq!(seen.take(&note(7), b"a"), None);
        assert_eq!(seen.cursor.seq, 8);
    }

    #[test]
    fn a_new_epoch_repeats_nothing_and_loses_nothing() {
        let mut seen = Seen::from(Cursor::default());
        seen.enter(0);
        assert_eq!(seen.take(&lines(0, 1, 4), b""), Some(0));
        assert_eq!(seen.take(&note(4), b"old"), Some(0));
        assert_eq!(seen.take(&lines(5, 5, 3), b""), Some(0));
        // The server lost what came after number 3, and numbers it anew in another order.
        seen.enter(1);
        assert_eq!(seen.cursor, Cursor { epoch: 1, seq: 0 });
        assert_eq!(seen.take(&lines(3, 4, 2), b""), None);
        assert_eq!(seen.take(&note(5), b"new"), Some(0));
        assert_eq!(seen.take(&lines(6, 6, 4), b""), Some(2));
        assert_eq!(seen.cursor.seq, 10);
    }
}
