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
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried.
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
    for address in found.into_iter().take(TRIED) {
        if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(error = %error, "failed to set TCP_NODELAY");
            }
            return Ok(stream);
        }
    }
    Err(NotReached::Connect(domain.clone(), port))
}
