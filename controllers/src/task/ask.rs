//! Carries out what a Task's requests come to. Every step may be made again: objects have names that follow from their request, and the
//! gateway keeps the first answer.

use super::requests::Act;
use crate::kit::write::{WRITE_TIMEOUT, within};
use crate::kit::{Context, Result};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use oarmaster_crds::{Approval, Task, names};
use oarmaster_protocol::request::Reply;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;

/// Carries one out.
pub async fn carry_out(task: &Task, ctx: &Context, act: Act) -> Result<()> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let tasks: Api<Task> = Api::namespaced(ctx.client.clone(), namespace);
    let approvals: Api<Approval> = Api::namespaced(ctx.client.clone(), namespace);
    let (id, made) = match act {
        Act::MakeTask { id, task } => (id, make(&tasks, task.as_ref()).await?),
        Act::MakeApproval { id, approval } => (id, make(&approvals, approval.as_ref()).await?),
        Act::Answer { id, answer } => {
            ctx.gateway.answer(uid, &id, &answer).await?;
            return Ok(());
        }
        Act::Cancel { name } => return cancel(&tasks, &name).await,
    };
    if let Err(Refused { why, .. }) = made {
        let answer = Reply {
            ok: false,
            value: json!(why),
            task: None,
        };
        ctx.gateway.answer(uid, &id, &answer).await?;
    }
    Ok(())
}

/// The API server does not take an object: what it says.
pub(super) struct Refused {
    /// Its words.
    pub(super) why: String,
    /// Whether a quota or a policy may be mended, so that it would.
    pub(super) for_now: bool,
}

/// Makes an object, unless there is one of its name: whose that is, the next pass sees. Gives its UID if it was made.
pub(super) async fn make<K>(
    api: &Api<K>,
    object: &K,
) -> Result<std::result::Result<Option<String>, Refused>>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let kind = K::kind(&());
    let name = object.meta().name.as_deref().unwrap_or_default();
    let act = format!("create {kind} {name}");
    let params = PostParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let error = match within(WRITE_TIMEOUT, &act, api.create(&params, object)).await {
        Ok(made) => {
            tracing::info!(kind = %kind, name, "made for a task");
            return Ok(Ok(made.meta().uid.clone()));
        }
        Err(error) => error,
    };
    match error.status().filter(|_| !error.is_terminating()) {
        Some(answer) if answer.is_already_exists() => Ok(Ok(None)),
        Some(answer)
            if matches!(answer.code, 400 | 403 | 413 | 422)
                || answer.message.contains("request is too large") =>
        {
            Ok(Err(Refused {
                why: format!("the API server refuses the {kind}: {}", answer.message),
                for_now: answer.code == 403,
            }))
        }
        _ => Err(error),
    }
}

/// Stops a child Task; one that is gone needs nothing.
async fn cancel(tasks: &Api<Task>, name: &str) -> Result<()> {
    let params = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"spec": {"state": "Cancelled"}}));
    let act = format!("cancel task {name}");
    match within(WRITE_TIMEOUT, &act, tasks.patch(name, &params, &patch)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
