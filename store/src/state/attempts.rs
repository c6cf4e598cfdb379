//! Deciding about attempts: open, claim, fence, budget.

use super::{State, Task};
use crate::Refusal;
use crate::entry::Entry;
use crate::error::Bound;
use oarmaster_protocol::admin::{Fence, MAX_LABELS, OpenAttempt, RunsIn, TaskBudget};
use oarmaster_protocol::assignment::{MAX_ASSIGNMENT_BYTES, Target, TaskRef};
use oarmaster_protocol::journal::{Body, Record};
use oarmaster_protocol::task::ClaimRequest;
use oarmaster_protocol::text::shorten;
use std::collections::BTreeMap;

/// Most claims of one attempt; more is a pod that starts in a loop.
pub const MAX_CLAIMS: usize = 256;

impl State {
    /// Opens an attempt. `text` is the assignment as it will be served. No entry when there is nothing to change.
    pub fn decide_open_attempt(
        &self,
        uid: &str,
        attempt: u32,
        request: &OpenAttempt,
        text: Option<String>,
        now: i64,
    ) -> Result<Vec<Entry>, Refusal> {
        if attempt == 0 {
            return Err(Refusal::Invalid("attempts are numbered from 1".into()));
        }
        bounded("task UID", uid, 64)?;
        if let RunsIn::Job(job) = &request.runs_in {
            bounded("job", job, 253)?;
        }
        if let Some(parent) = &request.parent {
            bounded("parent", parent, 64)?;
        }
        bounded_labels(&request.labels)?;
        if let (Some(text), Some(assignment)) = (&text, &request.assignment) {
            if text.len() > MAX_ASSIGNMENT_BYTES {
                return Err(Refusal::TooLarge(format!(
                    "the assignment has {} bytes, at most {MAX_ASSIGNMENT_BYTES} are possible; make the Task's files smaller",
                    text.len()
                )));
            }
            if request.runs_in == RunsIn::Shared && assignment.runs_code() {
                return Err(Refusal::Invalid(
                    "an assignment with a sandbox needs a pod of its own: runsIn must name its job"
                        .into(),
                ));
            }
            let workflow = matches!(assignment.target, Target::Workflow(_));
            if workflow != (request.runs_in == RunsIn::Operator) {
                return Err(Refusal::Invalid(
                    "a workflow is driven by the operator, and nothing else is: runsIn and assignment.target do not fit"
                        .into(),
                ));
            }
            if assignment.task.uid != uid {
                return Err(Refusal::Invalid(format!(
                    "assignment.task.uid is {}, the path says {uid}",
                    assignment.task.uid
                )));
            }
        }
        let digest = text
            .as_ref()
            .map(|text| oarmaster_protocol::digest(text.as_bytes()));
        let known = self.tasks.get(uid);
        if let Some(found) = known.and_then(|task| task.attempts.get(&attempt)) {
            let same = found.runs_in == request.runs_in && digest.is_none_or(|d| d == found.digest);
            return if same {
                self.decide_raise_budget(uid, request.budget, now)
            } else {
                Err(Refusal::Diverged(format!(
                    "attempt {attempt} was opened before to run elsewhere, or with another assignment ({:?}, assignment {})",
                    found.runs_in, found.digest
                )))
            };
        }
        let newest = known.and_then(|task| task.attempts.last_key_value());
        if let Some((newest, _)) = newest.filter(|(newest, _)| **newest > attempt) {
            return Err(Refusal::Fenced(format!(
                "attempt {attempt} comes too late: attempt {newest} is open already"
            )));
        }
        let (task, digest, pinned) = match (&request.assignment, digest) {
            (Some(assignment), Some(digest)) => {
                let pinned = match &assignment.target {
                    Target::Agent(agent) => Some(agent.pinned.clone()),
                    Target::Workflow(workflow) => Some(workflow.pinned.clone()),
                    Target::Run(_) => None,
                };
                (assignment.task.clone(), digest, pinned)
            }
            _ => takes_over(known, attempt)?,
        };
        if let Some(known) = known.filter(|known| known.task != task) {
            return Err(Refusal::Invalid(format!(
                "assignment.task names {}/{}, but this UID is that of {}/{}",
                task.namespace, task.name, known.task.namespace, known.task.name
            )));
        }
        // It never changes in the life of a Task.
        let requested_by = known
            .and_then(|task| task.requested_by.clone())
            .or_else(|| request.requested_by.clone());
        let parent = match known {
            Some(task) => task.parent.clone(),
            None => request.parent.clone(),
        };
        if parent.as_deref() == Some(uid) {
            return Err(Refusal::Invalid("a Task is not its own parent".into()));
        }
        if known.is_none() {
            self.is_new(&task, request.parent.as_deref())?;
            self.room_above(parent.as_deref(), request.ends)?;
        }
        let mut records = Records::new(known, now);
        let mut entries = Vec::new();
        for (lower, _) in known
            .into_iter()
            .flat_map(|task| &task.attempts)
            .filter(|(_, found)| found.is_open())
        {
            let reason = format!("attempt {attempt} was opened");
            entries.push(Entry::Record {
                task: uid.to_owned(),
                record: records.next(*lower, Body::Fenced { reason, ends: None }),
            });
        }
        entries.push(Entry::Attempt {
            task,
            runs_in: request.runs_in.clone(),
            pinned,
            assignment: text,
            budget: known.map_or(request.budget, |task| raised(task.budget, request.budget)),
            requested_by,
            parent,
            keeps: request.keeps,
            ends: request.ends,
            labels: request.labels.clone(),
            record: records.next(attempt, Body::Opened { assignment: digest }),
        });
        Ok(entries)
    }

