//! What one pass over a Task will do: pure. No client, no clock, no await.
//!
//! The order in which `act` carries a [`Plan`] out is part of it: what a run needs, fence, status, the place of a run, budget, requests, start (open, NetworkPolicy, ServiceAccount,
//! Job), deletion of Jobs, deletion of the Task. So an attempt is persisted before it is opened and opened before its Job exists, no
//! Job exists before the policy that closes its pod in, and whatever ends an attempt is said to the gateway before it is written down.

use super::attempt;
use super::draft::Draft;
use super::hire::Busy;
use super::memo::{self, Memo};
use super::pod::{JobFacts, PodFacts};
use super::refs::{Refs, Resolved};
use super::requests::{self, Act, Made};
use super::run;
use crate::kit::events::Note;
use jiff::Timestamp;
use oarmaster_crds::kinds::task::DesiredState;
use oarmaster_crds::validate::{self, summary};
use oarmaster_crds::{Task, TaskStatus, conditions as vocabulary, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{AttemptReport, Blocked, Fence, MAX_LABELS, RunsIn, TaskBudget};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most new attempts after disruptions.
pub const MAX_DISRUPTIONS: i64 = 10;
/// Least time between two status writes that only show progress.
pub const COALESCE: Duration = Duration::from_secs(5);
/// How long after its end a Task's usage is still corrected: a call that was open is drained and booked.
pub const LATE_USAGE: Duration = Duration::from_secs(15 * 60);

/// Everything the planner may look at. Built once, by reads only.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The clock.
    pub now: Timestamp,
    /// What an attempt that is about to begin needs.
    pub refs: Refs,
    /// Every Job that carries the Task's UID as label and as owner.
    pub jobs: Vec<JobFacts>,
    /// A Job under the name of the current attempt that is not the Task's.
    pub foreign_job: bool,
    /// The pod of the current attempt's Job.
    pub pod: Option<PodFacts>,
    /// What the gateway knows of the current attempt, if it was asked and knows it.
    pub report: Option<AttemptReport>,
    /// Whether the namespace has the sandboxes' ServiceAccount.
    pub service_account: bool,
    /// The gateway's cluster IP, once its Service has one.
    pub gateway_ip: Option<String>,
    /// How long the class lets a pod take to start, if it can be read.
    pub startup_timeout: Option<Duration>,
    /// The Budget that leaves no room for the attempt that is about to begin.
    pub blocked: Option<Blocked>,
    /// What was made for its requests.
    pub made: Made,
    /// What is known of its run, of a Task with a workflow.
    pub run: Option<Box<run::Seen>>,
    /// Why there is no place for the attempt that is about to begin.
    pub busy: Option<Busy>,
    /// Of a Task with `memo` that is about to begin: who else does the same.
    pub memo: Option<Memo>,
    /// When this process last wrote the Task's status.
    pub written: Option<Timestamp>,
}

/// Everything one pass will do. Plain data: a test compares it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Stop this attempt at the gateway.
    pub fence: Option<(u32, Fence)>,
    /// Write this status.
    pub status: Option<TaskStatus>,
    /// Tell the gateway of a raised budget.
    pub budget: Option<TaskBudget>,
    /// Make and answer what the Task asked for.
    pub requests: Vec<Act>,
    /// Make and tell what the steps of its run need, before the status is written.
    pub run: run::Todo,
    /// Give back the place of its run, after the status is written.
    pub release: Option<run::Release>,
    /// Start an attempt.
    pub start: Option<Box<Start>>,
    /// Delete these Jobs.
    pub delete_jobs: Vec<Doomed>,
    /// Delete the Task itself.
    pub delete_task: bool,
    /// Say this to people.
    pub notes: Vec<Note>,
    /// How the Task ended, if it ends in this pass: for the metrics.
    pub ended: Option<Ended>,
    /// When to look again, if nothing happens before.
    pub next: Option<Duration>,
}

