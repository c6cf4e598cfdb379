use super::{Employer, Full, PATIENCE, Places, Shown, Wish};
use jiff::Timestamp;
use oarmaster_crds::Task;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

fn task(uid: &str, status: Value) -> Task {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": { "name": uid, "namespace": "team", "uid": uid, "creationTimestamp": "1970-01-01T00:00:00Z" },
        "spec": { "agent": { "name": "coder" }, "params": { "prompt": "x" } },
        "status": status,
    }))
    .unwrap()
}

fn pinned() -> Value {
    json!({ "agent": "coder@sha256:0", "class": "default" })
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!([{ "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }])
}

fn waits(uid: &str) -> Task {
    task(uid, json!({}))
}

fn runs(uid: &str, attempt: u32) -> Task {
    task(uid, json!({ "attempt": attempt, "pinned": pinned() }))
}

fn backs_off(uid: &str) -> Task {
    task(
        uid,
        json!({ "attempt": 1, "pinned": pinned(), "nextAttemptAt": "2026-01-01T00:00:00Z" }),
    )
}

fn ended(uid: &str) -> Task {
    let finished = condition("Finished", "True", "X");
    task(
        uid,
        json!({ "attempt": 1, "pinned": pinned(), "conditions": finished }),
    )
}

/// One that said before a restart that it waits.
fn waited(uid: &str, reason: &str) -> Task {
    let ready = condition("Ready", "False", reason);
    task(uid, json!({ "phase": "Queued", "conditions": ready }))
}

fn wish(uid: &str) -> Wish<'_> {
    Wish {
        namespace: "team",
        name: uid,
        uid,
        priority: 0,
        created: Timestamp::UNIX_EPOCH,
        attempt: 1,
        agent: None,
        limit: None,
    }
}

fn of_agent(uid: &str, limit: u32) -> Wish<'_> {
    let agent = Employer {
        name: "coder",
        any: false,
        limit: Some(limit),
    };
    Wish {
        agent: Some(agent),
        ..wish(uid)
    }
}

fn of_namespace(uid: &str, limit: u32) -> Wish<'_> {
    Wish {
        limit: Some(limit),
        ..wish(uid)
    }
}

/// Places, and who was called.
struct Rig {
    places: Places,
    called: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    fn new() -> Self {
        let called = Arc::<Mutex<Vec<String>>>::default();
        let tells = Arc::clone(&called);
        let places = Places::new(move |namespace, name| {
            assert_eq!(namespace, "team");
            tells.lock().unwrap().push(name.to_owned());
        });
        Self { places, called }
    }

    fn saw(&self, task: &Task) {
        let uid = task.metadata.uid.as_deref().unwrap();
        self.places.saw("team", uid, Shown::of(task, 0));
    }

    fn gone(&self, uid: &str) {
        self.places.saw("team", uid, None);
    }

    /// While the cache shows nothing of it.
    fn take(&self, wish: &Wish<'_>) -> Result<(), Full> {
        self.take_as(wish, &waits(wish.uid))
    }

    fn take_as(&self, wish: &Wish<'_>, shown: &Task) -> Result<(), Full> {
        self.places.take(wish, || Shown::of(shown, wish.priority))
    }

    fn called(&self) -> Vec<String> {
        std::mem::take(&mut *self.called.lock().unwrap())
    }
}

#[test]
fn a_live_attempt_has_a_place_and_nothing_else_has() {
    let run: Task = serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": { "name": "b", "namespace": "team", "uid": "b" },
        "spec": { "workflow": { "name": "w" } },
        "status": { "attempt": 1 },
    }))
    .unwrap();
    for (other, free) in [
        (waits("b"), true),
        (backs_off("b"), true),
        (ended("b"), true),
        (run, true),
        (runs("b", 1), false),
    ] {
        for (wish, full) in [
            (of_agent("a", 1), Full::Agent),
            (of_namespace("a", 1), Full::Namespace),
        ] {
            let rig = Rig::new();
            rig.saw(&other);
            let taken = rig.take(&wish);
            assert_eq!(taken, if free { Ok(()) } else { Err(full) }, "{other:?}");
        }
    }
}

#[test]
fn a_place_that_was_given_counts_before_a_cache_shows_it() {
    let rig = Rig::new();
    let (a, b) = (of_agent("a", 1), of_agent("b", 1));
    assert_eq!(rig.take(&a), Ok(()));
    assert_eq!(rig.take(&a), Ok(()), "the same one");
    assert_eq!(rig.take(&b), Err(Full::Agent));
    assert_eq!(rig.places.running("team", "coder", "b"), 1);
    assert_eq!(
        rig.places.running("team", "coder", "a"),
        0,
        "its own is no other's"
    );
    rig.saw(&waits("a")); // late
    assert_eq!(rig.take(&b), Err(Full::Agent));
    rig.saw(&runs("a", 1));
    assert_eq!(rig.take(&b), Err(Full::Agent));
    rig.saw(&ended("a"));
    assert_eq!(rig.take(&b), Ok(()));
    // Its next attempt takes one again.
    let again = Wish { attempt: 2, ..a };
    assert_eq!(rig.take_as(&again, &backs_off("a")), Err(Full::Agent));
    rig.places.give_back("team", "b");
    assert_eq!(rig.called(), ["b", "a"], "when one is free");
    assert_eq!(rig.take_as(&again, &backs_off("a")), Ok(()));
    rig.gone("a");
    assert_eq!(rig.take(&b), Ok(()), "who is gone has none");
    rig.gone("b");
    assert!(rig.places.spaces().is_empty(), "nothing is left");
}

