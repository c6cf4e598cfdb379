//! A Task with a goal: a planner is asked for a plan, people may approve it, and it runs as the run of this Task; where it fails, the next plan is asked
//! for. Pure but for `observe`.
//!
//! Nothing is planned twice: the planner's Task has a name that follows from the Task, the number of the plan and how often it was asked for; its output
//! stays; and the plan that is made of it is kept in a ControllerRevision before anything of it runs.

mod observe;
mod words;

pub(super) use observe::observe;

use super::super::draft::Draft;
use super::super::requests::{self, child_labels, depth, made_for};
use super::observe::Asks;
use super::{Made, Named, Seen, labels, lost, may_begin, opened, params, pin, under_way};
use crate::kit::events::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use oarmaster_crds::conditions::{reason, whole_second};
use oarmaster_crds::kinds::goal::{
    Allow, GoalSpec, MAX_REPLANS, MAX_TRIES, PlanApproval, PlanRevision, PlanStage, PlanStatus,
};
use oarmaster_crds::kinds::steps::StepsStatus;
use oarmaster_crds::kinds::task::{
    AgentCall, DesiredState, FailureStatus, Phase, RequestKind, RequestStatus,
};
use oarmaster_crds::validate::{Problem, summary};
use oarmaster_crds::{Approval, Task, TaskSpec, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::text::{shorten, visible};
use oarmaster_workflow::estimate::{self, Bound, Past};
use oarmaster_workflow::graph::Graph;
use oarmaster_workflow::made;
use oarmaster_workflow::run::{self, Child, Found};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most often that an Approval is asked, each time under another name, where it is deleted.
const MAX_ROUNDS: i64 = 8;
/// Characters of what was wrong with a plan.
const PROBLEMS: usize = 2048;
/// Characters of why a plan failed, for the next one.
const FAILED: usize = 1024;
/// Characters of that in the list of plans.
const FAILED_BEFORE: usize = 200;
/// What the run needs to go on.
const LOST: &str =
    "the ControllerRevision of its plan is gone or cannot be read; create the Task anew";

/// What is known of the plans of a goal.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The planner's Task, as it is asked now.
    pub planner: Option<Found>,
    /// The Approval of the plan, and who decides it.
    pub approval: Option<(Found, Asks)>,
    /// The plan that is made, if it is kept already.
    pub kept: Option<Arc<Graph>>,
    /// Something else that has the name of the plan's ControllerRevision.
    pub foreign: Option<String>,
    /// The plan before it.
    pub before: Option<Arc<Graph>>,
    /// The Agents that plans may name, as far as they are there.
    pub agents: Vec<Facts>,
    /// What Tasks of these took before.
    pub history: BTreeMap<String, Past>,
}

/// An Agent that plans may name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its commands, each with its parameters.
    pub commands: Vec<String>,
    /// Whether it works with files.
    pub has_files: bool,
    /// What one Task of it may spend.
    pub bound: Bound,
}

/// What the goal is, for the gateway; none of another Task.
pub(super) fn pinned(task: &Task) -> Option<String> {
    let goal = task.spec.goal.as_ref()?;
    // The types of the API always serialise.
    let digest = names::spec_digest(goal).unwrap_or_default();
    Some(format!("goal@{digest}"))
}

/// Name of the planner's Task.
pub(in crate::task) fn planner_name(
    task: &Task,
    goal: &GoalSpec,
    number: i64,
    tries: i64,
) -> String {
    let name = task.metadata.name.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let path = format!("plan/{number}/try/{tries}");
    names::child_name(name, uid, &goal.planner.name, &path)
}

/// What is written down of the Approval of a plan.
pub(in crate::task) fn approval_entry(task: &Task, number: i64, round: i64) -> RequestStatus {
    let name = task.metadata.name.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let id = format!("plan/{number}");
    RequestStatus {
        name: names::approval_name(name, uid, "plan", &id, round),
        id,
        kind: RequestKind::Approval,
        uid: None,
        round,
    }
}

/// Plans one pass.
pub(super) fn plan(draft: &mut Draft<'_>, seen: &Seen, goal: &GoalSpec) {
    let held = draft.status.plan.clone();
    let Some(held) = held.filter(|_| draft.attempt().is_some()) else {
        return begin(draft, seen);
    };
    let Some(known) = seen.goal.as_deref() else {
        return draft.look_in(Duration::ZERO); // this pass looked for something else
    };
    let mut pass = Pass {
        draft,
        seen,
        known,
        goal,
        held,
    };
    match pass.held.stage {
        PlanStage::Planning => pass.planning(),
        PlanStage::Approving => pass.approving(),
        PlanStage::Running => match &seen.graph {
            Some(graph) => super::advance(draft, seen, graph),
            None => lost(draft, LOST),
        },
    }
}

