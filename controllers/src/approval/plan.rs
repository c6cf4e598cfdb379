//! What people decided: pure. Judged from `decisions` alone, and only where the Task says that it asked.
//!
//! A rejection counts whenever it is seen, an approval only before `expiresAt`: an operator that was away for a while takes no "no" for a
//! "yes".

use crate::kit::events::{Note, Reason};
use crate::task::census::has_ended;
use crate::task::requests::{command, who};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::kinds::approval::{ApprovalPhase, OnTimeout, Verdict};
use oarmaster_crds::{Approval, ApprovalStatus, Task};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Everything the planner may look at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The clock.
    pub now: Timestamp,
    /// The Task of that name.
    pub task: Option<Arc<Task>>,
}

/// Everything one pass will do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Write this status.
    pub status: Option<ApprovalStatus>,
    /// Say this to people.
    pub notes: Vec<Note>,
    /// When to look again, if nothing happens before.
    pub next: Option<Duration>,
}

/// How an Approval stands.
struct Standing {
    phase: Option<ApprovalPhase>,
    reason: &'static str,
    message: String,
    by: Vec<String>,
}

/// Plans one pass.
#[must_use]
pub fn plan(approval: &Approval, seen: &Observed) -> Plan {
    let held = approval.status.clone().unwrap_or_default();
    let over = held
        .phase
        .is_some_and(|phase| phase != ApprovalPhase::Waiting);
    if over || approval.metadata.deletion_timestamp.is_some() {
        return Plan::default(); // an end is final
    }
    let stands = standing(approval, seen);
    let now = conditions::whole_second(seen.now);
    let decided = stands
        .phase
        .filter(|phase| *phase != ApprovalPhase::Waiting);
    let mut status = held.clone();
    status.observed_generation = approval.metadata.generation;
    status.phase = stands.phase;
    status.decided_at = decided.map(|_| Time(now));
    status.by.clone_from(&stands.by);
    conditions::set(
        &mut status.conditions,
        conditions::READY,
        Some(decided.is_some()),
        stands.reason,
        &stands.message,
        approval.metadata.generation,
        now,
    );
    let waits = stands.phase == Some(ApprovalPhase::Waiting);
    let left = Duration::try_from(approval.spec.expires_at.0.duration_since(seen.now));
    let mut notes = Vec::new();
    if held.phase != stands.phase {
        // What was asked and what people wrote stay in the object.
        let note = |reason, message, warning| Note {
            reason,
            action: "Approval".to_owned(),
            message,
            warning,
        };
        if waits {
            notes.push(note(Reason::ApprovalAsked, stands.message.clone(), false));
        } else if decided.is_some() {
            let message = format!("{}{}", stands.reason, by(&stands.by));
            notes.push(note(Reason::ApprovalDecided, message, false));
        }
    }
    Plan {
        status: (status != held).then_some(status),
        notes,
        // Just after it, since clocks are compared to the second.
        next: waits.then(|| {
            left.unwrap_or_default()
                .saturating_add(Duration::from_millis(10))
        }),
    }
}

fn standing(approval: &Approval, seen: &Observed) -> Standing {
    let stands = |phase, reason, message: &str, by: Vec<String>| Standing {
        phase,
        reason,
        message: message.to_owned(),
        by,
    };
    let spec = &approval.spec;
    let task = seen.task.as_deref();
    let task = task.filter(|task| task.metadata.uid.as_ref() == Some(&spec.task.uid));
    let over =
        task.is_none_or(|task| task.metadata.deletion_timestamp.is_some() || has_ended(task));
    if over {
        let text = format!("Task {} is over, or gone", spec.task.name);
        return stands(
            Some(ApprovalPhase::Expired),
            reason::TASK_ENDED,
            &text,
            Vec::new(),
        );
    }
    let status = task.and_then(|task| task.status.as_ref());
    let asked = status.into_iter().flat_map(|status| &status.requests);
    let steps = status.and_then(|status| status.steps.as_ref());
    let name = approval.metadata.name.as_ref();
    let mut failed = steps.into_iter().flat_map(|steps| &steps.failed);
    if name.is_some() && failed.any(|step| step.object.as_ref() == name) {
        let text = format!("its step of Task {} has ended", spec.task.name);
        return stands(
            Some(ApprovalPhase::Expired),
            reason::TASK_ENDED,
            &text,
            Vec::new(),
        );
    }
    let steps = steps.into_iter().flat_map(|steps| &steps.active);
    let uids = asked.map(|entry| &entry.uid);
    let mut uids = uids.chain(steps.map(|step| &step.uid));
    let uid = approval.metadata.uid.as_ref();
    if uid.is_none() || !uids.any(|asked| asked.as_ref() == uid) {
        let text = format!("Task {} does not say that it asked for it", spec.task.name);
        return stands(None, reason::NOT_ASKED, &text, Vec::new());
    }
    let of = |wanted: Verdict| {
        let decisions = spec.decisions.iter();
        let decisions = decisions.filter(move |(_, decision)| decision.decision == wanted);
        decisions.map(|(user, _)| user.clone())
    };
    let rejected: Vec<String> = of(Verdict::Reject).collect();
    if !rejected.is_empty() {
        return stands(
            Some(ApprovalPhase::Rejected),
            reason::REJECTED,
            "",
            rejected,
        );
    }
    // The policy lets no other decision in. One that is there all the same does not count.
    let may = |user: &String| {
        (spec.approvers.allow_requester || *user != spec.requested_by)
            && !user.starts_with("system:serviceaccount:")
    };
    let approved = agreed(approval, of(Verdict::Approve).filter(may));
    let count = usize::try_from(spec.approvers.count.max(1)).unwrap_or(usize::MAX);
    if seen.now >= spec.expires_at.0 {
        return match spec.on_timeout {
            OnTimeout::Reject => stands(
                Some(ApprovalPhase::Expired),
                reason::TIMED_OUT,
                "",
                Vec::new(),
            ),
            OnTimeout::Approve => stands(
                Some(ApprovalPhase::Approved),
                reason::TIMED_OUT,
                "",
                approved,
            ),
        };
    }
    if approved.len() >= count {
        return stands(
            Some(ApprovalPhase::Approved),
            reason::APPROVED,
            "",
            approved,
        );
    }
    let namespace = approval.metadata.namespace.as_deref().unwrap_or_default();
    let name = approval.metadata.name.as_deref().unwrap_or_default();
    let so_far = match approved.len() {
        0 => String::new(),
        some => format!(", {some} so far"),
    };
    let text = format!(
        "waits until {} for {}{so_far}: {}",
        spec.expires_at.0.strftime("%Y-%m-%dT%H:%M:%SZ"),
        who(&spec.approvers),
        command(namespace, name, &spec.form)
    );
    stands(
        Some(ApprovalPhase::Waiting),
        reason::WAITING,
        &text,
        Vec::new(),
    )
}

/// Those who filled in the same; where they did not, the most of them.
fn agreed(approval: &Approval, users: impl Iterator<Item = String>) -> Vec<String> {
    let mut groups: BTreeMap<&BTreeMap<String, String>, Vec<String>> = BTreeMap::new();
    for user in users {
        if let Some(decision) = approval.spec.decisions.get(&user) {
            groups.entry(&decision.values).or_default().push(user);
        }
    }
    groups
        .into_values()
        .max_by_key(Vec::len)
        .unwrap_or_default()
}

fn by(users: &[String]) -> String {
    if users.is_empty() {
        return String::new();
    }
    format!(" by {}", users.join(", "))
}
