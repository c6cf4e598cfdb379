//! One Approval in words, and as a row of a table.

use super::{by, phase, who, word};
use crate::page::Page;
use crate::text::{one_line, quote, relative};
use jiff::Timestamp;
use oarmaster_crds::kinds::approval::{ApprovalPhase, Decision, FormField, OnTimeout, Verdict};
use oarmaster_crds::{Approval, conditions};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Characters of a question, and of who decides it, in the table.
const ASK: usize = 60;
const WHO: usize = 40;

/// A row: name, Task, phase, who decides or has decided, when it ends or has ended, and the question.
pub fn row(approval: &Approval, now: Timestamp) -> Vec<String> {
    let spec = &approval.spec;
    let status = approval.status.as_ref();
    let phase = phase(approval);
    let people = match phase {
        None | Some(ApprovalPhase::Waiting) => who(&spec.approvers),
        Some(_) => by(approval),
    };
    let decided = status.and_then(|status| status.decided_at.as_ref());
    let end = decided.map_or(spec.expires_at.0, |time| time.0);
    vec![
        approval.metadata.name.clone().unwrap_or_default(),
        spec.task.name.clone(),
        word(phase).to_owned(),
        match people.as_str() {
            "" => "-".to_owned(),
            people => one_line(people, WHO),
        },
        relative(end, now),
        one_line(&spec.ask, ASK),
    ]
}

/// Everything that a person needs who decides it. Nothing of the question is left out.
pub fn page(approval: &Approval, now: Timestamp, flags: &str) -> String {
    let spec = &approval.spec;
    let name = approval.metadata.name.as_deref().unwrap_or_default();
    let status = approval.status.clone().unwrap_or_default();
    let mut page = Page::default();
    page.put("Approval", name);
    let namespace = approval.metadata.namespace.as_deref();
    page.put("Namespace", namespace.unwrap_or_default());
    page.put("Task", &spec.task.name);
    page.put("Requester", &spec.requested_by);
    let phase = phase(approval);
    page.put("Phase", format!("{} {}", word(phase), by(approval)).trim());
    let why = conditions::find(&status.conditions, conditions::READY);
    // While it waits, the message is a command: that of this program stands below.
    if let Some(why) = why.filter(|why| phase.is_none() && !why.message.is_empty()) {
        page.put("Why", &why.message);
    }
    page.put("Question", &spec.ask);
    for (what, text) in &spec.show {
        page.put("Shown", &format!("{what}: {text}"));
    }
    for (field, form) in &spec.form {
        page.put("Fill in", &format!("{field}: {}", takes(form)));
    }
    let requester = if spec.approvers.allow_requester {
        "the requester may be one of them"
    } else {
        "not the requester"
    };
    page.put(
        "Approvers",
        &format!("{}; {requester}", who(&spec.approvers)),
    );
    page.put("Expires", &expires(approval, now));
    if let Some(at) = &status.decided_at {
        page.put("Ended", &format!("{}, {}", at.0, relative(at.0, now)));
    }
    for (user, decision) in &spec.decisions {
        page.put("Decision", &decided(user, decision));
    }
    if phase == Some(ApprovalPhase::Waiting) {
        let fill = fill(&spec.form);
        let next =
            format!("oar approve {name}{fill}{flags}\noar reject {name} --notes '...'{flags}");
        page.put("Next", &next);
    }
    page.text()
}

fn expires(approval: &Approval, now: Timestamp) -> String {
    let spec = &approval.spec;
    let at = spec.expires_at.0;
    if phase(approval) != Some(ApprovalPhase::Waiting) {
        return at.to_string();
    }
    let then = match spec.on_timeout {
        OnTimeout::Reject => "rejected",
        OnTimeout::Approve => "approved",
    };
    format!("{at}, {}; then it counts as {then}", relative(at, now))
}

fn decided(user: &str, decision: &Decision) -> String {
    let verdict = match decision.decision {
        Verdict::Approve => "approves",
        Verdict::Reject => "rejects",
    };
    let mut text = format!("{user} {verdict}");
    for (field, value) in &decision.values {
        // Writing to a String cannot fail.
        let _ = write!(text, ", {field}={value}");
    }
    if !decision.note.is_empty() {
        let _ = write!(text, ": {}", decision.note);
    }
    text
}

/// What a field takes.
pub fn takes(field: &FormField) -> String {
    match field.options.as_slice() {
        [] => "any text".to_owned(),
        options => format!("one of {}", options.join(", ")),
    }
}

/// Words that fill a form in, to be changed by whoever takes them.
pub fn fill(form: &BTreeMap<String, FormField>) -> String {
    let word = |(name, field): (&String, &FormField)| {
        let value = field.options.first().map_or("...", String::as_str);
        format!(" --set {}", quote(&format!("{name}={value}")))
    };
    form.iter().map(word).collect()
}
