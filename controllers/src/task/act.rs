//! Carries a plan out, in the order that `plan` documents. The only place that writes for a Task.

use super::census;
use super::job::{self, Installation};
use super::observe::live_job;
use super::plan::{self, Observed, Plan, Start};
use super::run::{self, Carried};
use crate::kit::events::{Note, Reason};
use crate::kit::metrics::Whose;
use crate::kit::ready::tell;
use crate::kit::write::{self, WRITE_TIMEOUT, within};
use crate::kit::{Action, Context, Error, Result, chain};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use oarmaster_crds::{Task, TaskStatus, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{AttemptReport, OpenAttempt, RunsIn};
use serde_json::json;
use std::time::Duration;

/// How long to wait before a Job that the API server refused is tried again: what is in the way (a quota, a policy) is mended by people.
const JOB_REFUSED_WAIT: Duration = Duration::from_secs(15);

/// Why an attempt did not start.
enum Stopped {
    /// It never will.
    Refused(FailureClass, String),
    /// It may, once something else was mended.
    Later(String),
    /// The gateway has it from before what the cluster knows, and it is over: the next pass sees how.
    Known,
    /// The call failed; the pass is made again.
    Failed(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Carries the plan out.
pub async fn act(task: &Task, ctx: &Context, seen: &Observed, todo: Plan) -> Result<Action> {
    let Plan {
        fence,
        mut status,
        budget,
        requests,
        run,
        release,
        start,
        delete_jobs,
        delete_task,
        notes,
        ended,
        next,
    } = todo;
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let name = task.metadata.name.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let tasks: Api<Task> = Api::namespaced(ctx.client.clone(), namespace);

    let steps = status
        .as_mut()
        .and_then(|status| status.steps.as_deref_mut());
    let mut again = None;
    match run::carry_out(task, ctx, run, steps).await? {
        Carried::Done => {}
        Carried::InPart(why) => {
            refused_for_now(ctx, task, why).await;
            again = Some(JOB_REFUSED_WAIT);
        }
        Carried::Otherwise => return Ok(Action::requeue(Duration::ZERO)),
        Carried::Refused(objects) => {
            // Their steps fail, and the rest goes on as the run says. Each object is refused at most once.
            let mut seen = seen.clone();
            if let Some(run) = &mut seen.run {
                run.refused.extend(objects);
            }
            let (of, looked) = (task.clone(), seen.clone());
            let again = ctx
                .think(namespace, move || plan::plan(&of, &looked))
                .await?;
            return Box::pin(act(task, ctx, &seen, again)).await;
        }
        Carried::Taken(lease, by) => {
            // It waits for another one. A plan that takes nothing takes nothing again, so this is one step deep.
            let mut seen = seen.clone();
            let line = seen.run.as_mut().and_then(|run| run.line.as_mut());
            if let Some(line) = line {
                line.taken.insert(lease, by);
            }
            let (of, looked) = (task.clone(), seen.clone());
            let again = ctx
                .think(namespace, move || plan::plan(&of, &looked))
                .await?;
            return Box::pin(act(task, ctx, &seen, again)).await;
        }
        Carried::Later(why) => {
            refused_for_now(ctx, task, why).await;
            return Ok(Action::requeue(JOB_REFUSED_WAIT));
        }
        Carried::Never(class, why) => {
            let seen = Observed {
                now: Timestamp::now(),
                ..seen.clone()
            };
            let end = plan::refused(task, &seen, class, &why);
            return Box::pin(act(task, ctx, &seen, end)).await;
        }
    }
    if let Some((attempt, fence)) = fence {
        ctx.gateway.fence(uid, attempt, &fence).await?;
    }
    let mut current = task.clone();
    if let Some(status) = status {
        match write_status(&tasks, task, ctx, &status).await? {
            Some(written) => {
                if let Some(after) = began(task, &written) {
                    ctx.metrics.began(whose(&written).kind, after);
                }
                current = written;
            }
            None => return Ok(Action::await_change()), // a newer version, or the deletion, is on its way here
        }
    }
    if let Some(release) = release {
        run::give_back(task, ctx, release).await?;
    }
    if let Some(ended) = ended {
        ctx.forget_run(uid);
        ctx.memos.forget(uid);
        let score = current.status.as_ref();
        let score = score.and_then(|status| status.score.as_ref()?.parse().ok());
        ctx.metrics
            .ended(whose(&current), ended.outcome, ended.after, score);
        tracing::info!(
            namespace,
            task = name,
            outcome = ended.outcome,
            "task ended"
        );
    }
    if let Some(budget) = budget {
        ctx.gateway.budget(uid, &budget).await?;
    }
    for request in requests {
        super::ask::carry_out(task, ctx, request).await?;
    }
    let mut wait = next.into_iter().chain(again).min();
    if let Some(start) = start {
        match begin(&current, ctx, &start).await {
            Ok(()) => {}
            Err(Stopped::Refused(class, why)) => {
                let seen = Observed {
                    now: Timestamp::now(),
                    ..seen.clone()
                };
                // An end starts nothing, so this is at most one step deep.
                let end = plan::refused(&current, &seen, class, &why);
                return Box::pin(act(&current, ctx, &seen, end)).await;
            }
            Err(Stopped::Later(why)) => {
                wait = Some(JOB_REFUSED_WAIT);
                let seen = Observed {
                    now: Timestamp::now(),
                    written: ctx.written(uid),
                    ..seen.clone()
                };
                if let Some(status) = plan::hindered(&current, &seen, &why) {
                    write_status(&tasks, &current, ctx, &status).await?;
                }
                let note = Note {
                    reason: Reason::JobRefused,
                    action: format!("Attempt{}", start.attempt),
                    message: why,
                    warning: true,
                };
                tell(ctx, task, &note).await;
            }
            Err(Stopped::Known) => wait = Some(Duration::ZERO),
            Err(Stopped::Failed(error)) => return Err(error),
        }
    }
    let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), namespace);
    for doomed in delete_jobs {
        write::delete(&jobs, &doomed.name, &doomed.uid).await?;
    }
    if delete_task {
        write::delete(&tasks, name, uid).await?;
    }
    for note in notes {
        tell(ctx, task, &note).await;
    }
    Ok(wait.map_or_else(Action::await_change, Action::requeue))
}

/// Whose a Task is, for the metrics.
fn whose(task: &Task) -> Whose<'_> {
    let spec = &task.spec;
    let call = spec.agent.as_ref();
    let kind = match (call, &spec.run) {
        (Some(_), _) => "agent",
        (None, Some(_)) => "run",
        (None, None) if spec.goal.is_some() => "goal",
        (None, None) => "workflow",
    };
    let of_run = || task.metadata.labels.as_ref()?.get(names::WORKFLOW_LABEL);
    let own = spec.workflow.as_ref();
    let workflow = own.and_then(|own| own.name.as_ref()).or_else(of_run);
    Whose {
        namespace: task.metadata.namespace.as_deref().unwrap_or_default(),
        kind,
        agent: call.and_then(|call| call.name.as_deref().or(chosen(task))),
        workflow: workflow.map(String::as_str),
    }
}

