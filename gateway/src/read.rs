//! The read listener: transcripts, artifacts, usage and the audit for people, as far as RBAC lets them.

use crate::admin::{lines, send};
use crate::data::{no_method, no_path};
use crate::error::ApiFailure;
use crate::retention;
use crate::state::Gateway;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, header};
use oarmaster_protocol::admin::TaskUsage;
use oarmaster_protocol::journal::Artifact;
use oarmaster_protocol::read::{
    AuditCheck, AuditRecord, CostBy, CostLine, Deleted, ErasedLine, NoteLine,
};
use oarmaster_store::{CostQuery, NoteQuery, Refusal};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Records that are read at once.
const PAGE: usize = 256;

/// The routes.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let task = "/read/v1/namespaces/{namespace}/tasks/{name}";
    Router::new()
        .route("/read/v1/costs", get(all_costs))
        .route("/read/v1/namespaces/{namespace}/costs", get(costs))
        .route(
            "/read/v1/namespaces/{namespace}/memory",
            get(notes).delete(forget),
        )
        .route("/read/v1/audit", get(audit))
        .route("/read/v1/people", delete(erase))
        .route("/read/v1/audit/verify", get(verify))
        .route(&format!("{task}/transcript"), get(transcript))
        .route(&format!("{task}/usage"), get(usage))
        .route(&format!("{task}/artifacts"), get(artifacts))
        .route(&format!("{task}/artifacts/{{artifact}}"), get(artifact))
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .with_state(gateway)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Params {
    uid: Option<String>,
    from: u64,
    follow: bool,
}

type Shared = State<Arc<Gateway>>;

