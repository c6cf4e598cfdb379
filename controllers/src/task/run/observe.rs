//! What is known of a run: what it runs, and the objects of its steps.

use super::super::memo;
use super::super::plan::Observed;
use super::super::refs::{Refs, in_pico};
use super::super::requests::{Made, decided, is_ours, parent};
use super::slot::{self, Line};
use super::{Memory, asks, params};
use crate::kit::context::{Guard, readable};
use crate::kit::write::{WRITE_TIMEOUT, within};
use crate::kit::{Context, Result, chain};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::Api;
use oarmaster_crds::conditions::reason;
use oarmaster_crds::kinds::approval::{ApprovalPhase, FormField};
use oarmaster_crds::kinds::task::{DesiredState, FailureStatus, Phase};
use oarmaster_crds::validate::summary;
use oarmaster_crds::{
    Allowance, Approval, RunWorkflow, Task, TaskStatus, WorkflowSpec, access, conditions, names,
};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_protocol::text::shorten;
use oarmaster_workflow::graph::Graph;
use oarmaster_workflow::made;
use oarmaster_workflow::run::{self, Child, Found, objects};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who decides an Approval, and what is filled in.
pub type Asks = (String, BTreeMap<String, FormField>);

/// What is known of a run.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What it will run, while it has not begun.
    pub named: Named,
    /// What it runs, once it has begun.
    pub graph: Option<Arc<Graph>>,
    /// Its budget; absent while the SandboxClass is, whose default it would be.
    pub budget: Option<TaskBudget>,
    /// Whether its attempt is to be opened, though it had begun: it goes on after its end.
    pub reopens: bool,
    /// Whether the gateway could not be asked.
    pub gateway_silent: bool,
    /// Objects that the API server did not take in this pass, by name, with what it says.
    pub refused: BTreeMap<String, String>,
    /// Its parameters, defaults filled in.
    pub params: Map<String, Value>,
    /// The objects of its steps, by name.
    pub found: BTreeMap<String, Found>,
    /// Of its Tasks that wait, or have not begun, what for.
    pub waits: BTreeMap<String, String>,
    /// Of a Workflow with `concurrency`: the other runs of its key.
    pub line: Option<Line>,
    /// Of its Approvals, who decides them.
    pub asked: BTreeMap<String, Asks>,
    /// What earlier passes remember of it.
    pub memory: Memory,
    /// What is known of its plans, of a goal.
    pub goal: Option<Box<super::goal::Known>>,
}

/// What a run will run.
#[derive(Clone, Debug, Default)]
pub enum Named {
    /// It has begun, or will not begin: nothing was looked up.
    #[default]
    NotLooked,
    /// Something is not there yet, or cannot be used yet. It is waited for.
    Missing(String),
    /// It cannot be run.
    Refused(FailureClass, String),
    /// It can begin.
    Found {
        /// What it runs.
        graph: Arc<Graph>,
        /// Whether a ControllerRevision keeps it already.
        kept: bool,
    },
}

/// Looks.
pub async fn observe(task: &Task, ctx: &Context) -> Result<Observed> {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let status = task.status.clone().unwrap_or_default();
    let now = Timestamp::now();
    let finished = conditions::is_true(&status.conditions, conditions::FINISHED);
    let begun = status.attempt.is_some();
    let asks_gateway = begun
        && (super::more(task).is_some()
            || status.finished_at.as_ref().is_none_or(|end| {
                now.duration_since(end.0).unsigned_abs() < super::super::plan::LATE_USAGE
            }));
    let attempt = status.attempt.and_then(|number| u32::try_from(number).ok());
    let attempt = attempt.unwrap_or(1).max(1);
    let (mut gateway_silent, mut reopens) = (false, false);
    let report = if asks_gateway {
        match ctx.gateway.report(uid, attempt).await {
            // It may not be known yet, where the one before is: a run that goes on after its end.
            Ok(None) if attempt > 1 => {
                reopens = ctx.gateway.report(uid, attempt - 1).await?.is_some();
                None
            }
            Ok(report) => report,
            // What is written down and what people want goes on without it.
            Err(error) if !finished => {
                tracing::warn!(task = task.metadata.name, error = %chain(&error), "the gateway does not answer for a run");
                gateway_silent = true;
                None
            }
            Err(error) => return Err(error),
        }
    } else {
        None
    };
    let mut run =
        if finished && super::more(task).is_none() || task.metadata.deletion_timestamp.is_some() {
            Seen::default()
        } else {
            seen(task, ctx, begun).await?
        };
    run.gateway_silent = gateway_silent;
    run.reopens = reopens;
    let run_memo = memo::look(task, ctx, of_named(&run.named));
    Ok(Observed {
        now,
        refs: Refs::NotLooked,
        jobs: Vec::new(),
        foreign_job: false,
        pod: None,
        report,
        service_account: true,
        gateway_ip: None,
        startup_timeout: None,
        blocked: None,
        made: Made::default(),
        run: Some(Box::new(run)),
        busy: None,
        memo: run_memo,
        written: ctx.written(uid),
    })
}

