//! HTTP/1.1 to the one endpoint of a provider.
//!
//! It stands on hyper's own client, not on one for every purpose: a call is one request to an address that is known before, and needs no URL that
//! is made anew, and no policies for redirects, retries and proxies, which would all be off.

use super::guard::{GuardedResolver, PrivateAddress, PrivateEndpoints};
use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tower::BoxError;
use tower::timeout::Timeout;
use tower::util::BoxCloneSyncService;

/// How long a connection is kept for the next request; servers close theirs after a minute or more.
const IDLE: Duration = Duration::from_secs(55);
/// What the gateway says that it is.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("oarmaster/", env!("CARGO_PKG_VERSION")));

/// What comes back: over the network, or made here in its place.
pub type Body = Either<Incoming, UnsyncBoxBody<Bytes, io::Error>>;

type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;

/// A client for one endpoint: its connections are shared with no other, it follows no redirect and uses no proxy.
#[derive(Debug)]
pub struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    /// What stands before each path, without a slash at its end.
    prefix: String,
    forbidden: Option<PrivateAddress>,
}

/// A request that did not lead to an answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nothing may be sent there.
    #[error(transparent)]
    Forbidden(#[from] PrivateAddress),
    /// There is no connection: nothing was sent.
    #[error("failed to connect to {host}: {cause}")]
    Unconnected {
        /// Where to.
        host: Authority,
        /// The last cause.
        cause: String,
    },
    /// It was sent, wholly or in part.
    #[error("failed to talk HTTP to {host}: {cause}")]
    Broken {
        /// Where to.
        host: Authority,
        /// The last cause.
        cause: String,
    },
}

impl Client {
    /// A client that connects within `connect`, with this trust, to addresses that `guard` lets through.
    ///
    /// # Errors
    /// When the endpoint is not the URL of a server.
    pub fn new(
        endpoint: &str,
        connect: Duration,
        tls: &rustls::ClientConfig,
        guard: &Arc<PrivateEndpoints>,
    ) -> Result<Self, String> {
        let url =
            url::Url::parse(endpoint).map_err(|error| format!("endpoint is not a URL: {error}"))?;
        let scheme = match url.scheme() {
            "https" => Scheme::HTTPS,
            "http" => Scheme::HTTP,
            other => return Err(format!("endpoint has the scheme {other}, not https")),
        };
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let server = |error: &dyn Error| format!("endpoint names no server: {error}");
        Ok(Self {
            inner: legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .set_host(false)
                .build(connector(connect, tls, guard)),
            scheme,
            authority: host.parse().map_err(|error| server(&error))?,
            host: host.parse().map_err(|error| server(&error))?,
            prefix: url.path().trim_end_matches('/').to_owned(),
            forbidden: guard.check_literal(&url).err(),
        })
    }

    /// A request without a body, for a path below the endpoint which may have a query and in which everything is encoded.
    ///
    /// # Errors
    /// When the path cannot be one.
    pub fn request(&self, method: Method, path: &str) -> Result<Request<Bytes>, String> {
        let whole = format!("{}/{}", self.prefix, path.trim_start_matches('/'));
        let path = PathAndQuery::from_maybe_shared(Bytes::from(whole))
            .map_err(|error| format!("{path} is no path: {error}"))?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| error.to_string())?;
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(USER_AGENT, AGENT);
        Ok(request)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, NoAnswer> {
        if let Some(forbidden) = &self.forbidden {
            return Err(forbidden.clone().into());
        }
        let sent = self.inner.request(request.map(Full::new)).await;
        sent.map(|response| response.map(Either::Left))
            .map_err(|error| self.no_answer(&error))
    }

    fn no_answer(&self, error: &legacy::Error) -> NoAnswer {
        if let Some(private) = causes(error).find_map(|cause| cause.downcast_ref()) {
            return NoAnswer::Forbidden(PrivateAddress::clone(private));
        }
        let host = self.authority.clone();
        let cause = last_cause(error);
        if error.is_connect() {
            NoAnswer::Unconnected { host, cause }
        } else {
            NoAnswer::Broken { host, cause }
        }
    }
}

/// A body that does not come over the network.
pub fn made<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error = io::Error> + Send + 'static,
{
    Either::Right(body.boxed_unsync())
}

/// TCP to addresses that the guard lets through, with TLS where the endpoint says so, all within `connect`.
fn connector(
    connect: Duration,
    tls: &rustls::ClientConfig,
    guard: &Arc<PrivateEndpoints>,
) -> Connector {
    let mut tcp = HttpConnector::new_with_resolver(GuardedResolver(guard.clone()));
    tcp.set_nodelay(true);
    tcp.enforce_http(false); // TLS is the next layer's
    let tls = HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    BoxCloneSyncService::new(Timeout::new(tls, connect))
}

/// The last cause of an error, which says most.
pub fn last_cause(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}
