//! The controller's program.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use bakery_core::vars::Vars;
use bakery_server::cli::{Cli, Command};
use bakery_server::settings::{LogFormat, Settings};
use bakery_server::{check, environment, health, wiring};
use clap::Parser as _;

/// A mistake in the settings, or in the call.
const SETTINGS: u8 = 2;
/// Something that the settings name is not there, or failed.
const ENVIRONMENT: u8 = 4;
fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let (vars, unread) = environment::read();
    if let Some(Command::Health { live }) = cli.command {
        return health(&vars, if live { health::Asked::Live } else { health::Asked::Ready });
    }
    let settings = match (wiring::settle(&vars, environment::is_root()), unread) {
        (Ok(settings), None) => settings,
        (settled, unread) => {
            let reports = [unread.map(|report| report.to_string()), settled.err().map(|bad| bad.to_string())];
            return Ok(mistakes(&reports));
        }
    };
    environment::trace(&vars, &settings.log)?;
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

fn health(vars: &dyn Vars, asked: health::Asked) -> anyhow::Result<ExitCode> {
    let listen = match Settings::listen(vars) {
        Ok(listen) => listen,
        Err(bad) => return Ok(mistakes(&[Some(bad.to_string())])),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(match runtime.block_on(health::ask(listen, asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("not {asked}: {why}");
            ExitCode::from(ENVIRONMENT)
        }
    })
}

/// Prints to standard output. A reader that has gone away, as `head` does, has read what it wanted.
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

/// The last word: with its hint and its causes in lines of their own for people, in the log for who reads that alone.
fn failed(error: &(dyn Error + 'static), format: LogFormat) -> ExitCode {
    match format {
        LogFormat::Json => environment::last_word(error),
        LogFormat::Text => {
            eprintln!("error: {error}");
            for cause in std::iter::successors(error.source(), |cause| (*cause).source()) {
                eprintln!("  caused by: {cause}");
            }
        }
    }
    ExitCode::from(ENVIRONMENT)
}