/// Nothing of it begins before it is written down that it does.
fn begin(draft: &mut Draft<'_>, seen: &Seen) {
    if !may_begin(draft) {
        return;
    }
    if let Named::Missing(what) = &seen.named {
        return draft.wait_for(what);
    }
    draft.take_on();
    draft.status.plan = Some(Box::new(PlanStatus {
        number: 1,
        tries: 1,
        ..PlanStatus::default()
    }));
    draft.runs(Phase::Running, reason::PLANNING, "the planner is asked");
    draft.look_in(Duration::ZERO);
}

/// Whether the goal is planned anew after its plan failed: then that is written down.
pub(super) fn plans_anew(draft: &mut Draft<'_>, failure: &FailureStatus) -> bool {
    let Some(mut held) = draft.status.plan.clone() else {
        return false;
    };
    let passes = [
        FailureClass::StepFailed,
        FailureClass::Timeout,
        FailureClass::InvalidInput,
        FailureClass::OutputTooLarge,
    ];
    let may = passes.iter().any(|class| class.as_str() == failure.class)
        && draft.task.spec.state == DesiredState::Running
        && held.number <= MAX_REPLANS;
    if !may {
        return false;
    }
    let text = format!("{}: {}", failure.class, failure.message);
    if let Some(last) = held.plans.last_mut() {
        last.failed = Some(shorten(&text, FAILED_BEFORE));
    }
    let number = held.number + 1;
    draft.planned(
        number,
        &format!("plan {} failed; see status.plan", held.number),
    );
    draft.status.plan = Some(Box::new(PlanStatus {
        number,
        tries: 1,
        failed: Some(shorten(&text, FAILED)),
        plans: held.plans,
        ..PlanStatus::default()
    }));
    draft.status.requests.clear();
    let text = format!(
        "plan {} failed, and the next one is asked for: {text}",
        number - 1
    );
    draft.runs(Phase::Running, reason::PLANNING, &text);
    draft.look_in(Duration::ZERO);
    true
}

/// A pass in which a plan is made.
struct Pass<'a, 'b> {
    draft: &'a mut Draft<'b>,
    seen: &'a Seen,
    known: &'a Known,
    goal: &'a GoalSpec,
    held: Box<PlanStatus>,
}

impl Pass<'_, '_> {
    /// The Task has failed.
    fn fail(&mut self, class: FailureClass, why: &str) {
        self.draft.fence("the goal is not reached");
        self.draft.fail(class, why);
        super::stop(self.draft);
    }

    fn conflict(&mut self, kind: &str, name: &str) {
        let text = format!(
            "{kind} {name} exists and belongs to somebody else; delete it, or give the Task another name"
        );
        self.fail(FailureClass::Conflict, &text);
    }

    /// What people want of the Task, while no plan of it runs; whether there is nothing more to do.
    fn is_stopped(&mut self, name: &str) -> bool {
        let state = self.draft.task.spec.state;
        let was_paused = self.draft.status.phase == Some(Phase::Paused);
        let live = self.known.planner.as_ref();
        let live = live.filter(|found| found.ours && matches!(found.now, Child::Live(_)));
        let wanted = match state {
            DesiredState::Cancelled | DesiredState::RolledBack => Some(DesiredState::Cancelled),
            DesiredState::Paused => Some(DesiredState::Paused),
            DesiredState::Running => was_paused.then_some(DesiredState::Running),
        };
        if let (Some(found), Some(wanted)) = (live, wanted)
            && found.state != wanted
            && found.state != DesiredState::Cancelled
        {
            self.draft.run.tell.push((name.to_owned(), wanted));
        }
        match state {
            DesiredState::Running => return false,
            DesiredState::Paused => {
                let text = "spec.state is Paused; set it to Running, and the Task goes on";
                self.draft.runs(Phase::Paused, reason::PAUSED, text);
            }
            DesiredState::Cancelled | DesiredState::RolledBack if live.is_some() => {
                let text = format!("Task {name} of the planner is stopped");
                self.draft.runs(Phase::Running, reason::PLANNING, &text);
            }
            DesiredState::Cancelled | DesiredState::RolledBack => {
                self.draft.fence("the Task was cancelled");
                self.draft.cancel();
            }
        }
        true
    }

