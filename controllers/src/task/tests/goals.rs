//! A Task with a goal: its plans, who approves them, and what becomes of one that fails.

use super::observed;
use super::sim::idle;
use crate::task::plan::{Observed, Plan, plan};
use crate::task::run::goal::{approval_entry, planner_name};
use crate::task::run::{Facts, Known, Made, Seen, testing};
use jiff::Timestamp;
use oarmaster_crds::kinds::approval::ApprovalPhase;
use oarmaster_crds::kinds::goal::{PlanStage, PlanStatus};
use oarmaster_crds::kinds::task::{DesiredState, Phase, RequestKind};
use oarmaster_crds::{Approval, ApprovalStatus, Task, TaskStatus, conditions, names};
use oarmaster_protocol::admin::{OpenAttempt, TaskBudget, TaskUsage};
use oarmaster_workflow::estimate::Bound;
use oarmaster_workflow::graph::Graph;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

struct World {
    task: Task,
    kept: BTreeMap<i64, Arc<Graph>>,
    opened: Option<OpenAttempt>,
    tasks: BTreeMap<String, Arc<Task>>,
    approvals: BTreeMap<String, Arc<Approval>>,
    /// How often each name was posted, and taken.
    made: BTreeMap<String, usize>,
    now: Timestamp,
}

fn goal(more: Value) -> Value {
    let mut goal = json!({
        "text": "Make the tests pass.",
        "planner": {"name": "architect"},
        "allow": {"agents": ["coder"], "images": ["python"], "steps": 6},
    });
    goal.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    goal
}

fn agent(name: &str, prompt: &str) -> Value {
    json!({"name": name, "agent": {"name": "coder"}, "params": {"prompt": prompt}})
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "Any", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"})
}

