//! A local port that leads to a port of a pod through the API server, as `kubectl port-forward` does: it works on every cluster, and TLS
//! goes through it unbroken.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A local port; it closes when dropped.
pub struct Forward {
    /// Where it listens.
    pub address: SocketAddr,
    accept: AbortHandle,
}

impl Forward {
    /// Opens a local port for `port` of the pod. Each connection is forwarded by itself, so it outlives a restart of the pod.
    ///
    /// # Errors
    /// When no local port can be opened.
    pub async fn open(pods: Api<Pod>, pod: &str, port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("failed to open a local port")?;
        let address = listener.local_addr()?;
        let pod = pod.to_owned();
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (pods, pod) = (pods.clone(), pod.clone());
                // The caller sees a broken connection as one; there is nobody else to tell.
                tokio::spawn(async move { carry(&pods, &pod, port, stream).await });
            }
        });
        Ok(Self {
            address,
            accept: accept.abort_handle(),
        })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn carry(pods: &Api<Pod>, pod: &str, port: u16, mut local: TcpStream) -> Result<()> {
    let mut forwarder = pods.portforward(pod, &[port]).await?;
    let mut remote = forwarder
        .take_stream(port)
        .context("the port-forward has no stream")?;
    tokio::io::copy_bidirectional(&mut local, &mut remote).await?;
    Ok(())
}
