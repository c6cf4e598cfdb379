//! What the events of a Task say, and what they never do.

use super::sim::Sim;
use oarmaster_protocol::FailureClass;
use serde_json::json;

/// Stands for what a program printed or a model said.
const MARK: &str = "sk-marked";

/// A Task that is tried a second time whatever happens, as far as anybody may ask for that.
fn persistent() -> Sim {
    let on = [
        "ModelRefusal",
        "ModelOutputInvalid",
        "ToolFailed",
        "OutOfMemory",
        "LimitReached",
        "StartFailed",
        "IsolationUnproven",
        "NotAccepted",
    ];
    Sim::new(json!({ "retry": { "limit": 1, "on": on } }))
}

fn message(sim: &Sim) -> &str {
    let failure = sim.task.status.as_ref().unwrap().failure.as_ref();
    &failure.unwrap().message
}

/// The messages of all events, none of which has the mark, though the status has it.
fn told(sim: &Sim) -> &[String] {
    assert!(message(sim).contains(MARK), "{}", message(sim));
    for text in &sim.told {
        assert!(!text.contains(MARK), "{text}");
    }
    &sim.told
}

#[test]
fn no_event_holds_the_message_of_a_failure() {
    for class in FailureClass::ALL {
        let mut sim = persistent();
        for _ in 0..20 {
            sim.settle();
            if sim.finished() {
                break;
            }
            sim.pilot_starts();
            sim.hands_in(Some((class, MARK)));
            sim.pilot_ends(1);
            sim.settle();
            told(&sim);
            if sim.jobs.is_empty() {
                sim.later(600); // the back-off
            }
        }
        assert!(sim.finished(), "{class}");
        let last = format!("{class}: attempt {}; see status.failure", sim.attempt());
        assert_eq!(told(&sim).last(), Some(&last));
    }
}

#[test]
fn no_event_holds_what_was_said_of_a_pod() {
    let cases: [fn(&mut Sim); 2] = [
        |sim| sim.pod.as_mut().unwrap().stuck = Some(MARK.to_owned()),
        |sim| sim.pod.as_mut().unwrap().disrupted = Some(MARK.to_owned()),
    ];
    for happens in cases {
        let mut sim = persistent();
        sim.settle();
        sim.pod_created();
        happens(&mut sim);
        sim.settle();
        let before = told(&sim).len();
        assert!(before > 1, "{:?}", sim.told);
    }
}