impl World {
    fn new(more: Value) -> Self {
        Self {
            task: serde_json::from_value(json!({
                "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
                "metadata": {"name": "fix", "namespace": "team", "uid": "uid-1", "generation": 1, "creationTimestamp": "2025-01-01T00:00:00Z"},
                "spec": {"goal": goal(more), "requestedBy": "bob"},
            }))
            .unwrap(),
            kept: BTreeMap::new(),
            opened: None,
            tasks: BTreeMap::new(),
            approvals: BTreeMap::new(),
            made: BTreeMap::new(),
            now: "2025-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn status(&self) -> TaskStatus {
        self.task.status.clone().unwrap_or_default()
    }

    fn plan(&self) -> Box<PlanStatus> {
        self.status().plan.unwrap()
    }

    fn observe(&self) -> Observed {
        let spec = self.task.spec.goal.as_ref().unwrap();
        let mut run = Seen {
            budget: Some(TaskBudget {
                pico_usd: Some(2_000_000_000_000),
                ..TaskBudget::default()
            }),
            ..Seen::default()
        };
        if let Some(held) = self.status().plan {
            let mut known = Known {
                agents: vec![Facts {
                    name: "coder".to_owned(),
                    description: "Writes modules.".to_owned(),
                    commands: vec!["test(module: string): Tests a module.".to_owned()],
                    has_files: true,
                    bound: Bound {
                        tokens: Some(1000),
                        pico: Some(500_000_000_000),
                    },
                }],
                before: self.kept.get(&(held.number - 1)).cloned(),
                ..Known::default()
            };
            if held.stage == PlanStage::Running {
                run.graph = self.kept.get(&held.number).cloned();
                if let Some(graph) = run.graph.clone() {
                    let (tasks, approvals) = (&self.tasks, &self.approvals);
                    run.look(
                        &self.task,
                        &graph,
                        |name| tasks.get(name).cloned(),
                        |name| approvals.get(name).cloned(),
                    );
                }
            } else {
                known.kept = self.kept.get(&held.number).cloned();
                let name = planner_name(&self.task, spec, held.number, held.tries);
                let planner = self.tasks.get(&name);
                known.planner = planner.map(|child| testing::of_task(&self.task, child));
                let entries = self.status().requests;
                let mut entries = entries
                    .into_iter()
                    .filter(|it| it.kind == RequestKind::Approval);
                let entry = entries.next();
                let entry = entry.unwrap_or_else(|| approval_entry(&self.task, held.number, 1));
                let approval = self.approvals.get(&entry.name);
                known.approval = approval.map(|it| testing::of_approval(&self.task, it));
            }
            run.goal = Some(Box::new(known));
        }
        let report = self.opened.as_ref().map(|opened| {
            let task = opened.assignment.as_ref().unwrap().task.clone();
            observed::opened(task, 1, TaskUsage::default())
        });
        observed::of_run(self.now, report, run)
    }

    /// A pass of which so many writes are done before the process dies.
    fn pass_of(&mut self, writes: usize) -> Plan {
        let todo = plan(&self.task, &self.observe());
        let mut left = writes;
        let mut dies = || {
            let dies = left == 0;
            left = left.saturating_sub(1);
            dies
        };
        if let Some(pin) = &todo.run.pin {
            if dies() {
                return todo;
            }
            if self.kept.contains_key(&pin.revision) {
                return todo; // another one is kept: the pass is made again
            }
            let name = names::plan_name("fix", "uid-1", pin.revision);
            assert_eq!(pin.metadata.name.as_ref(), Some(&name));
            let spec = serde_json::from_value(pin.data.as_ref().unwrap().0.clone()).unwrap();
            let graph = Arc::new(Graph::compile(&spec).unwrap());
            self.kept.insert(pin.revision, graph);
        }
        if let Some((number, open)) = &todo.run.open {
            if dies() {
                return todo;
            }
            assert_eq!(*number, 1);
            self.opened = Some(open.as_ref().clone());
        }
        for made in &todo.run.make {
            if dies() {
                return todo;
            }
            assert!(self.opened.is_some(), "the gateway knows its budget first");
            let uid = Some(format!("uid-{}", self.made.len() + 2));
            match made {
                Made::Task(task) => {
                    let mut task = task.as_ref().clone();
                    task.metadata.uid = uid;
                    let name = task.metadata.name.clone().unwrap();
                    if !self.tasks.contains_key(&name) {
                        *self.made.entry(name.clone()).or_default() += 1;
                        self.tasks.insert(name, Arc::new(task));
                    }
                }
                Made::Approval(approval) => {
                    let mut approval = approval.as_ref().clone();
                    approval.metadata.uid = uid;
                    let name = approval.metadata.name.clone().unwrap();
                    if !self.approvals.contains_key(&name) {
                        *self.made.entry(name.clone()).or_default() += 1;
                        self.approvals.insert(name, Arc::new(approval));
                    }
                }
            }
        }
        for (name, state) in &todo.run.tell {
            if dies() {
                return todo;
            }
            let mut task = self.tasks[name].as_ref().clone();
            task.spec.state = *state;
            self.tasks.insert(name.clone(), Arc::new(task));
        }
        if !dies()
            && let Some(status) = &todo.status
        {
            self.task.status = Some(status.clone());
        }
        todo
    }

    /// Passes until nothing changes.
    fn settle(&mut self) {
        for _ in 0..30 {
            if idle(&self.pass_of(usize::MAX)) {
                return;
            }
        }
        panic!("it does not settle: {:?}", self.status());
    }

    fn label<'a>(task: &'a Task, label: &str) -> Option<&'a String> {
        task.metadata.labels.as_ref()?.get(label)
    }

    /// The Tasks that go on: of the planner by the number of the plan, of steps by their names.
    fn live(&self) -> Vec<(String, String)> {
        let live = self.tasks.iter().filter(|(_, task)| task.status.is_none());
        let named = live.map(|(name, task)| {
            let what = match Self::label(task, names::PLAN_LABEL) {
                Some(number) => format!("plan {number}"),
                None => Self::label(task, names::STEP_LABEL).unwrap().clone(),
            };
            (what, name.clone())
        });
        named.collect()
    }

    fn whats(&self) -> Vec<String> {
        self.live().into_iter().map(|(what, _)| what).collect()
    }

    /// The Task that goes on and is called this.
    fn child(&self, what: &str) -> Arc<Task> {
        let live = self.live();
        let (_, name) = live
            .iter()
            .find(|(held, _)| held == what)
            .unwrap_or_else(|| panic!("{what} does not go on: {live:?}"));
        Arc::clone(&self.tasks[name])
    }

    fn prompt(&self, what: &str) -> String {
        let params = self.child(what).spec.params.clone().unwrap();
        params["prompt"].as_str().unwrap().to_owned()
    }

    fn end(&mut self, what: &str, phase: Phase, output: Value) {
        let mut task = self.child(what).as_ref().clone();
        let mut all = vec![condition(conditions::FINISHED)];
        if phase == Phase::Succeeded {
            all.push(condition(conditions::COMPLETE));
        }
        let mut status = json!({"phase": phase, "output": output, "conditions": all});
        if phase == Phase::Failed {
            status["failure"] =
                json!({"class": "ToolFailed", "message": "exit code 1: 2 tests failed"});
        }
        task.status = Some(serde_json::from_value(status).unwrap());
        let name = task.metadata.name.clone().unwrap();
        self.tasks.insert(name, Arc::new(task));
    }

    /// The planner gives this plan.
    fn planned(&mut self, number: i64, steps: Value) {
        self.settle();
        self.end(
            &format!("plan {number}"),
            Phase::Succeeded,
            json!({ "steps": steps }),
        );
        self.settle();
    }

    fn failure(&self) -> (String, String) {
        let failure = self.status().failure.unwrap();
        (failure.class, failure.message)
    }
}

