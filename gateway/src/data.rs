//! The data listener: model calls and the task API.

use crate::bodies::{self, too_large};
use crate::calls;
use crate::calls::assigned::Assigned;
use crate::calls::call::text;
use crate::catalog::Id;
use crate::egress;
use crate::error::ApiFailure;
use crate::identity::sandbox::SandboxPod;
use crate::pilots;
use crate::state::{Caller, Gateway};
use crate::surface::Surface;
use crate::tools;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use oarmaster_protocol::admin::RunsIn;
use oarmaster_protocol::journal::{Artifact, Blob, Body as RecordBody};
use oarmaster_protocol::request::{POLL, RequestState};
use oarmaster_protocol::task::{
    ARCHIVE_TYPE, Append, Appended, Claim, ClaimRequest, ErrorCode, Journal, MAX_ARTIFACT_BYTES,
    SESSION_HEADER,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Permissions that are asked for at once for a list of models.
const CHECKS: usize = 8;
/// An artifact's next bytes must arrive within this.
const UPLOAD_IDLE: Duration = Duration::from_secs(60);
/// Most records of a page of the journal.
const JOURNAL_PAGE: usize = 1000;
/// Largest body of a claim.
const MAX_SMALL: usize = 64 << 10;

/// What a handler is given.
pub type Shared = State<Arc<Gateway>>;

/// The routes.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let calls = Surface::ALL
        .into_iter()
        .fold(Router::new(), |router, surface| {
            router.route(surface.path(), calls::route(surface))
        });
    calls
        .route("/v1/models", get(models))
        .route("/task/v1/claim", post(claim))
        .route("/task/v1/assignment", get(assignment))
        .route("/task/v1/journal", post(append))
        .route("/task/v1/journal/{from}", get(journal))
        .route("/task/v1/continued", get(continued))
        .route("/task/v1/continued/{from}", get(continued_journal))
        .route("/task/v1/handed", get(handed))
        .route("/task/v1/blobs", put(keep))
        .route("/task/v1/blobs/{digest}", get(kept))
        .route("/task/v1/result", post(result))
        .route("/task/v1/artifacts/{name}", put(artifact))
        .route("/task/v1/requests/{id}", get(request))
        .route("/task/v1/egress", get(egress::open))
        .merge(pilots::route::router())
        .merge(tools::route::router())
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .with_state(gateway)
}

/// A path that there is not.
pub async fn no_path() -> ApiFailure {
    ApiFailure::not_found("there is no such path")
}

/// A method that a path does not have.
pub async fn no_method() -> ApiFailure {
    ApiFailure {
        status: http::StatusCode::METHOD_NOT_ALLOWED,
        ..ApiFailure::invalid("the path does not have this method")
    }
}

async fn models(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    list_models(&gateway, None, &headers).await
}

/// The pools that the caller may use, in the form that the caller's SDK knows: `known`, or whoever the token says.
pub async fn list_models(
    gateway: &Arc<Gateway>,
    known: Option<Caller>,
    headers: &HeaderMap,
) -> Response {
    let surface = Surface::of(headers);
    match usable(gateway, surface, known, headers).await {
        Ok(names) => Json(list(surface, &names)).into_response(),
        Err(error) => surface.refuse(&error, &calls::new_id()),
    }
}

async fn usable(
    gateway: &Arc<Gateway>,
    surface: Surface,
    known: Option<Caller>,
    headers: &HeaderMap,
) -> Result<Vec<String>, ApiFailure> {
    let caller = match known {
        Some(caller) => caller,
        None => gateway.caller(surface.token(headers)?).await?,
    };
    let user = match caller {
        Caller::Task(pod) => {
            let assigned = gateway
                .assignments
                .get(&gateway.store, &pod.task_uid, pod.attempt)
                .await?;
            return Ok(assigned.model.clone().into_iter().collect());
        }
        Caller::Program(program) => return Ok(vec![program.pool.clone()]),
        Caller::User(user) => user,
    };
    let snapshot = gateway.snapshot.load_full();
    let pools: Vec<Id> = snapshot.pools.keys().cloned().collect();
    futures::stream::iter(pools)
        .map(|(namespace, pool)| {
            let (gateway, user) = (gateway.clone(), user.clone());
            async move {
                let may = gateway.may_use(&user, &namespace, &pool).await?;
                Ok::<_, ApiFailure>(may.then(|| format!("{namespace}/{pool}")))
            }
        })
        .buffered(CHECKS)
        .try_filter_map(|name| async move { Ok(name) })
        .try_collect()
        .await
}

/// A list of models. Nobody knows when a pool came out, which Anthropic's form wants to be told.
fn list(surface: Surface, names: &[String]) -> Value {
    if !surface.is_anthropics() {
        let model =
            |name| json!({"id": name, "object": "model", "created": 0, "owned_by": "oarmaster"});
        let data: Vec<Value> = names.iter().map(model).collect();
        return json!({"object": "list", "data": data});
    }
    let model = |name| {
        json!({
            "type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z",
            "lifecycle": "active",
        })
    };
    let data: Vec<Value> = names.iter().map(model).collect();
    json!({"data": data, "has_more": false, "first_id": names.first(), "last_id": names.last()})
}

