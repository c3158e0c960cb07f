//! The agents' door of the Docker platform: on the gateway of our bridge, at a port that stays.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use tokio::net::TcpListener;

use super::StartError;

/// Holds the port: containers that outlive this process call it.
const PORT_FILE: &str = "agents-port";

/// Listens at `named`, else on `gateway`, at the port that the data folder keeps from the last time.
pub(super) async fn listen(
    named: Option<SocketAddr>,
    data_dir: &Path,
    gateway: IpAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let file = data_dir.join(PORT_FILE);
    let known = if named.is_none() { read(&file) } else { None };
    let wanted = named.unwrap_or(SocketAddr::new(gateway, known.unwrap_or(0)));
    let mut bound = TcpListener::bind(wanted).await;
    if known.is_some() && bound.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
        tracing::warn!(%wanted, "the agents' port is taken: agents that still run will not find the way back");
        bound = TcpListener::bind(SocketAddr::new(gateway, 0)).await;
    }
    let bound = bound.and_then(|listener| {
        let address = listener.local_addr()?;
        if named.is_none() && known != Some(address.port()) {
            keep(&file, address.port())?;
        }
        Ok((listener, address))
    });
    bound.map_err(|error| refused(wanted, named.is_some(), error))
}

/// What [`listen`] would refuse of `BAKERY_AGENT_LISTEN`.
pub(super) async fn check(named: SocketAddr) -> Result<(), StartError> {
    TcpListener::bind(named).await.map(drop).map_err(|error| refused(named, true, error))
}

fn refused(address: SocketAddr, named: bool, error: io::Error) -> StartError {
    let hint = if error.kind() == ErrorKind::AddrInUse {
        "choose another port, or stop what listens there"
    } else if named {
        "name an address of this machine that containers reach; where agents reach it by another one, \
         BAKERY_AGENT_URL names that"
    } else {
        "where the bridge's gateway is no address of this machine (Docker Desktop, Podman), set \
         BAKERY_AGENT_LISTEN to an address that containers reach, and BAKERY_AGENT_URL to its URL"
    };
    StartError::Listen { variable: "BAKERY_AGENT_LISTEN", address, error, hint }
}

fn read(file: &Path) -> Option<u16> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Whole or not at all: the file is replaced.
fn keep(file: &Path, port: u16) -> io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{port}\n"))?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_named_address_that_cannot_be_had_is_refused_alike_by_check_and_start() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // 192.0.2.0/24 is for documentation, and nobody's.
        for (address, hint) in [
            (taken.local_addr().unwrap(), "choose another port"),
            ("192.0.2.7:0".parse().unwrap(), "this machine"),
        ] {
            let gateway = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let started = listen(Some(address), Path::new("/nonexistent"), gateway).await;
            let started = started.unwrap_err().to_string();
            assert_eq!(check(address).await.unwrap_err().to_string(), started);
            assert!(started.starts_with("BAKERY_AGENT_LISTEN: ") && started.contains(hint), "{started}");
        }
    }

    #[tokio::test]
    async fn the_port_stays_over_a_restart() {
        let folder = tempfile::TempDir::new().unwrap();
        let gateway = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (listener, first) = listen(None, folder.path(), gateway).await.unwrap();
        drop(listener);
        let (_listener, second) = listen(None, folder.path(), gateway).await.unwrap();
        assert_eq!(first, second);
        // Somebody else has it: the door opens all the same, at another one.
        let (_, third) = listen(None, folder.path(), gateway).await.unwrap();
        assert_ne!(third, second);
    }
}
