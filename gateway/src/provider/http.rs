//! Providers over HTTP.

use crate::bodies::{self, Room, SMALL};
use crate::clock::since_epoch;
use crate::provider::Asked;
use crate::provider::aws::sign::sign;
use crate::provider::aws::workload::Workload;
use crate::provider::client::{Body, Client, NoAnswer, last_cause};
use crate::provider::failure::{Class, Failure, MAX_WAIT, retry_after};
use crate::provider::framing::Framing;
use crate::provider::guard::PrivateEndpoints;
use crate::provider::keys::ApiKey;
use crate::provider::script::Script;
use crate::provider::site::Site;
use crate::provider::used_up;
use crate::provider::whole::{Reply, Whole};
use crate::provider::wire::Wire;
use crate::request::{BYTES_PER_TOKEN, Space};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use oarmaster_dialect::converse::frames::Frame;
use oarmaster_dialect::messages;
use oarmaster_protocol::text;
use oarmaster_store::STEP;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout, timeout_at};
use tower::BoxError;

/// Largest answer that is not streamed: 2 million tokens.
const MAX_ANSWER: usize = 8 << 20;
/// Largest answer of embeddings: the most inputs of a request, each a vector of 3072 numbers as base64.
pub const MAX_VECTORS: usize = 64 << 20;
/// Largest stream.
const MAX_STREAM: usize = 256 << 20;
/// What is read of an error.
const MAX_ERROR: usize = 64 << 10;

/// The type of bodies.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How the failure of a larger answer begins.
const TOO_LARGE: &str = "the answer is larger";

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

/// A provider that answers as HTTP does.
#[derive(Debug)]
pub struct Http {
    wire: Wire,
    site: Site,
    to: To,
    waits: Waits,
    /// The gateway's own identity, where that is the key.
    own: Option<Arc<Workload>>,
}

/// Who answers.
#[derive(Debug)]
enum To {
    /// A server.
    Server(Box<Client>),
    /// A script; nothing is sent, and what it says is read as a server's answer is.
    Script(Script),
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
    /// A provider's server, with a client for this endpoint alone. With `own` requests are signed with the gateway's identity in place of a key.
    ///
    /// # Errors
    /// When the endpoint is not a URL.
    pub fn new(
        (wire, site): (Wire, Site),
        endpoint: &str,
        waits: Waits,
        tls: &rustls::ClientConfig,
        guard: &Arc<PrivateEndpoints>,
        own: Option<Arc<Workload>>,
    ) -> Result<Self, String> {
        let client = Client::new(endpoint, waits.connect, tls, guard)?;
        Ok(Self {
            wire,
            site,
            to: To::Server(Box::new(client)),
            waits,
            own,
        })
    }

    /// A provider whose answers are a script's.
    #[must_use]
    pub const fn scripted(script: Script, waits: Waits) -> Self {
        Self {
            wire: Script::WIRE,
            site: Site::Plain,
            to: To::Script(script),
            waits,
            own: None,
        }
    }

    /// Whether a script answers.
    #[must_use]
    pub const fn is_scripted(&self) -> bool {
        matches!(self.to, To::Script(_))
    }

    /// What it speaks.
    #[must_use]
    pub const fn wire(&self) -> Wire {
        self.wire
    }

    /// What it calls a model.
    #[must_use]
    pub fn name<'a>(&'a self, model: &'a str) -> &'a str {
        self.site.name(model)
    }

    /// The key of a request: the one that was chosen, or the gateway's own.
    async fn key(&self, chosen: Option<&Arc<ApiKey>>) -> Result<Option<Arc<ApiKey>>, Failure> {
        let Some(own) = &self.own else {
            return Ok(chosen.cloned());
        };
        let key = own.key(Timestamp::now()).await;
        key.map(Some).map_err(Failure::not_sent)
    }

