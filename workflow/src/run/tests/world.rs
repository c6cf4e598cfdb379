//! A world for runs: the objects that are there, and the status that was written.

use super::super::{
    Child, Folding, Found, Kept, Lists, MAX_ACTIVE, Make, Over, Seen, Want, What, Which, advance,
    make, objects,
};
use crate::graph::Graph;
use jiff::Timestamp;
use oarmaster_crds::TaskSpec;
use oarmaster_crds::kinds::steps::StepsStatus;
use oarmaster_crds::kinds::task::{DesiredState, FailureStatus, Phase};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub fn agent(name: &str, prompt: &str) -> Value {
    json!({"name": name, "agent": {"name": "coder"}, "params": {"prompt": prompt}})
}

pub fn with(mut step: Value, more: Value) -> Value {
    if let (Value::Object(step), Value::Object(more)) = (&mut step, more) {
        step.extend(more);
    }
    step
}

pub fn failed(class: &str, message: &str) -> Child {
    let failure = FailureStatus {
        class: class.to_owned(),
        message: message.to_owned(),
    };
    Child::Failed(failure, None)
}

/// A text without the names of objects in it.
fn plain(text: &str) -> String {
    match text.split_once(" (run-") {
        Some((before, rest)) => {
            let after = rest.split_once(')').map_or("", |(_, after)| after);
            plain(&format!("{before}{after}"))
        }
        None => text.to_owned(),
    }
}

pub struct World {
    pub graph: Graph,
    pub params: Map<String, Value>,
    pub wanted: DesiredState,
    pub steps: StepsStatus,
    pub found: BTreeMap<String, Found>,
    /// Everything that was ever made, by step.
    made: BTreeMap<String, Vec<Make>>,
    pub next: Option<Duration>,
    pub ran: Duration,
    pub refused: BTreeMap<String, String>,
    pub most_tasks: Option<usize>,
    pub was_paused: bool,
    pub folding: Option<Folding>,
    /// Whether nothing is let go now.
    pub holds: bool,
    /// What was read of items whose Tasks were let go.
    kept: Kept,
    pub lists: Lists,
    /// What the gateway keeps of such items.
    pub store: BTreeMap<(String, u32), Vec<Child>>,
    /// How many of them can be read at once.
    pub readable: usize,
    /// How many objects there were at most.
    pub most: usize,
    /// How many bytes the status had at most.
    pub largest: usize,
    now: Timestamp,
    uids: usize,
}

impl World {
    pub fn new(spec: Value) -> Self {
        let spec = serde_json::from_value(spec).unwrap();
        Self {
            graph: Graph::compile(&spec).unwrap(),
            params: Map::new(),
            wanted: DesiredState::Running,
            steps: StepsStatus::default(),
            found: BTreeMap::new(),
            made: BTreeMap::new(),
            next: None,
            ran: Duration::ZERO,
            refused: BTreeMap::new(),
            most_tasks: None,
            was_paused: false,
            folding: None,
            holds: false,
            kept: Kept::default(),
            lists: Lists::new(),
            store: BTreeMap::new(),
            readable: usize::MAX,
            most: 0,
            largest: 0,
            now: Timestamp::from_second(1_000_000).unwrap(),
            uids: 0,
        }
    }

    /// What a pass is shown: what is there under the names that it may know.
    fn shown(&self) -> BTreeMap<String, Found> {
        let [tasks, approvals] = objects("run", "uid", &self.graph, Some(&self.steps));
        let known = |name: &String| tasks.contains(name) || approvals.contains(name);
        let found = self.found.iter().filter(|(name, _)| known(name));
        found
            .map(|(name, found)| (name.clone(), found.clone()))
            .collect()
    }

    fn seen<'a>(&'a self, found: &'a BTreeMap<String, Found>) -> Seen<'a> {
        Seen {
            now: self.now,
            task: "run",
            uid: "uid",
            wanted: self.wanted,
            params: &self.params,
            found,
            ran: self.ran,
            most: MAX_ACTIVE,
            refused: &self.refused,
            most_tasks: self.most_tasks,
            was_paused: self.was_paused,
            folding: self.folding,
            holds: self.holds,
            kept: &self.kept,
            lists: &self.lists,
        }
    }

    /// All of a step cannot be read at once.
    pub fn refuse(&mut self, step: &str) {
        let step = step.to_owned();
        self.read(&Want { step, item: None });
    }

