//! What people are asked: who decides an Approval, until when, and how it stands. Pure.

mod page;
#[cfg(test)]
mod tests;

pub use page::{fill, page, row, takes};

use crate::text::relative;
use jiff::Timestamp;
use oarmaster_crds::Approval;
use oarmaster_crds::kinds::approval::{ApprovalPhase, Approvers};

/// How it stands.
pub fn phase(approval: &Approval) -> Option<ApprovalPhase> {
    approval.status.as_ref()?.phase
}

/// The phase in a word.
pub fn word(phase: Option<ApprovalPhase>) -> &'static str {
    match phase {
        None => "Pending",
        Some(ApprovalPhase::Waiting) => "Waiting",
        Some(ApprovalPhase::Approved) => "Approved",
        Some(ApprovalPhase::Rejected) => "Rejected",
        Some(ApprovalPhase::Expired) => "Expired",
    }
}

/// Who may decide, and how many of them have to.
pub fn who(approvers: &Approvers) -> String {
    let users = approvers.users.iter().cloned();
    let groups = approvers.groups.iter();
    let groups = groups.map(|group| format!("group {group}"));
    let names: Vec<String> = users.chain(groups).collect();
    match approvers.count {
        ..=1 => names.join(", "),
        count => format!("{count} of {}", names.join(", ")),
    }
}

/// Whom it waits for, and for how long.
pub fn asks(approval: &Approval, now: Timestamp) -> String {
    let spec = &approval.spec;
    let until = relative(spec.expires_at.0, now);
    format!("waits for {}, ends {until}", who(&spec.approvers))
}

/// Whose decisions count.
pub fn by(approval: &Approval) -> String {
    let users = approval.status.iter().flat_map(|status| &status.by);
    let users: Vec<&str> = users.map(String::as_str).collect();
    match users.as_slice() {
        [] => String::new(),
        users => format!("by {}", users.join(", ")),
    }
}
