//! The place of a run among those of its Workflow with the same key (`concurrency`): who goes on, who waits, and who stops for whom. Pure.
//!
//! A place is a Lease, and the API server says who has it: whoever made it. Which one a run is about to take is written down before it does, so
//! that a run finds its own again, and gives back all that it may have.

use super::super::census::has_ended;
use super::super::draft::Draft;
use super::super::limits::Limit;
use super::super::places;
use super::super::requests::{above, made_for};
use super::Seen;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oarmaster_crds::conditions::reason;
use oarmaster_crds::kinds::concurrency::{ConcurrencyPolicy, SlotStatus};
use oarmaster_crds::kinds::goal::RunWorkflow;
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_crds::{Task, TaskStatus, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::text::{shorten, visible};
use oarmaster_workflow::graph::Graph;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether there is a place, beside what is told.
const LOOK: Duration = Duration::from_secs(60);
/// Characters of a key in a message.
const SHOWN: usize = 120;
/// Runs that are named in a message.
const NAMED: usize = 3;

/// Another run of the same key that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Its name.
    pub name: String,
    /// Where it stands in line.
    pub rank: Rank,
    /// The Lease that it has, or is about to take.
    pub lease: Option<String>,
    /// Whether it takes the place of older ones.
    pub replaces: bool,
    /// Whether it ends without more being asked of it, or wants no place now.
    pub leaves: bool,
}

/// Where a run stands in line: the lesser is the first.
pub type Rank = places::Turn;

/// What is known of the others of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The key, with its values.
    pub key: String,
    /// The others.
    pub rivals: Vec<Rival>,
    /// The run above it that has a place of the same key.
    pub above: Option<String>,
    /// What the installation allows the namespace: how much a priority counts at most.
    pub limits: Limit,
    /// Leases that could not be taken in this pass, with who has them.
    pub taken: BTreeMap<String, String>,
}

/// What becomes of a run that has no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on in the place of this run above it.
    Within(String),
    /// It may take this one.
    Claims(String),
    /// It waits. Why, for people.
    Waits(String),
    /// This newer one goes on in its place.
    Replaced(String),
}

/// A place to give back, once the end of its run is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Name of the Lease.
    pub name: String,
    /// UID of it; unknown where it was not written down that the run has it.
    pub uid: Option<String>,
}

/// Where a Task stands in line, in a namespace with these limits.
#[must_use]
pub fn rank(task: &Task, limits: &Limit) -> Rank {
    places::turn(task, limits.priority(task.spec.priority))
}

/// Whether the first is younger. Who replaces whom is a question of age alone: what is newer is what is wanted.
fn newer(one: &Rank, than: &Rank) -> bool {
    (one.1, &one.2) > (than.1, &than.2)
}

/// The place of a Task's run, if it has to do with one.
#[must_use]
pub fn of(task: &Task) -> Option<&SlotStatus> {
    of_status(task.status.as_ref()?)
}

/// The same, by a status.
#[must_use]
pub fn of_status(status: &TaskStatus) -> Option<&SlotStatus> {
    status.steps.as_ref()?.slot.as_ref()
}

/// Whether two Tasks run the same Workflow.
#[must_use]
pub fn alike(one: &Task, other: &Task) -> bool {
    one.metadata.namespace == other.metadata.namespace && one.spec.workflow == other.spec.workflow
}

/// Whether a run waits for a place.
#[must_use]
pub fn queues(task: &Task) -> bool {
    let waits = |slot: &SlotStatus| slot.waits() && slot.lease.is_none();
    !has_ended(task) && of(task).is_some_and(waits)
}

/// Whether a run that waits wants no place now: it is paused, or stopped.
#[must_use]
pub fn stands_aside(task: &Task) -> bool {
    task.spec.state != DesiredState::Running || task.metadata.deletion_timestamp.is_some()
}

