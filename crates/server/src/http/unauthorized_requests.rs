//! The counter of requests that were refused because of their token.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Requests of clients that were refused because of their token. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct UnauthorizedRequests {
    family: Family<[(&'static str, &'static str); 1], Counter>,
}

impl UnauthorizedRequests {
    const MISSING: [(&str, &str); 1] = [("token", "missing")];
    const WRONG: [(&str, &str); 1] = [("token", "wrong")];

    /// Adds the counter to a scrape.
    pub fn measure(&self, registry: &mut Registry) {
        registry.register(
            "unauthorized_requests",
            "Requests of clients refused because their token is missing or wrong",
            self.family.clone(),
        );
    }

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
