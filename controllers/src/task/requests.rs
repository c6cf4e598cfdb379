//! What a Task asked for: the objects that are made for it, and the answers that come of them. Pure.
//!
//! Each request has one object under a name that follows from it, so that a pass which is made again makes nothing twice. An entry stays in
//! `status.requests` until the gateway has the answer: it says which object counts, and how often it was made.

use super::assignment::task_ref;
use super::census::has_ended;
use super::draft::Draft;
use crate::kit::events::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::kinds::approval::{
    ApprovalPhase, ApprovalSpec, Approvers, FormField, OnTimeout, TaskUid,
};
use oarmaster_crds::kinds::task::{AgentCall, DesiredState, RequestKind, RequestStatus};
use oarmaster_crds::{Approval, GepDuration, Task, TaskSpec, names};
use oarmaster_protocol::admin::AttemptReport;
use oarmaster_protocol::assignment::Handed;
use oarmaster_protocol::request::{
    Ask, Form, OpenRequest, Reply, Waits, action, form_problem, shown,
};
use oarmaster_protocol::text::{shorten, visible};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Most Tasks above a Task.
pub const MAX_DEPTH: u32 = 3;
/// Characters of all notes of an answer.
const MAX_NOTES: usize = 4096;
/// How many of those who may decide are named in a message.
const NAMED: usize = 4;
/// How user names of ServiceAccounts begin.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The objects that were made for requests, by name.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Child Tasks.
    pub tasks: BTreeMap<String, Arc<Task>>,
    /// Approvals.
    pub approvals: BTreeMap<String, Arc<Approval>>,
}

/// What is to be done for a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Make this Task. One of that name is found by the next pass.
    MakeTask {
        /// Id of the request.
        id: String,
        /// The Task.
        task: Box<Task>,
    },
    /// Make this Approval, likewise.
    MakeApproval {
        /// Id of the request.
        id: String,
        /// The Approval.
        approval: Box<Approval>,
    },
    /// Tell the gateway this answer.
    Answer {
        /// Id of the request.
        id: String,
        /// The answer.
        answer: Reply,
    },
    /// Stop this child Task.
    Cancel {
        /// Its name.
        name: String,
    },
}

/// Names of the objects that a pass looks at: those that were made, and those that may have been.
#[must_use]
pub fn names_of(
    task: &Task,
    report: Option<&AttemptReport>,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut tasks, mut approvals) = (BTreeSet::new(), BTreeSet::new());
    let held = task.status.iter().flat_map(|status| &status.requests);
    let open = report.iter().flat_map(|report| &report.requests);
    let mut take = |kind, name| match kind {
        RequestKind::Task => tasks.insert(name),
        RequestKind::Approval => approvals.insert(name),
    };
    for entry in held {
        take(entry.kind, entry.name.clone());
    }
    for request in open {
        let entry = entry(task, request, 1);
        take(entry.kind, entry.name);
    }
    (tasks, approvals)
}

/// What is to be done for the open requests of a Task that goes on.
pub(super) fn plan(draft: &mut Draft<'_>) {
    let Some(report) = &draft.seen.report else {
        return; // this pass did not ask
    };
    let mut entries = Vec::with_capacity(report.requests.len());
    for request in &report.requests {
        let (entry, act) = step(draft, request);
        match &act {
            Some(Act::MakeTask { .. }) => draft.asked(Reason::Delegated, "Task", &entry.name),
            Some(Act::MakeApproval { .. }) => {
                draft.asked(Reason::ApprovalAsked, "Approval", &entry.name)
            }
            Some(Act::Answer { .. }) => draft.look_in(Duration::ZERO), // then it is open no more
            Some(Act::Cancel { .. }) | None => {}
        }
        draft.acts.extend(act);
        entries.push(entry);
    }
    draft.status.requests = entries;
}

/// Stops the child Tasks of a Task that is over. Its Approvals expire by themselves.
pub(super) fn stop(draft: &mut Draft<'_>) {
    let live = |task: &Arc<Task>| {
        !has_ended(task)
            && task.spec.state != DesiredState::Cancelled
            && is_ours(draft.task, task.as_ref())
    };
    let made = draft.seen.made.tasks.iter().filter(|(_, task)| live(task));
    draft.acts.clear(); // nothing of it begins any more
    let acts: Vec<Act> = made
        .map(|(name, _)| Act::Cancel { name: name.clone() })
        .collect();
    draft.acts.extend(acts);
}

