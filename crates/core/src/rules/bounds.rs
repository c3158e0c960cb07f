//! The bounds that a server's operator sets for what tasks may request.

use std::time::Duration;

use super::{Broken, message};
use crate::message::Message;
use crate::spec::TaskSpec;
use crate::units::{format_duration, format_mib};

/// The most that a task may request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskBounds {
    /// `MAX_TASK_TIMEOUT`.
    pub timeout: Duration,
    /// `MAX_TASK_DISK`, in MiB; `None` = what the platform has.
    pub disk_mib: Option<u32>,
}

impl TaskBounds {
    /// The keys with which a task requests more than that.
    pub fn exceeded_by(&self, task: &TaskSpec) -> Vec<Broken> {
        let timeout = task.timeout_seconds.map(Duration::from_secs).filter(|time| *time > self.timeout);
        let timeout = timeout.map(|time| Broken {
            key: "timeout",
            message: beyond("MAX_TASK_TIMEOUT", &format_duration(time), &format_duration(self.timeout)),
        });
        let disk = task.disk_mib.zip(self.disk_mib).filter(|(wanted, most)| wanted > most);
        let disk = disk.map(|(wanted, most)| Broken {
            key: "disk",
            message: beyond("MAX_TASK_DISK", &format_mib(wanted), &format_mib(most)),
        });
        timeout.into_iter().chain(disk).collect()
    }
}

fn beyond(variable: &str, wanted: &str, most: &str) -> Message {
    let text = format!("{wanted} is more than this server allows: at most {most}");
    message(text, format!("lower it, or ask the server's operator to raise {variable}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Arch;
    use crate::spec::KanikoSpec;

    fn refused(bounds: TaskBounds, timeout_seconds: Option<u64>, disk_mib: Option<u32>) -> Vec<String> {
        let task =
            TaskSpec { disk_mib, timeout_seconds, ..TaskSpec::new(Arch::Amd64, KanikoSpec::default()) };
        let shown = |broken: Broken| format!("{}: {}", broken.key, broken.message.indented());
        bounds.exceeded_by(&task).into_iter().map(shown).collect()
    }

    #[test]
    fn what_exceeds_a_bound_is_named_with_the_bound() {
        let bounds = TaskBounds { timeout: Duration::from_mins(30), disk_mib: Some(100 << 10) };
        for (timeout, disk) in [(None, None), (Some(1800), Some(100 << 10)), (Some(1), Some(1024))] {
            assert!(refused(bounds, timeout, disk).is_empty(), "{timeout:?} {disk:?}");
        }
        assert_eq!(refused(bounds, Some(u64::MAX), None).len(), 1);
        insta::assert_snapshot!(refused(bounds, Some(5400), Some((100 << 10) + 1)).join("\n"), @"
        timeout: 1h30m is more than this server allows: at most 30m
          hint: lower it, or ask the server's operator to raise MAX_TASK_TIMEOUT
        disk: 102401 MiB is more than this server allows: at most 100 GiB
          hint: lower it, or ask the server's operator to raise MAX_TASK_DISK
        ");
    }

    #[test]
    fn without_a_bound_a_disk_is_the_platforms_matter() {
        let bounds = TaskBounds { timeout: Duration::from_mins(10), disk_mib: None };
        assert!(refused(bounds, None, Some(u32::MAX)).is_empty());
    }
}
