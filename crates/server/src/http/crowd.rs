//! Who may stand in a door: so many connections in all, and so many of one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one door at once, where the system lets the server open files enough ...
const CONNECTIONS: u32 = 1024;
/// ... and so many more for each run that may come by it.
const RUN_CONNECTIONS: u32 = 4;
/// The fewest that a door is opened for.
const FEWEST: u32 = 16;
/// Files that a connection takes: its socket, and the log or context that it reads or writes.
const FILES: u64 = 2;
/// Doors that may be crowded at the same time.
const DOORS: u64 = 2;
/// Files that the server opens besides: ledger, logs, platforms, registries.
const FILES_APART: u64 = 256;

/// How many connections a door takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// In all; what is beyond waits in the system's queue.
    pub all: u32,
    /// From one address; what is beyond is closed at once.
    pub peer: u32,
}

impl Bounds {
    /// For the public door of a server that may open `files`, by which the agents of so many `runs` come at once. One
    /// address may take half of it, since a proxy speaks for many clients; where it speaks for the agents too, all but an
    /// eighth.
    pub fn public(files: u64, runs: usize) -> Self {
        let all = fitting(files, wanted(runs));
        Self { all, peer: if runs == 0 { all / 2 } else { all - all / 8 } }
    }

    /// For the agents' door. One address may take an eighth of it: a container needs two or three.
    pub fn agents(files: u64) -> Self {
        let all = fitting(files, CONNECTIONS);
        Self { all, peer: all / 8 }
    }
}

/// What to say where the system lets the server open too few files, for a public door by which so many `runs` come.
pub fn warning(files: u64, runs: usize) -> Option<String> {
    let connections = wanted(runs);
    let (all, wanted) = (fitting(files, connections), FILES_APART + DOORS * FILES * u64::from(connections));
    (all < connections).then(|| {
        format!(
            "the system lets the server open {files} files: each door takes {all} connections instead of \
             {connections}\nhint: raise the hard limit to {wanted} (ulimit -Hn, LimitNOFILE=, --ulimit nofile=)"
        )
    })
}

fn wanted(runs: usize) -> u32 {
    let runs = u32::try_from(runs).unwrap_or(u32::MAX);
    CONNECTIONS.saturating_add(runs.saturating_mul(RUN_CONNECTIONS))
}

fn fitting(files: u64, wanted: u32) -> u32 {
    let fitting = files.saturating_sub(FILES_APART) / (DOORS * FILES);
    u32::try_from(fitting).unwrap_or(wanted).clamp(FEWEST, wanted)
}

/// Everybody in one door.
#[derive(Debug)]
pub(super) struct Crowd {
    bounds: Bounds,
    places: Arc<Semaphore>,
    peers: Arc<Peers>,
}

type Peers = Mutex<HashMap<IpAddr, Peer>>;

#[derive(Debug, Default)]
struct Peer {
    connections: u32,
    /// It was told once that it takes too many; again only after it has left.
    told: bool,
}

/// One connection's place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    peer: IpAddr,
    peers: Arc<Peers>,
    _room: OwnedSemaphorePermit,
}

impl Crowd {
    pub(super) fn new(bounds: Bounds) -> Self {
        let places = Arc::new(Semaphore::new(bounds.all as usize));
        Self { bounds, places, peers: Arc::default() }
    }

    /// Waits until the door has a place for anybody.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Gives the place to an address; the place again where that has enough of them.
    pub(super) fn seat(
        &self,
        peer: IpAddr,
        place: OwnedSemaphorePermit,
    ) -> Result<Place, OwnedSemaphorePermit> {
        let (peer, most) = (peer.to_canonical(), self.bounds.peer);
        let mut peers = lock(&self.peers);
        let known = peers.entry(peer).or_default();
        if known.connections >= most {
            if !std::mem::replace(&mut known.told, true) {
                tracing::warn!(%peer, most, "an address has as many connections as it may; more are closed");
            }
            return Err(place);
        }
        known.connections += 1;
        Ok(Place { peer, peers: Arc::clone(&self.peers), _room: place })
    }

    /// Waits until everybody has left. Nobody may come in any more.
    pub(super) async fn left(&self) {
        // The semaphore is never closed.
        let _ = self.places.acquire_many(self.bounds.all).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = lock(&self.peers);
        let Some(peer) = peers.get_mut(&self.peer) else { return };
        peer.connections -= 1;
        if peer.connections == 0 {
            peers.remove(&self.peer);
        }
    }
}

fn lock(peers: &Peers) -> MutexGuard<'_, HashMap<IpAddr, Peer>> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_as_wide_as_the_system_allows() {
        assert_eq!(Bounds::public(u64::MAX, 0), Bounds { all: 1024, peer: 512 });
        assert_eq!(Bounds::public(u64::MAX, 1000), Bounds { all: 5024, peer: 4396 });
        assert_eq!(Bounds::agents(1 << 20), Bounds { all: 1024, peer: 128 });
        assert_eq!(Bounds::agents(1024), Bounds { all: 192, peer: 24 });
        assert_eq!(Bounds::agents(0), Bounds { all: 16, peer: 2 });
        assert_eq!(warning(4352, 0), None);
        assert!(warning(4352, 100).unwrap().contains("1424"));
        let text = warning(1024, 0).unwrap();
        assert!(text.contains("1024 files") && text.contains("192 connections") && text.contains("4352"));
    }

    #[tokio::test]
    async fn one_address_never_takes_the_whole_door() {
        let crowd = Crowd::new(Bounds { all: 4, peer: 2 });
        let (greedy, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        let first = crowd.seat(greedy, crowd.room().await.unwrap()).unwrap();
        let _second = crowd.seat(mapped, crowd.room().await.unwrap()).unwrap();
        assert!(crowd.seat(greedy, crowd.room().await.unwrap()).is_err());
        let _other = crowd.seat(other, crowd.room().await.unwrap()).unwrap();
        drop(first);
        assert!(crowd.seat(greedy, crowd.room().await.unwrap()).is_ok());
    }
}