impl Line {
    /// Looks at all Tasks. `named` finds one of the same namespace, which has these limits, by its name.
    pub fn of<'a>(
        task: &Task,
        key: String,
        limits: Limit,
        all: impl Iterator<Item = &'a Task>,
        named: impl Fn(&str) -> Option<Arc<Task>>,
    ) -> Self {
        let own = |other: &&Task| other.metadata.uid == task.metadata.uid;
        let rivals = all
            .filter(|other| !own(other) && alike(task, other) && !has_ended(other))
            .filter_map(|other| rival(other, &key, &limits))
            .collect();
        Self {
            above: has_it_above(task, &key, named),
            key,
            rivals,
            limits,
            taken: BTreeMap::new(),
        }
    }

    /// Who has a place, or is about to take it.
    fn holder(&self, lease: &str) -> Option<&str> {
        let rival = |rival: &&Rival| rival.lease.as_deref() == Some(lease);
        let rival = self.rivals.iter().find(rival);
        let rival = rival.map(|rival| rival.name.as_str());
        rival.or_else(|| self.taken.get(lease).map(String::as_str))
    }

    fn waiting(&self) -> impl Iterator<Item = &Rival> {
        let waits = |rival: &&Rival| rival.lease.is_none() && !rival.leaves;
        self.rivals.iter().filter(waits)
    }

    /// Those that wait, replace others, and are newer; the newest first.
    fn newer(&self, than: &Rank) -> Vec<&Rival> {
        let newer = |rival: &&Rival| rival.replaces && newer(&rival.rank, than);
        let mut newer: Vec<&Rival> = self.waiting().filter(newer).collect();
        let age = |rival: &&Rival| Reverse((rival.rank.1, rival.rank.2.clone()));
        newer.sort_by_cached_key(age);
        newer
    }

    /// What becomes of a run that has no place.
    #[must_use]
    pub fn turn(&self, task: &Task, limit: i64, replaces: bool) -> Turn {
        if let Some(above) = &self.above {
            return Turn::Within(above.clone());
        }
        let own = rank(task, &self.limits);
        let most = usize::try_from(limit).unwrap_or(1).max(1);
        let replacing = self.newer(&own);
        if let Some(newest) = replacing.first().filter(|_| replacing.len() >= most) {
            return Turn::Replaced(newest.name.clone());
        }
        // Those that are replaced while they wait are before nobody.
        let stays = |rival: &&Rival| {
            let own = usize::from(replaces && newer(&own, &rival.rank));
            self.newer(&rival.rank).len() + own < most
        };
        let before = self.waiting().filter(|rival| rival.rank < own);
        let before = before.filter(stays).count();
        let names = self.names(task, limit);
        let mut free = names.iter().filter(|name| self.holder(name).is_none());
        match free.nth(before) {
            Some(free) => Turn::Claims(free.clone()),
            None => {
                let holders = names.iter().filter_map(|name| self.holder(name));
                let holders: Vec<&str> = holders.collect();
                Turn::Waits(waits(task, &self.key, &holders, before, replaces))
            }
        }
    }

    /// The newer run for which one that has a place stops, if there is one: the oldest stop first.
    #[must_use]
    pub fn stops_for(&self, task: &Task, limit: i64) -> Option<String> {
        let own = rank(task, &self.limits);
        let most = usize::try_from(limit).unwrap_or(1).max(1);
        let replacing = self.newer(&own);
        let wanted = replacing.len().min(most);
        let held = || self.rivals.iter().filter(|rival| rival.lease.is_some());
        let free = most.saturating_sub(held().count() + 1);
        let leaving = held().filter(|rival| rival.leaves).count();
        let stop = wanted.saturating_sub(free + leaving);
        let older = held().filter(|rival| !rival.leaves && newer(&own, &rival.rank));
        let newest = replacing.first().filter(|_| older.count() < stop);
        newest.map(|newest| newest.name.clone())
    }

    fn names(&self, task: &Task, limit: i64) -> Vec<String> {
        let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
        let workflow = workflow(task);
        let name = |which| names::slot_name(namespace, &workflow, &self.key, which);
        (0..limit.clamp(1, 100)).map(name).collect()
    }
}

