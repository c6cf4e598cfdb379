//! What is known of the plans of a goal.

use super::super::observe::{Kept, budget, kept, of_approval, of_task, waits};
use super::super::past::history;
use super::super::{Named, Seen, asks, params};
use super::{Facts, Known, approval_entry, planner_name};
use crate::kit::context::readable;
use crate::kit::{Context, Result};
use crate::task::refs::in_pico;
use oarmaster_crds::kinds::goal::{GoalSpec, PlanStage};
use oarmaster_crds::kinds::task::RequestKind;
use oarmaster_crds::{Agent, Task, access, commands, names};
use oarmaster_workflow::estimate::Bound;
use oarmaster_workflow::run::{Child, Found};

/// Looks.
pub(in crate::task::run) async fn observe(
    task: &Task,
    goal: &GoalSpec,
    ctx: &Context,
) -> Result<Seen> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let stores = &ctx.stores;
    let mut run = Seen {
        budget: budget(task, None, ctx),
        ..Seen::default()
    };
    let plan = task.status.as_ref().and_then(|status| status.plan.clone());
    let Some(plan) = plan else {
        if run.budget.is_none() {
            run.named = Named::Missing(access::absent("SandboxClass", ("", names::DEFAULT), ""));
        }
        return Ok(run);
    };
    let mut known = Known::default();
    let number = plan.number;
    if plan.stage == PlanStage::Running {
        match kept(task, ctx, Some(number)).await? {
            Kept::Found(graph) => {
                run.params = params(&graph.spec, None).unwrap_or_default();
                run.look(
                    task,
                    &graph,
                    |name| readable(&stores.tasks, namespace, name),
                    |name| readable(&stores.approvals, namespace, name),
                );
                run.graph = Some(graph);
            }
            Kept::Nothing | Kept::Foreign(_) => run.look_for_all(task, ctx),
        }
    } else {
        let name = planner_name(task, goal, number, plan.tries);
        if let Some(child) = readable(&stores.tasks, namespace, &name) {
            let found = of_task(task, &child);
            if let Some(why) = child.status.as_ref().and_then(waits) {
                run.waits.insert(name.clone(), why);
            }
            run.found.insert(name, found.clone());
            known.planner = Some(found);
        }
        let live = |found: &Found| matches!(found.now, Child::Live(_));
        let ended = known.planner.as_ref().is_some_and(|found| !live(found));
        if plan.stage == PlanStage::Approving || ended {
            match kept(task, ctx, Some(number)).await? {
                Kept::Found(graph) => known.kept = Some(graph),
                Kept::Foreign(name) => known.foreign = Some(name),
                Kept::Nothing => {}
            }
        }
        if number > 1
            && let Kept::Found(graph) = kept(task, ctx, Some(number - 1)).await?
        {
            known.before = Some(graph);
        }
        let requests = task.status.iter().flat_map(|status| &status.requests);
        let mut requests = requests.filter(|entry| entry.kind == RequestKind::Approval);
        let name = match requests.next() {
            Some(entry) => entry.name.clone(),
            None => approval_entry(task, number, 1).name,
        };
        if let Some(approval) = readable(&stores.approvals, namespace, &name) {
            known.approval = Some((of_approval(task, &approval), asks(&approval)));
        }
        for name in &goal.allow.agents {
            if let Some(agent) = readable(&stores.agents, namespace, name) {
                known.agents.push(facts(name, &agent, ctx));
            }
        }
        // All Tasks are looked at for the estimate alone, which is made once of each plan.
        if ended && plan.stage == PlanStage::Planning {
            let tasks = stores.tasks.state();
            let tasks = tasks.iter().filter_map(|task| task.0.as_ref().ok());
            let own = tasks.filter(|task| task.metadata.namespace.as_deref() == Some(namespace));
            known.history = history(own, &goal.allow.agents);
        }
    }
    run.goal = Some(Box::new(known));
    Ok(run)
}

/// What plans may know of an Agent.
fn facts(name: &str, agent: &Agent, ctx: &Context) -> Facts {
    let spec = &agent.spec;
    let class = || {
        let class = readable(&ctx.stores.classes, "", &spec.sandbox.class.name)?;
        Some(class.spec.default_task_budget.clone())
    };
    let budget = spec.budget.clone().or_else(class);
    let bound = budget.map(|budget| in_pico(&budget)).unwrap_or_default();
    let commands = spec.commands.iter().map(|command| {
        let params = commands::list(command.params.as_ref());
        let params: Vec<String> = params
            .iter()
            .map(|param| {
                let must = if param.required { "" } else { "?" };
                format!("{}{must}: {}", param.name, param.kind)
            })
            .collect();
        format!(
            "{}({}): {}",
            command.name,
            params.join(", "),
            command.description
        )
    });
    Facts {
        name: name.to_owned(),
        description: spec.description.clone(),
        commands: commands.collect(),
        has_files: spec.has_sandbox_tools(),
        bound: Bound {
            tokens: bound.tokens,
            pico: bound.pico_usd,
        },
    }
}