    /// Whether there may be one Task more below each of those that a new one stands below. One that is known counts already, whatever its attempt. What
    /// ends a run counts, too, and with all below it is never one too many for that run: one that has reached the most is undone, and reports, all the same.
    /// For the runs above that one it is like any other.
    fn room_above(&self, parent: Option<&str>, mut ends: bool) -> Result<(), Refusal> {
        let Some(parent) = parent.and_then(|uid| self.tasks.get(uid)) else {
            return Ok(());
        };
        let above = std::iter::once(parent).chain(self.above(parent));
        for (level, task) in (1..).zip(above) {
            let TaskBudget { tasks, depth, .. } = task.budget;
            let (bound, limit, has) = if let Some(limit) = depth.filter(|most| level > *most) {
                (Bound::Depth, limit, level)
            } else if let Some(limit) = tasks.filter(|most| !ends && task.below.tasks >= *most) {
                (Bound::Tasks, limit, task.below.tasks)
            } else {
                ends = task.ends;
                continue;
            };
            return Err(Refusal::TreeFull {
                task: task.task.name.clone(),
                bound,
                limit,
                has,
            });
        }
        Ok(())
    }

    /// Whether its parent has not had it already, under another UID. What a Task asks for has a name of its own and is made once: made again, it was
    /// forgotten by a cluster that was restored to a point before it.
    fn is_new(&self, task: &TaskRef, parent: Option<&str>) -> Result<(), Refusal> {
        let name = (task.namespace.clone(), task.name.clone());
        let before = self.names.get(&name).and_then(|uid| self.tasks.get(uid));
        match before.filter(|before| parent.is_some() && before.parent.as_deref() == parent) {
            None => Ok(()),
            Some(_) => Err(Refusal::Fenced(format!(
                "Task {} was begun before, by the same Task, under another UID: the cluster was restored to a point before that",
                task.name
            ))),
        }
    }

    /// Raises the budget.
    pub fn decide_raise_budget(
        &self,
        uid: &str,
        budget: TaskBudget,
        now: i64,
    ) -> Result<Vec<Entry>, Refusal> {
        let task = self.task(uid)?;
        let budget = raised(task.budget, budget);
        if budget == task.budget {
            return Ok(Vec::new());
        }
        Ok(vec![Entry::Budget {
            at_ms: Some(now),
            task: uid.to_owned(),
            budget,
        }])
    }

    /// Fences an attempt. Of one that has ended without success it is written down that no other one follows, where that is so.
    pub fn decide_fence(
        &self,
        uid: &str,
        attempt: u32,
        fence: &Fence,
        now: i64,
    ) -> Result<Vec<Entry>, Refusal> {
        let (task, found) = self.attempt(uid, attempt)?;
        let newest = task.attempts.last_key_value().map(|(newest, _)| *newest);
        let ends = fence.ends.filter(|_| {
            let outcome = found.outcome.as_ref();
            newest == Some(attempt)
                && found.over.is_none()
                && outcome.is_none_or(|outcome| outcome.failure.is_some())
        });
        if !found.is_open() && ends.is_none() {
            return Ok(Vec::new());
        }
        let reason = shorten(&fence.reason, 1024);
        Ok(vec![Entry::Record {
            task: uid.to_owned(),
            record: Records::new(Some(task), now).next(attempt, Body::Fenced { reason, ends }),
        }])
    }

