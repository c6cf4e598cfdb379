//! What objects of every kind look like in every phase, as the planners make them: kept in `e2e/fixtures/phases`, with what Argo CD and
//! kstatus are to say of each. `e2e/gitops` holds the tools of others to that.
//!
//! `OARMASTER_RECORD=1 cargo test -p oarmaster-controllers phases` writes them anew.

mod others;
mod tasks;

use oarmaster_crds::conditions;
use oarmaster_crds::kinds::approval::ApprovalPhase;
use oarmaster_crds::kinds::task::Phase;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What Argo CD and kstatus say.
type Seen = (&'static str, &'static str);

const READY: Seen = ("Healthy", "Current");
/// It goes on by itself, or when what it names is there.
const GOES_ON: Seen = ("Progressing", "InProgress");
/// It goes on when somebody has decided something, or a budget is reset.
const WAITS: Seen = ("Suspended", "InProgress");
/// Somebody has to mend it.
const BROKEN: Seen = ("Degraded", "InProgress");
/// It is over.
const FAILED: Seen = ("Degraded", "Failed");

/// An object, by what happened to it.
#[derive(Clone)]
struct Recorded {
    name: &'static str,
    seen: Seen,
    object: Value,
}

fn recorded<K: Serialize>(name: &'static str, seen: Seen, object: &K) -> Recorded {
    let object = serde_json::to_value(object).unwrap();
    Recorded { name, seen, object }
}

/// Every recorded object, by kind. The first of each is as the API server stores a new one, the last has changed since it was looked at.
fn all() -> BTreeMap<String, Vec<Recorded>> {
    let mut kinds: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
    for one in tasks::all().into_iter().chain(others::all()) {
        let kind = one.object["kind"].as_str().unwrap().to_lowercase();
        kinds.entry(kind).or_default().push(one);
    }
    for objects in kinds.values_mut() {
        let of = |seen: Seen| objects.iter().find(move |one| one.seen == seen).unwrap();
        let mut new = of(READY).object.clone();
        new["metadata"]["generation"] = json!(1);
        new["status"] = json!({"observedGeneration": -1});
        let mut changed = of(READY).object.clone();
        changed["metadata"]["generation"] = json!(7);
        objects.insert(0, recorded("nobody has looked at it", GOES_ON, &new));
        objects.push(recorded("it has changed since", GOES_ON, &changed));
    }
    kinds
}

/// One object in a line: a change of one is a change of one line.
fn text(objects: &[Recorded]) -> String {
    let lines: Vec<String> = objects
        .iter()
        .map(|one| {
            let (argo, kstatus) = one.seen;
            let line =
                json!({"name": one.name, "argo": argo, "kstatus": kstatus, "object": one.object});
            line.to_string()
        })
        .collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

#[test]
fn what_is_recorded_is_what_the_planners_make() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/fixtures/phases");
    let record = std::env::var_os("OARMASTER_RECORD").is_some();
    let mut files = BTreeSet::new();
    for (kind, objects) in all() {
        let file = folder.join(format!("{kind}.json"));
        let made = text(&objects);
        if record {
            std::fs::write(&file, &made).unwrap();
        }
        let held = std::fs::read_to_string(&file).unwrap_or_default();
        for (number, (held, made)) in held.lines().zip(made.lines()).enumerate() {
            assert_eq!(held, made, "{kind}.json, line {}: record anew", number + 1);
        }
        assert_eq!(held.len(), made.len(), "{kind}.json: record anew");
        files.insert(file.file_name().unwrap().to_owned());
    }
    let there = std::fs::read_dir(&folder).unwrap();
    let there: BTreeSet<_> = there.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(there, files, "one file for each kind");
}

/// The values of the constants in a part of the vocabulary.
fn vocabulary(part: &str) -> BTreeSet<String> {
    let values = part.lines().filter_map(|line| {
        let line = line.trim();
        let rest = line.strip_prefix("pub const ")?;
        Some(rest.split('"').nth(1)?.to_owned())
    });
    values.collect()
}

#[test]
fn every_phase_condition_and_reason_is_recorded() {
    let source = include_str!("../../crds/src/conditions.rs");
    let (types, reasons) = source.split_once("pub mod reason").unwrap();
    let mut types = vocabulary(types);
    let mut reasons = vocabulary(reasons);
    assert!(types.contains(conditions::READY) && reasons.len() > 60);
    let mut phases: BTreeSet<String> = BTreeSet::new();
    for objects in all().values() {
        for one in objects {
            let status = &one.object["status"];
            for held in status["conditions"].as_array().into_iter().flatten() {
                types.remove(held["type"].as_str().unwrap());
                reasons.remove(held["reason"].as_str().unwrap());
            }
            if let Some(phase) = status["phase"].as_str() {
                phases.insert(phase.to_owned());
            }
        }
    }
    assert_eq!(types, BTreeSet::new(), "conditions");
    let of_tasks = [
        Phase::Pending,
        Phase::Queued,
        Phase::Running,
        Phase::Waiting,
        Phase::Paused,
        Phase::Succeeded,
        Phase::Failed,
        Phase::Cancelled,
        Phase::RolledBack,
    ];
    let of_approvals = [
        ApprovalPhase::Waiting,
        ApprovalPhase::Approved,
        ApprovalPhase::Rejected,
        ApprovalPhase::Expired,
    ];
    let name = |phase: Value| phase.as_str().unwrap().to_owned();
    let wanted = of_tasks.iter().map(|phase| name(json!(phase)));
    let wanted: BTreeSet<_> = wanted
        .chain(of_approvals.iter().map(|phase| name(json!(phase))))
        .collect();
    assert_eq!(phases, wanted);
    // These are of runs, and stand where another reason of the same phase is recorded; or the worlds of these tests have no such thing.
    let left: Vec<_> = reasons.iter().map(String::as_str).collect();
    assert_eq!(left, LEFT_OUT);
}

/// Reasons that no recorded object has.
const LEFT_OUT: [&str; 4] = [
    "BudgetExceeded",
    "Planning",
    "WaitingForSlot",
    "WaitingForTime",
];
