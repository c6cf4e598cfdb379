//! The model calls of Tasks: numbered, in the journal, answered once.

use super::account::Account;
use super::attempt::failed_call;
use super::cached::complete;
use super::route::{Routed, for_task};
use crate::error::ApiFailure;
use crate::identity::sandbox::SandboxPod;
use crate::provider::answer::Answer;
use crate::provider::failure::Class;
use crate::request::Request;
use crate::state::Gateway;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue};
use oarmaster_dialect::Usage;
use oarmaster_protocol::journal::{Body, Record};
use oarmaster_protocol::task::{CALL_HEADER, ErrorCode, NEXT_HEADER, SESSION_HEADER};
use oarmaster_store::{Call, CallState, Ended};
use std::sync::Arc;

/// How often a call is looked up again after the one that it attached to was not sent.
const LOOKUPS: usize = 4;

/// Runs, attaches to, or repeats a call.
///
/// # Errors
/// [`ApiFailure`].
pub async fn run(
    gateway: &Arc<Gateway>,
    pod: &Arc<SandboxPod>,
    headers: &HeaderMap,
    request: Request,
    body: &[u8],
) -> Result<Response, ApiFailure> {
    let session = text(headers, SESSION_HEADER)?.to_owned();
    let call = number(headers, CALL_HEADER)?;
    let next = number(headers, NEXT_HEADER)?;
    let routed = for_task(gateway, pod, request).await?;
    let digest = || oarmaster_protocol::digest(body);
    let digest = routed.request.work(digest).await;
    let uid = &pod.task_uid;
    for _ in 0..LOOKUPS {
        let state = gateway
            .store
            .begin_call(uid, pod.attempt, &session, next, call, &digest)
            .await?;
        match state {
            CallState::New(handle) => return first(gateway, routed, handle).await,
            CallState::Answered(record) => return recorded(gateway, pod, record).await,
            CallState::InDoubt => {
                return Err(ApiFailure {
                    next: Some(gateway.store.report(uid, pod.attempt).await?.next),
                    ..ApiFailure::new(
                        ErrorCode::InDoubt,
                        format!(
                            "call {call} left for a provider and nobody saw its end; it is booked, ask again under a new number"
                        ),
                    )
                });
            }
            CallState::Running(attach) => match attach.ended().await? {
                Ended::Answered(record) => return recorded(gateway, pod, record).await,
                Ended::Failed(record) => return Err(failed(gateway, pod, record).await?),
                Ended::NotSent => {} // what refused it may not refuse us: look again
            },
        }
    }
    Err(ApiFailure::new(
        ErrorCode::Conflict,
        format!("call {call} is begun by other requests again and again"),
    ))
}

/// Runs the call in a task of its own: it goes on to its end, and is recorded, when the pilot is gone.
async fn first(gateway: &Arc<Gateway>, routed: Routed, call: Call) -> Result<Response, ApiFailure> {
    let inner = gateway.clone();
    let running = gateway.calls.spawn(async move {
        let account = Account::Task(Box::new(call));
        complete(&inner, &routed, &account).await
    });
    let answered = running
        .await
        .map_err(|_| ApiFailure::internal("the call was ended by a defect"))??;
    let settled = answered
        .settled
        .ok_or_else(|| ApiFailure::internal("the call was not recorded"))?;
    answer(settled.record, settled.next)
}

async fn recorded(
    gateway: &Gateway,
    pod: &SandboxPod,
    record: Record,
) -> Result<Response, ApiFailure> {
    let next = gateway.store.report(&pod.task_uid, pod.attempt).await?.next;
    answer(record, next)
}

async fn failed(
    gateway: &Gateway,
    pod: &SandboxPod,
    record: Record,
) -> Result<ApiFailure, ApiFailure> {
    let next = gateway.store.report(&pod.task_uid, pod.attempt).await?.next;
    let Body::CallFailed { class, message, .. } = record.body else {
        return Err(ApiFailure::internal("the record of a failed call is none"));
    };
    let known = Class::from_name(&class).unwrap_or(Class::Transient);
    Ok(ApiFailure {
        next: Some(next),
        ..failed_call(known, format!("{class}: {message}"), None)
    })
}

/// The answer from the journal: the first time and every time after it is the same.
fn answer(record: Record, next: u64) -> Result<Response, ApiFailure> {
    let Body::Answer {
        call,
        model,
        message,
        finish_reason,
        replaced,
        usage,
        ..
    } = record.body
    else {
        return Err(ApiFailure::internal("the record of an answer is none"));
    };
    let answer = Answer {
        model,
        message,
        finish_reason,
        replaced,
        usage: Some(Usage {
            input: usage.input_tokens.saturating_sub(usage.cached_tokens),
            cache_read: usage.cached_tokens,
            output: usage.output_tokens,
            ..Usage::default()
        }),
    };
    let body = answer.to_json(&format!("chatcmpl-{call}"), record.at_ms / 1000);
    let mut response = Json(body).into_response();
    response
        .headers_mut()
        .insert(NEXT_HEADER, HeaderValue::from(next));
    Ok(response)
}

/// A header of the task API.
///
/// # Errors
/// `invalid_request`, naming it.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, ApiFailure> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| ApiFailure::invalid(format!("header {name} is missing")))
}

fn number(headers: &HeaderMap, name: &str) -> Result<u64, ApiFailure> {
    text(headers, name)?
        .parse()
        .map_err(|_| ApiFailure::invalid(format!("header {name} is not a number")))
}