    /// Claims an attempt for the session `session`, unless it is the newest claim again.
    pub fn decide_claim(
        &self,
        uid: &str,
        attempt: u32,
        request: &ClaimRequest,
        pod: &str,
        session: &str,
        now: i64,
    ) -> Result<Option<Entry>, Refusal> {
        bounded("nonce", &request.nonce, 128)?;
        bounded("pod", pod, 253)?;
        let (task, found) = self.attempt(uid, attempt)?;
        let name = format!("{}/{}", task.task.namespace, task.task.name);
        if !found.is_open() {
            let why = if found.fenced {
                "was fenced"
            } else {
                "has ended"
            };
            return Err(Refusal::Fenced(format!(
                "attempt {attempt} of Task {name} {why}; this pilot must exit"
            )));
        }
        if request.assignment != found.digest {
            return Err(Refusal::Diverged(format!(
                "the Job names assignment {}, attempt {attempt} of Task {name} has {}",
                request.assignment, found.digest
            )));
        }
        if found.nonces.last() == Some(&request.nonce) {
            return Ok(None);
        }
        if found.nonces.contains(&request.nonce) {
            return Err(Refusal::Fenced(format!(
                "another pod has claimed attempt {attempt} of Task {name} since; this pilot must exit"
            )));
        }
        if found.nonces.len() >= MAX_CLAIMS {
            return Err(Refusal::TooLarge(format!(
                "attempt {attempt} of Task {name} was claimed {MAX_CLAIMS} times"
            )));
        }
        let body = Body::Claimed {
            session: session.to_owned(),
            pod: pod.to_owned(),
        };
        Ok(Some(Entry::Claim {
            task: uid.to_owned(),
            nonce: request.nonce.clone(),
            record: Records::new(Some(task), now).next(attempt, body),
        }))
    }
}

/// Numbers the records of one decision.
pub struct Records {
    seq: u64,
    now: i64,
}

impl Records {
    pub fn new(task: Option<&Task>, now: i64) -> Self {
        let seq = task.map_or(0, Task::next);
        Self { seq, now }
    }

    pub fn next(&mut self, attempt: u32, body: Body) -> Record {
        let seq = self.seq;
        self.seq += 1;
        Record {
            seq,
            at_ms: self.now,
            attempt,
            body,
        }
    }
}

fn takes_over(
    known: Option<&Task>,
    attempt: u32,
) -> Result<(TaskRef, String, Option<String>), Refusal> {
    let before = attempt - 1;
    known
        .and_then(|task| Some((task, task.attempts.get(&before)?)))
        .map(|(task, found)| (task.task.clone(), found.digest.clone(), found.pinned.clone()))
        .ok_or_else(|| {
            Refusal::NotFound(format!(
                "attempt {attempt} has no assignment, and attempt {before} is not known; open it with an assignment"
            ))
        })
}

fn raised(old: TaskBudget, new: TaskBudget) -> TaskBudget {
    let higher = |old: Option<u64>, new: Option<u64>| Some(old?.max(new.unwrap_or(0)));
    TaskBudget {
        pico_usd: higher(old.pico_usd, new.pico_usd),
        tokens: higher(old.tokens, new.tokens),
        tasks: higher(old.tasks, new.tasks),
        depth: higher(old.depth, new.depth),
    }
}

fn bounded_labels(labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
    // As Kubernetes bounds them.
    let long = |(key, value): (&String, &String)| key.len() > 317 || value.len() > 63;
    if labels.len() > MAX_LABELS || labels.iter().any(long) {
        return Err(Refusal::Invalid(format!(
            "labels must be at most {MAX_LABELS}, with keys of at most 317 and values of at most 63 bytes"
        )));
    }
    Ok(())
}

pub(super) fn bounded(field: &str, value: &str, most: usize) -> Result<(), Refusal> {
    if value.is_empty() || value.len() > most || !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Refusal::Invalid(format!(
            "{field} must be 1 to {most} printable ASCII characters"
        )));
    }
    Ok(())
}
