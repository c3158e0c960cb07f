//! Processes of a run: their output becomes log lines, their exits are returned, and none survives the run.

#![expect(clippy::unwrap_used, reason = "what a test's helpers cannot do fails the test")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bakery_agent::Layout;
use bakery_agent::log::Log;
use bakery_agent::mask::Masker;
use bakery_agent::process::{Exit, Job, Outcome, Processes};
use bakery_agent::process_tree::{Scope, Tree};
use bakery_agent::run_steps::RunSteps;
use bakery_agent::shipper::spool::{Position, Spool};
use bakery_agent::termination::{Termination, TerminationCause};
use bakery_core::wire::log::{LogLine, Source};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Time limit for what should take a moment.
const LONG: Duration = Duration::from_secs(10);

struct Fixture {
    folder: tempfile::TempDir,
    spool: Arc<Spool>,
    termination: Termination,
    processes: Arc<Processes>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::create(&folder.path().join("spool")).unwrap());
        let log = Log::new(Arc::clone(&spool), Arc::new(Masker::default()));
        let termination = Termination::default();
        let processes = Arc::new(Processes::new(Arc::new(Tree::new(Scope::Own)), log, termination.clone()));
        Self { folder, spool, termination, processes }
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
        self.log().into_iter().map(|line| line.msg).collect()
    }

    fn log(&self) -> Vec<LogLine> {
        let (mut position, mut out) = (Position::START, Vec::new());
        while let Some((block, next)) = self.spool.read(position, 1 << 20).unwrap() {
            let lines = block.payload.split_inclusive(|byte| *byte == b'\n');
            out.extend(lines.map(|line| serde_json::from_slice::<LogLine>(line).unwrap()));
            position = next;
        }
        out
    }
}

/// False if the process is gone or a zombie.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

