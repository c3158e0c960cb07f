//! `bakery-client`: see the library's documentation.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bakery_client::cli::Cli;
use bakery_client::exit::Failure;
use bakery_client::{run, stderr};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_code(Err(Failure::local(format!("threads cannot be started: {error}")))),
    };
    let ended = runtime.block_on(run(cli, environment()));
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

/// The process environment, without variables that are not UTF-8: none of them is a setting.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
