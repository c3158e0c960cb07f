//! `bakery-client`: see the library's documentation.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bakery_client::cli::Cli;
use bakery_client::exit::Failure;
use bakery_client::variables::VARIABLES;
use bakery_client::{one_dash, run, stderr};
use bakery_core::vars::from_os;
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse_from(one_dash::with_two_dashes(std::env::args_os()));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_code(Err(Failure::local(format!("threads cannot be started: {error}")))),
    };
    let ended = environment().and_then(|environment| runtime.block_on(run(cli, environment)));
    // Do not wait for a thread that still packs, or that writes to a reader that has stopped reading.
    runtime.shutdown_background();
    exit_code(ended.map(ExitCode::from))
}

fn exit_code(ended: Result<ExitCode, Failure>) -> ExitCode {
    ended.unwrap_or_else(|failure| {
        stderr::error(&failure);
        failure.exit.into()
    })
}

/// The process environment, without variables that are not UTF-8: none of them may be a setting.
fn environment() -> Result<BTreeMap<String, String>, Failure> {
    let (vars, unreadable) = from_os(std::env::vars_os());
    match unreadable.iter().find(|name| VARIABLES.contains(&name.as_str())) {
        Some(name) => {
            Err(Failure::input(format!("{name}: not UTF-8"), "set it to a text in UTF-8, or leave it unset"))
        }
        None => Ok(vars),
    }
}
