//! What the operator writes for a run, by names that are the same in each run, however often it is disturbed: a write of a status is called by
//! what it says, since how many there are depends on who is killed when.

use crate::proxy::Seen;
use http::Method;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The run itself, as a part of the run.
pub const RUN: &str = "run";
/// The step that is a run itself.
pub const DEPLOY: &str = "deploy";

/// Names the operator's writes for a run: those at the API server, and those at the gateway.
pub fn writes(namespace: &str, run: &str) -> impl Fn(&Seen<'_>) -> Option<String> + use<> {
    let (namespace, run) = (namespace.to_owned(), run.to_owned());
    // Whose attempts they are, by UID: a fence does not name its Task.
    let known: Mutex<HashMap<String, String>> = Mutex::default();
    move |seen: &Seen<'_>| {
        if seen.method == Method::GET {
            return None;
        }
        let body: Value = serde_json::from_slice(seen.body).unwrap_or_default();
        if let Some(attempt) = seen.path.strip_prefix("/admin/v1/attempts/") {
            let (uid, rest) = attempt.split_once('/')?;
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if text(&body, "/assignment/task/namespace") == namespace
                && let Some(part) = part_of(&run, text(&body, "/assignment/task/name"))
            {
                known.insert(uid.to_owned(), part);
            }
            let verb = if rest.ends_with("/fence") {
                "fence"
            } else {
                "open"
            };
            return Some(format!("{}: {verb}", known.get(uid)?));
        }
        let (_, below) = seen.path.split_once(&format!("/namespaces/{namespace}/"))?;
        write(&run, seen.method.as_str(), below, &body)
    }
}

/// Which part of a run an object is, by its name: the run itself, the step, or the step of a step.
#[must_use]
pub fn part_of(run: &str, name: &str) -> Option<String> {
    if name == run {
        return Some(RUN.to_owned());
    }
    // `<run>-<step>-<hash>`, and of a run that is a step the same again.
    let rest = name.strip_prefix(run)?.strip_prefix('-')?;
    Some(rest.split('-').step_by(2).collect::<Vec<_>>().join("/"))
}

/// What a write below a namespace is called, if it is one of the run: those of the Tasks of its steps are theirs.
fn write(run: &str, method: &str, below: &str, body: &Value) -> Option<String> {
    let (kind, rest) = below.split_once('/').unwrap_or((below, ""));
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let of = |pointer: &str| part_of(run, text(body, pointer));
    match (method, kind, rest) {
        ("POST", "controllerrevisions", _) => {
            let owner = of("/metadata/ownerReferences/0/name")?;
            Some(format!("{owner}: keep workflow"))
        }
        ("POST", "leases", _) => {
            let owner = of("/metadata/ownerReferences/0/name")?;
            Some(format!("{owner}: take place"))
        }
        // Its name is a hash: of one run at a time there is one.
        ("DELETE", "leases", _) => Some(format!("{RUN}: give place back")),
        ("POST", "tasks", _) => Some(format!("make {}", of("/metadata/name")?)),
        ("POST", "approvals", _) => {
            of("/metadata/ownerReferences/0/name")?;
            let step = text(body, "/metadata/labels/oarmaster.dev~1step");
            Some(format!("make {step}"))
        }
        ("PATCH", "tasks", "status") => {
            let part = part_of(run, name)?;
            let standing = standing(&status(body)?)?;
            Some(format!("{part}: write status {standing}"))
        }
        ("PATCH", "tasks", "") => {
            let (part, state) = (part_of(run, name)?, text(body, "/spec/state"));
            Some(format!("{part}: tell {state}"))
        }
        ("PATCH", "approvals", "status") => {
            // Without a phase it is not known yet that it was asked for, which is only seen sometimes.
            let status = status(body)?;
            let phase = status.get("phase")?.as_str()?;
            Some(format!("{}: {phase}", part_of(run, name)?))
        }
        // A Workflow of the same name has events, too.
        ("POST", "events", _) if text(body, "/regarding/kind") == "Task" => {
            let part = of("/regarding/name")?;
            if ![RUN, DEPLOY].contains(&part.as_str()) {
                return None;
            }
            let action = text(body, "/action");
            let step = action.strip_prefix("Step").and_then(|of| part_of(run, of));
            let step = step.map_or_else(String::new, |step| format!(" of {step}"));
            Some(format!(
                "{part}: send event {}{step}",
                text(body, "/reason")
            ))
        }
        // What else there is has statuses and events of its own.
        _ => None,
    }
}

/// What a status says of a run, but for how those of its steps stand that are under way: that is written now and then.
fn standing(status: &Value) -> Option<String> {
    let steps = status.get("steps")?;
    let active = steps.get("active").and_then(Value::as_array);
    let mut words = vec![text(steps, "/progress").to_owned()];
    let active = active.into_iter().flatten();
    // That an Approval was seen is written down before people can decide it.
    words.extend(active.map(|step| match step.get("uid") {
        Some(_) => text(step, "/name").to_owned(),
        None => format!("{} (not seen)", text(step, "/name")),
    }));
    let ending = text(steps, "/ending/phase");
    if !ending.is_empty() {
        words.push(format!("ends as {ending}"));
    }
    if status.get("finishedAt").is_some() {
        words.push("ended".to_owned());
    }
    Some(words.join(" "))
}

/// The status that a JSON patch makes: the whole of it, or all of its fields.
fn status(patch: &Value) -> Option<Value> {
    let mut fields = Map::new();
    for act in patch.as_array()? {
        let value = act.get("value").cloned();
        match text(act, "/path").strip_prefix("/status") {
            Some("") => return value,
            Some(field) => {
                let field = field.trim_start_matches('/').to_owned();
                fields.extend(value.map(|value| (field, value)));
            }
            None => {}
        }
    }
    Some(Value::Object(fields))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}
