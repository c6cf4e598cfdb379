//! What a Task asks of the operator, and what the Tasks that come of it spend.

use super::attempts::Records;
use super::{Below, State, Task};
use crate::Refusal;
use crate::entry::{Entry, Reserve};
use oarmaster_protocol::journal::{Blob, Body, CallUsage, Checkpoint, Record};
use oarmaster_protocol::request::{
    Ask, MAX_ANSWER_BYTES, MAX_ASK_BYTES, MAX_OPEN, OpenRequest, Reply,
};

/// Most Tasks above one another that are looked at: more than the operator makes, and an end where a log has a ring of them.
const MAX_DEPTH: usize = 8;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestAt {
    /// When it was made.
    pub at_ms: i64,
    /// What is asked for, while it is open.
    pub what: Option<Ask>,
    /// Sequence number of the answer.
    pub answer: Option<u64>,
    /// UID of the Task below that was handed files and did it.
    pub by: Option<String>,
}

impl State {
    /// Answers a request. The first answer stays, so that the operator may say it as often as it likes.
    pub fn decide_answer(
        &self,
        uid: &str,
        id: &str,
        answer: &Reply,
        now: i64,
    ) -> Result<Vec<Entry>, Refusal> {
        let task = self.task(uid)?;
        let (attempt, _) = task
            .attempts
            .last_key_value()
            .ok_or_else(|| Refusal::NotFound(format!("Task {uid} has no attempt")))?;
        let request = task.request(id)?;
        if request.answer.is_some() {
            return Ok(Vec::new());
        }
        let handed = request.what.as_ref().and_then(Ask::handed).is_some();
        let child = answer.task.as_deref().filter(|_| handed && answer.ok);
        let body = Body::Answered {
            id: id.to_owned(),
            ok: answer.ok,
            value: answer.value.clone(),
            task: child.map(str::to_owned),
            workspace: child.and_then(|child| self.left_of(uid, child)),
        };
        if serde_json::to_vec(&body).map_or(true, |text| text.len() > MAX_ANSWER_BYTES) {
            return Err(Refusal::TooLarge(format!(
                "an answer may have {MAX_ANSWER_BYTES} bytes"
            )));
        }
        Ok(vec![Entry::Record {
            task: uid.to_owned(),
            record: Records::new(Some(task), now).next(*attempt, body),
        }])
    }

    /// The parts of the workspace that an open request hands on.
    pub fn handed(&self, uid: &str, id: &str) -> Result<&Vec<Blob>, Refusal> {
        let what = self.task(uid)?.request(id)?.what.as_ref();
        what.and_then(Ask::handed).ok_or_else(|| {
            Refusal::NotFound(format!(
                "the request {id} is not open, or hands no files on"
            ))
        })
    }

    /// What a Task below another one left of the workspace that it was handed.
    fn left_of(&self, uid: &str, child: &str) -> Option<Checkpoint> {
        let child = self.tasks.get(child);
        let child = child.filter(|child| child.parent.as_deref() == Some(uid))?;
        let (_, newest) = child.attempts.last_key_value()?;
        let left = newest.outcome.as_ref()?.workspace.as_ref()?;
        let gone = match left {
            Checkpoint::Layer { blobs, .. } => super::journal::missing(child, blobs).is_some(),
            Checkpoint::Failed { .. } => false,
        };
        Some(if gone {
            Checkpoint::Failed {
                why: "they are no longer kept".to_owned(),
            }
        } else {
            left.clone()
        })
    }

    /// The Task below `uid` whose outcome names this part of a workspace.
    pub fn left_by(&self, uid: &str, digest: &str) -> Option<String> {
        let names = |child: &&String| match self.left_of(uid, child) {
            Some(Checkpoint::Layer { blobs, .. }) => blobs.iter().any(|blob| blob.digest == digest),
            _ => false,
        };
        let requests = self.tasks.get(uid)?.requests.values();
        let mut below = requests.filter_map(|request| request.by.as_ref());
        below.find(names).cloned()
    }

    /// The Tasks whose budgets count what this one spends, the nearest first.
    pub(super) fn above<'a>(&'a self, task: &'a Task) -> impl Iterator<Item = &'a Task> {
        let parent = |task: &'a Task| self.tasks.get(task.parent.as_deref()?);
        std::iter::successors(parent(task), move |task| parent(task)).take(MAX_DEPTH)
    }

    /// A Task below `parent` has settled or reserved something.
    pub(super) fn spent_below(
        &mut self,
        parent: String,
        before: (CallUsage, Reserve),
        after: (CallUsage, Reserve),
    ) {
        self.each_from(parent, |task| task.below.moved(before, after));
    }