/// Name of its Workflow; of one that has none its digest, which no name looks like.
fn workflow(task: &Task) -> String {
    let Some(RunWorkflow { name, spec, .. }) = &task.spec.workflow else {
        return String::new();
    };
    // The types of the API always serialise.
    let digest = || names::spec_digest(spec).unwrap_or_default();
    name.clone().unwrap_or_else(digest)
}

fn rival(task: &Task, key: &str, limits: &Limit) -> Option<Rival> {
    let slot = of(task).filter(|slot| slot.key == key && slot.within.is_none())?;
    let steps = task.status.as_ref()?.steps.as_ref()?;
    let stopped = matches!(
        task.spec.state,
        DesiredState::Cancelled | DesiredState::RolledBack
    );
    let aside = slot.lease.is_none() && stands_aside(task);
    Some(Rival {
        name: task.metadata.name.clone().unwrap_or_default(),
        rank: rank(task, limits),
        lease: slot.lease.clone(),
        replaces: slot.replaces,
        leaves: aside || stopped || slot.replaced_by.is_some() || steps.ending.is_some(),
    })
}

/// The run above a Task that has a place of the same key.
fn has_it_above(
    task: &Task,
    key: &str,
    named: impl Fn(&str) -> Option<Arc<Task>>,
) -> Option<String> {
    let has = |slot: &SlotStatus| slot.key == key && !slot.waits();
    let mut above = above(task, named);
    let found = above.find(|above| alike(task, above) && of(above).is_some_and(has))?;
    found.metadata.name.clone()
}

fn waits(task: &Task, key: &str, holders: &[&str], before: usize, replaces: bool) -> String {
    let (key, workflow) = (visible(key), workflow(task));
    let key = shorten(&key, SHOWN);
    let mut names = holders.iter().take(NAMED).copied().collect::<Vec<_>>();
    let more = format!("{} more", holders.len().saturating_sub(NAMED));
    if holders.len() > NAMED {
        names.push(&more);
    }
    let names = match names.is_empty() {
        true => "none of them yet".to_owned(),
        false => names.join(", "),
    };
    let line = match before {
        0 => String::new(),
        1 => ", and 1 waits before this one".to_owned(),
        more => format!(", and {more} wait before this one"),
    };
    let then = match replaces {
        true => "what is older stops for it, and it begins when that has ended",
        false => {
            "it begins when one of them ends; cancel that one, or this one (spec.state: Cancelled)"
        }
    };
    format!(
        "as many runs of Workflow {workflow} with the key '{key}' go on as may (spec.concurrency): {names}{line}; {then}"
    )
}

/// The Lease of a place.
fn lease(task: &Task, name: &str) -> Lease {
    let uid = task.metadata.uid.clone().unwrap_or_default();
    Lease {
        metadata: ObjectMeta {
            labels: Some([(names::TASK_UID_LABEL.to_owned(), uid)].into()),
            ..made_for(task, name)
        },
        spec: Some(LeaseSpec {
            holder_identity: task.metadata.name.clone(),
            ..LeaseSpec::default()
        }),
    }
}

/// The place of a run that is being taken on: nothing, where it needs none.
///
/// # Errors
/// There is none, and it does not wait.
pub(super) fn enter(
    draft: &Draft<'_>,
    seen: &Seen,
    graph: &Graph,
) -> Result<Option<SlotStatus>, String> {
    let (Some(line), Some(spec)) = (&seen.line, &graph.spec.concurrency) else {
        return Ok(None);
    };
    let mut slot = SlotStatus {
        key: line.key.clone(),
        replaces: spec.policy == ConcurrencyPolicy::Replace,
        ..SlotStatus::default()
    };
    match line.turn(draft.task, spec.limit, slot.replaces) {
        Turn::Claims(lease) => slot.lease = Some(lease),
        Turn::Waits(why) if spec.policy == ConcurrencyPolicy::Reject => return Err(why),
        Turn::Within(_) | Turn::Waits(_) | Turn::Replaced(_) => {}
    }
    Ok(Some(slot))
}

