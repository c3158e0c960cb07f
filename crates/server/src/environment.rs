//! The process: its variables (the environment over the `.env` file of the working directory), its log, its limits.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use bakery_context::read_user_text;
use bakery_core::compose::gather_dotenv;
use bakery_core::limits::SPEC_BYTES;
use bakery_core::message::Message;
use bakery_core::report::{Findings, Location, Report};
use bakery_core::vars::{Layered, Vars};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::prelude::*;

mod json;

use crate::clock::Clock;
use crate::settings::{LogFormat, LogSettings};
use json::Json;

/// The variables of the process.
pub type Environment = Layered<BTreeMap<String, String>, BTreeMap<String, String>>;

/// Reads the variables of the process, and the mistakes in `.env`; the rest of that file is used all the same. Variables
/// that are not UTF-8 are left out: none of the server's is one.
pub fn read() -> (Environment, Option<Report>) {
    let process: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut findings = Findings::default();
    let lower = match read_user_text(Path::new(".env"), SPEC_BYTES as u64) {
        Ok(text) => gather_dotenv(".env", &text, &process, &mut findings),
        Err(error) if error.is_not_found() => BTreeMap::new(),
        Err(error) => {
            findings.mistake(Location::file(".env"), Message::of(&error));
            BTreeMap::new()
        }
    };
    let report = findings.finish(()).err();
    (Layered { upper: process, lower }, report)
}

/// True if the process runs as root. Then the data folder is the system's.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Raises the limit of open files to the hard limit, and returns it.
pub fn raise_open_files() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { before.maximum } else { before.current };
    now.unwrap_or(u64::MAX)
}

/// Writes the server's own log to stderr from now on; in JSON also panics, whatever the filter.
///
/// The level `trace` is for our own modules only: libraries trace what they send and receive, secrets included.
pub fn trace(vars: &dyn Vars, log: &LogSettings) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let ours = filter_fn(|it| *it.level() != Level::TRACE || it.target().starts_with("bakery_"));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match log.format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal() && vars.setting("NO_COLOR").is_none();
            layer.with_ansi(ansi).boxed()
        }
        LogFormat::Json => {
            std::panic::set_hook(Box::new(|panic| write_line("panic", "panic", panic.to_string(), None)));
            layer.fmt_fields(JsonFields::new()).event_format(Json { clock: Clock::system() }).boxed()
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter).with_filter(ours)).init();
    Ok(())
}

/// Writes why the server failed as a line of its JSON log, whatever the filter. The hint is a field of its own.
pub fn log_failure(error: &(dyn Error + 'static), hint: Option<&str>) {
    write_line("the server failed", "error", json::with_causes(error), hint);
}

/// Writes to stderr and ignores failures: there is no other place left to report them.
fn write_line(message: &str, key: &str, text: String, hint: Option<&str>) {
    let line = json::unfiltered(&Clock::system(), message, key, text, hint);
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that panics: the test starts itself again.
    const PANICS: &str = "BAKERY_TEST_PANICS";

    #[test]
    fn a_panic_is_one_line_of_json_even_if_the_log_is_off() {
        let name = "environment::tests::a_panic_is_one_line_of_json_even_if_the_log_is_off";
        if std::env::var_os(PANICS).is_some() {
            let log = LogSettings { filter: "off".to_owned(), format: LogFormat::Json };
            trace(&BTreeMap::<String, String>::new(), &log).unwrap();
            panic!("two\nlines");
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", name, "--nocapture"]).env(PANICS, "yes").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let line = stderr.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{stderr}"));
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&"error".into(), &"panic".into()));
        assert!(line["panic"].as_str().unwrap().contains("two\nlines"), "{line}");
        assert!(line["ts"].is_string() && line["target"] == "bakery_server", "{line}");
    }
}
