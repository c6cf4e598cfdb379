//! What leaves the log leaves everything else as it was.

mod erased;
mod histories;
mod leaves;
mod room;
mod taken;
mod whole;

use super::*;
use crate::entry::Audited;
use crate::log::Repair;
use crate::scope::CounterId;
use crate::seal::Reading;
use crate::state::is_kept;
use crate::store::apply_frame;
use crate::tests::{
    answer, append, failed, frames, hop_in, note, open_request, options_at, result, scope,
    sdk_caller, sealer, usd, used,
};
use crate::{
    Billing, CallState, CostQuery, Keys, Limits, NoteOwner, NoteQuery, Options, Retention, Scope,
    SdkTicket, Window,
};
use oarmaster_protocol::admin::OpenAttempt;
use oarmaster_protocol::message::Message;
use oarmaster_protocol::read::{AuditAct, AuditRecord, CostBy, CostLine};
use oarmaster_protocol::task::{ClaimRequest, ErrorCode};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::mpsc;

const DAY: i64 = 24 * 3_600_000;
/// A first of a month.
const BEGIN: i64 = 1_793_491_200_000;

struct World {
    dir: TempDir,
    ticks: Arc<AtomicI64>,
    store: Store,
    /// Session and last call of each Task that goes on.
    tasks: BTreeMap<u8, (String, u64)>,
    over: HashSet<String>,
    /// Hops of SDK callers that run.
    running: Vec<SdkTicket>,
}

fn uid(task: u8) -> String {
    format!("1f7c2c5e-0000-4000-8000-0000000000{task:02}")
}

fn request(task: u8) -> OpenAttempt {
    let mut request = open_request(&uid(task), usd(u64::MAX));
    if let Some(assignment) = &mut request.assignment {
        assignment.task.name = format!("fix-{task}");
    }
    request
}

fn caps() -> Vec<Scope> {
    let cap = |window, key: &str| Scope {
        window,
        ..scope("team", key, u64::MAX)
    };
    vec![
        cap(Window::Total, "all"),
        cap(Window::Month, "namespace/team"),
        cap(Window::Hour, "namespace/team"),
    ]
}

fn options(dir: &Path, ticks: &Arc<AtomicI64>) -> Options {
    Options {
        retention: Retention {
            journals_ms: 3 * DAY,
            artifacts_ms: DAY,
            rows_ms: 4 * DAY,
            totals_ms: 400 * DAY,
        },
        // Nothing is booked for a copy of a log that runs.
        sdk_rest_pico: 0,
        ..options_at(dir, ticks)
    }
}

impl World {
    async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        Self::sealed(limits, options(Path::new(""), &Arc::default()).keys).await
    }

    async fn sealed(limits: Limits, keys: Keys) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ticks = Arc::new(AtomicI64::new(BEGIN));
        let store = Store::open(Options {
            limits,
            keys,
            ..options(dir.path(), &ticks)
        });
        Self {
            store: store.await.unwrap(),
            dir,
            ticks,
            tasks: BTreeMap::new(),
            over: HashSet::new(),
            running: Vec::new(),
        }
    }

    async fn begun(&mut self, pico: u64) {
        let call = self.store.sdk_call(sdk_caller());
        let hop = call.reserve(hop_in(pico, &caps())).await.unwrap();
        self.running.push(hop);
    }

    async fn ended(&mut self) {
        for hop in self.running.drain(..) {
            hop.settle(&answer(Some(used(9)))).await.unwrap();
        }
    }

    async fn begin(&mut self, task: u8) {
        let uid = uid(task);
        if self.tasks.contains_key(&task) || self.over.contains(&uid) {
            return;
        }
        let request = request(task);
        let report = self.store.open_attempt(&uid, 1, request).await.unwrap();
        let request = ClaimRequest {
            assignment: report.assignment,
            nonce: "n".into(),
        };
        let claim = self.store.claim(&uid, 1, &request, "pod").await.unwrap();
        self.tasks.insert(task, (claim.session, 0));
    }

    async fn call(&mut self, task: u8, pico: u64) {
        let Some((session, call)) = self.tasks.get_mut(&task) else {
            return;
        };
        let (uid, store) = (uid(task), &self.store);
        let next = store.next(&uid).await.unwrap();
        let begun = store
            .begin_call(&uid, 1, session, next, *call, "sha256:d")
            .await;
        let CallState::New(running) = begun.unwrap() else {
            panic!("the call was asked before");
        };
        *call += 1;
        let hop = running.reserve(hop_in(pico, &caps())).await.unwrap();
        if pico.is_multiple_of(3) {
            hop.settle(failed(Billing::Unknown)).await.unwrap();
            let hop = running.reserve(hop_in(pico, &caps())).await.unwrap();
            hop.settle(answer(None)).await.unwrap();
        } else {
            hop.settle(answer(Some(used(pico + pico % 2))))
                .await
                .unwrap();
        }
    }

    async fn sdk(&self, pico: u64) {
        let call = self.store.sdk_call(sdk_caller());
        let hop = call.reserve(hop_in(pico, &caps())).await.unwrap();
        match pico % 4 {
            0 => hop.settle(&failed(Billing::Unbilled)).await.unwrap(),
            1 => hop.settle(&answer(None)).await.unwrap(),
            _ => hop.settle(&answer(Some(used(pico)))).await.unwrap(),
        };
    }

    async fn note(&self, task: u8, size: usize) {
        if let Some((session, _)) = self.tasks.get(&task) {
            let uid = uid(task);
            let next = self.store.next(&uid).await.unwrap();
            let record = append(next, vec![note(&"secret".repeat(size))]);
            self.store.append(&uid, 1, session, record).await.unwrap();
        }
    }

    /// To nobody: each Task is a tree of its own.
    async fn send(&self, task: u8, call: u32) {
        let Some((session, _)) = self.tasks.get(&task) else {
            return;
        };
        let message = Message {
            to: None,
            topic: None,
            text: format!("message {call}"),
        };
        let uid = uid(task);
        let sent = self.store.send(&uid, 1, session, call, &message);
        sent.await.unwrap();
    }

    async fn remember(&self, owner: u8, which: u8) {
        let (text, uid, owner) = (text_of(owner, which), uid(0), owner_of(owner));
        self.store.remember(&owner, &uid, &text).await.unwrap();
    }

    async fn forget(&self, owner: u8, which: u8) {
        let all = self.store.notes(&notes_of(Some(owner)), usize::MAX).await;
        for note in all.unwrap() {
            if note.text == text_of(owner, which) {
                let one = NoteQuery {
                    id: Some(note.id),
                    ..notes_of(Some(owner))
                };
                assert_eq!(self.store.forget(&one).await.unwrap(), 1);
            }
        }
    }

    async fn end(&mut self, task: u8) {
        if let Some((session, _)) = self.tasks.remove(&task) {
            let uid = uid(task);
            let next = self.store.next(&uid).await.unwrap();
            let record = append(next, vec![result()]);
            self.store.append(&uid, 1, &session, record).await.unwrap();
            self.over.insert(uid);
        }
    }

    async fn restart(&mut self) {
        self.ended().await;
        let ticks = Arc::clone(&self.ticks);
        self.store.stop().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let other = Store::open(options(dir.path(), &ticks)).await.unwrap();
        drop(std::mem::replace(&mut self.store, other));
        self.store = Store::open(options(self.dir.path(), &ticks)).await.unwrap();
    }

    fn pass(&self, days: i64) {
        self.ticks.fetch_add(days * DAY, Ordering::SeqCst);
    }

    async fn sweep(&self) -> Swept {
        self.store.sweep(&self.over).await.unwrap()
    }

    fn now(&self) -> i64 {
        self.ticks.load(Ordering::SeqCst)
    }
}