/// The same, of a run that goes on after its end: it takes its place in a later pass.
///
/// # Errors
/// As [`enter`].
pub(super) fn enter_again(
    draft: &Draft<'_>,
    seen: &Seen,
    graph: &Graph,
) -> Result<Option<SlotStatus>, String> {
    let slot = enter(draft, seen, graph)?;
    Ok(slot.map(|slot| SlotStatus {
        lease: None,
        ..slot
    }))
}

/// Whether a run that was taken on has its place, or takes it in this pass; otherwise it is said what it waits for, or it ends.
pub(super) fn has_place(draft: &mut Draft<'_>, seen: &Seen, graph: &Graph, begun: bool) -> bool {
    let steps = draft.status.steps.as_ref();
    let slot = steps.and_then(|steps| steps.slot.clone());
    let (Some(spec), Some(mut slot)) = (&graph.spec.concurrency, slot) else {
        return true;
    };
    if !slot.waits() {
        return true;
    }
    let state = draft.task.spec.state;
    match state {
        DesiredState::Cancelled => draft.cancel(),
        DesiredState::RolledBack if !begun => draft.rolled_back(),
        DesiredState::Paused => {
            let text = "spec.state is Paused; set it to Running, and the run waits for its turn";
            draft.runs(Phase::Paused, reason::PAUSED, text);
        }
        // What has begun before is undone in its place, too.
        DesiredState::Running | DesiredState::RolledBack => {
            let Some(line) = &seen.line else {
                draft.look_in(Duration::ZERO); // this pass looked for something else
                return false;
            };
            if let Some(lease) = slot.lease.take_if(|lease| line.taken.contains_key(lease)) {
                tracing::debug!(lease, "somebody else has the place");
            }
            if let Some(name) = &slot.lease {
                draft.run.slot = Some(Box::new(lease(draft.task, name)));
                return true;
            }
            match line.turn(draft.task, spec.limit, slot.replaces) {
                Turn::Within(above) => {
                    slot.within = Some(above);
                    put(draft, slot);
                    return true;
                }
                Turn::Claims(lease) => {
                    slot.lease = Some(lease);
                    put(draft, slot);
                    draft.runs(Phase::Queued, reason::WAITING_FOR_SLOT, "it is its turn");
                    draft.look_in(Duration::ZERO);
                }
                Turn::Waits(why) if spec.policy == ConcurrencyPolicy::Reject => {
                    put(draft, slot);
                    draft.fail(FailureClass::Conflict, &why);
                }
                Turn::Waits(why) => {
                    put(draft, slot);
                    draft.runs(Phase::Queued, reason::WAITING_FOR_SLOT, &why);
                    draft.look_in(LOOK); // who ends wakes it; this is for what nobody tells
                }
                Turn::Replaced(by) => {
                    slot.replaced_by = Some(by);
                    put(draft, slot);
                    draft.cancel();
                }
            }
        }
    }
    false
}

/// Has a run stop whose place a newer one takes. One that ends already goes on with that.
pub(super) fn gives_way(draft: &mut Draft<'_>, seen: &Seen, graph: &Graph) {
    let state = draft.task.spec.state;
    let goes_on = matches!(state, DesiredState::Running | DesiredState::Paused);
    let (Some(line), Some(spec)) = (&seen.line, &graph.spec.concurrency) else {
        return;
    };
    let steps = draft.status.steps.as_mut();
    let steps = steps.filter(|steps| goes_on && steps.ending.is_none());
    let slot = steps.and_then(|steps| steps.slot.as_mut());
    if let Some(slot) = slot.filter(|slot| slot.uid.is_some() && slot.replaced_by.is_none()) {
        slot.replaced_by = line.stops_for(draft.task, spec.limit);
    }
}

fn put(draft: &mut Draft<'_>, slot: SlotStatus) {
    if let Some(steps) = &mut draft.status.steps {
        steps.slot = Some(slot);
    }
}

#[cfg(test)]
mod tests;
