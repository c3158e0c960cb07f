//! Running Kaniko.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::kaniko::{self, ArgvInput, ExecutorFacts, PINNED_VERSION};
use bakery_core::mask::Mask;
use bakery_core::message::Message;
use bakery_core::reason::Reason;
use bakery_core::wire::log::{Level, Source};
use bakery_core::wire::run::TaskOrder;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::build_secrets::SecretFiles;
use crate::cgroup::OomCounter;
use crate::diagnose::{self, Evidence};
use crate::disk;
use crate::failure::{Failure, Stop};
use crate::fresh;
use crate::kaniko_lines::KanikoLines;
use crate::layout::Layout;
use crate::log::Log;
use crate::process::{Exit, Job, Outcome, Processes};
use crate::process_tree::Tree;
use crate::run_steps::RunSteps;
use crate::stages::Stages;

/// Time limit for a question to the executor (`version`, `--help`); an emulated executor needs seconds.
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum size of an answer, in bytes.
const QUERY_BYTES: u64 = 1 << 20;

/// Asks the executor for its version and options. One that does not answer in time is treated as the pinned version.
pub async fn executor_facts(layout: &Layout, env: &BTreeMap<String, String>, tree: &Tree) -> ExecutorFacts {
    let version = output_of(&layout.executor, &["version"], env, tree).await;
    if version.split_whitespace().any(|part| part == PINNED_VERSION) {
        return ExecutorFacts::pinned();
    }
    let help = output_of(&layout.executor, &["--help"], env, tree).await;
    ExecutorFacts::read(&version, &help)
}

/// Whether tini works here: the image may lack it, and under QEMU it cannot become a subreaper. Every `RUN` would fail
/// with a tini that does not work.
async fn tini_works(layout: &Layout, env: &BTreeMap<String, String>, tree: &Tree) -> bool {
    let tini = layout.shim();
    let name = tini.to_string_lossy();
    tini.is_file() && !output_of(&tini, &["-s", "--", &name, "--version"], env, tree).await.is_empty()
}

