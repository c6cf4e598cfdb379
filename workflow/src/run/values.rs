//! The values of expressions.

use super::fold::Left;
use super::make::{Which, name_of, wrong};
use super::standing::State;
use super::{CANCELLED, Child, MAX_ROUNDS, Run};
use crate::expr::{Reads, Values};
use crate::graph::{Graph, SELF, Step};
use oarmaster_crds::kinds::workflow::{MAX_ITEMS, Merge};
use oarmaster_protocol::FailureClass;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use std::sync::Arc;

/// Items of `Append`, if the workflow does not say how many.
const SHARED_ITEMS: i64 = 100;

/// Why there is no value.
pub(super) type Wrong = (FailureClass, String);

/// The values that only expressions of one step have.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    /// The item, and which one it is.
    item: Option<(i64, Value)>,
    /// What the step did.
    me: Option<Value>,
}

impl Run<'_> {
    /// The values of what an expression reads.
    ///
    /// # Errors
    /// A step has an output that nobody has any more.
    pub(super) fn values(&mut self, reads: &Reads, local: &Local) -> Result<Values, Wrong> {
        let mut values = Values::default();
        for name in &reads.names {
            let value = match (name.as_str(), &local.item, &local.me) {
                ("params", ..) => Value::Object(self.seen.params.clone()),
                ("run", ..) => {
                    let ending = self.standing.ending.as_ref();
                    let phase = ending.map_or(json!("Running"), |ending| json!(ending.phase));
                    let failure = ending.and_then(|ending| ending.failure.as_ref());
                    json!({ "phase": phase, "failure": failure })
                }
                ("item", Some((_, item)), _) => item.clone(),
                ("index", Some((index, _)), _) => json!(index),
                ("self", _, Some(me)) => me.clone(),
                ("shared", ..) => self.shared()?,
                _ => continue,
            };
            values.names.insert(name.clone(), value);
        }
        for name in &reads.steps {
            let Some(at) = self.graph.find(name) else {
                continue;
            };
            let value = self.step(at, reads.items.contains(name))?;
            values.steps.insert(name.clone(), value);
        }
        Ok(values)
    }

    /// What only the expressions have of something that is made.
    pub(super) fn local(&mut self, at: usize, which: Which) -> Result<Local, Wrong> {
        let repeats = self
            .graph
            .steps
            .get(at)
            .is_some_and(|step| step.until.is_some());
        let undo = self.graph.steps.get(at).and_then(|step| step.undo.as_ref());
        let me = if which.undo {
            match undo.is_some_and(|undo| undo.names(SELF)) {
                true => Some(self.done_last(at, which.item)?),
                false => None,
            }
        } else if which.turn > 1 {
            let turn = which.turn - 1;
            Some(self.done(at, Which { turn, ..which })?)
        } else {
            repeats.then(|| json!({}))
        };
        let item = match which.item {
            Some(index) => Some((index, self.item(at, index)?)),
            None => None,
        };
        Ok(Local { item, me })
    }

    /// The same, for what asks what it did.
    pub(super) fn local_after(&mut self, at: usize, which: Which) -> Result<Local, Wrong> {
        let item = match which.item {
            Some(index) => Some((index, self.item(at, index)?)),
            None => None,
        };
        let me = Some(self.done(at, which)?);
        Ok(Local { item, me })
    }

    /// What a step did that succeeded in it, as `self`.
    fn done(&self, at: usize, which: Which) -> Result<Value, Wrong> {
        self.as_self(at, which.item, self.child(at, which))
    }

    /// The same, of what it did last.
    fn done_last(&self, at: usize, item: Option<i64>) -> Result<Value, Wrong> {
        self.as_self(at, item, self.last_child(at, item))
    }

    fn as_self(&self, at: usize, item: Option<i64>, child: Option<&Child>) -> Result<Value, Wrong> {
        match child {
            Some(Child::Succeeded(output)) => Ok(json!({
                "phase": "Succeeded",
                "succeeded": true,
                "failed": false,
                "skipped": false,
                "output": output,
                "failure": null,
            })),
            _ => Err(self.gone(at, item)),
        }
    }

    /// An item of a step.
    fn item(&mut self, at: usize, index: i64) -> Result<Value, Wrong> {
        let items = self.items(at)?;
        let item = usize::try_from(index)
            .ok()
            .and_then(|index| items.get(index));
        item.cloned().ok_or_else(|| other_list(self.graph, at))
    }

    /// The items of a step: the same in each pass, or it cannot go on.
    pub(super) fn items(&mut self, at: usize) -> Result<Arc<Vec<Value>>, Wrong> {
        if let Some((_, items)) = self.lists.get(&at) {
            return Ok(Arc::clone(items));
        }
        let begun = self.standing.fans.get(&at).map(|fan| &fan.digest);
        if let Some(items) = begun.and_then(|digest| self.seen.lists.get(digest)) {
            return Ok(Arc::clone(items));
        }
        let items = self.list(at)?.unwrap_or_default();
        let digest = digest(&items);
        let same = |fan: &super::fan::Fan| fan.digest == digest;
        if !self.standing.fans.get(&at).is_none_or(same) {
            return Err(other_list(self.graph, at));
        }
        let items = Arc::new(items);
        self.lists.insert(at, (digest, Arc::clone(&items)));
        Ok(items)
    }

    /// The list of a step with `forEach`; none if it is null.
    pub(super) fn list(&mut self, at: usize) -> Result<Option<Vec<Value>>, Wrong> {
        let graph = self.graph;
        let Some((step, over)) = graph
            .steps
            .get(at)
            .and_then(|step| Some((step, step.over.as_ref()?)))
        else {
            return Ok(None);
        };
        match self.value(&step.place, "forEach", over, &Local::default())? {
            Value::Null => Ok(None),
            Value::Array(list) if list.len() <= MAX_ITEMS => Ok(Some(list)),
            Value::Array(list) => {
                let text = format!(
                    "gives {} items, at most {MAX_ITEMS} are possible: do several in one",
                    list.len()
                );
                Err(wrong(&step.place, "forEach", &text))
            }
            _ => Err(wrong(&step.place, "forEach", "gives no list")),
        }
    }

    fn step(&self, at: usize, with_items: bool) -> Result<Value, Wrong> {
        let state = self.standing.state(at);
        let fan = self.standing.fans.get(&at);
        let output = match (state, fan) {
            (State::Succeeded(_) | State::Failed(..), Some(_)) => self.outputs(at)?,
            _ if self.waits(at) => Value::Null,
            (State::Succeeded(_), None) => self.output(at).ok_or_else(|| self.gone(at, None))?,
            (State::Failed(..), None) => self.output(at).unwrap_or_default(),
            _ => Value::Null,
        };
        let failure = match state {
            State::Failed(_, failed) => {
                json!({ "class": failed.class, "message": failed.message })
            }
            _ => Value::Null,
        };
        let mut step = json!({
            "phase": self.standing.phase(at),
            "succeeded": matches!(state, State::Succeeded(_)),
            "failed": matches!(state, State::Failed(..)),
            "skipped": matches!(state, State::Skipped | State::Omitted),
            "output": output,
            "failure": failure,
        });
        if with_items && let Some(step) = step.as_object_mut() {
            step.insert("items".to_owned(), self.all_items(at)?);
        }
        Ok(step)
    }

    /// Whether a step is nothing but time.
    fn waits(&self, at: usize) -> bool {
        self.graph
            .steps
            .get(at)
            .is_some_and(|step| step.spec.wait.is_some())
    }

    /// The outputs of the items, in their order; null of one that has none.
    fn outputs(&self, at: usize) -> Result<Value, Wrong> {
        let Some(fan) = self.standing.fans.get(&at) else {
            return Ok(Value::Null);
        };
        self.need_all(at)?;
        let mut all = Vec::with_capacity(fan.len());
        for item in 0..fan.items {
            let through = fan.succeeded(item);
            if !through {
                all.push(Value::Null);
                continue;
            }
            all.push(match self.last_child(at, Some(item)) {
                Some(Child::Succeeded(output)) => output.clone(),
                _ => return Err(self.gone(at, Some(item))),
            });
        }
        Ok(Value::Array(all))
    }

    /// How the items stand; null of a step without.
    fn all_items(&self, at: usize) -> Result<Value, Wrong> {
        let Some(fan) = self.standing.fans.get(&at) else {
            return Ok(Value::Null);
        };
        self.need_all(at)?;
        let mut all = Vec::with_capacity(fan.len());
        for item in 0..fan.items {
            let begun = fan.has_begun(item);
            if let (true, Some(Left::Refused(_))) = (begun, self.gone_item(at, Some(item))) {
                return Err(self.gone(at, Some(item)));
            }
            let child = begun.then(|| self.last_child(at, Some(item))).flatten();
            let failed = fan.failed.contains(item);
            let (phase, output, failure) = match child {
                _ if !begun => ("Omitted", Value::Null, Value::Null),
                Some(Child::Succeeded(output)) if !failed => {
                    ("Succeeded", output.clone(), Value::Null)
                }
                Some(Child::Failed(failure, output)) => {
                    ("Failed", output.clone().unwrap_or_default(), json!(failure))
                }
                _ if failed => {
                    let failure =
                        json!({"class": CANCELLED, "message": "it did not end by itself"});
                    ("Failed", Value::Null, failure)
                }
                None => return Err(self.gone(at, Some(item))),
                Some(_) => ("Running", Value::Null, Value::Null),
            };
            all.push(json!({
                "phase": phase,
                "succeeded": phase == "Succeeded",
                "failed": phase == "Failed",
                "output": output,
                "failure": failure,
            }));
        }
        Ok(Value::Array(all))
    }

    /// What a step that has ended left, if it is still there.
    fn output(&self, at: usize) -> Option<Value> {
        let step = self.graph.steps.get(at)?;
        let child = if step.spec.approval.is_some() {
            let mut rounds = 1..=MAX_ROUNDS;
            rounds.find_map(|round| {
                let child = self.child(
                    at,
                    Which {
                        round,
                        ..self.standing.which(at, None)
                    },
                );
                child.filter(|child| matches!(child, Child::Succeeded(_) | Child::Failed(..)))
            })?
        } else {
            self.child(at, self.standing.last(at, None))?
        };
        match child {
            Child::Succeeded(output) => Some(output.clone()),
            Child::Failed(_, output) => Some(output.clone().unwrap_or_default()),
            Child::Live(_) | Child::Cancelled => Some(Value::Null),
        }
    }

    /// How what was made last for a step, or an item of it, stands.
    fn last_child(&self, at: usize, item: Option<i64>) -> Option<&Child> {
        match self.gone_item(at, item) {
            Some(Left::Known(results)) => results.last(),
            Some(_) => None,
            None => self.child(at, self.standing.last(at, item)),
        }
    }

    /// How something stands that was made for a step.
    fn child(&self, at: usize, which: Which) -> Option<&Child> {
        match self.gone_item(at, which.item) {
            Some(Left::Known(results)) => {
                let turn = usize::try_from(which.turn).ok()?.checked_sub(1)?;
                return results.get(turn);
            }
            Some(_) => return None,
            None => {}
        }
        let step = self.graph.steps.get(at)?;
        let (_, name) = name_of(self.seen, &step.spec, which);
        let found = self.seen.found.get(&name).filter(|found| found.ours)?;
        Some(&found.now)
    }

    /// What is shared by now.
    fn shared(&mut self) -> Result<Value, Wrong> {
        let graph = self.graph;
        let shared = graph.spec.shared.iter();
        let mut all: Map<String, Value> = shared
            .map(|(name, shared)| {
                let first = match shared.merge {
                    Merge::Append => json!([]),
                    Merge::Replace | Merge::Max => Value::Null,
                };
                (name.clone(), first)
            })
            .collect();
        for (at, step) in graph.steps.iter().enumerate() {
            if step.share.is_none() {
                continue;
            }
            for which in self.through(at)? {
                let given = match self.given(at, step, which) {
                    Ok(given) => given,
                    Err(wrong) if wrong.0 == FailureClass::StateRegressed => return Err(wrong),
                    // What it gives has no value, and so it has failed: it gives nothing.
                    Err(_) => continue,
                };
                for (name, value) in given {
                    let spec = graph.spec.shared.get(&name);
                    if let (Some(held), Some(spec)) = (all.get_mut(&name), spec) {
                        merge(
                            held,
                            value,
                            spec.merge,
                            spec.max_items.unwrap_or(SHARED_ITEMS),
                        );
                    }
                }
            }
        }
        Ok(Value::Object(all))
    }

    /// What a step gave that did something.
    pub(super) fn given(
        &mut self,
        at: usize,
        step: &Step,
        which: Which,
    ) -> Result<Map<String, Value>, Wrong> {
        let Some(share) = &step.share else {
            return Ok(Map::new());
        };
        let local = self.local_after(at, which)?;
        let given = self.value(&step.place, "share", share, &local)?;
        match given {
            Value::Object(given) => Ok(given),
            _ => Ok(Map::new()),
        }
    }

    /// Everything that a step did and succeeded in: by item, and by how often.
    fn through(&self, at: usize) -> Result<Vec<Which>, Wrong> {
        let items: Vec<Option<i64>> = match self.standing.fans.get(&at) {
            Some(fan) => (0..fan.items)
                .filter(|item| fan.has_begun(*item))
                .map(Some)
                .collect(),
            None if self.standing.ran(at) || !self.standing.units(at).is_empty() => vec![None],
            None => Vec::new(),
        };
        self.need_all(at)?;
        let mut all = Vec::new();
        for item in items {
            let live = self.standing.units(at).iter().any(|unit| unit.item == item);
            let last = match self.gone_item(at, item) {
                Some(Left::Known([])) if !self.has_failed(at, item) => {
                    return Err(self.gone(at, item));
                }
                Some(Left::Known(results)) => Which {
                    turn: i64::try_from(results.len()).unwrap_or(i64::MAX),
                    ..self.standing.which(at, item)
                },
                _ => self.standing.last(at, item),
            };
            for turn in 1..=last.turn {
                let which = Which { turn, ..last };
                let counts = turn < last.turn || !live;
                match self.child(at, which) {
                    _ if !counts => {}
                    Some(Child::Succeeded(_)) => all.push(which),
                    None if !self.has_failed(at, item) => return Err(self.gone(at, item)),
                    _ => {}
                }
            }
        }
        Ok(all)
    }

    /// What is said where nobody has any more what a step, or an item of it, left.
    fn gone(&self, at: usize, item: Option<i64>) -> Wrong {
        let name = self.graph.steps.get(at).map_or("", |step| &step.spec.name);
        match self.gone_item(at, item) {
            Some(Left::Refused(wrong)) => wrong.clone(),
            Some(_) => gone(
                name,
                item,
                "it is no longer kept (gateway.retention.artifacts)",
            ),
            None => gone(name, item, "its Task was deleted"),
        }
    }

    fn has_failed(&self, at: usize, item: Option<i64>) -> bool {
        match (self.standing.fans.get(&at), item) {
            (Some(fan), Some(item)) => fan.failed.contains(item),
            _ => matches!(self.standing.state(at), State::Failed(..)),
        }
    }
}

