//! `bakery-client`: see the library's documentation.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bakery_client::cli::Cli;
use bakery_client::exit::Failure;
use bakery_client::{run, talk};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Failure::ours(format!("no threads: {error}")))),
    };
    let ended = runtime.block_on(run(cli, environment()));
    // A pack that nobody waits for, or a log that nobody reads, must not hold the exit.
    runtime.shutdown_background();
    end(ended.map(ExitCode::from))
}

fn end(ended: Result<ExitCode, Failure>) -> ExitCode {
    ended.unwrap_or_else(|failure| {
        talk::fail(&failure);
        failure.exit.into()
    })
}

/// The process environment; what is no text is no setting of ours.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
