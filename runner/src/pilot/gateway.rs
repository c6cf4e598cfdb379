//! The pilot's side of the task API. Every call may be repeated: the gateway knows appends by their sequence number, model calls by
//! their call number and claims by their nonce. So a gateway that restarts costs time and nothing else.

use super::link::{Link, Token};
use oarmaster_protocol::assignment::Assignment;
use oarmaster_protocol::journal::{Artifact, Blob, Body, Outcome, Record};
use oarmaster_protocol::request::{Answer, RequestState};
use oarmaster_protocol::task::{
    ARCHIVE_TYPE, ApiError, Append, Appended, CALL_HEADER, Claim, ClaimRequest, EGRESS_PROTOCOL,
    Journal, NEXT_HEADER, SESSION_HEADER,
};
use oarmaster_protocol::tool::{Offer, TOOL_WAIT, ToolAnswer, ToolCall};
use reqwest::header::{CONNECTION, CONTENT_TYPE, HeaderMap, UPGRADE};
use reqwest::{Method, StatusCode, Upgraded, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// How long a gateway may be away.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long it may refuse us: its view of a new pod or of a rotated token may be some seconds old.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(60);
/// How long a Budget of the cluster may have no room, while other calls are settled or its window ends: then the pod is given up.
const BUDGET_PATIENCE: Duration = Duration::from_secs(60);
/// How long an attempt waits for the answer to a request: then its pod is given up.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may have a defect.
const DEFECT_PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// A model call may go over several hops, each with the provider's own bound (10 min by default).
const MODEL_TIMEOUT: Duration = Duration::from_secs(3600);
/// The gateway gives a tool call up after [`TOOL_WAIT`].
const TOOL_TIMEOUT: Duration = TOOL_WAIT.saturating_add(Duration::from_secs(30));
/// Largest request to a model of an attempt that shares its process, in bytes.
const MAX_CONVERSATION: usize = 2 << 20;
/// Records of a journal in which nothing has happened yet: opened and claimed.
const FRESH: u64 = 2;

/// Why a call ended without what it was made for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    /// The attempt is another session's, or over.
    #[error("the attempt is not this pilot's (any more): {0}")]
    Fenced(String),
    /// A refusal that repeating does not change.
    #[error("the gateway refused ({code}): {message}")]
    Refused { code: String, message: String },
    /// It did not answer for as long as we wait.
    #[error("the gateway could not be reached: {0}")]
    Unreachable(String),
    /// It answered something else than agreed.
    #[error("the gateway's answer to {path} cannot be read: {message}")]
    Answer { path: &'static str, message: String },
}

/// The gateway, as this session sees it.
pub(crate) struct Gateway {
    link: Link,
    token: Token,
    nonce: String,
    session: String,
    next: u64,
    next_call: u64,
    context_tokens: Option<u64>,
    /// Largest request to a model.
    most: usize,
    /// Whose turn it is to read a journal; absent where there is but one attempt.
    turns: Option<Arc<Semaphore>>,
}

/// The way to the gateway for what programs of the sandbox say to their proxy.
#[derive(Clone)]
pub(crate) struct Door {
    link: Link,
    url: Url,
    token: Token,
    session: String,
}

impl Door {
    /// Opens it once: what is written is a program's, what is read for the program. Tried once, since programs and their tools try again.
    ///
    /// # Errors
    /// A sentence for the program.
    pub(crate) async fn open(&self) -> Result<Upgraded, String> {
        let failed = |error: &dyn std::error::Error| {
            format!("the gateway could not be reached: {}", chain(error))
        };
        let token = self.token.read().await;
        let token = token.map_err(|error| failed(&error))?;
        let response = self
            .link
            .client
            .get(self.url.clone())
            .bearer_auth(token)
            .header(SESSION_HEADER, &self.session)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, EGRESS_PROTOCOL)
            .send();
        let response = tokio::time::timeout(CALL_TIMEOUT, response).await;
        let response = response.map_err(|_| "the gateway did not answer".to_owned())?;
        let response = response.map_err(|error| failed(&error))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response.upgrade().await.map_err(|error| failed(&error));
        }
        let error = response.json::<ApiError>().await;
        let error = error.map_err(|error| failed(&error))?;
        Err(format!("the gateway refused: {}", error.error.message))
    }
}

