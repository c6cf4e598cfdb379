//! Providers over HTTP.

use crate::provider::Asked;
use crate::provider::failure::{Failure, ProviderError, retry_after};
use crate::provider::guard::{GuardedResolver, PrivateAddress, PrivateEndpoints};
use crate::provider::keys::ApiKey;
use crate::provider::whole::Whole;
use crate::provider::wire::Wire;
use bytes::Bytes;
use http::{HeaderValue, header};
use oarmaster_dialect::messages;
use oarmaster_dialect::sse::{Event, Parser};
use oarmaster_protocol::text;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Largest answer that is not streamed: 2 million tokens.
const MAX_ANSWER: usize = 8 << 20;
/// Largest answer of embeddings: the most inputs of a request, each a vector of 3072 numbers as base64.
const MAX_VECTORS: usize = 64 << 20;
/// Largest stream.
const MAX_STREAM: usize = 256 << 20;
/// What is read of an error.
const MAX_ERROR: usize = 64 << 10;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Until the connection stands.
    pub connect: Duration,
    /// Until the first chunk of a stream.
    pub first_token: Duration,
    /// Between two chunks.
    pub idle: Duration,
    /// Until the end of an answer that is not streamed.
    pub response: Duration,
}

/// A provider's server.
#[derive(Debug)]
pub struct Http {
    wire: Wire,
    client: reqwest::Client,
    base: url::Url,
    guard: Arc<PrivateEndpoints>,
    waits: Waits,
}

/// Why an endpoint was not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// Nothing was sent, and nothing will be until somebody changes something.
    Forbidden(String),
    /// It does not answer.
    Silent(String),
}

impl Http {
    /// A client for this endpoint alone: its connections are shared with nobody, and it follows no redirect and no proxy.
    ///
    /// # Errors
    /// When the endpoint is not a URL.
    pub fn new(
        wire: Wire,
        endpoint: &str,
        waits: Waits,
        tls: &rustls::ClientConfig,
        guard: &Arc<PrivateEndpoints>,
    ) -> Result<Self, String> {
        let base =
            url::Url::parse(endpoint).map_err(|error| format!("endpoint is not a URL: {error}"))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .dns_resolver(GuardedResolver(guard.clone()))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(waits.connect)
            .pool_idle_timeout(Duration::from_secs(55))
            .user_agent(concat!("oarmaster/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("failed to make an HTTP client: {}", chain(&error)))?;
        Ok(Self {
            wire,
            client,
            base,
            guard: guard.clone(),
            waits,
        })
    }

    /// What it speaks.
    #[must_use]
    pub const fn wire(&self) -> Wire {
        self.wire
    }

    /// Asks for a whole answer to one body.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn complete(&self, asked: &Asked<'_>, body: Bytes) -> Result<Whole, Failure> {
        let path = asked.sent.wire.path(asked.model, false);
        let most = match asked.sent.wire {
            Wire::Embeddings(_) => MAX_VECTORS,
            _ => MAX_ANSWER,
        };
        let bytes = self.fetch(asked, &path, body, most).await?;
        let read = text::json(&bytes);
        self.check(&read.text, asked)?;
        Whole::read(asked, &read, &bytes).map_err(|not| Failure::unknown(not.message, true))
    }

    /// Asks how many tokens a request has, and returns the answer as it came.
    ///
    /// # Errors
    /// [`Failure`]; nothing is ever billed for it.
    pub async fn count(&self, asked: &Asked<'_>, body: Bytes) -> Result<Bytes, Failure> {
        let bytes = self.fetch(asked, Wire::COUNT, body, MAX_ERROR).await?;
        let read = text::json(&bytes);
        self.check(&read.text, asked)?;
        messages::read_count(&read.text).map_err(|not| Failure::unknown(not.message, true))?;
        drop(read); // it may be the bytes themselves
        Ok(bytes)
    }

    /// The body of an answer of type JSON.
    async fn fetch(
        &self,
        asked: &Asked<'_>,
        path: &str,
        body: Bytes,
        most: usize,
    ) -> Result<Bytes, Failure> {
        let deadline = Instant::now() + self.waits.response;
        let late = || Failure::unknown(format!("no answer within {:?}", self.waits.response), true);
        let mut response = timeout_at(deadline, self.send(asked, path, body, "application/json"))
            .await
            .map_err(|_| late())??;
        let bytes = timeout_at(deadline, read(&mut response, most))
            .await
            .map_err(|_| late())??;
        if !is_type(&response, &["application/json"]) {
            self.check(&text::json(&bytes).text, asked)?;
            return Err(Failure::unknown(
                "the answer is not of type application/json",
                true,
            ));
        }
        Ok(bytes)
    }

    /// Asks for a stream.
    ///
    /// # Errors
    /// [`Failure`], before the first event.
    pub async fn stream(&self, asked: &Asked<'_>, body: Bytes) -> Result<Stream, Failure> {
        let path = asked.sent.wire.path(asked.model, true);
        let deadline = Instant::now() + self.waits.first_token;
        let mut response = timeout_at(deadline, self.send(asked, &path, body, "text/event-stream"))
            .await
            .map_err(|_| {
                Failure::unknown(
                    format!("no answer within {:?}", self.waits.first_token),
                    true,
                )
            })??;
        if !is_type(&response, &["text/event-stream"]) {
            let bytes = timeout(self.waits.idle, read(&mut response, MAX_ERROR)).await;
            if let Ok(Ok(bytes)) = bytes {
                self.check(&text::json(&bytes).text, asked)?;
            }
            return Err(Failure::unknown(
                "the answer is not of type text/event-stream",
                true,
            ));
        }
        Ok(Stream {
            response,
            parser: Parser::default(),
            ready: VecDeque::new(),
            key: asked.key.cloned(),
            idle: self.waits.idle,
            first: Some(deadline),
            size: 0,
        })
    }

    /// Whether the endpoint answers at all, by the cheapest request there is.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn probe(&self, key: Option<&ApiKey>) -> Result<(), Unreached> {
        let request = self
            .request(reqwest::Method::GET, self.wire.probe(), key)
            .map_err(|failure| Unreached::Forbidden(failure.message))?;
        let limit = self.waits.connect + Duration::from_secs(10);
        match timeout(limit, request.send()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(match private(&error) {
                Some(private) => Unreached::Forbidden(private.to_string()),
                None => Unreached::Silent(chain(&error)),
            }),
            Err(_) => Err(Unreached::Silent(format!("no answer within {limit:?}"))),
        }
    }

    fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        key: Option<&ApiKey>,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        self.guard
            .check_literal(&self.base)
            .map_err(|error| Failure::not_sent(error.to_string()))?;
        let mut url = self.base.clone();
        // Paths are encoded where they are made; a query stands in Gemini's.
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query)));
        let below = format!(
            "{}/{}",
            url.path().trim_end_matches('/'),
            path.trim_start_matches('/')
        );
        url.set_path(&below);
        url.set_query(query);
        let mut request = self.client.request(method, url);
        let headers = self.wire.headers(key);
        for (name, value) in
            headers.map_err(|_| Failure::not_sent("the key is not a header value"))?
        {
            request = request.header(name, value);
        }
        Ok(request)
    }

    async fn send(
        &self,
        asked: &Asked<'_>,
        path: &str,
        body: Bytes,
        accept: &'static str,
    ) -> Result<reqwest::Response, Failure> {
        let key = asked.key.map(|key| &**key);
        let mut request = self
            .request(reqwest::Method::POST, path, key)?
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )
            .header(header::ACCEPT, HeaderValue::from_static(accept))
            .body(body);
        if let Some(beta) = &asked.sent.beta {
            request = request.header("anthropic-beta", beta);
        }
        let mut response = request.send().await.map_err(|error| {
            let text = chain(&error);
            if error.is_connect() || error.is_builder() {
                Failure::not_sent(text)
            } else {
                Failure::unknown(text, false)
            }
        })?;
        let status = response.status().as_u16();
        if response.status().is_success() {
            return Ok(response);
        }
        let wait = retry_after(response.headers());
        // The status alone says enough when the rest of the error does not come.
        let text = match timeout(self.waits.idle, read(&mut response, MAX_ERROR)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        if response.status().is_redirection() {
            return Err(Failure {
                billing: oarmaster_store::Billing::Unbilled,
                ..Failure::unknown(
                    format!(
                        "status {status}: redirects are not followed; set the endpoint to where it leads"
                    ),
                    true,
                )
            });
        }
        Err(Failure::from_answer(
            status,
            wait,
            &self.wire.error(&text),
            key,
        ))
    }

    /// Whether a body that came with a success status is an error.
    fn check(&self, body: &str, asked: &Asked<'_>) -> Result<(), Failure> {
        if !ProviderError::in_success(body) {
            return Ok(());
        }
        let read = Some(body.as_bytes()).filter(|body| body.len() <= MAX_ERROR);
        let error = self.wire.error(read.unwrap_or_default());
        let key = asked.key.map(|key| &**key);
        Err(Failure::sent_as_success(&error, key))
    }
}

/// A stream of a provider.
#[derive(Debug)]
pub struct Stream {
    response: reqwest::Response,
    parser: Parser,
    ready: VecDeque<Event>,
    key: Option<Arc<ApiKey>>,
    idle: Duration,
    first: Option<Instant>,
    size: usize,
}

impl Stream {
    /// The key that was used.
    #[must_use]
    pub fn key(&self) -> Option<&ApiKey> {
        self.key.as_deref()
    }

    /// The next event; `None` at the end of the bytes.
    ///
    /// # Errors
    /// [`Failure`]: nothing came in time, or the connection broke.
    pub async fn event(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.first = None;
                return Ok(Some(event));
            }
            let deadline = self.first.unwrap_or_else(|| Instant::now() + self.idle);
            let chunk = timeout_at(deadline, self.response.chunk())
                .await
                .map_err(|_| Failure::unknown("the stream stopped: nothing came in time", true))?
                .map_err(|error| {
                    Failure::unknown(format!("the stream broke: {}", chain(&error)), true)
                })?;
            let Some(chunk) = chunk else {
                return Ok(None);
            };
            self.size += chunk.len();
            if self.size > MAX_STREAM {
                return Err(Failure::unknown("the stream is larger than 256 MiB", true));
            }
            let events = self
                .parser
                .push(&chunk)
                .map_err(|error| Failure::unknown(error.to_string(), true))?;
            self.ready.extend(events);
        }
    }
}

fn is_type(response: &reqwest::Response, types: &[&str]) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| {
            types
                .iter()
                .any(|known| value.trim().eq_ignore_ascii_case(known))
        })
}

async fn read(response: &mut reqwest::Response, most: usize) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| {
        Failure::unknown(format!("the answer broke off: {}", chain(&error)), true)
    })? {
        if body.len() + chunk.len() > most {
            return Err(Failure::unknown(
                format!("the answer is larger than {} KiB", most >> 10),
                true,
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// The address that was not connected to, where that is why a request failed.
fn private(error: &reqwest::Error) -> Option<&PrivateAddress> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// An error with its last cause: the host, and nothing else of the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_connect() {
        "failed to connect".to_owned()
    } else {
        "failed to talk HTTP".to_owned()
    };
    if let Some(host) = error.url().and_then(url::Url::host_str) {
        text.push_str(" to ");
        text.push_str(host);
    }
    if let Some(cause) = causes(error).last() {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}
