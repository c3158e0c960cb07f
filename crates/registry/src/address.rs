//! Special IP addresses: those that requests of this program must not be led to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names under which clouds offer their metadata: behind a proxy no address is seen.
const METADATA_NAMES: [&str; 7] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
    "metadata.platformequinix.com",
    "metadata.tencentyun.com",
];

/// Metadata of instances, tasks and pods in the clouds; whoever reads these has the rights of this program.
const METADATA: [IpAddr; 15] = [
    // AWS, Google Cloud, Azure, Oracle, DigitalOcean, OpenStack, Hetzner and most others.
    v4(169, 254, 169, 254),
    // AWS: tasks of ECS, pods of EKS; and the same over IPv6.
    v4(169, 254, 170, 2),
    v4(169, 254, 170, 23),
    v6(0xfd00, 0xec2, 0, 0x254),
    v6(0xfd00, 0xec2, 0, 0x23),
    // Google Cloud over IPv6.
    v6(0xfd20, 0xce, 0, 0x254),
    // Azure: the host of the virtual machine.
    v4(168, 63, 129, 16),
    // Alibaba Cloud.
    v4(100, 100, 100, 200),
    // Oracle Cloud, the former address; and over IPv6.
    v4(192, 0, 0, 192),
    v6(0xfd00, 0xc1, 0xa9fe, 0xa9fe),
    // OpenStack over IPv6.
    v6(0xfe80, 0, 0xa9fe, 0xa9fe),
    // Tencent Cloud.
    v4(169, 254, 0, 23),
    v4(169, 254, 10, 10),
    // Scaleway; and over IPv6.
    v4(169, 254, 42, 42),
    v6(0xfd00, 0x42, 0, 0x42),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// The address with these first and last words, and zeros between them.
const fn v6(first: u16, second: u16, seventh: u16, last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, seventh, last))
}

pub(crate) fn is_metadata(ip: IpAddr) -> bool {
    METADATA.contains(&embedded(ip))
}

/// `host` in lower case.
pub(crate) fn is_metadata_name(host: &str) -> bool {
    METADATA_NAMES.contains(&host.trim_end_matches('.'))
}

/// The IPv4 address that an IPv6 address stands for: mapped, or reached through a prefix of NAT64 or 6to4.
fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let words = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match words {
        // The well-known prefix of NAT64, the one for local use (RFC 8215), and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, .., high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
    }
}

pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    // Connecting to the unspecified address reaches the machine itself.
    let ip = embedded(ip);
    ip.is_loopback() || ip.is_unspecified()
}

pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    match embedded(ip) {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether the address is one of the public internet: not this machine's, its network's, or its provider's.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    if is_loopback(ip) || is_link_local(ip) || is_metadata(ip) {
        return false;
    }
    match embedded(ip) {
        IpAddr::V4(v4) => !matches!(
            v4.octets(),
            // RFC 1918, this network, multicast and reserved; carrier-grade NAT; protocol assignments; benchmarks.
            [10 | 0 | 224..=255, ..]
                | [172, 16..=31, ..]
                | [192, 168, ..]
                | [100, 64..=127, ..]
                | [192, 0, 0, _]
                | [198, 18..=19, ..]
        ),
        // Unique local, the former site-local, and multicast addresses.
        IpAddr::V6(v6) => !matches!(v6.segments()[0], 0xfc00..=0xfdff | 0xfec0..=0xfeff | 0xff00..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_networks_and_machines_are_not_public() {
        for private in [
            "10.0.0.5",
            "172.16.0.1",
            "172.31.255.1",
            "192.168.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "169.254.1.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::1",
            "::",
            "fe80::1",
            "fd12::1",
            "fec0::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2002:a00:1::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "64:ff9b::101:101"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
