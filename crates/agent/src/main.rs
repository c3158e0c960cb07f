//! The entry point of the agent's container. Exit code 0: the report was delivered, whatever the result; 1: it was not.
//! The only arguments are `--help` and `--version`; everything else is configured by environment variables.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use bakery_agent::layout::SHIM;
use bakery_agent::{AgentError, Layout, start, step_shim};
use bakery_core::message::{Hint as _, rendered};

const HELP: &str = "\
Runs one task of a build: fetches the source, runs the pre-script, Kaniko and the post-script, and
reports to the server.

bakery-server starts it, in a container of the agent image, and sets BAKERY_URL, BAKERY_RUN and
BAKERY_LAUNCH_TOKEN. Do not start it by hand.

Usage: bakery-agent [--help | --version]";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some((program, args)) = args.split_first()
        && Path::new(program).file_name().is_some_and(|name| name == SHIM)
    {
        return step_shim::run(Path::new(program), args);
    }
    let output = match args.get(1).and_then(|arg| arg.to_str()) {
        Some("--version") => Some(concat!("bakery-agent ", env!("BAKERY_VERSION"))),
        Some("--help") => Some(HELP),
        _ => None,
    };
    if let Some(output) = output {
        println!("{output}");
        return ExitCode::SUCCESS;
    }
    // The container's own log: a few lines for the platform's operator. The build's log goes to the server.
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).with_target(false).init();
    // First of all, because everything after this may start untrusted processes.
    let done = start::protect().map_err(AgentError::from).and_then(|()| work());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", rendered(&error.to_string(), error.hint().as_deref()));
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), AgentError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let vars = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let vars: BTreeMap<String, String> = vars.collect();
    let done = runtime.block_on(bakery_agent::run(Layout::image(), &vars));
    // A blocking thread that still waits for a disk or a process must not keep the container alive.
    runtime.shutdown_background();
    done.map(drop)
}
