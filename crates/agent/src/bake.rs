//! Kaniko's run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bakery_core::image::ImageRef;
use bakery_core::kaniko::{self, ArgvInput, ExecutorFacts, PINNED_VERSION};
use bakery_core::mask::Mask;
use bakery_core::reason::Reason;
use bakery_core::wire::log::{Level, Source};
use bakery_core::wire::run::{Stage, TaskOrder};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::cgroup::OomCounter;
use crate::diagnose::{self, Evidence};
use crate::failure::{Failure, Stop, Tail};
use crate::layout::Layout;
use crate::log::Log;
use crate::process::{Exit, Job, Outcome, Processes};
use crate::stages::Stages;
use crate::tree::Tree;

/// How long the executor may take to name its version; an emulated one needs seconds.
const VERSION_TIME: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read.
const VERSION_BYTES: u64 = 1 << 20;
/// What Kaniko says when it begins to push the image, and before each layer that it pushes into the cache.
const PUSHES: &str = "Pushing image to ";
/// What Kaniko says where it leaves out what a Dockerfile copies into its own folder.
const SKIPS: &str = "Skipping copy targeting kaniko directory";

/// Asks the executor what it is. An executor that does not say in time counts as the pinned one.
pub async fn facts(layout: &Layout, env: &BTreeMap<String, String>, tree: &Tree) -> ExecutorFacts {
    let version = ask(&layout.executor, &["version"], env, tree).await;
    if version.split_whitespace().any(|word| word == PINNED_VERSION) {
        return ExecutorFacts::pinned();
    }
    let help = ask(&layout.executor, &["--help"], env, tree).await;
    ExecutorFacts::read(&version, &help)
}

/// Whether tini can do its work here: an image may lack it, and under QEMU it cannot become a subreaper. With one that
/// cannot, every RUN would fail.
async fn tini_works(layout: &Layout, env: &BTreeMap<String, String>, tree: &Tree) -> bool {
    let tini = layout.tini.to_string_lossy();
    layout.tini.is_file() && !ask(&layout.tini, &["-s", "--", &tini, "--version"], env, tree).await.is_empty()
}

