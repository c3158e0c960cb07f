//! Every route, once. The constants are templates in axum's form; the functions fill them in.

use crate::names::{BuildId, RunName};
use crate::wire::cursor::Cursor;

/// Offer a context.
pub const CONTEXTS: &str = "/v1/contexts";
/// Send a context's blob.
pub const CONTEXT: &str = "/v1/contexts/{id}";
/// Submit, list.
pub const BUILDS: &str = "/v1/builds";
/// View, cancel.
pub const BUILD: &str = "/v1/builds/{id}";
/// Read or follow the log.
pub const BUILD_LOGS: &str = "/v1/builds/{id}/logs";
/// Versions, platforms, architectures.
pub const INFO: &str = "/v1/info";
/// Exchange the launch token for the task order.
pub const RUN_ORDER: &str = "/v1/runs/{run}/order";
/// The context's blob from the server's own store.
pub const RUN_CONTEXT: &str = "/v1/runs/{run}/context";
/// One segment of log.
pub const RUN_LOGS: &str = "/v1/runs/{run}/logs";
/// The report.
pub const RUN_REPORT: &str = "/v1/runs/{run}/report";
/// The process is alive.
pub const LIVEZ: &str = "/livez";
/// The process can take work.
pub const READYZ: &str = "/readyz";

/// The server's metrics.
pub const METRICS: &str = "/metrics";

/// [`CONTEXT`] of one context; `id` is the hex of its identity.
pub fn context(id: &str) -> String {
    format!("{CONTEXTS}/{id}")
}

/// [`BUILD`] of one build.
pub fn build(id: BuildId) -> String {
    format!("{BUILDS}/{id}")
}

/// [`BUILD_LOGS`] of one build from a cursor on.
pub fn build_logs(id: BuildId, from: Cursor, follow: bool) -> String {
    format!("{BUILDS}/{id}/logs?from={from}&follow={follow}")
}

/// [`RUN_ORDER`] of one run.
pub fn run_order(run: RunName) -> String {
    format!("/v1/runs/{run}/order")
}

/// [`RUN_CONTEXT`] of one run.
pub fn run_context(run: RunName) -> String {
    format!("/v1/runs/{run}/context")
}

/// [`RUN_LOGS`] of one run.
pub fn run_logs(run: RunName) -> String {
    format!("/v1/runs/{run}/logs")
}

/// [`RUN_REPORT`] of one run.
pub fn run_report(run: RunName) -> String {
    format!("/v1/runs/{run}/report")
}