    /// A Task below `parent` is there that was not.
    pub(super) fn one_more_below(&mut self, parent: &str) {
        self.each_from(parent.to_owned(), |task| {
            task.below.tasks = task.below.tasks.saturating_add(1);
        });
    }

    /// A Task below `parent` was answered.
    pub(super) fn called_below(&mut self, parent: String, calls: u64, models: &[String]) {
        self.each_from(parent, |task| {
            task.below.calls = task.below.calls.saturating_add(calls);
            for model in models {
                if !task.below.models.contains(model) {
                    task.below.models.push(model.clone());
                }
            }
        });
    }

    /// From a Task to the one at the top.
    fn each_from(&mut self, uid: String, mut act: impl FnMut(&mut Task)) {
        let mut next = Some(uid);
        for _ in 0..MAX_DEPTH {
            let Some(task) = next.and_then(|uid| self.tasks.get_mut(&uid)) else {
                return;
            };
            act(task);
            next = task.parent.clone();
        }
    }
}

impl Below {
    fn moved(&mut self, before: (CallUsage, Reserve), after: (CallUsage, Reserve)) {
        let number =
            |held: u64, before: u64, after: u64| held.saturating_sub(before).saturating_add(after);
        let sum = &mut self.sum;
        let (old, new) = (before.0, after.0);
        sum.input_tokens = number(sum.input_tokens, old.input_tokens, new.input_tokens);
        sum.output_tokens = number(sum.output_tokens, old.output_tokens, new.output_tokens);
        sum.cached_tokens = number(sum.cached_tokens, old.cached_tokens, new.cached_tokens);
        sum.cost_pico = number(sum.cost_pico, old.cost_pico, new.cost_pico);
        sum.estimated |= new.estimated;
        self.reserved = self.reserved.minus(before.1).plus(after.1);
    }
}

impl Task {
    /// A request, or a refusal.
    pub fn request(&self, id: &str) -> Result<&RequestAt, Refusal> {
        self.requests.get(id).ok_or_else(|| {
            Refusal::NotFound(format!(
                "Task {}/{} made no request {id}",
                self.task.namespace, self.task.name
            ))
        })
    }

    /// What was asked for and not answered.
    pub fn open_requests(&self) -> Vec<OpenRequest> {
        let open = self.requests.iter().filter_map(|(id, request)| {
            Some(OpenRequest {
                id: id.clone(),
                at_ms: request.at_ms,
                what: request.what.clone()?,
            })
        });
        open.collect()
    }

    /// Whether a pilot may ask for this.
    pub(super) fn check_asked(&self, records: &[Body]) -> Result<(), Refusal> {
        let mut more = 0;
        for (index, body) in records.iter().enumerate() {
            let Body::Asked { id, what, .. } = body else {
                continue;
            };
            if !what.is_named(id) {
                return Err(Refusal::Invalid(format!(
                    "records[{index}].id is not the id of what it asks for"
                )));
            }
            if serde_json::to_vec(what).map_or(true, |text| text.len() > MAX_ASK_BYTES) {
                return Err(Refusal::TooLarge(format!(
                    "records[{index}] asks for more than {MAX_ASK_BYTES} bytes"
                )));
            }
            if let Some(blobs) = what.handed()
                && let Some(missing) = super::journal::missing(self, blobs)
            {
                return Err(Refusal::Invalid(format!(
                    "records[{index}] hands on {missing}, which was not uploaded"
                )));
            }
            more += usize::from(!self.requests.contains_key(id));
        }
        let open = self.requests.values().filter(|one| one.what.is_some());
        if more > 0 && open.count() + more > MAX_OPEN {
            return Err(Refusal::TooLarge(format!(
                "a Task may have {MAX_OPEN} open requests; wait for an answer first"
            )));
        }
        Ok(())
    }

    /// The same request again, by an attempt that begins anew, is the one that there is, with its answer.
    pub(super) fn asked(&mut self, id: &str, what: &Ask, record: &Record) {
        self.requests
            .entry(id.to_owned())
            .or_insert_with(|| RequestAt {
                at_ms: record.at_ms,
                what: Some(what.clone()),
                answer: None,
                by: None,
            });
    }

    pub(super) fn answered(
        &mut self,
        id: &str,
        seq: u64,
        by: Option<&String>,
    ) -> Result<(), String> {
        let request = self.requests.get_mut(id);
        let request = request.ok_or_else(|| format!("request {id} was never made"))?;
        request.what = None;
        request.answer = Some(seq);
        request.by = by.cloned();
        Ok(())
    }
}
