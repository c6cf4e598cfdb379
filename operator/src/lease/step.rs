//! What a candidate does next: pure.

use k8s_openapi::api::coordination::v1::Lease;
use std::time::Duration;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody has it yet: create it.
    Create,
    /// It is free, or its holder is silent for too long: take it, under the version that was seen.
    Take,
    /// It is ours: renew it.
    Renew,
    /// Somebody has it: look again after this.
    Wait(Duration),
}

/// The next step. `unchanged_for` is how long *this process* has seen the lease in this version: times in the lease are another node's
/// clock, and are not looked at.
#[must_use]
pub fn step(
    lease: Option<&Lease>,
    me: &str,
    ttl: Duration,
    look: Duration,
    unchanged_for: Duration,
) -> Step {
    let Some(lease) = lease else {
        return Step::Create;
    };
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
    match holder {
        None | Some("") => Step::Take,
        Some(holder) if holder == me => Step::Renew,
        Some(_) => {
            let promised = spec
                .and_then(|spec| spec.lease_duration_seconds)
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map_or(ttl, Duration::from_secs)
                // A lease of hours would be a mistake, or somebody's trick.
                .min(ttl * 4);
            if unchanged_for >= promised {
                Step::Take
            } else {
                Step::Wait(look.min(promised - unchanged_for))
            }
        }
    }
}