fn two() -> Value {
    json!([
        agent("code", "write it"),
        agent("test", "test ${steps.code.output}")
    ])
}

#[test]
fn a_planner_is_asked_and_what_it_plans_runs_as_the_run_of_the_task() {
    let mut world = World::new(json!({}));
    let todo = world.pass_of(usize::MAX);
    assert!(
        todo.run.make.is_empty() && todo.run.open.is_none(),
        "it is written down first"
    );
    assert_eq!(world.status().target.as_deref(), Some("goal/architect"));
    world.settle();
    assert_eq!(world.whats(), ["plan 1"]);
    let planner = world.child("plan 1");
    assert_eq!(
        planner.spec.agent.as_ref().unwrap().name.as_deref(),
        Some("architect")
    );
    assert_eq!(planner.spec.requested_by.as_deref(), Some("bob"));
    assert_eq!(
        World::label(&planner, names::PARENT_UID_LABEL).unwrap(),
        "uid-1"
    );
    assert_eq!(World::label(&planner, names::DEPTH_LABEL).unwrap(), "1");
    let prompt = world.prompt("plan 1");
    for text in [
        "Make the tests pass.",
        "coder: Writes modules.",
        "test(module: string)",
        "At most 6 steps",
        "Images: python",
        "{\"steps\"",
    ] {
        assert!(prompt.contains(text), "{text} is not in {prompt}");
    }
    let opened = world.opened.clone().unwrap();
    assert_eq!(opened.budget.pico_usd, Some(2_000_000_000_000));

    // As an agent without a form for its answer says it.
    let said = format!(
        "```json\n{}\n```",
        json!({"steps": two(), "output": "${steps.test.output}"})
    );
    world.end("plan 1", Phase::Succeeded, json!({ "text": said }));
    world.settle();
    assert_eq!(world.whats(), ["code"]);
    let held = world.plan();
    assert_eq!(
        (held.number, held.tries, held.stage),
        (1, 1, PlanStage::Running)
    );
    let digest = names::spec_digest(&world.kept[&1].spec).unwrap();
    assert_eq!(held.plans[0].digest, digest);
    assert_eq!(
        world.status().steps.unwrap().revision,
        format!("plan-1@{digest}")
    );
    let estimate = held.estimate.unwrap();
    assert_eq!(
        (estimate.tokens.as_str(), estimate.usd.as_str()),
        ("0-2000", "0-1")
    );
    world.end("code", Phase::Succeeded, json!("x"));
    world.settle();
    assert_eq!(world.prompt("test"), "test x");
    world.end("test", Phase::Succeeded, json!("passed"));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Succeeded));
    assert_eq!(world.status().output, Some(json!("passed")));
}

#[test]
fn a_plan_that_cannot_be_run_is_given_back_with_what_is_wrong() {
    let mut world = World::new(json!({}));
    for tries in 1..=3 {
        world.settle();
        assert_eq!(world.plan().tries, tries);
        let prompt = world.prompt("plan 1");
        assert_eq!(
            prompt.contains("spec.steps[code].agent: name one of coder"),
            tries > 1,
            "{prompt}"
        );
        let mut bad = agent("code", "x");
        bad["agent"]["name"] = json!("admin");
        world.end("plan 1", Phase::Succeeded, json!({"steps": [bad]}));
    }
    world.settle();
    let (class, message) = world.failure();
    assert_eq!(class, "ModelOutputInvalid");
    assert!(
        message.contains("asked 3 times") && message.contains("name one of coder"),
        "{message}"
    );
    assert!(world.kept.is_empty());
    assert_eq!(world.made.len(), 3);
}