async fn usage(
    State(gateway): Shared,
    Path((namespace, name)): Path<(String, String)>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Json<TaskUsage>, ApiFailure> {
    gateway.reader(&headers, "usage", &namespace, &name).await?;
    let uid = find(&gateway, &namespace, &name, params.uid).await?;
    Ok(Json(gateway.store.usage(&uid).await?))
}

#[derive(Deserialize)]
struct Time {
    by: CostBy,
    label: Option<String>,
    from: i64,
    to: i64,
}

async fn all_costs(
    State(gateway): Shared,
    Query(time): Query<Time>,
    headers: HeaderMap,
) -> Result<Json<Vec<CostLine>>, ApiFailure> {
    sum(&gateway, &headers, None, time).await
}

async fn costs(
    State(gateway): Shared,
    Path(namespace): Path<String>,
    Query(time): Query<Time>,
    headers: HeaderMap,
) -> Result<Json<Vec<CostLine>>, ApiFailure> {
    sum(&gateway, &headers, Some(namespace), time).await
}

async fn sum(
    gateway: &Gateway,
    headers: &HeaderMap,
    namespace: Option<String>,
    Time {
        by,
        label,
        from,
        to,
    }: Time,
) -> Result<Json<Vec<CostLine>>, ApiFailure> {
    // Without a name all Tasks are meant, and without a namespace all namespaces.
    let within = namespace.as_deref().unwrap_or_default();
    gateway.reader(headers, "usage", within, "").await?;
    let query = CostQuery {
        namespace,
        by,
        label,
        from_ms: from,
        to_ms: to,
    };
    // Each reads much of the log: one at a time.
    let _turn = gateway.counting.lock().await;
    Ok(Json(gateway.store.costs(query).await?))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meant {
    agent: Option<String>,
    requester: Option<String>,
    id: Option<String>,
}

impl Meant {
    fn query(self, namespace: String) -> NoteQuery {
        let Self {
            agent,
            requester,
            id,
        } = self;
        NoteQuery {
            namespace,
            agent,
            requester,
            id,
        }
    }
}

async fn notes(
    State(gateway): Shared,
    Path(namespace): Path<String>,
    Query(meant): Query<Meant>,
    headers: HeaderMap,
) -> Result<Json<Vec<NoteLine>>, ApiFailure> {
    let query = meant.query(namespace);
    let agent = query.agent.as_deref().unwrap_or_default();
    gateway
        .keeper(&headers, "get", &query.namespace, agent)
        .await?;
    // They may be all that a namespace has: one at a time.
    let _turn = gateway.counting.lock().await;
    let notes = gateway.store.notes(&query, usize::MAX).await?;
    let lines = notes.into_iter().map(|note| NoteLine {
        id: note.id,
        agent: note.owner.agent,
        requester: note.owner.requester,
        task: note.task,
        at_ms: note.at_ms,
        text: note.text,
    });
    Ok(Json(lines.collect()))
}

async fn forget(
    State(gateway): Shared,
    Path(namespace): Path<String>,
    Query(meant): Query<Meant>,
    headers: HeaderMap,
) -> Result<Json<Deleted>, ApiFailure> {
    let query = meant.query(namespace);
    let agent = query.agent.as_deref().unwrap_or_default();
    gateway
        .keeper(&headers, "delete", &query.namespace, agent)
        .await?;
    let notes = gateway.store.forget(&query).await? as u64;
    Ok(Json(Deleted { notes }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    requester: String,
    #[serde(default)]
    dry_run: bool,
}

async fn erase(
    State(gateway): Shared,
    Query(Person { requester, dry_run }): Query<Person>,
    headers: HeaderMap,
) -> Result<Json<ErasedLine>, ApiFailure> {
    gateway.eraser(&headers, &requester).await?;
    if requester.is_empty() {
        return Err(Refusal::Invalid("requester is empty: name a Kubernetes user".into()).into());
    }
    // It asks of each Task whether it is over: one at a time.
    let _turn = gateway.counting.lock().await;
    let client = gateway.lookup.client();
    let erased = retention::erase(&gateway, client, &requester, dry_run).await?;
    let stay = erased.stay.into_iter();
    Ok(Json(ErasedLine {
        tasks: erased.tasks,
        notes: erased.notes,
        stay: stay
            .map(|task| format!("{}/{}", task.namespace, task.name))
            .collect(),
    }))
}

#[derive(Deserialize)]
struct Span {
    from: i64,
    to: i64,
}

async fn audit(
    State(gateway): Shared,
    Query(Span { from, to }): Query<Span>,
    headers: HeaderMap,
) -> Result<Response, ApiFailure> {
    gateway.reader(&headers, "audit", "", "").await?;
    let (sender, records) = mpsc::channel(PAGE);
    let read = tokio::spawn(async move { gateway.store.audited(from, to, sender).await });
    // A record that breaks off must not look whole: the answer then ends without its end.
    let end = futures::stream::once(async move {
        match read.await {
            Ok(Ok(true)) => Ok(Bytes::new()),
            Ok(Ok(false)) => Err(std::io::Error::other("the reader took nothing for long")),
            Ok(Err(refusal)) => {
                tracing::error!(error = %refusal, "an audit broke off");
                Err(std::io::Error::other(refusal))
            }
            Err(error) => Err(std::io::Error::other(error)),
        }
    });
    let lines = ReceiverStream::new(records).map(|record: AuditRecord| {
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        Ok::<_, std::io::Error>(Bytes::from(line))
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    let body = Body::from_stream(lines.chain(end));
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

#[derive(Deserialize)]
struct Asked {
    frame: Option<u64>,
}

async fn verify(
    State(gateway): Shared,
    Query(Asked { frame }): Query<Asked>,
    headers: HeaderMap,
) -> Result<Json<AuditCheck>, ApiFailure> {
    gateway.reader(&headers, "audit", "", "").await?;
    // It reads the whole log.
    let _turn = gateway.counting.lock().await;
    Ok(Json(gateway.store.verify(frame).await?))
}

async fn artifacts(
    State(gateway): Shared,
    Path((namespace, name)): Path<(String, String)>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Json<Vec<Artifact>>, ApiFailure> {
    gateway
        .reader(&headers, "artifacts", &namespace, &name)
        .await?;
    let uid = find(&gateway, &namespace, &name, params.uid).await?;
    Ok(Json(gateway.store.artifacts(&uid).await?))
}

async fn artifact(
    State(gateway): Shared,
    Path((namespace, name, artifact)): Path<(String, String, String)>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, ApiFailure> {
    gateway
        .reader(&headers, "artifacts", &namespace, &name)
        .await?;
    let uid = find(&gateway, &namespace, &name, params.uid).await?;
    let (_, bytes) = gateway.store.artifact(&uid, &artifact).await?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    // What a sandbox wrote is never shown by a browser as ours.
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment"),
    );
    Ok(response)
}

async fn transcript(
    State(gateway): Shared,
    Path((namespace, name)): Path<(String, String)>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, ApiFailure> {
    gateway
        .reader(&headers, "transcript", &namespace, &name)
        .await?;
    let uid = find(&gateway, &namespace, &name, params.uid).await?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        if let Err(refusal) = tell(&gateway, &uid, params.from, params.follow, &sender).await {
            tracing::warn!(task = uid, error = %refusal, "a transcript broke off");
        }
    });
    Ok(lines(receiver))
}

/// Sends the records from `from` on; with `follow` until the newest attempt has ended.
async fn tell(
    gateway: &Gateway,
    uid: &str,
    from: u64,
    follow: bool,
    sender: &mpsc::Sender<bytes::Bytes>,
) -> Result<(), Refusal> {
    let mut watch = gateway.store.watch(uid).await?;
    let mut from = from;
    loop {
        watch.borrow_and_update(); // before reading: what comes after the read wakes us
        loop {
            let page = gateway.store.records(uid, from, PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            from = last.seq + 1;
            for record in &page {
                if !send(sender, record).await {
                    return Ok(());
                }
            }
        }
        if !follow || is_over(gateway, uid, from).await? {
            return Ok(());
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            () = gateway.stopping.cancelled() => return Ok(()),
            changed = watch.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// Whether the newest attempt has ended and everything of it was told.
async fn is_over(gateway: &Gateway, uid: &str, from: u64) -> Result<bool, Refusal> {
    let Some(newest) = gateway.store.newest_attempt(uid).await? else {
        return Ok(true);
    };
    let report = gateway.store.report(uid, newest.attempt).await?;
    Ok((report.fenced || report.outcome.is_some()) && from >= report.next)
}

/// The Task that is meant: by UID, which must be of this name, or the newest of the name.
async fn find(
    gateway: &Gateway,
    namespace: &str,
    name: &str,
    uid: Option<String>,
) -> Result<String, ApiFailure> {
    let missing = || {
        ApiFailure::not_found(format!(
            "the gateway knows no attempt of Task {name} in namespace {namespace}"
        ))
    };
    match uid {
        None => gateway
            .store
            .find_task(namespace, name)
            .await?
            .ok_or_else(missing),
        Some(uid) => match gateway.store.task_ref(&uid).await? {
            // The permission was for this name; another Task's UID does not widen it.
            Some(task) if task.namespace == namespace && task.name == name => Ok(uid),
            Some(_) | None => Err(missing()),
        },
    }
}
