//! Tests of what is read of requests and how errors are written, without a server.

mod budget;
mod needs;
mod requests;
mod splice;

use super::Surface;
use crate::error::ApiFailure;
use crate::request::Request;
use serde_json::{Value, json};

fn parse(surface: Surface, body: &Value) -> Result<Request, ApiFailure> {
    Request::parse(surface, body.to_string().as_bytes())
}

/// The least that a surface takes.
fn least(surface: Surface) -> Value {
    let messages = json!([{"role": "user", "content": "hi"}]);
    match surface {
        Surface::Chat | Surface::CountTokens => json!({"model": "p", "messages": messages}),
        Surface::Messages => json!({"model": "p", "messages": messages, "max_tokens": 9}),
        Surface::Responses | Surface::Embeddings => json!({"model": "p", "input": "hi"}),
    }
}

/// The same with this field.
fn with(surface: Surface, name: &str, value: &Value) -> Value {
    let mut body = least(surface);
    body[name] = value.clone();
    body
}