async fn seen(task: &Task, ctx: &Context, begun: bool) -> Result<Seen> {
    if let Some(goal) = &task.spec.goal {
        return super::goal::observe(task, goal, ctx).await;
    }
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let mut run = Seen::default();
    let graph = match (kept(task, ctx, None).await?, begun) {
        (Kept::Found(graph), true) => {
            run.graph = Some(Arc::clone(&graph));
            graph
        }
        (Kept::Nothing | Kept::Foreign(_), true) => {
            run.look_for_all(task, ctx);
            return Ok(run);
        }
        (Kept::Foreign(name), false) => {
            let text = format!(
                "ControllerRevision {name} exists and belongs to somebody else, or cannot be read; delete it, or give the Task another name"
            );
            run.named = Named::Refused(FailureClass::Conflict, text);
            return Ok(run);
        }
        (Kept::Found(graph), false) => {
            run.named = Named::Found {
                graph: Arc::clone(&graph),
                kept: true,
            };
            graph
        }
        (Kept::Nothing, false) => {
            run.named = named(task, ctx, namespace).await?;
            match &run.named {
                Named::Found { graph, .. } => Arc::clone(graph),
                _ => return Ok(run),
            }
        }
    };
    run.budget = budget(task, graph.spec.budget.as_ref(), ctx);
    if run.budget.is_none() && !begun {
        run.named = Named::Missing(access::absent("SandboxClass", ("", names::DEFAULT), ""));
        return Ok(run);
    }
    match params(&graph.spec, task.spec.params.as_ref()) {
        Ok(params) => run.params = params,
        // Once it has begun, what fitted then fits now.
        Err(why) if !begun => {
            run.named = Named::Refused(FailureClass::InvalidParams, why);
            return Ok(run);
        }
        Err(_) => {}
    }
    run.memory = ctx
        .memories()
        .of(task.metadata.uid.as_deref().unwrap_or_default());
    match slot_key(task, ctx, &graph, &run.params).await? {
        Ok(key) => run.line = key.map(|key| line(task, ctx, key)),
        Err(why) if !begun => {
            run.named = Named::Refused(FailureClass::InvalidParams, why);
            return Ok(run);
        }
        Err(_) => {}
    }
    let stores = &ctx.stores;
    run.look(
        task,
        &graph,
        |name| readable(&stores.tasks, namespace, name),
        |name| readable(&stores.approvals, namespace, name),
    );
    Ok(run)
}

/// What the run has in common with others of which only so many go on at once. It stays what it was when the run was taken on.
async fn slot_key(
    task: &Task,
    ctx: &Context,
    graph: &Arc<Graph>,
    params: &Map<String, Value>,
) -> Result<std::result::Result<Option<String>, String>> {
    if graph.concurrency.is_none() {
        return Ok(Ok(None));
    }
    if let Some(slot) = slot::of(task) {
        return Ok(Ok(Some(slot.key.clone())));
    }
    let (graph, params) = (Arc::clone(graph), params.clone());
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    ctx.think(namespace, move || run::slot_key(&graph, &params))
        .await
}

fn line(task: &Task, ctx: &Context, key: String) -> Line {
    let all = ctx.stores.tasks.state();
    let all = all.iter().filter_map(|task| task.0.as_ref().ok());
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let limits = ctx.places.limits.load().of(namespace);
    Line::of(task, key, limits, all, |name| {
        readable(&ctx.stores.tasks, namespace, name)
    })
}

