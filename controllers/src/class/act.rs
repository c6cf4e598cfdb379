//! Carries a plan out, in the order that `plan` documents. The only place that writes for a class.

use super::job;
use super::plan::{self, Observed, Plan, Start};
use crate::kit::ready::tell;
use crate::kit::write::{self, WRITE_TIMEOUT, within};
use crate::kit::{Action, Context, Error, Result};
use crate::network;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::PostParams;
use oarmaster_crds::{SandboxClass, names};

/// Carries the plan out.
pub async fn act(
    class: &SandboxClass,
    ctx: &Context,
    seen: &Observed,
    todo: Plan,
) -> Result<Action> {
    let mut todo = todo;
    if let Some(start) = todo.start.take()
        && let Some(why) = begin(class, ctx, &start).await?
    {
        let seen = Observed {
            now: Timestamp::now(),
            ..seen.clone()
        };
        todo = plan::hindered(class, &seen, &why);
    }
    let Plan {
        start: _, // as above
        status,
        delete_jobs,
        notes,
        next,
    } = todo;
    if let Some(status) = status {
        let classes: Api<SandboxClass> = Api::all(ctx.client.clone());
        match write::status(&classes, class, &status).await {
            Ok(_) => {}
            Err(error) if error.is_conflict() || error.is_not_found() => {
                return Ok(Action::await_change()); // the newer version, or the deletion, is on its way here
            }
            Err(error) => return Err(error),
        }
    }
    let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), &ctx.settings.namespace);
    for doomed in delete_jobs {
        write::delete(&jobs, &doomed.name, &doomed.uid).await?;
    }
    for note in notes {
        tell(ctx, class, &note).await;
    }
    Ok(next.map_or_else(Action::await_change, Action::requeue))
}

/// Creates the probe's Job, after the policy that it is to find enforced. Gives what is in the way, if the API server does not take them.
async fn begin(class: &SandboxClass, ctx: &Context, start: &Start) -> Result<Option<String>> {
    let namespace = &ctx.settings.namespace;
    let refused = |what: &str, error: Error| match error.status() {
        Some(answer) if matches!(answer.code, 403 | 422) => Ok(Some(format!(
            "the API server refuses {what}: {}",
            answer.message
        ))),
        _ => Err(error),
    };
    match network::ensure(ctx, namespace).await {
        Ok(true) => {}
        Ok(false) => {
            return Ok(Some(format!(
                "the gateway's Service {} has no selector or no port `data`: no NetworkPolicy can name it",
                ctx.settings.gateway_service
            )));
        }
        Err(error) => return refused("the sandboxes' NetworkPolicy", error),
    }
    let settings = &ctx.settings;
    let job = job::build(class, start, settings);
    let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), namespace);
    let act = format!("create job {namespace}/{}", start.job);
    let params = PostParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match within(WRITE_TIMEOUT, &act, jobs.create(&params, &job)).await {
        Ok(_) => {
            tracing::info!(
                class = class.metadata.name,
                job = start.job,
                "probe started"
            );
            Ok(None)
        }
        // By an earlier pass, whose watch is on its way, or somebody else's, as the next pass sees.
        Err(error)
            if error
                .status()
                .is_some_and(kube::core::Status::is_already_exists) =>
        {
            Ok(Some(format!("Job {} exists already", start.job)))
        }
        Err(error) => refused("the probe's Job", error),
    }
}