/// One call, ready to be sent any number of times.
struct Call<'a> {
    method: Method,
    path: &'static str,
    /// Appended to `path`.
    name: &'a str,
    headers: Vec<(&'static str, String)>,
    content_type: Option<&'static str>,
    /// Shared by all tries; an artifact is large.
    body: bytes::Bytes,
    /// In place of the body, once a try before may have arrived.
    body_again: Option<bytes::Bytes>,
    timeout: Duration,
}

/// What one try gave.
enum Tried {
    Done(HeaderMap, Vec<u8>),
    Again {
        error: GatewayError,
        patience: Duration,
        /// Whether the gateway may have begun to do what it was asked.
        begun: bool,
    },
    Over(GatewayError, Option<u64>),
}

impl Gateway {
    /// For an attempt that is yet to be claimed.
    pub(crate) fn new(link: Link, token: Token) -> Self {
        Self {
            link,
            token,
            nonce: uuid::Uuid::new_v4().to_string(),
            session: String::new(),
            next: 0,
            next_call: 0,
            context_tokens: None,
            most: usize::MAX,
            turns: None,
        }
    }

    /// For one that a shared pilot has claimed. Its conversation is bounded, and its journal read in its turn: all attempts of the process share its
    /// memory.
    pub(crate) fn claimed(link: Link, token: Token, claim: &Claim, turns: Arc<Semaphore>) -> Self {
        let Claim {
            session,
            next,
            next_call,
            context_tokens,
        } = claim.clone();
        Self {
            session,
            next,
            next_call,
            context_tokens,
            most: MAX_CONVERSATION,
            turns: Some(turns),
            ..Self::new(link, token)
        }
    }

    pub(crate) async fn claim(&mut self, assignment: &str) -> Result<(), GatewayError> {
        let request = ClaimRequest {
            assignment: assignment.to_owned(),
            nonce: self.nonce.clone(),
        };
        let call = self.json(Method::POST, "/task/v1/claim", &request)?;
        let claim: Claim = self.typed(call).await?;
        self.session = claim.session;
        self.next = claim.next;
        self.next_call = claim.next_call;
        self.context_tokens = claim.context_tokens;
        Ok(())
    }

    /// The door for the sandbox's egress, of the session that was claimed.
    pub(crate) fn door(&self) -> Door {
        let mut url = self.link.base.clone();
        url.set_path("/task/v1/egress");
        Door {
            link: self.link.clone(),
            url,
            token: self.token.clone(),
            session: self.session.clone(),
        }
    }

    /// The assignment, byte for byte as it was stored.
    pub(crate) async fn assignment(&mut self) -> Result<Vec<u8>, GatewayError> {
        self.send(self.call(Method::GET, "/task/v1/assignment"))
            .await
    }

    /// Most tokens of a model call, where the gateway knows it.
    pub(crate) const fn context_tokens(&self) -> Option<u64> {
        self.context_tokens
    }

    /// Waits until it is this attempt's turn to hold a whole journal, unless nothing stands in its own and it `follows` no other Task. The turn is over when
    /// this is dropped.
    pub(crate) async fn turn(&self, follows: bool) -> Option<OwnedSemaphorePermit> {
        let turns = self.turns.clone()?;
        if self.next <= FRESH && !follows {
            return None;
        }
        turns.acquire_owned().await.ok() // it is never closed
    }

    /// Most bytes of a conversation that is gone on with: what was asked, and as much again for what came of it.
    pub(crate) const fn most_to_go_on_with(&self) -> usize {
        self.most.saturating_mul(2)
    }

