//! What is known of a pool's providers.

use super::plan::Observed;
use crate::kit::Context;
use crate::kit::context::readable;
use jiff::Timestamp;
use oarmaster_crds::ModelPool;

/// Looks.
pub fn observe(pool: &ModelPool, ctx: &Context) -> Observed {
    let namespace = pool.metadata.namespace.as_deref().unwrap_or_default();
    Observed {
        now: Timestamp::now(),
        providers: pool
            .spec
            .members
            .iter()
            .filter_map(|member| {
                let name = &member.provider.name;
                let found = readable(&ctx.stores.providers, namespace, name)?;
                Some((name.clone(), found))
            })
            .collect(),
    }
}
