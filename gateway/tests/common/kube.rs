//! A Kubernetes API server as far as the gateway asks one: reviews, gets, lists and watches, with the real shapes.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

type Key = (String, String, String);

#[derive(Clone)]
pub struct FakeKube {
    pub url: String,
    world: Arc<Mutex<World>>,
    events: broadcast::Sender<(Key, Value)>,
}

#[derive(Default)]
struct World {
    version: u64,
    objects: BTreeMap<Key, Value>,
    tokens: HashMap<String, Value>,
    allowed: BTreeSet<String>,
    forbidden: BTreeSet<Key>,
    down: bool,
    token_reviews: usize,
    gets: BTreeMap<String, usize>,
    /// What watches were told, by version: one that begins later is told what it has missed.
    told: Vec<(u64, Key, Value)>,
}

impl FakeKube {
    pub async fn start() -> (Self, kube::Client) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            world: Arc::default(),
            events: broadcast::Sender::new(256),
        };
        let router = Router::new().fallback(handle).with_state(fake.clone());
        tokio::spawn(async move { axum_serve(listener, router).await });
        let mut config = kube::Config::new(fake.url.parse().unwrap());
        config.default_retry = false;
        (fake, kube::Client::try_from(config).unwrap())
    }

    /// Stores an object: `kind` is the plural of its resource. Who watches hears of it.
    pub fn apply(&self, kind: &str, object: Value) -> Value {
        let (key, event) = self.apply_unseen(kind, object);
        let applied = event["object"].clone();
        self.tell(key, event);
        applied
    }

    pub fn namespace(&self, name: &str, labels: Value) {
        let meta = json!({"name": name, "labels": labels});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta});
        self.apply("namespaces", object);
    }

    /// Stores an object of which no watch tells: the key and the event that stay away.
    pub fn apply_unseen(&self, kind: &str, mut object: Value) -> (Key, Value) {
        let mut world = self.world.lock().unwrap();
        world.version += 1;
        let version = world.version;
        let meta = object["metadata"].as_object_mut().unwrap();
        meta.insert("resourceVersion".into(), version.to_string().into());
        meta.entry("uid")
            .or_insert_with(|| format!("uid-{version}").into());
        meta.insert("generation".into(), version.into());
        let key = key(kind, &object);
        let known = world.objects.insert(key.clone(), object.clone()).is_some();
        let event = if known { "MODIFIED" } else { "ADDED" };
        (key, json!({"type": event, "object": object}))
    }

    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let gone = {
            let mut world = self.world.lock().unwrap();
            world.version += 1;
            world.objects.remove(&key).unwrap()
        };
        self.tell(key, json!({"type": "DELETED", "object": gone}));
    }

    fn tell(&self, key: Key, event: Value) {
        let mut world = self.world.lock().unwrap();
        let version = world.version;
        world.told.push((version, key.clone(), event.clone()));
        let _ = self.events.send((key, event));
    }

    pub fn secret(&self, namespace: &str, name: &str, data: &[(&str, &[u8])]) {
        let data: serde_json::Map<String, Value> = data
            .iter()
            .map(|(name, value)| ((*name).to_owned(), base64(value).into()))
            .collect();
        self.apply(
            "secrets",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}, "data": data}),
        );
    }

    /// A token of a ServiceAccount for one audience, bound to a pod or not.
    pub fn token(&self, token: &str, user: &str, audience: &str, pod: Option<(&str, &str)>) {
        let mut extra = serde_json::Map::new();
        if let Some((name, uid)) = pod {
            extra.insert(
                "authentication.kubernetes.io/pod-name".into(),
                json!([name]),
            );
            extra.insert("authentication.kubernetes.io/pod-uid".into(), json!([uid]));
        }
        let status = json!({
            "authenticated": true,
            "audiences": [audience],
            "user": {"username": user, "uid": "u", "groups": ["system:serviceaccounts"], "extra": extra},
        });
        self.world
            .lock()
            .unwrap()
            .tokens
            .insert(token.to_owned(), status);
    }

    /// Allows `user verb resource namespace/name`, like `bob use modelpools team/fast`.
    pub fn allow(&self, rule: &str) {
        self.world.lock().unwrap().allowed.insert(rule.to_owned());
    }

    pub fn forbid_secret(&self, namespace: &str, name: &str, forbidden: bool) {
        let key = ("secrets".to_owned(), namespace.to_owned(), name.to_owned());
        let mut world = self.world.lock().unwrap();
        if forbidden {
            world.forbidden.insert(key);
        } else {
            world.forbidden.remove(&key);
        }
    }

    pub fn down(&self, down: bool) {
        self.world.lock().unwrap().down = down;
    }

    pub fn token_reviews(&self) -> usize {
        self.world.lock().unwrap().token_reviews
    }

    /// How often single objects of a kind were read.
    pub fn gets(&self, kind: &str) -> usize {
        let world = self.world.lock().unwrap();
        world.gets.get(kind).copied().unwrap_or_default()
    }
}