/// How long after its creation a Task runs for the first time, if this write of its status says so.
fn began(before: &Task, now: &Task) -> Option<Duration> {
    let started = |task: &Task| task.status.as_ref()?.started_at.as_ref().map(|at| at.0);
    let at = started(now).filter(|_| started(before).is_none())?;
    let created = now.metadata.creation_timestamp.as_ref()?.0;
    Some(Duration::try_from(at.duration_since(created)).unwrap_or_default()) // clocks differ
}

/// The agent that was chosen for a Task.
fn chosen(task: &Task) -> Option<&str> {
    task.status.as_ref().and_then(census::agent)
}

/// Writes a status; `None` when a newer version of the Task exists, or none at all.
async fn write_status(
    tasks: &Api<Task>,
    task: &Task,
    ctx: &Context,
    status: &TaskStatus,
) -> Result<Option<Task>> {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    match write::status(tasks, task, status).await {
        Ok(written) => {
            ctx.remember(uid, Some(Timestamp::now()));
            Ok(Some(written))
        }
        Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the attempt, then creates its Job, if it has one.
async fn begin(task: &Task, ctx: &Context, start: &Start) -> std::result::Result<(), Stopped> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let report = open(ctx, uid, start).await?;
    if report.fenced || report.outcome.is_some() {
        return Err(Stopped::Known);
    }
    let digest = report.assignment;
    if start.shared {
        tracing::info!(
            namespace,
            task = task.metadata.name,
            attempt = start.attempt,
            "attempt opened for the shared pilots"
        );
        return Ok(());
    }
    network(ctx, namespace).await?;
    if start.service_account {
        service_account(ctx, namespace).await?;
    }
    let installation = Installation {
        runner_image: ctx.settings.runner_image.clone(),
        gateway_host: ctx.settings.gateway_host(),
        ca: ctx.ca.load().as_ref().clone(),
        places: ctx.settings.places.clone(),
    };
    let job = job::build(task, start, &installation, &digest);
    let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), namespace);
    let act = format!("create job {namespace}/{}", start.job);
    let params = PostParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let created = within(WRITE_TIMEOUT, &act, jobs.create(&params, &job)).await;
    let Err(error) = created else {
        tracing::info!(
            namespace,
            task = task.metadata.name,
            attempt = start.attempt,
            job = start.job,
            "attempt started"
        );
        return Ok(());
    };
    let Some(answer) = error.status() else {
        return Err(Stopped::Failed(error));
    };
    if answer.is_already_exists() {
        return match live_job(ctx, namespace, &start.job).await? {
            Some(job) if job.owner_uid != uid => Err(Stopped::Refused(
                FailureClass::Conflict,
                format!(
                    "Job {} exists and belongs to somebody else; delete it, or give the Task another name",
                    start.job
                ),
            )),
            _ => Ok(()), // ours, by an earlier pass; or just gone, which the watch tells
        };
    }
    if answer.code == 422 {
        let why = format!("the API server does not take the Job: {}", answer.message);
        return Err(Stopped::Refused(FailureClass::StartFailed, why));
    }
    if answer.code == 403 && !error.is_terminating() {
        return Err(Stopped::Later(format!(
            "the API server refuses the Job: {}",
            answer.message
        )));
    }
    Err(Stopped::Failed(error))
}