/// Puts what a step gave to what is shared.
fn merge(held: &mut Value, given: Value, how: Merge, most: i64) {
    match how {
        _ if given.is_null() => {}
        Merge::Append => {
            let Value::Array(list) = held else { return };
            match given {
                Value::Array(more) => list.extend(more),
                one => list.push(one),
            }
            let over = list
                .len()
                .saturating_sub(usize::try_from(most).unwrap_or_default());
            list.drain(..over);
        }
        Merge::Replace => *held = given,
        Merge::Max => {
            let more = match (held.as_f64(), given.as_f64()) {
                (Some(held), Some(given)) => given.partial_cmp(&held) == Some(Ordering::Greater),
                (None, Some(_)) => true,
                _ => false,
            };
            if more {
                *held = given;
            }
        }
    }
}

/// What a list is: another one has another.
pub(super) fn digest(items: &[Value]) -> String {
    // Values of JSON always serialise.
    oarmaster_protocol::digest(&serde_json::to_vec(items).unwrap_or_default())
}

fn other_list(graph: &Graph, at: usize) -> Wrong {
    let place = graph.steps.get(at).map_or("", |step| &step.place);
    (
        FailureClass::StateRegressed,
        format!(
            "{place}.forEach: gives another list than when the step began: what it reads was changed or deleted; run the workflow anew"
        ),
    )
}

fn gone(name: &str, item: Option<i64>, why: &str) -> Wrong {
    let item = item.map_or_else(String::new, |item| format!(", item {item},"));
    (
        FailureClass::StateRegressed,
        format!("the output of step {name}{item} is gone: {why}; run the workflow anew"),
    )
}
