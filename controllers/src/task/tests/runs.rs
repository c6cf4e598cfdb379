//! The run of a Task with a workflow: its status, and the objects of its steps.

mod again;
mod asks;
mod budget;
mod places;
mod regressed;

use super::observed;
use super::sim::idle;
use crate::task::plan::{Observed, Plan, plan};
use crate::task::run::{Made, Named, Seen};
use jiff::Timestamp;
use oarmaster_crds::kinds::approval::ApprovalPhase;
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_crds::{Approval, ApprovalStatus, Task, TaskStatus, conditions, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{
    AttemptReport, Fence, OpenAttempt, Over, RunsIn, TaskBudget, TaskUsage,
};
use oarmaster_protocol::assignment::Target;
use oarmaster_workflow::graph::Graph;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct World {
    pub(crate) task: Task,
    workflow: Option<Value>,
    kept: Option<Arc<Graph>>,
    opened: Option<OpenAttempt>,
    /// Which attempt that is.
    opened_as: u32,
    below: TaskUsage,
    /// How the gateway was told that it ended.
    over: Option<(u32, Over)>,
    refused: BTreeMap<String, String>,
    gateway_silent: bool,
    tasks: BTreeMap<String, Arc<Task>>,
    approvals: BTreeMap<String, Arc<Approval>>,
    now: Timestamp,
    uids: usize,
    notes: Vec<String>,
}

impl World {
    pub(crate) fn new(workflow: Value) -> Self {
        Self {
            task: serde_json::from_value(json!({
                "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
                "metadata": {"name": "fix", "namespace": "team", "uid": "uid-1", "generation": 1, "creationTimestamp": "2025-01-01T00:00:00Z"},
                "spec": {"workflow": {"name": "ci"}, "requestedBy": "bob"},
            }))
            .unwrap(),
            workflow: Some(workflow),
            kept: None,
            opened: None,
            opened_as: 0,
            below: TaskUsage::default(),
            over: None,
            refused: BTreeMap::new(),
            gateway_silent: false,
            tasks: BTreeMap::new(),
            approvals: BTreeMap::new(),
            now: "2025-01-01T00:00:00Z".parse().unwrap(),
            uids: 1,
            notes: Vec::new(),
        }
    }

    fn observe(&self) -> Observed {
        let attempt = self
            .status()
            .attempt
            .and_then(|number| u32::try_from(number).ok());
        let begun = attempt.is_some();
        let opened = self.opened.as_ref();
        let opened = opened.filter(|_| attempt == Some(self.opened_as));
        let mut run = Seen {
            budget: Some(TaskBudget {
                tokens: Some(7),
                ..TaskBudget::default()
            }),
            refused: self.refused.clone(),
            gateway_silent: self.gateway_silent,
            reopens: self.opened_as > 0 && attempt == Some(self.opened_as + 1),
            ..Seen::default()
        };
        let graph = match (&self.kept, &self.workflow) {
            (Some(kept), _) => Some(Arc::clone(kept)),
            (None, Some(workflow)) if !begun => {
                let spec = serde_json::from_value(workflow.clone()).unwrap();
                Some(Arc::new(Graph::compile(&spec).unwrap()))
            }
            _ => None,
        };
        match (&graph, begun) {
            (Some(graph), true) => run.graph = Some(Arc::clone(graph)),
            (Some(graph), false) => {
                run.named = Named::Found {
                    graph: Arc::clone(graph),
                    kept: self.kept.is_some(),
                }
            }
            (None, true) => {}
            (None, false) => run.named = Named::Missing("Workflow ci is not there".to_owned()),
        }
        run.params = Map::from_iter([("repo".to_owned(), json!("acme/app"))]);
        if let Some(graph) = &graph {
            let (tasks, approvals) = (&self.tasks, &self.approvals);
            run.look(
                &self.task,
                graph,
                |name| tasks.get(name).cloned(),
                |name| approvals.get(name).cloned(),
            );
        }
        let over = self.over.clone();
        let over = over.filter(|(number, _)| attempt == Some(*number));
        let report = opened.map(|opened| {
            let task = opened.assignment.as_ref().unwrap().task.clone();
            AttemptReport {
                over: over.map(|(_, over)| over),
                ..observed::opened(task, self.opened_as, self.below.clone())
            }
        });
        observed::of_run(self.now, report, run)
    }

    fn pass(&mut self) -> Plan {
        let todo = plan(&self.task, &self.observe());
        if let Some(pin) = &todo.run.pin {
            let spec = serde_json::from_value(pin.data.as_ref().unwrap().0.clone()).unwrap();
            self.kept = Some(Arc::new(Graph::compile(&spec).unwrap()));
        }
        if let Some((number, open)) = &todo.run.open {
            self.opened = Some(open.as_ref().clone());
            self.opened_as = *number;
        }
        for made in &todo.run.make {
            self.uids += 1;
            let uid = Some(format!("uid-{}", self.uids));
            match made {
                Made::Task(task) => {
                    let mut task = task.as_ref().clone();
                    task.metadata.uid = uid;
                    let name = task.metadata.name.clone().unwrap();
                    self.tasks.entry(name).or_insert_with(|| Arc::new(task));
                }
                Made::Approval(approval) => {
                    let mut approval = approval.as_ref().clone();
                    approval.metadata.uid = uid;
                    let name = approval.metadata.name.clone().unwrap();
                    self.approvals
                        .entry(name)
                        .or_insert_with(|| Arc::new(approval));
                }
            }
        }
        for (name, state) in &todo.run.tell {
            let mut task = self.tasks[name].as_ref().clone();
            task.spec.state = *state;
            self.tasks.insert(name.clone(), Arc::new(task));
        }
        if let Some((attempt, Fence { reason, ends })) = todo.fence.clone() {
            self.over = ends.map(|class| (attempt, Over { class, reason }));
        }
        if let Some(status) = &todo.status {
            self.task.status = Some(status.clone());
        }
        self.notes.extend(
            todo.notes
                .iter()
                .map(|note| format!("{:?} {}", note.reason, note.message)),
        );
        todo
    }

    /// Passes until nothing changes.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            if idle(&self.pass()) {
                return;
            }
        }
        panic!("it does not settle: {:?}", self.status());
    }

    fn status(&self) -> TaskStatus {
        self.task.status.clone().unwrap_or_default()
    }

    /// The Task of a step.
    fn of(&self, step: &str) -> Task {
        let of_step = |task: &&Arc<Task>| {
            let labels = task.metadata.labels.as_ref().unwrap();
            labels[names::STEP_LABEL] == step
        };
        self.tasks.values().find(of_step).unwrap().as_ref().clone()
    }

    pub(crate) fn end(&mut self, step: &str, phase: Phase, output: Value) {
        let mut task = self.of(step);
        let condition = |kind| json!({"type": kind, "status": "True", "reason": "Any", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"});
        let mut conditions = vec![condition(conditions::FINISHED)];
        if phase == Phase::Succeeded {
            conditions.push(condition(conditions::COMPLETE));
        }
        let failure = (phase == Phase::Failed)
            .then(|| json!({"class": "ToolFailed", "message": "exit code 1"}));
        let mut status = json!({
            "phase": phase, "output": output, "conditions": conditions,
            "usage": {"calls": 2, "models": ["fast"], "usd": "1", "inputTokens": 1, "outputTokens": 1, "cachedTokens": 0, "totalTokens": 2},
        });
        if let Some(failure) = failure {
            status["failure"] = failure;
        }
        task.status = Some(serde_json::from_value(status).unwrap());
        let name = task.metadata.name.clone().unwrap();
        self.tasks.insert(name, Arc::new(task));
    }

    fn condition(&self, kind: &str) -> (String, String, String) {
        let status = self.status();
        let held = conditions::find(&status.conditions, kind).unwrap();
        (
            held.status.clone(),
            held.reason.clone(),
            held.message.clone(),
        )
    }

    fn later(&mut self, seconds: i64) {
        self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
    }
}

fn agent(name: &str, prompt: &str) -> Value {
    json!({"name": name, "agent": {"name": "coder"}, "params": {"prompt": prompt}})
}

/// A text without the names of objects in it.
fn plain(text: &str) -> String {
    match text.split_once(" (fix-") {
        Some((before, rest)) => {
            let after = rest.split_once(')').map_or("", |(_, after)| after);
            plain(&format!("{before}{after}"))
        }
        None => text.to_owned(),
    }
}

fn chain() -> Value {
    json!({
        "params": {"type": "object", "required": ["repo"], "properties": {"repo": {"type": "string"}}},
        "steps": [agent("plan", "plan ${params.repo}"), agent("build", "build ${steps.plan.output.what}")],
        "output": "${steps.build.output}",
    })
}

#[test]
fn what_runs_is_kept_and_written_down_before_anything_of_it_begins() {
    let mut world = World::new(chain());
    let labels = [("team", "a"), ("app.kubernetes.io/managed-by", "Helm")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    world.task.metadata.labels = Some(labels.into());
    let todo = world.pass();
    let pin = todo.run.pin.as_ref().unwrap();
    assert_eq!(pin.metadata.namespace.as_deref(), Some("team"));
    let owner = &pin.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.kind.as_str()), ("uid-1", "Task"));
    assert!(todo.run.open.is_none() && todo.run.make.is_empty());
    assert_eq!(world.status().attempt, Some(1));
    assert_eq!(world.status().target.as_deref(), Some("workflow/ci"));
    assert_eq!(world.condition(conditions::ACCEPTED).0, "True");

    world.pass();
    let opened = world.opened.clone().unwrap();
    assert_eq!(opened.runs_in, RunsIn::Operator);
    assert_eq!(opened.budget.tokens, Some(7));
    assert_eq!(opened.requested_by.as_deref(), Some("bob"));
    assert_eq!(opened.labels[names::WORKFLOW_LABEL], "ci");
    let Target::Workflow(target) = &opened.assignment.as_ref().unwrap().target else {
        panic!("not a workflow");
    };
    let steps = world.status().steps.unwrap();
    assert_eq!(target.pinned, steps.revision);
    assert!(
        steps.revision.starts_with("ci@sha256:"),
        "{}",
        steps.revision
    );
    assert_eq!((steps.total, steps.progress.as_str()), (2, "0/2"));

    let child = world.of("plan");
    let labels = child.metadata.labels.clone().unwrap();
    assert_eq!(labels[names::PARENT_UID_LABEL], "uid-1");
    assert_eq!(labels[names::ROOT_UID_LABEL], "uid-1");
    assert_eq!(labels[names::DEPTH_LABEL], "1");
    assert_eq!(labels[names::WORKFLOW_LABEL], "ci");
    assert_eq!(labels["team"], "a");
    assert!(!labels.contains_key("app.kubernetes.io/managed-by"));
    assert_eq!(child.spec.requested_by.as_deref(), Some("bob"));
    assert_eq!(child.spec.params.unwrap()["prompt"], "plan acme/app");
    assert_eq!(world.notes[0], "Started attempt 1");
    assert!(
        world.notes[1].starts_with("StepStarted step plan: Task fix-plan-"),
        "{:?}",
        world.notes
    );
}

