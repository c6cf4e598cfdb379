//! The status of a SandboxClass: pure.

use crate::kit::ready::{self, Plan};
use jiff::Timestamp;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::validate::{self, summary};
use oarmaster_crds::{SandboxClass, SandboxClassStatus};

/// Everything the planner may look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The clock.
    pub now: Timestamp,
    /// Whether the RuntimeClass that is named exists.
    pub runtime_class: bool,
}

/// Plans one pass.
#[must_use]
pub fn plan(class: &SandboxClass, seen: &Observed) -> Plan<SandboxClassStatus> {
    let generation = class.metadata.generation;
    let name = &class.spec.runtime_class_name;
    let mut status = class.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    let (found, why, message) = if name.is_empty() {
        (true, reason::DEFAULT_RUNTIME, String::new())
    } else if seen.runtime_class {
        (true, reason::FOUND, String::new())
    } else {
        let text = format!("RuntimeClass {name} does not exist; create it, or name another one");
        (false, reason::NOT_FOUND, text)
    };
    let problems = validate::class(&class.spec);
    let (ready, ready_why, ready_message) = if !problems.is_empty() {
        (false, reason::INVALID_SPEC, summary(&problems))
    } else if found {
        (true, reason::READY, String::new())
    } else {
        (false, reason::NOT_FOUND, message.clone())
    };
    for (kind, value, reason, message) in [
        (conditions::RUNTIME_CLASS_FOUND, found, why, &message),
        (conditions::READY, ready, ready_why, &ready_message),
    ] {
        conditions::set(
            &mut status.conditions,
            kind,
            Some(value),
            reason,
            message,
            generation,
            seen.now,
        );
    }
    ready::plan(class.status.as_ref(), status, |status| &status.conditions)
}
