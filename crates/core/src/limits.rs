//! Every bound that Bakery puts on what it is given, in one table.

use std::time::Duration;

/// What a bound counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A number of what its name says.
    Count(u64),
    /// A time.
    Time(Duration),
}

macro_rules! bounds {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[doc = $doc])* pub const $name: $type = $value;)*

        /// All of them: name, what it bounds, and the bound.
        pub fn all() -> Vec<(&'static str, &'static str, Bound)> {
            vec![$((stringify!($name), concat!($($doc),*).trim_ascii(), $name.into())),*]
        }
    };
}

bounds! {
    /// Bytes of a submitted build spec, and of every other JSON or YAML body.
    SPEC_BYTES: usize = 1 << 20;
    /// Tasks of one build.
    TASKS: usize = 64;
    /// Attempts at one task.
    ATTEMPTS: u8 = 2;
    /// Bytes of one log message; a longer line is split and its parts are flagged.
    LINE_BYTES: usize = 64 << 10;
    /// Bytes of the payload of one log block.
    BLOCK_BYTES: usize = 256 << 10;
    /// Bytes of one frame header, its newline included: room for the outcome of the largest build.
    HEADER_BYTES: usize = 256 << 10;
    /// Bytes of one sentence that an agent or a platform gives; a longer one is cut.
    TEXT_BYTES: usize = 4 << 10;
    /// Bytes of one log segment (one POST), at which the agent closes it.
    SEGMENT_BYTES: usize = 1 << 20;
    /// Age of a log segment, at which the agent closes it.
    SEGMENT_AGE: Duration = Duration::from_secs(1);
    /// Bytes of a log block, at which the agent sends it.
    FLUSH_BYTES: usize = 16 << 10;
    /// Age of a log block, at which the agent sends it.
    FLUSH_AGE: Duration = Duration::from_millis(10);
    /// Bytes of log that the server keeps of one task; what follows is counted and becomes a `Gap`.
    TASK_LOG_BYTES: u64 = 256 << 20;
    /// Bytes of one context sent by ticket.
    CONTEXT_BYTES: u64 = 5 << 30;
    /// Entries of one context archive.
    CONTEXT_ENTRIES: u64 = 1_000_000;
    /// Bytes that a context archive may unpack to.
    CONTEXT_EXPANDED_BYTES: u64 = 64 << 30;
    /// A follower hears at least this often.
    BEAT: Duration = Duration::from_secs(15);
    /// After this long without a word from an agent the server asks the platform.
    AGENT_SILENT: Duration = Duration::from_secs(45);
    /// How long a report may still arrive after the platform said that the container is gone.
    REPORT_GRACE: Duration = Duration::from_secs(5);
    /// Thousandths of a cpu of a task, where neither its config nor the operator names any.
    TASK_CPU_MILLIS: u32 = 500;
    /// MiB of a task, where neither its config nor the operator names any.
    TASK_MEMORY_MIB: u32 = 2048;
    /// From launch to the agent's first word, where the operator names no time.
    TASK_PROVISION: Duration = Duration::from_mins(5);
    /// From launch to the end of one attempt, where the operator names no time.
    TASK_TIME: Duration = Duration::from_mins(10);
    /// How long a result may still arrive, where the operator names no time.
    TASK_RESULT: Duration = Duration::from_mins(10);
    /// How long the publishing of one index may begin anything, repetitions included.
    PUBLISHING: Duration = Duration::from_mins(5);
    /// How long, after that, the answer to a push that is under way is waited for.
    PUSH_ANSWER: Duration = Duration::from_mins(1);
    /// Lines of Kaniko's output that a failure report quotes.
    REPORT_TAIL_LINES: usize = 20;
    /// Nodes of one YAML file after aliases are resolved (a guard against alias bombs).
    YAML_NODES: usize = 100_000;
    /// Bytes of all texts of one YAML file after aliases are resolved.
    YAML_BYTES: usize = 4 << 20;
    /// Depth of one YAML file.
    YAML_DEPTH: usize = 64;
    /// Mistakes, and notices, that one report lists.
    FINDINGS: usize = 200;
}

impl From<u8> for Bound {
    fn from(count: u8) -> Self {
        Self::Count(count.into())
    }
}

impl From<u32> for Bound {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<u64> for Bound {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Bound {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<Duration> for Bound {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

/// A sentence of others, cut to [`TEXT_BYTES`] at the end of a character.
pub fn clip(mut text: String) -> String {
    const MARK: &str = "…";
    if text.len() > TEXT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_BYTES - MARK.len()));
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_cut_between_characters() {
        assert_eq!(clip("short".to_owned()), "short");
        for lead in 0..4 {
            let long = "x".repeat(lead) + &"🍞".repeat(TEXT_BYTES);
            let cut = clip(long.clone());
            assert!(cut.len() <= TEXT_BYTES && cut.len() > TEXT_BYTES - 8);
            assert!(long.starts_with(cut.strip_suffix('…').unwrap()));
            assert_eq!(clip(cut.clone()), cut);
        }
    }
}
