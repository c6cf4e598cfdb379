//! An upstream that a test plays: OpenAI's chat completions from a closure, with a bill of its own to hold ours against.

use crate::cluster::Cluster;
use anyhow::{Context as _, Result, bail};
use axum::Json;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A running upstream; it ends when dropped.
pub struct Mock {
    /// The base URL to give to a provider.
    pub endpoint: String,
    upstream: Arc<Upstream>,
    server: AbortHandle,
}

type Script = dyn Fn(&Call) -> Reply + Send + Sync;

struct Upstream {
    script: Box<Script>,
    bill: watch::Sender<Vec<Call>>,
}

/// A request as it came in, and what was answered.
#[derive(Clone, Debug)]
pub struct Call {
    /// Number of the request, from 0.
    pub number: usize,
    /// Number of assistant messages in it: 0 in the first turn of a conversation.
    pub turn: usize,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The body.
    pub body: Value,
    /// Tokens that were billed: input and output. Absent while it is open, after a fault, and when the caller left.
    pub billed: Option<(u64, u64)>,
}

impl Call {
    /// What the Task asks for: the text of the first message of the user.
    #[must_use]
    pub fn prompt(&self) -> &str {
        let mut messages = self
            .body
            .get("messages")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        messages
            .find(|message| message.get("role") == Some(&json!("user")))
            .and_then(|message| message.get("content"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The text of the last message.
    #[must_use]
    pub fn last(&self) -> &str {
        self.body
            .get("messages")
            .and_then(Value::as_array)
            .and_then(|all| all.last())
            .and_then(|message| message.get("content"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    message: Value,
    finish: &'static str,
    usage: (u64, u64),
    after: Option<Gate>,
    pause: Option<Gate>,
    body: Option<Vec<u8>>,
}

/// Holds answers back until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Gate {
    /// Lets every answer through from here on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        // The sender is this value itself, so the wait cannot fail.
        drop(self.0.subscribe().wait_for(|open| *open).await);
    }
}

impl Reply {
    /// A final answer.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self {
            status: StatusCode::OK,
            message: json!({"role": "assistant", "content": text}),
            finish: "stop",
            usage: (100, 10),
            after: None,
            pause: None,
            body: None,
        }
    }

    /// An assistant message as it is.
    #[must_use]
    pub fn message(message: Value) -> Self {
        let calls = message.get("tool_calls").is_some();
        Self {
            message,
            finish: if calls { "tool_calls" } else { "stop" },
            ..Self::text("")
        }
    }

    /// A whole body, byte by byte; it should bill what [`Reply::usage`] says.
    #[must_use]
    pub fn body(body: Vec<u8>) -> Self {
        Self {
            body: Some(body),
            ..Self::text("")
        }
    }

    /// A call of one tool.
    #[must_use]
    pub fn tool(name: &str, arguments: &Value) -> Self {
        Self {
            message: json!({
                "role": "assistant",
                "content": null,
                "tool_calls": [{
                    "id": format!("call-{}", uuid::Uuid::new_v4().simple()),
                    "type": "function",
                    "function": {"name": name, "arguments": arguments.to_string()},
                }],
            }),
            finish: "tool_calls",
            ..Self::text("")
        }
    }

    /// A piece of Python for the tool RunCode.
    #[must_use]
    pub fn python(code: &str) -> Self {
        Self::tool("RunCode", &json!({"language": "python", "code": code}))
    }

    /// An error.
    #[must_use]
    pub fn fault(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            ..Self::text("")
        }
    }

    /// Sets the tokens that are billed.
    #[must_use]
    pub fn usage(mut self, input: u64, output: u64) -> Self {
        self.usage = (input, output);
        self
    }

    /// Holds the answer back until the gate is open.
    #[must_use]
    pub fn after(mut self, gate: &Gate) -> Self {
        self.after = Some(gate.clone());
        self
    }

    /// Pauses a stream after its content until the gate is open.
    #[must_use]
    pub fn pausing(mut self, gate: &Gate) -> Self {
        self.pause = Some(gate.clone());
        self
    }
}

impl Mock {
    /// Starts one at the node's own address, where pods reach it.
    ///
    /// # Errors
    /// When this machine is not the cluster's node.
    pub async fn start(
        cluster: &Cluster,
        script: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let address = node_address(cluster).await?;
        let listener = TcpListener::bind(SocketAddr::new(address, 0))
            .await
            .with_context(|| {
                format!("the node's address {address} is not this machine's; these tests need the cluster of `cargo xtask cluster up`")
            })?;
        Self::serve(listener, script)
    }

