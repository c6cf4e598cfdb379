//! Who does what several Tasks would do: by table, and as a world in which processes are replaced and caches are behind.

use super::{Memo, Memos, identity, is_above, lets_others, may_lead, of_step, origin};
use crate::kit::context::Guard;
use crate::task::plan::Plan;
use crate::task::tests::sim::Sim;
use jiff::Timestamp;
use oarmaster_crds::kinds::memo::{MemoSource, MemoStatus};
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_crds::{Task, conditions, names};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

const IDENTITY: &str = "sha256:same";

fn task(name: &str, spec: &Value, status: &Value) -> Task {
    let mut all = json!({
        "agent": {"name": "coder"}, "params": {"prompt": "x"}, "requestedBy": "alice",
        "memo": {"key": "k", "ttl": "1h"},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        all[field] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": name, "namespace": "team", "uid": format!("uid-{name}"), "resourceVersion": "1"},
        "spec": all, "status": status,
    }))
    .unwrap()
}

fn leads() -> Value {
    json!({"attempt": 1, "memo": {"identity": IDENTITY}})
}

/// Ended at that second.
fn ended(second: i64, complete: bool) -> Value {
    let condition = |kind| json!({"type": kind, "status": "True", "reason": "Any", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"});
    let mut held = vec![condition(conditions::FINISHED)];
    if complete {
        held.push(condition(conditions::COMPLETE));
    }
    let mut status = leads();
    status["conditions"] = json!(held);
    status["finishedAt"] = json!(Timestamp::from_second(second).unwrap().to_string());
    status
}

fn guarded(tasks: &[Task]) -> Vec<Arc<Guard<Task>>> {
    tasks
        .iter()
        .map(|task| Arc::new(Guard(Ok(task.clone()))))
        .collect()
}

fn decide(memos: &Memos, task: &Task, all: &[Task], second: i64) -> Memo {
    let now = Timestamp::from_second(second).unwrap();
    memos.decide(task, IDENTITY, now, || guarded(all))
}

fn none() -> Value {
    json!({})
}

#[test]
fn what_was_done_within_the_time_is_taken_and_what_failed_is_not() {
    let own = task("own", &none(), &none());
    let other = |status: &Value| task("other", &none(), status);
    let mut taken = ended(100, true);
    taken["memo"]["from"] = json!({"name": "third", "uid": "uid-third"});
    let mut other_key = ended(100, true);
    other_key["memo"]["identity"] = json!("sha256:other");
    for (status, at, expected) in [
        (ended(100, true), 3700, true),
        (ended(100, true), 3701, false),
        // Clocks differ.
        (ended(100, true), 99, true),
        (ended(100, false), 101, false),
        (other_key, 101, false),
        // What was taken is as old as where it was taken from.
        (taken, 101, false),
    ] {
        let all = [own.clone(), other(&status)];
        let memo = decide(&Memos::default(), &own, &all, at);
        assert_eq!(matches!(memo, Memo::Done(..)), expected, "{status} at {at}");
        assert!(matches!(memo, Memo::Done(..) | Memo::Leads(_)), "{memo:?}");
    }
    // What it has waited for is new, however long ago that began.
    let followed = json!({"memo": {"identity": IDENTITY, "follows": "other"}});
    let own_after = task("own", &none(), &followed);
    let memo = decide(
        &Memos::default(),
        &own_after,
        &[other(&ended(100, true))],
        9000,
    );
    assert!(matches!(memo, Memo::Done(..)), "{memo:?}");
    let mut elsewhere = other(&ended(100, true));
    elsewhere.metadata.namespace = Some("others".to_owned());
    assert!(decide(&Memos::default(), &own, &[elsewhere], 101).leads());
    let newest = [
        other(&ended(100, true)),
        task("newer", &none(), &ended(200, true)),
    ];
    let Memo::Done(_, found) = decide(&Memos::default(), &own, &newest, 300) else {
        panic!("nothing is taken");
    };
    assert_eq!(found.metadata.name.as_deref(), Some("newer"));
}

#[test]
fn the_first_one_leads_and_the_next_one_does_where_it_failed() {
    let memos = Memos::default();
    let [one, two, three] = ["one", "two", "three"].map(|name| task(name, &none(), &none()));
    let follows = |name: &str| Memo::Follows(IDENTITY.to_owned(), name.to_owned());
    let mut all = vec![one.clone(), two.clone(), three.clone()];
    assert!(decide(&memos, &one, &all, 0).leads());
    // No cache shows that yet.
    assert_eq!(decide(&memos, &two, &all, 0), follows("one"));
    assert!(decide(&memos, &one, &all, 0).leads(), "asked again");
    // Another process knows it from what is written down.
    all[0] = task("one", &none(), &leads());
    let next = Memos::default();
    assert_eq!(decide(&next, &two, &all, 0), follows("one"));
    all[0] = task("one", &none(), &ended(5, false));
    assert!(decide(&next, &two, &all, 6).leads());
    assert_eq!(decide(&next, &three, &all, 6), follows("two"));
    // One that is stopped before it began does nothing.
    all[1] = task("two", &json!({"state": "Paused"}), &none());
    assert!(lets_others(&all[1], false));
    assert!(decide(&next, &three, &all, 6).leads());
    all.truncate(1);
    assert!(decide(&next, &one, &all, 6).leads(), "it is gone");
}

#[test]
fn what_is_the_same_is_what_runs_the_key_and_whose_it_is() {
    let of = |spec: Value| identity(&task("own", &spec, &none()), "coder@sha256:1").unwrap();
    let same = of(none());
    let run = json!({"command": ["make"], "env": {"A": "1"}});
    for (other, what) in [
        (json!({"memo": {"key": "other", "ttl": "1h"}}), "key"),
        (json!({"requestedBy": "bob"}), "user"),
        (json!({"params": {"prompt": "y"}}), "prompt"),
        (
            json!({"agent": {"name": "coder", "command": "test"}}),
            "command",
        ),
        (
            json!({"artifacts": [{"name": "a", "path": "a"}]}),
            "artifacts",
        ),
        (json!({"workspace": {"keep": true}}), "workspace"),
        (json!({"files": [{"path": "a", "content": "b"}]}), "files"),
        (json!({"run": run}), "program"),
    ] {
        assert_ne!(of(other), same, "{what}");
    }
    for other in [
        json!({"memo": {"key": "k", "ttl": "2h"}}),
        json!({"timeout": "1h"}),
        json!({"budget": {"usd": "9"}}),
    ] {
        assert_eq!(of(other), same);
    }
    let runs = |runs: &str| identity(&task("own", &none(), &none()), runs);
    assert_ne!(runs("coder@sha256:2"), Some(same.clone()));
    let mut elsewhere = task("own", &none(), &none());
    elsewhere.metadata.namespace = Some("others".to_owned());
    assert_ne!(identity(&elsewhere, "coder@sha256:1"), Some(same));
}

fn step(name: &str, spec: &Value) -> Task {
    let mut task = task(name, spec, &none());
    let owner = json!([{"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "name": "above", "uid": "uid-above", "controller": true}]);
    task.metadata.owner_references = serde_json::from_value(owner).unwrap();
    task.metadata.labels =
        Some([(names::PARENT_UID_LABEL.to_owned(), "uid-above".to_owned())].into());
    task
}

#[test]
fn the_values_of_a_step_are_what_its_key_says_and_nobody_else_can_make_one() {
    let of = |spec: Value| identity(&step("own", &spec), "run").unwrap();
    let run = |value: &str| json!({"agent": null, "params": null, "run": {"command": ["make"], "env": {"A": value}}});
    assert_eq!(of(run("1")), of(run("2")));
    assert_eq!(of(json!({"params": {"prompt": "y"}})), of(none()));
    let alone = identity(&task("own", &run("1"), &none()), "run").unwrap();
    assert_ne!(of(run("1")), alone);
    // By owner alone nobody is a step: the label is the operator's to set.
    let mut forged = step("own", &run("1"));
    forged.metadata.labels = None;
    assert_eq!(identity(&forged, "run").unwrap(), alone);
    let ci = json!({"agent": null, "params": null, "memo": null, "workflow": {"name": "ci"}});
    let memo = step("own", &none()).spec.memo;
    let made = of_step(&task("run", &ci, &none()), memo.as_ref());
    assert_eq!(made.unwrap().key, "ci/k");
}

#[test]
fn what_waits_for_a_task_does_not_wait_for_it() {
    let below = step("below", &none());
    let above = |status: &Value| Arc::new(task("above", &none(), status));
    assert!(is_above(&below, IDENTITY, |_| Some(above(&leads()))));
    assert!(!is_above(&below, "sha256:other", |_| Some(above(&leads()))));
    assert!(!is_above(&below, IDENTITY, |_| Some(above(&none()))));
    assert!(!is_above(&below, IDENTITY, |_| None));
}

/// A pass of a Task that stands so with others.
fn pass(memo: Memo) -> (Sim, Plan) {
    let mut sim = Sim::new(json!({"memo": {"key": "k", "ttl": "1h"}}));
    sim.memo = Some(memo);
    let plan = sim.pass();
    (sim, plan)
}

#[test]
fn who_leads_begins_and_who_follows_does_not() {
    let (sim, plan) = pass(Memo::Leads(IDENTITY.to_owned()));
    assert!(plan.start.is_some());
    let written = MemoStatus {
        identity: IDENTITY.to_owned(),
        ..MemoStatus::default()
    };
    // It is in the same write as its beginning.
    assert_eq!(sim.task.status.unwrap().memo, Some(written.clone()));

    let (mut sim, plan) = pass(Memo::Follows(IDENTITY.to_owned(), "other".to_owned()));
    assert!(plan.start.is_none() && sim.attempt() == 0);
    assert_eq!(sim.phase(), Phase::Waiting);
    let (_, reason, text) = sim.condition(conditions::READY);
    assert_eq!(reason, "WaitingForTask");
    assert!(text.starts_with("Task other does the same now"), "{text}");
    let follows = MemoStatus {
        follows: Some("other".to_owned()),
        ..written
    };
    assert_eq!(sim.task.status.as_ref().unwrap().memo, Some(follows));
    sim.cancel();
    sim.settle();
    assert_eq!(sim.phase(), Phase::Cancelled);
    assert!(sim.created.is_empty());
}

#[test]
fn an_outcome_that_is_taken_costs_nothing_and_says_whose_it_is() {
    let mut status = ended(100, true);
    status["output"] = json!({"text": "done", "nothing": null});
    status["artifacts"] = json!([{"name": "a", "size": 1, "digest": "sha256:a"}]);
    status["workspace"] = json!({"size": 5});
    status["usage"] = json!({"calls": 3, "usd": "1"});
    status["score"] = json!("0.9");
    let source = task("source", &none(), &status);
    let (mut sim, plan) = pass(Memo::Done(IDENTITY.to_owned(), Arc::new(source.clone())));
    assert_eq!(plan.ended.unwrap().outcome, "Complete");
    assert!(plan.start.is_none() && sim.created.is_empty() && sim.gateway.is_empty());
    assert_eq!(sim.phase(), Phase::Succeeded);
    let (ready, _, text) = sim.condition(conditions::READY);
    assert_eq!(ready, "True");
    assert_eq!(
        text,
        "Task source did the same (spec.memo), and this one took its outcome"
    );
    let [own, left] = [&sim.task, &source].map(|task| task.status.clone().unwrap());
    assert_eq!(
        (&own.output, &own.artifacts),
        (&left.output, &left.artifacts)
    );
    assert_eq!((&own.workspace, &own.score), (&left.workspace, &left.score));
    assert!(own.usage.is_none() && own.attempt.is_none() && own.pinned.is_none());
    let from = MemoSource {
        name: "source".to_owned(),
        uid: "uid-source".to_owned(),
    };
    assert_eq!(own.memo.unwrap().from, Some(from));
    // Who begins with what it left begins with what that one left.
    assert_eq!(origin(&sim.task).uid, "uid-source");
    assert_eq!(origin(&source).uid, "uid-source");
    sim.memo = None;
    sim.settle();
}

// A world of Tasks that do the same.

struct World {
    /// Each as it is, and as the cache has it.
    tasks: Vec<(Task, Option<Task>)>,
    memos: Memos,
    writes: usize,
    did: usize,
}

impl World {
    fn write(&mut self, at: usize, seen: &Task, status: &Value) -> bool {
        let task = &mut self.tasks[at].0;
        if task.metadata.resource_version != seen.metadata.resource_version {
            return false;
        }
        self.writes += 1;
        task.metadata.resource_version = Some(format!("w{}", self.writes));
        task.status = serde_json::from_value(status.clone()).unwrap();
        true
    }

    fn sync(&mut self) {
        for (task, cached) in &mut self.tasks {
            *cached = Some(task.clone());
        }
    }

    fn working(task: &Task) -> bool {
        let begun = task
            .status
            .as_ref()
            .is_some_and(|status| status.attempt.is_some());
        begun && !super::has_ended(task)
    }

    /// One pass, whose status is written or not.
    fn pass(&mut self, at: usize, dies: bool) {
        let Some(seen) = self.tasks[at].1.clone() else {
            return;
        };
        let begun = seen
            .status
            .as_ref()
            .is_some_and(|status| status.attempt.is_some());
        if begun || super::has_ended(&seen) {
            return;
        }
        if !may_lead(&seen) {
            self.memos.forget(seen.metadata.uid.as_deref().unwrap());
            return;
        }
        let cached: Vec<Task> = self
            .tasks
            .iter()
            .filter_map(|(_, cached)| cached.clone())
            .collect();
        let memo = decide(&self.memos, &seen, &cached, 50);
        if dies {
            return;
        }
        match memo {
            Memo::Leads(_) => {
                self.did += usize::from(self.write(at, &seen, &leads()));
            }
            Memo::Follows(_, name) => {
                let follows = json!({"memo": {"identity": IDENTITY, "follows": name}});
                self.write(at, &seen, &follows);
            }
            Memo::Done(_, source) => {
                let mut status = ended(50, true);
                let source = source.metadata.name.clone().unwrap();
                status["attempt"] = json!(null);
                status["memo"]["from"] = json!({"name": source, "uid": "x"});
                if self.write(at, &seen, &status) {
                    self.memos.forget(seen.metadata.uid.as_deref().unwrap());
                }
            }
        }
    }

    /// What a Task does ends, once its pass sees it.
    fn end(&mut self, at: usize, complete: bool) {
        let Some(seen) = self.tasks[at].1.clone() else {
            return;
        };
        if Self::working(&seen) && self.write(at, &seen, &ended(50, complete)) {
            self.memos.forget(seen.metadata.uid.as_deref().unwrap());
        }
    }

    fn state(&mut self, at: usize, state: DesiredState) {
        self.writes += 1;
        let task = &mut self.tasks[at].0;
        task.metadata.resource_version = Some(format!("w{}", self.writes));
        task.spec.state = state;
    }
}

#[derive(Clone, Debug)]
enum Event {
    Pass(usize, bool),
    Sync,
    End(usize, bool),
    Pause(usize, bool),
    NewProcess,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..4usize, prop::bool::weighted(0.2)).prop_map(|(at, dies)| Event::Pass(at, dies)),
        4 => Just(Event::Sync),
        2 => (0..4usize, prop::bool::weighted(0.3)).prop_map(|(at, complete)| Event::End(at, complete)),
        1 => (0..4usize, any::<bool>()).prop_map(|(at, paused)| Event::Pause(at, paused)),
        1 => Just(Event::NewProcess),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever is behind, and whenever another process goes on: one at a time does it, nobody does it again once one succeeded, and all end.
    #[test]
    fn one_at_a_time_does_it(events in prop::collection::vec(event(), 0..60)) {
        let names = ["a", "b", "c", "d"];
        let tasks = names.map(|name| (task(name, &none(), &none()), None));
        let mut world = World { tasks: tasks.into(), memos: Memos::default(), writes: 0, did: 0 };
        let check = |world: &World| {
            let working = world.tasks.iter().filter(|(task, _)| World::working(task));
            prop_assert!(working.count() <= 1);
            Ok(())
        };
        for event in events {
            match event {
                Event::Pass(at, dies) => world.pass(at, dies),
                Event::Sync => world.sync(),
                Event::End(at, complete) => world.end(at, complete),
                Event::Pause(at, paused) => {
                    let state = if paused { DesiredState::Paused } else { DesiredState::Running };
                    world.state(at, state);
                }
                // It lists first.
                Event::NewProcess => {
                    world.memos = Memos::default();
                    world.sync();
                }
            }
            check(&world)?;
        }
        for at in 0..4 {
            world.state(at, DesiredState::Running);
        }
        let succeeded = |world: &World| {
            world.tasks.iter().any(|(task, _)| super::did(task, IDENTITY))
        };
        let (before, had) = (world.did, succeeded(&world));
        let working = world.tasks.iter().any(|(task, _)| World::working(task));
        for _ in 0..8 {
            for at in 0..4 {
                world.sync();
                world.pass(at, false);
                check(&world)?;
            }
            for at in 0..4 {
                world.sync();
                world.end(at, true);
            }
        }
        let all_end = world.tasks.iter().all(|(task, _)| super::has_ended(task));
        prop_assert!(all_end);
        let more = usize::from(!had && !working);
        prop_assert!(world.did - before <= more, "{} more did it", world.did - before);
    }
}