/// Opens the attempt at the gateway.
async fn open(
    ctx: &Context,
    uid: &str,
    start: &Start,
) -> std::result::Result<AttemptReport, Stopped> {
    if start.opened
        && let Some(report) = ctx.gateway.report(uid, start.attempt).await?
    {
        return Ok(report);
    }
    let request = OpenAttempt {
        runs_in: if start.shared {
            RunsIn::Shared
        } else {
            RunsIn::Job(start.job.clone())
        },
        assignment: start.resolved.assignment.clone(),
        budget: start.resolved.budget,
        requested_by: start.requested_by.clone(),
        parent: start.parent.clone(),
        keeps: false,
        ends: start.ends,
        labels: start.labels.clone(),
    };
    match ctx.gateway.open(uid, start.attempt, &request).await {
        Ok(report) => Ok(report),
        Err(error) => Err(match error.gateway_code() {
            Some("too_large" | "invalid_request") => {
                Stopped::Refused(FailureClass::InvalidInput, chain(&error))
            }
            // There may be no further Task below one above it.
            Some("budget_exceeded") => {
                Stopped::Refused(FailureClass::BudgetExceeded, chain(&error))
            }
            Some("not_found") => Stopped::Refused(
                FailureClass::StateRegressed,
                "the gateway does not know the attempt before this one; create the Task anew"
                    .to_owned(),
            ),
            // It was opened when a later one was, or another Task was in its place: that it is to begin nobody can want who knows of that.
            Some("fenced") => Stopped::Refused(FailureClass::StateRegressed, chain(&error)),
            // Opened by an earlier pass with what was then: the next pass sees that.
            _ => Stopped::Failed(error),
        }),
    }
}

/// Makes the NetworkPolicy of the sandboxes, unless it is there: without it a pod reaches whatever the cluster's network reaches.
async fn network(ctx: &Context, namespace: &str) -> std::result::Result<(), Stopped> {
    match crate::network::ensure(ctx, namespace).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Stopped::Later(format!(
            "the gateway's Service {} has no selector or no port `data`: no NetworkPolicy can name it",
            ctx.settings.gateway_service
        ))),
        Err(error) => match error.status().filter(|_| !error.is_terminating()) {
            Some(answer) if matches!(answer.code, 403 | 422) => Err(Stopped::Later(format!(
                "the API server refuses the sandboxes' NetworkPolicy: {}",
                answer.message
            ))),
            _ => Err(Stopped::Failed(error)),
        },
    }
}

/// Makes the ServiceAccount of the sandboxes. It has no rights, and no token is mounted for it but the pilot's own.
async fn service_account(ctx: &Context, namespace: &str) -> Result<()> {
    let api: Api<ServiceAccount> = Api::namespaced(ctx.client.clone(), namespace);
    let name = names::SANDBOX_SERVICE_ACCOUNT;
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name },
        "automountServiceAccountToken": false,
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let act = format!("apply service account {namespace}/{name}");
    within(
        WRITE_TIMEOUT,
        &act,
        api.patch(name, &params, &Patch::Apply(&account)),
    )
    .await
    .map(|_| ())
}

/// The API server does not take the object of a step now: it is told, and tried again.
async fn refused_for_now(ctx: &Context, task: &Task, why: String) {
    let note = Note {
        reason: Reason::JobRefused,
        action: "Step".to_owned(),
        message: why,
        warning: true,
    };
    tell(ctx, task, &note).await;
}
