//! How names become addresses: asked for once a connection, and only those within reach are handed
//! out, so that a connection goes to an address that was checked.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::network::{Reach, Refused};

/// Knows the addresses of names.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a host, best first.
    ///
    /// # Errors
    /// There is no such host, or nobody can be asked.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Hands out only addresses within reach.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    pub(super) reach: Reach,
    pub(super) lookup: Arc<dyn Lookup>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { reach, lookup } = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = lookup.addresses(host).await?;
            let admitted = within_reach(reach, host, found)?;
            // The port of the URL replaces this one.
            let addresses = admitted.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver").field("reach", &self.reach).finish_non_exhaustive()
    }
}

/// The addresses that may be spoken to; an error only if none may.
fn within_reach(reach: Reach, host: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refused> {
    let mut refused = None;
    let mut admitted = Vec::new();
    for ip in found {
        match reach.admit(host, ip) {
            Ok(()) => admitted.push(ip),
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

    #[test]
    fn of_a_names_addresses_only_those_within_reach_are_used() {
        let both: Vec<IpAddr> =
            ["10.0.0.1", "1.1.1.1"].iter().map(|text| text.parse().unwrap()).collect();
        let admitted = within_reach(Reach::Public, "h", both.clone()).unwrap();
        assert_eq!(admitted, both[1..], "the private one is left out");
        assert!(within_reach(Reach::Public, "h", both[..1].to_vec()).is_err());
    }
}
