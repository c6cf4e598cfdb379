//! The members of a pool that can be asked for a call, with what their place in the order depends on, and the lanes to them.

use super::allowed;
use super::route::Routed;
use crate::catalog::{self, Provider};
use crate::error::ApiFailure;
use crate::price::Price;
use crate::request::{BYTES_PER_TOKEN, Request};
use crate::routing::course::Lane;
use crate::routing::fit::{Known, Needs, fit};
use crate::routing::lanes::Seen;
use crate::routing::order::{Candidate, Free, drawn};
use crate::state::Gateway;
use crate::surface::Surface;
use oarmaster_prices::{Capabilities, Capability, Row};
use oarmaster_protocol::task::ErrorCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A member that can be asked.
pub struct Member<'a> {
    /// Its provider.
    pub provider: &'a Arc<Provider>,
    /// Its model.
    pub name: &'a str,
    /// What that costs.
    pub price: &'a Price,
    /// Most tokens of a call.
    pub context: u64,
    /// What the built-in table knows of the model.
    pub row: Option<&'static Row>,
    /// Whether it costs nothing.
    pub free: Free,
    written: &'a catalog::Member,
    seen: Seen,
    /// Input and output tokens that this request is expected to have.
    expected: (u64, u64),
}

impl<'a> Member<'a> {
    /// A member with its provider and model, as they are now: `clock` is the same as time since the Unix epoch.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub fn find(
        gateway: &Gateway,
        routed: &'a Routed,
        written: &'a catalog::Member,
        (now, clock): (Instant, Duration),
    ) -> Result<Self, ApiFailure> {
        let gone = |text: String| ApiFailure::new(ErrorCode::ModelUnavailable, text);
        let path = catalog::path(&written.provider);
        let name = written.model.as_str();
        allowed::provider(gateway, &written.provider, &routed.pool)?;
        let provider = routed.snapshot.providers.get(&written.provider);
        let provider = provider.ok_or_else(|| {
            gone(format!(
                "ModelProvider {path} does not exist or is malformed"
            ))
        })?;
        let model = provider.models.get(name);
        let model = model
            .ok_or_else(|| gone(format!("ModelProvider {path} does not list model {name}")))?;
        let price = model.price.as_ref().map_err(|problem| {
            ApiFailure::new(
                ErrorCode::UnknownPrice,
                format!("model {name} of ModelProvider {path} has no usable price: {problem}; state pricing (\"0\" for a server of your own)"),
            )
        })?;
        let usable = |key| gateway.health.usable_key(provider, key).is_some();
        if !provider.keys.is_empty() && !provider.keys.iter().any(usable) {
            let problem = gateway.health.key_problem(provider);
            return Err(gone(format!(
                "ModelProvider {path} has no usable key: {problem}"
            )));
        }
        let (seen, used_up) = gateway.health.lanes.seen(provider, name, now, clock);
        let request = &routed.request;
        let limit = request.output_limit(routed.assigned, model.context);
        let input = expected_input(request);
        Ok(Self {
            provider,
            name,
            price,
            context: model.context,
            row: model.row,
            free: match (price.is_free(), used_up) {
                (true, false) => Free::Yes,
                (true, true) => Free::UsedUp,
                (false, _) => Free::No,
            },
            written,
            seen,
            expected: (input, seen.output.min(limit)),
        })
    }

    /// What its place in the order depends on.
    #[must_use]
    pub fn candidate(&self, stream: bool, now: Instant) -> Candidate {
        let (input, output) = self.expected;
        Candidate {
            priority: self.written.priority,
            weight: self.written.weight,
            cost: self.price.expected(input, output),
            free: self.free,
            wait: if stream {
                self.seen.first_token.expected(now)
            } else {
                self.seen.whole.expected(now)
            },
            busy: self.seen.busy,
        }
    }

    /// What is known of its model.
    #[must_use]
    pub fn known(&self) -> Known {
        Known {
            // Of some rows no table says what they can do.
            capabilities: self
                .row
                .map(|row| row.capabilities)
                .filter(|known| *known != Capabilities::default()),
            context: self.context,
        }
    }

    /// Tokens that this request is expected to have.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.expected.0.saturating_add(self.expected.1)
    }
}

/// Puts those that can take the request before the others.
pub fn fit_first(places: &mut [usize], members: &[Member<'_>], request: &Request) {
    if members.len() < 2 {
        return;
    }
    let capabilities = request.needs();
    let media = [Capability::Images, Capability::Documents, Capability::Audio];
    // The texts of embeddings are counted one by one.
    let words = request.surface != Surface::Embeddings
        && !media.into_iter().any(|medium| capabilities.has(medium));
    let needs = Needs {
        capabilities,
        // How many tokens a picture is its size does not say.
        input: if words { expected_input(request) } else { 0 },
    };
    let known: Vec<Known> = members.iter().map(Member::known).collect();
    let fit = fit(&needs, &known);
    places.sort_by_key(|place| fit.get(*place) == Some(&false)); // stable
}

fn expected_input(request: &Request) -> u64 {
    u64::try_from(request.len()).unwrap_or(u64::MAX) / BYTES_PER_TOKEN
}

/// The lanes to members in this order of their places: to each with its keys, drawn by their weights. `draw(n)` is a number below n, at random.
#[must_use]
pub fn lanes(
    members: &[Member<'_>],
    places: &[usize],
    mut draw: impl FnMut(u64) -> u64,
) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for place in places {
        let Some(member) = members.get(*place) else {
            continue;
        };
        let same = |other: &Member<'_>| other.provider.id == member.provider.id;
        let provider = members.iter().position(same).unwrap_or(*place);
        let lane = |key| Lane {
            member: *place,
            provider,
            model: *place, // a pool has no member twice
            key,
            context: member.context,
        };
        match member.provider.keys.as_slice() {
            [] | [_] => lanes.push(lane(0)),
            keys => {
                let weights = keys.iter().map(|key| key.weight);
                lanes.extend(drawn(weights, &mut draw).into_iter().map(lane));
            }
        }
    }
    lanes
}
