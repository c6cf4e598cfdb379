//! An MCP server of the tests, which does what it is told to.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode, header};
use oarmaster_protocol::admin::TaskBudget;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

use crate::common::World;

/// How the server answers.
#[derive(Clone, Debug, Default)]
pub enum Manner {
    /// As it should.
    #[default]
    Tame,
    /// With this status and body to everything.
    Http(u16, String),
    /// A redirect to this place.
    Redirect(String),
    /// A list of tools without end.
    Endless,
    /// A message of so many bytes.
    Huge(usize),
}

#[derive(Default)]
struct Inner {
    manner: Manner,
    tools: Vec<Value>,
    /// Methods, and the key that came with each.
    got: Vec<(String, Option<String>)>,
    calls: Vec<Value>,
}

/// The server.
#[derive(Clone, Default)]
pub struct Server {
    inner: Arc<Mutex<Inner>>,
    pub url: String,
}

impl Server {
    pub async fn start(tools: Vec<Value>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("http://{}/mcp", listener.local_addr().unwrap()),
            ..Self::default()
        };
        server.inner.lock().unwrap().tools = tools;
        let router = Router::new()
            .route("/mcp", post(answer).delete(|| async { StatusCode::OK }))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    pub fn behave(&self, manner: Manner) {
        self.inner.lock().unwrap().manner = manner;
    }

    /// How often a method came.
    pub fn count(&self, method: &str) -> usize {
        let inner = self.inner.lock().unwrap();
        inner.got.iter().filter(|(got, _)| got == method).count()
    }

    /// The keys that came.
    pub fn keys(&self) -> Vec<Option<String>> {
        let inner = self.inner.lock().unwrap();
        inner.got.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Parameters of the calls.
    pub fn calls(&self) -> Vec<Value> {
        self.inner.lock().unwrap().calls.clone()
    }
}

/// A tool of a server.
pub fn tool(name: &str) -> Value {
    json!({"name": name, "description": "Does it.", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}})
}

/// A Task whose agent has these servers; its session.
pub async fn task(world: &World, servers: &[Value]) -> String {
    let mut assignment = crate::common::assignment();
    assignment["target"]["agent"]["mcp"] = json!(servers);
    let claim = world.task_with(TaskBudget::default(), assignment).await;
    claim.session
}

/// A server of an assignment.
pub fn at(url: &str, allow: &[&str]) -> Value {
    json!({"name": "hub", "url": url, "allow": allow, "timeoutMs": 60_000})
}

async fn answer(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let method = asked["method"].as_str().unwrap_or_default().to_owned();
    let key = headers.get(header::AUTHORIZATION);
    let key = key.map(|key| key.to_str().unwrap().to_owned());
    let (manner, tools) = {
        let mut inner = server.inner.lock().unwrap();
        inner.got.push((method.clone(), key.clone()));
        if method == "tools/call" {
            inner.calls.push(asked["params"].clone());
        }
        (inner.manner.clone(), inner.tools.clone())
    };
    let initializing = method.starts_with("initialize") || method.starts_with("notifications/");
    let result = |result: Value| {
        axum::Json(json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})).into_response()
    };
    match manner {
        Manner::Http(status, body) => {
            let body = body.replace("KEY", key.as_deref().unwrap_or_default());
            return (StatusCode::from_u16(status).unwrap(), body).into_response();
        }
        Manner::Redirect(to) => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response();
        }
        Manner::Endless if method == "tools/list" => {
            return result(json!({"tools": tools, "nextCursor": "more"}));
        }
        Manner::Huge(size) if !initializing => return result(json!({"x": "x".repeat(size)})),
        _ => {}
    }
    if asked.get("id").is_none() {
        return StatusCode::ACCEPTED.into_response();
    }
    match method.as_str() {
        "initialize" => result(json!({
            "protocolVersion": asked["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "fake", "version": "1"},
        })),
        "tools/list" => result(json!({ "tools": tools })),
        "tools/call" => {
            let params = &asked["params"];
            let text = |text: &str| json!({"content": [{"type": "text", "text": text}]});
            match params["name"].as_str().unwrap() {
                "echo" => result(text(
                    params["arguments"]["text"].as_str().unwrap_or("nothing"),
                )),
                "key" => result(text(&format!("you said {key:?}"))),
                "refuse" => {
                    let mut refused = text("I would rather not");
                    refused["isError"] = json!(true);
                    result(refused)
                }
                "silent" => std::future::pending().await,
                _ => axum::Json(json!({
                    "jsonrpc": "2.0", "id": asked["id"],
                    "error": {"code": -32602, "message": "no such tool"},
                }))
                .into_response(),
            }
        }
        _ => axum::Json(json!({
            "jsonrpc": "2.0", "id": asked["id"],
            "error": {"code": -32601, "message": "method not found"},
        }))
        .into_response(),
    }
}
