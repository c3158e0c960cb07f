//! The answer of `GET /metrics`, in the text format of Prometheus. The registry is made anew for each scrape: counters
//! belong to the modules that count, and gauges are read at that moment. Two servers in one process share nothing.

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::builds::{Builds, NotReady};
use crate::logs::Logs;

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// All metrics as they are now. `of_http` adds those of the HTTP API.
pub async fn text(builds: &Builds, logs: &Logs, of_http: impl FnOnce(&mut Registry)) -> String {
    let readiness = builds.ready().await;
    let is_accepting = readiness.as_ref().map_or_else(NotReady::accepts_builds, |()| true);
    let mut registry = Registry::with_prefix("bakery");
    let program = Family::<[(&str, &str); 2], Gauge>::default();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("commit", env!("BAKERY_COMMIT"))];
    program.get_or_create(&labels).set(1);
    registry.register("build_info", "1; the labels name version and commit of the server", program);
    let ready = Gauge::<i64>::default();
    ready.set(i64::from(readiness.is_ok()));
    registry.register(
        "ready",
        "1 while builds can be accepted and started (/readyz returns 200), else 0",
        ready,
    );
    let accepting = Gauge::<i64>::default();
    accepting.set(i64::from(is_accepting));
    registry.register(
        "accepting_builds",
        "1 while new builds are accepted; 0 if the server is stopping, its disk is full or its ledger cannot be read",
        accepting,
    );
    of_http(&mut registry);
    builds.measure(&mut registry);
    logs.measure(&mut registry);
    let mut text = String::new();
    // Writing into memory cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}
