//! The admin listener: for the operator alone.

use crate::bodies;
use crate::data::{no_method, parse};
use crate::error::ApiFailure;
use crate::state::Gateway;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use oarmaster_protocol::admin::{
    AttemptReport, BudgetReport, Change, Fence, Health, KeptItem, MAX_KEPT_WRITE, OpenAttempt,
    OpenAttemptRef, Room, RoomQuery, RunsIn, TaskBudget,
};
use oarmaster_protocol::assignment::MAX_ASSIGNMENT_BYTES;
use oarmaster_protocol::request::Reply;
use oarmaster_store::Event;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How often counters of Budgets are compared with what was last told of.
const COUNTS: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(10);
/// A reader that takes nothing for this long is cut off, and starts anew with everything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Room for the rest of a request beside its assignment. Escapes may double an assignment's bytes on the way.
const MAX_BODY: usize = 2 * MAX_ASSIGNMENT_BYTES + (64 << 10);

/// The routes.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/admin/v1/attempts/{uid}/{attempt}", put(open).get(report))
        .route("/admin/v1/attempts/{uid}/{attempt}/fence", put(fence))
        .route("/admin/v1/tasks/{uid}/budget", put(budget))
        .route("/admin/v1/tasks/{uid}/requests/{id}", put(answer))
        .route("/admin/v1/tasks/{uid}/kept/{step}", put(keep).get(kept))
        .route("/admin/v1/attempts", get(attempts))
        .route("/admin/v1/providers", get(providers))
        .route("/admin/v1/budgets", get(budgets))
        .route("/admin/v1/room", post(room))
        .route("/admin/v1/changes", get(changes))
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .with_state(gateway)
}

type Shared = State<Arc<Gateway>>;

/// Another code than that of a thing that is not there: an operator that asks for what this gateway does not have yet must not take it for that.
async fn no_path() -> ApiFailure {
    ApiFailure {
        status: StatusCode::NOT_FOUND,
        ..ApiFailure::invalid("there is no such path; the gateway may be older than the operator")
    }
}