#[test]
fn a_run_that_is_cancelled_before_its_second_pass_has_made_nothing() {
    let mut world = World::new(chain());
    world.pass();
    world.task.spec.state = DesiredState::Cancelled;
    world.settle();
    assert!(world.tasks.is_empty());
    assert_eq!(world.status().phase, Some(Phase::Cancelled));
}

#[test]
fn nothing_begins_before_the_gateway_knows_the_run() {
    let mut world = World::new(chain());
    world.pass();
    world.gateway_silent = true;
    assert_eq!(world.pass().next, Some(Duration::from_secs(2)));
    assert!(world.opened.is_none() && world.tasks.is_empty());
    assert_eq!(
        world.condition(conditions::READY).2,
        "the gateway does not answer"
    );
    world.gateway_silent = false;
    world.settle();
    assert!(world.opened.is_some() && world.tasks.len() == 1);
}

#[test]
fn a_gateway_that_has_lost_a_run_gives_it_no_new_budget() {
    let mut world = World::new(chain());
    world.settle();
    // It says nothing: what is known goes on.
    world.gateway_silent = true;
    let opened = world.opened.take();
    world.end("plan", Phase::Succeeded, json!({"what": "the parser"}));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Running));
    // It says that it does not know the run.
    world.gateway_silent = false;
    world.settle();
    assert_eq!(world.status().failure.unwrap().class, "StateRegressed");
    assert_eq!(world.of("build").spec.state, DesiredState::Cancelled);
    drop(opened);
}