    /// Everything that stood in the Task's journal when it was claimed.
    pub(crate) async fn journal_so_far(&mut self) -> Result<Vec<Record>, GatewayError> {
        const PATH: &str = "/task/v1/journal/";
        let mut records: Vec<Record> = Vec::new();
        while (records.len() as u64) < self.next {
            let mut page = self.page(PATH, records.len()).await?;
            if page.is_empty() {
                let (last, next) = (records.len(), self.next);
                return Err(GatewayError::Answer {
                    path: PATH,
                    message: format!("there is no record {last}, and {next} is next"),
                });
            }
            records.append(&mut page);
        }
        Ok(records)
    }

    /// Assignment and journal of the Task that this one continues.
    pub(crate) async fn continued(&mut self) -> Result<(Assignment, Vec<Record>), GatewayError> {
        let call = self.call(Method::GET, "/task/v1/continued");
        let assignment = self.typed(call).await?;
        let mut records: Vec<Record> = Vec::new();
        loop {
            let mut page = self.page("/task/v1/continued/", records.len()).await?;
            if page.is_empty() {
                return Ok((assignment, records));
            }
            records.append(&mut page);
        }
    }

    /// The parts of the workspace that this Task was handed, or begins with.
    pub(crate) async fn handed(&mut self) -> Result<Vec<Blob>, GatewayError> {
        let call = self.call(Method::GET, "/task/v1/handed");
        self.typed(call).await
    }

    async fn page(&mut self, path: &'static str, from: usize) -> Result<Vec<Record>, GatewayError> {
        let from = from.to_string();
        let mut call = self.call(Method::GET, path);
        call.name = &from;
        let page: Journal = self.typed(call).await?;
        Ok(page.records)
    }

    /// Keeps a part of a checkpoint; returns once it is durable.
    pub(crate) async fn keep(&mut self, bytes: Vec<u8>) -> Result<Blob, GatewayError> {
        let mut call = self.call(Method::PUT, "/task/v1/blobs");
        call.content_type = Some("application/octet-stream");
        call.body = bytes.into();
        self.typed(call).await
    }

    /// A part of a checkpoint, or an artifact of another Task, checked.
    pub(crate) async fn kept(&mut self, blob: &Blob) -> Result<Vec<u8>, GatewayError> {
        const PATH: &str = "/task/v1/blobs/";
        let mut call = self.call(Method::GET, PATH);
        call.name = &blob.digest;
        let bytes = self.send(call).await?;
        if oarmaster_protocol::digest(&bytes) != blob.digest {
            return Err(GatewayError::Answer {
                path: PATH,
                message: "the bytes are not those of the digest".to_owned(),
            });
        }
        Ok(bytes)
    }

    /// Returns once the records are durable.
    pub(crate) async fn append(&mut self, records: Vec<Body>) -> Result<(), GatewayError> {
        self.journal("/task/v1/journal", records).await
    }

    /// Returns once the result is durable.
    pub(crate) async fn hand_in(&mut self, outcome: Outcome) -> Result<(), GatewayError> {
        self.journal("/task/v1/result", vec![Body::Result { outcome }])
            .await
    }

    async fn journal(
        &mut self,
        path: &'static str,
        records: Vec<Body>,
    ) -> Result<(), GatewayError> {
        let append = Append {
            next: self.next,
            records,
        };
        let call = self.json(Method::POST, path, &append)?;
        let appended: Appended = self.typed(call).await?;
        self.next = appended.next;
        Ok(())
    }

    /// Asks the model under the next call number. Whatever comes of it, the number is used up.
    pub(crate) async fn ask_model(&mut self, body: &Value) -> Result<Value, GatewayError> {
        let number = self.next_call;
        self.next_call += 1;
        self.ask_model_as(number, body).await
    }

