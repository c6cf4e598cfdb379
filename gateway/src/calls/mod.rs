//! Model calls, on whichever surface: who pays, which members are asked, and what the caller is told. What is said in a call is for
//! [`crate::surface`] and [`crate::provider::wire`].

pub mod account;
pub mod allowed;
pub mod assigned;
pub mod attempt;
pub mod cached;
pub mod call;
pub mod count;
pub mod hops;
pub mod members;
pub mod route;
pub mod stream;
pub mod tries;

use crate::audit::refusal;
use crate::bodies;
use crate::clock::since_epoch;
use crate::error::ApiFailure;
use crate::request::{Caching, Request, Space};
use crate::state::{Caller, Gateway};
use crate::surface::Surface;
use account::Account;
use attempt::Told;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use oarmaster_store::STEP;
use std::sync::Arc;

/// Names who answered: `<namespace>/<ModelProvider>`.
pub const PROVIDER_HEADER: &str = "x-oarmaster-provider";
/// Names the provider's model that answered.
pub const MODEL_HEADER: &str = "x-oarmaster-model";
/// Says why that one was asked: `Priority`, `Weighted`, `Cheapest`, `Fastest`, `LeastBusy`, `Free` or `Failover`; `Cache`: it was not, now.
pub const REASON_HEADER: &str = "x-oarmaster-reason";
/// Says whether the answer was kept (`hit`) or asked for (`miss`), where the pool keeps answers to such requests.
pub const CACHE_HEADER: &str = "x-oarmaster-cache";
/// Says how many requests to providers the call took.
pub const HOPS_HEADER: &str = "x-oarmaster-hops";
/// Names the fields of a request that the provider had no place for; they do not change what the answer is about.
pub const DROPPED_HEADER: &str = "x-oarmaster-dropped";
/// What callers of Anthropic's messages want that is not in general use.
const BETA_HEADER: &str = "anthropic-beta";

/// The calls of a surface.
pub fn route(surface: Surface) -> MethodRouter<Arc<Gateway>> {
    post(
        move |State(gateway): State<Arc<Gateway>>, headers: HeaderMap, body: Body| {
            respond(surface, gateway, None, headers, body)
        },
    )
}

/// Answers a call, of `known` or of whoever the token says.
pub async fn respond(
    surface: Surface,
    gateway: Arc<Gateway>,
    known: Option<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let id = new_id();
    let answer = answer(surface, gateway, known, &headers, body, &id).await;
    tracing::trace!(target: STEP, "answering");
    let mut response = answer.unwrap_or_else(|error| surface.refuse(&error, &id));
    surface.name(&id, &mut response);
    response
}

/// Answers a request of a Task or of anybody else.
async fn answer(
    surface: Surface,
    gateway: Arc<Gateway>,
    known: Option<Caller>,
    headers: &HeaderMap,
    body: Body,
    id: &str,
) -> Result<Response, ApiFailure> {
    let caller = match known {
        Some(caller) => caller,
        None => gateway.caller(surface.token(headers)?).await?,
    };
    let (body, room) = gateway.body(&caller, body).await?;
    let parse = || Request::parse(surface, &body);
    let mut request = bodies::work(room.as_ref(), parse).await?;
    request.room = room.map(Arc::new);
    request.space = Some(Space {
        bodies: gateway.answers.clone(),
        caller: caller.clone(),
    });
    id.clone_into(&mut request.id);
    request.beta = beta(surface, headers);
    request.caching = Caching::of(headers);
    let traces = gateway.traces.as_ref();
    request.trace = traces.and_then(|traces| {
        traces.begin(headers, &caller, &request, || {
            gateway.pool_named(&caller, &request.model)
        })
    });
    let (trace, model) = (request.trace.clone(), request.model.clone());
    let answered = admitted(surface, &gateway, &caller, headers, request, &body).await;
    if let (Err(error), Some(trace)) = (&answered, trace) {
        trace.failed(error.code.as_str());
    }
    if let Err(error) = &answered
        && let Some(reason) = refusal(error)
    {
        gateway.call_refused(&caller, &model, reason);
    }
    answered
}

/// Answers a request of a known caller.
async fn admitted(
    surface: Surface,
    gateway: &Arc<Gateway>,
    caller: &Caller,
    headers: &HeaderMap,
    request: Request,
    body: &[u8],
) -> Result<Response, ApiFailure> {
    tracing::trace!(target: STEP, "received");
    let (routed, account) = match caller {
        Caller::Task(pod) if surface == Surface::Chat => {
            // Boxed, as the others: whoever passes this future on copies it as large as its largest branch.
            return Box::pin(call::run(gateway, pod, headers, request, body)).await;
        }
        Caller::Task(_) => {
            return Err(ApiFailure::forbidden(format!(
                "a Task's calls go to {}",
                Surface::Chat.path()
            )));
        }
        Caller::Program(program) => {
            let (uid, attempt) = (&program.pod.task_uid, program.pod.attempt);
            gateway
                .store
                .check_session(uid, attempt, &program.session)?;
            let routed = Box::pin(route::for_program(gateway, program, request)).await?;
            (routed, Account::program(gateway, program))
        }
        Caller::User(user) => {
            let routed = route::for_user(gateway, user, request).await?;
            let account = Account::user(gateway, &routed, &user.name);
            (routed, account)
        }
    };
    let gateway = gateway.clone();
    match surface {
        Surface::CountTokens => Box::pin(count::run(gateway, routed)).await,
        _ if routed.request.stream => Box::pin(stream::run(gateway, routed, account)).await,
        _ => whole(gateway, routed, account).await,
    }
}

/// What a caller of Anthropic's messages wants beside what is in general use, as one value.
fn beta(surface: Surface, headers: &HeaderMap) -> Option<HeaderValue> {
    if !surface.is_anthropics() {
        return None;
    }
    let values = headers.get_all(BETA_HEADER).iter();
    let names: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    HeaderValue::from_str(&names.join(","))
        .ok()
        .filter(|names| !names.is_empty())
}

/// A whole answer for a user or a program. It is booked even when nobody waits for it.
async fn whole(
    gateway: Arc<Gateway>,
    routed: route::Routed,
    account: Account,
) -> Result<Response, ApiFailure> {
    let calls = gateway.calls.clone();
    let running = calls.spawn(async move { cached::complete(&gateway, &routed, &account).await });
    let answered = running
        .await
        .map_err(|_| ApiFailure::internal("the call was ended by a defect"))??;
    Ok(json(answered.body, &answered.told))
}

/// A body of JSON.
fn json(body: Bytes, told: &Told) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    tell(headers, told);
    response
}

/// Says who answered and why it was asked.
fn tell(headers: &mut HeaderMap, told: &Told) {
    let dropped = told.dropped.join(", ");
    let hops = told.hops.to_string();
    let told = [
        (PROVIDER_HEADER, told.by.provider.as_str()),
        (MODEL_HEADER, told.by.model.as_str()),
        (REASON_HEADER, told.reason.as_str()),
        (CACHE_HEADER, told.cache),
        (HOPS_HEADER, hops.as_str()),
        (DROPPED_HEADER, dropped.as_str()),
    ];
    for (name, text) in told {
        // A field's name that is no header value is one that nobody could have meant.
        if !text.is_empty()
            && let Ok(value) = HeaderValue::from_str(text)
        {
            headers.insert(name, value);
        }
    }
}

/// A fresh name of a call.
#[must_use]
pub fn new_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{:x}-{:x}",
        now_seconds(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Seconds since the Unix epoch.
#[must_use]
pub fn now_seconds() -> i64 {
    i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
}
