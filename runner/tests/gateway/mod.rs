//! A gateway for tests: it keeps the task API strictly (session, sequence numbers, call numbers), answers model calls from a script,
//! and fails where it is told to.
#![allow(dead_code)]

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use oarmaster_protocol::assignment::{
    AgentTarget, Assignment, Sandbox, Target, TaskRef, Workspace,
};
use oarmaster_protocol::digest;
use oarmaster_protocol::journal::{Artifact, Blob, Body, CallUsage, Record};
use oarmaster_protocol::request::{Answer, RequestState};
use oarmaster_protocol::task::{
    ARCHIVE_TYPE, Append, Appended, CALL_HEADER, Claim, ClaimRequest, EGRESS_PROTOCOL, Journal,
    NEXT_HEADER, SESSION_HEADER,
};
use oarmaster_protocol::tool::{OUTCOME_UNKNOWN, Offer, ToolAnswer, ToolCall};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const TOKEN: &str = "token-of-the-pod";
const FIRST_CALL: u64 = 7;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 503 without a word; nothing was done.
    DropBefore,
    /// Done and durable, but the answer is lost.
    DropAfter,
    /// 503 of something in between.
    Unavailable,
    /// 500 with our code.
    Defect,
    /// 401 with our code.
    Unauthenticated,
}

#[derive(Default)]
struct Inner {
    assignment: Option<Assignment>,
    served: Vec<u8>,
    nonce: Option<String>,
    /// How many claims another one has replaced.
    replaced: u32,
    context_tokens: Option<u64>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// The parts of the workspace that the Task begins with.
    handed: Vec<Blob>,
    /// Model calls are never answered from this one on.
    silent_from: Option<usize>,
    records: Vec<Body>,
    script: Vec<Value>,
    requests: Vec<Value>,
    answers: BTreeMap<u64, (Bytes, Value)>,
    call_numbers: Vec<u64>,
    artifacts: BTreeMap<String, Vec<u8>>,
    fault: Option<Fault>,
    requests_seen: u32,
    refuse: Option<(String, u16, u32)>,
    fence_after: Option<usize>,
    failed_handshakes: u32,
    answer: Option<Answer>,
    looks: u32,
    offer: Offer,
    /// Tool calls that were made, in their order, and their answers by number.
    used: Vec<(String, ToolCall)>,
    tool_answers: BTreeMap<u32, ToolAnswer>,
    /// Answers of tool calls are forgotten at once, as by a gateway that was started again.
    forgets: bool,
    /// What the Task says to others and is told, and which of them it is.
    mail: Option<(usize, Mail)>,
    pilot_output: String,
    egress: Egress,
}

/// What the Tasks of a tree say to one another: who, by which call, and what.
#[derive(Clone, Default)]
pub struct Mail(Arc<watch::Sender<Vec<(usize, u32, String)>>>);

impl Mail {
    /// What was said, in its order.
    pub fn said(&self) -> Vec<String> {
        let said = self.0.borrow();
        said.iter().map(|(_, _, text)| text.clone()).collect()
    }

    /// Messages of others behind this one.
    fn unread(said: &[(usize, u32, String)], who: usize, heard: u64) -> Vec<(u64, String)> {
        let numbered = (1..).zip(said);
        let new = numbered.filter(|(number, (from, ..))| *from != who && *number > heard);
        new.map(|(number, (_, _, text))| (number, text.clone()))
            .collect()
    }

    /// Until there is one.
    async fn wait(&self, who: usize, heard: u64) {
        let mut said = self.0.subscribe();
        let _ = said
            .wait_for(|said| !Self::unread(said, who, heard).is_empty())
            .await;
    }

    /// Sends each message once, and reads without changing anything.
    fn serve(&self, who: usize, name: &str, call: &ToolCall) -> ToolAnswer {
        let mut answer = ToolAnswer {
            ok: true,
            text: "sent".to_owned(),
            heard: None,
        };
        if name == "SendMessage" {
            let text = call.arguments["text"].as_str().unwrap().to_owned();
            self.0.send_if_modified(|said| {
                let known = said
                    .iter()
                    .any(|(from, by, _)| (*from, *by) == (who, call.number));
                if !known {
                    said.push((who, call.number, text));
                }
                !known
            });
            return answer;
        }
        let new = Self::unread(&self.0.borrow(), who, call.heard);
        answer.heard = new.last().map(|(number, _)| *number);
        let texts: Vec<_> = new.into_iter().map(|(_, text)| text).collect();
        answer.text = texts.join("; ");
        answer
    }
}

