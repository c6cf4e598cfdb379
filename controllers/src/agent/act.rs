//! Writes an agent's status.

use crate::kit::{Action, Context, Result, ready};
use kube::Api;
use oarmaster_crds::{Agent, AgentStatus};

/// Carries the plan out.
pub async fn act(agent: &Agent, ctx: &Context, todo: ready::Plan<AgentStatus>) -> Result<Action> {
    let namespace = agent.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::namespaced(ctx.client.clone(), namespace);
    ready::act(&api, agent, ctx, todo).await
}
