//! One connection of a program: read as HTTP by hyper until it is judged, then carried.

use super::ask::{self, Asked, Way};
use super::flow::{End, Flow, Metered};
use super::{Client, hello, model, names};
use axum::body::Body;
use http::header::{
    CONNECTION, CONTENT_TYPE, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use oarmaster_crds::Domain;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// How long a program may take to say what it wants, and again to begin TLS.
const FIRST_WORDS: Duration = Duration::from_secs(10);
const MAX_HEADERS: usize = 100;
/// Of a request and of an answer; each connection may hold as much.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Buffer of a tunnel, for each direction.
const BUFFER: usize = 16 << 10;

/// What a program is answered: a text of ours, the other side's body, or a model's.
type Answer = Response<Body>;

/// What a connection became.
#[derive(Default)]
struct Outcome {
    end: Option<End>,
    tunnel: Option<(OnUpgrade, TcpStream, Domain)>,
    /// Drives the other side's connection of a plain request.
    _driver: Option<AbortOnDropHandle<()>>,
}

impl Client {
    /// Talks with a program to the end of its connection.
    pub(super) async fn talk<S>(&self, child: S, flow: &Arc<Flow>) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let outcome = Mutex::new(Outcome::default());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(FIRST_WORDS)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(
                TokioIo::new(Metered::new(child, flow.clone())),
                service_fn(|request| self.answer(request, flow, &outcome)),
            )
            .with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "a connection of egress broke off");
        }
        let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        match outcome.tunnel {
            Some((upgrade, upstream, domain)) => self.carry(upgrade, upstream, &domain).await,
            None => outcome.end.unwrap_or(End::Refused), // it asked for nothing
        }
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        flow: &Flow,
        outcome: &Mutex<Outcome>,
    ) -> Result<Answer, Infallible> {
        if let Some(caller) = &self.program
            && model::is_own(request.method(), request.uri())
        {
            let answer = self.model(caller, request, flow).await;
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.end = Some(End::Done);
            return Ok(answer);
        }
        let upgrade = hyper::upgrade::on(&mut request);
        let (answer, after) = match self.judge(&request, flow).await {
            Err((status, end, why)) => {
                let end = Some(end);
                (
                    told(status, &why),
                    Outcome {
                        end,
                        ..Outcome::default()
                    },
                )
            }
            Ok((
                Asked {
                    domain,
                    way: Way::Tunnel,
                },
                upstream,
            )) => {
                let tunnel = Some((upgrade, upstream, domain));
                let opened = Response::new(Body::empty());
                (
                    opened,
                    Outcome {
                        tunnel,
                        ..Outcome::default()
                    },
                )
            }
            Ok((
                Asked {
                    domain,
                    way: Way::Plain,
                },
                upstream,
            )) => forward(request, &domain, upstream).await,
        };
        *outcome.lock().unwrap_or_else(PoisonError::into_inner) = after;
        Ok(answer)
    }

    /// The domain, and a connection to it, if the request may have one.
    async fn judge(
        &self,
        request: &Request<Incoming>,
        flow: &Flow,
    ) -> Result<(Asked, TcpStream), (StatusCode, End, String)> {
        let asked = ask::read(request.method(), request.uri(), &self.allowed);
        let asked = asked.map_err(|refused| {
            self.refused(refused.reason());
            (StatusCode::FORBIDDEN, End::Refused, refused.to_string())
        })?;
        if !self.account.makes() {
            self.refused("too_many");
            let why = "this Task has made as many connections as it may".to_owned();
            return Err((StatusCode::FORBIDDEN, End::Refused, why));
        }
        self.begins(&asked.domain).await.map_err(|error| {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                End::Unreachable,
                error.message,
            )
        })?;
        flow.goes_to(asked.domain.clone());
        let (resolve, guard) = (
            &self.gateway.egress.resolve,
            &self.gateway.settings.private_endpoints,
        );
        let upstream = names::connect(resolve, guard, &asked.domain, asked.way.port()).await;
        let upstream = upstream
            .map_err(|error| (StatusCode::BAD_GATEWAY, End::Unreachable, error.to_string()))?;
        Ok((asked, upstream))
    }

    /// Carries a tunnel that begins with TLS for its domain.
    async fn carry(&self, upgrade: OnUpgrade, mut upstream: TcpStream, domain: &Domain) -> End {
        let Ok(upgraded) = upgrade.await else {
            return End::Done; // the program has left
        };
        let mut child = TokioIo::new(upgraded);
        let Ok(read) = timeout(FIRST_WORDS, hello::read(&mut child, domain)).await else {
            return End::Idle;
        };
        let said = match read {
            Ok(said) => said,
            Err(hello::BadHello::Nothing | hello::BadHello::Broken(_)) => return End::Done,
            Err(hello::BadHello::NoTls | hello::BadHello::OtherName) => {
                self.refused("server_name");
                return End::Refused;
            }
        };
        let carried = async {
            upstream.write_all(&said).await?;
            copy_bidirectional_with_sizes(&mut child, &mut upstream, BUFFER, BUFFER).await
        };
        if let Err(error) = carried.await {
            tracing::debug!(error = %error, "a tunnel of egress broke off");
        }
        End::Done
    }
}

/// Sends one request to a domain, and gives its answer back.
async fn forward(
    mut request: Request<Incoming>,
    domain: &Domain,
    upstream: TcpStream,
) -> (Answer, Outcome) {
    let failed = || {
        let end = Some(End::Unreachable);
        let why = format!("{domain} did not answer with HTTP");
        (
            told(StatusCode::BAD_GATEWAY, &why),
            Outcome {
                end,
                ..Outcome::default()
            },
        )
    };
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    // Of one connection each side speaks for itself (RFC 9110, 7.6.1), and whom it is for was judged by the first line.
    let headers = request.headers_mut();
    end_to_end(headers);
    headers.remove(EXPECT);
    let Ok(host) = HeaderValue::from_str(domain.as_str()) else {
        return failed(); // letters, digits, hyphens and dots are a header's value
    };
    headers.insert(HOST, host);
    *request.version_mut() = http::Version::HTTP_11;
    let connected = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(upstream))
        .await;
    let Ok((mut sender, connection)) = connected else {
        return failed();
    };
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "a request of egress broke off");
        }
    }));
    match sender.send_request(request).await {
        Ok(response) if !response.status().is_informational() => {
            let mut response = response.map(Body::new);
            let headers = response.headers_mut();
            end_to_end(headers);
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
            let after = Outcome {
                end: Some(End::Done),
                _driver: Some(driver),
                tunnel: None,
            };
            (response, after)
        }
        _ => failed(),
    }
}

/// Takes out what is for the next hop alone.
fn end_to_end(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authenticate"] {
        headers.remove(name);
    }
}

/// A refusal for a program, after which its connection ends.
fn told(status: StatusCode, why: &str) -> Answer {
    let mut response = Response::new(Body::from(format!("{why}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    response
}