    /// Asks for a whole answer to one body.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn complete(&self, asked: &Asked<'_>, body: Bytes) -> Result<Whole, Failure> {
        let path = self.site.path(asked.sent.wire, asked.model, false);
        let key = self.key(asked.key).await?;
        let most = match asked.sent.wire {
            Wire::Embeddings(_) => MAX_VECTORS,
            _ => MAX_ANSWER,
        };
        let key = key.as_deref();
        let fetched = self.fetch(asked, key, &path, body, most).await;
        // What is too large from one member is from each.
        let fetched = fetched.map_err(|failure| match asked.sent.wire {
            Wire::Embeddings(_) if failure.message.starts_with(TOO_LARGE) => Failure {
                class: Class::CallerFault,
                message: format!(
                    "{}; ask for fewer inputs at a time, or for base64",
                    failure.message
                ),
                ..failure
            },
            _ => failure,
        });
        let (headers, bytes, room) = fetched?;
        tracing::trace!(target: STEP, "read");
        let read = || {
            let read = text::json(&bytes);
            self.check(&headers, &read.text, key)?;
            let whole = Whole::read(asked, &read, &bytes);
            whole.map_err(|not| Failure::unknown(not.message, true))
        };
        let whole = bodies::work(room.as_ref(), read).await?;
        Ok(Whole {
            used_up: said_used_up(asked, &headers),
            reply: match (whole.reply, room) {
                (Reply::Body(body), Some(room)) => Reply::Body(room.hold(body)),
                // Vectors are a part of what they were read from; and who held that while the next ones are asked for could wait for itself.
                (reply, _) => reply,
            },
            ..whole
        })
    }

    /// Asks how many tokens a request has, and returns the answer as it came.
    ///
    /// # Errors
    /// [`Failure`]; nothing is ever billed for it.
    pub async fn count(&self, asked: &Asked<'_>, body: Bytes) -> Result<Bytes, Failure> {
        let key = self.key(asked.key).await?;
        let key = key.as_deref();
        let fetched = self.fetch(asked, key, Wire::COUNT, body, MAX_ERROR);
        let (headers, bytes, _) = fetched.await?;
        let read = text::json(&bytes);
        self.check(&headers, &read.text, key)?;
        messages::read_count(&read.text).map_err(|not| Failure::unknown(not.message, true))?;
        drop(read); // it may be the bytes themselves
        Ok(bytes)
    }

    /// The headers and the body of an answer of type JSON, and the room that it has.
    async fn fetch(
        &self,
        asked: &Asked<'_>,
        key: Option<&ApiKey>,
        path: &str,
        body: Bytes,
        most: usize,
    ) -> Result<(HeaderMap, Bytes, Option<Room>), Failure> {
        let deadline = Instant::now() + self.waits.response;
        let late = || Failure::unknown(format!("no answer within {:?}", self.waits.response), true);
        let mut response = timeout_at(
            deadline,
            self.send(asked, key, path, body, "application/json"),
        )
        .await
        .map_err(|_| late())??;
        let space = asked.request.space.as_ref();
        let (bytes, room) = timeout_at(deadline, read(&mut response, most, space))
            .await
            .map_err(|_| late())??;
        if !is_type(&response, "application/json") {
            self.check(response.headers(), &text::json(&bytes).text, key)?;
            return Err(Failure::unknown(
                "the answer is not of type application/json",
                true,
            ));
        }
        Ok((std::mem::take(response.headers_mut()), bytes, room))
    }

    /// Asks for a stream.
    ///
    /// # Errors
    /// [`Failure`], before the first event.
    pub async fn stream(&self, asked: &Asked<'_>, body: Bytes) -> Result<Stream, Failure> {
        let path = self.site.path(asked.sent.wire, asked.model, true);
        let key = self.key(asked.key).await?;
        let kind = asked.sent.wire.stream_type();
        let deadline = Instant::now() + self.waits.first_token;
        let mut response = timeout_at(
            deadline,
            self.send(asked, key.as_deref(), &path, body, kind),
        )
        .await
        .map_err(|_| {
            Failure::unknown(
                format!("no answer within {:?}", self.waits.first_token),
                true,
            )
        })??;
        if !is_type(&response, kind) {
            let bytes = timeout(self.waits.idle, read(&mut response, MAX_ERROR, None)).await;
            if let Ok(Ok((bytes, _))) = bytes {
                let body = text::json(&bytes).text;
                self.check(response.headers(), &body, key.as_deref())?;
            }
            return Err(Failure::unknown(
                format!("the answer is not of type {kind}"),
                true,
            ));
        }
        Ok(Stream {
            used_up: said_used_up(asked, response.headers()),
            key,
            first: Some(deadline),
            ..Stream::new(response, asked.sent.wire, self.waits.idle)
        })
    }

    /// Whether the endpoint answers at all, by the cheapest request there is.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn probe(&self, key: Option<&ApiKey>) -> Result<(), Unreached> {
        let To::Server(client) = &self.to else {
            return Ok(());
        };
        if let Some(own) = &self.own {
            let key = own.key(Timestamp::now()).await;
            key.map_err(Unreached::Forbidden)?;
        }
        let request = self
            .request(client, Method::GET, &self.site.probe(self.wire), key)
            .map_err(|failure| Unreached::Forbidden(failure.message))?;
        let limit = self.waits.connect + Duration::from_secs(10);
        match timeout(limit, client.send(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(NoAnswer::Forbidden(private))) => Err(Unreached::Forbidden(private.to_string())),
            Ok(Err(error)) => Err(Unreached::Silent(error.to_string())),
            Err(_) => Err(Unreached::Silent(format!("no answer within {limit:?}"))),
        }
    }

    fn request(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        key: Option<&ApiKey>,
    ) -> Result<Request<Bytes>, Failure> {
        let mut request = client.request(method, path).map_err(Failure::not_sent)?;
        let headers = self.wire.headers(key);
        let headers = headers.map_err(|error| Failure::not_sent(error.to_string()))?;
        request.headers_mut().extend(headers);
        Ok(request)
    }

    /// Has a server answer.
    async fn post(
        &self,
        client: &Client,
        asked: &Asked<'_>,
        key: Option<&ApiKey>,
        (path, accept): (&str, &'static str),
        body: Bytes,
    ) -> Result<Response<Body>, Failure> {
        let mut request = self.request(client, Method::POST, path, key)?;
        *request.body_mut() = body;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        if let Some(beta) = &asked.sent.beta {
            headers.insert("anthropic-beta", beta.clone());
        }
        if let (Some(region), Some(key)) = (self.site.region(), key.and_then(ApiKey::signs)) {
            sign(&mut request, key, region, SystemTime::now())
                .map_err(|error| Failure::not_sent(error.to_string()))?;
        }
        tracing::trace!(target: STEP, "asking");
        let sent = client.send(request).await;
        sent.map_err(|error| match error {
            NoAnswer::Forbidden(_) | NoAnswer::Unconnected { .. } => {
                Failure::not_sent(error.to_string())
            }
            NoAnswer::Broken { .. } => Failure::unknown(error.to_string(), false),
        })
    }

    async fn send(
        &self,
        asked: &Asked<'_>,
        key: Option<&ApiKey>,
        path: &str,
        body: Bytes,
        accept: &'static str,
    ) -> Result<Response<Body>, Failure> {
        let mut response = match &self.to {
            To::Script(script) => script.answer(asked, &body).await,
            To::Server(client) => self.post(client, asked, key, (path, accept), body).await?,
        };
        tracing::trace!(target: STEP, "head");
        let status = response.status().as_u16();
        if response.status().is_success() {
            return Ok(response);
        }
        let wait = retry_after(response.headers());
        let mut used_up = said_used_up(asked, response.headers());
        // The status alone says enough when the rest of the error does not come.
        let text = match timeout(self.waits.idle, read(&mut response, MAX_ERROR, None)).await {
            Ok(Ok((bytes, _))) => bytes,
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
        if status == 429 {
            used_up = used_up.or_else(|| {
                used_up::in_error(asked.sent.wire, &text, tokens(asked), since_epoch())
            });
        }
        let wait = wait.or(used_up
            .filter(|_| status == 429)
            .map(|wait| wait.min(MAX_WAIT)));
        let error = self.wire.error(response.headers(), &text);
        let failure = Failure::from_answer(status, wait, &error, key);
        let limited = failure.class == Class::RateLimit;
        Err(Failure {
            used_up: used_up.or(failure.retry_after.filter(|_| limited)),
            ..failure
        })
    }

    /// Whether a body that came with a success status is an error.
    fn check(&self, headers: &HeaderMap, body: &str, key: Option<&ApiKey>) -> Result<(), Failure> {
        if !self.wire.is_error(body) {
            return Ok(());
        }
        let read = Some(body.as_bytes()).filter(|body| body.len() <= MAX_ERROR);
        let error = self.wire.error(headers, read.unwrap_or_default());
        Err(Failure::sent_as_success(&error, key))
    }
}

/// For how long an answer says that a quota is used up.
fn said_used_up(asked: &Asked<'_>, headers: &HeaderMap) -> Option<Duration> {
    used_up::used_up(asked.sent.wire, headers, tokens(asked), since_epoch())
}

/// Tokens that a request is expected to have, without its answer.
fn tokens(asked: &Asked<'_>) -> u64 {
    u64::try_from(asked.request.len()).unwrap_or(u64::MAX) / BYTES_PER_TOKEN
}

/// A stream of a provider.
#[derive(Debug)]
pub struct Stream {
    used_up: Option<Duration>,
    response: Response<Body>,
    framing: Framing,
    ready: VecDeque<Frame>,
    key: Option<Arc<ApiKey>>,
    idle: Duration,
    first: Option<Instant>,
    size: usize,
}

impl Stream {
    /// A stream of what this wire carries, with the longest pause in it.
    #[must_use]
    pub fn new(response: Response<Body>, wire: Wire, idle: Duration) -> Self {
        Self {
            used_up: None,
            response,
            framing: Framing::of(wire),
            ready: VecDeque::new(),
            key: None,
            idle,
            first: None,
            size: 0,
        }
    }

    /// The key that was used.
    #[must_use]
    pub fn key(&self) -> Option<&ApiKey> {
        self.key.as_deref()
    }

    /// For how long the provider says that a quota is used up.
    #[must_use]
    pub const fn used_up(&self) -> Option<Duration> {
        self.used_up
    }

    /// The next event; `None` at the end of the bytes.
    ///
    /// # Errors
    /// [`Failure`]: nothing came in time, or the connection broke.
    pub async fn event(&mut self) -> Result<Option<Frame>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.first = None;
                return Ok(Some(event));
            }
            let deadline = self.first.unwrap_or_else(|| Instant::now() + self.idle);
            let chunk = timeout_at(deadline, chunk(self.response.body_mut()))
                .await
                .map_err(|_| Failure::unknown("the stream stopped: nothing came in time", true))?
                .map_err(|error| {
                    Failure::unknown(format!("the stream broke: {}", last_cause(&*error)), true)
                })?;
            let Some(chunk) = chunk else {
                return self.framing.end().map(|()| None);
            };
            tracing::trace!(target: STEP, "chunk");
            self.size += chunk.len();
            if self.size > MAX_STREAM {
                return Err(Failure::unknown("the stream is larger than 256 MiB", true));
            }
            self.ready.extend(self.framing.push(&chunk)?);
        }
    }
}

