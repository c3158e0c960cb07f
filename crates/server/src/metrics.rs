//! What `GET /metrics` shows, in the text form of Prometheus. The registry is made for each scrape: what rooms have counted is
//! theirs, and where they stand is read at that moment. Two servers in one process share nothing.

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::builds::Builds;
use crate::logs::Logs;

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// Everything that can be told in numbers now.
pub async fn text(builds: &Builds, logs: &Logs) -> String {
    let answers = builds.ready().await.is_ok();
    let mut registry = Registry::with_prefix("bakery");
    let program = Family::<[(&str, &str); 2], Gauge>::default();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("commit", env!("BAKERY_COMMIT"))];
    program.get_or_create(&labels).set(1);
    registry.register("build_info", "1; the labels tell what the server is made of", program);
    let ready = Gauge::<i64>::default();
    ready.set(i64::from(answers));
    registry.register("ready", "1 while builds can be taken and begun, as /readyz says; else 0", ready);
    builds.measure(&mut registry);
    logs.measure(&mut registry);
    let mut text = String::new();
    // Writing into memory cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}
