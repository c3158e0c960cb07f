//! Limits the connections of a listener, in total and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bakery_core::message::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one listener at a time, if the server may open enough files ...
const CONNECTIONS: u32 = 1024;
/// ... plus this many for each run whose agent uses the listener.
const RUN_CONNECTIONS: u32 = 4;
/// Every listener accepts at least this many.
const FEWEST: u32 = 16;
/// Open files per connection: its socket, and the log or context that it reads or writes.
const FILES: u64 = 2;
/// Listeners that may be at their limit at the same time.
const LISTENERS: u64 = 2;
/// Files that the server opens for other purposes: ledger, logs, platforms, registries.
const OTHER_FILES: u64 = 256;

/// How many connections a listener accepts at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In total; further ones wait in the system's queue.
    pub total: u32,
    /// From one address; further ones are closed at once.
    pub per_address: u32,
}

impl ConnectionLimits {
    /// For the public listener of a server that may open `files`, used by the agents of up to `runs` runs. One address may
    /// have half of the connections, since a proxy forwards for many clients; where it forwards for agents too, all but
    /// an eighth.
    pub fn public(files: u64, runs: usize) -> Self {
        let total = fitting(files, wanted(runs));
        Self { total, per_address: if runs == 0 { total / 2 } else { total - total / 8 } }
    }

    /// For the agent listener. One address may have an eighth of the connections: a container needs two or three.
    pub fn agents(files: u64) -> Self {
        let total = fitting(files, CONNECTIONS);
        Self { total, per_address: total / 8 }
    }
}

/// A warning if the server may open too few files for a public listener that is used by the agents of up to `runs` runs.
pub fn open_files_warning(files: u64, runs: usize) -> Option<Message> {
    let connections = wanted(runs);
    let (total, wanted) =
        (fitting(files, connections), OTHER_FILES + LISTENERS * FILES * u64::from(connections));
    (total < connections).then(|| {
        Message::new(format!(
            "the limit of open files is {files}: each listener accepts {total} connections instead of {connections}"
        ))
        .with_hint(format!("raise the hard limit to {wanted} (ulimit -Hn, LimitNOFILE=, --ulimit nofile=)"))
    })
}

fn wanted(runs: usize) -> u32 {
    let runs = u32::try_from(runs).unwrap_or(u32::MAX);
    CONNECTIONS.saturating_add(runs.saturating_mul(RUN_CONNECTIONS))
}

fn fitting(files: u64, wanted: u32) -> u32 {
    let fitting = files.saturating_sub(OTHER_FILES) / (LISTENERS * FILES);
    u32::try_from(fitting).unwrap_or(wanted).clamp(FEWEST, wanted)
}

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    limits: ConnectionLimits,
    free: Arc<Semaphore>,
    peers: Arc<PeerCounts>,
}

type PeerCounts = Mutex<HashMap<IpAddr, PeerCount>>;

#[derive(Debug, Default)]
struct PeerCount {
    connections: u32,
    /// A warning was logged; the next one comes only after all its connections have ended.
    warned: bool,
}

/// Permission for one connection, released when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    peer: IpAddr,
    peers: Arc<PeerCounts>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionLimiter {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        let free = Arc::new(Semaphore::new(limits.total as usize));
        Self { limits, free, peers: Arc::default() }
    }

    /// Waits until another connection is allowed in total.
    pub(super) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// A permit for a connection from an address; `free` back if the address has as many as it may.
    pub(super) fn admit(
        &self,
        peer: IpAddr,
        free: OwnedSemaphorePermit,
    ) -> Result<ConnectionPermit, OwnedSemaphorePermit> {
        let (peer, limit) = (peer.to_canonical(), self.limits.per_address);
        let mut peers = lock(&self.peers);
        let known = peers.entry(peer).or_default();
        if known.connections >= limit {
            if !std::mem::replace(&mut known.warned, true) {
                tracing::warn!(%peer, limit, "connection limit of an address reached: further connections are closed");
            }
            return Err(free);
        }
        known.connections += 1;
        Ok(ConnectionPermit { peer, peers: Arc::clone(&self.peers), _permit: free })
    }

    /// Waits until every permit is released. None may be acquired any more.
    pub(super) async fn all_released(&self) {
        // The semaphore is never closed.
        let _ = self.free.acquire_many(self.limits.total).await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut peers = lock(&self.peers);
        let Some(peer) = peers.get_mut(&self.peer) else { return };
        peer.connections -= 1;
        if peer.connections == 0 {
            peers.remove(&self.peer);
        }
    }
}

fn lock(peers: &PeerCounts) -> MutexGuard<'_, HashMap<IpAddr, PeerCount>> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_accept_what_the_limit_of_open_files_allows() {
        assert_eq!(ConnectionLimits::public(u64::MAX, 0), ConnectionLimits { total: 1024, per_address: 512 });
        assert_eq!(
            ConnectionLimits::public(u64::MAX, 1000),
            ConnectionLimits { total: 5024, per_address: 4396 }
        );
        assert_eq!(ConnectionLimits::agents(1 << 20), ConnectionLimits { total: 1024, per_address: 128 });
        assert_eq!(ConnectionLimits::agents(1024), ConnectionLimits { total: 192, per_address: 24 });
        assert_eq!(ConnectionLimits::agents(0), ConnectionLimits { total: 16, per_address: 2 });
        assert_eq!(open_files_warning(4352, 0), None);
        assert!(open_files_warning(4352, 100).unwrap().text.contains("1424"));
        let warning = open_files_warning(1024, 0).unwrap();
        assert!(warning.text.contains("files is 1024:") && warning.text.contains("192 connections"));
        assert!(warning.hint.unwrap().contains("4352"));
    }

    #[tokio::test]
    async fn one_address_never_takes_all_connections() {
        let limiter = ConnectionLimiter::new(ConnectionLimits { total: 4, per_address: 2 });
        let (greedy, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        let first = limiter.admit(greedy, limiter.acquire().await.unwrap()).unwrap();
        let _second = limiter.admit(mapped, limiter.acquire().await.unwrap()).unwrap();
        assert!(limiter.admit(greedy, limiter.acquire().await.unwrap()).is_err());
        let _other = limiter.admit(other, limiter.acquire().await.unwrap()).unwrap();
        drop(first);
        assert!(limiter.admit(greedy, limiter.acquire().await.unwrap()).is_ok());
    }
}