/// Reason and message of what a Task waits for without a pod, if it waits for an answer that is not there.
pub(super) fn awaited(draft: &Draft<'_>) -> Option<(&'static str, String)> {
    let report = draft.seen.report.as_ref()?;
    let failure = report.outcome.as_ref()?.failure.as_ref()?;
    let Some(Waits::Request { id }) = &failure.waits else {
        return None;
    };
    let request = report.requests.iter().find(|request| request.id == *id)?;
    let held = draft.status.requests.iter().find(|entry| entry.id == *id);
    let name = held.map_or_else(
        || entry(draft.task, request, 1).name,
        |entry| entry.name.clone(),
    );
    let namespace = draft.task.metadata.namespace.as_deref().unwrap_or_default();
    Some(match &request.what {
        Ask::Delegate { agent, .. } | Ask::Judge { agent, .. } => (
            reason::WAITING_FOR_TASK,
            format!("waits for the agent {agent}: Task {name}"),
        ),
        Ask::Approval { .. } | Ask::Question { .. } => {
            let approval = draft.seen.made.approvals.get(&name);
            let form = approval.map(|approval| approval.spec.form.clone());
            let command = command(namespace, &name, &form.unwrap_or_default());
            let approvers = approval.map(|approval| who(&approval.spec.approvers));
            let approvers = approvers.unwrap_or_else(|| "people".to_owned());
            (
                reason::WAITING_FOR_APPROVAL,
                format!("waits for {approvers}: {command}"),
            )
        }
    })
}

