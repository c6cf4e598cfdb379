//! Writes a provider's status.

use crate::kit::{Action, Context, Result, ready};
use kube::Api;
use oarmaster_crds::{ModelProvider, ModelProviderStatus};

/// Carries the plan out.
pub async fn act(
    provider: &ModelProvider,
    ctx: &Context,
    todo: ready::Plan<ModelProviderStatus>,
) -> Result<Action> {
    let namespace = provider.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::namespaced(ctx.client.clone(), namespace);
    ready::act(&api, provider, ctx, todo).await
}
