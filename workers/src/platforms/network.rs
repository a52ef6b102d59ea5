//! Which servers a platform client may speak to.
//!
//! An account's address is entered by a tenant, so it must never reach what only this machine or
//! its network can reach. Addresses are checked twice: when an account is added, for a clear
//! message, and at each connection, because a name may point elsewhere by then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::Descriptor;

/// What the operator permits beyond public servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Permits plain HTTP and loopback addresses (`POSTWORKS_ALLOW_LOOPBACK=1`).
    pub allow_loopback: bool,
}

impl NetworkPolicy {
    /// How far the clients of a platform reach: local platforms always reach loopback.
    pub(super) fn reach(self, descriptor: &Descriptor) -> Reach {
        if self.allow_loopback || descriptor.local { Reach::Loopback } else { Reach::Public }
    }
}

/// How far a client reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Public addresses, over HTTPS.
    Public,
    /// Loopback addresses and plain HTTP as well.
    Loopback,
}

/// Why an address is refused. Found again in the error chain of a failed connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// Neither HTTP nor HTTPS.
    #[error("the scheme is {0}: give an https:// address")]
    Scheme(String),
    /// HTTP where only HTTPS will do.
    #[error("plain http would show tokens to the network: give an https:// address")]
    Plain,
    /// An address that is not for us.
    #[error(
        "{host} is {ip}, {range}, which platform clients never speak to: give a public address"
    )]
    Address { host: String, ip: IpAddr, range: &'static str },
    /// A name or address of this machine.
    #[error(
        "{0} is this machine: give a public address, or set POSTWORKS_ALLOW_LOOPBACK=1 to test \
         against a local server"
    )]
    Loopback(String),
}

/// Checks the address of an account that is being added. The error says what is wrong and what
/// to do.
pub fn check_base_url(
    url: &Url,
    descriptor: &Descriptor,
    policy: NetworkPolicy,
) -> Result<(), String> {
    let superfluous = if !url.username().is_empty() || url.password().is_some() {
        Some("a user name or password: leave it out, the secret is a field of its own")
    } else if url.query().is_some() {
        Some("a query: end the address before the question mark")
    } else if url.fragment().is_some() {
        Some("a fragment: end the address before the hash sign")
    } else {
        None
    };
    match superfluous {
        Some(part) => Err(format!("the address holds {part}")),
        None => policy.reach(descriptor).check(url).map_err(|refused| refused.to_string()),
    }
}