    /// Reads what a pass asks for, of a step at once so many at most.
    fn read(&mut self, want: &Want) {
        let of_step = self.store.keys().filter(|(step, _)| *step == want.step);
        if want.item.is_none() && of_step.count() > self.readable {
            let class = oarmaster_protocol::FailureClass::OutputTooLarge;
            return self.kept.refuse(want, class, "is too much".to_owned());
        }
        let all = self.store.iter().filter(|((step, item), _)| {
            *step == want.step && want.item.is_none_or(|wanted| wanted == *item)
        });
        let all = all.map(|((_, item), results)| (*item, results.clone()));
        self.kept.take(want, all.collect::<Vec<_>>());
    }

    /// Passes, all of which are carried out, until there is nothing that is due at once.
    pub fn pass(&mut self) -> Option<Over> {
        for _ in 0..10 {
            let mut over = self.disturbed(usize::MAX, true);
            if let Some(Over::Failed(failure)) = &mut over {
                failure.message = plain(&failure.message);
            }
            if over.is_some() || self.next != Some(Duration::ZERO) {
                return over;
            }
        }
        panic!("it is due again and again: {:?}", self.steps);
    }

    /// One pass, of which the process dies after this many objects, and before its status is written unless `written`.
    pub fn disturbed(&mut self, objects: usize, written: bool) -> Option<Over> {
        let found = self.shown();
        let mut moves = advance(&self.graph, &self.steps, &self.seen(&found));
        // What is undone is read item by item, and as many begin at once as may.
        for _ in 0..MAX_ACTIVE {
            assert!(moves.wants.is_empty() || moves.steps == self.steps && moves.make.is_empty());
            for want in &moves.wants {
                self.read(want);
            }
            if moves.wants.is_empty() {
                break;
            }
            moves = advance(&self.graph, &self.steps, &self.seen(&found));
        }
        assert_eq!(moves.wants, [], "it is read again and again");
        self.lists.extend(moves.lists);
        for made in moves.make.iter().take(objects) {
            let all = self.made.entry(made.step.clone()).or_default();
            if let Some(before) = all.iter().find(|before| before.name == made.name) {
                assert_eq!(before, made, "made again, it is another one");
            }
            all.push(made.clone());
            self.uids += 1;
            let found = Found {
                uid: format!("uid-{}", self.uids),
                task: matches!(made.what, What::Task(_)),
                ours: true,
                state: DesiredState::Running,
                taken: false,
                now: Child::Live(Phase::Pending),
            };
            // POST: what is there stays.
            self.found.entry(made.name.clone()).or_insert(found);
        }
        if objects < moves.make.len() {
            return None;
        }
        for (name, state) in &moves.tell {
            if let Some(found) = self.found.get_mut(name) {
                found.state = *state;
            }
        }
        for fold in &moves.fold {
            if !fold.results.is_empty() {
                let key = (fold.step.clone(), fold.item);
                self.store.insert(key, fold.results.clone());
                self.kept.forget(&fold.step);
            }
            // Before the status is written the process may die after each of them.
            let many = if written { usize::MAX } else { objects % 3 };
            for (name, uid) in fold.tasks.iter().take(many) {
                let found = self.found.remove(name);
                assert_eq!(found.map(|found| found.uid).as_ref(), Some(uid));
            }
        }
        if !written {
            return None;
        }
        self.steps = moves.steps;
        self.most = self.most.max(self.found.len());
        let status = serde_json::to_vec(&self.steps).unwrap();
        self.largest = self.largest.max(status.len());
        self.next = moves.next;
        moves.over
    }

    /// Steps with an object that is live.
    pub fn live(&self) -> Vec<&str> {
        let mut live: Vec<&str> = self
            .graph
            .steps
            .iter()
            .map(|step| step.spec.name.as_str())
            .filter(|name| {
                let made = self.made.get(*name).and_then(|all| all.last());
                let found = made.and_then(|made| self.found.get(&made.name));
                found.is_some_and(|found| matches!(found.now, Child::Live(_)))
            })
            .collect();
        live.sort_unstable();
        live
    }

    /// What is live, like `work[2]` of an item and `-ship` of what undoes a step.
    pub fn units(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for made in self.made.values().flatten() {
            let live = |found: &Found| matches!(found.now, Child::Live(_));
            if self.found.get(&made.name).is_some_and(live) && !all.contains(&key(made)) {
                all.push(key(made));
            }
        }
        all.sort();
        all
    }