/// Starting an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The attempt.
    pub attempt: u32,
    /// Name of its Job.
    pub job: String,
    /// Whether shared pilots run it: then there is no Job.
    pub shared: bool,
    /// What it begins with.
    pub resolved: Resolved,
    /// Who created the Task.
    pub requested_by: Option<String>,
    /// UID of the Task that asked for this one.
    pub parent: Option<String>,
    /// Whether it ends the run of that one.
    pub ends: bool,
    /// Labels of the Task, for the ledger.
    pub labels: BTreeMap<String, String>,
    /// The gateway's cluster IP.
    pub gateway_ip: String,
    /// The running time that is left.
    pub left: Duration,
    /// Whether the sandboxes' ServiceAccount must be made first.
    pub service_account: bool,
    /// Whether the gateway has the attempt already.
    pub opened: bool,
}

/// A Job to delete, by name and UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Name of the Job.
    pub name: String,
    /// UID of the Job: a precondition, so that a later one of the same name is safe.
    pub uid: String,
}

/// The end of a Task, for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `Complete`, `Cancelled` or a failure class.
    pub outcome: &'static str,
    /// From creation to end.
    pub after: Duration,
}

/// Plans one pass.
#[must_use]
pub fn plan(task: &Task, seen: &Observed) -> Plan {
    let mut draft = Draft::new(task, seen);
    if vocabulary::is_true(&draft.status.conditions, vocabulary::FINISHED) {
        if !run::goes_on(&mut draft) {
            settled(&mut draft);
        }
    } else if task.metadata.deletion_timestamp.is_some() {
        leaving(&mut draft);
    } else if task.spec.is_run() {
        run::plan(&mut draft);
    } else if task.spec.state == DesiredState::Cancelled {
        draft.sync(); // what was used so far stays visible
        draft.fence("the Task was cancelled");
        draft.cancel();
    } else if task.spec.state == DesiredState::Paused {
        paused(&mut draft);
    } else {
        requests::plan(&mut draft);
        if draft.status.next_attempt_at.is_some() {
            back_off(&mut draft);
        } else if let Some(number) = draft.attempt() {
            attempt::plan(&mut draft, number);
        } else {
            accept(&mut draft);
        }
    }
    if vocabulary::is_true(&draft.status.conditions, vocabulary::FINISHED) {
        requests::stop(&mut draft);
    }
    draft.finish()
}

/// Plans the end of a Task whose next step was refused for good while it was carried out.
#[must_use]
pub fn refused(task: &Task, seen: &Observed, class: FailureClass, message: &str) -> Plan {
    let mut draft = Draft::new(task, seen);
    if !vocabulary::is_true(&draft.status.conditions, vocabulary::FINISHED) {
        draft.fence("the attempt could not be started");
        draft.fail(class, message);
        requests::stop(&mut draft);
        run::stop(&mut draft);
    }
    draft.finish()
}

/// The status while the API server does not take the attempt's Job, if it is to be written.
#[must_use]
pub fn hindered(task: &Task, seen: &Observed, why: &str) -> Option<TaskStatus> {
    let mut draft = Draft::new(task, seen);
    draft.starting(why);
    draft.finish().status
}

/// The end was written: only evidence is to be removed, late usage to be booked, and the Task itself once its time has come.
fn settled(draft: &mut Draft<'_>) {
    if draft.task.spec.is_run() {
        run::sum_up(draft);
    } else {
        draft.usage();
    }
    let Some(finished) = draft.status.finished_at.as_ref().map(|time| time.0) else {
        return;
    };
    let ttl = draft.task.spec.ttl_after_finished.as_ref();
    // A Task that must not have one (Git would make it again) ended as InvalidInput, and is kept.
    if let Some(Ok(ttl)) = ttl.map(oarmaster_crds::GepDuration::get)
        && validate::task(&draft.task.spec, &draft.task.metadata).is_empty()
    {
        let age = draft.since(finished);
        if age >= ttl {
            draft.delete_task = true;
        } else {
            draft.look_in(ttl - age);
        }
    }
}

/// Somebody deletes the Task with a finalizer on it: nothing of it may go on.
fn leaving(draft: &mut Draft<'_>) {
    if draft.seen.report.as_ref().is_some_and(|report| {
        let outcome = report.outcome.as_ref();
        report.over.is_none() && outcome.is_none_or(|outcome| outcome.failure.is_some())
    }) {
        draft.fence("the Task is being deleted");
    }
    draft.leave();
}

