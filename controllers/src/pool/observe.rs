//! What is known of a pool's providers.

use super::plan::{Namesake, Observed};
use crate::kit::Context;
use crate::kit::context::readable;
use jiff::Timestamp;
use oarmaster_crds::ModelPool;

/// Looks.
pub fn observe(pool: &ModelPool, ctx: &Context) -> Observed {
    let namespace = pool.metadata.namespace.as_deref().unwrap_or_default();
    Observed {
        now: Timestamp::now(),
        labels: ctx.labels(namespace),
        providers: pool
            .spec
            .members
            .iter()
            .filter_map(|member| {
                let id = (member.provider.namespace(namespace), &member.provider.name);
                let found = readable(&ctx.stores.providers, id.0, id.1)?;
                Some(((id.0.to_owned(), id.1.clone()), found))
            })
            .collect(),
        namesakes: ctx
            .stores
            .pools
            .state()
            .iter()
            .filter_map(|other| other.0.as_ref().ok())
            .filter(|other| other.metadata.namespace == pool.metadata.namespace)
            .filter(|other| !other.spec.aliases.is_empty())
            .map(|other| Namesake {
                created: other.metadata.creation_timestamp.clone(),
                name: other.metadata.name.clone().unwrap_or_default(),
                aliases: other.spec.aliases.clone(),
            })
            .collect(),
    }
}
