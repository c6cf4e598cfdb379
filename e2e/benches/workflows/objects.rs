//! What every phase needs, and the workflows that are run.

use serde_json::{Value, json};

/// Name of the Agent, and of all that it needs.
pub const BENCH: &str = "bench";
/// What the Agent is asked for.
const PROMPT: &str = "Say that you are done.";

/// A class whose Tasks may wait for a pilot as long as they are looked at; a provider that nobody asks; its pool; and an Agent without tools.
pub fn needed() -> [Value; 4] {
    let models =
        json!([{"name": BENCH, "pricing": {"inputPerMillion": "0", "outputPerMillion": "0"}}]);
    let script = json!({"rules": [{"reply": {"text": "done"}}]});
    [
        object("SandboxClass", json!({"startupTimeout": "1h"})),
        object(
            "ModelProvider",
            json!({"type": "Scripted", "models": models, "script": script}),
        ),
        object(
            "ModelPool",
            json!({"members": [{"provider": {"name": BENCH}, "model": BENCH}]}),
        ),
        object(
            "Agent",
            json!({"instructions": "Answer.", "model": {"pool": {"name": BENCH}},
                "sandbox": {"class": {"name": BENCH}}}),
        ),
    ]
}

fn object(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": kind, "metadata": {"name": BENCH}, "spec": spec})
}

/// A workflow.
pub fn workflow(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec})
}

/// What a Task says that is no run.
pub fn bare() -> Value {
    json!({"agent": {"name": BENCH}, "params": {"prompt": PROMPT}})
}

/// What a Task says that runs a workflow.
pub fn run(workflow: &str) -> Value {
    json!({"workflow": {"name": workflow}})
}

/// Steps that follow each other.
pub fn chain(length: usize) -> Value {
    steps(length, |at| at.checked_sub(1).map(name))
}

/// Steps that need nothing.
pub fn fan(width: usize) -> Value {
    steps(width, |_| None)
}

/// A step with so many items, as many at a time as may be.
pub fn items(count: usize) -> Value {
    let all: Vec<usize> = (0..count).collect();
    json!({"steps": [{"name": "work", "agent": {"name": BENCH}, "params": {"prompt": PROMPT}, "forEach": all, "parallel": 100}],
        "output": "${size(steps.work.output)}"})
}

/// Steps that do what the Task of [`bare`] does, each after another one.
fn steps(count: usize, after: impl Fn(usize) -> Option<String>) -> Value {
    let step = |at: usize| {
        let after: Vec<String> = after(at).into_iter().collect();
        json!({"name": name(at), "agent": {"name": BENCH}, "params": {"prompt": PROMPT}, "after": after})
    };
    json!({"steps": (0..count).map(step).collect::<Vec<_>>()})
}

/// The name of a step.
pub fn name(at: usize) -> String {
    format!("s{at:03}")
}
