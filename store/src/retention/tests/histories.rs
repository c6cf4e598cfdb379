//! Random histories: whatever leaves changes nothing else, from what a crash leaves at each step, too.

use super::*;
use proptest::prelude::*;

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
    let notes: Vec<_> = state
        .notes
        .of(&notes_of(None))
        .map(|(owner, id, _)| (owner.clone(), id.to_owned()))
        .collect();
    (
        (counters, tasks, names, notes),
        (state.held.clone(), state.task_bytes, state.trees.clone()),
        (sdk.total, sdk.reserved, sdk.open.clone()),
        (sdk.term, sdk.running, sdk.first.is_some()),
    )
}

fn read_anew(dir: &Path) -> State {
    let mut state = State::default();
    let repair = Repair::ReadOnly { before: u64::MAX };
    let sealer = sealer(dir);
    let mut reading = Reading::new(&sealer);
    let visit = &mut |frame, place, payload: &[u8]| {
        apply_frame(&mut state, frame, place, payload, &mut reading)
    };
    log::replay(dir, repair, visit).unwrap();
    state
}

#[derive(Clone, Debug)]
enum Op {
    Begin(u8),
    Call(u8, u64),
    Sdk(u64),
    Begun(u64),
    Ended,
    Note(u8, usize),
    Send(u8, u32),
    End(u8),
    Deny,
    Remember(u8, u8),
    Forget(u8, u8),
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
        3 => (task(), 0..9_u32).prop_map(|(task, call)| Op::Send(task, call)),
        3 => task().prop_map(Op::End),
        1 => Just(Op::Deny),
        3 => (0..2_u8, 0..4_u8).prop_map(|(owner, which)| Op::Remember(owner, which)),
        2 => (0..2_u8, 0..4_u8).prop_map(|(owner, which)| Op::Forget(owner, which)),
        3 => (0..3_i64).prop_map(Op::Pass),
        1 => Just(Op::Restart),
        1 => Just(Op::Sweep),
    ]
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
            Op::Send(task, call) => world.send(task, call).await,
            Op::End(task) => world.end(task).await,
            Op::Deny => world.store.audit(denied()).unwrap(),
            Op::Remember(owner, which) => world.remember(owner, which).await,
            Op::Forget(owner, which) => world.forget(owner, which).await,
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