async fn claim(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Claim>, ApiFailure> {
    let pod = gateway.task(&headers).await?;
    if pod.runs_in == RunsIn::Shared {
        return Err(ApiFailure::forbidden(
            "the attempt was claimed with its capability",
        ));
    }
    let request: ClaimRequest = parse(&bodies::read(body, MAX_SMALL).await?)?;
    let mut claim = gateway
        .store
        .claim(&pod.task_uid, pod.attempt, &request, &pod.pod)
        .await
        .map_err(ApiFailure::from)
        .inspect_err(|error| gateway.claim_refused(&pod, error))?;
    claim.context_tokens = context(&gateway, &pod.task_uid, pod.attempt).await?;
    Ok(Json(claim))
}

/// Most tokens of a model call of the attempt.
///
/// # Errors
/// When its assignment cannot be read.
pub async fn context(
    gateway: &Gateway,
    task_uid: &str,
    attempt: u32,
) -> Result<Option<u64>, ApiFailure> {
    let assignments = &gateway.assignments;
    let assigned = assignments.get(&gateway.store, task_uid, attempt).await?;
    let Some((namespace, pool)) = assigned.model.as_ref().and_then(|id| id.split_once('/')) else {
        return Ok(None);
    };
    let pool = (namespace.to_owned(), pool.to_owned());
    Ok(gateway.snapshot.load().context(&pool))
}

async fn assignment(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, ApiFailure> {
    let pod = gateway.task(&headers).await?;
    let (bytes, _) = gateway.store.assignment(&pod.task_uid, pod.attempt).await?;
    let mut response = bytes.into_response();
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn append(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Appended>, ApiFailure> {
    write(&gateway, &headers, body, |_| Ok(())).await
}

async fn journal(
    State(gateway): State<Arc<Gateway>>,
    Path(from): Path<u64>,
    headers: HeaderMap,
) -> Result<Json<Journal>, ApiFailure> {
    let pod = gateway.task(&headers).await?;
    let session = text(&headers, SESSION_HEADER)?;
    let store = &gateway.store;
    store.check_session(&pod.task_uid, pod.attempt, session)?;
    let records = store.records(&pod.task_uid, from, JOURNAL_PAGE).await?;
    Ok(Json(Journal { records }))
}

async fn keep(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Blob>, ApiFailure> {
    let pod = gateway.task(&headers).await?;
    let session = text(&headers, SESSION_HEADER)?;
    let (body, _room) = gateway.checkpoint(&pod, body).await?;
    let kept = gateway
        .store
        .put_blob(&pod.task_uid, pod.attempt, session, &body)
        .await?;
    Ok(Json(kept))
}

async fn kept(
    State(gateway): State<Arc<Gateway>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<bytes::Bytes, ApiFailure> {
    let pod = gateway.task(&headers).await?;
    let session = text(&headers, SESSION_HEADER)?;
    let store = &gateway.store;
    store.check_session(&pod.task_uid, pod.attempt, session)?;
    let own = store.blob(&pod.task_uid, &digest).await;
    if own.is_ok() {
        return Ok(own?);
    }
    let assigned = assigned(&gateway, &pod).await?;
    // What is handed on is named by a request or its answer, which nobody else has.
    if let Some(handed) = &assigned.handed
        && store
            .handed(&handed.task, &handed.request)?
            .iter()
            .any(|blob| blob.digest == digest)
    {
        return Ok(store.blob(&handed.task, &digest).await?);
    }
    if let Some(child) = store.left_by(&pod.task_uid, &digest)? {
        return Ok(store.blob(&child, &digest).await?);
    }
    // What it begins with is its own since it was told the parts.
    let mut placed = assigned.placed.iter();
    if let Some(placed) = placed.find(|placed| placed.digest == digest) {
        gateway.reads(&pod, "artifacts", &placed.task).await?;
        return Ok(store.placed(&pod.task_uid, placed).await?);
    }
    match &assigned.continues {
        Some(before) => {
            gateway.reads(&pod, "artifacts", before).await?;
            Ok(store.blob(&before.uid, &digest).await?)
        }
        None => Ok(own?),
    }
}

async fn handed(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Json<Vec<Blob>>, ApiFailure> {
    let pod = gateway.task(&headers).await?;
    let session = text(&headers, SESSION_HEADER)?;
    let store = &gateway.store;
    store.check_session(&pod.task_uid, pod.attempt, session)?;
    let assigned = assigned(&gateway, &pod).await?;
    if let Some(handed) = &assigned.handed {
        return Ok(Json(store.handed(&handed.task, &handed.request)?));
    }
    // Whether it may was decided when it was created.
    let from = assigned.begins.as_ref();
    let from = from.ok_or_else(|| ApiFailure::not_found("the Task was handed no files"))?;
    gateway.reads(&pod, "artifacts", from).await?;
    let taken = store.take_over(&pod.task_uid, pod.attempt, session, from);
    Ok(Json(taken.await?))
}

async fn assigned(gateway: &Gateway, pod: &SandboxPod) -> Result<Arc<Assigned>, ApiFailure> {
    let assignments = &gateway.assignments;
    let assigned = assignments.get(&gateway.store, &pod.task_uid, pod.attempt);
    assigned.await
}

/// UID of the Task that this one continues, for its newest session, to read its transcript.
async fn before(gateway: &Gateway, headers: &HeaderMap) -> Result<String, ApiFailure> {
    let pod = gateway.task(headers).await?;
    let session = text(headers, SESSION_HEADER)?;
    gateway
        .store
        .check_session(&pod.task_uid, pod.attempt, session)?;
    // Whether it may was decided when it was created.
    let before = assigned(gateway, &pod).await?.continues.clone();
    let before = before.ok_or_else(|| ApiFailure::not_found("the Task continues no other"))?;
    gateway.reads(&pod, "transcript", &before).await?;
    Ok(before.uid)
}

async fn continued(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, ApiFailure> {
    let before = before(&gateway, &headers).await?;
    let newest = gateway.store.newest_attempt(&before).await?;
    let newest = newest.ok_or_else(|| {
        ApiFailure::not_found("the journal of the Task that this one continues is no longer kept")
    })?;
    let (bytes, _) = gateway.store.assignment(&before, newest.attempt).await?;
    let mut response = bytes.into_response();
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn continued_journal(
    State(gateway): State<Arc<Gateway>>,
    Path(from): Path<u64>,
    headers: HeaderMap,
) -> Result<Json<Journal>, ApiFailure> {
    let before = before(&gateway, &headers).await?;
    let records = gateway.store.records(&before, from, JOURNAL_PAGE).await?;
    Ok(Json(Journal { records }))
}

async fn result(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Appended>, ApiFailure> {
    write(&gateway, &headers, body, |append| {
        match append.records.as_slice() {
            [RecordBody::Result { .. }] => Ok(()),
            _ => Err(ApiFailure::invalid(
                "a result is exactly one record of kind result",
            )),
        }
    })
    .await
}

async fn write(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: Body,
    check: impl Fn(&Append) -> Result<(), ApiFailure>,
) -> Result<Json<Appended>, ApiFailure> {
    let pod = gateway.task(headers).await?;
    let session = text(headers, SESSION_HEADER)?;
    let (body, _room) = gateway.body(&Caller::Task(pod.clone()), body).await?;
    let append: Append = parse(&body)?;
    check(&append)?;
    let appended = gateway
        .store
        .append(&pod.task_uid, pod.attempt, session, append)
        .await?;
    Ok(Json(appended))
}

/// Held open until there is an answer. Whoever waits costs a connection and a reader of the journal's length.
async fn request(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<RequestState>, ApiFailure> {
    let pod = gateway.task(&headers).await?;
    let session = text(&headers, SESSION_HEADER)?;
    let store = &gateway.store;
    let mut news = store.watch(&pod.task_uid).await?; // before the first look, so that nothing falls in between
    let over = tokio::time::sleep(POLL);
    tokio::pin!(over);
    loop {
        let answer = store
            .answered(&pod.task_uid, pod.attempt, session, &id)
            .await?;
        if answer.is_some() {
            return Ok(Json(RequestState { answer }));
        }
        tokio::select! {
            told = news.changed() => if told.is_ok() { continue },
            () = &mut over => {}
            () = gateway.stopping.cancelled() => {}
        }
        return Ok(Json(RequestState { answer: None }));
    }
}

async fn artifact(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Json<Artifact>, ApiFailure> {
    let pod = gateway.task(&headers).await?;
    let session = text(&headers, SESSION_HEADER)?;
    let most = usize::try_from(MAX_ARTIFACT_BYTES).unwrap_or(usize::MAX);
    if http_body::Body::size_hint(&body).lower() > MAX_ARTIFACT_BYTES {
        return Err(too_large(most));
    }
    let kind = headers.get(header::CONTENT_TYPE);
    let mut writer = gateway
        .store
        .artifact_writer(&pod.task_uid, pod.attempt, session, &name)
        .await?
        .archive(kind.is_some_and(|kind| kind == ARCHIVE_TYPE));
    loop {
        let frame = tokio::time::timeout(UPLOAD_IDLE, body.frame())
            .await
            .map_err(|_| ApiFailure::invalid("the artifact stopped arriving"))?;
        match frame {
            None => break,
            Some(Err(_)) => return Err(ApiFailure::invalid("the artifact broke off")),
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    writer.write(bytes).await?;
                }
            }
        }
    }
    Ok(Json(writer.finish().await?))
}

/// Reads a body of the protocol.
///
/// # Errors
/// `invalid_request` that says where.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiFailure> {
    serde_json::from_slice(body).map_err(|error| {
        ApiFailure::new(
            ErrorCode::InvalidRequest,
            format!("the body cannot be read: {error}"),
        )
    })
}
