//! What is known of a provider.

use super::plan::Observed;
use crate::kit::Context;
use jiff::Timestamp;
use oarmaster_crds::ModelProvider;

/// Looks.
pub fn observe(provider: &ModelProvider, ctx: &Context) -> Observed {
    let key = (
        provider.metadata.namespace.clone().unwrap_or_default(),
        provider.metadata.name.clone().unwrap_or_default(),
    );
    let health = ctx.health.load();
    Observed {
        now: Timestamp::now(),
        health: health
            .as_ref()
            .as_ref()
            .and_then(|held| held.get(&key).cloned()),
    }
}