/// What would be run, for those that do the same: the Workflow as it is now.
fn of_named(named: &Named) -> Option<String> {
    match named {
        Named::Found { graph, .. } => names::spec_digest(&graph.spec).ok(),
        Named::NotLooked | Named::Missing(_) | Named::Refused(..) => None,
    }
}

impl Seen {
    /// Looks at everything that may be to be stopped: by the label that the operator alone can set.
    pub(super) fn look_for_all(&mut self, task: &Task, ctx: &Context) {
        let ours = |child: &Guard<Task>| {
            child
                .0
                .as_ref()
                .is_ok_and(|child| is_ours(task, child) && parent(child).is_some())
        };
        for child in ctx.stores.tasks.state_filter(ours) {
            if let Ok(child) = &child.0 {
                let name = child.metadata.name.clone().unwrap_or_default();
                self.found.insert(name, of_task(task, child));
            }
        }
    }

    /// Looks at the objects of the steps.
    pub(in crate::task) fn look(
        &mut self,
        task: &Task,
        graph: &Graph,
        child: impl Fn(&str) -> Option<Arc<Task>>,
        approval: impl Fn(&str) -> Option<Arc<Approval>>,
    ) {
        let name = task.metadata.name.as_deref().unwrap_or_default();
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        let held = task
            .status
            .as_ref()
            .and_then(|status| status.steps.as_deref());
        let [tasks, approvals] = objects(name, uid, graph, held);
        for name in tasks {
            let Some(child) = child(&name) else { continue };
            if let Some(why) = child.status.as_ref().and_then(waits) {
                self.waits.insert(name.clone(), why);
            }
            self.found.insert(name, of_task(task, &child));
        }
        for name in approvals {
            let Some(approval) = approval(&name) else {
                continue;
            };
            self.asked.insert(name.clone(), asks(&approval));
            self.found.insert(name, of_approval(task, &approval));
        }
    }
}

/// What is kept of a run's Workflow.
pub(super) enum Kept {
    Nothing,
    /// Something else has its name.
    Foreign(String),
    Found(Arc<Graph>),
}

/// What is kept of the run's Workflow, or of a plan of a goal: a pass before it has seen to it.
pub(super) async fn kept(task: &Task, ctx: &Context, plan: Option<i64>) -> Result<Kept> {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let own = task.metadata.name.as_deref().unwrap_or_default();
    let (key, name) = match plan {
        None => (uid.to_owned(), names::revision_name(own, uid)),
        Some(number) => (
            super::key_of_plan(uid, number),
            names::plan_name(own, uid, number),
        ),
    };
    if let Some(graph) = ctx.graphs().of(&key) {
        return Ok(Kept::Found(graph));
    }
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<ControllerRevision> = Api::namespaced(ctx.client.clone(), namespace);
    let act = format!("read controller revision {namespace}/{name}");
    let Some(found) = within(WRITE_TIMEOUT, &act, api.get_opt(&name)).await? else {
        return Ok(Kept::Nothing);
    };
    let spec = found.data.clone().filter(|_| is_ours(task, &found));
    let spec = spec.and_then(|data| serde_json::from_value::<WorkflowSpec>(data.0).ok());
    let Some(spec) = spec else {
        return Ok(Kept::Foreign(name));
    };
    match ctx.compile(namespace, spec).await? {
        Ok(graph) => {
            ctx.graphs().keep(&key, &graph);
            Ok(Kept::Found(graph))
        }
        Err(_) => Ok(Kept::Foreign(name)),
    }
}