#[test]
fn a_plan_with_parameters_that_nobody_gives_is_no_plan() {
    let mut world = World::new(json!({}));
    world.settle();
    let params =
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
    world.end(
        "plan 1",
        Phase::Succeeded,
        json!({"params": params, "steps": two()}),
    );
    world.settle();
    assert!(world.plan().problems.unwrap().contains("spec.params"));
}

fn decide(world: &mut World, name: &str, phase: ApprovalPhase) {
    let mut approval = world.approvals[name].as_ref().clone();
    approval.status = Some(ApprovalStatus {
        phase: Some(phase),
        by: vec!["alice".to_owned()],
        ..ApprovalStatus::default()
    });
    world.approvals.insert(name.to_owned(), Arc::new(approval));
}

fn approved() -> World {
    let mut world = World::new(json!({"approvePlan": {"approvers": {"users": ["alice"]}}}));
    world.planned(1, two());
    world
}

#[test]
fn people_approve_exactly_the_plan_that_runs() {
    let mut world = approved();
    assert!(
        world.whats().is_empty(),
        "nothing runs before they have said yes"
    );
    assert_eq!(world.status().phase, Some(Phase::Waiting));
    let (name, approval) = world.approvals.first_key_value().unwrap();
    let (name, approval) = (name.clone(), Arc::clone(approval));
    // The Approval's controller counts decisions of those alone that its Task names.
    let entry = &world.status().requests[0];
    assert_eq!((&entry.name, &entry.uid), (&name, &approval.metadata.uid));
    let digest = names::spec_digest(&world.kept[&1].spec).unwrap();
    assert_eq!(approval.spec.action.as_ref(), Some(&digest));
    let show = &approval.spec.show;
    assert!(
        show["plan"].contains("test: agent/coder, after code"),
        "{show:?}"
    );
    assert!(
        show["spec"].contains("test ${steps.code.output}"),
        "{show:?}"
    );
    assert!(
        show["estimate"].starts_with("0-2000 tokens, $0-1, "),
        "{show:?}"
    );
    assert!(
        show["estimate"].contains("none of its Tasks has ended"),
        "{show:?}"
    );
    decide(&mut world, &name, ApprovalPhase::Approved);
    world.settle();
    assert_eq!(world.whats(), ["code"]);
    assert!(world.status().requests.is_empty());
}

#[test]
fn a_plan_that_people_do_not_approve_never_runs() {
    for (phase, class) in [
        (ApprovalPhase::Rejected, "ApprovalRejected"),
        (ApprovalPhase::Expired, "ApprovalTimeout"),
    ] {
        let mut world = approved();
        let name = world.approvals.keys().next().unwrap().clone();
        decide(&mut world, &name, phase);
        world.settle();
        assert_eq!(world.failure().0, class);
        assert!(world.whats().is_empty());
    }
}

#[test]
fn an_approval_that_is_deleted_is_asked_for_again() {
    let mut world = approved();
    let first = world.approvals.pop_first().unwrap().0;
    world.settle();
    let second = world.approvals.keys().next().unwrap();
    assert_ne!(*second, first);
    assert_eq!(world.status().requests[0].round, 2);
}

#[test]
fn a_plan_that_fails_is_planned_anew_and_what_is_done_stays() {
    let mut world = World::new(json!({}));
    world.planned(1, two());
    world.end("code", Phase::Succeeded, json!("x"));
    world.settle();
    let first = world.child("test").metadata.name.clone();
    world.end("test", Phase::Failed, json!(null));
    world.settle();
    assert_eq!(world.whats(), ["plan 2"]);
    let prompt = world.prompt("plan 2");
    for text in [
        "Plan 1 failed: StepFailed",
        "2 tests failed",
        "Its steps that succeeded: code.",
        "write it",
    ] {
        assert!(prompt.contains(text), "{text} is not in {prompt}");
    }
    let steps = json!([
        agent("code", "write it"),
        agent("mend", "mend ${steps.code.output}"),
        agent("test", "test ${steps.mend.output}")
    ]);
    world.planned(2, steps);
    // What read the same and rests on the same is done; what has another name is a new one.
    assert_eq!(world.whats(), ["mend"]);
    assert_eq!(world.prompt("mend"), "mend x");
    let held = world.plan();
    assert_eq!((held.number, held.plans.len()), (2, 2));
    assert_eq!(held.plans[1].kept, ["code"]);
    assert!(
        held.plans[0]
            .failed
            .as_ref()
            .unwrap()
            .contains("StepFailed")
    );
    world.end("mend", Phase::Succeeded, json!("y"));
    world.settle();
    assert_ne!(world.child("test").metadata.name, first);
    world.end("test", Phase::Succeeded, json!("passed"));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Succeeded));
    assert_eq!(world.status().output, Some(json!({"test": "passed"})));
    assert_eq!(world.status().steps.unwrap().progress, "3/3");
}

