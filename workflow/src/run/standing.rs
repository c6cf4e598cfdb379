//! How each step stands.

use super::Seen;
use super::fan::Fan;
use super::make::{Which, name_of};
use super::numbers::{read_numbers, write_numbers};
use crate::graph::{Graph, Step};
use oarmaster_crds::kinds::steps::{
    ActiveStep, Ending, FailedStep, StepKind, StepsStatus, UndoStatus,
};
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::text::shorten;
use std::collections::BTreeMap;

/// Characters of the message of a failed step that are written down.
const MESSAGE: usize = 256;
/// The same of the first ones: whoever mends what failed reads them.
const LONG: (usize, usize) = (1024, 4);
/// Failed steps whose message is written down.
const TOLD: usize = 16;

/// How a step stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Not begun.
    Idle,
    /// Under way: what does it now. With `forEach` there may be nothing, while others have the places.
    Active(Vec<ActiveStep>),
    /// Succeeded, as the nth of the run.
    Succeeded(usize),
    /// Its `if` was false.
    Skipped,
    /// Not begun, and never will be.
    Omitted,
    /// Failed, as the nth of the run.
    Failed(usize, FailedStep),
}

/// How all steps stand.
pub(super) struct Standing {
    states: Vec<State>,
    /// Items, of steps that have them.
    pub(super) fans: BTreeMap<usize, Fan>,
    /// How often a step, or an item of one, was done, where it was more than once and is through.
    turns: BTreeMap<(usize, Option<i64>), i64>,
    /// Of steps, or their items, that were run anew, by which `rerun.count`.
    reruns: BTreeMap<(usize, Option<i64>), i64>,
    /// What undoes a step now.
    pub(super) undoing: Vec<ActiveStep>,
    /// How many have succeeded or failed.
    ended: usize,
    pub(super) ending: Option<Ending>,
    /// How far it is undone. It stands with the end.
    pub(super) undo: UndoStatus,
    /// Whether that was written down before this pass.
    pub(super) certain: bool,
    /// What the scheduler keeps as it is.
    kept: StepsStatus,
}

impl Standing {
    /// As it was written down, and what was made since.
    pub(super) fn of(graph: &Graph, held: &StepsStatus, seen: &Seen<'_>) -> Self {
        let mut standing = Self::read(graph, held);
        standing.adopt(graph, seen);
        standing
    }