#[test]
fn what_the_api_server_does_not_take_fails_its_step() {
    let mut world = World::new(chain());
    world.pass();
    let refusal = (
        "plan".to_owned(),
        "the API server refuses the Task: no".to_owned(),
    );
    world.refused = [refusal].into();
    world.settle();
    let failure = world.status().failure.unwrap();
    assert_eq!(
        plain(&failure.message),
        "step plan: InvalidInput: the API server refuses the Task: no"
    );
}

#[test]
fn a_run_deep_in_a_tree_makes_no_further_run() {
    let mut world = World::new(json!({"steps": [{"name": "sub", "workflow": {"name": "other"}}]}));
    let labels = [(names::DEPTH_LABEL.to_owned(), "2".to_owned())];
    world.task.metadata.labels = Some(labels.into());
    world.settle();
    let failure = world.status().failure.unwrap();
    assert!(
        failure.message.contains("3 Tasks are above it already"),
        "{}",
        failure.message
    );
    assert!(world.tasks.is_empty());
}

#[test]
fn what_was_booked_after_the_end_is_in_the_sum() {
    let mut world = World::new(chain());
    world.settle();
    world.end("plan", Phase::Succeeded, json!({"what": "x"}));
    world.settle();
    world.end("build", Phase::Succeeded, json!(1));
    world.settle();
    world.below.sum.cost_pico = 2_000_000_000_000;
    world.below.calls = 4;
    world.settle();
    let usage = world.status().usage.unwrap();
    assert_eq!((usage.usd.as_str(), usage.calls), ("2", 4));
}

