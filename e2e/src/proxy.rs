//! A proxy that ends TLS in front of a server that speaks it, so that a test can act exactly before or after one request of a process:
//! before the server sees it, or when the server has answered and the process has not heard yet.

pub mod chaos;

use anyhow::{Result, anyhow, bail};
use axum::body::Bytes;
use chaos::{About, Chaos, Fault};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// A certificate for `localhost` and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Identity {
    /// A new one, which is its own authority.
    ///
    /// # Errors
    /// When none can be made.
    pub fn make() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        Ok(Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        })
    }

    fn acceptor(&self) -> Result<TlsAcceptor> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.collect::<Result<_, _>>()?, key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Whether to act before the server sees the request, or after it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request never reaches the server.
    Before,
    /// The server did what was asked; the answer never reaches the process.
    After,
}

/// One request, by the name that the recording gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Name and number, like `create job #1`.
    pub request: String,
    /// On which side of it.
    pub side: Side,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(f, "{side} {}", self.request)
    }
}

/// What is done at a point. The connection is cut when it is done, so the process, if it still lives, sees a lost answer.
pub type Strike = Box<dyn FnOnce() -> BoxFuture<'static, Result<()>> + Send>;

/// A request as a rule sees it.
pub struct Seen<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path, without the query.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
}

type Name = dyn Fn(&Seen<'_>) -> Option<String> + Send + Sync;

/// Names the requests that count, numbers them, and strikes at most once.
pub struct Rule {
    name: Box<Name>,
    record: Mutex<Vec<String>>,
    armed: Mutex<Option<(Point, Strike)>>,
    chaos: Option<Arc<Chaos>>,
    struck: watch::Sender<Option<Result<(), String>>>,
}

impl Rule {
    /// Records the requests that have a name, and strikes where it is told.
    #[must_use]
    pub fn new(
        name: impl Fn(&Seen<'_>) -> Option<String> + Send + Sync + 'static,
        armed: Option<(Point, Strike)>,
    ) -> Arc<Self> {
        Self::disturbed(name, armed, None)
    }

    /// The same, with faults besides.
    #[must_use]
    pub fn disturbed(
        name: impl Fn(&Seen<'_>) -> Option<String> + Send + Sync + 'static,
        armed: Option<(Point, Strike)>,
        chaos: Option<Arc<Chaos>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: Box::new(name),
            record: Mutex::default(),
            armed: Mutex::new(armed),
            chaos,
            struck: watch::Sender::new(None),
        })
    }

    /// Lets everything through and records nothing.
    #[must_use]
    pub fn idle() -> Arc<Self> {
        Self::new(|_| None, None)
    }

    /// The names so far, in order.
    #[must_use]
    pub fn record(&self) -> Vec<String> {
        lock(&self.record).clone()
    }

    /// Waits until it has struck.
    ///
    /// # Errors
    /// When the strike failed.
    pub async fn struck(&self) -> Result<()> {
        let mut struck = self.struck.subscribe();
        match struck.wait_for(Option::is_some).await?.clone() {
            Some(Err(why)) => bail!("the strike failed: {why}"),
            _ => Ok(()),
        }
    }

    fn meet(&self, seen: &Seen<'_>) -> Option<(Side, Strike)> {
        let name = (self.name)(seen)?;
        let mut record = lock(&self.record);
        let prefix = format!("{name} #");
        let number = record
            .iter()
            .filter(|held| held.starts_with(&prefix))
            .count()
            + 1;
        let request = format!("{prefix}{number}");
        record.push(request.clone());
        let mut armed = lock(&self.armed);
        if armed
            .as_ref()
            .is_some_and(|(point, _)| point.request == request)
        {
            return armed.take().map(|(point, strike)| (point.side, strike));
        }
        None
    }

    /// In a task of its own: the connection of a process that is killed goes with it, and all that runs for the connection.
    async fn strike(self: Arc<Self>, strike: Strike) -> Result<()> {
        let striking = tokio::spawn(async move {
            let done = strike().await.map_err(|error| format!("{error:#}"));
            self.struck.send_replace(Some(done));
        });
        Ok(striking.await?)
    }
}

/// The rule that holds now; a test changes it between two runs.
#[derive(Clone)]
pub struct Switch(Arc<Mutex<Arc<Rule>>>);

impl Switch {
    /// Begins with this rule.
    #[must_use]
    pub fn new(rule: Arc<Rule>) -> Self {
        Self(Arc::new(Mutex::new(rule)))
    }

    /// From here on this rule holds.
    pub fn set(&self, rule: &Arc<Rule>) {
        *lock(&self.0) = Arc::clone(rule);
    }

    fn get(&self) -> Arc<Rule> {
        Arc::clone(&lock(&self.0))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server behind a proxy.
#[derive(Clone)]
pub struct Upstream {
    /// Its URL, without a path.
    pub url: String,
    client: reqwest::Client,
}

impl Upstream {
    /// The server at `url`, verified with this CA.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(url: &str, ca: Vec<reqwest::Certificate>) -> Result<Self> {
        let client = reqwest::Client::builder()
            .tls_certs_only(ca)
            .http1_only()
            .no_proxy()
            // A connection that a killed server has left behind must not be found by the next request.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            client,
        })
    }
}

