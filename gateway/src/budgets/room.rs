//! Whether there is room for a call that nobody has asked for yet.

use super::Refused;
use oarmaster_protocol::admin::Blocked;
use oarmaster_store::{Counter, CounterView, Exceeded, Scope};

/// The cap that stands in the way of a Task longest, with its counter: nothing is left of it, or not what it refused this Task last. One that
/// free members may pass counts where there is none (`free` is false).
#[must_use]
pub fn blocked<'a>(
    standing: impl IntoIterator<Item = (&'a Scope, CounterView)>,
    task: &str,
    refused: &Refused,
    free: bool,
) -> Option<Blocked> {
    let exceeded = standing.into_iter().filter_map(|(scope, view)| {
        let CounterView { id, counter } = view;
        let Counter {
            spent, reserved, ..
        } = counter;
        let needed = refused.needed(task, &id);
        let short =
            needed > 0 && spent.saturating_add(reserved).saturating_add(needed) > scope.limit_pico;
        let full = spent >= scope.limit_pico || short;
        (full && !(free && scope.free_only)).then(|| Exceeded {
            scope: scope.clone(),
            spent,
            reserved,
            needed,
            resets_ms: id.end_ms(),
        })
    });
    let longest = exceeded.max_by_key(Exceeded::rank)?;
    Some(Blocked {
        message: longest.to_string(),
        resets_ms: longest.resets_ms,
    })
}