#[test]
fn a_step_that_waits_says_what_for() {
    let mut world = World::new(chain());
    world.settle();
    let mut task = world.of("plan");
    let condition = json!({"type": "Ready", "status": "False", "reason": "RefsNotResolved", "message": "Agent coder is not there", "lastTransitionTime": "2025-01-01T00:00:00Z"});
    let status = json!({"phase": "Pending", "conditions": [condition]});
    task.status = Some(serde_json::from_value(status).unwrap());
    let name = task.metadata.name.clone().unwrap();
    world.tasks.insert(name, Arc::new(task));
    world.settle();
    let text = world.condition(conditions::READY).2;
    assert!(
        text.ends_with(", which waits: Agent coder is not there)"),
        "{text}"
    );
}

#[test]
fn a_run_goes_on_from_what_is_kept_and_ends_with_its_output() {
    let mut world = World::new(chain());
    world.settle();
    // Nobody needs the Workflow any more.
    world.workflow = None;
    world.end("plan", Phase::Succeeded, json!({"what": "the parser"}));
    world.below.sum.cost_pico = 1_500_000_000_000;
    world.below.sum.input_tokens = 10;
    world.below.calls = 4;
    world.below.models = vec!["fast".to_owned()];
    world.settle();
    assert_eq!(
        world.of("build").spec.params.unwrap()["prompt"],
        "build the parser"
    );
    let (_, reason, text) = world.condition(conditions::READY);
    assert_eq!(reason, "Running");
    assert!(
        text.starts_with("1 of 2 steps have ended; under way: build (Task fix-build-"),
        "{text}"
    );
    world.end("build", Phase::Succeeded, json!({"sha": "abc"}));
    // That it ends is written down first.
    let todo = world.pass();
    assert!(todo.fence.is_none() && !idle(&todo));
    let todo = world.pass();
    assert_eq!(todo.fence.as_ref().unwrap().0, 1);
    let status = world.status();
    assert_eq!(status.phase, Some(Phase::Succeeded));
    assert_eq!(status.output, Some(json!({"sha": "abc"})));
    let usage = status.usage.unwrap();
    assert_eq!(
        (usage.usd.as_str(), usage.calls, usage.models.len()),
        ("1.5", 4, 1)
    );
    assert!(conditions::is_true(
        &status.conditions,
        conditions::COMPLETE
    ));
    assert_eq!(todo.ended.unwrap().outcome, "Complete");
    assert!(idle(&world.pass()), "an end is the end");
}

