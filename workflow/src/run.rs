//! The scheduler of a run: from what is written down and what is known of its steps' Tasks and Approvals to what is done next. Pure.
//!
//! What has happened to a step is written once and stays: nothing is decided twice, whatever a later pass sees. A step that is under way is
//! written down together with the name of its Task, which follows from run and step; a pass that is made again makes the same one.

mod end;
mod fan;
mod fold;
mod follow;
mod items;
mod keep;
mod key;
mod make;
mod numbers;
mod rerun;
mod standing;
#[cfg(test)]
mod tests;
mod undo;
mod values;

pub use fold::{Fold, Folding, Kept, Want};
pub use keep::keep;
pub use key::slot_key;
pub use make::{Make, What, Which, object, objects};
pub use rerun::{NOTHING_TO_UNDO, rerun, roll_back};

use crate::graph::Graph;
use crate::graph::Step;
use crate::made;
use fan::Fan;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::conditions::whole_second;
use oarmaster_crds::kinds::steps::{ActiveStep, Ending, StepKind, StepsStatus};
use oarmaster_crds::kinds::task::{DesiredState, FailureStatus, Phase};
use oarmaster_crds::kinds::workflow::MAX_ITEMS;
use oarmaster_protocol::FailureClass;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use standing::{Standing, State};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use values::Local;

/// Most steps of a run that are under way at once. A run that is a step of another one has fewer.
pub const MAX_ACTIVE: usize = 100;
/// Most items of all steps of a run.
const MAX_ITEMS_OF_RUN: usize = MAX_ITEMS;
/// Most bytes of the output of a run (16 KiB), as of any Task.
pub const MAX_OUTPUT_BYTES: usize = 16 << 10;
/// Most often that an Approval is asked, each time under another name, where it is deleted.
const MAX_ROUNDS: i64 = 8;
/// The class of a step that was stopped.
pub const CANCELLED: &str = "Cancelled";

/// What is known of a run.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The clock.
    pub now: Timestamp,
    /// Name of the run's Task, for the names of what it makes.
    pub task: &'a str,
    /// UID of it.
    pub uid: &'a str,
    /// What the run should be doing.
    pub wanted: DesiredState,
    /// Its parameters, defaults filled in.
    pub params: &'a Map<String, Value>,
    /// The Tasks and Approvals that are there under the names of its steps, by name.
    pub found: &'a BTreeMap<String, Found>,
    /// For how long it has run.
    pub ran: Duration,
    /// Most steps that may be under way at once.
    pub most: usize,
    /// Most Tasks that its steps may become, of a graph that a model made: see [`crate::made`].
    pub most_tasks: Option<usize>,
    /// Objects that the API server does not take, with what it says; and steps that cannot become objects, by name.
    pub refused: &'a BTreeMap<String, String>,
    /// Whether it was paused until now: then its Tasks are, too, and go on with it. One that somebody has paused by itself stays so.
    pub was_paused: bool,
    /// When Tasks of items are let go, or were; never where it says nothing.
    pub folding: Option<Folding>,
    /// Whether none are let go now.
    pub holds: bool,
    /// What was read of items whose Tasks were let go.
    pub kept: &'a Kept,
    /// Lists of items that earlier passes have put together, by digest.
    pub lists: &'a Lists,
}

/// Lists of items, by digest.
pub type Lists = BTreeMap<String, Arc<Vec<Value>>>;

impl Seen<'_> {
    /// Has a time run from now on, unless it does already. It does not while the run is paused, and begins anew after that.
    fn counts_from(&self, since: &mut Option<Time>) {
        if self.wanted == DesiredState::Paused {
            *since = None;
        } else {
            since.get_or_insert(Time(whole_second(self.now)));
        }
    }
}

