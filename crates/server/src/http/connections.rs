//! The open connections of a listener: who is admitted, and which one is closed when the limit is reached.
//!
//! A connection is *busy* from the head of a request to the end of its response, else it is *idle*. If the listener has as
//! many connections as it may, an idle one is closed for each new one: first one that never had an authenticated request,
//! and of these the one that has been idle for longest. So whoever only holds connections open keeps nobody out.

use std::collections::HashMap;
use std::future::pending;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::connection_limits::ConnectionLimits;

/// The time for the first head of a connection that is accepted while three quarters of the connections are taken. Later requests
/// have the usual time: a proxy that keeps a connection may not be surprised by its end.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The connections of one listener. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    shared: Arc<Shared>,
}

struct Shared {
    table: Mutex<Table>,
    /// A connection has ended or changed its state. One task waits for it.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    /// Counts connections and changes of their states: what has a lower number was earlier.
    clock: u64,
    open: HashMap<u64, Entry>,
    networks: HashMap<IpAddr, NetworkCount>,
}

struct Entry {
    network: IpAddr,
    state: ConnectionState,
    /// It had a request.
    asked: bool,
    /// It had an authenticated request.
    trusted: bool,
    close: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionState {
    Idle {
        since: u64,
    },
    Busy,
    /// Chosen to be closed for another one.
    Closing,
}

#[derive(Default)]
struct NetworkCount {
    connections: u32,
    /// A warning was logged; the next one comes only after all its connections have ended.
    warned: bool,
}

enum Admission {
    Admitted(Connection),
    /// The address has as many as it may.
    Refused,
    /// Nothing can be admitted before something has changed.
    Full,
}

/// One open connection; it counts until this is dropped.
pub(super) struct Connection {
    handle: ConnectionHandle,
    close: Arc<Notify>,
    /// When the head of its first request is late.
    first_head: Option<Instant>,
}

/// What a request knows about its connection.
#[derive(Clone)]
pub(super) struct ConnectionHandle {
    id: u64,
    /// The address of the caller, or of the proxy in front of the server.
    pub(super) peer: IpAddr,
    shared: Arc<Shared>,
}

/// Its connection is busy as long as this exists.
pub(super) struct BusyGuard(ConnectionHandle);

impl Connections {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self { limits, shared: Arc::new(Shared { table: Mutex::default(), changed: Notify::new() }) }
    }

    /// A connection from this address, for which an idle one may be closed; waits while all are busy. `None` if
    /// the address has as many as it may. Only one task may wait at a time.
    pub(super) async fn admit(&self, peer: IpAddr) -> Option<Connection> {
        let peer = peer.to_canonical();
        loop {
            match self.try_admit(peer) {
                Admission::Admitted(connection) => return Some(connection),
                Admission::Refused => return None,
                Admission::Full => self.shared.changed.notified().await,
            }
        }
    }

    fn try_admit(&self, peer: IpAddr) -> Admission {
        let (network, limit) = (network(peer), self.limits.per_address);
        let mut table = self.shared.lock();
        let known = table.networks.entry(network).or_default();
        if known.connections >= limit {
            if !std::mem::replace(&mut known.warned, true) {
                tracing::warn!(peer = %network, limit, "connection limit of an address reached: further connections are closed");
            }
            return Admission::Refused;
        }
        let taken = table.open.len();
        if taken >= self.limits.total as usize {
            table.evict_one();
            table.forget_unused(network);
            return Admission::Full;
        }
        let almost_full = taken >= self.limits.total as usize / 4 * 3;
        let id = table.tick();
        let close = Arc::new(Notify::new());
        let state = ConnectionState::Idle { since: id };
        let entry = Entry { network, state, asked: false, trusted: false, close: Arc::clone(&close) };
        table.open.insert(id, entry);
        table.networks.entry(network).or_default().connections += 1;
        Admission::Admitted(Connection {
            handle: ConnectionHandle { id, peer, shared: Arc::clone(&self.shared) },
            close,
            first_head: almost_full.then(|| Instant::now() + FIRST_HEAD_TIMEOUT),
        })
    }

