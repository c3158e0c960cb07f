//! `bakery-server health`: asks the running server of this machine whether it is ready, for images that have no shell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bakery_core::wire::problem::Problem;
use bakery_core::wire::route;

/// A server that answers at all answers within this time.
const WITHIN: Duration = Duration::from_secs(3);

/// Asks the server that listens at `listen`; `Err` says for people why it is not ready.
pub async fn ask(listen: SocketAddr) -> Result<(), String> {
    let url = format!("http://{}{}", within_reach(listen), route::READYZ);
    // A proxy of the environment is meant for registries and clouds; this never leaves the machine.
    let http = reqwest::Client::builder().no_proxy().timeout(WITHIN).build();
    let http = http.map_err(|error| format!("nothing can be asked: {}", told(&error)))?;
    let unanswered = |error: reqwest::Error| {
        format!("no answer from {url}: {}\nhint: BAKERY_LISTEN is where the server listens", told(&error))
    };
    let response = http.get(&url).send().await.map_err(unanswered)?;
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

/// A server that listens everywhere listens on loopback, too.
fn within_reach(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The last cause tells most: the others say that a request has failed.
fn told(error: &reqwest::Error) -> String {
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source()).last().unwrap_or(first).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        let reach = |text: &str| within_reach(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:3000"), "127.0.0.1:3000");
        assert_eq!(reach("[::]:3000"), "[::1]:3000");
        assert_eq!(reach("10.0.0.7:81"), "10.0.0.7:81");
    }
}
