//! Places among runs of the same key: by table, and as a world in which processes die and caches are behind.

use super::super::{Made, Named, Seen};
use super::{Line, Rival, Turn};
use crate::task::assignment::task_ref;
use crate::task::census::has_ended;
use crate::task::limits::Limit;
use crate::task::plan::{Observed, Plan, plan};
use crate::task::tests::observed;
use jiff::Timestamp;
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_crds::{Task, conditions, names};
use oarmaster_protocol::admin::{TaskBudget, TaskUsage};
use oarmaster_workflow::graph::Graph;
use oarmaster_workflow::run::Child;
use proptest::prelude::*;
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const KEY: &str = "acme";

fn task(at: usize) -> Task {
    let created = Timestamp::from_second(1_000_000 + i64::try_from(at).unwrap()).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": format!("run-{at}"), "namespace": "team", "uid": format!("uid-{at}"), "creationTimestamp": created.to_string(), "resourceVersion": "1"},
        "spec": {"workflow": {"name": "ci"}},
    }))
    .unwrap()
}

fn lease(which: i64) -> String {
    names::slot_name("team", "ci", KEY, which)
}

/// A rival: `+` has the nth place, `-` waits, `!` waits and replaces, `x` has the first and leaves.
fn rival(at: usize, how: &str) -> Rival {
    let of = task(at);
    let (kind, which) = how.split_at(1);
    let has = matches!(kind, "+" | "x");
    Rival {
        name: format!("run-{at}"),
        rank: super::rank(&of, &Limit::default()),
        lease: has.then(|| lease(which.parse().unwrap_or(0))),
        replaces: kind == "!",
        leaves: kind == "x",
    }
}

/// Each by its number, and how it stands.
type Rivals = &'static [(usize, &'static str)];

fn line(rivals: &[(usize, &str)]) -> Line {
    Line {
        key: KEY.to_owned(),
        rivals: rivals.iter().map(|(at, how)| rival(*at, how)).collect(),
        ..Line::default()
    }
}

#[test]
fn a_run_takes_the_first_place_that_nobody_before_it_takes() {
    let claims = |which| Turn::Claims(lease(which));
    let replaced = |at| Turn::Replaced(format!("run-{at}"));
    let cases: [(Rivals, i64, bool, Option<Turn>); 13] = [
        (&[], 1, false, Some(claims(0))),
        (&[(0, "+0")], 1, false, None),
        (&[(0, "+0")], 2, false, Some(claims(1))),
        (&[(0, "+1")], 2, false, Some(claims(0))),
        (&[(0, "-")], 1, false, None),
        (&[(0, "-")], 2, false, Some(claims(1))),
        (&[(9, "-")], 1, false, Some(claims(0))),
        (&[(0, "x0")], 1, true, None),
        // A newer one that replaces goes first, and those before it are replaced.
        (&[(9, "!")], 1, true, Some(replaced(9))),
        (&[(8, "!"), (9, "!")], 1, false, Some(replaced(9))),
        (&[(9, "!")], 2, true, Some(claims(0))),
        (&[(0, "!")], 1, true, Some(claims(0))),
        (&[(0, "-"), (1, "-")], 2, false, None),
    ];
    for (rivals, limit, replaces, expected) in cases {
        let turn = line(rivals).turn(&task(5), limit, replaces);
        match expected {
            Some(expected) => assert_eq!(turn, expected, "{rivals:?} of {limit}"),
            None => assert!(matches!(turn, Turn::Waits(_)), "{rivals:?}: {turn:?}"),
        }
    }
}

#[test]
fn a_higher_priority_goes_first_as_far_as_the_namespace_lets_it_and_replaces_nobody_newer() {
    let cases = [
        // (priority of the older one, priority of the newer one, most of the namespace, who is first)
        (0, 0, None, 1),
        (0, 1, None, 2),
        (5, 1, None, 1),
        (0, 9, Some(0), 1),
        (3, 9, Some(3), 1),
        (-1, 0, Some(0), 2),
    ];
    for (older, newer, max_priority, first) in cases {
        let limits = Limit {
            max_priority,
            ..Limit::default()
        };
        let mut both = [task(1), task(2)];
        for (task, priority) in both.iter_mut().zip([older, newer]) {
            task.spec.priority = priority;
            let steps = json!({"steps": {"slot": {"key": KEY}}});
            task.status = serde_json::from_value(steps).unwrap();
        }
        let claims = both.each_ref().map(|own| {
            let line = Line::of(own, KEY.to_owned(), limits, both.iter(), |_| None);
            matches!(line.turn(own, 1, false), Turn::Claims(_))
        });
        assert_eq!(
            claims,
            [first == 1, first == 2],
            "{older} {newer} {max_priority:?}"
        );
        // With Replace it is the newest that is wanted, whatever the priorities.
        for task in &mut both {
            let steps = json!({"steps": {"slot": {"key": KEY, "replaces": true}}});
            task.status = serde_json::from_value(steps).unwrap();
        }
        let line = Line::of(&both[0], KEY.to_owned(), limits, both.iter(), |_| None);
        let replaced = Turn::Replaced("run-2".to_owned());
        assert_eq!(line.turn(&both[0], 1, true), replaced);
    }
}