/// The command by which a person decides.
#[must_use]
pub fn command(namespace: &str, name: &str, form: &BTreeMap<String, FormField>) -> String {
    let value = |(name, field): (&String, &FormField)| {
        let first = field.options.first().map_or("...", String::as_str);
        (name.clone(), json!(first))
    };
    let values: Map<String, Value> = form.iter().map(value).collect();
    let (values, filled) = if values.is_empty() {
        (String::new(), "")
    } else {
        // An apostrophe would end the shell's text.
        let values = Value::Object(values).to_string().replace('\'', r"'\''");
        (
            format!(r#","values":{values}"#),
            "; values are what spec.form asks for",
        )
    };
    format!(
        r#"kubectl patch oappr {name} -n {namespace} --type=merge -p '{{"spec":{{"decisions":{{"USER":{{"decision":"Approve"{values}}}}}}}}}' (USER is your own user name, as kubectl auth whoami says it; or Reject; "note" takes a text{filled})"#
    )
}

/// Who may decide, for a person: some of them, so that the command beside it is not cut off.
#[must_use]
pub fn who(approvers: &Approvers) -> String {
    let users = approvers.users.iter().cloned();
    let groups = approvers
        .groups
        .iter()
        .map(|group| format!("group {group}"));
    let names = users.chain(groups);
    let some: Vec<String> = names.take(NAMED).map(|name| shorten(&name, 64)).collect();
    let all = approvers.users.len() + approvers.groups.len();
    let mut text = some.join(", ");
    if all > NAMED {
        text.push_str(&format!(" and {} more", all - NAMED));
    }
    match approvers.count {
        ..=1 => text,
        count => format!("{count} of {text}"),
    }
}

/// The entry of a request, and what is to be done for it now.
fn step(draft: &Draft<'_>, request: &OpenRequest) -> (RequestStatus, Option<Act>) {
    let task = draft.task;
    let held = draft
        .status
        .requests
        .iter()
        .find(|entry| entry.id == request.id);
    let entry = held.cloned().unwrap_or_else(|| entry(task, request, 1));
    let allowed = draft
        .status
        .pinned
        .as_ref()
        .and_then(|pinned| pinned.requests.clone());
    let allowed = allowed.unwrap_or_default();
    match &request.what {
        Ask::Delegate {
            agent,
            prompt,
            workspace,
        } => {
            if allowed.delegates.contains(agent) {
                delegate(draft, entry, (agent, prompt), workspace.is_some())
            } else {
                refuse(entry, "the Agent may not give it work")
            }
        }
        Ask::Judge { agent, prompt } => {
            let own = task.spec.accept.as_ref();
            let own = own.map(|accept| accept.judge.as_ref().map(|judge| &judge.name));
            if own.unwrap_or(allowed.judge.as_ref()) == Some(agent) {
                delegate(draft, entry, (agent, prompt), false)
            } else {
                refuse(entry, "it is not the judge")
            }
        }
        // Of a pilot of another version.
        Ask::Approval { .. } if request.what.is_too_large() => {
            refuse(entry, "the call is larger than people can be shown")
        }
        Ask::Approval { tool, arguments } => {
            let rule = allowed.approvals.iter().find(|rule| rule.tool == *tool);
            match rule {
                None => refuse(entry, "the Agent has no approvers for this tool"),
                Some(rule) => {
                    let wanted = Wanted {
                        ask: format!(
                            "Run {tool} for Task {}?",
                            task.metadata.name.as_deref().unwrap_or_default()
                        ),
                        form: BTreeMap::new(),
                        show: [
                            ("tool".to_owned(), tool.clone()),
                            ("arguments".to_owned(), shown(arguments)),
                        ]
                        .into(),
                        action: Some(action(tool, arguments)),
                        approvers: &rule.approvers,
                        timeout: &rule.timeout,
                        on_timeout: rule.on_timeout,
                    };
                    approve(draft, request, entry, wanted)
                }
            }
        }
        Ask::Question { ask, form } => match &allowed.questions {
            None => refuse(entry, "the Agent may not ask people"),
            Some(questions) => {
                let wanted = Wanted {
                    ask: shorten(&visible(ask), 4096),
                    form: form_of(form),
                    show: BTreeMap::new(),
                    action: None,
                    approvers: &questions.approvers,
                    timeout: &questions.timeout,
                    on_timeout: OnTimeout::Reject,
                };
                approve(draft, request, entry, wanted)
            }
        },
    }
}

fn refuse(entry: RequestStatus, why: &str) -> (RequestStatus, Option<Act>) {
    answer(entry, false, json!(why))
}

fn answer(entry: RequestStatus, ok: bool, value: Value) -> (RequestStatus, Option<Act>) {
    let task = None;
    reply(entry, Reply { ok, value, task })
}

fn reply(entry: RequestStatus, answer: Reply) -> (RequestStatus, Option<Act>) {
    let act = Act::Answer {
        id: entry.id.clone(),
        answer,
    };
    (entry, Some(act))
}

fn delegate(
    draft: &Draft<'_>,
    mut entry: RequestStatus,
    (agent, prompt): (&str, &str),
    files: bool,
) -> (RequestStatus, Option<Act>) {
    let task = draft.task;
    let depth = depth(task);
    if depth >= MAX_DEPTH {
        let text = format!("{MAX_DEPTH} Tasks are above this one already; do the work here");
        return refuse(entry, &text);
    }
    match draft.seen.made.tasks.get(&entry.name) {
        Some(child) if !is_ours(task, child.as_ref()) => {
            let text = format!("Task {} exists and belongs to somebody else", entry.name);
            refuse(entry, &text)
        }
        Some(child) => match outcome(child) {
            Some((ok, value)) => {
                let task = child.metadata.uid.clone().filter(|_| files);
                reply(entry, Reply { ok, value, task })
            }
            None => {
                entry.uid.clone_from(&child.metadata.uid);
                (entry, None)
            }
        },
        None if entry.uid.is_some() => refuse(entry, "its Task was deleted"),
        None => {
            let mut labels = child_labels(task, depth + 1);
            if files {
                labels.insert(names::FILES_LABEL.to_owned(), entry.id.clone());
            }
            let child = Task {
                metadata: ObjectMeta {
                    labels: Some(labels),
                    ..made_for(task, &entry.name)
                },
                spec: TaskSpec {
                    agent: Some(AgentCall {
                        name: Some(agent.to_owned()),
                        select: None,
                        command: None,
                    }),
                    params: Some([("prompt".to_owned(), json!(prompt))].into()),
                    requested_by: task.spec.requested_by.clone(),
                    priority: task.spec.priority,
                    queue: task.spec.queue.clone(),
                    ..TaskSpec::default()
                },
                status: None,
            };
            let act = Act::MakeTask {
                id: entry.id.clone(),
                task: Box::new(child),
            };
            (entry, Some(act))
        }
    }
}

/// How a child Task ended, if it has.
fn outcome(child: &Task) -> Option<(bool, Value)> {
    let status = child.status.as_ref()?;
    if !conditions::is_true(&status.conditions, conditions::FINISHED) {
        return None;
    }
    if conditions::is_true(&status.conditions, conditions::COMPLETE) {
        return Some((true, status.output.clone().unwrap_or_default()));
    }
    let why = status.failure.as_ref().map_or_else(
        || "it was cancelled".to_owned(),
        |failure| format!("{}: {}", failure.class, failure.message),
    );
    Some((false, json!(why)))
}

/// What an Approval is to say.
pub(super) struct Wanted<'a> {
    pub(super) ask: String,
    pub(super) form: BTreeMap<String, FormField>,
    pub(super) show: BTreeMap<String, String>,
    pub(super) action: Option<String>,
    pub(super) approvers: &'a Approvers,
    pub(super) timeout: &'a GepDuration,
    pub(super) on_timeout: OnTimeout,
}

