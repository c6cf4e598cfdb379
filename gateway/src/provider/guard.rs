//! Where a provider's endpoint may be: public addresses, and the private ones that the administrator listed.
//!
//! Whoever may write a ModelProvider would else reach whatever the gateway reaches: cloud metadata, the API server, other tenants. The
//! check is on the addresses that are connected to, at each connect, so that a name cannot change its mind in between.

use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{BoxError, Service};

/// The private addresses and hosts that providers may have.
#[derive(Clone, Debug, Default)]
pub struct PrivateEndpoints {
    nets: Vec<IpNet>,
    hosts: Vec<String>,
}

/// Why an endpoint is not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}; if that is meant, add it to the chart's gateway.privateEndpoints",
    private(.host, .address)
)]
pub struct PrivateAddress {
    host: String,
    address: IpAddr,
}

fn private(host: &str, address: &IpAddr) -> String {
    let address = address.to_string();
    if host == address {
        format!("{address} is a private address")
    } else {
        format!("{host} has the private address {address}")
    }
}

impl PrivateEndpoints {
    /// Parses CIDRs, addresses and host names.
    ///
    /// # Errors
    /// When an entry is none of them.
    pub fn parse(entries: &[String]) -> anyhow::Result<Self> {
        let mut list = Self::default();
        for entry in entries
            .iter()
            .map(|entry| entry.trim())
            .filter(|entry| !entry.is_empty())
        {
            if let Ok(net) = entry.parse::<IpNet>() {
                list.nets.push(net);
            } else if let Ok(address) = entry.parse::<IpAddr>() {
                list.nets.push(IpNet::from(address));
            } else if entry
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            {
                list.hosts.push(entry.to_ascii_lowercase());
            } else {
                anyhow::bail!(
                    "'{entry}' in --private-endpoints is neither a CIDR, an address nor a host name"
                );
            }
        }
        Ok(list)
    }

    /// Whether `address` of `host` may be connected to.
    ///
    /// # Errors
    /// [`PrivateAddress`] when it may not.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), PrivateAddress> {
        let address = address.to_canonical();
        if self.lists(host, address) || is_public(address) {
            Ok(())
        } else {
            Err(PrivateAddress {
                host: host.to_owned(),
                address,
            })
        }
    }

    /// Whether `address` of `host` is listed.
    #[must_use]
    pub fn lists(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let name = host.trim_end_matches('.');
        let mut hosts = self.hosts.iter();
        self.nets.iter().any(|net| net.contains(&address))
            || hosts.any(|listed| listed.eq_ignore_ascii_case(name))
    }

    /// Checks the host of a URL where it is an address; names are checked by [`GuardedResolver`] when they are resolved.
    ///
    /// # Errors
    /// [`PrivateAddress`] when the address is private and not listed.
    pub fn check_literal(&self, url: &url::Url) -> Result<(), PrivateAddress> {
        match url.host() {
            Some(url::Host::Ipv4(address)) => self.check(&address.to_string(), address.into()),
            Some(url::Host::Ipv6(address)) => self.check(&address.to_string(), address.into()),
            Some(url::Host::Domain(_)) | None => Ok(()),
        }
    }
}

/// Whether an address is reachable on the public internet (IANA's special-purpose registries).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, _, _, _, seventh, eighth] = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (first, second) {
        (0x64, 0xff9b) => third == 0 && embedded(seventh, eighth), // NAT64; its local-use prefix is private
        (0x2002, high) => embedded(high, third),                   // 6to4
        (0x2001, 0x0db8) => false,                                 // documentation
        (0x2001, second) => second >= 0x0200, // 2001::/23: Teredo, benchmarking and the like
        (0x3fff, second) => second >= 0x1000, // documentation
        (first, _) => (0x2000..0x4000).contains(&first), // global unicast is 2000::/3
    }
}

/// Resolves names for one HTTP client and refuses private addresses.
#[derive(Clone, Debug)]
pub struct GuardedResolver(pub Arc<PrivateEndpoints>);

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allowed = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            // One private address among public ones refuses all: which of them answers is not ours to choose.
            for address in &found {
                allowed.check(host, address.ip())?;
            }
            Ok(found.into_iter())
        })
    }
}