async fn named(task: &Task, ctx: &Context, namespace: &str) -> Result<Named> {
    let Some(RunWorkflow { name, spec, allow }) = task.spec.workflow.clone() else {
        return Ok(Named::NotLooked);
    };
    let Some(name) = name else {
        let spec = spec.unwrap_or_default();
        let compile = move || made::of_task(&spec, allow.as_ref());
        return Ok(match ctx.think(namespace, compile).await? {
            Ok(graph) => Named::Found {
                graph: Arc::new(graph),
                kept: false,
            },
            Err(problems) => {
                let text = format!("spec.workflow.spec: {}", summary(&problems));
                Named::Refused(FailureClass::InvalidInput, text)
            }
        });
    };
    let Some(workflow) = readable(&ctx.stores.workflows, namespace, &name) else {
        let text = access::absent("Workflow", (namespace, &name), namespace);
        return Ok(Named::Missing(text));
    };
    Ok(match ctx.compile(namespace, workflow.spec.clone()).await? {
        Ok(graph) => Named::Found { graph, kept: false },
        Err(problems) => Named::Missing(format!("Workflow {name} is not ready: {problems}")),
    })
}

/// What a run may spend: never without a limit by omission.
pub(super) fn budget(
    task: &Task,
    of_workflow: Option<&Allowance>,
    ctx: &Context,
) -> Option<TaskBudget> {
    let stated = task.spec.budget.as_ref().or(of_workflow);
    if let Some(stated) = stated {
        return Some(in_pico(stated));
    }
    let class = readable(&ctx.stores.classes, "", names::DEFAULT)?;
    Some(in_pico(&class.spec.default_task_budget))
}

/// What a Task waits for that has no attempt under way.
pub(super) fn waits(status: &TaskStatus) -> Option<String> {
    const SHOWN: usize = 160;
    let phase = status.phase.unwrap_or(Phase::Pending);
    let ready = conditions::find(&status.conditions, conditions::READY)?;
    let waits = matches!(phase, Phase::Pending | Phase::Queued | Phase::Waiting)
        && ready.reason != reason::STARTING;
    (waits && !ready.message.is_empty()).then(|| shorten(&ready.message, SHOWN))
}

pub(super) fn of_task(run: &Task, child: &Task) -> Found {
    let status = child.status.as_ref();
    let phase = status.and_then(|status| status.phase);
    let output = || status.and_then(|status| status.output.clone());
    let is = |kind| status.is_some_and(|status| conditions::is_true(&status.conditions, kind));
    let now = if !is(conditions::FINISHED) {
        Child::Live(phase.unwrap_or(Phase::Pending))
    } else if is(conditions::COMPLETE) {
        Child::Succeeded(output().unwrap_or_default())
    } else if matches!(phase, Some(Phase::Cancelled | Phase::RolledBack)) {
        Child::Cancelled
    } else {
        let failure = status.and_then(|status| status.failure.clone());
        let failure = failure.unwrap_or_else(|| FailureStatus {
            class: FailureClass::Internal.to_string(),
            message: "it says no reason".to_owned(),
        });
        Child::Failed(failure, output())
    };
    Found {
        uid: child.metadata.uid.clone().unwrap_or_default(),
        task: true,
        // By the label, too, which the operator alone can set.
        ours: is_ours(run, child) && parent(child).is_some(),
        state: child.spec.state,
        taken: memo::source(child).is_some(),
        now,
    }
}

pub(super) fn of_approval(run: &Task, approval: &Approval) -> Found {
    let status = approval.status.clone().unwrap_or_default();
    let by = if status.by.is_empty() {
        String::new()
    } else {
        format!(" by {}", status.by.join(", "))
    };
    let value = decided(approval).map(|(_, value)| value);
    let failed = |class: FailureClass, message: String| {
        let failure = FailureStatus {
            class: class.to_string(),
            message,
        };
        Child::Failed(failure, value.clone())
    };
    let now = match status.phase {
        None | Some(ApprovalPhase::Waiting) => Child::Live(Phase::Waiting),
        Some(ApprovalPhase::Approved) => Child::Succeeded(value.unwrap_or_default()),
        Some(ApprovalPhase::Rejected) => {
            failed(FailureClass::ApprovalRejected, format!("rejected{by}"))
        }
        Some(ApprovalPhase::Expired) => failed(
            FailureClass::ApprovalTimeout,
            format!("nobody decided it until {}", approval.spec.expires_at.0),
        ),
    };
    Found {
        uid: approval.metadata.uid.clone().unwrap_or_default(),
        task: false,
        ours: is_ours(run, approval),
        state: DesiredState::Running,
        taken: false,
        now,
    }
}