/// A Task or an Approval under the name of a step's.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its UID.
    pub uid: String,
    /// Whether it is a Task; an Approval otherwise.
    pub task: bool,
    /// Whether it belongs to the run.
    pub ours: bool,
    /// Whether it is told to run.
    pub state: DesiredState,
    /// Whether it did nothing, and took the outcome of another Task that did the same.
    pub taken: bool,
    /// How it stands.
    pub now: Child,
}

/// How the Task or the Approval of a step stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Child {
    /// Under way.
    Live(Phase),
    /// Ended well, with this output.
    Succeeded(Value),
    /// Failed, with this output, if it has one.
    Failed(FailureStatus, Option<Value>),
    /// Was stopped.
    Cancelled,
}

/// What is done next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moves {
    /// How the steps stand after it.
    pub steps: StepsStatus,
    /// What is made. What is there already under its name is found by the next pass.
    pub make: Vec<Make>,
    /// Tasks that are told something else, by name.
    pub tell: Vec<(String, DesiredState)>,
    /// Items whose results are kept, and whose Tasks are deleted then, before `steps` is written.
    pub fold: Vec<Fold>,
    /// What is to be read first: then nothing else is done, and the pass is made again.
    pub wants: Vec<Want>,
    /// Lists of items that later passes need.
    pub lists: Lists,
    /// Set when nothing is left to do.
    pub over: Option<Over>,
    /// When to look again, if nothing happens before.
    pub next: Option<Duration>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Over {
    /// Well, with this output.
    Succeeded(Value),
    /// It failed.
    Failed(FailureStatus),
    /// It was stopped.
    Cancelled,
    /// It was stopped, and what it did is undone.
    RolledBack,
}

/// The class of what fails since a step of it, or an item, did. What ran out of its budget says so: raised, it goes on.
fn of_step(class: &str) -> FailureClass {
    if class == FailureClass::BudgetExceeded.as_str() {
        FailureClass::BudgetExceeded
    } else {
        FailureClass::StepFailed
    }
}

/// One pass.
#[must_use]
pub fn advance(graph: &Graph, held: &StepsStatus, seen: &Seen<'_>) -> Moves {
    let mut run = Run {
        graph,
        seen,
        standing: Standing::of(graph, held, seen),
        make: Vec::new(),
        lists: BTreeMap::new(),
        fresh: BTreeSet::new(),
        fold: Vec::new(),
        wants: RefCell::default(),
    };
    run.fold(held);
    run.follow();
    run.main();
    let over = run.finish();
    let wants = run.wants.take();
    if !wants.is_empty() {
        let wants = wants.into_iter().map(|(step, item)| Want { step, item });
        return Moves {
            steps: held.clone(),
            wants: wants.collect(),
            ..Moves::default()
        };
    }
    // In this pass they were still there.
    for (at, fold) in &run.fold {
        run.standing.folded(*at, i64::from(fold.item));
    }
    let lists = run.lists.values();
    let lists = lists.filter(|(digest, _)| !seen.lists.contains_key(digest));
    let mut moves = Moves {
        next: run.wakes(),
        tell: run.tell(),
        lists: lists.cloned().collect(),
        make: run.make,
        fold: run.fold.into_iter().map(|(_, fold)| fold).collect(),
        steps: run.standing.write(graph),
        wants: Vec::new(),
        over,
    };
    if moves.over.is_some() {
        moves.next = None;
    }
    moves
}

/// A pass in the making.
struct Run<'a> {
    graph: &'a Graph,
    seen: &'a Seen<'a>,
    standing: Standing,
    make: Vec<Make>,
    /// The items of steps, as this pass has them, with their digests.
    lists: BTreeMap<usize, (String, Arc<Vec<Value>>)>,
    /// Steps whose items begin with the next pass: it is written down first what they are.
    fresh: BTreeSet<usize>,
    /// Tasks of items that are let go, with their steps.
    fold: Vec<(usize, Fold)>,
    /// What is to be read, by step: one item, or all.
    wants: RefCell<BTreeMap<String, Option<u32>>>,
}