async fn ask(program: &Path, question: &[&str], env: &BTreeMap<String, String>, tree: &Tree) -> String {
    let mut command = Command::new(program);
    command.args(question).env_clear().envs(env).stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
    let Ok(mut child) = tree.start(&mut command) else { return String::new() };
    let pid = child.id();
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        let _ = timeout(VERSION_TIME, output.take(VERSION_BYTES).read_to_end(&mut text)).await;
    }
    let _ = child.start_kill();
    let _ = child.wait().await;
    if let Some(pid) = pid {
        tree.buried(pid);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Builds the image, and pushes it where Kaniko does that. Ends well only with Kaniko's exit code 0.
pub async fn run(
    order: &TaskOrder,
    layout: &Layout,
    env: &BTreeMap<String, String>,
    facts: &ExecutorFacts,
    stages: &Arc<Stages>,
    processes: &Processes,
    log: &Log,
) -> Result<(), Stop> {
    paths(order, &layout.source())?;
    let paths = layout.kaniko();
    let input = ArgvInput {
        arch: order.arch,
        push_to: order.push_to.as_ref(),
        push: order.push,
        insecure_registries: &order.insecure_registries,
        paths: &paths,
    };
    let (args, notices) = kaniko::argv(&order.kaniko, &input, facts);
    for notice in notices {
        log.say(Level::Warn, &notice);
    }
    log.say(
        Level::Info,
        &format!("Kaniko {}: executor {}", facts.version, shown(&Mask::default().arguments(&args))),
    );
    let output = layout.output();
    std::fs::create_dir_all(&output).map_err(|error| Failure::disk(&output, &error))?;
    let mut env = env.clone();
    env.insert("BUILDER_OUTPUT".to_owned(), output.to_string_lossy().into_owned());
    if tini_works(layout, &env, processes.tree()).await {
        env.entry("FF_KANIKO_RUN_VIA_TINI".to_owned()).or_insert_with(|| "true".to_owned());
    }
    let memory = OomCounter::start(&layout.cgroups);
    let tail = Arc::new(Mutex::new(Tail::default()));
    let (lines, stage) = (Arc::clone(&tail), Arc::clone(stages));
    let job = Job {
        program: layout.executor.clone(),
        args: args.into_iter().map(Into::into).collect(),
        folder: layout.source(),
        env: env.into_iter().collect(),
        source: Source::Kaniko,
    };
    let ours = order.push_to.clone().filter(|_| !order.kaniko.no_push);
    let skipped = Arc::new(AtomicBool::new(false));
    let skips = Arc::clone(&skipped);
    let outcome = processes
        .run(job, move |line| {
            if ours.as_ref().is_some_and(|image| begins_to_push(line, image)) {
                stage.enter(Stage::Push);
            }
            if line.contains(SKIPS) {
                skips.store(true, Ordering::Relaxed);
            }
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        })
        .await
        .map_err(|error| {
            let text = format!("Kaniko cannot be started: `{}`: {error}", layout.executor.display());
            Failure::new(Reason::Internal, text).hint("the agent image must hold /kaniko/executor")
        })?;
    let kills = memory.kills();
    match outcome {
        Outcome::Ended(cause) => Err(Stop::Ended(cause)),
        Outcome::Exited(Exit::Code(0)) => {
            if kills > 0 {
                let text =
                    format!("while Kaniko ran, the kernel ended processes for want of memory: {kills}");
                log.say(Level::Warn, &text);
            }
            if skipped.load(Ordering::Relaxed) {
                let here = layout.root.display();
                let text = format!(
                    "the image lacks what its Dockerfile copies below {here}, where Kaniko itself lives"
                );
                log.say(Level::Warn, &format!("{text} (hint: name another folder as `kaniko.dir`)"));
            }
            Ok(())
        }
        Outcome::Exited(exit) => {
            let tail = tail.lock().unwrap_or_else(PoisonError::into_inner).lines();
            let registry = order.push_to.as_ref().map(|image| image.registry.as_str());
            Err(diagnose::executor(&Evidence { exit, tail: &tail, oom_kills: kills, registry }).into())
        }
    }
}

/// Whether Kaniko says here that it begins to push the image. Names are compared as registries understand them.
fn begins_to_push(line: &str, image: &ImageRef) -> bool {
    let word = line.split_once(PUSHES).and_then(|(_, rest)| rest.split_whitespace().next());
    word.and_then(|word| word.parse::<ImageRef>().ok())
        .is_some_and(|it| it.name() == image.name() && it.tag_or_latest() == image.tag_or_latest())
}

/// Says which of the paths that the config names is not there, before Kaniko says it in its own words.
fn paths(order: &TaskOrder, source: &Path) -> Result<(), Failure> {
    let kaniko = &order.kaniko;
    let missing = |text: String| {
        let hint = "paths are relative to the packed folder (--repo); an ignore file may drop it, a pre-script may make it";
        Failure::new(Reason::ContextIncomplete, text).hint(hint)
    };
    let context = source.join(&kaniko.context_path);
    if !context.is_dir() {
        return Err(missing(format!(
            "the build context `{}` is not a folder of the source",
            kaniko.context_path
        )));
    }
    if !context.join(&kaniko.dockerfile).is_file() {
        let (file, context) = (&kaniko.dockerfile, &kaniko.context_path);
        return Err(missing(format!("there is no Dockerfile `{file}` in the build context `{context}`")));
    }
    Ok(())
}

/// A command line for people: an argument that a shell would cut is put into quotes.
fn shown(args: &[String]) -> String {
    let plain = |arg: &str| {
        !arg.is_empty() && arg.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=./:,@%+".contains(&b))
    };
    let words: Vec<_> = args
        .iter()
        .map(|arg| if plain(arg) { arg.clone() } else { format!("'{}'", arg.replace('\'', r"'\''")) })
        .collect();
    words.join(" ")
}
