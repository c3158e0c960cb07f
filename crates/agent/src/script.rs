//! The pre-script and the post-script, run with `sh -e` in the source root.

use std::collections::BTreeMap;

use bakery_core::reason::Reason;
use bakery_core::wire::log::Source;

use crate::cgroup::OomCounter;
use crate::diagnose::{self, Evidence};
use crate::disk;
use crate::failure::{Failure, SharedTail, Stop};
use crate::fresh;
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
    let written = fresh::remove(&path).and_then(|()| fresh::write(&path, 0o700, text));
    written.map_err(|error| Failure::io(&path, &error))?;
    let memory = OomCounter::start(&layout.cgroups);
    let tail = SharedTail::default();
    let job = Job {
        program: shell,
        args: vec!["-e".into(), path.clone().into()],
        folder: layout.source(),
        env: env.clone().into_iter().collect(),
        source: script.source(),
    };
    let lines = tail.clone();
    let outcome = processes.run(job, move |line| lines.push(line)).await.map_err(|error| {
        Failure::new(script.reason(), format!("the {} cannot be started: {error}", script.name()))
    })?;
    let _ = std::fs::remove_file(&path);
    match outcome {
        Outcome::Terminated(cause) => Err(Stop::Terminated(cause)),
        Outcome::Exited(Exit::Code(0)) => Ok(()),
        Outcome::Exited(exit) => {
            let tail = tail.lines();
            let (oom_kills, disk_is_full) = (memory.kills(), disk::is_full(&layout.home));
            let evidence =
                Evidence { exit, tail: &tail, oom_kills, registry: None, step: None, disk_is_full };
            Err(diagnose::script(script.reason(), &evidence).into())
        }
    }
}