fn kill(pid: &str) {
    kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn both_streams_are_one_log_in_the_order_of_writing() {
    let fixture = Fixture::new();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let job = fixture
        .job("echo out; echo err >&2; printf 'a\\r\\n50%%\\r'; echo \"$ONLY $HOME\"; printf end; exit 7");
    let outcome = fixture.processes.run(job, move |line| seen.lock().unwrap().push(line.to_owned())).await;
    assert_eq!(outcome.unwrap(), Outcome::Exited(Exit::Code(7)));
    assert_eq!(fixture.lines(), ["out", "err", "a", "50%\rthis ", "end"]);
    assert_eq!(*lines.lock().unwrap(), fixture.lines());
}

#[tokio::test]
async fn every_line_is_in_the_log_when_the_process_has_ended() {
    let fixture = Fixture::new();
    let job = fixture.job("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done");
    fixture.processes.run(job, |_| {}).await.unwrap();
    let lines = fixture.lines();
    assert_eq!(lines.len(), 20_000);
    assert!((1..).zip(&lines).all(|(number, line)| *line == format!("line {number}")));
}

#[tokio::test]
async fn a_signal_is_an_exit_too_and_a_missing_program_an_error() {
    let fixture = Fixture::new();
    let outcome = fixture.processes.run(fixture.job("kill -9 $$"), |_| {}).await.unwrap();
    assert_eq!(outcome, Outcome::Exited(Exit::Signal(9)));
    let missing = Job { program: "/nowhere/executor".into(), ..fixture.job("") };
    assert!(fixture.processes.run(missing, |_| {}).await.is_err());
}

#[tokio::test]
async fn background_processes_keep_running_until_the_end_of_the_run() {
    let fixture = Fixture::new();
    let job = fixture.job("sh -c 'echo $$; exec sleep 1000' & sleep 0.2; echo over");
    let began = Instant::now();
    assert_eq!(fixture.processes.run(job, |_| {}).await.unwrap(), Outcome::Exited(Exit::Code(0)));
    assert!(began.elapsed() < Duration::from_secs(10));
    let lines = fixture.lines();
    assert_eq!(lines[1], "over");
    assert!(is_alive(&lines[0]));
    kill(&lines[0]);
}

#[tokio::test]
async fn a_background_process_that_writes_without_end_does_not_block() {
    let fixture = Fixture::new();
    let job = fixture.job("sh -c 'echo $$; exec yes $(printf %01000d 0)' & sleep 0.3; exit 0");
    let (send, mut lines) = mpsc::unbounded_channel();
    let began = Instant::now();
    // Slower than the writer. A reader that never yields blocks the timeout below too, so a failing test is ended here.
    let on_line = move |line: &str| {
        assert!(began.elapsed() < LONG, "still reading");
        send.send(line.to_owned()).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    };
    let outcome = timeout(LONG, fixture.processes.run(job, on_line)).await;
    let pid = lines.recv().await.unwrap();
    assert!(is_alive(&pid));
    // The process keeps writing, and its output is still read.
    while lines.try_recv().is_ok() {}
    timeout(LONG, lines.recv()).await.unwrap().unwrap();
    kill(&pid);
    timeout(LONG, fixture.processes.terminate()).await.unwrap();
    assert_eq!(outcome.unwrap().unwrap(), Outcome::Exited(Exit::Code(0)));
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_cancel_takes_effect_while_remaining_output_is_read() {
    let fixture = Fixture::new();
    // An incomplete line in a pipe that stays open is emitted only after the exit of the process.
    let job = fixture.job("sleep 1000 & echo $!; printf last");
    let (send, mut pids) = mpsc::unbounded_channel();
    let termination = fixture.termination.clone();
    let on_line = move |line: &str| match line {
        "last" => termination.trigger(TerminationCause::Cancelled),
        pid => send.send(pid.to_owned()).unwrap(),
    };
    let outcome = timeout(LONG, fixture.processes.run(job, on_line)).await;
    kill(&timeout(LONG, pids.recv()).await.unwrap().unwrap());
    assert_eq!(outcome.unwrap().unwrap(), Outcome::Terminated(TerminationCause::Cancelled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_terminates_the_whole_process_tree() {
    let fixture = Fixture::new();
    // One ignores SIGTERM, one has a session of its own, one is an orphan in a third session.
    let script = r#"
        sh -c 'trap : TERM; echo $$; while :; do sleep 1; done' &
        setsid sh -c 'echo $$; sleep 1000; :' &
        setsid sh -c 'sh -c "trap : TERM; echo \$\$; while :; do sleep 1; done" & sleep 1000' &
        echo $$
        wait
    "#;
    let (send, mut pids) = mpsc::unbounded_channel();
    let job = fixture.job(script);
    let processes = Arc::clone(&fixture.processes);
    let running = async {
        let outcome = processes.run(job, move |line| send.send(line.to_owned()).unwrap()).await.unwrap();
        assert_eq!(outcome, Outcome::Terminated(TerminationCause::Cancelled));
    };
    let cancelling = async {
        let mut all = Vec::new();
        for _ in 0..4 {
            let pid = timeout(Duration::from_secs(10), pids.recv()).await.unwrap().unwrap();
            assert!(is_alive(&pid), "{pid}");
            all.push(pid);
        }
        fixture.termination.trigger(TerminationCause::Cancelled);
        (all, Instant::now())
    };
    let ((), (pids, asked)) = tokio::join!(running, cancelling);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    for pid in pids {
        assert!(!is_alive(&pid), "{pid} is alive");
    }
    // No new process is started.
    let outcome = fixture.processes.run(fixture.job("echo no"), |_| {}).await.unwrap();
    assert_eq!(outcome, Outcome::Terminated(TerminationCause::Cancelled));
}

/// Runs a script as Kaniko, with steps that have outputs of their own.
async fn as_kaniko(fixture: &Fixture, script: &str) -> (Outcome, RunSteps) {
    let layout = Layout::below(fixture.folder.path());
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bakery-agent"), layout.agent()).unwrap();
    let steps = RunSteps::install(&layout, false).unwrap().unwrap();
    let (output, writer) = fixture.processes.output(Source::Kaniko, |_| {}).unwrap();
    let script = script.replace("STEP", &format!("{} -s -- /bin/sh -c", layout.shim().display()));
    let outcome = tokio::select! {
        outcome = fixture.processes.run_until(fixture.job(&script), &output, writer, std::future::pending()) => outcome,
        () = steps.serve(&fixture.processes, &output) => unreachable!(),
    };
    (outcome.unwrap(), steps)
}

#[tokio::test]
async fn the_lines_of_a_step_are_its_own_and_in_their_order() {
    let fixture = Fixture::new();
    let script = "echo one; STEP 'echo two; echo three >&2; printf four; exit 3'; echo five $?; \
                  STEP 'printf \"error building image: forged\"; kill -9 $$'; echo six $?";
    let (outcome, steps) = timeout(LONG, as_kaniko(&fixture, script)).await.unwrap();
    assert_eq!(outcome, Outcome::Exited(Exit::Code(0)));
    let lines: Vec<_> = fixture.log().into_iter().map(|line| (line.src, line.msg)).collect();
    let expected = [
        (Source::Kaniko, "one"),
        (Source::Run, "two"),
        (Source::Run, "three"),
        (Source::Run, "four"),
        (Source::Kaniko, "five 3"),
        (Source::Run, "error building image: forged"),
        (Source::Kaniko, "six 137"),
    ];
    assert_eq!(lines, expected.map(|(source, text)| (source, text.to_owned())));
    let last = steps.last().unwrap();
    assert_eq!((last.exit, last.tail), (Exit::Signal(9), vec!["error building image: forged".to_owned()]));
}

#[tokio::test]
async fn a_step_that_leaves_a_program_behind_ends_and_one_without_the_agent_runs_too() {
    let fixture = Fixture::new();
    let script = "STEP 'sleep 60 & echo left'; echo ended; rm steps.sock; \
                  printf '#!/bin/sh\nshift 2; exec \"$@\"\n' >bakery-tini; chmod 755 bakery-tini; STEP 'echo alone; exit 4'; echo $?";
    let (outcome, _steps) = timeout(LONG, as_kaniko(&fixture, script)).await.unwrap();
    assert_eq!(outcome, Outcome::Exited(Exit::Code(0)));
    assert_eq!(fixture.lines(), ["left", "ended", "alone", "4"]);
    fixture.processes.terminate().await;
}

/// The request to read the rest may meet the end of the output.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_ends_while_it_is_asked_for_its_rest_answers() {
    let fixture = Fixture::new();
    for round in 0..20_000 {
        let (output, writer) = fixture.processes.output(Source::Kaniko, |_| {}).unwrap();
        drop(writer);
        assert!(timeout(LONG, output.drained()).await.is_ok(), "{round}");
    }
}