#[test]
fn a_task_that_is_over_takes_none() {
    let rig = Rig::new();
    assert_eq!(rig.take_as(&of_namespace("a", 1), &ended("a")), Ok(()));
    assert_eq!(rig.places.take(&of_namespace("b", 1), || None), Ok(()));
    assert!(rig.places.spaces().is_empty());
}

#[test]
fn a_lower_limit_stops_nobody_and_a_place_that_was_given_stays() {
    let rig = Rig::new();
    assert_eq!(rig.take(&of_namespace("a", 2)), Ok(()));
    assert_eq!(rig.take(&of_namespace("b", 2)), Ok(()));
    assert_eq!(rig.take(&of_namespace("b", 0)), Ok(()));
    rig.saw(&runs("a", 1));
    assert_eq!(rig.take(&of_namespace("c", 0)), Err(Full::Namespace));
}

#[test]
fn who_waits_has_a_turn_by_priority_then_age_then_uid() {
    let rig = Rig::new();
    assert_eq!(rig.take(&of_namespace("z", 1)), Ok(()));
    let at = |uid, priority, second| Wish {
        priority,
        created: Timestamp::from_second(second).unwrap(),
        ..of_namespace(uid, 1)
    };
    let all = [
        at("late", 0, 9),
        at("b", 0, 5),
        at("a", 0, 5),
        at("low", -1, 1),
        at("high", 7, 8),
    ];
    for wish in &all {
        assert_eq!(rig.take(wish), Err(Full::Namespace));
    }
    let order = ["high", "a", "b", "late", "low"];
    let of = |uid: &str| all.iter().find(|wish| wish.uid == uid).unwrap();
    let mut holder = "z".to_owned();
    for (index, next) in order.into_iter().enumerate() {
        rig.saw(&ended(&holder));
        assert_eq!(rig.called().first().map(String::as_str), Some(next));
        // Whoever comes first: nobody takes it before whose turn it is.
        for later in &order[index + 1..] {
            assert_eq!(rig.take(of(later)), Err(Full::Namespace), "{later}");
        }
        let newcomer = at("new", 6, 10);
        assert_eq!(rig.take(&newcomer).is_ok(), next != "high", "before {next}");
        rig.places.give_back("team", "new");
        assert_eq!(rig.take(of(next)), Ok(()), "{next}");
        for called in rig.called() {
            if called != next {
                assert_eq!(rig.take(of(&called)), Err(Full::Namespace), "{called}");
            }
        }
        next.clone_into(&mut holder);
    }
}

#[test]
fn who_does_not_take_its_turn_lets_the_next_one() {
    let rig = Rig::new();
    rig.saw(&runs("z", 1));
    for uid in ["a", "b", "c", "d"] {
        assert!(rig.take(&of_namespace(uid, 1)).is_err());
    }
    rig.saw(&ended("z"));
    assert_eq!(rig.called(), ["a", "b"]);
    assert!(rig.take(&of_namespace("b", 1)).is_err(), "a comes first");
    rig.places.give_back("team", "a"); // it was paused
    assert_eq!(rig.called(), ["b", "c"]);
    rig.gone("b");
    assert_eq!(rig.called(), ["d"], "c is called already");
    assert_eq!(rig.take(&of_namespace("c", 1)), Ok(()));

    // One that now waits for another thing is not in the way either.
    rig.saw(&ended("c"));
    let both = Wish {
        limit: Some(1),
        ..of_agent("a", 0)
    };
    assert_eq!(rig.take(&both), Err(Full::Agent));
    assert_eq!(rig.take(&of_namespace("d", 1)), Ok(()));
}

#[test]
fn a_place_is_kept_for_whom_was_called_and_not_for_ever() {
    let rig = Rig::new();
    rig.saw(&runs("z", 1));
    let (a, b) = (of_namespace("a", 1), of_namespace("b", 1));
    for wish in [&a, &b] {
        assert!(rig.take(wish).is_err());
    }
    rig.saw(&ended("z"));
    let now = Instant::now();
    let mut spaces = rig.places.spaces();
    let space = spaces.get_mut("team").unwrap();
    assert_eq!(space.take(&b, now).0, Err(Full::Namespace));
    let later = now + PATIENCE + PATIENCE;
    assert_eq!(space.take(&b, later).0, Ok(()), "its pass fails, or hangs");
}

