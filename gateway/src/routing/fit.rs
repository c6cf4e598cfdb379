//! Which members can take a request, as far as the built-in table knows: they come before the others whatever the strategy, since the cheapest model
//! that reads no pictures is no answer to a picture. The others come last and not never: the table may know less than the provider, whose word is
//! the last.

use oarmaster_prices::Capabilities;

/// What a request needs of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What it must be able to do.
    pub capabilities: Capabilities,
    /// Input tokens that are expected, where text alone makes them.
    pub input: u64,
}

/// What is known of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it can do; `None` where nobody says: a server of one's own.
    pub capabilities: Option<Capabilities>,
    /// Most tokens of a call.
    pub context: u64,
}

/// Whether each member is fit.
#[must_use]
pub fn fit(needs: &Needs, members: &[Known]) -> Vec<bool> {
    members.iter().map(|member| takes(needs, member)).collect()
}

fn takes(needs: &Needs, member: &Known) -> bool {
    let can = member
        .capabilities
        .is_none_or(|known| known.has_all(needs.capabilities));
    can && needs.input < member.context
}