pub async fn axum_serve(listener: tokio::net::TcpListener, router: Router) {
    let stop = tokio_util::sync::CancellationToken::new();
    let limits = oarmaster_serve::listen::Limits {
        connections: 4096,
        each: 4096,
        drain: std::time::Duration::ZERO,
    };
    oarmaster_serve::listen::serve(listener, None, router, stop, limits).await;
}

fn key(kind: &str, object: &Value) -> Key {
    let text = |name: &str| {
        let text = object["metadata"][name].as_str();
        text.unwrap_or_default().to_owned()
    };
    (kind.to_owned(), text("namespace"), text("name"))
}

fn base64(bytes: &[u8]) -> String {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec()))
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

async fn handle(State(fake): State<FakeKube>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes())
            .into_owned()
            .collect();
    if fake.world.lock().unwrap().down {
        return status(500, "InternalError");
    }
    match (parts.method, path.as_slice()) {
        (Method::POST, [.., "tokenreviews"]) => fake.review_token(&read(body).await),
        (Method::POST, [.., "subjectaccessreviews"]) => fake.review_access(&read(body).await),
        (Method::GET, ["apis", _, _, kind] | ["api", _, kind]) => fake.list(kind, None, &query),
        (Method::GET, [.., "namespaces", namespace, kind]) => {
            fake.list(kind, Some(namespace), &query)
        }
        (Method::GET, [.., "namespaces", namespace, kind, name]) => fake.get(kind, namespace, name),
        (method, _) => panic!("the gateway asked {method} {}", parts.uri),
    }
}

async fn read(body: Body) -> Value {
    let bytes = http_body_util::BodyExt::collect(body)
        .await
        .unwrap()
        .to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

fn status(code: u16, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": reason, "code": code});
    (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
}

impl FakeKube {
    fn review_token(&self, review: &Value) -> Response {
        let mut world = self.world.lock().unwrap();
        world.token_reviews += 1;
        let token = review["spec"]["token"].as_str().unwrap();
        let wanted = review["spec"]["audiences"][0]
            .as_str()
            .unwrap_or("api-server");
        let known = world
            .tokens
            .get(token)
            .filter(|status| status["audiences"][0] == wanted);
        let status = known
            .cloned()
            .unwrap_or_else(|| json!({"authenticated": false, "error": "no"}));
        let answer = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": review["spec"], "status": status});
        (StatusCode::CREATED, axum::Json(answer)).into_response()
    }

    fn review_access(&self, review: &Value) -> Response {
        let spec = &review["spec"];
        let what = &spec["resourceAttributes"];
        let text = |name: &str| what[name].as_str().unwrap_or("").to_owned();
        let sub = text("subresource");
        let resource = if sub.is_empty() {
            text("resource")
        } else {
            format!("{}/{sub}", text("resource"))
        };
        let rule = format!(
            "{} {} {resource} {}/{}",
            spec["user"].as_str().unwrap(),
            text("verb"),
            text("namespace"),
            text("name")
        );
        let allowed = self.world.lock().unwrap().allowed.contains(&rule);
        let answer = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec, "status": {"allowed": allowed}});
        (StatusCode::CREATED, axum::Json(answer)).into_response()
    }

    fn get(&self, kind: &str, namespace: &str, name: &str) -> Response {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let mut world = self.world.lock().unwrap();
        *world.gets.entry(kind.to_owned()).or_default() += 1;
        if world.forbidden.contains(&key) {
            return status(403, "Forbidden");
        }
        match world.objects.get(&key) {
            Some(object) => axum::Json(object).into_response(),
            None => status(404, "NotFound"),
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
                && namespace
                    .as_ref()
                    .is_none_or(|namespace| *namespace == key.1)
                && name.as_ref().is_none_or(|name| *name == key.2)
        };
        let world = self.world.lock().unwrap();
        if world.forbidden.iter().any(&fits) {
            return status(403, "Forbidden");
        }
        let items: Vec<Value> = world
            .objects
            .iter()
            .filter(|(key, _)| fits(key))
            .map(|(_, object)| object.clone())
            .collect();
        if query.get("watch").map(String::as_str) != Some("true") {
            let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": world.version.to_string()}, "items": items});
            return axum::Json(list).into_response();
        }
        let from = query.get("resourceVersion");
        let from = from.and_then(|version| version.parse::<u64>().ok());
        let from_start = from == Some(0);
        let missed: Vec<Value> = world
            .told
            .iter()
            .filter(|(version, key, _)| {
                !from_start && from.is_some_and(|from| *version > from) && fits(key)
            })
            .map(|(_, _, event)| event.clone())
            .collect();
        let first = items
            .into_iter()
            .filter(move |_| from_start)
            .map(|object| json!({"type": "ADDED", "object": object}))
            .chain(missed);
        let later = BroadcastStream::new(self.events.subscribe()).filter_map(move |event| {
            let event = event
                .ok()
                .filter(|(key, _)| fits(key))
                .map(|(_, event)| event);
            async move { event }
        });
        let lines = futures::stream::iter(first)
            .chain(later)
            .map(|event| Ok::<_, std::convert::Infallible>(Bytes::from(format!("{event}\n"))));
        Body::from_stream(lines).into_response()
    }
}
