//! Output becomes lines, exits become data, and nobody of a run outlives it.

#![expect(clippy::unwrap_used, reason = "what a test's helpers cannot do fails the test")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bakery_agent::ends::{Cause, Ends};
use bakery_agent::log::Log;
use bakery_agent::mask::Masker;
use bakery_agent::process::{Exit, Job, Outcome, Processes};
use bakery_agent::shipper::spool::{Place, Spool};
use bakery_agent::tree::{Scope, Tree};
use bakery_core::wire::log::{LogLine, Source};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// What is to take a moment must not take this long.
const LONG: Duration = Duration::from_secs(10);

struct World {
    folder: tempfile::TempDir,
    spool: Arc<Spool>,
    ends: Ends,
    processes: Arc<Processes>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::create(&folder.path().join("spool")).unwrap());
        let log = Log::new(Arc::clone(&spool), Arc::new(Masker::default()));
        let ends = Ends::default();
        let processes = Arc::new(Processes::new(Arc::new(Tree::new(Scope::Own)), log, ends.clone()));
        Self { folder, spool, ends, processes }
    }

    fn job(&self, script: &str) -> Job {
        Job {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            folder: self.folder.path().into(),
            env: vec![
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("ONLY".to_owned(), "this".to_owned()),
            ],
            source: Source::Kaniko,
        }
    }

    fn lines(&self) -> Vec<String> {
        let (mut place, mut out) = (Place::START, Vec::new());
        while let Some((block, next)) = self.spool.read(place, 1 << 20).unwrap() {
            let lines = block.payload.split_inclusive(|byte| *byte == b'\n');
            out.extend(lines.map(|line| serde_json::from_slice::<LogLine>(line).unwrap().msg));
            place = next;
        }
        out
    }
}

/// False where the process is gone, or only waits for its burial by others.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

fn kill(pid: &str) {
    kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn both_streams_are_one_log_in_the_order_of_writing() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watched = Arc::clone(&seen);
    let job = world
        .job("echo out; echo err >&2; printf 'a\\r\\n50%%\\r'; echo \"$ONLY $HOME\"; printf end; exit 7");
    let outcome = world.processes.run(job, move |line| watched.lock().unwrap().push(line.to_owned())).await;
    assert_eq!(outcome.unwrap(), Outcome::Exited(Exit::Code(7)));
    assert_eq!(world.lines(), ["out", "err", "a", "50%\rthis ", "end"]);
    assert_eq!(*seen.lock().unwrap(), world.lines());
}

#[tokio::test]
async fn every_line_is_in_the_log_when_the_process_has_ended() {
    let world = World::new();
    let job = world.job("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done");
    world.processes.run(job, |_| {}).await.unwrap();
    let lines = world.lines();
    assert_eq!(lines.len(), 20_000);
    assert!((1..).zip(&lines).all(|(number, line)| *line == format!("line {number}")));
}

#[tokio::test]
async fn a_signal_is_an_exit_too_and_a_missing_program_an_error() {
    let world = World::new();
    let outcome = world.processes.run(world.job("kill -9 $$"), |_| {}).await.unwrap();
    assert_eq!(outcome, Outcome::Exited(Exit::Signal(9)));
    let missing = Job { program: "/nowhere/executor".into(), ..world.job("") };
    assert!(world.processes.run(missing, |_| {}).await.is_err());
}

#[tokio::test]
async fn what_a_process_leaves_behind_lives_on_until_the_end_of_the_run() {
    let world = World::new();
    let job = world.job("sh -c 'echo $$; exec sleep 1000' & sleep 0.2; echo over");
    let began = Instant::now();
    assert_eq!(world.processes.run(job, |_| {}).await.unwrap(), Outcome::Exited(Exit::Code(0)));
    assert!(began.elapsed() < Duration::from_secs(10));
    let lines = world.lines();
    assert_eq!(lines[1], "over");
    assert!(lives(&lines[0]));
    kill(&lines[0]);
}

#[tokio::test]
async fn a_chatty_process_that_is_left_behind_holds_nobody() {
    let world = World::new();
    let job = world.job("sh -c 'echo $$; exec yes $(printf %01000d 0)' & sleep 0.3; exit 0");
    let (send, mut lines) = mpsc::unbounded_channel();
    let began = Instant::now();
    // Slower than the writer. A reader that never gives others their turn lets no timeout pass either, so the end of a
    // test that fails comes from here.
    let seen = move |line: &str| {
        assert!(began.elapsed() < LONG, "still reading");
        send.send(line.to_owned()).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    };
    let outcome = timeout(LONG, world.processes.run(job, seen)).await;
    let pid = lines.recv().await.unwrap();
    assert!(lives(&pid));
    // It may write on, and is read on.
    while lines.try_recv().is_ok() {}
    timeout(LONG, lines.recv()).await.unwrap().unwrap();
    kill(&pid);
    timeout(LONG, world.processes.end()).await.unwrap();
    assert_eq!(outcome.unwrap().unwrap(), Outcome::Exited(Exit::Code(0)));
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_cancel_is_heard_while_the_last_words_are_read() {
    let world = World::new();
    // A line without an end, in a pipe that stays open, is seen only once the exit has been.
    let job = world.job("sleep 1000 & echo $!; printf last");
    let (send, mut pids) = mpsc::unbounded_channel();
    let ends = world.ends.clone();
    let seen = move |line: &str| match line {
        "last" => ends.end(Cause::Cancelled),
        pid => send.send(pid.to_owned()).unwrap(),
    };
    let outcome = timeout(LONG, world.processes.run(job, seen)).await;
    kill(&timeout(LONG, pids.recv()).await.unwrap().unwrap());
    assert_eq!(outcome.unwrap().unwrap(), Outcome::Ended(Cause::Cancelled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_the_whole_tree_however_it_hides() {
    let world = World::new();
    // One ignores SIGTERM, one has a session of its own, one has lost its parent in a third session.
    let script = r#"
        sh -c 'trap : TERM; echo $$; while :; do sleep 1; done' &
        setsid sh -c 'echo $$; sleep 1000; :' &
        setsid sh -c 'sh -c "trap : TERM; echo \$\$; while :; do sleep 1; done" & sleep 1000' &
        echo $$
        wait
    "#;
    let (send, mut pids) = mpsc::unbounded_channel();
    let job = world.job(script);
    let processes = Arc::clone(&world.processes);
    let running = async {
        let outcome = processes.run(job, move |line| send.send(line.to_owned()).unwrap()).await.unwrap();
        assert_eq!(outcome, Outcome::Ended(Cause::Cancelled));
    };
    let cancelling = async {
        let mut all = Vec::new();
        for _ in 0..4 {
            let pid = timeout(Duration::from_secs(10), pids.recv()).await.unwrap().unwrap();
            assert!(lives(&pid), "{pid}");
            all.push(pid);
        }
        world.ends.end(Cause::Cancelled);
        (all, Instant::now())
    };
    let ((), (pids, asked)) = tokio::join!(running, cancelling);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    for pid in pids {
        assert!(!lives(&pid), "{pid} lives");
    }
    // Nothing is started any more.
    let outcome = world.processes.run(world.job("echo no"), |_| {}).await.unwrap();
    assert_eq!(outcome, Outcome::Ended(Cause::Cancelled));
}
