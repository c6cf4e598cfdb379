//! What leaves the log leaves everything else as it was.

use super::*;
use crate::entry::Audited;
use crate::log::Repair;
use crate::scope::CounterId;
use crate::state::is_kept;
use crate::store::apply_frame;
use crate::tests::{
    answer, append, failed, frames, hop_in, note, open_request, options_at, result, scope,
    sdk_caller, usd, used,
};
use crate::{Billing, CallState, CostQuery, Limits, Options, Retention, Scope, SdkTicket, Window};
use oarmaster_protocol::admin::OpenAttempt;
use oarmaster_protocol::read::{AuditAct, AuditRecord, CostBy, CostLine};
use oarmaster_protocol::task::{ClaimRequest, ErrorCode};
use proptest::prelude::*;
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
        let dir = tempfile::tempdir().unwrap();
        let ticks = Arc::new(AtomicI64::new(BEGIN));
        let store = Store::open(options(dir.path(), &ticks)).await.unwrap();
        Self {
            dir,
            ticks,
            store,
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

/// What counts of a state: numbers of frames and past windows do not.
fn essence(state: &State, now: i64) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut counters: Vec<_> = state
        .counters
        .iter()
        .filter(|(id, counter)| is_kept(id, now) && **counter != crate::Counter::default())
        .map(|(id, counter)| {
            let sums = (
                counter.spent,
                counter.reserved,
                counter.overrun,
                counter.estimated,
            );
            (id.clone(), sums, counter.sdk.is_some())
        })
        .collect::<Vec<(CounterId, _, bool)>>();
    counters.sort_by(|a, b| a.0.cmp(&b.0));
    let tasks: BTreeMap<_, _> = state.tasks.clone().into_iter().collect();
    let names: BTreeMap<_, _> = state.names.clone().into_iter().collect();
    let sdk = &state.sdk;
    (
        (counters, tasks, names, state.blob_bytes),
        (sdk.total, sdk.reserved, sdk.open.clone()),
        (sdk.term, sdk.running, sdk.first.is_some()),
    )
}

