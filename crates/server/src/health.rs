//! `bakery-server health`: asks the running server of this machine whether it is ready, or alive, for images that have no shell.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bakery_core::wire::problem::Problem;
use bakery_core::wire::{PROTOCOL_HEADER, route};

/// A server that answers at all answers within this time.
const WITHIN: Duration = Duration::from_secs(3);

/// What a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Whether builds can be taken and begun: false also while a platform is silent, which no restart mends.
    Ready,
    /// Whether the process answers.
    Live,
}

impl Asked {
    fn route(self) -> &'static str {
        match self {
            Self::Ready => route::READYZ,
            Self::Live => route::LIVEZ,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Live => "live",
        })
    }
}

/// Asks the server that listens at `listen`; `Err` says for people why it is not as asked.
pub async fn ask(listen: SocketAddr, asked: Asked) -> Result<(), String> {
    let response = get(listen, asked).await?;
    let url = response.url().clone();
    let unanswered = |error: reqwest::Error| unanswered(url.as_str(), &error);
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let body = response.bytes().await.map_err(unanswered)?;
    Err(match serde_json::from_slice::<Problem>(&body) {
        Ok(Problem { detail, hint: Some(hint), .. }) => format!("{detail}\nhint: {hint}"),
        Ok(Problem { detail, .. }) => detail,
        Err(_) => format!("{url} answers {status}\nhint: is this a bakery-server?"),
    })
}

/// True where a bakery-server answers at `listen`: every answer of one names its protocol.
pub(crate) async fn is_bakery(listen: SocketAddr) -> bool {
    get(listen, Asked::Live).await.is_ok_and(|response| {
        response.status().is_success() && response.headers().contains_key(PROTOCOL_HEADER)
    })
}

/// The answer of whoever listens there.
async fn get(listen: SocketAddr, asked: Asked) -> Result<reqwest::Response, String> {
    if listen.port() == 0 {
        let hint = "give BAKERY_LISTEN a port of its own; the server's log names the one that it has";
        return Err(format!(
            "{listen} leaves the port to the system: nobody knows whom to ask\nhint: {hint}"
        ));
    }
    // A proxy of the environment is meant for registries and clouds; this never leaves the machine.
    let http = reqwest::Client::builder().no_proxy().timeout(WITHIN).build();
    let http = http.map_err(|error| format!("nothing can be asked: {}", told(&error)))?;
    let (first, second) = within_reach(listen);
    let url = |ip| format!("http://{}{}", SocketAddr::new(ip, listen.port()), asked.route());
    let answer = http.get(url(first)).send().await;
    match (answer, second) {
        (Err(error), Some(second)) if error.is_connect() => {
            http.get(url(second)).send().await.map_err(|error| unanswered(&url(second), &error))
        }
        (answer, _) => answer.map_err(|error| unanswered(&url(first), &error)),
    }
}

fn unanswered(url: &str, error: &reqwest::Error) -> String {
    format!("no answer from {url}: {}\nhint: BAKERY_LISTEN is where the server listens", told(error))
}

/// A server that listens everywhere listens on loopback, too. Everywhere of IPv6 is IPv4 as well, and a machine may have that
/// loopback alone.
fn within_reach(listen: SocketAddr) -> (IpAddr, Option<IpAddr>) {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST.into(), None),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            (Ipv6Addr::LOCALHOST.into(), Some(Ipv4Addr::LOCALHOST.into()))
        }
        ip => (ip, None),
    }
}

/// The last cause tells most: the others say that a request has failed.
fn told(error: &reqwest::Error) -> String {
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source()).last().unwrap_or(first).to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        let reach = |text: &str| {
            let (first, second) = within_reach(text.parse().unwrap());
            (first.to_string(), second.map(|ip| ip.to_string()))
        };
        assert_eq!(reach("0.0.0.0:3000"), ("127.0.0.1".into(), None));
        assert_eq!(reach("[::]:3000"), ("::1".into(), Some("127.0.0.1".into())));
        assert_eq!(reach("10.0.0.7:81"), ("10.0.0.7".into(), None));
    }

    #[tokio::test]
    async fn a_port_that_is_left_to_the_system_cannot_be_asked() {
        let said = ask("127.0.0.1:0".parse().unwrap(), Asked::Live).await.unwrap_err();
        assert!(said.contains("leaves the port to the system") && said.contains("hint: "), "{said}");
    }

    #[tokio::test]
    async fn where_ipv6_has_nobody_ipv4_is_asked() {
        let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), door.local_addr().unwrap().port());
        let answer = async {
            let (mut caller, _) = door.accept().await.unwrap();
            let mut head = [0; 4096];
            let got = caller.read(&mut head).await.unwrap();
            assert!(head[..got].starts_with(b"GET /livez HTTP/1.1"));
            caller
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
        };
        let (asked, ()) = tokio::join!(ask(listen, Asked::Live), answer);
        assert_eq!(asked, Ok(()));
    }
}
