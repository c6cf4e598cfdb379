//! Tests of the store as a whole, from the inside: they look at the log and compare states.

mod artifacts;
mod attempts;
mod audit;
mod calls;
mod changes;
mod checkpoints;
mod costs;
mod crash;
mod failure;
mod handover;
mod journal;
mod kept;
mod messages;
mod notes;
mod programs;
mod requests;
mod scopes;
mod sdk;
mod shared;
mod tree;

use crate::log::{Place, Repair, replay};
use crate::seal::{Reading, Sealer};
use crate::state::State;
use crate::store::apply_frame;
use crate::{
    Billing, Call, CallState, HopEnd, HopRequest, Keys, Options, ProgramCall, Refusal, Scope,
    SdkCaller, Store, Window,
};
use oarmaster_protocol::admin::{OpenAttempt, RunsIn, TaskBudget};
use oarmaster_protocol::assignment::{
    AgentTarget, Assignment, Program, RunTarget, Target, TaskRef, Workspace,
};
use oarmaster_protocol::journal::{About, Body, CallUsage, Outcome};
use oarmaster_protocol::read::WORKFLOW_LABEL;
use oarmaster_protocol::task::{Append, Claim, ClaimRequest};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

/// What SDK callers may have out that is not on the disk.
pub const REST: u64 = 300;

/// What all of these stores are sealed with.
pub const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub const UID: &str = "1f7c2c5e-0000-4000-8000-000000000001";

pub fn options(dir: &Path) -> Options {
    options_at(dir, &Arc::new(AtomicI64::new(1000)))
}

/// With a clock that a test can set.
pub fn options_at(dir: &Path, ticks: &Arc<AtomicI64>) -> Options {
    let (ticks, steady) = (Arc::clone(ticks), Arc::clone(ticks));
    Options {
        segment_bytes: 4096,
        sdk_rest_pico: REST,
        clock: Arc::new(move || ticks.fetch_add(1, Ordering::SeqCst)),
        steady: Arc::new(move || steady.load(Ordering::SeqCst)),
        keys: Keys::parse(KEY).unwrap(),
        ..Options::new(dir)
    }
}

pub async fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).await.unwrap();
    (dir, store)
}

/// Nothing is sealed: for bounds of bytes, as they stand in the log.
pub async fn plain() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        keys: Keys::default(),
        ..options(dir.path())
    };
    (dir, Store::open(options).await.unwrap())
}

pub fn task(uid: &str) -> TaskRef {
    TaskRef {
        namespace: "team".into(),
        name: "fix".into(),
        uid: uid.into(),
    }
}