impl Reach {
    /// Checks the scheme, and the host as far as it needs no look-up.
    pub(super) fn check(self, url: &Url) -> Result<(), Refused> {
        match (url.scheme(), self) {
            ("https", _) | ("http", Self::Loopback) => {}
            ("http", Self::Public) => return Err(Refused::Plain),
            (scheme, _) => return Err(Refused::Scheme(scheme.to_owned())),
        }
        match url.host() {
            Some(Host::Ipv4(ip)) => self.admit(&ip.to_string(), ip.into()),
            Some(Host::Ipv6(ip)) => self.admit(&ip.to_string(), ip.into()),
            Some(Host::Domain(name)) if self == Self::Public && names_this_machine(name) => {
                Err(Refused::Loopback(name.to_owned()))
            }
            // The other names are checked once they are resolved. `url` gives http(s) a host.
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }

    fn admit(self, host: &str, ip: IpAddr) -> Result<(), Refused> {
        match closed_range(ip) {
            None => Ok(()),
            Some(LOOPBACK) if self == Self::Loopback => Ok(()),
            Some(LOOPBACK) => Err(Refused::Loopback(host.to_owned())),
            Some(range) => Err(Refused::Address { host: host.to_owned(), ip, range }),
        }
    }
}

fn names_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

const LOOPBACK: &str = "a loopback address";

/// The closed ranges of IPv4, from the special-purpose registry (RFC 6890), with multicast.
const CLOSED_V4: [(Ipv4Addr, u32, &str); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "an address of this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "a carrier's private address"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, LOOPBACK),
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
fn closed_range(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => CLOSED_V4
            .iter()
            .find(|(network, length, _)| same_prefix(ip.into(), (*network).into(), 32, *length))
            .map(|&(_, _, range)| range),
        IpAddr::V6(ip) => closed_v6(ip),
    }
}

fn closed_v6(ip: Ipv6Addr) -> Option<&'static str> {
    // ::ffff:127.0.0.1 is a way of writing 127.0.0.1.
    if let Some(ip) = ip.to_ipv4_mapped() {
        return closed_range(ip.into());
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

fn same_prefix(left: u32, right: u32, width: u32, length: u32) -> bool {
    (left ^ right) >> (width - length) == 0
}

/// Resolves names with the system's resolver and hands out only addresses within reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuardedResolver(pub(super) Reach);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let host = name.as_str();
            // The port of the URL replaces this one.
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(Box::new(within_reach(reach, host, found)?.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be spoken to; an error only if none may.
fn within_reach(
    reach: Reach,
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Refused> {
    let mut refused = None;
    let mut admitted = Vec::new();
    for address in found {
        match reach.admit(host, address.ip()) {
            Ok(()) => admitted.push(address),
            Err(reason) => refused = Some(reason),
        }
    }
    match refused {
        Some(reason) if admitted.is_empty() => Err(reason),
        _ => Ok(admitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::{bluesky, sandbox};

    #[test]
    fn closed_ranges_are_closed_up_to_their_edges() {
        let closed = [
            "0.0.0.0",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff:fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ];
        for ip in closed {
            assert!(closed_range(ip.parse().unwrap()).is_some(), "{ip} is open");
        }
        let open = [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:1.1.1.1",
        ];
        for ip in open {
            assert_eq!(closed_range(ip.parse().unwrap()), None, "{ip}");
        }
    }

    #[test]
    fn only_loopback_opens_with_the_policy() {
        assert_eq!(Reach::Loopback.admit("h", "127.0.0.1".parse().unwrap()), Ok(()));
        assert_eq!(Reach::Loopback.admit("h", "::1".parse().unwrap()), Ok(()));
        assert!(Reach::Loopback.admit("h", "169.254.169.254".parse().unwrap()).is_err());
        assert!(Reach::Loopback.admit("h", "10.0.0.1".parse().unwrap()).is_err());
    }

    #[test]
    fn of_a_names_addresses_only_those_within_reach_are_used() {
        let both: Vec<SocketAddr> =
            ["10.0.0.1:0", "1.1.1.1:0"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(
            within_reach(Reach::Public, "h", both.iter().copied()).unwrap(),
            [both[1]],
            "the private one is left out"
        );
        assert!(within_reach(Reach::Public, "h", both[..1].iter().copied()).is_err());
    }

    #[test]
    fn an_address_is_checked_when_an_account_is_added() {
        let closed = NetworkPolicy { allow_loopback: false };
        let opened = NetworkPolicy { allow_loopback: true };
        let check = |url: &str, descriptor, policy| {
            check_base_url(&url.parse().unwrap(), descriptor, policy).err().unwrap_or_default()
        };
        let remote = &bluesky::DESCRIPTOR;
        let local = &sandbox::SANDBOX;
        let rows = [
            ("https://bsky.social", remote, closed, ""),
            ("https://bsky.social/pds/", remote, closed, ""),
            ("http://bsky.social", remote, closed, "plain http"),
            ("ftp://bsky.social", remote, opened, "the scheme is ftp"),
            ("https://me:pw@bsky.social", remote, closed, "user name"),
            ("https://bsky.social?x=1", remote, closed, "query"),
            ("https://bsky.social#x", remote, closed, "fragment"),
            ("https://127.0.0.1:2583", remote, closed, "POSTWORKS_ALLOW_LOOPBACK=1"),
            ("https://0x7f.1", remote, closed, "POSTWORKS_ALLOW_LOOPBACK=1"),
            ("https://pds.localhost.", remote, closed, "POSTWORKS_ALLOW_LOOPBACK=1"),
            ("https://[::ffff:10.1.1.1]", remote, opened, "a private address"),
            ("http://localhost:2583", remote, opened, ""),
            ("http://127.0.0.1:7001", local, closed, ""),
            ("http://169.254.169.254", local, opened, "a link-local address"),
        ];
        for (url, descriptor, policy, words) in rows {
            let said = check(url, descriptor, policy);
            assert!(said.contains(words) && said.is_empty() == words.is_empty(), "{url}: {said}");
        }
    }
}
