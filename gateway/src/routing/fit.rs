//! Which members can take a request at all, as far as the built-in table knows: before any strategy, since the cheapest model that reads no
//! pictures is no answer to a picture.

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

/// Whether each member is asked. Where none is fit all are: the table may know less than the provider, whose word is the last.
#[must_use]
pub fn fit(needs: &Needs, members: &[Known]) -> Vec<bool> {
    let fits: Vec<bool> = members.iter().map(|member| takes(needs, member)).collect();
    if fits.contains(&true) {
        return fits;
    }
    vec![true; members.len()]
}

fn takes(needs: &Needs, member: &Known) -> bool {
    let can = member
        .capabilities
        .is_none_or(|known| known.has_all(needs.capabilities));
    can && needs.input < member.context
}