    /// Whether the gateway has the attempt, or gets it in this pass.
    fn is_open(&mut self) -> bool {
        let begun = self.draft.status.started_at.is_some();
        if self.seen.gateway_silent && !begun {
            self.draft.starting("the gateway does not answer");
            self.draft.look_in(super::GATEWAY_LOOK);
            return false;
        }
        let revision = pinned(self.draft.task).unwrap_or_default();
        opened(self.draft, self.seen, begun, &revision, true)
    }

    /// The planner is asked, or has answered.
    fn planning(&mut self) {
        let (number, tries) = (self.held.number, self.held.tries);
        let name = planner_name(self.draft.task, self.goal, number, tries);
        if self.is_stopped(&name) || !self.is_open() {
            return;
        }
        let entries = self.draft.status.requests.iter();
        let mut entries = entries.filter(|entry| entry.name == name);
        let uid = entries.next().and_then(|entry| entry.uid.clone());
        let known = self.known;
        match (&known.planner, uid) {
            (Some(found), _) if !found.ours => self.conflict("Task", &name),
            (Some(found), uid) if uid.is_none() || uid.as_ref() == Some(&found.uid) => {
                match &found.now {
                    Child::Live(_) => self.asked(&name, Some(found.uid.clone())),
                    Child::Succeeded(output) => self.answered(output),
                    Child::Failed(failure, _) => {
                        let class = FailureClass::named(&failure.class);
                        let text = format!(
                            "Task {name} of the planner failed: {}: {}",
                            failure.class, failure.message
                        );
                        self.fail(class.unwrap_or(FailureClass::StepFailed), &text);
                    }
                    Child::Cancelled => {
                        let text = format!("Task {name} of the planner was cancelled");
                        self.fail(FailureClass::StepFailed, &text);
                    }
                }
            }
            (None, None) => match self.seen.refused.get(&name) {
                Some(why) => self.fail(FailureClass::InvalidInput, why),
                None => self.ask(&name),
            },
            _ => {
                let text = format!("Task {name} of the planner was deleted");
                self.fail(FailureClass::StepFailed, &text);
            }
        }
    }

    /// The planner has a Task.
    fn asked(&mut self, name: &str, uid: Option<String>) {
        let PlanStatus { number, tries, .. } = *self.held;
        self.draft.status.requests = vec![RequestStatus {
            id: format!("plan/{number}/{tries}"),
            kind: RequestKind::Task,
            name: name.to_owned(),
            uid,
            round: tries,
        }];
        let why = self.seen.waits.get(name);
        let why = why.map_or_else(String::new, |why| format!(", which waits: {why}"));
        let text = format!("plan {number} is made by Task {name}{why}");
        self.draft.runs(Phase::Running, reason::PLANNING, &text);
    }

    /// Asks the planner.
    fn ask(&mut self, name: &str) {
        if let Some(over) = self.draft.was_over() {
            self.draft.regressed(&over.reason);
            super::stop(self.draft);
            return;
        }
        let task = self.draft.task;
        let number = self.held.number;
        let before = self
            .known
            .before
            .as_deref()
            .zip(self.draft.status.steps.as_deref());
        let prompt = words::prompt(self.goal, &self.known.agents, &self.held, before);
        let mut labels = labels(task);
        labels.extend(child_labels(task, depth(task) + 1));
        labels.insert(names::PLAN_LABEL.to_owned(), number.to_string());
        let child = Task {
            metadata: ObjectMeta {
                labels: Some(labels),
                ..made_for(task, name)
            },
            spec: TaskSpec {
                agent: Some(AgentCall {
                    name: Some(self.goal.planner.name.clone()),
                    ..AgentCall::default()
                }),
                params: Some([("prompt".to_owned(), json!(prompt))].into()),
                requested_by: task.spec.requested_by.clone(),
                ..TaskSpec::default()
            },
            status: None,
        };
        self.draft.run.make.push(Made::Task(Box::new(child)));
        self.draft
            .planned(number, &format!("plan {number}: Task {name}"));
        if self.draft.status.started_at.is_none() {
            self.draft.status.started_at = Some(Time(whole_second(self.draft.seen.now)));
        }
        self.asked(name, None);
    }

