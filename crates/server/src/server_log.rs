//! The server's own log on stderr: which events are in it, and in which form.

use std::error::Error;
use std::io::{IsTerminal as _, Write as _};

use bakery_core::vars::Vars;
use tracing::{Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::Filter;
use tracing_subscriber::prelude::*;

mod json;

use crate::clock::Clock;
use crate::settings::{LogFormat, LogSettings};
use json::Json;

/// What is logged: what `directives` ask for, and of other programs' modules at most `info`.
///
/// Below that level libraries log what they send and receive, launch tokens and passwords included, and no directive
/// may lift that.
fn filter<S: Subscriber>(directives: &str) -> Result<impl Filter<S> + use<S>, ParseError> {
    let allowed = filter_fn(|it| *it.level() <= Level::INFO || it.target().starts_with("bakery_"));
    Ok(EnvFilter::try_new(directives)?.and(allowed))
}

/// Writes the server's own log to stderr from now on; in JSON also panics, whatever the filter.
pub fn trace(vars: &dyn Vars, log: &LogSettings) -> Result<(), ParseError> {
    let filter = filter(&log.filter)?;
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
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
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
    use std::collections::BTreeMap;
    use std::process::Command;
    use std::sync::{Arc, Mutex};

    use tracing::Event;
    use tracing_subscriber::layer::{Context, Layer};

    use super::*;

    /// Records the targets of events.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Recorder {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let meta = event.metadata();
            self.0.lock().unwrap().push(format!("{} {}", meta.target(), meta.level()));
        }
    }

    #[test]
    fn probe_24_no_directive_makes_a_library_log_what_it_sends() {
        for directives in
            ["debug", "trace", "bollard=trace,hyper=debug,kube=trace,aws_config=trace,sqlx=debug,trace"]
        {
            let recorder = Recorder::default();
            let layer = recorder.clone().with_filter(filter(directives).unwrap());
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                tracing::debug!(target: "bollard::docker", "BAKERY_LAUNCH_TOKEN=7f");
                tracing::trace!(target: "hyper::proto", "BAKERY_LAUNCH_TOKEN=7f");
                tracing::debug!(target: "kube_client::client", "BAKERY_LAUNCH_TOKEN=7f");
                tracing::debug!(target: "aws_smithy_runtime::client", "BAKERY_LAUNCH_TOKEN=7f");
                tracing::debug!(target: "log", "BAKERY_LAUNCH_TOKEN=7f");
                tracing::info!(target: "bollard::docker", "connected");
                tracing::debug!(target: "bakery_server::builds", "ours");
            });
            let seen = recorder.0.lock().unwrap().clone();
            assert_eq!(seen, ["bollard::docker INFO", "bakery_server::builds DEBUG"], "{directives}");
        }
    }

    /// Set in the process that panics: the test starts itself again.
    const PANICS: &str = "BAKERY_TEST_PANICS";

    #[test]
    fn a_panic_is_one_line_of_json_even_if_the_log_is_off() {
        let name = "server_log::tests::a_panic_is_one_line_of_json_even_if_the_log_is_off";
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
