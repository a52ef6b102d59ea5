//! The addresses that are nobody's public server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What loopback addresses are called.
pub(super) const LOOPBACK: &str = "a loopback address";

/// The closed ranges of IPv4: the special-purpose registry (RFC 6890), multicast, and what clouds
/// answer their machines at. The other metadata services are at link-local, private or carriers'
/// addresses.
const CLOSED_V4: [(Ipv4Addr, u32, &str); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "an address of this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "a carrier's private address"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, LOOPBACK),
    // Azure's; the only one among public addresses.
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's metadata address"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "a protocol's address"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "an address for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay's address"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "an address for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "an address for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "an address for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved address"),
];

/// The closed ranges inside `2000::/3`, the part of IPv6 that is handed out at all.
const CLOSED_V6: [(Ipv6Addr, u32, &str); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "a Teredo address"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "a protocol's address"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "an address for documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "a 6to4 address"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "an address for documentation"),
];

/// The range that closes an address to us, if one does.
///
/// An IPv4 address inside an IPv6 one counts as itself where the operating system takes it for
/// itself (mapped), and is closed in every other form: NAT64, 6to4, Teredo, compatible, translated.
pub(super) fn closed_range(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => closed_v4(ip),
        IpAddr::V6(ip) => closed_v6(ip),
    }
}

fn closed_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(ip);
    CLOSED_V4
        .iter()
        .find(|(network, length, _)| (bits ^ u32::from(*network)) >> (32 - length) == 0)
        .map(|&(_, _, range)| range)
}

fn closed_v6(ip: Ipv6Addr) -> Option<&'static str> {
    // ::ffff:127.0.0.1 is a way of writing 127.0.0.1.
    if let Some(ip) = ip.to_ipv4_mapped() {
        return closed_v4(ip);
    }
    if ip.is_loopback() {
        return Some(LOOPBACK);
    }
    let bits = u128::from(ip);
    if bits >> 125 != 0b001 {
        // NAT64, unique local, link-local, multicast, unspecified and everything unassigned.
        return Some("no public address");
    }
    CLOSED_V6
        .iter()
        .find(|(network, length, _)| (bits ^ u128::from(*network)) >> (128 - length) == 0)
        .map(|&(_, _, range)| range)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last address of each closed range, or of a part of it that has a name.
    const EDGES: [[&str; 2]; 37] = [
        ["0.0.0.0", "0.255.255.255"],
        ["10.0.0.0", "10.255.255.255"],
        ["100.64.0.0", "100.127.255.255"],
        ["127.0.0.0", "127.255.255.255"],
        ["168.63.129.16", "168.63.129.16"],
        ["169.254.0.0", "169.254.255.255"],
        ["172.16.0.0", "172.31.255.255"],
        ["192.0.0.0", "192.0.0.255"],
        ["192.0.2.0", "192.0.2.255"],
        ["192.88.99.0", "192.88.99.255"],
        ["192.168.0.0", "192.168.255.255"],
        ["198.18.0.0", "198.19.255.255"],
        ["198.51.100.0", "198.51.100.255"],
        ["203.0.113.0", "203.0.113.255"],
        ["224.0.0.0", "239.255.255.255"],
        ["240.0.0.0", "255.255.255.255"],
        ["::", "::1"],
        // Compatible, mapped, translated.
        ["::0.0.0.2", "::255.255.255.255"],
        ["::ffff:0.0.0.0", "::ffff:0.255.255.255"],
        ["::ffff:168.63.129.16", "::ffff:168.63.129.16"],
        ["::ffff:169.254.0.0", "::ffff:169.254.255.255"],
        ["::ffff:0:0.0.0.0", "::ffff:0:255.255.255.255"],
        // NAT64, everybody's and a network's own.
        ["64:ff9b::0.0.0.0", "64:ff9b::255.255.255.255"],
        ["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"],
        ["100::", "100::ffff:ffff:ffff:ffff"],
        ["1fff:ffff::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"],
        // Segment routing.
        ["5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ];

    #[test]
    fn closed_ranges_are_closed_up_to_their_edges() {
        for ip in EDGES.iter().flatten() {
            assert!(closed_range(ip.parse().unwrap()).is_some(), "{ip} is open");
        }
    }

    #[test]
    fn what_lies_beside_a_closed_range_is_open() {
        let open = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::",
            "2000:ffff::1",
            "2001:200::",
            "2001:db7:ffff::1",
            "2001:db9::",
            "2003::",
            "2606:4700::1111",
            "3ffe:ffff::1",
            "3fff:1000::",
            "::ffff:1.1.1.1",
        ];
        for ip in open {
            assert_eq!(closed_range(ip.parse().unwrap()), None, "{ip}");
        }
    }
}