fn approve(
    draft: &Draft<'_>,
    request: &OpenRequest,
    mut entry: RequestStatus,
    wanted: Wanted<'_>,
) -> (RequestStatus, Option<Act>) {
    let task = draft.task;
    let found = draft.seen.made.approvals.get(&entry.name);
    match found {
        Some(approval) if !is_ours(task, approval.as_ref()) => {
            let text = format!(
                "Approval {} exists and belongs to somebody else",
                entry.name
            );
            return refuse(entry, &text);
        }
        Some(approval) if entry.uid.is_none() || entry.uid == approval.metadata.uid => {
            entry.uid.clone_from(&approval.metadata.uid);
            return match decided(approval) {
                Some((ok, value)) => answer(entry, ok, value),
                None => (entry, None),
            };
        }
        None if entry.uid.is_none() => {}
        // The one that was asked is gone, whatever has its name now.
        Some(_) | None => entry = self::entry(task, request, entry.round.saturating_add(1)),
    }
    let approval = Approval {
        metadata: made_for(task, &entry.name),
        spec: spec(draft.seen.now, task, wanted),
        status: None,
    };
    let act = Act::MakeApproval {
        id: entry.id.clone(),
        approval: Box::new(approval),
    };
    (entry, Some(act))
}

pub(super) fn spec(now: Timestamp, task: &Task, wanted: Wanted<'_>) -> ApprovalSpec {
    let requested_by = task.spec.requested_by.clone().unwrap_or_default();
    let mut approvers = wanted.approvers.clone();
    // Nobody knows who wrote what a ServiceAccount applied: it may have been the member of a group who approves. Users were named one by one.
    if requested_by.starts_with(SERVICE_ACCOUNT) && !approvers.groups.is_empty() {
        approvers.count = approvers.count.max(2);
    }
    let timeout = wanted.timeout.get().unwrap_or_default();
    let expires = now.saturating_add(timeout).unwrap_or(now);
    ApprovalSpec {
        task: TaskUid {
            name: task.metadata.name.clone().unwrap_or_default(),
            uid: task.metadata.uid.clone().unwrap_or_default(),
        },
        requested_by,
        ask: wanted.ask,
        form: wanted.form,
        show: wanted.show,
        action: wanted.action,
        approvers,
        expires_at: Time(conditions::whole_second(expires)),
        on_timeout: wanted.on_timeout,
        decisions: BTreeMap::new(),
    }
}

/// The form that an agent asked for; what it would be refused for is not in it.
fn form_of(form: &Form) -> BTreeMap<String, FormField> {
    if form_problem(form).is_some() {
        return BTreeMap::new(); // of a pilot of another version
    }
    let field = |options: &Vec<String>| FormField {
        options: options.clone(),
    };
    form.iter()
        .map(|(name, options)| (name.clone(), field(options)))
        .collect()
}

/// What was decided, if it was: as the agent is told it.
pub(super) fn decided(approval: &Approval) -> Option<(bool, Value)> {
    let status = approval.status.as_ref()?;
    let phase = match status.phase? {
        ApprovalPhase::Waiting => return None,
        ApprovalPhase::Approved => "Approved",
        ApprovalPhase::Rejected => "Rejected",
        ApprovalPhase::Expired => "Expired",
    };
    let most = MAX_NOTES / status.by.len().max(1);
    let notes = status
        .by
        .iter()
        .filter_map(|user| approval.spec.decisions.get(user));
    let notes = notes.filter(|decision| !decision.note.is_empty());
    let notes: Vec<String> = notes
        .map(|decision| shorten(&decision.note, most))
        .collect();
    let mut value = Map::from_iter([
        ("decision".to_owned(), json!(phase)),
        ("by".to_owned(), json!(status.by)),
        ("notes".to_owned(), json!(notes)),
    ]);
    // Those who approved filled in the same.
    let first = status.by.first();
    let filled_in = first.and_then(|user| approval.spec.decisions.get(user));
    if let Some(decision) = filled_in.filter(|decision| !decision.values.is_empty()) {
        value.insert("values".to_owned(), json!(decision.values));
    }
    let granted = status.phase == Some(ApprovalPhase::Approved);
    Some((granted, Value::Object(value)))
}

