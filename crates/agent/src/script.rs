//! The pre-script and the post-script, run with `sh -e` in the source root.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use bakery_core::reason::Reason;
use bakery_core::wire::log::Source;

use crate::cgroup::OomCounter;
use crate::diagnose::{self, Evidence};
use crate::disk;
use crate::failure::{Failure, Stop, Tail};
use crate::layout::Layout;
use crate::process::{Exit, Job, Outcome, Processes};

/// One of the two scripts of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Runs before Kaniko.
    Pre,
    /// Runs after Kaniko has succeeded.
    Post,
}

impl Script {
    fn name(self) -> &'static str {
        self.source().as_str()
    }

    fn source(self) -> Source {
        match self {
            Self::Pre => Source::PreScript,
            Self::Post => Source::PostScript,
        }
    }

    fn reason(self) -> Reason {
        match self {
            Self::Pre => Reason::PreScriptFailed,
            Self::Post => Reason::PostScriptFailed,
        }
    }
}

/// Runs a script to its end; any exit code other than 0 is a failure.
pub async fn run(
    script: Script,
    text: &str,
    layout: &Layout,
    env: &BTreeMap<String, String>,
    processes: &Processes,
) -> Result<(), Stop> {
    let Some(shell) = layout.find("sh") else {
        let text = format!("the {} cannot be started: there is no `sh` in {}", script.name(), layout.path);
        let hint = "the agent image must contain a static busybox with its links in /kaniko/bin";
        return Err(Failure::new(script.reason(), text).with_hint(hint).into());
    };
    // The script is a file instead of stdin, because the programs that it runs may read stdin.
    let path = layout.home.join(script.name());
    let _ = std::fs::remove_file(&path);
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::io(&path, &error))?;
    let memory = OomCounter::start(&layout.cgroups);
    let tail = Arc::new(Mutex::new(Tail::default()));
    let job = Job {
        program: shell,
        args: vec!["-e".into(), path.clone().into()],
        folder: layout.source(),
        env: env.clone().into_iter().collect(),
        source: script.source(),
    };
    let lines = Arc::clone(&tail);
    let outcome = processes
        .run(job, move |line| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line))
        .await
        .map_err(|error| {
            Failure::new(script.reason(), format!("the {} cannot be started: {error}", script.name()))
        })?;
    let _ = std::fs::remove_file(&path);
    match outcome {
        Outcome::Terminated(cause) => Err(Stop::Terminated(cause)),
        Outcome::Exited(Exit::Code(0)) => Ok(()),
        Outcome::Exited(exit) => {
            let tail = tail.lock().unwrap_or_else(PoisonError::into_inner).lines();
            let (oom_kills, disk_is_full) = (memory.kills(), disk::is_full(&layout.home));
            let evidence =
                Evidence { exit, tail: &tail, oom_kills, registry: None, step: None, disk_is_full };
            Err(diagnose::script(script.reason(), &evidence).into())
        }
    }
}
