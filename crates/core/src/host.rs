//! Recognises hosts that always name the local machine.

use std::net::IpAddr;

/// Whether a host as it is written in a URL (an IPv6 address with or without its brackets) always names the machine
/// that connects: `localhost`, a name below it, or a loopback address.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for local in [
            "localhost",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(local), "{local}");
        }
        // The last one is translated by a gateway, so it leaves the machine.
        for other in [
            "",
            "a.test",
            "localhost.a.test",
            "notlocalhost",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
