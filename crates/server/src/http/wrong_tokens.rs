//! What is done about clients that do not have the operator's token: they are counted, named in the log, and slowed down.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::metrics::UnauthorizedRequests;

/// How long the response to a wrong token takes.
const DELAY: Duration = Duration::from_millis(250);
/// Responses that are delayed at a time. Further ones come at once, and their connections are closed: who guesses tokens
/// then needs a connection for each, and never holds more than these.
const DELAYED: usize = 64;
/// The log has at most one line about wrong tokens in this time.
const PAUSE: Duration = Duration::from_secs(1);

/// The clients of one server that were refused.
pub(super) struct WrongTokens {
    counts: UnauthorizedRequests,
    delayed: Semaphore,
    log: Mutex<LogPause>,
}

#[derive(Default)]
struct LogPause {
    last: Option<Instant>,
    /// Wrong tokens since the last line.
    unnamed: u64,
}

impl LogPause {
    /// How many were not named before this one, if this one is to be named.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            self.unnamed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unnamed))
    }
}

impl WrongTokens {
    pub(super) fn new() -> Self {
        Self {
            counts: UnauthorizedRequests::default(),
            delayed: Semaphore::new(DELAYED),
            log: Mutex::default(),
        }
    }

    pub(super) fn counts(&self) -> &UnauthorizedRequests {
        &self.counts
    }

    /// A request without a token: a person with a browser, a scanner.
    pub(super) fn missing(&self) {
        self.counts.missing();
    }

    /// A request with a token that is not the server's. Returns after a while; false if too many wait already, so that the
    /// connection must be closed.
    pub(super) async fn wrong(&self, peer: Option<IpAddr>) -> bool {
        self.counts.wrong();
        let line = self.log.lock().unwrap_or_else(PoisonError::into_inner).next(Instant::now());
        if let Some(unnamed) = line {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(peer, unnamed, "a client has sent a wrong token");
        }
        let Ok(_delayed) = self.delayed.try_acquire() else { return false };
        sleep(DELAY).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn probe_01_wrong_tokens_are_slowed_down_and_never_many_at_once() {
        let refused = WrongTokens::new();
        let started = Instant::now();
        assert!(refused.wrong(None).await);
        assert!(started.elapsed() >= DELAY);
        let waited = join_all((0..DELAYED + 10).map(|_| refused.wrong(None))).await;
        assert_eq!(waited.iter().filter(|delayed| **delayed).count(), DELAYED);
        assert!(refused.wrong(None).await, "a place is free again");
    }

    #[test]
    fn probe_01_the_log_names_one_wrong_token_a_second() {
        let started = Instant::now();
        let mut log = LogPause::default();
        assert_eq!(log.next(started), Some(0));
        for _ in 0..7 {
            assert_eq!(log.next(started + PAUSE / 2), None);
        }
        assert_eq!(log.next(started + PAUSE), Some(7));
        assert_eq!(log.next(started + PAUSE), None);
    }
}