fn is_type(response: &Response<Body>, kind: &str) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(kind))
}

/// The next bytes of a body; `None` at its end.
async fn chunk(body: &mut Body) -> Result<Option<Bytes>, BoxError> {
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Reads an answer. One that is not small waits for room in `space`, and meanwhile the provider waits, too.
async fn read(
    response: &mut Response<Body>,
    most: usize,
    space: Option<&Space>,
) -> Result<(Bytes, Option<Room>), Failure> {
    let body = response.body_mut();
    let broke = |error: BoxError| {
        Failure::unknown(
            format!("the answer broke off: {}", last_cause(&*error)),
            true,
        )
    };
    let stated = body.size_hint().exact();
    let stated = stated.and_then(|size| usize::try_from(size).ok());
    let mut whole = Vec::new();
    let mut room = None;
    while let Some(chunk) = chunk(body).await.map_err(broke)? {
        let size = whole.len() + chunk.len();
        if size > most {
            return Err(Failure::unknown(
                format!("{TOO_LARGE} than {} KiB", most >> 10),
                true,
            ));
        }
        if let (None, Some(space)) = (&room, space)
            && size > SMALL
        {
            // Of what does not say its size the largest is to be expected.
            let expected = stated.map_or(most, |stated| stated.clamp(size, most));
            room = Some(space.room(expected).await.ok_or_else(no_room)?);
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok((chunk, room)); // as most do that are small
        }
        whole.extend_from_slice(&chunk);
    }
    if let Some(room) = &mut room {
        room.leave(whole.len());
    }
    Ok((whole.into(), room))
}

/// Another member's answer would find none either.
fn no_room() -> Failure {
    Failure {
        class: Class::CallerFault,
        ..Failure::unknown(
            "there is no memory for more large answers to this namespace's callers; take those that are there, or ask for less at a time",
            true,
        )
    }
}