    /// What the planner said is a plan, or it is asked again.
    fn answered(&mut self, output: &Value) {
        if let Some(name) = &self.known.foreign {
            return self.conflict("ControllerRevision", name);
        }
        // One that is kept was made by a pass that was not written down.
        let proposed = match &self.known.kept {
            Some(graph) => Ok(Arc::clone(graph)),
            None => proposed(output, &self.goal.allow).map(Arc::new),
        };
        match proposed {
            Err(problems) => self.ask_again(&problems),
            Ok(graph) => self.take(&graph),
        }
    }

    fn ask_again(&mut self, problems: &[Problem]) {
        let why = summary(problems);
        if self.held.tries >= MAX_TRIES {
            let text = format!(
                "the planner was asked {MAX_TRIES} times, and no plan of it can be run: {why}"
            );
            return self.fail(FailureClass::ModelOutputInvalid, &text);
        }
        self.held.tries += 1;
        self.held.problems = Some(shorten(&why, PROBLEMS));
        self.draft.status.requests.clear();
        self.draft.status.plan = Some(self.held.clone());
        let text = format!(
            "plan {} cannot be run, and is asked for again: {why}",
            self.held.number
        );
        self.draft.runs(Phase::Running, reason::PLANNING, &text);
        self.draft.look_in(Duration::ZERO);
    }

    /// A plan that can be run.
    fn take(&mut self, graph: &Arc<Graph>) {
        let task = self.draft.task;
        let number = self.held.number;
        if self.known.kept.is_none() {
            self.draft.run.pin = Some(Box::new(pin(task, &graph.spec, Some(number))));
        }
        let name = task.metadata.name.as_deref().unwrap_or_default();
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        self.held.problems = None;
        self.held.plans.push(PlanRevision {
            number,
            name: names::plan_name(name, uid, number),
            // The types of the API always serialise.
            digest: names::spec_digest(&graph.spec).unwrap_or_default(),
            made_at: Time(whole_second(self.draft.seen.now)),
            kept: Vec::new(),
            failed: None,
        });
        self.held.estimate = Some(self.estimate(graph).texts());
        let text = format!("plan {number} has {} steps", graph.steps.len());
        self.draft.planned(number, &text);
        self.draft.status.requests.clear();
        if self.goal.approve_plan.is_some() {
            self.held.stage = PlanStage::Approving;
            self.draft.status.plan = Some(self.held.clone());
            self.draft.runs(Phase::Running, reason::PLANNING, &text);
            self.draft.look_in(Duration::ZERO);
        } else {
            self.run(graph);
        }
    }

    fn estimate(&self, graph: &Graph) -> estimate::Estimate {
        let agents = self.known.agents.iter();
        let budget = self.seen.budget.unwrap_or_default();
        let known = estimate::Known {
            history: self.known.history.clone(),
            agents: agents.map(|it| (it.name.clone(), it.bound)).collect(),
            whole: Bound {
                tokens: budget.tokens,
                pico: budget.pico_usd,
            },
            most_tasks: Some(made::most_steps(&self.goal.allow)),
        };
        estimate::estimate(graph, &known)
    }

    /// The plan runs from now on. What is done already of the one before is kept.
    fn run(&mut self, graph: &Graph) {
        let number = self.held.number;
        let nothing = StepsStatus::default();
        let (mut steps, kept) = match (&self.known.before, &self.draft.status.steps) {
            _ if number <= 1 => {
                let total = i64::try_from(graph.steps.len()).unwrap_or(i64::MAX);
                let progress = format!("0/{total}");
                let steps = StepsStatus {
                    total,
                    progress,
                    ..StepsStatus::default()
                };
                (steps, Vec::new())
            }
            (Some(before), Some(held)) => run::keep(before, held, graph, number - 1),
            // Nobody knows what it was: nothing of it is kept, and its names are taken.
            _ => run::keep(graph, &nothing, graph, number - 1),
        };
        if let Some(last) = self.held.plans.last_mut() {
            last.kept = kept;
            steps.revision = format!("plan-{number}@{}", last.digest);
        }
        self.held.stage = PlanStage::Running;
        self.draft.status.plan = Some(self.held.clone());
        self.draft.status.requests.clear();
        self.draft.status.steps = Some(Box::new(steps));
        self.draft.status.ran_for = None;
        under_way(self.draft, self.seen);
        self.draft.look_in(Duration::ZERO);
    }