/// Somebody wants it to stop for a while. An attempt that has ended by itself counts as ended.
fn paused(draft: &mut Draft<'_>) {
    draft.sync();
    let report = draft.seen.report.as_ref();
    let outcome = report.and_then(|report| report.outcome.as_ref());
    match outcome.filter(|_| draft.status.next_attempt_at.is_none()) {
        Some(outcome) => {
            draft.clock_stops(draft.seen.now);
            draft.conclude(outcome);
        }
        None => draft.fence("the Task was paused"),
    }
    if !vocabulary::is_true(&draft.status.conditions, vocabulary::FINISHED) {
        draft.pause();
    }
}

/// No attempt was begun yet.
fn accept(draft: &mut Draft<'_>) {
    let problems = validate::task(&draft.task.spec, &draft.task.metadata);
    if let Some(first) = problems.first() {
        draft.refuse(super::refs::class_of(first.rule), &summary(&problems));
        return;
    }
    begin(draft, 1);
}

/// An attempt failed, and its back-off runs.
fn back_off(draft: &mut Draft<'_>) {
    draft.usage();
    if let Some(over) = draft.was_over() {
        draft.end_as(&over);
        return;
    }
    if let Some((reason, text)) = requests::awaited(draft) {
        draft.wait_for_answer(reason, &text);
        return;
    }
    let number = draft.attempt().unwrap_or_default();
    let at = draft.status.next_attempt_at.as_ref().map(|time| time.0);
    match at {
        Some(at) if at > draft.seen.now => draft.look_in(draft.until(at)),
        _ => begin(draft, number.saturating_add(1)),
    }
}

/// Writes an attempt down and starts it, or says what it waits for.
pub(super) fn begin(draft: &mut Draft<'_>, number: u32) {
    match &draft.seen.refs {
        Refs::NotLooked => draft.look_in(Duration::ZERO), // this pass did not expect to begin; the next one looks
        Refs::Missing(what) => draft.wait_for(what),
        Refs::Refused(class, message) => draft.refuse(*class, message),
        Refs::Found(_) if memo::stands_in(draft) => {}
        Refs::Found(_) if draft.seen.blocked.is_some() => draft.wait_for_room(),
        Refs::Found(_) if draft.seen.busy.is_some() => draft.wait_for_place(),
        Refs::Found(resolved) => {
            draft.begin(number, resolved);
            start(draft, number, resolved);
        }
    }
}

/// What the gateway takes of a Task's labels: those of its step come first, since others of its tree know it by them.
pub(super) fn ledger_labels(task: &Task) -> BTreeMap<String, String> {
    let all = || task.metadata.labels.iter().flatten();
    let is_step = |key: &str| key == names::STEP_LABEL || key == names::ITEM_LABEL;
    let step = all().filter(|(key, _)| is_step(key));
    let others = all().filter(|(key, _)| !is_step(key));
    let own = |(key, value): (&String, &String)| (key.clone(), value.clone());
    step.chain(others).map(own).take(MAX_LABELS).collect()
}

/// Starts an attempt that is written down.
pub(super) fn start(draft: &mut Draft<'_>, number: u32, resolved: &Resolved) {
    let Some(gateway_ip) = draft.seen.gateway_ip.clone() else {
        // The Service is watched: its arrival triggers the Task.
        draft.starting("the gateway's Service has no address yet");
        return;
    };
    // Where it was opened already, it runs where it was opened to run.
    let reported = draft.seen.report.as_ref();
    let reported = reported.filter(|report| report.attempt == number);
    let shared = reported.map_or(resolved.shared, |report| report.runs_in == RunsIn::Shared);
    draft.start = Some(Box::new(Start {
        attempt: number,
        job: names::job_name(
            draft.task.metadata.name.as_deref().unwrap_or_default(),
            draft.task.metadata.uid.as_deref().unwrap_or_default(),
            number,
        ),
        shared,
        resolved: resolved.clone(),
        requested_by: draft.task.spec.requested_by.clone(),
        parent: requests::parent(draft.task).map(|parent| parent.uid.clone()),
        ends: requests::ends(draft.task),
        labels: ledger_labels(draft.task),
        gateway_ip,
        left: draft.left(),
        service_account: !draft.seen.service_account && !shared,
        opened: reported.is_some(),
    }));
}
