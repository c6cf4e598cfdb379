//! HTTP/1.1 with nothing between hyper and the socket but TLS: connections of clients, a pool of them, and a server.

use anyhow::{Context as _, Result};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A connection must stand within this.
const CONNECT: Duration = Duration::from_secs(10);

/// A server that is asked, on the loopback interface and with TLS.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    /// Where connections come from.
    from: Ipv4Addr,
    connector: TlsConnector,
}

impl Server {
    /// The server at this port.
    pub fn new(port: u16, tls: &Arc<rustls::ClientConfig>) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            from: Ipv4Addr::LOCALHOST,
            connector: TlsConnector::from(tls.clone()),
        }
    }

    /// The same, asked from another address of the loopback interface.
    #[must_use]
    pub fn from(self, from: Ipv4Addr) -> Self {
        Self { from, ..self }
    }

    /// Its address as the header Host has it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A new connection.
    pub async fn connect<B>(&self) -> Result<SendRequest<B>>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            if self.from != Ipv4Addr::LOCALHOST {
                socket.bind((self.from, 0).into())?;
            }
            let socket = socket.connect(self.address).await?;
            socket.set_nodelay(true)?;
            let name = ServerName::from(self.address.ip());
            let stream = self.connector.connect(name, socket).await?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(async move { drop(connection.await) }); // who has the sender sees how it ended
            anyhow::Ok(sender)
        };
        tokio::time::timeout(CONNECT, connect)
            .await
            .with_context(|| format!("{} did not take a connection in time", self.address))?
            .with_context(|| format!("failed to connect to {}", self.address))
    }
}

/// Connections that are kept for the next request.
pub struct Pool<B> {
    server: Server,
    idle: Mutex<Vec<SendRequest<B>>>,
}

impl<B> Pool<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// No connections yet.
    pub fn new(server: Server) -> Self {
        Self {
            server,
            idle: Mutex::default(),
        }
    }

    /// A connection that can take a request: one that is there, else a new one.
    pub async fn take(&self) -> Result<SendRequest<B>> {
        let held = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|sender| !sender.is_closed());
            let ready = idle.iter().rposition(SendRequest::is_ready);
            ready.map(|place| idle.swap_remove(place))
        };
        match held {
            Some(sender) => Ok(sender),
            None => self.server.connect().await,
        }
    }

    /// Gives a connection back; it is used again once its answer was read.
    pub fn put(&self, sender: SendRequest<B>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(sender);
    }
}

/// A listener on a free port of the loopback interface, and the port.
pub async fn listen() -> Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("failed to listen on the loopback interface")?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Serves for ever.
pub async fn serve<B, F>(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = Result<Response<B>, Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await; // out of file descriptors
            continue;
        };
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            // Without it each small chunk of a stream waits 40 ms for the acknowledgement of the one before.
            let _ = socket.set_nodelay(true);
            match acceptor {
                None => drop(
                    http.serve_connection(TokioIo::new(socket), service_fn(answer))
                        .await,
                ),
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        drop(
                            http.serve_connection(TokioIo::new(stream), service_fn(answer))
                                .await,
                        );
                    }
                }
            }
        });
    }
}