pub fn run_assignment(uid: &str, code: &str) -> Assignment {
    Assignment {
        task: task(uid),
        target: Target::Run(RunTarget {
            program: Program::Code {
                language: "python".into(),
                code: code.into(),
            },
            env: Default::default(),
        }),
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

pub fn agent_assignment(uid: &str) -> Assignment {
    Assignment {
        target: Target::Agent(Box::new(AgentTarget {
            pinned: "fixer@sha256:aa".into(),
            instructions: "Fix \"it\".\n\u{7f}\u{85}\u{1F980}".into(),
            prompt: "now".into(),
            model: "team/default".into(),
            temperature: None,
            max_output_tokens: 100,
            no_cache: false,
            tools: vec![],
            mcp: vec![],
            delegates: vec![],
            approvals: vec![],
            pages: vec![],
            output_schema: Some(serde_json::json!({"type": "object", "x": 0.1})),
            max_turns: 3,
            max_tool_calls: 3,
        })),
        ..run_assignment(uid, "")
    }
}

pub fn usd(pico: u64) -> TaskBudget {
    TaskBudget {
        pico_usd: Some(pico),
        tokens: None,
        ..TaskBudget::default()
    }
}

pub fn open_request(uid: &str, budget: TaskBudget) -> OpenAttempt {
    OpenAttempt {
        runs_in: RunsIn::Job("fix-1".into()),
        assignment: Some(agent_assignment(uid)),
        budget,
        requested_by: Some("alice@acme".into()),
        parent: None,
        keeps: false,
        ends: false,
        labels: [("team", "red"), (WORKFLOW_LABEL, "nightly")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}

/// Opens and claims attempt 1.
pub async fn begin(store: &Store, budget: TaskBudget) -> Claim {
    let report = store
        .open_attempt(UID, 1, open_request(UID, budget))
        .await
        .unwrap();
    claim(store, 1, &report.assignment, "n1").await.unwrap()
}

pub async fn claim(
    store: &Store,
    attempt: u32,
    digest: &str,
    nonce: &str,
) -> Result<Claim, Refusal> {
    let request = ClaimRequest {
        assignment: digest.into(),
        nonce: nonce.into(),
    };
    store.claim(UID, attempt, &request, "pod-a").await
}

pub fn note(text: &str) -> Body {
    Body::Observation {
        about: About::Repair,
        text: text.into(),
    }
}

pub fn result() -> Body {
    Body::Result {
        outcome: Outcome {
            failure: None,
            output: Some(serde_json::json!({"text": "done"})),
            ..Outcome::default()
        },
    }
}

pub fn append(next: u64, records: Vec<Body>) -> Append {
    Append { next, records }
}

pub fn hop(pico: u64) -> HopRequest {
    HopRequest {
        provider: "team/scripted".into(),
        model: "m".into(),
        reason: "Priority".into(),
        reserve_pico: pico,
        reserve_input_tokens: 10,
        reserve_output_tokens: 5,
        scopes: vec![],
    }
}

pub fn scope(budget: &str, key: &str, limit_pico: u64) -> Scope {
    Scope {
        budget: budget.into(),
        key: key.into(),
        window: Window::Day,
        limit_pico,
        free_only: false,
    }
}

pub fn hop_in(pico: u64, scopes: &[Scope]) -> HopRequest {
    HopRequest {
        scopes: scopes.to_vec(),
        ..hop(pico)
    }
}

pub fn sdk_caller() -> SdkCaller {
    SdkCaller {
        caller: "system:serviceaccount:team:app".into(),
        namespace: "team".into(),
        pool: "team/default".into(),
    }
}

/// Spent and reserved.
pub fn counted(store: &Store, scope: &Scope) -> (u64, u64) {
    let now = store.now();
    let counter = store.lock().state.counters.get(&scope.counter(now));
    (counter.spent, counter.reserved)
}

pub fn used(pico: u64) -> CallUsage {
    CallUsage {
        input_tokens: 3,
        output_tokens: 2,
        cached_tokens: 1,
        cost_pico: pico,
        estimated: false,
    }
}

pub fn answer(usage: Option<CallUsage>) -> HopEnd {
    HopEnd::Answer {
        model: "m-2026".into(),
        message: serde_json::json!({"role": "assistant", "content": "hi"}),
        finish_reason: "stop".into(),
        replaced: 0,
        usage,
    }
}

pub fn failed(billing: Billing) -> HopEnd {
    HopEnd::Failed {
        class: "Transient".into(),
        message: "503".into(),
        billing,
    }
}

pub async fn new_call(store: &Store, claim: &Claim, next: u64, call: u64) -> Call {
    match store
        .begin_call(UID, 1, &claim.session, next, call, "sha256:d")
        .await
        .unwrap()
    {
        CallState::New(call) => call,
        other => panic!("{other:?}"),
    }
}

/// The gateway runs these on several threads.
#[tokio::test]
async fn futures_are_send() {
    fn send<T: Send>(_: T) {}
    let (_dir, store) = store().await;
    let request = ClaimRequest {
        assignment: String::new(),
        nonce: String::new(),
    };
    send(store.open_attempt(UID, 1, open_request(UID, usd(1))));
    send(store.assignment(UID, 1));
    send(store.claim(UID, 1, &request, ""));
    send(store.append(UID, 1, "", append(0, vec![])));
    send(store.begin_call(UID, 1, "", 0, 0, ""));
    send(store.program_call(UID, 1, "").reserve(hop(1)));
    send(store.put_artifact(UID, 1, "", "", b""));
    send(store.records(UID, 0, 1));
    send(store.open_attempts());
    send(store.changes().next());
}

pub fn sealer(dir: &Path) -> Sealer {
    Sealer::open(dir, Keys::parse(KEY).unwrap()).unwrap()
}

/// The durable frames.
pub fn frames(dir: &Path) -> Vec<(Place, Vec<u8>)> {
    let mut frames = Vec::new();
    let repair = Repair::ReadOnly { before: u64::MAX };
    replay(dir, repair, &mut |_, place, payload| {
        frames.push((place, payload.to_vec()));
        Ok(())
    })
    .unwrap();
    frames
}

/// With the keys of the store in `dir`.
pub fn fold(dir: &Path, frames: &[(Place, Vec<u8>)]) -> State {
    let sealer = sealer(dir);
    let mut reading = Reading::new(&sealer);
    let mut state = State::default();
    for (number, (place, payload)) in (0_u64..).zip(frames) {
        apply_frame(&mut state, number, *place, payload, &mut reading).unwrap();
    }
    state
}