#[test]
fn a_failed_step_fails_the_run_with_its_words() {
    let mut world = World::new(chain());
    world.settle();
    world.end("plan", Phase::Failed, json!({"stdoutTail": "x"}));
    world.settle();
    let status = world.status();
    assert_eq!(status.phase, Some(Phase::Failed));
    let failure = status.failure.unwrap();
    assert_eq!(failure.class, FailureClass::StepFailed.as_str());
    assert_eq!(
        plain(&failure.message),
        "step plan: ToolFailed: exit code 1"
    );
    assert_eq!(status.steps.unwrap().omitted, ["build"]);
}

#[test]
fn a_workflow_that_is_not_there_is_waited_for() {
    let mut world = World::new(chain());
    let workflow = world.workflow.take();
    world.settle();
    let (status, reason, text) = world.condition(conditions::READY);
    assert_eq!(
        (status.as_str(), reason.as_str(), text.as_str()),
        ("False", "RefsNotResolved", "Workflow ci is not there")
    );
    assert!(world.opened.is_none() && world.tasks.is_empty());
    world.workflow = workflow;
    world.settle();
    assert_eq!(world.tasks.len(), 1);
}

#[test]
fn what_is_kept_is_gone() {
    let mut world = World::new(chain());
    world.settle();
    world.kept = None;
    world.settle();
    assert_eq!(world.status().failure.unwrap().class, "StateRegressed");
}

#[test]
fn a_run_is_cancelled_paused_and_goes_on() {
    let mut world = World::new(chain());
    world.settle();
    world.later(10);
    world.task.spec.state = DesiredState::Paused;
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Paused));
    assert_eq!(world.of("plan").spec.state, DesiredState::Paused);
    // The clock stands.
    assert_eq!(world.status().ran_for.unwrap().to_string(), "10s");
    world.later(1000);
    world.task.spec.state = DesiredState::Running;
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Running));
    assert_eq!(world.of("plan").spec.state, DesiredState::Running);
    assert!(world.status().steps.unwrap().running_since.is_some());

    world.task.spec.state = DesiredState::Cancelled;
    world.settle();
    assert_eq!(world.of("plan").spec.state, DesiredState::Cancelled);
    assert_ne!(
        world.status().phase,
        Some(Phase::Cancelled),
        "its step has not ended"
    );
    world.end("plan", Phase::Cancelled, json!(null));
    world.settle();
    let status = world.status();
    assert_eq!(status.phase, Some(Phase::Cancelled));
    assert!(conditions::is_true(
        &status.conditions,
        conditions::FINISHED
    ));
}

#[test]
fn cancelled_or_paused_before_it_began_nothing_is_made() {
    for (state, phase) in [
        (DesiredState::Cancelled, Phase::Cancelled),
        (DesiredState::Paused, Phase::Paused),
    ] {
        let mut world = World::new(chain());
        world.task.spec.state = state;
        world.settle();
        assert_eq!(world.status().phase, Some(phase));
        assert!(world.opened.is_none() && world.tasks.is_empty() && world.kept.is_none());
    }
}

