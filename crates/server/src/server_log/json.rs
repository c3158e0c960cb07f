//! The server's own log with one JSON object a line and the client log's keys: `ts`, `level`, `message`.
//!
//! The fields of an event and of the spans around it are added under their own names, an error as its text and the texts
//! of its causes: the formatter of `tracing-subscriber` drops the causes, and they are what an operator looks for.

use std::error::Error;
use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::clock::Clock;

/// Formats events; see the module. The fields of spans have to be formatted by `JsonFields`.
pub(super) struct Json {
    pub(super) clock: Clock,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let mut line = Line(Map::new());
        // From the outermost span to the event itself: of one name, the innermost value is kept.
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            let fields = fields.and_then(|it| serde_json::from_str::<Map<String, Value>>(&it.fields).ok());
            line.0.extend(fields.unwrap_or_default());
        }
        event.record(&mut line);
        line.0.entry("message").or_insert_with(|| meta.name().into());
        writeln!(out, "{}", line.stamped(&self.clock, *meta.level(), meta.target()))
    }
}

/// The line of an error that is written whatever the filter: `message`, the text under `key`, and the hint.
pub(super) fn unfiltered(clock: &Clock, message: &str, key: &str, text: String, hint: Option<&str>) -> Value {
    let mut line = Line(Map::new());
    line.put(key, text);
    if let Some(hint) = hint {
        line.put("hint", hint);
    }
    line.put("message", message);
    line.stamped(clock, Level::ERROR, env!("CARGO_CRATE_NAME"))
}

/// The text of an error, followed by the texts of all its causes.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

struct Line(Map<String, Value>);

impl Line {
    /// Adds what every line has. Called last, so that no field of an event replaces it.
    fn stamped(mut self, clock: &Clock, level: Level, target: &str) -> Value {
        self.put("ts", clock.now().to_string());
        self.put("level", level.as_str().to_ascii_lowercase());
        self.put("target", target);
        Value::Object(self.0)
    }

    fn put(&mut self, name: &str, value: impl Into<Value>) {
        // `r#type` is called `type`.
        self.0.insert(name.trim_start_matches("r#").to_owned(), value.into());
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field.name(), with_causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use bakery_core::names::Platform;
    use jiff::Timestamp;
    use tracing_subscriber::fmt::format::JsonFields;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the push failed")]
    struct PushError(#[source] io::Error);

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_object_with_every_field_and_every_cause() {
        let (buffer, clock) = (Buffer::default(), Clock::standing_at(Timestamp::UNIX_EPOCH));
        let out = buffer.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(Json { clock })
            .with_writer(move || out.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let error = PushError(io::Error::other("no \"space\"\nleft"));
            let platform = Platform::K8s;
            let _request = tracing::error_span!("request", request_id = "7f", tries = 1).entered();
            tracing::error!(%platform, tries = 3_u64, level = "loud", error = &error as &dyn Error, "not built");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        insta::assert_snapshot!(text.trim_end(), @r#"{"error":"the push failed: no \"space\"\nleft","level":"error","message":"not built","platform":"k8s","request_id":"7f","target":"bakery_server::server_log::json::tests","tries":3,"ts":"1970-01-01T00:00:00Z"}"#);
        assert_eq!(text.lines().count(), 1);
    }
}