    /// Waits until every connection has ended. No further one may be admitted.
    pub(super) async fn all_ended(&self) {
        while !self.shared.lock().open.is_empty() {
            self.shared.changed.notified().await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Asks one idle connection to close, unless one is closing already.
    fn evict_one(&mut self) {
        if self.open.values().any(|entry| entry.state == ConnectionState::Closing) {
            return;
        }
        let idle = self.open.values_mut().filter_map(|entry| match entry.state {
            ConnectionState::Idle { since } => Some(((entry.trusted, since), entry)),
            ConnectionState::Busy | ConnectionState::Closing => None,
        });
        if let Some((_, entry)) = idle.min_by_key(|(order, _)| *order) {
            entry.state = ConnectionState::Closing;
            entry.close.notify_one();
        }
    }

    fn forget_unused(&mut self, network: IpAddr) {
        if self.networks.get(&network).is_some_and(|known| known.connections == 0) {
            self.networks.remove(&network);
        }
    }
}

impl Connection {
    pub(super) fn handle(&self) -> ConnectionHandle {
        self.handle.clone()
    }

    /// Waits until this connection has to go. A request that came in the meantime is served first.
    pub(super) async fn evicted(&self) {
        tokio::select! {
            () = self.chosen() => {}
            () = self.late() => {}
        }
    }

    async fn chosen(&self) {
        loop {
            self.close.notified().await;
            if self.is(|entry| entry.state == ConnectionState::Closing) {
                return;
            }
        }
    }

    async fn late(&self) {
        if let Some(first_head) = self.first_head {
            sleep_until(first_head).await;
            if self.is(|entry| !entry.asked) {
                return;
            }
        }
        pending::<()>().await;
    }

    fn is(&self, what: impl FnOnce(&Entry) -> bool) -> bool {
        self.handle.shared.lock().open.get(&self.handle.id).is_some_and(what)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        let mut table = shared.lock();
        if let Some(entry) = table.open.remove(&self.handle.id)
            && let Some(known) = table.networks.get_mut(&entry.network)
        {
            known.connections -= 1;
            table.forget_unused(entry.network);
        }
        drop(table);
        shared.changed.notify_one();
    }
}

impl ConnectionHandle {
    /// A request has arrived.
    pub(super) fn begin(&self) -> BusyGuard {
        self.change(|entry, _| {
            entry.state = ConnectionState::Busy;
            entry.asked = true;
        });
        BusyGuard(self.clone())
    }

    /// Its response waits for a reason of the caller's: until it is sent, the connection may be closed for another one.
    pub(super) fn rest(&self) {
        self.change(|entry, since| entry.state = ConnectionState::Idle { since });
    }

    /// Its caller has authenticated itself.
    pub(super) fn trust(&self) {
        self.change(|entry, _| entry.trusted = true);
    }

    fn change(&self, change: impl FnOnce(&mut Entry, u64)) {
        let mut table = self.shared.lock();
        let now = table.tick();
        if let Some(entry) = table.open.get_mut(&self.id) {
            change(entry, now);
        }
        drop(table);
        self.shared.changed.notify_one();
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.rest();
    }
}

/// What counts as one address: one host usually has a whole /64 of IPv6.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn listener(total: u32, per_address: u32) -> Connections {
        Connections::new(ConnectionLimits { total, per_address })
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn admitted(connections: &Connections, peer: IpAddr) -> Connection {
        match connections.try_admit(peer) {
            Admission::Admitted(connection) => connection,
            Admission::Refused => panic!("{peer} was refused"),
            Admission::Full => panic!("no connection for {peer}"),
        }
    }

    fn is_evicted(connection: &Connection) -> bool {
        pin!(connection.chosen()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn one_address_never_takes_all_connections() {
        let connections = listener(4, 2);
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let first = admitted(&connections, address(1));
        let _second = admitted(&connections, mapped.to_canonical());
        assert!(matches!(connections.try_admit(address(1)), Admission::Refused));
        let _other = admitted(&connections, address(2));
        drop(first);
        admitted(&connections, address(1));
    }

    #[test]
    fn probe_18_a_network_of_ipv6_counts_as_one_address() {
        let connections = listener(4, 2);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let _held = ["2001:db8::1", "2001:db8::2:1"].map(|own| admitted(&connections, ip(own)));
        assert!(matches!(connections.try_admit(ip("2001:db8::ffff:0:0:1")), Admission::Refused));
        let _neighbour = admitted(&connections, ip("2001:db8:0:1::1"));
    }

    #[test]
    fn probe_18_at_the_limit_the_oldest_idle_connection_without_authentication_is_closed() {
        let connections = listener(4, 4);
        let [trusted, oldest, busy, young] = [1, 2, 3, 4].map(|last| admitted(&connections, address(last)));
        trusted.handle().trust();
        let request = busy.handle().begin();
        for gone in [oldest, young, trusted] {
            assert!(!is_evicted(&gone));
            assert!(matches!(connections.try_admit(address(5)), Admission::Full));
            assert!(
                matches!(connections.try_admit(address(5)), Admission::Full),
                "one goes for one that comes"
            );
            assert!(is_evicted(&gone) && !is_evicted(&busy));
            drop(gone);
            let next = admitted(&connections, address(5));
            std::mem::forget(next.handle().begin());
            std::mem::forget(next);
        }
        // All are busy: it is the turn of the first that is not.
        assert!(matches!(connections.try_admit(address(5)), Admission::Full));
        assert!(!is_evicted(&busy));
        drop(request);
        assert!(matches!(connections.try_admit(address(5)), Admission::Full));
        assert!(is_evicted(&busy));
    }

    #[test]
    fn probe_18_whoever_waits_for_the_response_to_a_wrong_token_keeps_nobody_out() {
        let connections = listener(2, 2);
        let [guessing, busy] = [1, 2].map(|last| admitted(&connections, address(last)));
        let _requests = [guessing.handle().begin(), busy.handle().begin()];
        guessing.handle().rest();
        assert!(matches!(connections.try_admit(address(3)), Admission::Full));
        assert!(is_evicted(&guessing) && !is_evicted(&busy));
    }

    #[test]
    fn a_request_that_comes_before_the_end_is_served() {
        let connections = listener(2, 2);
        let [chosen, other] = [1, 2].map(|last| admitted(&connections, address(last)));
        assert!(matches!(connections.try_admit(address(3)), Admission::Full));
        let _request = chosen.handle().begin();
        assert!(!is_evicted(&chosen));
        assert!(matches!(connections.try_admit(address(3)), Admission::Full));
        assert!(is_evicted(&other));
    }

    #[tokio::test]
    async fn probe_18_a_first_head_has_seconds_when_a_listener_is_almost_full() {
        let connections = listener(8, 8);
        let mut held: Vec<_> = (0..8).map(|last| admitted(&connections, address(last))).collect();
        let hurried: Vec<_> = held.iter().map(|connection| connection.first_head.is_some()).collect();
        assert_eq!(hurried, [false, false, false, false, false, false, true, true]);
        for connection in &mut held[6..] {
            connection.first_head = Some(Instant::now());
        }
        drop(held[6].handle().begin());
        held[7].evicted().await;
        // Its time has passed as well, so that it would be evicted at once.
        let next = pin!(held[6].evicted()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(next.is_pending(), "its next request has the usual time");
        drop(held);
        assert!(connections.shared.lock().networks.is_empty(), "nothing is kept of who has gone");
    }
}