    fn unit(&self, unit: &str) -> &Make {
        let all = self.made.values().flatten();
        all.rev().find(|made| key(made) == unit).unwrap()
    }

    /// How many objects were made for a unit.
    pub fn made_of(&self, unit: &str) -> usize {
        let all = self.made.values().flatten();
        let names: std::collections::BTreeSet<&String> = all
            .filter(|made| key(made) == unit)
            .map(|made| &made.name)
            .collect();
        names.len()
    }

    pub fn end_unit(&mut self, unit: &str, child: Child) {
        let name = self.unit(unit).name.clone();
        self.found.get_mut(&name).unwrap().now = child;
    }

    /// It did nothing: another Task did the same.
    pub fn take(&mut self, unit: &str) {
        self.end_unit(unit, Child::Succeeded(json!(1)));
        let name = self.unit(unit).name.clone();
        self.found.get_mut(&name).unwrap().taken = true;
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The Tasks that were made for a step.
    pub fn tasks(&self, step: &str) -> Vec<TaskSpec> {
        let made = self.made[step].iter().map(|made| match &made.what {
            What::Task(task) => task.as_ref().clone(),
            What::Approval { .. } => panic!("{step} is an Approval"),
        });
        made.collect()
    }

    pub fn unit_prompt(&self, unit: &str) -> String {
        let What::Task(task) = &self.unit(unit).what else {
            panic!("{unit} is no Task");
        };
        plain(task.params.as_ref().unwrap()["prompt"].as_str().unwrap())
    }

    pub fn unit_told(&self, unit: &str) -> DesiredState {
        self.found[&self.unit(unit).name].state
    }

    /// The names of all objects that were made for a step.
    pub fn all_made(&self, step: &str) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for made in self.made.get(step).into_iter().flatten() {
            if !names.contains(&made.name.as_str()) {
                names.push(&made.name);
            }
        }
        names
    }

    pub fn was_made(&self, step: &str) -> bool {
        self.made.contains_key(step)
    }

    /// How often other objects were made for a step.
    pub fn times(&self, step: &str) -> usize {
        let made = self.made.get(step).into_iter().flatten();
        made.map(|made| &made.name)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    }

    pub fn object(&self, step: &str) -> String {
        self.made[step].last().unwrap().name.clone()
    }

    pub fn made(&self, step: &str) -> What {
        self.made[step].last().unwrap().what.clone()
    }

    pub fn task(&self, step: &str) -> TaskSpec {
        match self.made(step) {
            What::Task(task) => *task,
            What::Approval { .. } => panic!("{step} is an Approval"),
        }
    }

    pub fn prompt(&self, step: &str) -> String {
        let task = self.task(step);
        plain(task.params.unwrap()["prompt"].as_str().unwrap())
    }

    pub fn end(&mut self, step: &str, child: Child) {
        let name = self.object(step);
        self.found.get_mut(&name).unwrap().now = child;
    }

    pub fn told(&self, step: &str) -> DesiredState {
        self.found[&self.object(step)].state
    }

    pub fn delete(&mut self, step: &str) {
        let name = self.object(step);
        self.found.remove(&name);
    }

    pub fn foreign(&mut self, step: &str) {
        let at = self.graph.find(step).unwrap();
        let (_, name) = make::name_of(
            &self.seen(&self.found),
            &self.graph.steps[at].spec,
            Which::FIRST,
        );
        let found = Found {
            uid: "foreign".to_owned(),
            task: true,
            ours: false,
            state: DesiredState::Running,
            taken: false,
            now: Child::Live(Phase::Running),
        };
        self.found.insert(name, found);
    }

    pub fn later(&mut self, seconds: i64) {
        self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
    }
}

fn key(made: &Make) -> String {
    let undo = if made.which.undo { "-" } else { "" };
    match made.which.item {
        Some(item) => format!("{undo}{}[{item}]", made.step),
        None => format!("{undo}{}", made.step),
    }
}

/// Goes on until the end; each step ends as it is told.
pub fn end(world: &mut World, outcome: impl Fn(&str) -> Child) -> Over {
    for _ in 0..1000 {
        if let Some(over) = world.pass() {
            return over;
        }
        for unit in world.units() {
            world.end_unit(&unit, outcome(&unit));
        }
    }
    panic!("it does not end: {:?}", world.steps);
}
