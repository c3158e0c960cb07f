//! The answer of `GET /metrics`, in the text format of Prometheus. The registry is made anew for each scrape: counters
//! belong to the modules that count, and gauges are read at that moment. Two servers in one process share nothing.

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::builds::Builds;
use crate::logs::Logs;

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// Requests of clients that were refused because of their token. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct UnauthorizedRequests {
    family: Family<[(&'static str, &'static str); 1], Counter>,
}

impl UnauthorizedRequests {
    const MISSING: [(&str, &str); 1] = [("token", "missing")];
    const WRONG: [(&str, &str); 1] = [("token", "wrong")];

    /// Counts a request without a token.
    pub fn missing(&self) {
        self.family.get_or_create(&Self::MISSING).inc();
    }

    /// Counts a request with a token that is not the server's.
    pub fn wrong(&self) {
        self.family.get_or_create(&Self::WRONG).inc();
    }
}

impl Default for UnauthorizedRequests {
    /// Both series are there from the start: an alert sees the first increase.
    fn default() -> Self {
        let family = Family::default();
        for labels in [Self::MISSING, Self::WRONG] {
            drop(Family::<_, Counter>::get_or_create(&family, &labels));
        }
        Self { family }
    }
}

/// All metrics as they are now.
pub async fn text(builds: &Builds, logs: &Logs, unauthorized: &UnauthorizedRequests) -> String {
    let is_ready = builds.ready().await.is_ok();
    let mut registry = Registry::with_prefix("bakery");
    let program = Family::<[(&str, &str); 2], Gauge>::default();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("commit", env!("BAKERY_COMMIT"))];
    program.get_or_create(&labels).set(1);
    registry.register("build_info", "1; the labels name version and commit of the server", program);
    let ready = Gauge::<i64>::default();
    ready.set(i64::from(is_ready));
    registry.register(
        "ready",
        "1 while builds can be accepted and started (/readyz returns 200), else 0",
        ready,
    );
    registry.register(
        "unauthorized_requests",
        "Requests of clients refused because their token is missing or wrong",
        unauthorized.family.clone(),
    );
    builds.measure(&mut registry);
    logs.measure(&mut registry);
    let mut text = String::new();
    // Writing into memory cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}
