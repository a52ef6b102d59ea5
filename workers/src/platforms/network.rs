//! Which servers a platform client may speak to.
//!
//! An account's address is entered by a tenant, so it must never reach what only this machine or
//! its network can reach. Addresses are checked twice: when an account is added, for a clear
//! message, and at each connection, because a name may point elsewhere by then.

use std::net::IpAddr;

use url::{Host, Url};

use super::Descriptor;
use super::ranges::{LOOPBACK, closed_range};

/// What the operator permits beyond public servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Permits plain HTTP and loopback addresses (`POSTWORKS_ALLOW_LOOPBACK=1`).
    pub allow_loopback: bool,
}

impl NetworkPolicy {
    /// How far the client of a platform reaches: that of a local one never further than this
    /// machine, whatever the policy.
    pub(super) fn reach(self, descriptor: &Descriptor) -> Reach {
        match (descriptor.local, self.allow_loopback) {
            (true, _) => Reach::Loopback,
            (false, true) => Reach::PublicAndLoopback,
            (false, false) => Reach::Public,
        }
    }
}

/// How far a client reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Public addresses, over HTTPS.
    Public,
    /// Loopback addresses and plain HTTP as well.
    PublicAndLoopback,
    /// Loopback addresses alone, over plain HTTP as well.
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
    /// Another machine, for a local platform.
    #[error(
        "{0} is not this machine, and a platform for demos and tests is reached on this machine \
         alone: give an address such as http://127.0.0.1:7001"
    )]
    Elsewhere(String),
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
            ("https", _) | ("http", Self::PublicAndLoopback | Self::Loopback) => {}
            ("http", Self::Public) => return Err(Refused::Plain),
            (scheme, _) => return Err(Refused::Scheme(scheme.to_owned())),
        }
        match url.host() {
            Some(Host::Ipv4(ip)) => self.admit(&ip.to_string(), ip.into()),
            Some(Host::Ipv6(ip)) => self.admit(&ip.to_string(), ip.into()),
            Some(Host::Domain(name)) => self.admit_name(name),
            // `url` gives http(s) a host.
            None => Ok(()),
        }
    }

    /// What a name says by itself; its addresses are checked once it is resolved.
    fn admit_name(self, name: &str) -> Result<(), Refused> {
        match (self, names_this_machine(name)) {
            (Self::Public, true) => Err(Refused::Loopback(name.to_owned())),
            // Nobody is asked for it: the question would leave this machine.
            (Self::Loopback, false) => Err(Refused::Elsewhere(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Whether the address of a host may be spoken to.
    pub(super) fn admit(self, host: &str, ip: IpAddr) -> Result<(), Refused> {
        match (closed_range(ip), self) {
            (None, Self::Public | Self::PublicAndLoopback) => Ok(()),
            (Some(LOOPBACK), Self::PublicAndLoopback | Self::Loopback) => Ok(()),
            (Some(LOOPBACK), Self::Public) => Err(Refused::Loopback(host.to_owned())),
            (_, Self::Loopback) => Err(Refused::Elsewhere(host.to_owned())),
            (Some(range), _) => Err(Refused::Address { host: host.to_owned(), ip, range }),
        }
    }
}

fn names_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::{bluesky, sandbox};

    #[test]
    fn only_loopback_opens_with_the_policy() {
        let admits = |reach: Reach, ip: &str| reach.admit("h", ip.parse().unwrap()).is_ok();
        for (ip, public, both, local) in [
            ("127.0.0.1", false, true, true),
            ("::1", false, true, true),
            ("::ffff:127.0.0.1", false, true, true),
            ("1.1.1.1", true, true, false),
            ("2606:4700::1111", true, true, false),
            ("0.0.0.0", false, false, false),
            ("::", false, false, false),
            ("169.254.169.254", false, false, false),
            ("10.0.0.1", false, false, false),
        ] {
            assert_eq!(admits(Reach::Public, ip), public, "{ip}");
            assert_eq!(admits(Reach::PublicAndLoopback, ip), both, "{ip}");
            assert_eq!(admits(Reach::Loopback, ip), local, "{ip}");
        }
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
            ("http://localhost:7001", local, closed, ""),
            ("https://[::1]:7001", local, closed, ""),
            ("http://169.254.169.254", remote, opened, "a link-local address"),
            ("http://169.254.169.254", local, opened, "this machine alone"),
            ("https://1.1.1.1", local, opened, "this machine alone"),
            ("https://sandbox.example", local, opened, "this machine alone"),
        ];
        for (url, descriptor, policy, words) in rows {
            let said = check(url, descriptor, policy);
            assert!(said.contains(words) && said.is_empty() == words.is_empty(), "{url}: {said}");
        }
    }
}