    /// As it was written down.
    pub(super) fn read(graph: &Graph, held: &StepsStatus) -> Self {
        let mut ending = held.ending.clone();
        let undo = ending.as_mut().and_then(|ending| ending.undo.take());
        let mut standing = Self {
            states: vec![State::Idle; graph.steps.len()],
            fans: BTreeMap::new(),
            turns: BTreeMap::new(),
            reruns: BTreeMap::new(),
            undoing: Vec::new(),
            ended: 0,
            certain: ending.is_some(),
            ending,
            undo: undo.unwrap_or_default(),
            kept: StepsStatus {
                revision: held.revision.clone(),
                running_since: held.running_since.clone(),
                reruns: held.reruns,
                refused: held.refused.clone(),
                slot: held.slot.clone(),
                ..StepsStatus::default()
            },
        };
        let index: BTreeMap<&str, usize> = graph
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| (step.spec.name.as_str(), at))
            .collect();
        let find = |name: &String| index.get(name.as_str()).copied();
        for held in &held.fans {
            if let Some(at) = find(&held.name) {
                standing.fans.insert(at, Fan::read(held));
                standing.set(at, State::Active(Vec::new()));
            }
        }
        for (held, numbers) in [
            (&held.repeated, &mut standing.turns),
            (&held.rerun, &mut standing.reruns),
        ] {
            for (name, text) in held {
                let at = find(name).into_iter();
                let all =
                    at.flat_map(|at| read_numbers(text).map(move |(item, n)| ((at, item), n)));
                numbers.extend(all);
            }
        }
        for active in &held.active {
            match find(&active.name) {
                Some(_) if active.undo => standing.undoing.push(active.clone()),
                Some(at) => standing.add(at, active.clone()),
                None => {}
            }
        }
        for name in &held.skipped {
            find(name)
                .into_iter()
                .for_each(|at| standing.set(at, State::Skipped));
        }
        for name in &held.omitted {
            find(name)
                .into_iter()
                .for_each(|at| standing.set(at, State::Omitted));
        }
        for name in &held.succeeded {
            find(name).into_iter().for_each(|at| standing.succeed(at));
        }
        for failed in &held.failed {
            if let Some(at) = find(&failed.name) {
                standing.set(at, State::Failed(standing.ended, failed.clone()));
                standing.ended += 1;
            }
        }
        standing
    }

    /// What was made, and not written down before the process died, is under way.
    fn adopt(&mut self, graph: &Graph, seen: &Seen<'_>) {
        let there = |name: &str| seen.found.get(name).is_some_and(|found| found.ours);
        for (at, step) in graph.steps.iter().enumerate() {
            if let (State::Idle, None) = (self.state(at), &step.over) {
                let unit = unit(seen, step, self.which(at, None));
                if there(&unit.object) {
                    self.add(at, unit);
                }
            }
            if !matches!(self.state(at), State::Active(_)) {
                continue;
            }
            let next = self.fans.get(&at).map(|fan| fan.next(step.parallel()));
            let mut next: Vec<ActiveStep> = next
                .into_iter()
                .flatten()
                .map(|item| unit(seen, step, self.which(at, Some(item))))
                .collect();
            // They begin in this order: those before one that is there have begun, too.
            let made = next.iter().rposition(|unit| there(&unit.object));
            next.truncate(made.map_or(0, |last| last + 1));
            for unit in next {
                if let (Some(fan), Some(item)) = (self.fans.get_mut(&at), unit.item) {
                    fan.begins(item);
                }
                self.add(at, unit);
            }
        }
    }

    pub(super) fn state(&self, at: usize) -> &State {
        self.states.get(at).unwrap_or(&State::Idle)
    }

    pub(super) fn set(&mut self, at: usize, state: State) {
        if let Some(held) = self.states.get_mut(at) {
            *held = state;
        }
    }

    /// What a step has under way.
    pub(super) fn units(&self, at: usize) -> &[ActiveStep] {
        match self.state(at) {
            State::Active(units) => units,
            _ => &[],
        }
    }

    /// Everything that is under way.
    pub(super) fn all_units(&self) -> impl Iterator<Item = (usize, &ActiveStep)> {
        let steps = self.states.iter().enumerate();
        steps.flat_map(|(at, _)| self.units(at).iter().map(move |unit| (at, unit)))
    }

    /// How many places are taken: people and time need none.
    pub(super) fn taken(&self) -> usize {
        let units = self.all_units();
        let units = units.filter(|(_, unit)| unit.kind == StepKind::Task);
        units.count() + self.undoing.len()
    }

    /// The steps that are under way.
    pub(super) fn active(&self) -> Vec<usize> {
        let states = self.states.iter().enumerate();
        states
            .filter(|(_, state)| matches!(state, State::Active(_)))
            .map(|(at, _)| at)
            .collect()
    }

    pub(super) fn has_ended(&self, at: usize) -> bool {
        !matches!(self.state(at), State::Idle | State::Active(_))
    }

    /// Whether a step has ended by itself, and so may have left something.
    pub(super) fn ran(&self, at: usize) -> bool {
        matches!(self.state(at), State::Succeeded(_) | State::Failed(..))
    }

    /// Something of a step is under way; what it had of the same item is over.
    pub(super) fn add(&mut self, at: usize, unit: ActiveStep) {
        match self.states.get_mut(at) {
            Some(State::Active(units)) => {
                match units.iter_mut().find(|held| held.item == unit.item) {
                    Some(held) => *held = unit,
                    None => units.push(unit),
                }
            }
            Some(state) => *state = State::Active(vec![unit]),
            None => {}
        }
    }

    fn take(&mut self, at: usize, item: Option<i64>) -> Option<ActiveStep> {
        let Some(State::Active(units)) = self.states.get_mut(at) else {
            return None;
        };
        let nth = units.iter().position(|unit| unit.item == item)?;
        Some(units.remove(nth))
    }

    /// What is not begun never will be.
    pub(super) fn omit(&mut self, steps: std::ops::Range<usize>) {
        for at in steps {
            if matches!(self.state(at), State::Idle) {
                self.set(at, State::Omitted);
            }
        }
    }

    /// A step has succeeded.
    pub(super) fn succeed(&mut self, at: usize) {
        self.set(at, State::Succeeded(self.ended));
        self.ended += 1;
    }

    /// A step has failed.
    pub(super) fn fail(&mut self, at: usize, class: &str, message: &str) {
        let object = match self.state(at) {
            State::Active(units) if !self.fans.contains_key(&at) => units.first(),
            _ => None,
        };
        let object = object.map(|unit| unit.object.clone());
        let failed = FailedStep {
            message: shorten(message, LONG.0),
            ..failed_step(object, class, "")
        };
        self.set(at, State::Failed(self.ended, failed));
        self.ended += 1;
    }

    /// What a step has under way has succeeded: the step has, or an item of it.
    pub(super) fn unit_succeeded(&mut self, at: usize, unit: &ActiveStep) {
        if unit.turn > 1 {
            self.turns.insert((at, unit.item), unit.turn);
        }
        if self.fans.contains_key(&at) {
            self.take(at, unit.item);
        } else {
            self.succeed(at);
        }
    }

    /// What a step has under way has failed: the step has, or an item of it.
    pub(super) fn unit_failed(&mut self, at: usize, item: Option<i64>, class: &str, message: &str) {
        let turn = self
            .units(at)
            .iter()
            .find(|unit| unit.item == item)
            .map(|unit| unit.turn);
        if let Some(turn) = turn.filter(|turn| *turn > 1) {
            self.turns.insert((at, item), turn);
        }
        let Some(item) = item else {
            return self.fail(at, class, message);
        };
        let object = self.take(at, Some(item)).map(|unit| unit.object);
        if let Some(fan) = self.fans.get_mut(&at) {
            fan.failed.insert(item);
            fan.first_failure.get_or_insert_with(|| {
                let message = match message {
                    "" => format!("item {item}"),
                    message => format!("item {item}: {message}"),
                };
                failed_step(object, class, &message)
            });
        }
    }

    /// The Tasks of an item are let go, and what names them with them.
    pub(super) fn folded(&mut self, at: usize, item: i64) {
        self.turns.remove(&(at, Some(item)));
        self.reruns.remove(&(at, Some(item)));
        if let Some(fan) = self.fans.get_mut(&at) {
            fan.folded.insert(item);
        }
    }

    /// What is made first for a step, or an item of it.
    pub(super) fn which(&self, at: usize, item: Option<i64>) -> Which {
        let rerun = self
            .reruns
            .get(&(at, item))
            .or_else(|| self.reruns.get(&(at, None)));
        Which {
            rerun: rerun.copied().unwrap_or_default(),
            ..Which::item(item)
        }
    }

    /// What was made last for a step, or an item of it.
    pub(super) fn last(&self, at: usize, item: Option<i64>) -> Which {
        Which {
            turn: self.turn(at, item),
            ..self.which(at, item)
        }
    }

    /// What something under way is.
    pub(super) fn which_of(&self, at: usize, unit: &ActiveStep) -> Which {
        Which {
            turn: unit.turn,
            round: unit.round,
            undo: unit.undo,
            ..self.which(at, unit.item)
        }
    }

    /// How often a step, or an item of it, was done by now.
    pub(super) fn turn(&self, at: usize, item: Option<i64>) -> i64 {
        let live = self.units(at).iter().find(|unit| unit.item == item);
        live.map(|unit| unit.turn)
            .or_else(|| self.turns.get(&(at, item)).copied())
            .unwrap_or(1)
    }

    /// The steps that failed, the first one first.
    pub(super) fn failures(&self) -> impl Iterator<Item = usize> {
        let mut failed: Vec<(usize, usize)> = self
            .states
            .iter()
            .enumerate()
            .filter_map(|(at, state)| match state {
                State::Failed(nth, _) => Some((*nth, at)),
                _ => None,
            })
            .collect();
        failed.sort_unstable();
        failed.into_iter().map(|(_, at)| at)
    }

    /// What is said of a step that failed.
    pub(super) fn told(&self, graph: &Graph, at: usize) -> String {
        let name = graph.steps.get(at).map_or("", |step| &step.spec.name);
        match self.state(at) {
            State::Failed(_, failed) => told(name, failed),
            _ => format!("step {name}"),
        }
    }

    /// As it is written down.
    pub(super) fn write(self, graph: &Graph) -> StepsStatus {
        let undo = (self.undo != UndoStatus::default()).then_some(self.undo);
        let mut status = StepsStatus {
            total: i64::try_from(graph.steps.len()).unwrap_or(i64::MAX),
            ending: self.ending.map(|ending| Ending { undo, ..ending }),
            ..self.kept
        };
        let name = |at: usize| graph.steps.get(at).map(|step| step.spec.name.clone());
        let mut succeeded = Vec::new();
        let mut failed = Vec::new();
        for (state, step) in self.states.into_iter().zip(&graph.steps) {
            let name = step.spec.name.clone();
            match state {
                State::Idle => {}
                State::Active(units) => status.active.extend(units),
                State::Succeeded(nth) => succeeded.push((nth, name)),
                State::Skipped => status.skipped.push(name),
                State::Omitted => status.omitted.push(name),
                State::Failed(nth, step) => failed.push((nth, FailedStep { name, ..step })),
            }
        }
        status.active.extend(self.undoing);
        let fans = self.fans.into_iter();
        status.fans = fans
            .filter_map(|(at, fan)| Some(fan.write(name(at)?)))
            .collect();
        status.repeated = write_numbers(self.turns, name);
        status.rerun = write_numbers(self.reruns, name);
        succeeded.sort();
        failed.sort_by_key(|(nth, _)| *nth);
        status.succeeded = succeeded.into_iter().map(|(_, name)| name).collect();
        status.failed = failed.into_iter().map(|(_, step)| step).collect();
        status.progress = format!("{}/{}", status.ended(), graph.steps.len());
        // The whole status has a bound, and each of these is told by its own Task.
        for failed in status.failed.iter_mut().skip(LONG.1) {
            failed.message = shorten(&failed.message, MESSAGE);
        }
        for failed in status.failed.iter_mut().skip(TOLD) {
            failed.message.clear();
        }
        status
    }

    /// How a step stands, as expressions have it.
    pub(super) fn phase(&self, at: usize) -> &'static str {
        match self.state(at) {
            State::Idle => "Pending",
            State::Active(units) => {
                let is = |phase: Phase| units.iter().any(|unit| unit.phase == phase);
                match () {
                    () if is(Phase::Running) => "Running",
                    () if is(Phase::Waiting) => "Waiting",
                    () if is(Phase::Paused) => "Paused",
                    () => "Pending",
                }
            }
            State::Succeeded(_) => "Succeeded",
            State::Skipped => "Skipped",
            State::Omitted => "Omitted",
            State::Failed(..) => "Failed",
        }
    }
}

/// What does something of a step, before it was seen.
pub(super) fn unit(seen: &Seen<'_>, step: &Step, which: Which) -> ActiveStep {
    let (kind, object) = name_of(seen, &step.spec, which);
    let phase = match kind {
        StepKind::Task => Phase::Pending,
        StepKind::Approval | StepKind::Wait => Phase::Waiting,
    };
    ActiveStep {
        name: step.spec.name.clone(),
        kind,
        object,
        due: None,
        uid: None,
        phase,
        round: which.round,
        item: which.item,
        turn: which.turn,
        undo: which.undo,
    }
}

/// What is said of a step that failed.
pub(super) fn told(name: &str, failed: &FailedStep) -> String {
    let object = failed.object.as_ref();
    let object = object.map_or_else(String::new, |object| format!(" ({object})"));
    let message = match failed.message.as_str() {
        "" => String::new(),
        message => format!(": {message}"),
    };
    format!("step {name}{object}: {}{message}", failed.class)
}

/// A failure as it is written down; whose it is, is filled in where that is done.
pub(super) fn failed_step(object: Option<String>, class: &str, message: &str) -> FailedStep {
    FailedStep {
        name: String::new(),
        object,
        class: class.to_owned(),
        message: shorten(message, MESSAGE),
    }
}