    /// Asks under a number that may have been used: a call with this body is not made twice.
    pub(crate) async fn ask_model_as(
        &mut self,
        number: u64,
        body: &Value,
    ) -> Result<Value, GatewayError> {
        let mut call = self.json(Method::POST, "/v1/chat/completions", body)?;
        if call.body.len() > self.most {
            return Err(GatewayError::Refused {
                code: "too_large".to_owned(),
                message: format!(
                    "the conversation has {} bytes, and in a shared pilot at most {}: give the agent a SandboxClass with sharedPilots: false",
                    call.body.len(),
                    self.most
                ),
            });
        }
        call.headers.push((CALL_HEADER, number.to_string()));
        call.headers.push((NEXT_HEADER, self.next.to_string()));
        call.timeout = MODEL_TIMEOUT;
        let bytes = self.send(call).await?;
        // An answer that is no JSON is an unusable answer of the model, not an error of ours.
        Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// The answer to a request, if there is one before patience ends.
    pub(crate) async fn await_answer(&mut self, id: &str) -> Result<Option<Answer>, GatewayError> {
        let begin = Instant::now();
        loop {
            let mut call = self.call(Method::GET, "/task/v1/requests/");
            call.name = id;
            let RequestState { answer } = self.typed(call).await?;
            if answer.is_some() || begin.elapsed() >= ANSWER_PATIENCE {
                return Ok(answer);
            }
            // A gateway that is stopping answers at once.
            sleep(FIRST_PAUSE).await;
        }
    }

    /// The tools of the agent's MCP servers.
    pub(crate) async fn tools(&mut self) -> Result<Offer, GatewayError> {
        let mut call = self.call(Method::GET, "/task/v1/tools");
        call.timeout = TOOL_TIMEOUT;
        self.typed(call).await
    }

    /// Has the gateway carry a tool call out; one that is to be made `once` is not made again where its answer was lost.
    pub(crate) async fn use_tool(
        &mut self,
        name: &str,
        call: ToolCall,
        once: bool,
    ) -> Result<ToolAnswer, GatewayError> {
        const PATH: &str = "/task/v1/tools/";
        let mut sent = self.json(Method::POST, PATH, &call)?;
        if once {
            let again = ToolCall {
                again: true,
                ..call
            };
            sent.body_again = Some(self.json(Method::POST, PATH, &again)?.body);
        }
        sent.name = name;
        sent.timeout = TOOL_TIMEOUT;
        self.typed(sent).await
    }

    /// Stores an artifact, which may be an archive.
    pub(crate) async fn store(
        &mut self,
        name: &str,
        bytes: Vec<u8>,
        archive: bool,
    ) -> Result<Artifact, GatewayError> {
        let mut call = self.call(Method::PUT, "/task/v1/artifacts/");
        call.name = name;
        call.content_type = Some(if archive {
            ARCHIVE_TYPE
        } else {
            "application/octet-stream"
        });
        call.body = bytes.into();
        self.typed(call).await
    }

    fn call(&self, method: Method, path: &'static str) -> Call<'static> {
        let headers = if self.session.is_empty() {
            Vec::new()
        } else {
            vec![(SESSION_HEADER, self.session.clone())]
        };
        Call {
            method,
            path,
            name: "",
            headers,
            content_type: None,
            body: bytes::Bytes::new(),
            body_again: None,
            timeout: CALL_TIMEOUT,
        }
    }

    fn json(
        &self,
        method: Method,
        path: &'static str,
        body: &impl Serialize,
    ) -> Result<Call<'static>, GatewayError> {
        let mut call = self.call(method, path);
        call.content_type = Some("application/json");
        let body = serde_json::to_vec(body).map_err(|error| GatewayError::Answer {
            path,
            message: error.to_string(),
        })?;
        call.body = body.into();
        Ok(call)
    }

    async fn typed<T: DeserializeOwned>(&mut self, call: Call<'_>) -> Result<T, GatewayError> {
        let path = call.path;
        let bytes = self.send(call).await?;
        serde_json::from_slice(&bytes).map_err(|error| GatewayError::Answer {
            path,
            message: error.to_string(),
        })
    }

    /// Sends until there is an answer or patience ends.
    async fn send(&mut self, mut call: Call<'_>) -> Result<Vec<u8>, GatewayError> {
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let tried = match self.try_once(&call).await {
                // Nothing brings a claim back that is over.
                Tried::Again {
                    error: GatewayError::Refused { code, message },
                    ..
                } if code == "unauthenticated" && matches!(self.token, Token::Claim(_)) => {
                    Tried::Over(GatewayError::Fenced(message), None)
                }
                // The gateway's view of a pod that has just started may be older than the pod.
                Tried::Over(error @ GatewayError::Refused { .. }, _) if self.session.is_empty() => {
                    Tried::Again {
                        error,
                        patience: REFUSAL_PATIENCE,
                        begun: false,
                    }
                }
                tried => tried,
            };
            match tried {
                Tried::Done(headers, bytes) => {
                    if let Some(next) = next_of(&headers) {
                        self.next = next;
                    }
                    return Ok(bytes);
                }
                Tried::Over(error, next) => {
                    if let Some(next) = next {
                        self.next = next;
                    }
                    return Err(error);
                }
                Tried::Again {
                    error,
                    patience,
                    begun,
                } => {
                    if begun && let Some(again) = call.body_again.take() {
                        call.body = again;
                    }
                    if begin.elapsed() + pause > patience {
                        return Err(error);
                    }
                    sleep(pause.mul_f64(jitter())).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn try_once(&self, call: &Call<'_>) -> Tried {
        let again = |why: String, begun: bool| Tried::Again {
            error: GatewayError::Unreachable(why),
            patience: PATIENCE,
            begun,
        };
        let token = match self.token.read().await {
            Ok(token) => token,
            Err(error) => return again(format!("failed to read the token: {error}"), false),
        };
        let mut url = self.link.base.clone();
        url.set_path(&format!("{}{}", call.path, call.name));
        let mut request = self
            .link
            .client
            .request(call.method.clone(), url)
            .bearer_auth(token)
            .timeout(call.timeout);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(content_type) = call.content_type {
            request = request
                .header(CONTENT_TYPE, content_type)
                .body(call.body.clone());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return again(chain(&error), !error.is_connect()),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        match response.bytes().await {
            Ok(bytes) if status.is_success() => Tried::Done(headers, bytes.into()),
            Ok(bytes) => judge(status, &headers, &bytes),
            Err(error) => again(chain(&error), true),
        }
    }
}

/// What to do about an error. One without our code comes from something in between, or from a gateway that is starting.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Tried {
    let error = serde_json::from_slice::<ApiError>(body)
        .ok()
        .map(|error| error.error);
    let code = error
        .as_ref()
        .map(|error| error.code.clone())
        .unwrap_or_default();
    let message = error.map_or_else(
        || format!("HTTP status {}", status.as_u16()),
        |error| error.message,
    );
    let refused = GatewayError::Refused {
        code: code.clone(),
        message: message.clone(),
    };
    let again = |error, patience| Tried::Again {
        error,
        patience,
        // What is refused for its token, or its budget, was not begun.
        begun: !matches!(code.as_str(), "unauthenticated" | "window_exceeded"),
    };
    match (code.as_str(), status.as_u16()) {
        ("fenced" | "conflict", _) => Tried::Over(GatewayError::Fenced(message), None),
        ("unauthenticated", _) => again(refused, REFUSAL_PATIENCE),
        // Nothing left: the same call may be asked again under its number.
        ("window_exceeded", _) => again(refused, BUDGET_PATIENCE),
        ("" | "internal", 408 | 429 | 502 | 503 | 504) => {
            again(GatewayError::Unreachable(message), PATIENCE)
        }
        ("internal", _) => again(refused, DEFECT_PATIENCE),
        ("", _) => again(GatewayError::Unreachable(message), REFUSAL_PATIENCE),
        (_, _) => Tried::Over(refused, next_of(headers)),
    }
}

fn next_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(NEXT_HEADER)?.to_str().ok()?.parse().ok()
}

/// Between a half and one, so that the pilots of a restarted gateway do not come back all at once.
fn jitter() -> f64 {
    let [random, ..] = uuid::Uuid::new_v4().into_bytes();
    0.5 + f64::from(random) / 512.0
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