/// Runs a program and returns what it writes to stdout; empty if it cannot be started.
async fn output_of(program: &Path, args: &[&str], env: &BTreeMap<String, String>, tree: &Tree) -> String {
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(env).stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
    let Ok(mut child) = tree.start(&mut command) else { return String::new() };
    let pid = child.id();
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        let _ = timeout(QUERY_TIMEOUT, output.take(QUERY_BYTES).read_to_end(&mut text)).await;
    }
    let _ = child.start_kill();
    let _ = child.wait().await;
    if let Some(pid) = pid {
        tree.forget(pid);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Builds the image, and pushes it where Kaniko does that. `Ok` only if Kaniko exits with 0.
pub async fn run(
    order: &TaskOrder,
    layout: &Layout,
    env: &BTreeMap<String, String>,
    facts: &ExecutorFacts,
    stages: &Arc<Stages>,
    processes: &Processes,
    log: &Log,
) -> Result<(), Stop> {
    check_paths(order, &layout.source())?;
    let paths = layout.kaniko();
    let input = ArgvInput {
        arch: order.arch,
        push_to: order.push_to.as_ref(),
        also_push_to: &order.also_push_to,
        push: order.push,
        insecure_registries: &order.insecure_registries,
        paths: &paths,
    };
    let (args, notices) = kaniko::argv(&order.kaniko, &input, facts);
    for notice in notices {
        log.message(Level::Warn, notice);
    }
    log.message(
        Level::Info,
        format!("Kaniko {}: executor {}", facts.version, shell_quoted(&Mask::default().arguments(&args))),
    );
    let output = layout.output();
    std::fs::create_dir_all(&output).map_err(|error| Failure::io(&output, &error))?;
    let mut env = env.clone();
    env.insert("BUILDER_OUTPUT".to_owned(), output.to_string_lossy().into_owned());
    let by_tini = tini_works(layout, &env, processes.tree()).await;
    let steps = RunSteps::install(layout, by_tini).map_err(|error| Failure::io(&layout.shim(), &error))?;
    if by_tini || steps.is_some() {
        env.entry("FF_KANIKO_RUN_VIA_TINI".to_owned()).or_insert_with(|| "true".to_owned());
    }
    if let Some(text) = &order.kaniko.dockerfile_inline {
        let path = layout.dockerfile_inline();
        let written = fresh::remove(&path).and_then(|()| fresh::write(&path, 0o600, text));
        written.map_err(|error| Failure::io(&path, &error))?;
    }
    let folder = layout.secrets();
    let secrets =
        SecretFiles::write(layout, &order.kaniko.secrets).map_err(|error| Failure::io(&folder, &error))?;
    let memory = OomCounter::start(&layout.cgroups);
    let job = Job {
        program: layout.executor.clone(),
        args: args.into_iter().map(Into::into).collect(),
        folder: layout.source(),
        env: env.into_iter().collect(),
        source: Source::Kaniko,
    };
    let pushed = order.pushed_names().cloned().collect();
    let lines = Arc::new(KanikoLines::new(pushed, Arc::clone(stages), steps.is_some()));
    let ran = run_executor(job, &lines, steps.as_ref(), processes).await;
    let outcome = ran.map_err(|error| {
        let text = format!("Kaniko cannot be started: `{}`: {error}", layout.executor.display());
        Failure::new(Reason::Internal, text).with_hint("the agent image must contain /kaniko/executor")
    })?;
    drop(secrets);
    let kills = memory.kills();
    match outcome {
        Outcome::Terminated(cause) => Err(Stop::Terminated(cause)),
        Outcome::Exited(Exit::Code(0)) => {
            if kills > 0 {
                let text = format!(
                    "processes killed by the kernel while Kaniko was running: {kills} (out of memory)"
                );
                log.message(Level::Warn, text);
            }
            if lines.has_skipped() {
                let root = layout.root.display();
                let text = format!(
                    "files that the Dockerfile copies below {root} are missing in the image: it is Kaniko's own folder"
                );
                log.message(Level::Warn, Message::new(text).with_hint("set `kaniko.dir` to another folder"));
            }
            Ok(())
        }
        Outcome::Exited(exit) => {
            let tail = lines.tail();
            let registry = order.push_to.as_ref().map(|image| image.registry.as_str());
            let step = steps.as_ref().and_then(RunSteps::last);
            let disk_is_full = disk::is_full(&layout.home);
            let evidence =
                Evidence { exit, tail: &tail, oom_kills: kills, registry, step: step.as_ref(), disk_is_full };
            Err(diagnose::executor(&evidence).into())
        }
    }
}

/// Runs Kaniko, and gives its `RUN` steps their outputs. It is ended when it would try again what cannot succeed.
async fn run_executor(
    job: Job,
    lines: &Arc<KanikoLines>,
    steps: Option<&RunSteps>,
    processes: &Processes,
) -> io::Result<Outcome> {
    let seen = Arc::clone(lines);
    let (output, writer) = processes.output(Source::Kaniko, move |line| seen.line(line))?;
    let serve = async {
        match steps {
            Some(steps) => steps.serve(processes, &output).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = processes.run_until(job, &output, writer, lines.hopeless()) => outcome,
        () = serve => unreachable!("it serves until it is dropped"),
    }
}

/// Fails if a file or a folder of the config does not exist: this message is clearer than Kaniko's.
fn check_paths(order: &TaskOrder, source: &Path) -> Result<(), Failure> {
    let kaniko = &order.kaniko;
    let missing = |text: String| {
        let hint = "paths are relative to the packed folder (--repo); an ignore file can exclude them, a pre-script can create them";
        Failure::new(Reason::ContextIncomplete, text).with_hint(hint)
    };
    let context = source.join(&kaniko.context_path);
    if !context.is_dir() {
        return Err(missing(format!(
            "the build context `{}` is not a folder in the source",
            kaniko.context_path
        )));
    }
    for (registry, path) in &kaniko.certificates {
        // An absolute path is joined as it is.
        if !source.join(path).is_file() {
            return Err(missing(format!("the certificate `{path}` of {registry} does not exist")));
        }
    }
    if let Some(file) = kaniko.dockerfile_in_source().filter(|file| !context.join(file).is_file()) {
        let context = &kaniko.context_path;
        return Err(missing(format!(
            "the Dockerfile `{file}` does not exist in the build context `{context}`"
        )));
    }
    Ok(())
}

/// A command line for the log: an argument that a shell would split is quoted.
fn shell_quoted(args: &[String]) -> String {
    let plain = |arg: &str| {
        !arg.is_empty() && arg.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=./:,@%+".contains(&b))
    };
    let quoted: Vec<_> = args
        .iter()
        .map(|arg| if plain(arg) { arg.clone() } else { format!("'{}'", arg.replace('\'', r"'\''")) })
        .collect();
    quoted.join(" ")
}