    /// People are asked whether the plan may run.
    fn approving(&mut self) {
        let Some(graph) = self.known.kept.clone() else {
            return lost(self.draft, LOST);
        };
        let Some(wanted) = &self.goal.approve_plan else {
            return self.run(&graph);
        };
        if self.is_stopped("") {
            return;
        }
        let held = self.draft.status.requests.first();
        let held = held.filter(|entry| entry.kind == RequestKind::Approval);
        let number = self.held.number;
        let mut entry = held
            .cloned()
            .unwrap_or_else(|| approval_entry(self.draft.task, number, 1));
        let known = self.known;
        match &known.approval {
            Some((found, _)) if !found.ours => self.conflict("Approval", &entry.name),
            Some((found, asks)) if entry.uid.as_ref().is_none_or(|uid| *uid == found.uid) => {
                match &found.now {
                    Child::Succeeded(_) => self.run(&graph),
                    Child::Failed(failure, _) => {
                        let class = match failure.class.as_str() {
                            "ApprovalTimeout" => FailureClass::ApprovalTimeout,
                            _ => FailureClass::ApprovalRejected,
                        };
                        let text = format!("plan {number}: {}", failure.message);
                        self.fail(class, &text);
                    }
                    Child::Live(_) | Child::Cancelled => {
                        entry.uid = Some(found.uid.clone());
                        self.waits(entry, asks);
                    }
                }
            }
            None if entry.uid.is_none() => self.ask_people(&graph, wanted, entry),
            // The one that was asked is gone, whatever has its name now.
            _ if entry.round >= MAX_ROUNDS => {
                let text = format!("the Approval of plan {number} was deleted {MAX_ROUNDS} times");
                self.fail(FailureClass::ApprovalRejected, &text);
            }
            _ => {
                let entry = approval_entry(self.draft.task, number, entry.round + 1);
                self.ask_people(&graph, wanted, entry);
            }
        }
    }

    fn waits(&mut self, entry: RequestStatus, asks: &Asks) {
        let namespace = self.draft.task.metadata.namespace.as_deref();
        let (approvers, form) = asks;
        let command = requests::command(namespace.unwrap_or_default(), &entry.name, form);
        let text = format!("plan {} waits for {approvers}: {command}", self.held.number);
        self.draft.status.requests = vec![entry];
        self.draft
            .runs(Phase::Waiting, reason::WAITING_FOR_APPROVAL, &text);
    }

    fn ask_people(&mut self, graph: &Graph, wanted: &PlanApproval, entry: RequestStatus) {
        if let Some(why) = self.seen.refused.get(&entry.name) {
            return self.fail(FailureClass::InvalidInput, why);
        }
        let PlanApproval {
            approvers,
            timeout,
            on_timeout,
        } = wanted;
        let task = self.draft.task;
        let name = task.metadata.name.as_deref().unwrap_or_default();
        let ask = format!("Run plan {} of Task {name}?", self.held.number);
        let mut show = words::shown(graph, self.held.estimate.as_ref());
        show.insert("goal".to_owned(), visible(&self.goal.text).into_owned());
        if let Some(failed) = &self.held.failed {
            show.insert("before".to_owned(), visible(failed).into_owned());
        }
        let last = self.held.plans.last();
        let wanted = requests::Wanted {
            ask,
            form: BTreeMap::new(),
            show,
            // Exactly this plan.
            action: last.map(|plan| plan.digest.clone()),
            approvers,
            timeout,
            on_timeout: *on_timeout,
        };
        let spec = requests::spec(self.draft.seen.now, task, wanted);
        let approval = Approval {
            metadata: made_for(task, &entry.name),
            spec,
            status: None,
        };
        let asks = super::asks(&approval);
        self.draft
            .asked(Reason::ApprovalAsked, "Approval", &entry.name);
        self.draft.run.make.push(Made::Approval(Box::new(approval)));
        self.waits(entry, &asks);
    }
}

/// The plan in what a planner answered: an object, or the text of one.
fn proposed(output: &Value, allow: &Allow) -> Result<Graph, Vec<Problem>> {
    let text = output.get("text").filter(|_| output.get("steps").is_none());
    let graph = made::checked(text.unwrap_or(output), allow)?;
    match params(&graph.spec, None) {
        Ok(_) => Ok(graph),
        Err(_) => {
            let text = "a plan is given no parameters: remove those that are required";
            Err(vec![Problem::spec("spec.params", text)])
        }
    }
}
