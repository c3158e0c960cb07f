//! The program `bakery-server`.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use bakery_core::message::{Hint as _, rendered};
use bakery_core::vars::Vars;
use bakery_server::cli::{Cli, Command};
use bakery_server::health::HealthQuery;
use bakery_server::settings::{LogFormat, Settings};
use bakery_server::wiring::StartError;
use bakery_server::{check, environment, health, process, server_log, wiring};
use clap::Parser as _;

/// Exit code for mistakes in the settings or on the command line.
const SETTINGS: u8 = 2;
/// Exit code if something that the settings name is not available, or the server failed.
const ENVIRONMENT: u8 = 4;

fn main() -> anyhow::Result<ExitCode> {
    process::protect()?;
    let cli = Cli::parse();
    let (vars, unread) = environment::read();
    if let Some(Command::Health { live }) = cli.command {
        let query = if live { HealthQuery::Live } else { HealthQuery::Ready };
        return health(&vars, query);
    }
    let settings = match (wiring::settle(&vars, process::is_root()), unread) {
        (Ok(settings), None) => settings,
        (settled, unread) => {
            let reports = [unread.map(|report| report.to_string()), settled.err().map(|bad| bad.to_string())];
            return Ok(mistakes(&reports));
        }
    };
    server_log::trace(&vars, &settings.log)?;
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some(Command::Check) = cli.command {
        let found = runtime.block_on(check::check(&settings, &vars));
        show(&format!("{}\n{}", check::effective(&settings, &vars), found.text))?;
        return Ok(if found.good { ExitCode::SUCCESS } else { ExitCode::from(ENVIRONMENT) });
    }
    runtime
        .block_on(wiring::run(&settings, &vars))
        .map_or_else(|error| Ok(failed(&error, settings.log.format)), |()| Ok(ExitCode::SUCCESS))
}

fn health(vars: &dyn Vars, query: HealthQuery) -> anyhow::Result<ExitCode> {
    let listen = match Settings::listen(vars) {
        Ok(listen) => listen,
        Err(bad) => return Ok(mistakes(&[Some(bad.to_string())])),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(match runtime.block_on(health::ask(listen, query)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("not {query}: {}", message.rendered());
            ExitCode::from(ENVIRONMENT)
        }
    })
}

/// Prints to standard output. A reader that closes the pipe early, as `head` does, is not an error.
fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn mistakes(reports: &[Option<String>]) -> ExitCode {
    for report in reports.iter().flatten() {
        eprintln!("{report}");
    }
    ExitCode::from(SETTINGS)
}

/// Shows why the server ended: as the last line of a JSON log, else with hint and causes on lines of their own.
fn failed(error: &StartError, format: LogFormat) -> ExitCode {
    let hint = error.hint();
    match format {
        LogFormat::Json => server_log::log_failure(error, hint.as_deref()),
        LogFormat::Text => {
            eprintln!("error: {}", rendered(&error.to_string(), hint.as_deref()));
            for cause in std::iter::successors(error.source(), |cause| (*cause).source()) {
                eprintln!("  caused by: {cause}");
            }
        }
    }
    ExitCode::from(ENVIRONMENT)
}
