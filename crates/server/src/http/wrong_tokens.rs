//! What is done about clients that do not have the operator's token: they are counted, named in the log, and slowed down.
//!
//! The responses to wrong tokens from one network are sent one after the other, however many connections it has. A good
//! token is never delayed, so a network that sends wrong ones keeps none of its other clients waiting.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::connections::{ConnectionHandle, network};
use super::unauthorized_requests::UnauthorizedRequests;

/// The time between two responses to wrong tokens from one network, and before the first.
const DELAY: Duration = Duration::from_millis(250);
/// The longest delay of one response. Clients wait longer for a response.
const LONGEST_DELAY: Duration = Duration::from_secs(8);
/// Networks that are known at a time. All further ones count as one.
const NETWORKS: usize = 1024;
/// The log has at most one line about wrong tokens in this time.
const PAUSE: Duration = Duration::from_secs(1);

/// The clients of one server that were refused.
pub(super) struct WrongTokens {
    counts: UnauthorizedRequests,
    networks: Mutex<Networks>,
}

/// What networks have sent. `None` stands for the connections without an address, and for networks that are too many.
#[derive(Default)]
struct Networks {
    known: HashMap<Option<IpAddr>, Guesses>,
    last_line: Option<Instant>,
}

/// The wrong tokens of one network.
#[derive(Default)]
struct Guesses {
    /// When the response to the last one is due.
    due: Option<Instant>,
    /// How many no line of the log has named.
    unnamed: u64,
}

/// One line of the log.
#[derive(Debug, PartialEq, Eq)]
struct LogLine {
    /// Further wrong tokens of the same network since the last line.
    unnamed: u64,
    /// Those of other networks.
    others: u64,
}

impl Networks {
    /// Counts a wrong token. Returns when its response is due, and a line if the log is to have one.
    fn wrong(&mut self, network: Option<IpAddr>, now: Instant) -> (Instant, Option<LogLine>) {
        if self.known.len() >= NETWORKS && !self.known.contains_key(&network) {
            self.known.retain(|_, guesses| guesses.unnamed > 0 || guesses.due.is_some_and(|due| due > now));
        }
        let is_known = self.known.len() < NETWORKS || self.known.contains_key(&network);
        let key = if is_known { network } else { None };
        let guesses = self.known.entry(key).or_default();
        let due = guesses.due.map_or(now, |due| due.max(now)) + DELAY;
        let due = due.min(now + LONGEST_DELAY);
        guesses.due = Some(due);
        guesses.unnamed += 1;
        if self.last_line.is_some_and(|last| now.duration_since(last) < PAUSE) {
            return (due, None);
        }
        self.last_line = Some(now);
        let unnamed = std::mem::take(&mut guesses.unnamed) - 1;
        let others = self.known.values_mut().map(|guesses| std::mem::take(&mut guesses.unnamed)).sum();
        (due, Some(LogLine { unnamed, others }))
    }
}

impl WrongTokens {
    pub(super) fn new() -> Self {
        Self { counts: UnauthorizedRequests::default(), networks: Mutex::default() }
    }

    pub(super) fn counts(&self) -> &UnauthorizedRequests {
        &self.counts
    }

    /// A request without a token: a person with a browser, a scanner.
    pub(super) fn missing(&self) {
        self.counts.missing();
    }

    /// A request with a token that is not the server's. Returns when its response is due. Until then its connection may be
    /// closed for another one.
    pub(super) async fn wrong(&self, connection: Option<&ConnectionHandle>) {
        self.counts.wrong();
        let peer = connection.map(|connection| connection.peer);
        let (due, line) = self
            .networks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wrong(peer.map(network), Instant::now());
        if let Some(LogLine { unnamed, others }) = line {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(peer, unnamed, others, "a client has sent a wrong token");
        }
        connection.inspect(|connection| connection.rest());
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(networks: &mut Networks, n: u32, now: Instant) -> (Instant, Option<LogLine>) {
        networks.wrong(Some(IpAddr::V4(n.into())), now)
    }

    #[tokio::test]
    async fn probe_01_the_response_to_a_wrong_token_takes_a_while() {
        let started = Instant::now();
        WrongTokens::new().wrong(None).await;
        assert!(started.elapsed() >= DELAY);
    }

    #[test]
    fn probe_01_wrong_tokens_of_one_network_are_answered_one_after_the_other() {
        let (mut networks, now) = (Networks::default(), Instant::now());
        for nth in 1..=100 {
            let (due, _) = wrong(&mut networks, 1, now);
            assert_eq!(due - now, (DELAY * nth).min(LONGEST_DELAY), "however many wait already");
        }
        assert_eq!(wrong(&mut networks, 2, now).0 - now, DELAY, "another network does not wait");
        let later = now + LONGEST_DELAY;
        assert_eq!(wrong(&mut networks, 1, later).0 - later, DELAY);
    }

    #[test]
    fn probe_01_any_number_of_networks_takes_bounded_memory_and_none_is_answered_at_once() {
        let (mut networks, now) = (Networks::default(), Instant::now());
        for n in 0..5000 {
            assert!(wrong(&mut networks, n, now).0 >= now + DELAY);
        }
        assert!(networks.known.len() <= NETWORKS + 1);
        let later = now + LONGEST_DELAY;
        wrong(&mut networks, 1, later);
        wrong(&mut networks, 9999, later + PAUSE);
        assert!(networks.known.len() <= 2, "who has waited is forgotten");
    }

    #[test]
    fn probe_01_the_log_has_one_line_about_wrong_tokens_a_second_that_counts_all() {
        let (mut networks, now) = (Networks::default(), Instant::now());
        let line = |unnamed, others| Some(LogLine { unnamed, others });
        assert_eq!(wrong(&mut networks, 1, now).1, line(0, 0));
        for n in [1, 1, 2, 3, 1] {
            assert_eq!(wrong(&mut networks, n, now + PAUSE / 2).1, None);
        }
        assert_eq!(wrong(&mut networks, 1, now + PAUSE).1, line(3, 2));
        assert_eq!(wrong(&mut networks, 2, now + PAUSE).1, None);
        assert_eq!(wrong(&mut networks, 4, now + PAUSE * 2).1, line(0, 1));
    }
}
