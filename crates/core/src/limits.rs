//! Every bound that Bakery puts on what it is given, in one table.

use std::time::Duration;

/// Bytes of a submitted build spec, and of every other JSON or YAML body.
pub const SPEC_BYTES: usize = 1 << 20;
/// Tasks of one build.
pub const TASKS: usize = 64;
/// Attempts at one task.
pub const ATTEMPTS: u8 = 2;
/// Bytes of one log message; a longer line is split and its parts are flagged.
pub const LINE_BYTES: usize = 64 << 10;
/// Bytes of the payload of one log block.
pub const BLOCK_BYTES: usize = 256 << 10;
/// Bytes of one frame header, its newline included: room for the outcome of the largest build, see
/// [`crate::wire::log::Frame::bounded`].
pub const HEADER_BYTES: usize = 256 << 10;
/// Bytes of one sentence that an agent or a platform gives; a longer one is cut.
pub const TEXT_BYTES: usize = 4 << 10;
/// Bytes of one log segment (one POST): the agent closes it at this size ...
pub const SEGMENT_BYTES: usize = 1 << 20;
/// ... or at this age.
pub const SEGMENT_AGE: Duration = Duration::from_secs(1);
/// The agent flushes a block at this size ...
pub const FLUSH_BYTES: usize = 16 << 10;
/// ... or at this age.
pub const FLUSH_AGE: Duration = Duration::from_millis(10);
/// Bytes of log that the server keeps of one task; what follows is counted and becomes a `Gap`.
pub const TASK_LOG_BYTES: u64 = 256 << 20;
/// Bytes of one context sent by ticket.
pub const CONTEXT_BYTES: u64 = 5 << 30;
/// Entries of one context archive.
pub const CONTEXT_ENTRIES: u64 = 1_000_000;
/// Bytes that a context archive may unpack to.
pub const CONTEXT_EXPANDED_BYTES: u64 = 64 << 30;
/// A follower hears at least this often.
pub const BEAT: Duration = Duration::from_secs(15);
/// After this long without a word from an agent the server asks the platform.
pub const AGENT_SILENT: Duration = Duration::from_secs(45);
/// How long a report may still arrive after the platform said that the container is gone.
pub const REPORT_GRACE: Duration = Duration::from_secs(5);
/// Thousandths of a cpu of a task, where neither its config nor the operator names any.
pub const TASK_CPU_MILLIS: u32 = 500;
/// MiB of such a task.
pub const TASK_MEMORY_MIB: u32 = 2048;
/// From launch to the agent's first word, where the operator names no time.
pub const TASK_PROVISION: Duration = Duration::from_mins(5);
/// From launch to the end of one attempt, likewise.
pub const TASK_TIME: Duration = Duration::from_mins(10);
/// How long a result may still arrive, likewise.
pub const TASK_RESULT: Duration = Duration::from_mins(10);
/// How long the publishing of one index may begin anything, repetitions included ...
pub const PUBLISHING: Duration = Duration::from_mins(5);
/// ... and how long, after that, the answer to a push that is under way is waited for.
pub const PUSH_ANSWER: Duration = Duration::from_mins(1);
/// Lines of Kaniko's output that a failure report quotes.
pub const REPORT_TAIL_LINES: usize = 20;
/// Nodes of one YAML file after aliases are resolved (a guard against alias bombs).
pub const YAML_NODES: usize = 100_000;
/// Bytes of all texts of one YAML file after aliases are resolved.
pub const YAML_BYTES: usize = 4 << 20;
/// Depth of one YAML file.
pub const YAML_DEPTH: usize = 64;
/// Mistakes, and notices, that one report lists.
pub const FINDINGS: usize = 200;

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
