//! `memo` of a Task: who did the same already, and who does it now.
//!
//! Tasks do the same that have the same identity: of the same user, in the same namespace, with the same key, and by the same Agent, Workflow or program as it is now. The first one leads; the
//! others wait for its outcome. What is written down says who leads; until a cache shows that, this process remembers whom it let lead. There is one leader of the operator, so nobody else does.

use super::assignment::task_ref;
use super::census::has_ended;
use super::draft::Draft;
use super::refs::Refs;
use super::requests::{above, parent};
use crate::kit::Context;
use crate::kit::context::{Guard, readable};
use jiff::Timestamp;
use oarmaster_crds::kinds::memo::{MemoSource, MemoSpec, MemoStatus};
use oarmaster_crds::kinds::task::DesiredState;
use oarmaster_crds::{Task, conditions, names};
use oarmaster_protocol::assignment::TaskRef;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How a Task that is about to begin stands with others that do the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Memo {
    /// It does it: the identity.
    Leads(String),
    /// This one does it now: identity and name.
    Follows(String, String),
    /// This one did it: its outcome is taken.
    Done(String, Arc<Task>),
}

impl Memo {
    /// Whether the Task begins.
    #[must_use]
    pub const fn leads(&self) -> bool {
        matches!(self, Self::Leads(_))
    }
}

/// Which Task leads, by identity, as far as this process let it.
#[derive(Debug, Default)]
pub struct Memos(Mutex<HashMap<String, String>>);

impl Memos {
    /// Decides for a Task that is about to begin. `all` gives all Tasks, and is asked when nobody else decides: one that was let lead before is among them, or was.
    pub fn decide(
        &self,
        task: &Task,
        identity: &str,
        now: Timestamp,
        all: impl FnOnce() -> Vec<Arc<Guard<Task>>>,
    ) -> Memo {
        let mut leads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all();
        let (mut done, mut live): (Option<&Task>, Vec<&Task>) = (None, Vec::new());
        for other in all.iter().filter_map(|other| other.0.as_ref().ok()) {
            let within = other.metadata.namespace == task.metadata.namespace;
            let own = other.metadata.uid == task.metadata.uid;
            if !within || own || other.spec.memo.is_none() {
                continue;
            }
            let ended = has_ended(other);
            if !ended && may_lead(other) {
                live.push(other);
            }
            if ended
                && did(other, identity)
                && is_fresh(task, other, now)
                && done.is_none_or(|done| end(done) < end(other))
            {
                done = Some(other);
            }
        }
        if let Some(done) = done {
            return Memo::Done(identity.to_owned(), Arc::new(done.clone()));
        }
        let own = task.metadata.uid.as_ref();
        let held = leads.get(identity);
        if held.is_some() && held == own {
            return Memo::Leads(identity.to_owned());
        }
        let by_uid = |task: &&&Task| task.metadata.uid.as_ref() == held;
        let let_lead = live.iter().find(|task| held.is_some() && by_uid(task));
        let leader =
            let_lead.or_else(|| live.iter().find(|other| leads_by_status(other, identity)));
        let (uid, memo) = match leader {
            Some(leader) => {
                let name = leader.metadata.name.clone().unwrap_or_default();
                let memo = Memo::Follows(identity.to_owned(), name);
                (leader.metadata.uid.clone(), memo)
            }
            None => (own.cloned(), Memo::Leads(identity.to_owned())),
        };
        leads.insert(identity.to_owned(), uid.unwrap_or_default());
        memo
    }

    /// A Task leads no more, if it did: it has ended, or begins nothing now.
    pub fn forget(&self, uid: &str) {
        let mut leads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leads.retain(|_, held| held != uid);
    }
}

/// The Task whose outcome a Task took, if it did.
#[must_use]
pub fn source(task: &Task) -> Option<&MemoSource> {
    task.status.as_ref()?.memo.as_ref()?.from.as_ref()
}

/// The Task that has, at the gateway, what a Task left.
#[must_use]
pub fn origin(task: &Task) -> TaskRef {
    let own = task_ref(task);
    match source(task) {
        Some(source) => TaskRef {
            namespace: own.namespace,
            name: source.name.clone(),
            uid: source.uid.clone(),
        },
        None => own,
    }
}

/// Whether others that wait for a Task need wait no more: it has ended, is gone, or begins nothing for now.
#[must_use]
pub fn lets_others(task: &Task, gone: bool) -> bool {
    task.spec.memo.is_some() && (gone || has_ended(task) || !may_lead(task))
}

/// Whether a Task waits for the outcome of that one of its namespace.
#[must_use]
pub fn follows(task: &Task, name: &str) -> bool {
    let memo = task.status.as_ref().and_then(|status| status.memo.as_ref());
    memo.is_some_and(|memo| memo.follows.as_deref() == Some(name))
}

/// The `memo` of the Task of a step: with the Workflow in its key, which nobody but the operator writes for a step.
pub(super) fn of_step(run: &Task, memo: Option<&MemoSpec>) -> Option<MemoSpec> {
    let workflow = run.spec.workflow.as_ref();
    let workflow = workflow.and_then(|named| named.name.as_ref());
    memo.map(|memo| MemoSpec {
        key: format!("{}/{}", workflow.map_or("", String::as_str), memo.key),
        ttl: memo.ttl.clone(),
    })
}

/// What would run, if everything is there: the Agent as it is now.
pub(super) fn of_refs(task: &Task, refs: &Refs) -> Option<String> {
    let Refs::Found(resolved) = refs else {
        return None;
    };
    let agent = resolved.pinned.as_ref().map(|pinned| pinned.agent.clone());
    agent.or_else(|| task.spec.run.as_ref().map(|_| "run".to_owned()))
}

