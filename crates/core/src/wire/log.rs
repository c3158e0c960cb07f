//! Logs on the wire and on disk: frames, each a header line and a payload.
//!
//! A frame is one JSON header line, ended by `\n`, and then exactly `len` bytes of payload. The payload of `lines` and
//! `note` frames is NDJSON, one [`LogLine`] a line, encoded once by its writer and never decoded on the way. The same
//! bytes are stored in the server's log file and sent to followers.
//!
//! Inside one build every line, and every frame without lines, has a number of its own (`seq`, from 0): the order of
//! the log. A cursor names the next number that a follower wants.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::names::RunName;
use crate::reason::Reason;
use crate::wire::build::{BuildOutcome, PublishState, PublishView, TaskPhase};
pub use crate::wire::cursor::Cursor;
pub use crate::wire::frame::{Decoder, FrameError, Framed, encode, encode_header};

/// One line of log as its writer encodes it. Short keys: there are many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written, UTC, to the millisecond.
    pub ts: Timestamp,
    /// Who wrote it.
    pub src: Source,
    /// Its severity.
    #[serde(default)]
    pub lvl: Level,
    /// The text without its line end; colours of the build are kept.
    pub msg: String,
    /// True for every part but the last of a line that was longer than [`limits::LINE_BYTES`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
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
    /// Kaniko; and a `RUN` step, where that has no output of its own.
    Kaniko,
    /// A `RUN` step of a Dockerfile.
    Run,
    /// The post-script.
    PostScript,
    /// A writer that is unknown to this version.
    #[serde(other)]
    Unknown,
}

impl Source {
    /// Its name on the wire and in JSON output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
            Self::PreScript => "pre-script",
            Self::Kaniko => "kaniko",
            Self::Run => "run",
            Self::PostScript => "post-script",
            Self::Unknown => "unknown",
        }
    }
}

/// The severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Ordinary.
    #[default]
    Info,
    /// A warning.
    Warn,
    /// Why something failed.
    Error,
    /// A level that is unknown to this version.
    #[serde(other)]
    Unknown,
}

/// Header of one block of a log segment (agent to server). Lines of a run count from 1.
///
/// A block without a payload stands for lines that were not kept: they have sequence numbers only, and
/// followers get a [`Frame::Gap`] for them.
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
    /// Bytes of the payload that follows the header line; a reader to which `kind` is unknown skips them.
    #[serde(default)]
    pub len: u32,
    /// Number in the build's order: of the first line, or of the frame itself. `beat` frames have that of the next.
    pub seq: u64,
    /// What it is.
    #[serde(flatten)]
    pub frame: Frame,
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
        /// Why, where there is a cause.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
        /// The same as text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// A destination has been published, or its publishing has failed.
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
    /// A heartbeat: there is nothing new, and the connection is alive. Never stored.
    Beat,
    /// The last frame.
    End {
        /// How the build ended.
        outcome: BuildOutcome,
    },
    /// A frame that is unknown to this version.
    #[serde(other)]
    Unknown,
}

impl Frame {
    /// The frame with its texts and images cut to their limits, so that its header fits [`limits::HEADER_BYTES`].
    #[must_use]
    pub fn bounded(mut self) -> Self {
        match &mut self {
            Self::State { text, hint, .. } => {
                *text = text.take().map(limits::clip);
                *hint = hint.take().map(limits::clip);
            }
            Self::Published {
                publish: PublishView { state: PublishState::Failed { text, hint, .. }, .. },
            } => {
                *text = limits::clip(std::mem::take(text));
                *hint = hint.take().map(limits::clip);
            }
            Self::End { outcome } => {
                outcome.text = outcome.text.take().map(limits::clip);
                outcome.hint = outcome.hint.take().map(limits::clip);
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

/// The response header that carries the log's current epoch.
pub const EPOCH_HEADER: &str = "bakery-epoch";