async fn open(
    State(gateway): Shared,
    Path((uid, attempt)): Path<(String, u32)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AttemptReport>, ApiFailure> {
    gateway.operator(&headers).await?;
    let request: OpenAttempt = parse(&bodies::read(body, MAX_BODY).await?)?;
    let report = gateway.store.open_attempt(&uid, attempt, request).await?;
    if report.runs_in == RunsIn::Shared {
        gateway.pilots.wake();
    }
    Ok(Json(report))
}

async fn report(
    State(gateway): Shared,
    Path((uid, attempt)): Path<(String, u32)>,
    headers: HeaderMap,
) -> Result<Json<AttemptReport>, ApiFailure> {
    gateway.operator(&headers).await?;
    Ok(Json(gateway.store.report(&uid, attempt).await?))
}

async fn fence(
    State(gateway): Shared,
    Path((uid, attempt)): Path<(String, u32)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AttemptReport>, ApiFailure> {
    gateway.operator(&headers).await?;
    let fence: Fence = parse(&bodies::read(body, MAX_BODY).await?)?;
    Ok(Json(gateway.store.fence_as(&uid, attempt, &fence).await?))
}

async fn budget(
    State(gateway): Shared,
    Path(uid): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AttemptReport>, ApiFailure> {
    gateway.operator(&headers).await?;
    let budget: TaskBudget = parse(&bodies::read(body, MAX_BODY).await?)?;
    Ok(Json(gateway.store.raise_budget(&uid, budget).await?))
}

async fn answer(
    State(gateway): Shared,
    Path((uid, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AttemptReport>, ApiFailure> {
    gateway.operator(&headers).await?;
    let answer: Reply = parse(&bodies::read(body, MAX_BODY).await?)?;
    Ok(Json(gateway.store.answer(&uid, &id, &answer).await?))
}

async fn keep(
    State(gateway): Shared,
    Path((uid, step)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<()>, ApiFailure> {
    gateway.operator(&headers).await?;
    let items: Vec<KeptItem> = parse(&bodies::read(body, MAX_KEPT_WRITE).await?)?;
    gateway.store.keep_items(&uid, &step, &items).await?;
    Ok(Json(()))
}

#[derive(Deserialize)]
struct WhichItem {
    item: Option<u32>,
}

async fn kept(
    State(gateway): Shared,
    Path((uid, step)): Path<(String, String)>,
    Query(WhichItem { item }): Query<WhichItem>,
    headers: HeaderMap,
) -> Result<Json<Vec<KeptItem>>, ApiFailure> {
    gateway.operator(&headers).await?;
    Ok(Json(gateway.store.kept_items(&uid, &step, item).await?))
}

#[derive(Deserialize)]
struct Which {
    open: bool,
}

async fn attempts(
    State(gateway): Shared,
    Query(Which { open }): Query<Which>,
    headers: HeaderMap,
) -> Result<Json<Vec<OpenAttemptRef>>, ApiFailure> {
    gateway.operator(&headers).await?;
    if !open {
        return Err(ApiFailure::invalid("only open=true is known"));
    }
    Ok(Json(gateway.store.open_attempts().await?))
}

async fn providers(State(gateway): Shared, headers: HeaderMap) -> Result<Json<Health>, ApiFailure> {
    gateway.operator(&headers).await?;
    Ok(Json(gateway.health.report()))
}

async fn budgets(
    State(gateway): Shared,
    headers: HeaderMap,
) -> Result<Json<Vec<BudgetReport>>, ApiFailure> {
    gateway.operator(&headers).await?;
    Ok(Json(gateway.budget_reports()))
}

async fn room(
    State(gateway): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Room>, ApiFailure> {
    gateway.operator(&headers).await?;
    let query: RoomQuery = parse(&bodies::read(body, MAX_BODY).await?)?;
    let blocked = gateway.blocked(&query).await?;
    Ok(Json(Room { blocked }))
}

async fn changes(State(gateway): Shared, headers: HeaderMap) -> Result<Response, ApiFailure> {
    gateway.operator(&headers).await?;
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move { tell(&gateway, sender).await });
    Ok(lines(receiver))
}

/// Tells every change until the reader leaves.
async fn tell(gateway: &Gateway, sender: mpsc::Sender<Bytes>) {
    let mut tasks = gateway.store.changes();
    let mut providers = gateway.health.changes();
    let mut ping = tokio::time::interval(PING);
    ping.reset();
    let mut counts = tokio::time::interval(COUNTS);
    let mut told = gateway.budget_reports(); // before the Hello: who reads it asks for them
    let mut change = Some(Change::Hello); // after both readers exist, so that nothing falls in between
    loop {
        if let Some(change) = change.take()
            && !send(&sender, &change).await
        {
            return;
        }
        change = Some(tokio::select! {
            () = sender.closed() => return,
            () = gateway.stopping.cancelled() => return,
            event = tasks.next() => match event {
                Some(Event::Task(task)) => Change::Task { task },
                Some(Event::Resync) => Change::Hello,
                None => return,
            },
            provider = providers.recv() => match provider {
                Ok((namespace, name)) => Change::Provider { namespace, name },
                Err(RecvError::Lagged(_)) => Change::Hello,
                Err(RecvError::Closed) => return,
            },
            _ = counts.tick() => {
                let now = gateway.budget_reports();
                if now == told {
                    continue;
                }
                told = now;
                Change::Budgets
            },
            _ = ping.tick() => Change::Ping,
        });
    }
}

/// Sends a value as a line; whether the reader took it in time.
pub async fn send(sender: &mpsc::Sender<Bytes>, value: &impl serde::Serialize) -> bool {
    let Ok(mut line) = serde_json::to_vec(value) else {
        return false;
    };
    line.push(b'\n');
    matches!(
        tokio::time::timeout(PATIENCE, sender.send(line.into())).await,
        Ok(Ok(()))
    )
}

/// A body of lines of JSON.
pub fn lines(receiver: mpsc::Receiver<Bytes>) -> Response {
    let lines = futures::StreamExt::map(ReceiverStream::new(receiver), Ok::<_, Infallible>);
    let mut response = Body::from_stream(lines).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