impl Run<'_> {
    /// The steps before `finally`.
    fn main(&mut self) {
        loop {
            self.look_for_an_end();
            if self.standing.ending.is_some() {
                self.standing.omit(0..self.graph.main);
                self.stop_waits();
                self.settle(0..self.graph.main);
                return;
            }
            if self.seen.wanted == DesiredState::Paused || !self.schedule(0..self.graph.main) {
                return;
            }
        }
    }

    /// Decides steps whose needs have ended, and begins items; whether something else may be decided now.
    fn schedule(&mut self, steps: std::ops::Range<usize>) -> bool {
        let mut moved = false;
        for at in steps.clone() {
            if matches!(self.standing.state(at), State::Active(_)) {
                self.fan_out(at);
            }
            let Some(step) = self.graph.steps.get(at) else {
                continue;
            };
            let idle = matches!(self.standing.state(at), State::Idle);
            let ready = step.needs.iter().all(|need| self.standing.has_ended(*need));
            if !idle || !ready {
                continue;
            }
            let runs = match &step.condition {
                None => {
                    if !step.needs.iter().all(|need| self.lets_through(*need)) {
                        self.standing.set(at, State::Omitted);
                        moved = true;
                        continue;
                    }
                    Ok(true)
                }
                Some(condition) => self
                    .values(condition.reads(), &Local::default())
                    .and_then(|values| condition.holds(&values).map_err(make::failed)),
            };
            match runs {
                Ok(true) if self.standing.taken() >= self.seen.most => continue,
                Ok(true) => self.begin(at),
                Ok(false) => self.standing.set(at, State::Skipped),
                Err((class, why)) => {
                    let text = format!("{}.if: {why}", step.place);
                    self.standing.fail(at, class.as_str(), &text);
                }
            }
            moved = true;
        }
        self.settle(steps) || moved
    }

    /// Whether what has no `if` runs after this step.
    fn lets_through(&self, need: usize) -> bool {
        // People who were not asked have not said yes.
        let step = self.graph.steps.get(need);
        let asks = step.is_some_and(|step| step.spec.approval.is_some());
        match self.standing.state(need) {
            State::Succeeded(_) => true,
            State::Skipped => !asks,
            _ => false,
        }
    }

    /// Begins a step.
    fn begin(&mut self, at: usize) {
        let fans = self
            .graph
            .steps
            .get(at)
            .is_some_and(|step| step.over.is_some());
        if !fans {
            return self.begin_unit(at, self.standing.which(at, None));
        }
        match self.list(at) {
            Ok(None) => self.standing.set(at, State::Skipped),
            Ok(Some(items)) if self.items_of_all() + items.len() > MAX_ITEMS_OF_RUN => {
                let text = format!(
                    "the run has more than {MAX_ITEMS_OF_RUN} items with these {}: do a part of them in a workflow of its own",
                    items.len()
                );
                self.standing
                    .fail(at, FailureClass::InvalidInput.as_str(), &text);
            }
            Ok(Some(items)) if self.has_too_many(at, items.len()) => {
                let text = format!(
                    "with its {} items the plan has more steps than allow.steps lets it",
                    items.len()
                );
                let class = FailureClass::LimitReached.as_str();
                self.standing.fail(at, class, &text);
            }
            Ok(Some(items)) => {
                let digest = values::digest(&items);
                let fan = Fan::new(items.len(), digest.clone());
                self.standing.fans.insert(at, fan);
                self.standing.set(at, State::Active(Vec::new()));
                self.lists.insert(at, (digest, Arc::new(items)));
                self.fresh.insert(at);
            }
            Err((class, why)) => self.standing.fail(at, class.as_str(), &why),
        }
    }

    /// How many items there are in all steps.
    fn items_of_all(&self) -> usize {
        self.standing.fans.values().map(Fan::len).sum()
    }

    /// Whether the steps become more Tasks than they may, with so many items of this one.
    fn has_too_many(&self, at: usize, items: usize) -> bool {
        let Some(most) = self.seen.most_tasks else {
            return false;
        };
        let all = self.graph.steps.iter().enumerate();
        let all = all.map(|(other, step)| {
            let known = self.standing.fans.get(&other).map(Fan::len);
            let known = known.or_else(|| made::literal_items(&step.spec));
            let items = if other == at {
                items
            } else {
                known.unwrap_or(1)
            };
            made::weight(&step.spec, items)
        });
        all.fold(0_usize, usize::saturating_add) > most
    }

    /// Begins items of a step, as long as there are places.
    fn fan_out(&mut self, at: usize) {
        let parallel = self.graph.steps.get(at).map_or(1, Step::parallel);
        while let Some(fan) = self.standing.fans.get(&at) {
            let Some(next) = fan.next(1).next() else {
                return;
            };
            if self.fresh.contains(&at)
                || self.gives_up(at)
                || self.standing.units(at).len() >= parallel
                || self.standing.taken() >= self.seen.most
            {
                return;
            }
            if let Some(fan) = self.standing.fans.get_mut(&at) {
                fan.begins(next);
            }
            self.begin_unit(at, self.standing.which(at, Some(next)));
        }
    }

    /// Whether more items of a step have failed than may.
    fn gives_up(&self, at: usize) -> bool {
        let step = self.graph.steps.get(at);
        let fan = self.standing.fans.get(&at);
        let (Some(step), Some(fan)) = (step, fan) else {
            return false;
        };
        fan.failed.len() > step.may_fail(fan.len())
    }

    /// Ends steps of whose items nothing is under way, and nothing will be; whether there was one.
    fn settle(&mut self, steps: std::ops::Range<usize>) -> bool {
        let mut moved = false;
        for at in steps {
            let Some(fan) = self.standing.fans.get(&at) else {
                continue;
            };
            let open = matches!(self.standing.state(at), State::Active(units) if units.is_empty());
            let stopped = self.is_stopped(at);
            let all = fan.all_begun();
            if !open || !(all || stopped || self.gives_up(at)) {
                continue;
            }
            moved = true;
            let (failed, items) = (fan.failed.len(), fan.len());
            if self.gives_up(at) {
                let first = fan.first_failure.as_ref();
                let first = first.map_or_else(String::new, |first| {
                    let object = first.object.as_ref();
                    let object = object.map_or_else(String::new, |object| format!(" ({object})"));
                    format!("; the first{object}: {}: {}", first.class, first.message)
                });
                let may = self
                    .graph
                    .steps
                    .get(at)
                    .map_or(0, |step| step.may_fail(items));
                let text = format!("{failed} of {items} items failed, and {may} may{first}");
                let class = fan.first_failure.as_ref();
                let class = class.map_or(FailureClass::StepFailed, |first| of_step(&first.class));
                self.standing.fail(at, class.as_str(), &text);
            } else if all {
                self.standing.succeed(at);
            } else {
                let text = "the run was stopped before all of its items were done";
                self.standing.fail(at, CANCELLED, text);
            }
        }
        moved
    }

    /// Whether what a step has under way is to stop.
    fn is_stopped(&self, at: usize) -> bool {
        if at < self.graph.main {
            self.standing.ending.is_some()
        } else {
            self.finally_is_over()
        }
    }

    /// Whether it is certain by now how the run ends.
    fn look_for_an_end(&mut self) {
        if self.standing.ending.is_some() {
            return self.rolls_back();
        }
        let limit = self.graph.spec.timeouts.run.get().unwrap_or_default();
        let main = 0..self.graph.main;
        let failed = self.first_failure();
        let ended = main.clone().all(|at| self.standing.has_ended(at));
        let failure = |class: FailureClass, message: String| FailureStatus {
            class: class.to_string(),
            message,
        };
        let (phase, failure) = if self.seen.wanted == DesiredState::RolledBack {
            (Phase::RolledBack, None)
        } else if self.seen.wanted == DesiredState::Cancelled && !ended {
            (Phase::Cancelled, None)
        } else if let Some((class, text)) = failed.filter(|_| ended || self.graph.spec.fail_fast) {
            (Phase::Failed, Some(failure(class, text)))
        } else if ended {
            (Phase::Succeeded, None)
        } else if self.seen.ran >= limit {
            let text = format!(
                "the running time of {} is used up; raise spec.timeouts.run of the Workflow",
                self.graph.spec.timeouts.run
            );
            (Phase::Failed, Some(failure(FailureClass::Timeout, text)))
        } else {
            return;
        };
        self.standing.ending = Some(Ending {
            phase,
            failure,
            finally_since: None,
            undo: None,
            since: Time(whole_second(self.seen.now)),
        });
    }

    /// What failed first of the steps whose failure nobody deals with: no step that asks for it has begun, and none of them may still.
    fn first_failure(&self) -> Option<(FailureClass, String)> {
        let unhandled = |at: &usize| {
            let step = self.graph.steps.get(*at);
            let gave_up = |asks: &usize| {
                matches!(self.standing.state(*asks), State::Skipped | State::Omitted)
            };
            *at < self.graph.main && step.is_some_and(|step| step.asked_by.iter().all(gave_up))
        };
        let first = self.standing.failures().find(unhandled)?;
        let class = match self.standing.state(first) {
            State::Failed(_, failed) => of_step(&failed.class),
            _ => FailureClass::StepFailed,
        };
        Some((class, self.standing.told(self.graph, first)))
    }

    /// An Approval is asked for nobody any more: it expires with the run. Nor is any time waited for.
    fn stop_waits(&mut self) {
        for at in self.standing.active() {
            let waits = |unit: &ActiveStep| unit.kind != StepKind::Task;
            if at < self.graph.main && self.standing.units(at).iter().any(waits) {
                self.standing
                    .fail(at, CANCELLED, "the run was stopped while it waited");
            }
        }
    }

    /// Tasks that are under way and of nobody's concern: a pass made them that was not written down, and a later one that did not see them decided otherwise.
    fn strays(&self) -> impl Iterator<Item = (&String, &Found)> {
        let units = self.standing.all_units().map(|(_, unit)| unit);
        let units = units.chain(&self.standing.undoing);
        let known: BTreeSet<&String> = units.map(|unit| &unit.object).collect();
        let live = |found: &Found| found.ours && matches!(found.now, Child::Live(_));
        self.seen
            .found
            .iter()
            .filter(move |(name, found)| live(found) && found.task && !known.contains(name))
    }

    /// What live Tasks are to be told.
    fn tell(&self) -> Vec<(String, DesiredState)> {
        let strays = self.strays();
        let strays = strays.filter(|(_, found)| found.state != DesiredState::Cancelled);
        let mut tell: Vec<_> = strays
            .map(|(name, _)| (name.clone(), DesiredState::Cancelled))
            .collect();
        let steps = self.standing.all_units();
        let steps = steps.map(|(at, unit)| (unit, self.is_stopped(at) || self.gives_up(at)));
        let undo = self.standing.undoing.iter();
        let undo = undo.map(|unit| (unit, !self.undoes()));
        for (unit, stops) in steps.chain(undo) {
            let found = self.seen.found.get(&unit.object);
            let Some(found) = found.filter(|_| unit.kind == StepKind::Task) else {
                continue;
            };
            let wanted = match (stops, self.seen.wanted) {
                (true, _) => DesiredState::Cancelled,
                (false, DesiredState::Paused) => DesiredState::Paused,
                (false, _) if self.seen.was_paused => DesiredState::Running,
                (false, _) => continue,
            };
            if found.state != wanted && found.state != DesiredState::Cancelled {
                tell.push((unit.object.clone(), wanted));
            }
        }
        tell
    }
}
