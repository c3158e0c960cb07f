//! `bakery-server health`: asks the server that runs on this machine for its `/readyz` or `/livez`. Images without a
//! shell and without curl use it as their health check.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bakery_core::message::Message;
use bakery_core::wire::problem::Problem;
use bakery_core::wire::{PROTOCOL_HEADER, route};

/// How long the server has for its answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What the health of a server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthQuery {
    /// Builds can be accepted and started. False also while a platform is unavailable, which a restart does not repair.
    Ready,
    /// The process answers.
    Live,
}

impl HealthQuery {
    fn route(self) -> &'static str {
        match self {
            Self::Ready => route::READYZ,
            Self::Live => route::LIVEZ,
        }
    }
}

impl fmt::Display for HealthQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Live => "live",
        })
    }
}

/// Asks the server that listens at `listen`. The error is why it is not ready, or not live.
pub async fn ask(listen: SocketAddr, query: HealthQuery) -> Result<(), Message> {
    let response = get(listen, query).await?;
    let url = response.url().clone();
    let failed = |error: reqwest::Error| no_answer(url.as_str(), &error);
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let body = response.bytes().await.map_err(failed)?;
    Err(match serde_json::from_slice::<Problem>(&body) {
        Ok(Problem { detail, hint, .. }) => Message { text: detail, hint },
        Err(_) => Message::new(format!("{url} returned {status}"))
            .with_hint("check that a bakery-server listens at BAKERY_LISTEN"),
    })
}

/// True if a bakery-server answers at `listen`: each of its answers has the protocol header.
pub(crate) async fn is_bakery(listen: SocketAddr) -> bool {
    get(listen, HealthQuery::Live).await.is_ok_and(|response| {
        response.status().is_success() && response.headers().contains_key(PROTOCOL_HEADER)
    })
}

/// The answer of the program that listens there.
async fn get(listen: SocketAddr, query: HealthQuery) -> Result<reqwest::Response, Message> {
    if listen.port() == 0 {
        let text = format!("BAKERY_LISTEN={listen}: the system chooses the port, so it is not known here");
        return Err(Message::new(text).with_hint("set BAKERY_LISTEN to a fixed port"));
    }
    // This request stays on the machine: proxies of the environment are for registries and clouds.
    let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
    let http = http.map_err(|error| Message::new(format!("no HTTP client: {}", root_cause(&error))))?;
    let (first, second) = reachable(listen);
    let url = |ip| format!("http://{}{}", SocketAddr::new(ip, listen.port()), query.route());
    let answer = http.get(url(first)).send().await;
    match (answer, second) {
        (Err(error), Some(second)) if error.is_connect() => {
            http.get(url(second)).send().await.map_err(|error| no_answer(&url(second), &error))
        }
        (answer, _) => answer.map_err(|error| no_answer(&url(first), &error)),
    }
}

fn no_answer(url: &str, error: &reqwest::Error) -> Message {
    Message::new(format!("no answer from {url}: {}", root_cause(error)))
        .with_hint("check that the server runs, and that BAKERY_LISTEN is set as for the server")
}

/// The addresses at which a server that listens at `listen` can be reached from this machine. One that listens on all
/// addresses listens on loopback. All addresses of IPv6 include those of IPv4, and a machine may have no IPv6 loopback.
fn reachable(listen: SocketAddr) -> (IpAddr, Option<IpAddr>) {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST.into(), None),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            (Ipv6Addr::LOCALHOST.into(), Some(Ipv4Addr::LOCALHOST.into()))
        }
        ip => (ip, None),
    }
}

/// The last cause: the errors above it only say that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
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
            let (first, second) = reachable(text.parse().unwrap());
            (first.to_string(), second.map(|ip| ip.to_string()))
        };
        assert_eq!(reach("0.0.0.0:3000"), ("127.0.0.1".into(), None));
        assert_eq!(reach("[::]:3000"), ("::1".into(), Some("127.0.0.1".into())));
        assert_eq!(reach("10.0.0.7:81"), ("10.0.0.7".into(), None));
    }

    #[tokio::test]
    async fn a_port_that_the_system_chooses_cannot_be_asked() {
        let error = ask("127.0.0.1:0".parse().unwrap(), HealthQuery::Live).await.unwrap_err();
        assert!(error.text.contains("the system chooses the port") && error.hint.is_some(), "{error:?}");
    }

    #[tokio::test]
    async fn ipv4_is_asked_if_nothing_listens_on_ipv6() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), listener.local_addr().unwrap().port());
        let answer = async {
            let (mut caller, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let got = caller.read(&mut head).await.unwrap();
            assert!(head[..got].starts_with(b"GET /livez HTTP/1.1"));
            caller
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
        };
        let (live, ()) = tokio::join!(ask(listen, HealthQuery::Live), answer);
        assert_eq!(live, Ok(()));
    }
}