/// What the gateway does with a program's connection.
#[derive(Clone, Default)]
pub enum Egress {
    /// Refuses it.
    #[default]
    Refuse,
    /// Answers what is asked with this body, beside what was asked.
    Answer(String),
    /// Connects it to a port of loopback, where it asks for port 443 of this name.
    Tunnel {
        /// The name.
        name: &'static str,
        /// The port.
        port: u16,
    },
}

type Shared = Arc<Mutex<Inner>>;

pub struct Gateway {
    inner: Shared,
    base: String,
    /// PEM of the CA, for a gateway that speaks TLS.
    ca: Option<String>,
    dir: tempfile::TempDir,
}

/// Accepts TLS connections for axum; a handshake that fails is counted.
struct TlsListener {
    listener: tokio::net::TcpListener,
    acceptor: TlsAcceptor,
    failed: Shared,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            match self.acceptor.accept(stream).await {
                Ok(stream) => return (stream, address),
                Err(_) => lock(&self.failed).failed_handshakes += 1,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A certificate for localhost and the PEM that trusts it.
fn certificate() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

fn lock(inner: &Shared) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap()
}

/// An agent with every tool.
pub fn assignment() -> Assignment {
    Assignment {
        task: TaskRef {
            namespace: "team".into(),
            name: "fix".into(),
            uid: "uid-1".into(),
        },
        target: Target::Agent(Box::new(AgentTarget {
            pinned: "agent@sha256:1".into(),
            instructions: "Be careful.".into(),
            prompt: "Repair it.".into(),
            model: "team/default".into(),
            temperature: Some("0.2".into()),
            max_output_tokens: 1000,
            no_cache: false,
            tools: [
                "RunCode",
                "Shell",
                "ReadFile",
                "WriteFile",
                "EditFile",
                "ListFiles",
                "SearchFiles",
            ]
            .map(str::to_owned)
            .to_vec(),
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
        sandbox: Some(super::sandbox::Options::default().bounds()),
    }
}

/// An answer with one tool call.
pub fn call(tool: &str, arguments: Value) -> Value {
    let function = json!({"name": tool, "arguments": arguments.to_string()});
    json!({"choices": [{
        "message": {"role": "assistant", "content": null, "tool_calls": [{"id": format!("id-{tool}"), "type": "function", "function": function}]},
        "finish_reason": "tool_calls",
    }]})
}

/// An answer with text.
pub fn final_text(text: &str) -> Value {
    json!({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
}

impl Gateway {
    pub fn start(assignment: Assignment, script: Vec<Value>) -> Self {
        Self::start_with(assignment, script, None)
    }

    /// Speaks TLS; the pilot is given the CA, or another one.
    pub fn start_tls(assignment: Assignment, script: Vec<Value>, trusted: bool) -> Self {
        let (acceptor, ca) = certificate();
        let mut gateway = Self::start_with(assignment, script, Some(acceptor));
        gateway.base = gateway
            .base
            .replace("http://127.0.0.1", "https://localhost");
        gateway.ca = Some(if trusted { ca } else { certificate().1 });
        gateway
    }

    fn start_with(assignment: Assignment, script: Vec<Value>, tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Shared::default();
        lock(&inner).assignment = Some(assignment);
        lock(&inner).script = script;
        let (state, failed) = (inner.clone(), inner.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let router = Router::new()
                    .route("/task/v1/claim", post(claim))
                    .route("/task/v1/assignment", get(served))
                    .route("/task/v1/journal", post(journal))
                    .route("/task/v1/journal/{from}", get(so_far))
                    .route("/task/v1/handed", get(handed))
                    .route("/task/v1/blobs", put(keep))
                    .route("/task/v1/blobs/{digest}", get(kept))
                    .route("/task/v1/result", post(result))
                    .route("/task/v1/artifacts/{name}", put(artifact))
                    .route("/task/v1/requests/{id}", get(request))
                    .route("/task/v1/tools", get(tools))
                    .route("/task/v1/tools/{name}", post(use_tool))
                    .route("/task/v1/egress", get(egress))
                    .route("/v1/chat/completions", post(chat))
                    .layer(DefaultBodyLimit::max(64 << 20))
                    .with_state(state);
                match tls {
                    None => axum::serve(listener, router).await.unwrap(),
                    Some(acceptor) => axum::serve(
                        TlsListener {
                            listener,
                            acceptor,
                            failed,
                        },
                        router,
                    )
                    .await
                    .unwrap(),
                }
            });
        });
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
        Self {
            inner,
            base: format!("http://{address}"),
            ca: None,
            dir,
        }
    }

    pub fn set_bounds(&self, sandbox: Sandbox) {
        lock(&self.inner).assignment.as_mut().unwrap().sandbox = Some(sandbox);
    }

    /// Serves programs of the sandbox.
    pub fn serve_egress(&self, egress: Egress) {
        lock(&self.inner).egress = egress;
    }

    /// Answers every request so, when it is looked for the second time.
    pub fn answer_requests(&self, answer: Answer) {
        lock(&self.inner).answer = Some(answer);
    }

    /// Offers these tools of MCP servers.
    pub fn offer_tools(&self, offer: Offer) {
        lock(&self.inner).offer = offer;
    }

    /// Forgets how tool calls ended.
    pub fn forget_tool_calls(&self) {
        lock(&self.inner).forgets = true;
    }

    /// Its Task talks to others of its tree, as this one of them.
    pub fn join(&self, mail: &Mail, who: usize) {
        lock(&self.inner).mail = Some((who, mail.clone()));
    }

    /// The tool calls that were made.
    pub fn tools_used(&self) -> Vec<(String, ToolCall)> {
        lock(&self.inner).used.clone()
    }

    pub fn fail_every_second_request_with(&self, fault: Fault) {
        lock(&self.inner).fault = Some(fault);
    }

    pub fn refuse_model_calls(&self, code: &str, status: u16, times: u32) {
        lock(&self.inner).refuse = Some((code.into(), status, times));
    }

    /// Fences once there are that many records.
    pub fn fence_after(&self, records: usize) {
        lock(&self.inner).fence_after = Some(records);
    }

    /// The next pilot may claim; whoever had the attempt is fenced.
    pub fn take_over(&self) {
        let mut inner = lock(&self.inner);
        inner.nonce = None;
        inner.replaced += 1;
    }

    pub fn set_context(&self, tokens: u64) {
        lock(&self.inner).context_tokens = Some(tokens);
    }

    /// Keeps the pilot waiting for the answer to this call, counted from 0. `None` answers again.
    pub fn be_silent_from(&self, call: Option<usize>) {
        lock(&self.inner).silent_from = call;
    }

    /// The Task begins with a workspace of these parts, all of which it has from then on.
    pub fn hand(&self, parts: &[(Blob, Vec<u8>)]) {
        let mut inner = lock(&self.inner);
        inner.handed = parts.iter().map(|(blob, _)| blob.clone()).collect();
        let bytes = parts.iter().cloned();
        let bytes = bytes.map(|(blob, bytes)| (blob.digest, bytes));
        inner.blobs.extend(bytes);
    }

    /// Bytes that can be read by their digest.
    pub fn have(&self, bytes: &[u8]) -> Blob {
        let blob = Blob {
            digest: digest(bytes),
            size: bytes.len() as u64,
        };
        let blobs = &mut lock(&self.inner).blobs;
        blobs.insert(blob.digest.clone(), bytes.to_vec());
        blob
    }

    /// The bytes of these parts.
    pub fn parts(&self, blobs: &[Blob]) -> Vec<(Blob, Vec<u8>)> {
        let inner = lock(&self.inner);
        let bytes = |blob: &Blob| inner.blobs[&blob.digest].clone();
        blobs
            .iter()
            .map(|blob| (blob.clone(), bytes(blob)))
            .collect()
    }

    pub fn blobs(&self) -> usize {
        lock(&self.inner).blobs.len()
    }

    pub fn serve_another_assignment(&self) {
        lock(&self.inner).served = b"{}".to_vec();
    }

    pub fn run_pilot(&self, socket: Option<&FilePath>) -> Option<i32> {
        self.wait(self.start_pilot(socket))
    }

    pub fn start_pilot(&self, socket: Option<&FilePath>) -> Child {
        let bytes = {
            let mut inner = lock(&self.inner);
            let bytes = serde_json::to_vec(inner.assignment.as_ref().unwrap()).unwrap();
            if inner.served.is_empty() {
                inner.served = bytes.clone();
            }
            bytes
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_oarmaster-runner"));
        command
            .args(["pilot", "--gateway", &self.base])
            .args([
                "--task-uid",
                "uid-1",
                "--attempt",
                "1",
                "--assignment",
                &digest(&bytes),
            ])
            .arg("--token-file")
            .arg(self.dir.path().join("token"))
            .env_remove("OARMASTER_CA")
            .stdout(Stdio::piped());
        if let Some(ca) = &self.ca {
            command.env("OARMASTER_CA", ca);
        }
        if let Some(socket) = socket {
            command.arg("--exec-socket").arg(socket);
        }
        command.spawn().unwrap()
    }

    pub fn wait(&self, mut pilot: Child) -> Option<i32> {
        let mut output = String::new();
        pilot
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut output)
            .unwrap();
        lock(&self.inner).pilot_output = output;
        pilot.wait().unwrap().code()
    }

    pub fn pilot_output(&self) -> String {
        lock(&self.inner).pilot_output.clone()
    }

    pub fn failed_handshakes(&self) -> u32 {
        lock(&self.inner).failed_handshakes
    }

    pub fn requests_seen(&self) -> u32 {
        lock(&self.inner).requests_seen
    }

    pub fn records(&self) -> Vec<Body> {
        lock(&self.inner).records.clone()
    }

    pub fn request(&self, index: usize) -> Value {
        lock(&self.inner).requests[index].clone()
    }

    pub fn model_calls(&self) -> usize {
        lock(&self.inner).requests.len()
    }

    pub fn call_numbers(&self) -> Vec<u64> {
        lock(&self.inner).call_numbers.clone()
    }

    pub fn artifact(&self, name: &str) -> Vec<u8> {
        lock(&self.inner).artifacts[name].clone()
    }
}

fn refused(status: u16, code: &str, next: Option<u64>) -> Response {
    let body = json!({"error": {"message": format!("text of {code}"), "type": "x", "code": code}});
    let mut response = (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response();
    if let Some(next) = next {
        response.headers_mut().insert(NEXT_HEADER, next.into());
    }
    response
}

fn session(inner: &Inner) -> String {
    format!("session-{}", inner.replaced)
}

/// Checks who asks, then does it, with the fault that is due.
fn guarded(
    inner: &Shared,
    headers: &HeaderMap,
    with_session: bool,
    act: impl FnOnce(&mut Inner) -> Response,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut inner = lock(inner);
    if header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return refused(401, "unauthenticated", None);
    }
    if with_session && header(SESSION_HEADER) != Some(&session(&inner)) {
        return refused(409, "fenced", None);
    }
    inner.requests_seen += 1;
    let fault = inner
        .fault
        .filter(|_| inner.requests_seen.is_multiple_of(2));
    match fault {
        Some(Fault::DropBefore | Fault::Unavailable) => {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Some(Fault::Defect) => return refused(500, "internal", None),
        Some(Fault::Unauthenticated) => return refused(401, "unauthenticated", None),
        Some(Fault::DropAfter) | None => {}
    }
    if inner
        .fence_after
        .is_some_and(|count| inner.records.len() > count)
    {
        return refused(409, "fenced", None);
    }
    let response = act(&mut inner);
    if fault == Some(Fault::DropAfter) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    response
}

async fn claim(State(inner): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    guarded(&inner, &headers, false, |inner| {
        let request: ClaimRequest = serde_json::from_slice(&body).unwrap();
        let wanted = digest(&serde_json::to_vec(inner.assignment.as_ref().unwrap()).unwrap());
        let same = inner.nonce.get_or_insert_with(|| request.nonce.clone()) == &request.nonce;
        if request.assignment != wanted || !same {
            return refused(409, "fenced", None);
        }
        axum::Json(Claim {
            session: session(inner),
            next: inner.records.len() as u64,
            next_call: FIRST_CALL + inner.call_numbers.len() as u64,
            context_tokens: inner.context_tokens,
        })
        .into_response()
    })
}

async fn served(State(inner): State<Shared>, headers: HeaderMap) -> Response {
    guarded(&inner, &headers, true, |inner| {
        inner.served.clone().into_response()
    })
}

fn append(inner: &mut Inner, body: &[u8]) -> Response {
    let Append { next, records } = serde_json::from_slice(body).unwrap();
    let from = usize::try_from(next).unwrap();
    let known = inner.records.get(from..).unwrap_or_default();
    let is_repeated = !known.is_empty() && known == records;
    if !is_repeated {
        if from != inner.records.len() {
            return refused(409, "conflict", None);
        }
        assert!(!records.is_empty(), "an append without records");
        assert!(
            !records
                .iter()
                .any(|body| matches!(body, Body::Answer { .. } | Body::Open { .. }))
        );
        inner.records.extend(records);
    }
    axum::Json(Appended {
        next: inner.records.len() as u64,
    })
    .into_response()
}

async fn journal(State(inner): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    guarded(&inner, &headers, true, |inner| append(inner, &body))
}

async fn so_far(
    State(inner): State<Shared>,
    headers: HeaderMap,
    Path(from): Path<usize>,
) -> Response {
    guarded(&inner, &headers, true, |inner| {
        // Short pages, so that there are several.
        let page = inner.records.iter().enumerate().skip(from).take(3);
        let records = page
            .map(|(seq, body)| Record {
                seq: seq as u64,
                at_ms: 0,
                attempt: 1,
                body: body.clone(),
            })
            .collect();
        axum::Json(Journal { records }).into_response()
    })
}

async fn keep(State(inner): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    guarded(&inner, &headers, true, |inner| {
        let blob = Blob {
            digest: digest(&body),
            size: body.len() as u64,
        };
        inner.blobs.insert(blob.digest.clone(), body.to_vec());
        axum::Json(blob).into_response()
    })
}

async fn kept(
    State(inner): State<Shared>,
    headers: HeaderMap,
    Path(digest): Path<String>,
) -> Response {
    guarded(&inner, &headers, true, |inner| {
        match inner.blobs.get(&digest) {
            Some(bytes) => bytes.clone().into_response(),
            None => refused(404, "not_found", None),
        }
    })
}

async fn result(State(inner): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    guarded(&inner, &headers, true, |inner| append(inner, &body))
}

async fn artifact(
    State(inner): State<Shared>,
    headers: HeaderMap,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    guarded(&inner, &headers, true, |inner| {
        inner.artifacts.insert(name.clone(), body.to_vec());
        axum::Json(Artifact {
            name,
            size: body.len() as u64,
            digest: digest(&body),
            archive: headers
                .get("content-type")
                .is_some_and(|kind| kind == ARCHIVE_TYPE),
        })
        .into_response()
    })
}

async fn handed(State(inner): State<Shared>, headers: HeaderMap) -> Response {
    guarded(&inner, &headers, true, |inner| {
        axum::Json(inner.handed.clone()).into_response()
    })
}

async fn request(
    State(inner): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    guarded(&inner, &headers, true, |inner| {
        let named = |body: &Body| matches!(body, Body::Asked { id: asked, .. } if *asked == id);
        if !inner.records.iter().any(named) {
            return refused(404, "not_found", None);
        }
        inner.looks += 1;
        let answer = inner.answer.clone().filter(|_| inner.looks > 1);
        axum::Json(RequestState { answer }).into_response()
    })
}

async fn tools(State(inner): State<Shared>, headers: HeaderMap) -> Response {
    guarded(&inner, &headers, true, |inner| {
        axum::Json(inner.offer.clone()).into_response()
    })
}

/// Makes a call once, and answers it again.
async fn use_tool(
    State(inner): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call: ToolCall = serde_json::from_slice(&body).unwrap();
    let mail = lock(&inner).mail.clone();
    if let Some((who, mail)) = mail.as_ref().filter(|_| name == "ReceiveMessages") {
        mail.wait(*who, call.heard).await;
    }
    guarded(&inner, &headers, true, |inner| {
        let known = inner.tool_answers.get(&call.number).cloned();
        let answer = match (known, mail) {
            (Some(answer), _) => answer,
            (None, _) if call.again => ToolAnswer::failed(OUTCOME_UNKNOWN),
            (None, Some((who, mail))) => mail.serve(who, &name, &call),
            (None, None) => {
                let answer = ToolAnswer {
                    ok: true,
                    text: format!("{name} was call {}", call.number),
                    heard: None,
                };
                if !inner.forgets {
                    inner.tool_answers.insert(call.number, answer.clone());
                }
                inner.used.push((name, call));
                answer
            }
        };
        axum::Json(answer).into_response()
    })
}

async fn chat(State(inner): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let number = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
    };
    let (call, next) = (number(CALL_HEADER).unwrap(), number(NEXT_HEADER).unwrap());
    let response = chat_once(&inner, &headers, call, next, &body);
    // It was answered, and the pilot does not hear it.
    let silent = || {
        let inner = lock(&inner);
        let from = inner.silent_from;
        from.is_some_and(|from| call >= FIRST_CALL + from as u64)
    };
    while silent() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    response
}

fn chat_once(inner: &Shared, headers: &HeaderMap, call: u64, next: u64, body: &Bytes) -> Response {
    guarded(inner, headers, true, |inner| {
        if let Some((code, status, times)) = inner.refuse.take() {
            inner.refuse = (times > 1).then(|| (code.clone(), status, times - 1));
            if code == "window_exceeded" {
                return refused(status, &code, Some(inner.records.len() as u64)); // nothing was reserved
            }
            inner.call_numbers.push(call);
            let usage = CallUsage::default();
            let message = String::new();
            // The gateway has written something down, and says where the journal goes on.
            inner.records.push(Body::CallFailed {
                call,
                hop: 0,
                class: code.clone(),
                message,
                usage,
            });
            return refused(status, &code, Some(inner.records.len() as u64));
        }
        if !inner.answers.contains_key(&call) {
            if next != inner.records.len() as u64
                || call != FIRST_CALL + inner.call_numbers.len() as u64
            {
                return refused(409, "conflict", None);
            }
            inner.call_numbers.push(call);
            inner.requests.push(serde_json::from_slice(body).unwrap());
            inner.records.push(Body::Open {
                call,
                hop: 0,
                provider: "team/provider".into(),
                model: "m".into(),
                reason: String::new(),
                digest: digest(body),
                reserved_pico: 0,
            });
            let answer = inner.script.remove(0);
            inner.answers.insert(call, (body.clone(), answer.clone()));
            inner.records.push(Body::Answer {
                call,
                hop: 0,
                model: "m".into(),
                message: answer["choices"][0]["message"].clone(),
                finish_reason: answer["choices"][0]["finish_reason"]
                    .as_str()
                    .unwrap_or_default()
                    .into(),
                replaced: 0,
                usage: CallUsage::default(),
            });
        }
        let (first, answer) = &inner.answers[&call];
        if first != body {
            return refused(409, "diverged", None);
        }
        let mut response = axum::Json(answer.clone()).into_response();
        response
            .headers_mut()
            .insert(NEXT_HEADER, (inner.records.len() as u64).into());
        response
    })
}

/// The upgrade of one program's connection: its first lines are read, and answered.
async fn egress(State(inner): State<Shared>, mut request: axum::extract::Request) -> Response {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    assert_eq!(header("authorization"), Some(&*format!("Bearer {TOKEN}")));
    assert_eq!(header(SESSION_HEADER), Some(&*session(&lock(&inner))));
    assert_eq!(header("upgrade"), Some(EGRESS_PROTOCOL));
    let egress = lock(&inner).egress.clone();
    if let Egress::Refuse = egress {
        let error = json!({"error": {"message": "no egress today", "type": "permission_error", "code": "forbidden"}});
        return (StatusCode::FORBIDDEN, axum::Json(error)).into_response();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut program = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(program.read_u8().await.unwrap());
        }
        let asked = String::from_utf8(asked).unwrap();
        let body = match egress {
            Egress::Refuse => unreachable!(),
            Egress::Answer(body) => body,
            Egress::Tunnel { name, port } => {
                assert!(
                    asked.starts_with(&format!("CONNECT {name}:443 ")),
                    "{asked}"
                );
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port))
                    .await
                    .unwrap();
                program.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                // Either side may break off.
                let _ = tokio::io::copy_bidirectional(&mut program, &mut server).await;
                return;
            }
        };
        let text = format!("{} {body}", asked.lines().next().unwrap());
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        program.write_all(answer.as_bytes()).await.unwrap();
    });
    let headers = [("connection", "upgrade"), ("upgrade", EGRESS_PROTOCOL)];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}