/// A proxy; it takes no connection any more when dropped.
pub struct Proxy {
    /// Its URL.
    pub url: String,
    accept: AbortHandle,
}

impl Proxy {
    /// Starts one on a listener of this machine.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn start(
        identity: &Identity,
        listener: TcpListener,
        upstream: Upstream,
        switch: Switch,
    ) -> Result<Self> {
        let acceptor = identity.acceptor()?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let shared = Arc::new(Shared { upstream, switch });
        let accept = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // The peer sees a broken connection as one; there is nobody else to tell.
                tokio::spawn(talk(socket, acceptor.clone(), Arc::clone(&shared)));
            }
        });
        Ok(Self {
            url,
            accept: accept.abort_handle(),
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

struct Shared {
    upstream: Upstream,
    switch: Switch,
}

async fn talk(socket: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) -> Result<()> {
    socket.set_nodelay(true)?;
    let stream = acceptor.accept(socket).await?;
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.carry(request).await }
    });
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

type Answer = http_body_util::combinators::UnsyncBoxBody<Bytes, anyhow::Error>;

impl Shared {
    /// An error cuts the connection.
    async fn carry(&self, request: Request<Incoming>) -> Result<Response<Answer>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let rule = self.switch.get();
        let (before, after) = match rule.meet(&Seen {
            method: &parts.method,
            path: parts.uri.path(),
            body: &body,
        }) {
            Some((Side::Before, strike)) => (Some(strike), None),
            Some((Side::After, strike)) => (None, Some(strike)),
            None => (None, None),
        };
        if let Some(strike) = before {
            rule.strike(strike).await?;
            bail!("struck before the request");
        }
        let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let about = About::of(&parts.method, parts.uri.path(), parts.uri.query());
        let chaos = rule.chaos.clone().zip(about);
        let fault = chaos
            .as_ref()
            .and_then(|(chaos, about)| chaos.of_request(about, target));
        match (&chaos, fault) {
            (Some((chaos, _)), Some(Fault::Hang)) => {
                chaos.hang().await;
                bail!("hung");
            }
            (_, Some(Fault::Refused(status))) => return refused(status),
            (Some((chaos, _)), Some(Fault::Stale)) => {
                if let Some((headers, body)) = chaos.list(target) {
                    return Ok(answered(StatusCode::OK, headers, body));
                }
            }
            _ => {}
        }
        let target = target.to_owned();
        let url = format!("{}{target}", self.upstream.url);
        let mut headers = parts.headers;
        for hop in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
            headers.remove(hop);
        }
        let sent = self.upstream.client.request(parts.method, url);
        let mut answer = sent.headers(headers).body(body).send().await?;
        if let Some(strike) = after {
            let status = answer.status();
            answer.bytes().await?;
            rule.strike(strike).await?;
            bail!("struck after the answer ({status})");
        }
        if fault == Some(Fault::Lost) {
            answer.bytes().await?;
            return refused(504);
        }
        if let Some((chaos, about)) = &chaos
            && chaos.remembers(about)
            && answer.status().is_success()
        {
            let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
            let body = answer.bytes().await?;
            chaos.listed(about, &target, &headers, &body);
            return Ok(answered(status, headers, body));
        }
        let watched = chaos.filter(|(_, about)| about.watches && answer.status().is_success());
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        for hop in [header::CONNECTION, header::TRANSFER_ENCODING] {
            response.headers_mut().remove(hop);
        }
        let pieces = answer.bytes_stream().map_err(|error| anyhow!(error));
        let pieces = match watched {
            Some((chaos, about)) => {
                response.headers_mut().remove(header::CONTENT_LENGTH);
                chaos::disturbed(pieces, move || chaos.of_change(&about))
            }
            None => pieces.boxed(),
        };
        let pieces = pieces.map_ok(Frame::data);
        Ok(response.map(|()| StreamBody::new(pieces).boxed_unsync()))
    }
}

/// The server's refusal, which it did not give.
fn refused(status: u16) -> Result<Response<Answer>> {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let body = chaos::refusal(status);
    Ok(answered(StatusCode::from_u16(status)?, headers, body))
}

fn answered(status: StatusCode, mut headers: HeaderMap, body: Bytes) -> Response<Answer> {
    for hop in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
    ] {
        headers.remove(hop);
    }
    let body = Full::new(body).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests;