/// The entry of a request, made for the `round`th time.
fn entry(task: &Task, request: &OpenRequest, round: i64) -> RequestStatus {
    let of = task_ref(task);
    let id = &request.id;
    let approval = |tool| {
        let name = names::approval_name(&of.name, &of.uid, tool, id, round);
        (RequestKind::Approval, name)
    };
    let (kind, name) = match &request.what {
        Ask::Delegate { agent, .. } | Ask::Judge { agent, .. } => {
            let name = names::child_name(&of.name, &of.uid, agent, id);
            (RequestKind::Task, name)
        }
        Ask::Approval { tool, .. } => approval(tool.as_str()),
        Ask::Question { .. } => approval("question"),
    };
    RequestStatus {
        id: id.clone(),
        kind,
        name,
        uid: None,
        round,
    }
}

/// How many Tasks are above a Task. The label is guarded: users do not set it.
pub(super) fn depth(task: &Task) -> u32 {
    let labels = task.metadata.labels.as_ref();
    let depth = labels.and_then(|labels| labels.get(names::DEPTH_LABEL));
    depth.map_or(0, |depth| depth.parse().unwrap_or(MAX_DEPTH))
}

/// Whether a Task ends the run of its parent, by the label that the operator alone sets.
pub(super) fn ends(task: &Task) -> bool {
    let labels = task.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(names::ENDS_LABEL))
}

pub(super) fn child_labels(task: &Task, depth: u32) -> BTreeMap<String, String> {
    let uid = task.metadata.uid.clone().unwrap_or_default();
    let labels = task.metadata.labels.as_ref();
    let root = labels.and_then(|labels| labels.get(names::ROOT_UID_LABEL));
    let root = root.cloned().unwrap_or_else(|| uid.clone());
    [
        (names::PARENT_UID_LABEL, uid),
        (names::ROOT_UID_LABEL, root),
        (names::DEPTH_LABEL, depth.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// The metadata of an object that a Task owns.
pub(super) fn made_for(task: &Task, name: &str) -> ObjectMeta {
    let of = task_ref(task);
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(of.namespace),
        owner_references: Some(vec![OwnerReference {
            api_version: Task::api_version(&()).into_owned(),
            kind: Task::kind(&()).into_owned(),
            name: of.name,
            uid: of.uid,
            controller: Some(true),
            block_owner_deletion: None,
        }]),
        ..ObjectMeta::default()
    }
}

/// Whether a Task owns an object.
pub(super) fn is_ours<K: Resource>(task: &Task, object: &K) -> bool {
    let mut owners = object.meta().owner_references.iter().flatten();
    let uid = task.metadata.uid.as_ref();
    owners.any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid)
}

/// The request that a Task begins with the files of, if it is handed any.
#[must_use]
pub fn handed(task: &Task) -> Option<Handed> {
    let above = parent(task)?;
    let request = task.metadata.labels.as_ref()?.get(names::FILES_LABEL)?;
    Some(Handed {
        task: above.uid.clone(),
        request: request.clone(),
    })
}

/// The Tasks above a Task, the nearest first, up to one that is not there. `named` finds one of the same namespace.
pub(super) fn above(
    task: &Task,
    named: impl Fn(&str) -> Option<Arc<Task>>,
) -> impl Iterator<Item = Arc<Task>> {
    let next = move |task: &Task| {
        let owner = parent(task)?;
        named(&owner.name).filter(|found| found.metadata.uid.as_ref() == Some(&owner.uid))
    };
    let all = std::iter::successors(next(task), move |task| next(task));
    all.zip(0..MAX_DEPTH).map(|(above, _)| above)
}

/// UID of the Task above a Task.
#[must_use]
pub fn parent(task: &Task) -> Option<&OwnerReference> {
    let labels = task.metadata.labels.as_ref()?;
    let uid = labels.get(names::PARENT_UID_LABEL)?;
    let mut owners = task.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true) && owner.uid == *uid)
}
