//! Whether what is named across namespaces may be, at this moment: asked of the newest objects before each hop, so that what is taken back ends
//! with the hop under way. What a namespace names of its own costs nothing here.

use crate::catalog::Id;
use crate::error::ApiFailure;
use crate::state::Gateway;
use oarmaster_crds::AllowedNamespaces;
use oarmaster_crds::access::absent;
use oarmaster_protocol::task::ErrorCode;

/// Whether a provider may be named by a pool.
///
/// # Errors
/// `model_unavailable`, with the same text for one that does not exist.
pub fn provider(gateway: &Gateway, provider: &Id, pool: &Id) -> Result<(), ApiFailure> {
    if provider.0 == pool.0 {
        return Ok(());
    }
    let snapshot = gateway.snapshot.load();
    let found = snapshot.providers.get(provider);
    let allowed = found.map(|found| &found.allowed);
    if holds(gateway, allowed, &provider.0, &pool.0) {
        return Ok(());
    }
    let id = (provider.0.as_str(), provider.1.as_str());
    let text = absent("ModelProvider", id, &pool.0);
    Err(ApiFailure::new(ErrorCode::ModelUnavailable, text))
}

/// Whether a pool may be named by the objects of a namespace. Callers who are no Tasks name it themselves: of them RBAC decides.
///
/// # Errors
/// `not_found`, with the same text for one that does not exist.
pub fn pool(gateway: &Gateway, pool: &Id, from: &str) -> Result<(), ApiFailure> {
    if pool.0 == from {
        return Ok(());
    }
    let snapshot = gateway.snapshot.load();
    let allowed = snapshot.pools.get(pool).map(|pool| &pool.allowed);
    if holds(gateway, allowed, &pool.0, from) {
        return Ok(());
    }
    let id = (pool.0.as_str(), pool.1.as_str());
    Err(ApiFailure::not_found(absent("ModelPool", id, from)))
}

fn holds(gateway: &Gateway, allowed: Option<&AllowedNamespaces>, own: &str, from: &str) -> bool {
    let budgets = gateway.budgets.load();
    allowed.is_some_and(|allowed| allowed.allows(own, from, budgets.labels(from)))
}
