//! The process: its user, its limit of open files, and the protection of its memory.

use std::io;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// True if the process runs as root. Then the data folder is the system's.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Raises the limit of open files to the hard limit, and returns it.
pub fn raise_open_files() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { before.maximum } else { before.current };
    now.unwrap_or(u64::MAX)
}

/// Makes the process non-dumpable: no other process of its user can read its memory or environment, and it leaves no
/// core file. Must be called before anything else. Emulators do not support it (`EINVAL`), which is ignored.
pub fn protect() -> io::Result<()> {
    match set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        Err(Errno::INVAL) => Ok(()),
        result => Ok(result?),
    }
}
