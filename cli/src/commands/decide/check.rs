//! Whether a decision can be sent, and what is said of it. Pure.

use crate::asked::{by, fill, phase, takes, word};
use crate::error::Error;
use crate::text::{quote, relative};
use jiff::Timestamp;
use oarmaster_crds::Approval;
use oarmaster_crds::kinds::approval::{ApprovalPhase, Decision, FormField, Verdict};
use std::collections::BTreeMap;

/// Most characters of a note, and of a value, as the schema of Approvals has them.
const MAX_NOTE: usize = 4096;
const MAX_VALUE: usize = 1024;

/// What the user wants to decide.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub verdict: Verdict,
    pub notes: String,
    pub set: Vec<(String, String)>,
}

/// What one does.
pub fn verb(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "approve",
        Verdict::Reject => "reject",
    }
}

/// Whether somebody says yes.
pub fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// The entry of the user, or why there can be none. Who may decide is the API server's to say.
pub fn decision(
    approval: &Approval,
    user: &str,
    wanted: Wanted,
    now: Timestamp,
    flags: &str,
) -> Result<Decision, Error> {
    let name = approval.metadata.name.as_deref().unwrap_or_default();
    let look = format!("How it stands: oar approvals {name}{flags}");
    let refuse = |what: String| Err(Error::input(what).next(&*look));
    let spec = &approval.spec;
    if let Some(held) = spec.decisions.get(user) {
        let held = match held.decision {
            Verdict::Approve => "approved",
            Verdict::Reject => "rejected",
        };
        return refuse(format!(
            "{user} has {held} Approval {name} already, and a decision stands"
        ));
    }
    match phase(approval) {
        Some(ApprovalPhase::Waiting) => {}
        None => {
            return refuse(format!(
                "Approval {name} does not wait for people yet; try again in a moment"
            ));
        }
        over => {
            let by = by(approval);
            let what = format!("Approval {name} is {} {by}", word(over));
            return refuse(format!("{}: nothing is left to decide", what.trim_end()));
        }
    }
    let Wanted {
        verdict,
        notes,
        set,
    } = wanted;
    // A rejection counts as long as nobody has taken note of the end.
    if verdict == Verdict::Approve && now >= spec.expires_at.0 {
        let ago = relative(spec.expires_at.0, now);
        return refuse(format!("the time to approve Approval {name} ended {ago}"));
    }
    if notes.chars().count() > MAX_NOTE {
        return refuse(format!(
            "--notes has more than {MAX_NOTE} characters; write less"
        ));
    }
    let values = values(&spec.form, set, verdict).map_err(|problems| {
        let fill = fill(&spec.form);
        let next = if fill.is_empty() {
            look.clone()
        } else {
            format!("For example: oar approve {name}{fill}{flags}")
        };
        Error::input(format!(
            "Approval {name} cannot be decided so: {}",
            problems.join("; ")
        ))
        .next(next)
    })?;
    Ok(Decision {
        decision: verdict,
        note: notes,
        values,
    })
}

/// What was filled in. Who approves fills in all of the form, who rejects nothing.
fn values(
    form: &BTreeMap<String, FormField>,
    set: Vec<(String, String)>,
    verdict: Verdict,
) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut problems = Vec::new();
    let mut values = BTreeMap::new();
    for (name, value) in set {
        let Some(field) = form.get(&name) else {
            let names: Vec<&str> = form.keys().map(String::as_str).collect();
            problems.push(match names.as_slice() {
                [] => format!("it has no form; leave --set {name} out"),
                some => format!("it has no field {name}, but {}", some.join(", ")),
            });
            continue;
        };
        if !field.options.is_empty() && !field.options.contains(&value) {
            problems.push(format!("{name} takes {}", takes(field)));
        } else if value.chars().count() > MAX_VALUE {
            problems.push(format!(
                "{name} has more than {MAX_VALUE} characters; write less"
            ));
        }
        if values.insert(name.clone(), value).is_some() {
            problems.push(format!("{name} is set twice"));
        }
    }
    if verdict == Verdict::Approve {
        let missing = form.iter().filter(|(name, _)| !values.contains_key(*name));
        problems.extend(missing.map(|(name, field)| {
            let set = quote(&format!("{name}=..."));
            format!("{name} is missing: --set {set}, {}", takes(field))
        }));
    }
    if problems.is_empty() {
        Ok(values)
    } else {
        Err(problems)
    }
}

/// What has come of a decision so far.
pub fn done(approval: &Approval, user: &str, verdict: Verdict) -> String {
    let name = approval.metadata.name.as_deref().unwrap_or_default();
    let spec = &approval.spec;
    if verdict == Verdict::Reject {
        return format!("Approval {name} is rejected by {user}");
    }
    let own = spec.decisions.get(user).map(|held| &held.values);
    // Those count who filled in the same.
    let agree = spec.decisions.values().filter(|held| {
        held.decision == Verdict::Approve && own.is_none_or(|own| *own == held.values)
    });
    let agree = i64::try_from(agree.count()).unwrap_or(i64::MAX);
    match spec.approvers.count {
        count if agree >= count => format!("Approval {name} is approved by {user}"),
        count => format!("{user} approves {name}: {agree} of {count} so far"),
    }
}