#[test]
fn who_waits_says_for_whom() {
    let told = |line: &Line, limit, replaces| match line.turn(&task(5), limit, replaces) {
        Turn::Waits(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        told(&line(&[(0, "+0"), (1, "-"), (2, "-")]), 1, false),
        "as many runs of Workflow ci with the key 'acme' go on as may (spec.concurrency): run-0, and 2 wait before this one; it begins when one of them ends; cancel that one, or this one (spec.state: Cancelled)"
    );
    let four: Vec<String> = (0..4).map(|at| format!("+{at}")).collect();
    let four: Vec<(usize, &str)> = four
        .iter()
        .enumerate()
        .map(|(at, how)| (at, how.as_str()))
        .collect();
    let why = told(&line(&four), 4, true);
    assert!(
        why.contains(": run-0, run-1, run-2, 1 more; what is older stops for it"),
        "{why}"
    );
    let mut foreign = line(&[]);
    let by = "Lease x, which belongs to no Task; delete it".to_owned();
    foreign.taken.insert(lease(0), by);
    assert!(told(&foreign, 1, false).contains("Lease x, which belongs to no Task; delete it"));
}

#[test]
fn the_oldest_stop_for_newer_runs_and_no_more_than_needed() {
    let cases: [(Rivals, i64, Option<usize>); 9] = [
        (&[], 1, None),
        (&[(9, "!")], 1, Some(9)),
        (&[(9, "-")], 1, None),
        // A run that is older and run anew waits.
        (&[(0, "!")], 1, None),
        (&[(8, "!"), (9, "!")], 1, Some(9)),
        (&[(9, "!")], 2, None),
        (&[(0, "+1"), (9, "!")], 2, None),
        (&[(6, "+1"), (9, "!")], 2, Some(9)),
        (&[(6, "x1"), (9, "!")], 2, None),
    ];
    for (rivals, limit, expected) in cases {
        let expected = expected.map(|at| format!("run-{at}"));
        let stops = line(rivals).stops_for(&task(5), limit);
        assert_eq!(stops, expected, "{rivals:?} of {limit}");
    }
}

#[test]
fn a_place_of_a_run_above_is_that_of_those_below_it() {
    let mut above = task(0);
    above.status =
        serde_json::from_value(json!({"steps": {"slot": {"key": KEY, "lease": "x", "uid": "y"}}}))
            .unwrap();
    let mut below = task(1);
    let owner = json!([{"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "name": "run-0", "uid": "uid-0", "controller": true}]);
    below.metadata.owner_references = serde_json::from_value(owner).unwrap();
    below.metadata.labels = Some([(names::PARENT_UID_LABEL.to_owned(), "uid-0".to_owned())].into());
    let look = |below: &Task, above: &Task, key: &str| {
        Line::of(
            below,
            key.to_owned(),
            Limit::default(),
            [above].into_iter(),
            |_| Some(Arc::new(above.clone())),
        )
        .turn(below, 1, false)
    };
    assert_eq!(look(&below, &above, KEY), Turn::Within("run-0".to_owned()));
    assert_eq!(
        look(&below, &above, "other"),
        Turn::Claims(names::slot_name("team", "ci", "other", 0))
    );
    // Whoever has no such label is nobody's step, whatever it says of its owner.
    let mut stranger = below.clone();
    stranger.metadata.labels = None;
    assert!(matches!(look(&stranger, &above, KEY), Turn::Claims(_)));
    above.spec.workflow = Some(oarmaster_crds::kinds::goal::RunWorkflow::named("other"));
    assert!(matches!(look(&below, &above, KEY), Turn::Claims(_)));
}

// A world of runs of one key.

struct Run {
    task: Task,
    /// As the cache has it.
    cached: Option<Task>,
    kept: bool,
    opened: bool,
    child: Option<(String, DesiredState, bool)>,
    told_to_stop: bool,
}

struct World {
    graph: Arc<Graph>,
    limit: usize,
    runs: Vec<Run>,
    /// UID and owner, by name.
    leases: BTreeMap<String, (String, String)>,
    uids: usize,
    writes: usize,
}

/// Where the process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dies {
    Not,
    AfterLease,
    BeforeStatus,
    BeforeRelease,
}

impl World {
    fn new(limit: usize, policy: &str) -> Self {
        let spec = json!({
            "concurrency": {"key": KEY, "limit": limit, "policy": policy},
            "steps": [{"name": "work", "agent": {"name": "coder"}, "params": {"prompt": "x"}}],
        });
        let spec = serde_json::from_value(spec).unwrap();
        Self {
            graph: Arc::new(Graph::compile(&spec).unwrap()),
            limit,
            runs: Vec::new(),
            leases: BTreeMap::new(),
            uids: 0,
            writes: 0,
        }
    }

    fn create(&mut self) {
        self.runs.push(Run {
            task: task(self.runs.len()),
            cached: None,
            kept: false,
            opened: false,
            child: None,
            told_to_stop: false,
        });
    }

    fn sync(&mut self) {
        for run in &mut self.runs {
            run.cached = Some(run.task.clone());
        }
    }

    fn observe(&self, at: usize, task: &Task, taken: BTreeMap<String, String>) -> Observed {
        let run = &self.runs[at];
        let begun = task
            .status
            .as_ref()
            .is_some_and(|status| status.attempt.is_some());
        let cached = || self.runs.iter().filter_map(|run| run.cached.as_ref());
        let line = Line {
            taken,
            ..Line::of(task, KEY.to_owned(), Limit::default(), cached(), |_| None)
        };
        let mut seen = Seen {
            budget: Some(TaskBudget::default()),
            line: Some(line),
            ..Seen::default()
        };
        let graph = Arc::clone(&self.graph);
        if begun {
            seen.graph = Some(graph);
        } else {
            seen.named = Named::Found {
                graph,
                kept: run.kept,
            };
        }
        seen.params = Map::new();
        if let Some((name, state, ended)) = &run.child {
            let now = match (ended, state) {
                (true, DesiredState::Cancelled) => Child::Cancelled,
                (true, _) => Child::Succeeded(json!(1)),
                (false, _) => Child::Live(Phase::Running),
            };
            let found = oarmaster_workflow::run::Found {
                uid: "child".to_owned(),
                task: true,
                ours: true,
                state: *state,
                taken: false,
                now,
            };
            seen.found.insert(name.clone(), found);
        }
        let report = run
            .opened
            .then(|| observed::opened(task_ref(task), 1, TaskUsage::default()));
        observed::of_run(Timestamp::from_second(2_000_000).unwrap(), report, seen)
    }

    fn ended(task: &Task) -> bool {
        has_ended(task)
    }

    /// As `lease::take`: the UID, or who has it.
    fn take(&mut self, at: usize, name: &str) -> Result<String, String> {
        let own = format!("uid-{at}");
        if let Some((uid, owner)) = self.leases.get(name) {
            if *owner == own {
                return Ok(uid.clone());
            }
            let of: usize = owner["uid-".len()..].parse().unwrap();
            if !Self::ended(&self.runs[of].task) {
                return Err(format!("run-{of}"));
            }
        }
        self.uids += 1;
        let uid = format!("lease-{}", self.uids);
        self.leases.insert(name.to_owned(), (uid.clone(), own));
        Ok(uid)
    }

    /// One pass, with what the cache has.
    fn pass(&mut self, at: usize, dies: Dies) {
        let Some(task) = self.runs[at].cached.clone() else {
            return;
        };
        let todo = plan(&task, &self.observe(at, &task, BTreeMap::new()));
        self.act(at, &task, todo, dies);
    }

    fn act(&mut self, at: usize, task: &Task, todo: Plan, dies: Dies) {
        let mut status = todo.status;
        self.runs[at].kept |= todo.run.pin.is_some();
        if let Some(lease) = &todo.run.slot {
            let name = lease.metadata.name.clone().unwrap();
            match self.take(at, &name) {
                Ok(uid) => {
                    let steps = status.as_mut().and_then(|status| status.steps.as_mut());
                    if let Some(slot) = steps.and_then(|steps| steps.slot.as_mut()) {
                        slot.uid = Some(uid);
                    }
                }
                Err(by) => {
                    let taken = BTreeMap::from([(name, by)]);
                    let again = plan(task, &self.observe(at, task, taken));
                    assert!(again.run.slot.is_none(), "it takes what it cannot have");
                    return self.act(at, task, again, dies);
                }
            }
        }
        if dies == Dies::AfterLease {
            return;
        }
        self.runs[at].opened |= todo.run.open.is_some();
        for made in &todo.run.make {
            let Made::Task(child) = made else {
                panic!("an Approval")
            };
            let name = child.metadata.name.clone().unwrap();
            self.runs[at]
                .child
                .get_or_insert((name, DesiredState::Running, false));
        }
        for (_, state) in &todo.run.tell {
            if let Some(child) = &mut self.runs[at].child {
                child.1 = *state;
            }
        }
        if dies == Dies::BeforeStatus {
            return;
        }
        if let Some(status) = status {
            let run = &mut self.runs[at];
            if run.task.metadata.resource_version != task.metadata.resource_version {
                return; // a newer one is on its way
            }
            self.writes += 1;
            run.task.status = Some(status);
            run.task.metadata.resource_version = Some(format!("w{}", self.writes));
        }
        if dies == Dies::BeforeRelease {
            return;
        }
        if let Some(release) = todo.release {
            let held = self.leases.get(&release.name);
            let own = held.is_some_and(|(uid, owner)| match &release.uid {
                Some(wanted) => wanted == uid,
                None => *owner == format!("uid-{at}"),
            });
            if own {
                self.leases.remove(&release.name);
            }
        }
    }

    fn cancel(&mut self, at: usize) {
        let run = &mut self.runs[at];
        self.writes += 1;
        run.told_to_stop = true;
        run.task.spec.state = DesiredState::Cancelled;
        run.task.metadata.resource_version = Some(format!("w{}", self.writes));
    }

    fn end_child(&mut self, at: usize) {
        if let Some(child) = &mut self.runs[at].child {
            child.2 = true;
        }
    }

    fn go_on(&self) -> usize {
        let going = |run: &&Run| (run.opened || run.child.is_some()) && !Self::ended(&run.task);
        self.runs.iter().filter(going).count()
    }

    fn phase(&self, at: usize) -> Option<Phase> {
        self.runs[at].task.status.as_ref()?.phase
    }

    /// Everything is seen and done, but what children do, until nothing changes.
    fn settle(&mut self) {
        loop {
            let before = self.writes;
            self.sync();
            for at in 0..self.runs.len() {
                self.pass(at, Dies::Not);
                assert!(self.go_on() <= self.limit);
            }
            if before == self.writes {
                return;
            }
        }
    }

    /// All children end, again and again.
    fn run_out(&mut self) {
        for _ in 0..=self.runs.len() {
            self.settle();
            for at in 0..self.runs.len() {
                self.end_child(at);
            }
        }
        self.settle();
    }
}

#[test]
fn runs_go_on_one_after_the_other_the_oldest_first() {
    let mut world = World::new(1, "Queue");
    for _ in 0..3 {
        world.create();
    }
    world.settle();
    let phases =
        |world: &World| -> Vec<Option<Phase>> { (0..3).map(|at| world.phase(at)).collect() };
    let [running, queued, done] = [Phase::Running, Phase::Queued, Phase::Succeeded].map(Some);
    assert_eq!(phases(&world), [running, queued, queued]);
    let status = world.runs[2].task.status.clone().unwrap();
    let ready = conditions::find(&status.conditions, conditions::READY).unwrap();
    assert_eq!(ready.reason, "WaitingForSlot");
    assert!(
        ready.message.contains("run-0, and 1 waits before this one"),
        "{}",
        ready.message
    );
    assert!(status.steps.unwrap().running_since.is_none() && status.started_at.is_none());
    world.end_child(0);
    world.settle();
    assert_eq!(phases(&world), [done, running, queued]);
    world.run_out();
    assert_eq!(phases(&world), [done; 3]);
    assert!(world.leases.is_empty(), "{:?}", world.leases);
}

#[test]
fn a_run_without_a_place_fails_where_it_does_not_wait() {
    let mut world = World::new(1, "Reject");
    world.create();
    world.settle();
    world.create();
    world.settle();
    let failure = world.runs[1].task.status.clone().unwrap().failure.unwrap();
    assert_eq!(failure.class, "Conflict");
    assert!(
        failure.message.contains("(spec.concurrency): run-0;"),
        "{}",
        failure.message
    );
    assert!(!world.runs[1].opened && !world.runs[1].kept);
    assert_eq!(world.phase(0), Some(Phase::Running));
}

#[test]
fn the_newest_run_takes_the_place_of_an_older_one_once_that_has_ended() {
    let mut world = World::new(1, "Replace");
    world.create();
    world.settle();
    world.create();
    world.create();
    world.settle();
    assert_eq!(
        world.phase(0),
        Some(Phase::Running),
        "its step has not ended"
    );
    assert_eq!(
        world.runs[0].child.as_ref().unwrap().1,
        DesiredState::Cancelled
    );
    assert_eq!(
        world.runs[0].task.spec.state,
        DesiredState::Running,
        "the spec is its author's"
    );
    assert_eq!(
        world.phase(1),
        Some(Phase::Cancelled),
        "it waited, and a newer one came"
    );
    assert!(!world.runs[1].opened);
    assert_eq!(world.phase(2), Some(Phase::Queued));
    world.end_child(0);
    world.settle();
    assert_eq!(world.phase(0), Some(Phase::Cancelled));
    let status = world.runs[0].task.status.clone().unwrap();
    let ready = conditions::find(&status.conditions, conditions::READY).unwrap();
    assert!(
        ready.message.contains("run-2 took its place"),
        "{}",
        ready.message
    );
    assert_eq!(world.phase(2), Some(Phase::Running));
}

#[test]
fn a_run_that_waits_ends_when_it_is_cancelled_and_pauses_without_a_place() {
    let mut world = World::new(1, "Queue");
    for _ in 0..3 {
        world.create();
    }
    world.settle();
    world.runs[1].task.spec.state = DesiredState::Paused;
    world.settle();
    assert_eq!(world.phase(1), Some(Phase::Paused));
    world.end_child(0);
    world.settle();
    assert_eq!(
        world.phase(2),
        Some(Phase::Running),
        "nobody waits for who is paused"
    );
    world.runs[1].task.spec.state = DesiredState::Running;
    world.settle();
    assert_eq!(world.phase(1), Some(Phase::Queued));
    world.cancel(1);
    world.settle();
    assert_eq!(world.phase(1), Some(Phase::Cancelled));
    assert!(!world.runs[1].opened && world.runs[1].child.is_none());
}

#[derive(Clone, Debug)]
enum Event {
    Create,
    Sync,
    Pass(usize, Dies),
    EndChild(usize),
    Cancel(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let dies = prop_oneof![
        6 => Just(Dies::Not),
        1 => Just(Dies::AfterLease),
        1 => Just(Dies::BeforeStatus),
        1 => Just(Dies::BeforeRelease),
    ];
    prop_oneof![
        2 => Just(Event::Create),
        4 => Just(Event::Sync),
        12 => (0..6usize, dies).prop_map(|(at, dies)| Event::Pass(at, dies)),
        3 => (0..6usize).prop_map(Event::EndChild),
        1 => (0..6usize).prop_map(Event::Cancel),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is behind, and whenever the process dies: no more go on than may, all come to an end, nobody stops who was not to, and no place is lost.
    #[test]
    fn no_more_runs_go_on_than_may(
        limit in 1..3usize,
        replaces in any::<bool>(),
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut world = World::new(limit, if replaces { "Replace" } else { "Queue" });
        for event in events {
            let there = world.runs.len();
            match event {
                Event::Create if there < 6 => world.create(),
                Event::Sync => world.sync(),
                Event::Pass(at, dies) if at < there => world.pass(at, dies),
                Event::EndChild(at) if at < there => world.end_child(at),
                Event::Cancel(at) if at < there => world.cancel(at),
                _ => {}
            }
            prop_assert!(world.go_on() <= limit, "{} go on", world.go_on());
        }
        world.run_out();
        for (at, run) in world.runs.iter().enumerate() {
            prop_assert!(World::ended(&run.task), "run-{at} does not end: {:?}", run.task.status);
            let newest = world.runs.len() - at <= limit;
            if !run.told_to_stop && (newest || !replaces) {
                prop_assert_eq!(world.phase(at), Some(Phase::Succeeded), "run-{}", at);
            }
        }
        // One that is left stands in nobody's way.
        for (_, owner) in world.leases.values() {
            let of: usize = owner["uid-".len()..].parse().unwrap();
            prop_assert!(World::ended(&world.runs[of].task));
        }
    }
}