    /// Starts one on a listener of one's own.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve(
        listener: TcpListener,
        script: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let endpoint = format!("http://{}/v1", listener.local_addr()?);
        let upstream = Arc::new(Upstream {
            script: Box::new(script),
            bill: watch::Sender::new(Vec::new()),
        });
        let routes = axum::Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/v1/models", get(models))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&upstream));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self {
            endpoint,
            upstream,
            server: server.abort_handle(),
        })
    }

    /// The requests so far.
    #[must_use]
    pub fn bill(&self) -> Vec<Call> {
        self.upstream.bill.borrow().clone()
    }

    /// Tokens that were billed so far: input and output.
    #[must_use]
    pub fn billed(&self) -> (u64, u64) {
        let bill = self.upstream.bill.borrow();
        bill.iter()
            .filter_map(|call| call.billed)
            .fold((0, 0), |sum, call| (sum.0 + call.0, sum.1 + call.1))
    }

    /// Waits until the bill satisfies `done`.
    ///
    /// # Errors
    /// When the deadline passes first; the error shows the bill.
    pub async fn until(
        &self,
        what: &str,
        deadline: Duration,
        done: impl Fn(&[Call]) -> bool,
    ) -> Result<()> {
        let mut bill = self.upstream.bill.subscribe();
        let seen = tokio::time::timeout(deadline, bill.wait_for(|calls| done(calls))).await;
        if seen.is_err() {
            bail!(
                "{what} did not happen within {deadline:?}; the bill: {:#?}",
                self.bill()
            );
        }
        Ok(())
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The first address that the node states as its own.
///
/// # Errors
/// When there is no node, or none states one.
pub async fn node_address(cluster: &Cluster) -> Result<IpAddr> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let found = nodes.list(&ListParams::default()).await?;
    found
        .items
        .into_iter()
        .filter_map(|node| node.status?.addresses)
        .flatten()
        .find(|address| address.type_ == "InternalIP")
        .context("no node states an InternalIP")?
        .address
        .parse()
        .context("the node's InternalIP is no address")
}

async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [{"id": "mock", "object": "model"}]}))
}

async fn complete(
    State(upstream): State<Arc<Upstream>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let authorization = headers.get(header::AUTHORIZATION);
    let messages = body.get("messages").and_then(Value::as_array);
    let mut call = Call {
        number: 0,
        turn: messages.map_or(0, |all| {
            all.iter()
                .filter(|one| one.get("role") == Some(&json!("assistant")))
                .count()
        }),
        authorization: authorization
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        body,
        billed: None,
    };
    upstream.bill.send_modify(|bill| {
        call.number = bill.len();
        bill.push(call.clone());
    });
    let reply = (upstream.script)(&call);
    if let Some(gate) = &reply.after {
        gate.passed().await;
    }
    if reply.status != StatusCode::OK {
        let error = json!({"error": {"message": "the mock fails as told", "type": "api_error", "code": "mock"}});
        return (reply.status, Json(error)).into_response();
    }
    upstream.bill.send_modify(|bill| {
        if let Some(held) = bill.get_mut(call.number) {
            held.billed = Some(reply.usage);
        }
    });
    match reply.body {
        Some(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        None => answer(&call, &reply),
    }
}

fn answer(call: &Call, reply: &Reply) -> Response {
    let id = format!("chatcmpl-{}", call.number);
    let model = call.body.get("model").cloned().unwrap_or_default();
    let (input, output) = reply.usage;
    let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    if call.body.get("stream") != Some(&json!(true)) {
        return Json(json!({
            "id": id, "object": "chat.completion", "created": 0, "model": model, "usage": usage,
            "choices": [{"index": 0, "message": reply.message, "finish_reason": reply.finish}],
        }))
        .into_response();
    }
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": 0, "model": model, "choices": choices, "usage": usage,
        });
        format!("data: {chunk}\n\n")
    };
    let content = chunk(json!([{"index": 0, "delta": reply.message}]), Value::Null);
    let end = [
        chunk(
            json!([{"index": 0, "delta": {}, "finish_reason": reply.finish}]),
            Value::Null,
        ),
        chunk(json!([]), usage),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    let pause = reply.pause.clone();
    let end = async move {
        if let Some(gate) = pause {
            gate.passed().await;
        }
        Ok::<_, Infallible>(end)
    };
    let stream = futures::stream::once(async { Ok(content) }).chain(futures::stream::once(end));
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(stream)).into_response()
}
