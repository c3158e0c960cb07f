//! Out-of-memory kills, read from the container's cgroup. The agent is process 1 of its container and usually survives
//! them, so the platform does not report them.

use std::path::{Path, PathBuf};

/// Counts the processes of this container that the kernel killed because it was out of memory.
#[derive(Debug)]
pub struct OomCounter {
    files: Vec<PathBuf>,
    before: u64,
}

impl OomCounter {
    /// Starts counting. `root` is the mount point of the cgroup file system, of version 2, version 1, or both.
    pub fn start(root: &Path) -> Self {
        // cgroup-v2.rst, memory.events; cgroup-v1/memory.rst, memory.oom_control.
        let files = vec![root.join("memory.events"), root.join("memory/memory.oom_control")];
        let mut counter = Self { files, before: 0 };
        counter.before = counter.read();
        counter
    }

    /// Number of kills since [`OomCounter::start`].
    pub fn kills(&self) -> u64 {
        self.read().saturating_sub(self.before)
    }

    fn read(&self) -> u64 {
        self.files
            .iter()
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .map(|text| oom_kills(&text))
            .sum()
    }
}

/// Reads the counter; in both versions a line consists of a key and a number.
fn oom_kills(text: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_and_only_the_difference_is_counted() {
        let root = tempfile::tempdir().unwrap();
        let empty = OomCounter::start(root.path());
        std::fs::write(root.path().join("memory.events"), "low 0\noom 1\noom_kill 3\noom_group_kill 9\n")
            .unwrap();
        assert_eq!(empty.kills(), 3);
        let counter = OomCounter::start(root.path());
        assert_eq!(counter.kills(), 0);
        std::fs::create_dir(root.path().join("memory")).unwrap();
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        std::fs::write(root.path().join("memory/memory.oom_control"), v1).unwrap();
        assert_eq!(counter.kills(), 2);
    }
}
