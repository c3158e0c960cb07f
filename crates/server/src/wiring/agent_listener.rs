//! The agent listener of the Docker platform: on the gateway of our bridge, at a port that is the same after a restart.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use tokio::net::TcpListener;

use super::StartError;

/// The file in the data folder that contains the port: agents may outlive this process, and call it.
const PORT_FILE: &str = "agents-port";

/// Listens on the gateway of an earlier version's bridge, at the port that its agents know.
pub(super) async fn listen_as_before(gateway: IpAddr, data_dir: &Path) -> Option<TcpListener> {
    let address = SocketAddr::new(gateway, read(&data_dir.join(PORT_FILE))?);
    match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(%address, %error, "tasks that an earlier version started cannot reach the server");
            None
        }
    }
}

/// Listens at `named`, else on `gateway` at the port that was used before, else at any port.
pub(super) async fn listen(
    named: Option<SocketAddr>,
    data_dir: &Path,
    gateway: IpAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let file = data_dir.join(PORT_FILE);
    let last = if named.is_none() { read(&file) } else { None };
    let wanted = named.unwrap_or(SocketAddr::new(gateway, last.unwrap_or(0)));
    let mut bound = TcpListener::bind(wanted).await;
    if last.is_some() && bound.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
        tracing::warn!(%wanted, "the port of the agent listener is in use: agents that still run cannot reach the server");
        bound = TcpListener::bind(SocketAddr::new(gateway, 0)).await;
    }
    let bound = bound.and_then(|listener| {
        let address = listener.local_addr()?;
        if named.is_none() && last != Some(address.port()) {
            store(&file, address.port())?;
        }
        Ok((listener, address))
    });
    bound.map_err(|error| refused(wanted, named.is_some(), error))
}

/// The error that [`listen`] would return for `BAKERY_AGENT_LISTEN`.
pub(super) async fn check(named: SocketAddr) -> Result<(), StartError> {
    TcpListener::bind(named).await.map(drop).map_err(|error| refused(named, true, error))
}

fn refused(address: SocketAddr, named: bool, error: io::Error) -> StartError {
    let hint = if error.kind() == ErrorKind::AddrInUse {
        "choose another port, or stop the program that listens there"
    } else if named {
        "set it to an address of this machine that containers reach; if they reach it at another address, set \
         BAKERY_AGENT_URL to that"
    } else {
        "if the bridge's gateway is not an address of this machine (Docker Desktop, Podman), set BAKERY_AGENT_LISTEN \
         to an address that containers reach, and BAKERY_AGENT_URL to its URL"
    };
    StartError::Listen { variable: "BAKERY_AGENT_LISTEN", address, error, hint }
}

fn read(file: &Path) -> Option<u16> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Replaces the file as a whole.
fn store(file: &Path, port: u16) -> io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{port}\n"))?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bakery_core::message::Message;

    use super::*;

    #[tokio::test]
    async fn check_and_start_refuse_an_address_with_the_same_error() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // 192.0.2.0/24 is reserved for documentation: no machine has it.
        for (address, hint) in [
            (taken.local_addr().unwrap(), "choose another port"),
            ("192.0.2.7:0".parse().unwrap(), "this machine"),
        ] {
            let gateway = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let started = listen(Some(address), Path::new("/nonexistent"), gateway).await;
            let started = Message::of(&started.unwrap_err());
            assert_eq!(Message::of(&check(address).await.unwrap_err()), started);
            assert!(started.text.starts_with("BAKERY_AGENT_LISTEN: "), "{started}");
            assert!(started.hint.unwrap().contains(hint));
        }
    }

    #[tokio::test]
    async fn the_port_is_the_same_after_a_restart() {
        let folder = tempfile::TempDir::new().unwrap();
        let gateway = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (listener, first) = listen(None, folder.path(), gateway).await.unwrap();
        drop(listener);
        let (_listener, second) = listen(None, folder.path(), gateway).await.unwrap();
        assert_eq!(first, second);
        // Another program has it: the server listens at another port.
        let (_, third) = listen(None, folder.path(), gateway).await.unwrap();
        assert_ne!(third, second);
    }
}