#[test]
fn a_goal_is_planned_anew_five_times_at_most() {
    let mut world = World::new(json!({}));
    for number in 1..=6 {
        world.planned(number, json!([agent("code", "x")]));
        world.end("code", Phase::Failed, json!(null));
    }
    world.settle();
    assert_eq!(world.failure().0, "StepFailed");
    assert_eq!(world.plan().plans.len(), 6);
    assert!(world.whats().is_empty());
}

#[test]
fn without_its_planner_a_goal_fails_and_says_whose_task_it_was() {
    let mut world = World::new(json!({}));
    world.settle();
    let name = world.child("plan 1").metadata.name.clone().unwrap();
    world.end("plan 1", Phase::Failed, json!(null));
    world.settle();
    let (class, message) = world.failure();
    assert_eq!(class, "ToolFailed");
    assert!(message.contains(&name), "{message}");

    let mut world = World::new(json!({}));
    world.settle();
    world.tasks.clear();
    world.settle();
    assert_eq!(world.failure().0, "StepFailed");
    assert!(world.failure().1.contains("was deleted"));
}

#[test]
fn a_goal_is_paused_and_cancelled_while_it_is_planned() {
    let mut world = World::new(json!({}));
    world.settle();
    world.task.spec.state = DesiredState::Paused;
    world.settle();
    assert_eq!(world.child("plan 1").spec.state, DesiredState::Paused);
    assert_eq!(world.status().phase, Some(Phase::Paused));
    world.task.spec.state = DesiredState::Running;
    world.settle();
    assert_eq!(world.child("plan 1").spec.state, DesiredState::Running);
    world.task.spec.state = DesiredState::Cancelled;
    world.settle();
    assert_eq!(world.child("plan 1").spec.state, DesiredState::Cancelled);
    assert_eq!(
        world.status().phase,
        Some(Phase::Running),
        "it waits for what it stopped"
    );
    world.end("plan 1", Phase::Cancelled, json!(null));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Cancelled));
}

#[test]
fn a_run_that_is_cancelled_is_not_planned_anew() {
    let mut world = World::new(json!({}));
    world.planned(1, two());
    world.task.spec.state = DesiredState::Cancelled;
    world.settle();
    world.end("code", Phase::Cancelled, json!(null));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Cancelled));
    assert_eq!(world.plan().number, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Wherever the process dies: each plan is asked for once, what was made stays what it is, and the end is the same.
    #[test]
    fn nothing_is_planned_twice(cuts in prop::collection::vec(0usize..6, 0..60)) {
        let mut world = World::new(json!({"approvePlan": {"approvers": {"users": ["alice"]}}}));
        let mut cuts = cuts.into_iter();
        for _ in 0..200 {
            world.pass_of(cuts.next().unwrap_or(usize::MAX));
            if world.status().finished_at.is_some() {
                break;
            }
            for (what, _) in world.live() {
                match what.as_str() {
                    "plan 1" => world.end(&what, Phase::Succeeded, json!({"steps": two()})),
                    "plan 2" => world.end(&what, Phase::Succeeded, json!({"steps": [agent("code", "write it"), agent("test", "test again ${steps.code.output}")]})),
                    "test" if world.plan().number == 1 => world.end(&what, Phase::Failed, json!(null)),
                    _ => world.end(&what, Phase::Succeeded, json!("x")),
                }
            }
            for name in world.approvals.keys().cloned().collect::<Vec<_>>() {
                decide(&mut world, &name, ApprovalPhase::Approved);
            }
        }
        prop_assert_eq!(world.status().phase, Some(Phase::Succeeded));
        prop_assert_eq!(world.plan().plans.len(), 2);
        // Two planners, two Approvals, one `code` for both plans, and `test` of each.
        prop_assert_eq!(world.made.len(), 7);
        prop_assert!(world.made.values().all(|times| *times == 1));
    }
}