#[test]
fn an_approval_says_how_to_decide_and_stops_the_clock() {
    let params = chain()["params"].clone();
    let mut world = World::new(json!({"params": params, "steps": [
        {"name": "ask", "approval": {"ask": "Ship ${params.repo}?", "show": {"what": "all"}, "form": {"where": {"options": ["prod"]}}, "approvers": {"groups": ["leads"]}, "timeout": "1h"}},
        agent("ship", "to ${steps.ask.output.values.where}"),
    ]}));
    world.settle();
    let (name, approval) = world.approvals.first_key_value().unwrap();
    let (name, mut approval) = (name.clone(), approval.as_ref().clone());
    assert_eq!(approval.spec.ask, "Ship acme/app?");
    assert_eq!(approval.spec.requested_by, "bob");
    assert_eq!(approval.spec.task.uid, "uid-1");
    assert!(
        approval
            .spec
            .action
            .as_ref()
            .unwrap()
            .starts_with("sha256:")
    );
    assert_eq!(
        approval.spec.expires_at.0,
        "2025-01-01T01:00:00Z".parse().unwrap()
    );
    assert_eq!(world.status().phase, Some(Phase::Waiting));
    let (_, reason, text) = world.condition(conditions::READY);
    assert_eq!(reason, "WaitingForApproval");
    assert!(
        text.starts_with(&format!(
            "step ask waits for group leads: kubectl patch oappr {name} -n team"
        )),
        "{text}"
    );
    assert!(text.contains(r#""values":{"where":"prod"}"#), "{text}");
    assert_eq!(world.status().steps.unwrap().running_since, None);
    // The controller of Approvals asks by this whether it was asked for.
    assert_eq!(
        world.status().steps.unwrap().active[0].uid,
        approval.metadata.uid
    );

    world.later(600);
    let decision = json!({"decision": "Approve", "values": {"where": "prod"}});
    let decision = serde_json::from_value(decision).unwrap();
    approval.spec.decisions.insert("alice".to_owned(), decision);
    approval.status = Some(ApprovalStatus {
        phase: Some(ApprovalPhase::Approved),
        by: vec!["alice".to_owned()],
        ..ApprovalStatus::default()
    });
    world.approvals.insert(name, Arc::new(approval));
    world.settle();
    assert_eq!(world.of("ship").spec.params.unwrap()["prompt"], "to prod");
    assert_eq!(world.status().phase, Some(Phase::Running));
}

#[test]
fn a_task_deep_in_a_tree_runs_no_workflow() {
    let mut world = World::new(chain());
    let labels = [(names::DEPTH_LABEL.to_owned(), "3".to_owned())];
    world.task.metadata.labels = Some(labels.into());
    world.settle();
    assert_eq!(world.status().failure.unwrap().class, "LimitReached");
}

#[test]
fn a_task_of_somebody_else_under_the_name_of_a_step_is_a_conflict() {
    let mut world = World::new(chain());
    world.settle();
    let mut child = world.of("plan");
    let name = child.metadata.name.clone().unwrap();
    // By owner alone nobody is a step: the label is the operator's to set.
    child.metadata.labels = None;
    world.tasks.insert(name, Arc::new(child));
    world.settle();
    let failure = world.status().failure.unwrap();
    let message = plain(&failure.message);
    assert!(
        message.starts_with("step plan: Conflict: Task "),
        "{message}"
    );
}

#[test]
fn the_time_of_a_run_is_bounded() {
    let mut chain = chain();
    chain["timeouts"] = json!({"run": "60s"});
    let mut world = World::new(chain);
    world.pass();
    world.pass();
    assert_eq!(world.pass().next, Some(Duration::from_secs(60)));
    world.later(60);
    world.settle();
    assert_eq!(world.of("plan").spec.state, DesiredState::Cancelled);
    world.end("plan", Phase::Cancelled, json!(null));
    world.settle();
    assert_eq!(world.status().failure.unwrap().class, "Timeout");
}