fn read_anew(dir: &Path) -> State {
    let mut state = State::default();
    let repair = Repair::ReadOnly { before: u64::MAX };
    let visit = &mut |frame, place, payload: &[u8]| apply_frame(&mut state, frame, place, payload);
    log::replay(dir, repair, visit).unwrap();
    state
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

#[derive(Clone, Debug)]
enum Op {
    Begin(u8),
    Call(u8, u64),
    Sdk(u64),
    Begun(u64),
    Ended,
    Note(u8, usize),
    End(u8),
    Deny,
    Pass(i64),
    Restart,
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let task = || 0..6_u8;
    prop_oneof![
        3 => task().prop_map(Op::Begin),
        6 => (task(), 1..100_u64).prop_map(|(task, pico)| Op::Call(task, pico)),
        3 => (1..60_u64).prop_map(Op::Sdk),
        2 => (1..60_u64).prop_map(Op::Begun),
        1 => Just(Op::Ended),
        3 => (task(), 1..200_usize).prop_map(|(task, size)| Op::Note(task, size)),
        3 => task().prop_map(Op::End),
        1 => Just(Op::Deny),
        3 => (0..3_i64).prop_map(Op::Pass),
        1 => Just(Op::Restart),
        1 => Just(Op::Sweep),
    ]
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

async fn run(ops: Vec<Op>) -> World {
    let mut world = World::new().await;
    for op in ops {
        match op {
            Op::Begin(task) => world.begin(task).await,
            Op::Call(task, pico) => world.call(task, pico).await,
            Op::Sdk(pico) => world.sdk(pico).await,
            Op::Begun(pico) => world.begun(pico).await,
            Op::Ended => world.ended().await,
            Op::Note(task, size) => world.note(task, size).await,
            Op::End(task) => world.end(task).await,
            Op::Deny => world.store.audit(denied()).unwrap(),
            Op::Pass(days) => world.pass(days),
            Op::Restart => world.restart().await,
            Op::Sweep => drop(world.sweep().await),
        }
    }
    world
}

/// Sums, counters, audit and Tasks that go on are what they were: in the process, read anew, and from what a crash leaves at each step.
async fn nothing_else_changes(ops: Vec<Op>) {
    let mut world = run(ops).await;
    world.ended().await;
    world.pass(4);
    world.store.flush().await.unwrap();
    let (spent, told) = (money(&world.store).await, audit(&world.store).await);
    let kept: Vec<_> = (0..6)
        .filter(|task| world.tasks.contains_key(task))
        .collect();
    CRASHES
        .lock()
        .unwrap()
        .insert(world.dir.path().into(), Vec::new());
    world.sweep().await;
    world.store.flush().await.unwrap();
    assert_eq!(money(&world.store).await, spent);
    assert_eq!(audit(&world.store).await, told);
    for task in 0..6 {
        let known = world.store.task_ref(&uid(task)).await.unwrap();
        assert_eq!(known.is_some(), kept.contains(&task), "Task {task}");
        if known.is_some() {
            let records = world.store.records(&uid(task), 0, 10_000).await.unwrap();
            let next = world.store.next(&uid(task)).await.unwrap();
            assert_eq!(records.len() as u64, next);
            world.store.assignment(&uid(task), 1).await.unwrap();
        }
    }
    let check = world.store.verify(None).await.unwrap();
    assert_eq!(check.broken, None);
    let now = world.now();
    let essence_now = essence(&world.store.lock().state, now);
    let after = copy(world.dir.path());
    assert_eq!(essence(&read_anew(after.path()), now), essence_now);
    // Hops that began in a segment of another group go next time.
    let mut more = 1;
    for _ in 0..4 {
        more = world.sweep().await.segments;
    }
    assert_eq!(more, 0, "nothing is left to do");
    assert_eq!(money(&world.store).await, spent);

    for (step, crashed) in crashes(world.dir.path()).into_iter().enumerate() {
        log::finish(crashed.path()).unwrap();
        let state = read_anew(crashed.path());
        assert!(essence(&state, now) == essence_now, "at step {step}");
        let store = Store::open(options(crashed.path(), &world.ticks))
            .await
            .unwrap();
        assert_eq!(money(&store).await, spent, "at step {step}");
        store.sweep(&world.over).await.unwrap();
        assert_eq!(money(&store).await, spent, "after the next pass");
        assert!(store.lock().state.leaving.is_empty());
        assert_eq!(store.verify(None).await.unwrap().broken, None);
        for name in segments(crashed.path()) {
            let bytes = std::fs::read(crashed.path().join(&name)).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            for uid in &world.over {
                let named = text.contains(&format!("\"task\":\"{uid}\",\"record\""));
                assert!(!named, "{name} has a record of {uid}");
            }
        }
    }
    world.restart().await;
    assert_eq!(money(&world.store).await, spent);
    world.sdk(7).await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: match std::env::var("OARMASTER_SWEEPS").is_ok_and(|value| value == "full") {
            true => 400,
            false => 24,
        },
        ..ProptestConfig::default()
    })]
    #[test]
    fn what_leaves_changes_nothing_else(ops in prop::collection::vec(op(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(nothing_else_changes(ops));
    }
}

#[tokio::test]
async fn a_journal_stays_until_its_task_is_over_and_then_for_its_time() {
    let mut world = World::new().await;
    for task in [0, 1, 2] {
        world.begin(task).await;
        world.call(task, 10).await;
        world.note(task, 400).await;
    }
    world.end(0).await;
    world.end(1).await;
    world.pass(2);
    assert_eq!(world.store.over_due(), []);
    assert_eq!(world.sweep().await.journals, 0);
    world.pass(1);
    let mut due: Vec<_> = world
        .store
        .over_due()
        .into_iter()
        .map(|task| task.uid)
        .collect();
    due.sort();
    assert_eq!(due, [uid(0), uid(1)], "the third one has not ended");
    // Nothing goes that nobody says is over.
    world.over = [uid(1), uid(2)].into();
    let swept = world.sweep().await;
    assert_eq!((swept.journals, swept.artifacts), (1, 0));
    assert!(swept.segments > 0 && swept.grown < 0, "{swept:?}");
    let gone = world.store.records(&uid(1), 0, 1).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
    for task in [0, 2] {
        let records = world.store.records(&uid(task), 0, 100).await.unwrap();
        let text = serde_json::to_string(&records).unwrap();
        assert!(text.contains("secretsecret"), "{text}");
    }
    let log = frames(world.dir.path());
    let text: Vec<u8> = log.into_iter().flat_map(|(_, payload)| payload).collect();
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains(&format!("{}\",\"record", uid(1))), "{text}");
    assert!(text.contains(r#""totals":{"days":[{"dayMs""#), "{text}");
}

#[tokio::test]
async fn artifacts_go_before_journals_and_one_of_two_tasks_stays() {
    let mut world = World::new().await;
    for (task, bytes) in [(0, "same"), (1, "same"), (2, "other")] {
        world.begin(task).await;
        let (session, _) = world.tasks[&task].clone();
        let (uid, bytes) = (uid(task), bytes.as_bytes());
        let put = world.store.put_artifact(&uid, 1, &session, "out", bytes);
        put.await.unwrap();
    }
    world.end(0).await;
    world.end(2).await;
    world.pass(1);
    // Blobs that are young stay: somebody may be about to name them.
    assert_eq!(world.sweep().await.blobs, 0);
    let blobs = world.dir.path().join("blobs");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(4000);
    for file in std::fs::read_dir(&blobs).unwrap() {
        let file = std::fs::File::options()
            .write(true)
            .open(file.unwrap().path());
        file.unwrap().set_modified(old).unwrap();
    }
    assert_eq!(world.sweep().await.blobs, 1);
    let gone = world.store.artifact(&uid(2), "out").await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
    assert_eq!(
        gone.to_string(),
        "artifact out of Task team/fix-2 is no longer kept; artifacts are for 1 days after the Task's end"
    );
    world.store.artifact(&uid(0), "out").await.unwrap_err();
    let (_, bytes) = world.store.artifact(&uid(1), "out").await.unwrap();
    assert_eq!(bytes, "same");
    assert!(!world.store.records(&uid(2), 0, 1).await.unwrap().is_empty());
    world.restart().await;
    world.store.artifact(&uid(1), "out").await.unwrap();
}

#[tokio::test]
async fn what_stands_for_frames_is_vouched_for_by_the_log() {
    let mut world = World::new().await;
    world.begin(0).await;
    for _ in 0..20 {
        world.call(0, 10).await;
    }
    world.end(0).await;
    world.pass(4);
    let asked = world.store.verify(Some(3)).await.unwrap();
    world.sweep().await;
    world.store.flush().await.unwrap();
    let check = world.store.verify(None).await.unwrap();
    assert_eq!(check.broken, None);
    assert!(check.taken > 20 && check.frames > check.taken, "{check:?}");
    assert_eq!(check.first, asked.first, "the chain begins where it began");
    let files = segments(world.dir.path()).into_iter();
    let mut files = files.map(|name| world.dir.path().join(name));
    let with_sums = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        String::from_utf8_lossy(&bytes).contains("\"totals\":{\"days\"")
    };
    let file = files.find(with_sums).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    // Whoever forges the sum makes the checksum right, too.
    let parts: Vec<_> = {
        let (mut found, mut offset) = (Vec::new(), 0);
        while let Some((at, frame)) = log::find(&bytes, offset) {
            offset = at + frame.size();
            found.push((
                at as usize,
                frame.number,
                frame.before,
                frame.stands,
                frame.payload.to_vec(),
            ));
        }
        found
    };
    let (at, number, before, stands, payload) = parts.last().unwrap().clone();
    let forged = String::from_utf8(payload)
        .unwrap()
        .replace("\"costPico\":", "\"costPico\":9");
    let mut frame = Vec::new();
    log::encode_stands(
        &mut frame,
        number,
        &before.unwrap(),
        stands.unwrap(),
        forged.as_bytes(),
    );
    bytes.truncate(at);
    bytes.extend(frame);
    std::fs::write(&file, bytes).unwrap();
    let broken = world.store.verify(None).await.unwrap().broken.unwrap();
    assert!(
        broken.contains("is not what retention left of it"),
        "{broken}"
    );
}

#[tokio::test]
async fn sums_that_are_damaged_are_not_missed_by_their_number() {
    let world = World::new().await;
    world.sdk(6).await;
    world.pass(5);
    world.sweep().await;
    world.store.flush().await.unwrap();
    let broken = copy(world.dir.path());
    let file = broken.path().join("00000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.iter().rposition(|byte| *byte == b'}').unwrap();
    bytes[last] = b']';
    std::fs::write(&file, bytes).unwrap();
    let opened = Store::open(options(broken.path(), &world.ticks)).await;
    assert!(
        opened
            .unwrap_err()
            .to_string()
            .starts_with("log is corrupt in segment 0")
    );
}

#[tokio::test]
async fn a_clock_that_is_wrong_makes_nothing_old() {
    let mut world = World::new().await;
    world.begin(0).await;
    world.end(0).await;
    world.store.flush().await.unwrap();
    let dir = copy(world.dir.path());
    let jumped = Arc::new(AtomicI64::new(world.now() + 365 * DAY));
    let steady = Arc::clone(&world.ticks);
    let store = Store::open(Options {
        steady: Arc::new(move || steady.load(Ordering::SeqCst)),
        ..options(dir.path(), &jumped)
    });
    let store = store.await.unwrap();
    assert_eq!(store.over_due(), []);
    world.pass(2);
    assert_eq!(store.over_due(), [], "two days have passed");
    world.pass(2);
    assert_eq!(store.over_due().len(), 1);
}

#[tokio::test]
async fn where_the_log_is_full_calls_are_summed_up_earlier() {
    let world = World::new().await;
    let limits = |log| Limits {
        log,
        ..Limits::default()
    };
    world.store.limit(limits(20 * 4096));
    while !world.store.is_pressed() {
        world.sdk(7).await;
    }
    let spent = money(&world.store).await;
    assert_eq!(world.sweep().await.segments, 0, "they are of this hour");
    world.ticks.fetch_add(2 * 3_600_000, Ordering::SeqCst);
    let swept = world.sweep().await;
    assert!(swept.grown < -10 * 4096, "{swept:?}");
    assert!(!world.store.is_pressed());
    assert_eq!(money(&world.store).await, spent);
}

#[tokio::test]
async fn uploads_that_are_not_taken_leave_nothing() {
    let mut world = World::new().await;
    world.begin(0).await;
    let (session, _) = world.tasks[&0].clone();
    let uid = uid(0);
    let store = world.store.clone();
    store.limit(Limits {
        blobs: 10,
        ..Limits::default()
    });
    let writer = |name| store.artifact_writer(&uid, 1, &session, name);
    let (mut one, mut two) = (writer("one").await.unwrap(), writer("two").await.unwrap());
    one.write(b"123456").await.unwrap();
    // Both at once would not fit.
    assert_eq!(
        two.write(b"1234567").await.unwrap_err().code(),
        ErrorCode::TooLarge
    );
    drop(two);
    one.finish().await.unwrap();
    let mut late = writer("late").await.unwrap();
    late.write(b"1234").await.unwrap();
    store.fence(&uid, 1, "cancelled").await.unwrap();
    assert_eq!(late.finish().await.unwrap_err().code(), ErrorCode::Fenced);
    let there = || {
        std::fs::read_dir(world.dir.path().join("blobs"))
            .unwrap()
            .count()
    };
    assert_eq!(there(), 1);
    assert_eq!(store.volume().blobs, 6);
}

#[tokio::test]
async fn sums_go_after_their_time_and_counters_without_end_stay() {
    let world = World::new().await;
    world.sdk(6).await;
    world.sdk(7).await;
    world.store.audit(denied()).unwrap();
    world.store.flush().await.unwrap();
    world.pass(5);
    assert_eq!(world.sweep().await.segments, 1);
    let total = Scope {
        window: Window::Total,
        ..scope("team", "all", u64::MAX)
    };
    let days = money(&world.store).await;
    assert!(!days[0].1.is_empty());
    world.pass(394);
    assert_eq!(world.sweep().await.segments, 0, "a day too early");
    assert_eq!(audit(&world.store).await.len(), 2);
    world.pass(2);
    assert_eq!(world.sweep().await.segments, 1);
    assert_eq!(money(&world.store).await[0].1, []);
    assert_eq!(
        audit(&world.store).await.len(),
        1,
        "the start of the process"
    );
    for store in [
        world.store.clone(),
        Store::open(options(copy(world.dir.path()).path(), &world.ticks))
            .await
            .unwrap(),
    ] {
        assert_eq!(store.counter(&total).counter.spent, 13);
        assert_eq!(store.sdk_total().sum.cost_pico, 13);
    }
}

#[tokio::test]
async fn tasks_end_before_others_and_nothing_that_runs_goes_unbooked() {
    let dir = tempfile::tempdir().unwrap();
    let ticks = Arc::new(AtomicI64::new(BEGIN));
    let bounded = Options {
        limits: Limits {
            log: 6 * 4096,
            tasks: 3000,
            blobs: 8,
        },
        ..options(dir.path(), &ticks)
    };
    let store = Store::open(bounded).await.unwrap();
    let mut world = World {
        dir,
        ticks,
        store,
        tasks: BTreeMap::new(),
        over: HashSet::new(),
        running: Vec::new(),
    };
    world.begin(0).await;
    let (session, _) = world.tasks[&0].clone();
    let (uid, store) = (uid(0), world.store.clone());
    let put = |name| store.put_artifact(&uid, 1, &session, name, b"12345");
    put("one").await.unwrap();
    let refused = put("two").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    assert!(
        refused
            .to_string()
            .starts_with("the artifacts of all Tasks would have 10 of 8 bytes")
    );

    let sdk = || async {
        let hop = store
            .sdk_call(sdk_caller())
            .reserve(hop_in(7, &caps()))
            .await?;
        hop.settle(&answer(Some(used(7)))).await
    };
    let late = store
        .sdk_call(sdk_caller())
        .reserve(hop_in(5, &[]))
        .await
        .unwrap();
    let refused = loop {
        sdk().await.unwrap();
        let next = store.next(&uid).await.unwrap();
        let record = append(next, vec![note(&"x".repeat(300))]);
        match store.append(&uid, 1, &session, record).await {
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert_eq!(
        refused.code(),
        ErrorCode::TooLarge,
        "the Task ends: {refused}"
    );
    let begun = store.begin_call(&uid, 1, &session, 2, 0, "sha256:d").await;
    assert_eq!(
        begun.unwrap_err().code(),
        ErrorCode::Conflict,
        "that comes first"
    );
    let next = store.next(&uid).await.unwrap();
    let begun = store
        .begin_call(&uid, 1, &session, next, 0, "sha256:d")
        .await;
    assert_eq!(begun.unwrap_err().code(), ErrorCode::TooLarge);
    let opened = store.open_attempt(&uid, 2, request(0)).await;
    assert!(matches!(opened.unwrap_err(), Refusal::Full(_)));
    assert_eq!(store.full(), None);
    world.end(0).await;
    let refused = loop {
        if let Err(refused) = sdk().await {
            break refused;
        }
    };
    assert!(matches!(refused, Refusal::Full(_)), "{refused}");
    assert!(
        store
            .full()
            .unwrap()
            .contains("expand the gateway's volume")
    );
    let before = store.sdk_total().sum.cost_pico;
    late.settle(&answer(Some(used(5)))).await.unwrap();
    assert_eq!(store.sdk_total().sum.cost_pico, before + 5);

    // What is no longer kept makes room.
    world.pass(5);
    let swept = world.sweep().await;
    assert!(swept.grown < -2 * 4096, "{swept:?}");
    sdk().await.unwrap();
    assert_eq!(store.volume().log, log::bytes(world.dir.path()).unwrap());
}
