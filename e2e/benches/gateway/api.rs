//! A Kubernetes API server as far as the gateway asks one: reviews, lists and watches, with the real shapes, from memory.

use crate::wire::listen;
use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use futures::StreamExt as _;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Largest body of a review.
const MAX_REVIEW: usize = 64 << 10;

/// Plural of the kind, namespace, name.
type Key = (String, String, String);
type Event = (u64, Key, Value);
/// Says whom a token belongs to.
type Users = dyn Fn(&str) -> Option<Value> + Send + Sync;

/// The API server; clones are the same one.
#[derive(Clone)]
pub struct Api {
    world: Arc<Mutex<World>>,
    events: broadcast::Sender<Event>,
    users: Arc<Users>,
    reviews: Arc<[AtomicU64; 2]>,
}

#[derive(Default)]
struct World {
    version: u64,
    objects: BTreeMap<Key, Value>,
    /// What watches were told: one that begins later is told what it has missed.
    told: Vec<Event>,
}

/// The UID of an object.
pub fn uid(kind: &str, namespace: &str, name: &str) -> String {
    format!("{kind}-{namespace}-{name}")
}

impl Api {
    /// Starts one without objects; `users` says whom a token belongs to, as a TokenReview's `user` has it. Gives the port too.
    pub async fn start(
        users: impl Fn(&str) -> Option<Value> + Send + Sync + 'static,
    ) -> Result<(Self, u16)> {
        let api = Self {
            world: Arc::default(),
            events: broadcast::Sender::new(1024),
            users: Arc::new(users),
            reviews: Arc::default(),
        };
        let (listener, port) = listen().await?;
        let router = Router::new().fallback(handle).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((api, port))
    }

    /// Stores an object; who watches hears of it.
    pub fn apply(&self, kind: &str, mut object: Value) -> Result<()> {
        let text = |object: &Value, name: &str| {
            let text = object.pointer(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let key = (
            kind.to_owned(),
            text(&object, "/metadata/namespace"),
            text(&object, "/metadata/name"),
        );
        let mut world = self.world();
        world.version += 1;
        let version = world.version;
        let meta = object
            .get_mut("metadata")
            .and_then(Value::as_object_mut)
            .context("an object has no metadata")?;
        meta.insert("resourceVersion".into(), version.to_string().into());
        meta.insert("uid".into(), uid(kind, &key.1, &key.2).into());
        meta.insert("generation".into(), version.into());
        let known = world.objects.insert(key.clone(), object.clone()).is_some();
        let name = if known { "MODIFIED" } else { "ADDED" };
        let event = (version, key, json!({"type": name, "object": object}));
        world.told.push(event.clone());
        drop(self.events.send(event)); // nobody may watch yet
        Ok(())
    }

    /// How many TokenReviews and SubjectAccessReviews there were.
    pub fn reviews(&self) -> [u64; 2] {
        [0, 1].map(|which: usize| {
            self.reviews
                .get(which)
                .map_or(0, |count| count.load(Relaxed))
        })
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, which: usize) {
        if let Some(count) = self.reviews.get(which) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn review_token(&self, review: &Value) -> Response {
        self.counted(0);
        let spec = review.get("spec").cloned().unwrap_or_default();
        let token = spec.get("token").and_then(Value::as_str);
        let user = token.and_then(|token| (self.users)(token));
        let status = match user {
            Some(user) => {
                let audiences = spec.get("audiences").cloned().unwrap_or_else(|| json!([]));
                json!({"authenticated": true, "audiences": audiences, "user": user})
            }
            None => json!({"authenticated": false, "error": "no such token"}),
        };
        let answer = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": spec, "status": status});
        (StatusCode::CREATED, Json(answer)).into_response()
    }

    /// Everybody may use every pool: what is measured is the asking.
    fn review_access(&self, review: &Value) -> Response {
        self.counted(1);
        let spec = review.get("spec").cloned().unwrap_or_default();
        let answer = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec, "status": {"allowed": true}});
        (StatusCode::CREATED, Json(answer)).into_response()
    }

    fn get(&self, key: &Key) -> Response {
        match self.world().objects.get(key) {
            Some(object) => Json(object).into_response(),
            None => missing(),
        }
    }

    fn list(
        &self,
        kind: &str,
        namespace: Option<&str>,
        query: &HashMap<String, String>,
    ) -> Response {
        let name = query
            .get("fieldSelector")
            .and_then(|selector| selector.strip_prefix("metadata.name="))
            .map(str::to_owned);
        let (kind, namespace) = (kind.to_owned(), namespace.map(str::to_owned));
        let fits = move |key: &Key| {
            key.0 == kind
                && namespace.as_ref().is_none_or(|wanted| *wanted == key.1)
                && name.as_ref().is_none_or(|wanted| *wanted == key.2)
        };
        let world = self.world();
        if query.get("watch").map(String::as_str) != Some("true") {
            let objects = world.objects.iter().filter(|(key, _)| fits(key));
            let items: Vec<&Value> = objects.map(|(_, object)| object).collect();
            let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": world.version.to_string()}, "items": items});
            return Json(list).into_response();
        }
        let from = query.get("resourceVersion");
        let from: u64 = from.and_then(|text| text.parse().ok()).unwrap_or_default();
        let now = world.version;
        let missed: Vec<Value> = world
            .told
            .iter()
            .filter(|(version, key, _)| *version > from && fits(key))
            .map(|(_, _, event)| event.clone())
            .collect();
        let events = self.events.subscribe();
        drop(world);
        let later = futures::stream::unfold(events, |mut events| async move {
            // Who has missed events hears of none any more, and lists anew.
            events.recv().await.ok().map(|event| (event, events))
        });
        let later = later.filter_map(move |(version, key, event)| {
            let event = (version > now && fits(&key)).then_some(event);
            async move { event }
        });
        let lines = futures::stream::iter(missed)
            .chain(later)
            .map(|event| Ok::<_, Infallible>(Bytes::from(format!("{event}\n"))));
        Body::from_stream(lines).into_response()
    }
}

fn missing() -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404});
    (StatusCode::NOT_FOUND, Json(status)).into_response()
}

async fn handle(
    State(api): State<Api>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    if parts.method == Method::POST {
        let body = axum::body::to_bytes(body, MAX_REVIEW)
            .await
            .unwrap_or_default();
        let review: Value = serde_json::from_slice(&body).unwrap_or_default();
        return match path.last() {
            Some(&"tokenreviews") => api.review_token(&review),
            Some(&"subjectaccessreviews") => api.review_access(&review),
            _ => missing(),
        };
    }
    match path.as_slice() {
        ["apis", _, _, kind] | ["api", _, kind] => api.list(kind, None, &query),
        [.., "namespaces", namespace, kind] => api.list(kind, Some(namespace), &query),
        [.., "namespaces", namespace, kind, name] => api.get(&(
            (*kind).to_owned(),
            (*namespace).to_owned(),
            (*name).to_owned(),
        )),
        _ => missing(),
    }
}