fn owner_of(owner: u8) -> NoteOwner {
    NoteOwner {
        namespace: "team".into(),
        agent: "writer".into(),
        requester: format!("user-{owner}"),
    }
}

fn text_of(owner: u8, which: u8) -> String {
    format!("note {which} of {owner}: {}", "remembered ".repeat(20))
}

fn notes_of(owner: Option<u8>) -> NoteQuery {
    NoteQuery {
        namespace: "team".into(),
        requester: owner.map(|owner| owner_of(owner).requester),
        ..NoteQuery::default()
    }
}

/// What must not change by anything that leaves.
async fn money(store: &Store) -> Vec<(CostBy, Vec<CostLine>)> {
    let mut all = Vec::new();
    for by in [
        CostBy::Namespace,
        CostBy::Agent,
        CostBy::Label,
        CostBy::Workflow,
        CostBy::Requester,
        CostBy::Model,
        CostBy::Day,
        CostBy::Bill,
    ] {
        let query = CostQuery {
            namespace: None,
            by,
            label: Some("team".into()),
            from_ms: i64::MIN,
            to_ms: i64::MAX,
        };
        all.push((by, store.costs(query).await.unwrap()));
    }
    all
}

async fn audit(store: &Store) -> Vec<AuditRecord> {
    let (sender, mut receiver) = mpsc::channel(100_000);
    assert!(store.audited(i64::MIN, i64::MAX, sender).await.unwrap());
    let mut records = Vec::new();
    while let Some(record) = receiver.recv().await {
        if !matches!(
            record.act,
            AuditAct::Call | AuditAct::CallEnd | AuditAct::Retain
        ) {
            // Where it stands is another frame.
            let (frame, before) = (0, String::new());
            records.push(AuditRecord {
                frame,
                before,
                ..record
            });
        }
    }
    records.sort_by_key(|record| (record.at_ms, record.object.clone()));
    records
}

fn copy(from: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
    }
    dir
}

/// What a crash would leave at each step of a pass, for the directories that are here.
static CRASHES: Mutex<BTreeMap<PathBuf, Vec<TempDir>>> = Mutex::new(BTreeMap::new());

/// Called where a pass has done one step of several.
pub fn may_crash(dir: &Path) {
    if let Some(copies) = CRASHES.lock().unwrap().get_mut(dir) {
        copies.push(copy(dir));
    }
}

fn crashes(dir: &Path) -> Vec<TempDir> {
    CRASHES.lock().unwrap().remove(dir).unwrap_or_default()
}

fn segments(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".log")).collect();
    names.sort();
    names
}

fn denied() -> Audited {
    Audited {
        act: AuditAct::Read,
        allowed: false,
        who: "mallory".into(),
        namespace: "team".into(),
        task: String::new(),
        object: "costs".into(),
        reason: "forbidden".into(),
        count: 1,
    }
}