/// Looks who else does the same as a Task that is about to begin for the first time. `runs` is what would run.
pub(super) fn look(task: &Task, ctx: &Context, runs: Option<String>) -> Option<Memo> {
    task.spec.memo.as_ref()?;
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    if task
        .status
        .as_ref()
        .is_some_and(|status| status.attempt.is_some())
        || has_ended(task)
    {
        return None;
    }
    let Some(identity) = runs.and_then(|runs| identity(task, &runs)) else {
        ctx.memos.forget(uid);
        return None;
    };
    if !may_lead(task) {
        ctx.memos.forget(uid);
        return None;
    }
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let named = |name: &str| readable(&ctx.stores.tasks, namespace, name);
    if is_above(task, &identity, named) {
        return None; // that one waits for this one
    }
    let all = || ctx.stores.tasks.state();
    Some(ctx.memos.decide(task, &identity, Timestamp::now(), all))
}

/// Whether a Task above a Task does the same, and so waits for it.
fn is_above(task: &Task, identity: &str, named: impl Fn(&str) -> Option<Arc<Task>>) -> bool {
    above(task, named).any(|above| leads_by_status(&above, identity))
}

/// What is the same of Tasks that do the same.
#[must_use]
pub fn identity(task: &Task, runs: &str) -> Option<String> {
    let spec = &task.spec;
    let memo = spec.memo.as_ref()?;
    let step = parent(task).is_some();
    // The step's own words are in its key, and its values are what the key names. A Task by itself has none that is not a value: all of them count.
    let mut program = spec.run.clone();
    if let Some(program) = program.as_mut().filter(|_| step) {
        program.env.clear();
    }
    let given = (!step).then(|| json!([spec.params, spec.files, spec.workspace]));
    let of = json!({
        "namespace": task.metadata.namespace,
        "requestedBy": spec.requested_by,
        "key": memo.key,
        "runs": runs,
        "command": spec.agent.as_ref().and_then(|agent| agent.command.as_ref()),
        "workflow": spec.workflow,
        "program": program,
        "accept": spec.accept,
        "artifacts": spec.artifacts,
        "keeps": spec.workspace.as_ref().is_some_and(|workspace| workspace.keep),
        "step": step,
        "given": given,
    });
    names::spec_digest(&of).ok()
}

/// Whether a Task takes the outcome of another one, or waits for it; what is written down of that.
pub(super) fn stands_in(draft: &mut Draft<'_>) -> bool {
    let Some(memo) = draft.seen.memo.clone() else {
        return false;
    };
    let status = |identity: String| MemoStatus {
        identity,
        ..MemoStatus::default()
    };
    match memo {
        Memo::Leads(identity) => {
            draft.status.memo = Some(status(identity));
            false
        }
        Memo::Follows(identity, name) => {
            draft.wait_for_same(&name);
            draft.status.memo = Some(MemoStatus {
                follows: Some(name),
                ..status(identity)
            });
            true
        }
        Memo::Done(identity, source) => {
            let left = source.status.clone().unwrap_or_default();
            draft.status.output = left.output;
            draft.status.artifacts = left.artifacts;
            draft.status.workspace = left.workspace;
            draft.status.score = left.score;
            let TaskRef { name, uid, .. } = task_ref(&source);
            draft.take_over(&name);
            draft.status.memo = Some(MemoStatus {
                from: Some(MemoSource { name, uid }),
                ..status(identity)
            });
            true
        }
    }
}

/// Whether a Task that has not ended does what it is to do, or will: one that is stopped before it began does not.
fn may_lead(task: &Task) -> bool {
    let status = task.status.as_ref();
    task.metadata.deletion_timestamp.is_none()
        && (task.spec.state == DesiredState::Running
            || status.is_some_and(|status| status.attempt.is_some()))
}

fn of_identity<'a>(task: &'a Task, identity: &str) -> Option<&'a MemoStatus> {
    let memo = task.status.as_ref()?.memo.as_ref()?;
    (memo.identity == identity && memo.from.is_none() && memo.follows.is_none()).then_some(memo)
}

/// Whether it is written down that a Task does it.
fn leads_by_status(task: &Task, identity: &str) -> bool {
    !has_ended(task) && of_identity(task, identity).is_some()
}

/// Whether a Task did it itself, and succeeded.
fn did(task: &Task, identity: &str) -> bool {
    let status = task.status.as_ref();
    let complete =
        status.is_some_and(|status| conditions::is_true(&status.conditions, conditions::COMPLETE));
    complete && task.metadata.deletion_timestamp.is_none() && of_identity(task, identity).is_some()
}

fn end(task: &Task) -> Option<Timestamp> {
    let finished = task.status.as_ref()?.finished_at.as_ref()?;
    Some(finished.0)
}

/// Whether what another one did is new enough for a Task. What it has waited for is.
fn is_fresh(task: &Task, other: &Task, now: Timestamp) -> bool {
    let name = other.metadata.name.as_deref();
    if name.is_some_and(|name| follows(task, name)) {
        return true;
    }
    let ttl = task.spec.memo.as_ref().and_then(|memo| memo.ttl.get().ok());
    let (Some(ttl), Some(end)) = (ttl, end(other)) else {
        return false;
    };
    now.duration_since(end).is_negative()
        || std::time::Duration::try_from(now.duration_since(end)).is_ok_and(|age| age <= ttl)
}

#[cfg(test)]
mod tests;
