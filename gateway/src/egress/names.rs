//! From a domain to a connection. The addresses that were checked are those that are connected to: a name that changes its mind in between
//! changes nothing.

use crate::provider::guard::PrivateEndpoints;
use futures::future::BoxFuture;
use oarmaster_crds::Domain;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a name may take.
const LOOKUP: Duration = Duration::from_secs(10);
/// How long an address may take to accept.
const CONNECT: Duration = Duration::from_secs(3);
/// Addresses of a name that are tried, of each family: a network may have lost one of them without a word.
const TRIED: usize = 2;

/// How names become addresses.
pub type Resolve =
    Arc<dyn Fn(&Domain, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Why there is no connection. The text is for a program in a sandbox: it has no address of the cluster in it.
#[derive(Debug, thiserror::Error)]
pub enum NotReached {
    /// The name has no address.
    #[error("{0} has no address, or its name service does not answer")]
    Name(Domain),
    /// One of its addresses is private.
    #[error(
        "{0} has a private address, which a sandbox reaches only if the chart's gateway.privateEndpoints lists it"
    )]
    Private(Domain),
    /// Nobody accepts.
    #[error("{0} does not accept connections at port {1}")]
    Connect(Domain, u16),
}

/// As the system resolves names, without its search domains: `pypi.org` must not be found in a namespace `org` of the cluster.
#[must_use]
pub fn system() -> Resolve {
    Arc::new(|domain, port| {
        let name = format!("{domain}.");
        Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
    })
}

/// Connects to a domain.
///
/// # Errors
/// [`NotReached`].
pub async fn connect(
    resolve: &Resolve,
    allowed: &PrivateEndpoints,
    domain: &Domain,
    port: u16,
) -> Result<TcpStream, NotReached> {
    let found = timeout(LOOKUP, resolve(domain, port)).await;
    let found = match found {
        Ok(Ok(found)) if !found.is_empty() => found,
        Ok(Err(error)) => {
            tracing::debug!(error = %error, "a name of egress was not resolved");
            return Err(NotReached::Name(domain.clone()));
        }
        Ok(Ok(_)) | Err(_) => return Err(NotReached::Name(domain.clone())),
    };
    // One private address among public ones refuses all: which of them answers is not ours to choose.
    for address in &found {
        let checked = allowed.check(domain.as_str(), address.ip());
        checked.map_err(|_| NotReached::Private(domain.clone()))?;
    }
    for address in some_of_each_family(&found) {
        if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(error = %error, "failed to set TCP_NODELAY");
            }
            return Ok(stream);
        }
    }
    Err(NotReached::Connect(domain.clone(), port))
}

/// The first addresses of each family, that of the first one first, by turns.
fn some_of_each_family(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first =
        |address: &&SocketAddr| found.first().map(SocketAddr::is_ipv6) == Some(address.is_ipv6());
    let (first, other): (Vec<&SocketAddr>, Vec<&SocketAddr>) = found.iter().partition(is_first);
    (0..TRIED)
        .flat_map(|turn| [first.get(turn), other.get(turn)])
        .flatten()
        .map(|address| **address)
        .collect()
}

#[cfg(test)]
#[test]
fn both_families_have_their_turn() {
    let read = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    for (found, tried) in [
        (&["1.1.1.1:1"][..], &["1.1.1.1:1"][..]),
        (
            &["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"],
            &["[::1]:1", "1.1.1.1:1", "[::2]:1"],
        ),
        (
            &["1.1.1.1:1", "[::1]:1", "1.1.1.2:1", "1.1.1.3:1", "[::2]:1"],
            &["1.1.1.1:1", "[::1]:1", "1.1.1.2:1", "[::2]:1"],
        ),
        (&[], &[]),
    ] {
        assert_eq!(some_of_each_family(&read(found)), read(tried));
    }
}
