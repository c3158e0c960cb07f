//! Limits and times that programs share or that an operator can change, in one table.

use std::time::Duration;

/// The value of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A number; the limit's name has the unit.
    Count(u64),
    /// A time.
    Time(Duration),
}

macro_rules! bounds {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[doc = $doc])* pub const $name: $type = $value;)*

        /// Every limit: its name, what it bounds, and its value.
        pub fn all() -> Vec<(&'static str, &'static str, Bound)> {
            vec![$((stringify!($name), concat!($($doc),*).trim_ascii(), $name.into())),*]
        }
    };
}

bounds! {
    /// Bytes of a submitted build spec, and of every other JSON or YAML request body.
    SPEC_BYTES: usize = 1 << 20;
    /// Bytes of one build secret. Its value is part of the build spec.
    SECRET_BYTES: usize = 128 << 10;
    /// Bytes of a Dockerfile that is not a file (`kaniko.dockerfile-inline`). It is part of the build spec, once for each task.
    DOCKERFILE_BYTES: usize = 128 << 10;
    /// Bytes of a Dockerfile that is read: many times what the largest real ones have.
    DOCKERFILE_FILE_BYTES: usize = 1 << 20;
    /// Instructions of a Dockerfile that is read.
    DOCKERFILE_INSTRUCTIONS: usize = 10_000;
    /// Tasks of one build: eight times what the largest real Compose files have (some 60 services), and few enough that the
    /// outcome of all of them fits one frame of the log.
    TASKS: usize = 512;
    /// Attempts at one task.
    ATTEMPTS: u8 = 2;
    /// Bytes of one log message; a longer line is split and its parts are flagged.
    LINE_BYTES: usize = 64 << 10;
    /// Bytes of the payload of one log block.
    BLOCK_BYTES: usize = 256 << 10;
    /// Bytes of the header of one log frame, its newline included; enough for the outcome of the largest build.
    HEADER_BYTES: usize = 512 << 10;
    /// Bytes of one text or hint that an agent or a platform reports; a longer one is cut.
    TEXT_BYTES: usize = 4 << 10;
    /// Bytes of one log segment (one POST request), after which the agent begins the next.
    SEGMENT_BYTES: usize = 1 << 20;
    /// Age of a log segment, after which the agent begins the next.
    SEGMENT_AGE: Duration = Duration::from_secs(1);
    /// Bytes of a log block, after which the agent sends it.
    FLUSH_BYTES: usize = 16 << 10;
    /// Age of a log block, after which the agent sends it.
    FLUSH_AGE: Duration = Duration::from_millis(10);
    /// Processes and threads of one task on the Docker platform.
    TASK_PROCESSES: u32 = 4096;
    /// Bytes of log that the server keeps of one attempt at a task; further lines are only counted.
    TASK_LOG_BYTES: u64 = 256 << 20;
    /// Bytes of one context archive (tar.gz), in the server's own store or in the bucket.
    CONTEXT_BYTES: u64 = 5 << 30;
    /// Bytes that uploads and new builds leave free on the disk of the server's data folder, so that open builds continue
    /// on a full disk: room for the whole log of one attempt. On a disk below 1 GiB it is a quarter of the disk.
    DISK_RESERVE_BYTES: u64 = 256 << 20;
    /// Bytes that log lines of agents leave free there, so that the ledger can still be written: below it the agents keep
    /// their lines and send them again. On a disk below 512 MiB it is a sixteenth of the disk.
    LEDGER_RESERVE_BYTES: u64 = 32 << 20;
    /// Files, folders and links in one context archive.
    CONTEXT_ENTRIES: u64 = 1_000_000;
    /// Bytes of all files of one context, above which the client names the largest folders.
    LARGE_CONTEXT_BYTES: u64 = 100_000_000;
    /// Bytes of all files of one context after it is unpacked.
    CONTEXT_EXPANDED_BYTES: u64 = 64 << 30;
    /// Longest time without data on a followed log, after which the server sends an empty frame.
    HEARTBEAT: Duration = Duration::from_secs(15);
    /// Longest time without contact with an agent, after which the server asks the platform about its container.
    AGENT_SILENT: Duration = Duration::from_secs(45);
    /// How long a report may still arrive after the platform has reported that the container is gone.
    REPORT_GRACE: Duration = Duration::from_secs(5);
    /// Default cpu of a task, in thousandths of one cpu; its config or the operator may set another value.
    TASK_CPU_MILLIS: u32 = 500;
    /// Default memory of a task, in MiB; its config or the operator may set another value.
    TASK_MEMORY_MIB: u32 = 2048;
    /// Default time from launch to the agent's first request; the operator may set another.
    TASK_PROVISION: Duration = Duration::from_mins(5);
    /// Default time from launch to the end of one attempt; the operator may set another.
    TASK_TIME: Duration = Duration::from_mins(10);
    /// Default time that the server waits for a finished task's report while its container still exists; the operator
    /// may set another.
    TASK_RESULT: Duration = Duration::from_mins(10);
    /// How long the publishing of one index may start new requests, retries included.
    PUBLISHING: Duration = Duration::from_mins(5);
    /// How long the response to a push that is in flight at the end of `PUBLISHING` is awaited.
    PUSH_ANSWER: Duration = Duration::from_mins(1);
    /// Lines of Kaniko's output that a failure report quotes.
    REPORT_TAIL_LINES: usize = 20;
    /// Nodes of one YAML file after its aliases are expanded.
    YAML_NODES: usize = 100_000;
    /// Bytes of all scalars of one YAML file after its aliases are expanded.
    YAML_BYTES: usize = 4 << 20;
    /// Bytes of all texts of one Compose file, and of one `.env`, after their variables are replaced: a file of some
    /// kilobytes can name a long variable any number of times.
    INTERPOLATED_BYTES: usize = 4 << 20;
    /// Files that Compose files name (`extends`, `include`).
    COMPOSE_FILES: usize = 64;
    /// Nesting depth of one YAML file.
    YAML_DEPTH: usize = 64;
    /// Mistakes that one report lists, and likewise its notices.
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

/// A text from another program, cut to at most [`TEXT_BYTES`] between characters; a cut one ends with `…`.
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
    fn long_texts_are_cut_between_characters() {
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
