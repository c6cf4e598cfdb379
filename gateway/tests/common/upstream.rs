//! A provider that misbehaves on demand.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How one request is answered.
#[derive(Clone)]
pub enum Reply {
    /// A status with a type and a body.
    Plain(u16, &'static str, String),
    /// The same with a header more.
    With(&'static str, String, Box<Reply>),
    /// Pieces of a body, with a pause before each; then the end, or a broken connection.
    Pieces {
        kind: &'static str,
        pieces: Vec<(u64, Vec<u8>)>,
        cut: bool,
    },
    /// Never anything.
    Silence,
    /// This body, once the test lets held replies go.
    Held(Value),
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Got {
    /// Path and query.
    pub path: String,
    pub method: http::Method,
    pub headers: http::HeaderMap,
    /// The bearer token.
    pub key: String,
    pub body: String,
}

#[derive(Clone, Default)]
pub struct Upstream {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    got: Arc<Mutex<Vec<Got>>>,
    probes: Arc<Mutex<Vec<Got>>>,
    streamed: Arc<Mutex<Option<Reply>>>,
    always: Arc<Mutex<Option<Reply>>>,
    released: Arc<tokio::sync::watch::Sender<bool>>,
    pub url: String,
}

pub fn completion(text: &str, input: u64, output: u64) -> Value {
    json!({
        "id": "up", "object": "chat.completion", "created": 1, "model": "upstream-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
    })
}

impl Reply {
    pub fn json(status: u16, body: Value) -> Self {
        Self::Plain(status, "application/json", body.to_string())
    }

    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(
            status,
            json!({"error": {"message": message, "code": code, "type": "x"}}),
        )
    }

    /// An answer with 10 input and 5 output tokens.
    pub fn answer(text: &str) -> Self {
        Self::json(200, completion(text, 10, 5))
    }

    /// A stream of these bytes, in pieces of `size`.
    pub fn bytes(bytes: &[u8], size: usize, cut: bool) -> Self {
        Self::stream("text/event-stream", bytes, size, cut)
    }

    /// The same of any type.
    pub fn stream(kind: &'static str, bytes: &[u8], size: usize, cut: bool) -> Self {
        Self::Pieces {
            kind,
            pieces: bytes
                .chunks(size)
                .map(|piece| (0, piece.to_vec()))
                .collect(),
            cut,
        }
    }

    pub fn events(events: &[Value], done: bool, cut: bool) -> Self {
        let mut pieces: Vec<(u64, Vec<u8>)> = events
            .iter()
            .map(|event| (0, format!("data: {event}\n\n").into_bytes()))
            .collect();
        if done {
            pieces.push((0, b"data: [DONE]\n\n".to_vec()));
        }
        Self::Pieces {
            kind: "text/event-stream",
            pieces,
            cut,
        }
    }
}

impl Reply {
    /// This reply, with a header more.
    pub fn header(self, name: &'static str, value: &str) -> Self {
        Self::With(name, value.to_owned(), Box::new(self))
    }
}

impl Upstream {
    /// The address without a path, for vendors whose paths hold the version.
    pub fn origin(&self) -> String {
        self.url.trim_end_matches("/v1").to_owned()
    }

    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            url: format!("http://{}/v1", listener.local_addr().unwrap()),
            ..Self::default()
        };
        let router = Router::new().fallback(handle).with_state(upstream.clone());
        tokio::spawn(super::kube::axum_serve(listener, router));
        upstream
    }

    /// Queues a reply; with an empty queue the answer is `ok`.
    pub fn reply(&self, reply: Reply) {
        self.replies.lock().unwrap().push_back(reply);
    }

    /// What a request for a stream gets when no reply is queued.
    pub fn when_streamed(&self, reply: Reply) {
        *self.streamed.lock().unwrap() = Some(reply);
    }

    /// What every request gets when no reply is queued.
    pub fn always(&self, reply: Reply) {
        *self.always.lock().unwrap() = Some(reply);
    }

    /// Lets every held reply go, also those that come later.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// The requests by which it was looked whether the provider is there.
    pub fn probes(&self) -> Vec<Got> {
        self.probes.lock().unwrap().clone()
    }
}

async fn handle(State(upstream): State<Upstream>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = http_body_util::BodyExt::collect(body)
        .await
        .unwrap()
        .to_bytes();
    let key = parts
        .headers
        .get("authorization")
        .map(|value| {
            value
                .to_str()
                .unwrap()
                .trim_start_matches("Bearer ")
                .to_owned()
        })
        .unwrap_or_default();
    let is_probe = parts.method == http::Method::GET;
    let list = if is_probe {
        &upstream.probes
    } else {
        &upstream.got
    };
    list.lock().unwrap().push(Got {
        path: parts.uri.to_string(),
        method: parts.method,
        headers: parts.headers,
        key,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    });
    if is_probe {
        return axum::Json(json!({"data": []})).into_response();
    }
    let reply = upstream.replies.lock().unwrap().pop_front();
    let wants_stream = String::from_utf8_lossy(&bytes).contains("\"stream\":true");
    let streamed = upstream.streamed.lock().unwrap().clone();
    let reply = reply.or(streamed.filter(|_| wants_stream));
    let reply = reply.or_else(|| upstream.always.lock().unwrap().clone());
    send(&upstream, reply.unwrap_or_else(|| Reply::answer("ok"))).await
}

async fn send(upstream: &Upstream, reply: Reply) -> Response {
    match reply {
        Reply::With(name, value, reply) => {
            let mut response = Box::pin(send(upstream, *reply)).await;
            response.headers_mut().insert(name, value.parse().unwrap());
            response
        }
        Reply::Plain(status, kind, body) => (
            StatusCode::from_u16(status).unwrap(),
            [("content-type", kind)],
            body,
        )
            .into_response(),
        Reply::Silence => std::future::pending().await,
        Reply::Held(body) => {
            let mut released = upstream.released.subscribe();
            released.wait_for(|released| *released).await.unwrap();
            axum::Json(body).into_response()
        }
        Reply::Pieces { kind, pieces, cut } => {
            let pieces = futures::stream::iter(pieces).then(|(wait, piece)| async move {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                Ok::<_, std::io::Error>(Bytes::from(piece))
            });
            let end = futures::stream::iter(cut.then_some(())).then(|()| async {
                tokio::time::sleep(Duration::from_millis(50)).await; // a broken connection takes what was not read yet with it
                Err(std::io::Error::other("cut"))
            });
            (
                [("content-type", kind)],
                Body::from_stream(pieces.chain(end)),
            )
                .into_response()
        }
    }
}