#[test]
fn who_takes_any_agent_is_called_by_each_and_hides_nobody() {
    let rig = Rig::new();
    rig.saw(&runs("z", 1));
    for uid in ["any1", "any2", "any3"] {
        let mut any = of_agent(uid, 1);
        any.agent.as_mut().unwrap().any = true;
        assert_eq!(rig.take(&any), Err(Full::Agent));
    }
    assert_eq!(rig.take(&of_agent("own", 1)), Err(Full::Agent));
    let mut other = runs("y", 1);
    other
        .status
        .as_mut()
        .unwrap()
        .pinned
        .as_mut()
        .unwrap()
        .agent = "tester@sha256:0".to_owned();
    rig.saw(&other);
    rig.gone("y");
    assert_eq!(rig.called(), ["any1", "any2"]);
    rig.gone("z");
    assert_eq!(rig.called(), ["any3", "own"]);
}

#[test]
fn after_a_restart_the_order_is_that_of_those_that_said_they_wait() {
    for (reason, full) in [
        ("NamespaceBusy", Full::Namespace),
        ("AgentBusy", Full::Agent),
    ] {
        let rig = Rig::new();
        rig.saw(&waited("a", reason));
        rig.saw(&waited("b", reason));
        let mine = |uid| match full {
            Full::Namespace => of_namespace(uid, 1),
            Full::Agent => of_agent(uid, 1),
        };
        assert_eq!(rig.take_as(&mine("b"), &waited("b", reason)), Err(full));
        assert_eq!(rig.take(&mine("c")), Err(full));
        assert_eq!(rig.take_as(&mine("a"), &waited("a", reason)), Ok(()));
    }
    // In Kueue's queue it has its place.
    let rig = Rig::new();
    let mut task = runs("a", 1);
    task.status.as_mut().unwrap().phase = Some(oarmaster_crds::kinds::task::Phase::Queued);
    rig.saw(&task);
    assert_eq!(rig.take(&of_namespace("b", 1)), Err(Full::Namespace));
}

#[derive(Clone, Debug)]
enum Step {
    /// A pass that wants to begin.
    Comes(usize),
    /// A pass that finds that it must not.
    GivesUp(usize),
    /// The cache catches up.
    Shows(usize),
    Ends(usize),
}

fn step() -> impl Strategy<Value = Step> {
    (0usize..6, 0u8..6).prop_map(|(index, what)| match what {
        0..=2 => Step::Comes(index),
        3 => Step::GivesUp(index),
        4 => Step::Shows(index),
        _ => Step::Ends(index),
    })
}

proptest! {
    /// Whatever order Tasks come in, and however late the cache is: never more than may, and nobody waits for ever: whom it called comes.
    #[test]
    fn never_more_than_may_and_all_in_the_end(steps in prop::collection::vec(step(), 1..80), limit in 1u32..4, of in any::<bool>()) {
        let rig = Rig::new();
        let names: Vec<String> = (0..6).map(|index| format!("t{index}")).collect();
        let mut truth = [false; 6]; // who has a live attempt
        let mut over = [false; 6];
        let mut shown = [false; 6];
        let wish = |name| Wish {
            priority: i64::from(name == "t4"),
            limit: (!of).then_some(limit),
            ..if of { of_agent(name, limit) } else { wish(name) }
        };
        for step in steps {
            match step {
                Step::Comes(index) if !truth[index] && !over[index] => {
                    truth[index] = rig.take(&wish(&names[index])).is_ok();
                }
                Step::GivesUp(index) if !truth[index] && !over[index] => rig.places.give_back("team", &names[index]),
                Step::Shows(index) if truth[index] => {
                    shown[index] = true;
                    rig.saw(&runs(&names[index], 1));
                }
                Step::Ends(index) if truth[index] => {
                    (truth[index], over[index]) = (false, true);
                    rig.saw(&ended(&names[index]));
                }
                _ => {}
            }
            let live = truth.iter().filter(|live| **live).count();
            prop_assert!(live <= limit as usize);
        }
        // From here on a Task comes only when it was called, beside one look of each.
        rig.called();
        let mut comes: Vec<String> = names.clone();
        let mut passes = 0;
        loop {
            for index in 0..6 {
                if truth[index] {
                    (truth[index], over[index]) = (false, true);
                    rig.saw(&ended(&names[index]));
                }
            }
            comes.extend(rig.called());
            let Some(name) = comes.pop() else { break };
            passes += 1;
            prop_assert!(passes < 100, "it does not end");
            let index = names.iter().position(|held| *held == name).unwrap();
            if !over[index] && !truth[index] {
                truth[index] = rig.take(&wish(&names[index])).is_ok();
            }
        }
        let left: BTreeSet<_> = names.iter().zip(over).filter(|(_, over)| !over).collect();
        prop_assert!(left.is_empty(), "{left:?} were never called");
    }
}
