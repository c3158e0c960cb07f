//! An agent that has its process to itself, as in its container: orphans become its children, are terminated with the
//! other processes, and are reaped. The test has a program of its own, because it covers all children of the process.

#![expect(clippy::unwrap_used, reason = "what a test's helpers cannot do fails the test")]

use std::sync::Arc;
use std::time::Duration;

use bakery_agent::log::Log;
use bakery_agent::mask::Masker;
use bakery_agent::process::{Exit, Job, Outcome, Processes};
use bakery_agent::process_tree::{Scope, Tree};
use bakery_agent::shipper::spool::Spool;
use bakery_agent::start;
use bakery_agent::termination::Termination;
use bakery_core::wire::log::Source;
use rustix::process::{DumpableBehavior, dumpable_behavior, getpid};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Process ids and states of this process's children.
fn children() -> Vec<(String, String)> {
    let me = getpid().as_raw_pid().to_string();
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        if fields.get(1) == Some(&me.as_str()) {
            children.push((entry.file_name().to_string_lossy().into_owned(), fields[0].to_owned()));
        }
    }
    children
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_terminated_and_reaped_and_the_process_is_not_dumpable() {
    start::protect().unwrap();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);

    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::create(&folder.path().join("spool")).unwrap());
    let log = Log::new(spool, Arc::new(Masker::default()));
    let tree = Arc::new(Tree::new(Scope::All));
    let processes = Processes::new(Arc::clone(&tree), log, Termination::default());
    let (send, mut lines) = mpsc::unbounded_channel();
    // Double-forked, in sessions of their own; their parents have exited before the processes are listed.
    let script = "for i in 1 2 3; do setsid sh -c '(trap : TERM; echo up; while :; do sleep 1; done) &' ; done; exit 4";
    let job = Job {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        folder: folder.path().into(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        source: Source::PreScript,
    };
    let outcome = processes.run(job, move |line| send.send(line.to_owned()).unwrap()).await.unwrap();
    assert_eq!(outcome, Outcome::Exited(Exit::Code(4)));
    for _ in 0..3 {
        assert_eq!(timeout(Duration::from_secs(5), lines.recv()).await.unwrap().unwrap(), "up");
    }
    assert_eq!(children().iter().filter(|(_, state)| state != "Z").count(), 3);

    let began = Instant::now();
    processes.terminate().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(children().iter().all(|(_, state)| state == "Z"), "{:?}", children());
    tree.reap_orphans();
    assert_eq!(children(), []);
}
