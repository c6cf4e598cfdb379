//! One process that runs many attempts, against a gateway that gives them out and keeps each by its claim.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oarmaster_protocol::assignment::{AgentTarget, Assignment, Target, TaskRef, Workspace};
use oarmaster_protocol::digest;
use oarmaster_protocol::journal::{About, Body, CallUsage, Outcome, Record};
use oarmaster_protocol::task::{
    Append, Appended, Capability, Claim, Journal, Release, SESSION_HEADER, Work,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

const TOKEN: &str = "token-of-the-pilots";
/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Held {
    assigned: Vec<u8>,
    records: Vec<Body>,
    released: Option<Release>,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Work>,
    held: BTreeMap<String, Held>,
    /// Capabilities that are over.
    over: BTreeSet<String>,
    /// UIDs whose model does not answer.
    silent: BTreeSet<String>,
    asked_for_work: usize,
    model_calls: Vec<String>,
    /// UIDs whose assignment was read, and those whose journal is being read.
    assigned: BTreeSet<String>,
    reading: BTreeSet<String>,
    /// Whether journals that go on are not handed out.
    closed: bool,
}

#[derive(Clone)]
struct Gateway {
    inner: Arc<Mutex<Inner>>,
    /// Changed whenever something happens.
    news: watch::Sender<u64>,
    base: String,
    dir: Arc<tempfile::TempDir>,
}

fn assignment(uid: &str) -> Assignment {
    Assignment {
        task: TaskRef {
            namespace: "team".into(),
            name: uid.into(),
            uid: uid.into(),
        },
        target: Target::Agent(Box::new(AgentTarget {
            pinned: "planner@sha256:1".into(),
            instructions: "Be careful.".into(),
            prompt: "Plan it.".into(),
            model: "team/default".into(),
            temperature: None,
            max_output_tokens: 1000,
            no_cache: false,
            tools: vec![],
            mcp: vec![],
            delegates: vec![],
            approvals: vec![],
            pages: vec![],
            output_schema: None,
            max_turns: 10,
            max_tool_calls: 20,
        })),
        continues: None,
        handed: None,
        replay: None,
        workspace: Workspace::default(),
        placed: vec![],
        repositories: vec![],
        files: vec![],
        artifacts: vec![],
        accept: None,
        sandbox: None,
    }
}

impl Gateway {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let gateway = Self {
            inner: Arc::default(),
            news: watch::Sender::new(0),
            base: format!("http://{}", listener.local_addr().unwrap()),
            dir: Arc::new(dir),
        };
        let router = Router::new()
            .route("/task/v1/work", post(work))
            .route("/task/v1/renew", post(renew))
            .route("/task/v1/release", post(release))
            .route("/task/v1/assignment", get(assigned))
            .route("/task/v1/journal", post(append))
            .route("/task/v1/journal/{from}", get(so_far))
            .route("/task/v1/result", post(append))
            .route("/v1/chat/completions", post(chat))
            .with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        gateway
    }

    /// Changes something, and tells who waits.
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let done = act(&mut self.inner.lock().unwrap());
        self.news.send_modify(|count| *count += 1);
        done
    }

    fn offer(&self, uid: &str) {
        let bytes = serde_json::to_vec(&assignment(uid)).unwrap();
        self.offer_bytes(uid, bytes);
    }

    fn offer_bytes(&self, uid: &str, assigned: Vec<u8>) {
        self.offer_on(uid, assigned, Vec::new());
    }

    /// Offers an attempt of which these records are there already.
    fn offer_on(&self, uid: &str, assigned: Vec<u8>, records: Vec<Body>) {
        let capability = format!("oarmaster-claim-{uid}");
        let work = Work {
            capability: Capability(capability.clone()),
            task_uid: uid.to_owned(),
            attempt: 1,
            assignment: digest(&assigned),
            claim: Claim {
                session: format!("session-{uid}"),
                next: 2 + records.len() as u64,
                next_call: 0,
                context_tokens: None,
            },
        };
        self.with(|inner| {
            let held = Held {
                assigned,
                records,
                released: None,
            };
            inner.held.insert(capability, held);
            inner.queue.push_back(work);
        });
    }

    /// Waits until this holds.
    async fn until<T>(&self, what: &str, holds: impl Fn(&Inner) -> Option<T>) -> T {
        let mut news = self.news.subscribe();
        let found = async {
            loop {
                news.mark_unchanged();
                if let Some(found) = holds(&self.inner.lock().unwrap()) {
                    return found;
                }
                news.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(SOON, found).await;
        found.unwrap_or_else(|_| panic!("{what} within a minute"))
    }

    async fn outcome(&self, uid: &str) -> Outcome {
        let what = format!("a result of {uid}");
        self.until(&what, |inner| outcome(inner, uid)).await
    }

    fn pilots(&self, slots: u16) -> Pilots {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oarmaster-runner"));
        command
            .args(["pilots", "--gateway", &self.base])
            .arg(format!("--slots={slots}"))
            .arg("--token-file")
            .arg(self.dir.path().join("token"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Pilots(command.spawn().unwrap())
    }
}

struct Pilots(Child);

impl Pilots {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    async fn code(mut self) -> Option<i32> {
        let ended = tokio::task::spawn_blocking(move || self.0.wait().unwrap().code());
        tokio::time::timeout(SOON, ended).await.unwrap().unwrap()
    }
}

impl Drop for Pilots {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

fn outcome(inner: &Inner, uid: &str) -> Option<Outcome> {
    let held = &inner.held[&format!("oarmaster-claim-{uid}")];
    held.records.iter().find_map(|body| match body {
        Body::Result { outcome } => Some(outcome.clone()),
        _ => None,
    })
}

fn released(inner: &Inner, uid: &str) -> Option<Release> {
    inner.held[&format!("oarmaster-claim-{uid}")]
        .released
        .clone()
}

fn refused(status: u16, code: &str) -> Response {
    let body = json!({"error": {"message": "no", "type": "x", "code": code}});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

fn bearer(headers: &HeaderMap) -> String {
    let text = headers["authorization"].to_str().unwrap();
    text.strip_prefix("Bearer ").unwrap().to_owned()
}

fn uid(headers: &HeaderMap) -> String {
    let capability = bearer(headers);
    let uid = capability.strip_prefix("oarmaster-claim-");
    uid.unwrap().to_owned()
}

/// Does it for whoever holds a claim, if its session is named.
fn held(
    gateway: &Gateway,
    headers: &HeaderMap,
    act: impl FnOnce(&mut Held) -> Response,
) -> Response {
    let capability = bearer(headers);
    gateway.with(|inner| {
        if inner.over.contains(&capability) {
            return refused(401, "unauthenticated");
        }
        let Some(held) = inner.held.get_mut(&capability) else {
            return refused(401, "unauthenticated");
        };
        if let Some(session) = headers.get(SESSION_HEADER) {
            let uid = capability.strip_prefix("oarmaster-claim-").unwrap();
            assert_eq!(session.to_str().unwrap(), format!("session-{uid}"));
        }
        act(held)
    })
}

/// Opened, claimed, and what was written since.
async fn so_far(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Path(from): Path<usize>,
) -> Response {
    let uid = uid(&headers);
    let goes_on = |inner: &Inner| !inner.held[&bearer(&headers)].records.is_empty();
    let mut news = gateway.news.subscribe();
    gateway.with(|inner| {
        if goes_on(inner) {
            inner.reading.insert(uid.clone());
        }
    });
    loop {
        news.mark_unchanged();
        let closed = |inner: &Inner| inner.closed && goes_on(inner);
        if !closed(&gateway.inner.lock().unwrap()) {
            break;
        }
        news.changed().await.unwrap();
    }
    held(&gateway, &headers, |held| {
        let begin = [
            Body::Opened {
                assignment: digest(&held.assigned),
            },
            Body::Claimed {
                session: "x".into(),
                pod: "x".into(),
            },
        ];
        let all = begin.iter().chain(&held.records).enumerate().skip(from);
        let records = all
            .map(|(seq, body)| Record {
                seq: seq as u64,
                at_ms: 0,
                attempt: 1,
                body: body.clone(),
            })
            .collect();
        Json(Journal { records }).into_response()
    })
}

async fn work(State(gateway): State<Gateway>, headers: HeaderMap) -> Response {
    assert_eq!(bearer(&headers), TOKEN);
    gateway.with(|inner| inner.asked_for_work += 1);
    let mut news = gateway.news.subscribe();
    loop {
        news.mark_unchanged();
        let next = gateway.inner.lock().unwrap().queue.pop_front();
        if let Some(work) = next {
            return Json(work).into_response();
        }
        news.changed().await.unwrap();
    }
}

async fn renew(State(gateway): State<Gateway>, headers: HeaderMap) -> Response {
    held(&gateway, &headers, |_| {
        StatusCode::NO_CONTENT.into_response()
    })
}

async fn release(State(gateway): State<Gateway>, headers: HeaderMap, body: Bytes) -> Response {
    held(&gateway, &headers, |held| {
        held.released = Some(serde_json::from_slice(&body).unwrap());
        StatusCode::NO_CONTENT.into_response()
    })
}

async fn assigned(State(gateway): State<Gateway>, headers: HeaderMap) -> Response {
    gateway.with(|inner| inner.assigned.insert(uid(&headers)));
    held(&gateway, &headers, |held| {
        held.assigned.clone().into_response()
    })
}

async fn append(State(gateway): State<Gateway>, headers: HeaderMap, body: Bytes) -> Response {
    held(&gateway, &headers, |held| {
        let Append { records, .. } = serde_json::from_slice(&body).unwrap();
        held.records.extend(records);
        let next = 2 + held.records.len() as u64;
        Json(Appended { next }).into_response()
    })
}

async fn chat(State(gateway): State<Gateway>, headers: HeaderMap) -> Response {
    let capability = bearer(&headers);
    let uid = capability
        .strip_prefix("oarmaster-claim-")
        .unwrap()
        .to_owned();
    let over = gateway.with(|inner| {
        inner.model_calls.push(uid.clone());
        inner.over.contains(&capability)
    });
    if over {
        return refused(401, "unauthenticated");
    }
    let mut news = gateway.news.subscribe();
    while gateway.inner.lock().unwrap().silent.contains(&uid) {
        news.changed().await.unwrap();
    }
    let message = json!({"role": "assistant", "content": format!("plan of {uid}")});
    let answer = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    Json(answer).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_run_beside_each_other_and_a_slow_one_keeps_nobody_waiting() {
    let gateway = Gateway::start().await;
    gateway.with(|inner| inner.silent.insert("slow".into()));
    for uid in ["slow", "a", "b", "c"] {
        gateway.offer(uid);
    }
    let _pilots = gateway.pilots(2);
    for uid in ["a", "b", "c"] {
        let outcome = gateway.outcome(uid).await;
        assert_eq!(
            outcome.output,
            Some(json!({"text": format!("plan of {uid}")}))
        );
    }
    assert!(outcome(&gateway.inner.lock().unwrap(), "slow").is_none());
    gateway.with(|inner| inner.silent.clear());
    gateway.outcome("slow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_attempts_are_taken_than_there_are_slots() {
    let gateway = Gateway::start().await;
    gateway.with(|inner| inner.silent.extend(["a", "b"].map(str::to_owned)));
    for uid in ["a", "b", "c"] {
        gateway.offer(uid);
    }
    let _pilots = gateway.pilots(2);
    gateway
        .until("two calls", |inner| {
            (inner.model_calls.len() == 2).then_some(())
        })
        .await;
    {
        let inner = gateway.inner.lock().unwrap();
        assert_eq!((inner.asked_for_work, inner.queue.len()), (2, 1));
    }
    gateway.with(|inner| inner.silent.remove("a"));
    gateway.outcome("a").await;
    gateway.outcome("c").await;
    let inner = gateway.inner.lock().unwrap();
    assert!(outcome(&inner, "b").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_hands_its_attempts_back_and_takes_no_more() {
    let gateway = Gateway::start().await;
    gateway.with(|inner| inner.silent.extend(["a", "b"].map(str::to_owned)));
    gateway.offer("a");
    gateway.offer("b");
    let pilots = gateway.pilots(8);
    gateway
        .until("two calls", |inner| {
            (inner.model_calls.len() == 2).then_some(())
        })
        .await;
    pilots.signal(Signal::SIGTERM);
    assert_eq!(pilots.code().await, Some(0));
    let inner = gateway.inner.lock().unwrap();
    for uid in ["a", "b"] {
        let release = released(&inner, uid).unwrap();
        assert_eq!(release.session, format!("session-{uid}"));
        assert_eq!(release.failed, None);
        assert!(outcome(&inner, uid).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_claim_is_over_is_left_and_its_slot_is_anothers() {
    let gateway = Gateway::start().await;
    gateway.with(|inner| inner.over.insert("oarmaster-claim-lost".into()));
    gateway.offer("lost");
    gateway.offer("next");
    let _pilots = gateway.pilots(1);
    gateway.outcome("next").await;
    let inner = gateway.inner.lock().unwrap();
    let lost = &inner.held["oarmaster-claim-lost"];
    assert!(lost.records.is_empty() && !inner.model_calls.contains(&"lost".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_said_to_have_failed_and_the_others_go_on() {
    let gateway = Gateway::start().await;
    gateway.offer_bytes("broken", b"{}".to_vec());
    let mut large = assignment("large");
    if let Target::Agent(agent) = &mut large.target {
        agent.prompt = "x".repeat(3 << 20);
    }
    gateway.offer_bytes("large", serde_json::to_vec(&large).unwrap());
    gateway.offer("next");
    let _pilots = gateway.pilots(1);
    gateway.outcome("next").await;
    let failure = gateway.outcome("large").await.failure.unwrap();
    assert_eq!(failure.class.as_str(), "LimitReached");
    assert!(failure.message.contains("sharedPilots"), "{failure:?}");
    let release = released(&gateway.inner.lock().unwrap(), "broken").unwrap();
    assert!(
        release
            .failed
            .unwrap()
            .contains("failed to read the assignment")
    );
}

fn said(text: &str) -> [Body; 2] {
    [
        Body::Open {
            call: 0,
            hop: 0,
            provider: "team/p".into(),
            model: "m".into(),
            reason: String::new(),
            digest: "d".into(),
            reserved_pico: 0,
        },
        Body::Answer {
            call: 0,
            hop: 0,
            model: "m".into(),
            message: json!({"role": "assistant", "content": text}),
            finish_reason: "stop".into(),
            replaced: 0,
            usage: CallUsage::default(),
        },
    ]
}

/// Each may be as large as all that the process is meant to hold. Who begins does not wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn journals_are_read_one_after_the_other() {
    let gateway = Gateway::start().await;
    gateway.with(|inner| inner.closed = true);
    let names = ["a", "b", "c", "d"];
    for uid in names {
        let assigned = serde_json::to_vec(&assignment(uid)).unwrap();
        gateway.offer_on(uid, assigned, said(&format!("known of {uid}")).into());
    }
    let _pilots = gateway.pilots(8);
    let all = |inner: &Inner| (inner.assigned.len() == names.len()).then_some(());
    gateway.until("all assignments", all).await;
    gateway.offer("fresh");
    gateway.outcome("fresh").await;
    let reading = |inner: &Inner| (!inner.reading.is_empty()).then_some(inner.reading.len());
    assert_eq!(gateway.until("a journal", reading).await, 1);
    gateway.with(|inner| inner.closed = false);
    for uid in names {
        let output = gateway.outcome(uid).await.output;
        assert_eq!(output, Some(json!({"text": format!("known of {uid}")})));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_too_large_for_many_is_not_gone_on_with() {
    let gateway = Gateway::start().await;
    let part = Body::Observation {
        about: About::Check,
        text: "x".repeat(1 << 20),
    };
    for (uid, parts) in [("large", 5), ("small", 1)] {
        let mut records = vec![part.clone(); parts];
        records.extend(said("done"));
        let assigned = serde_json::to_vec(&assignment(uid)).unwrap();
        gateway.offer_on(uid, assigned, records);
    }
    let _pilots = gateway.pilots(1);
    let failure = gateway.outcome("large").await.failure.unwrap();
    assert_eq!(failure.class.as_str(), "LimitReached");
    assert!(failure.message.contains("sharedPilots"), "{failure:?}");
    let output = gateway.outcome("small").await.output;
    assert_eq!(output, Some(json!({"text": "done"})));
}
