//! What is to be done about the certificates: pure. Times are seconds since the Unix epoch.
//!
//! A CA is replaced in four steps, so that nobody who trusts only the old one ever meets the new one, and no running sandbox pod has to
//! learn anything: *stage* publishes the new one beside the old one; after longer than any Task can run, *promote* signs with it; *retire*
//! stops trusting the old one. The gateway's certificate follows whichever CA signs.

use std::time::Duration;

const DAY: i64 = 86_400;
/// Life of the CA.
pub const CA_LIFE: i64 = 3650 * DAY;
/// Age at which the next CA is staged.
const CA_RENEW: i64 = 3285 * DAY;
/// Life of the gateway's certificate.
pub const LEAF_LIFE: i64 = 90 * DAY;
/// Age at which it is renewed.
const LEAF_RENEW: i64 = 60 * DAY;
/// How long a staged CA is trusted before it signs: longer than the longest Task and its start.
const OVERLAP: i64 = 9 * DAY;
/// How long the CA before is still trusted: the gateway swaps its certificate within seconds.
const RETIRE: i64 = DAY;
/// Time after which to look again at the latest.
const LOOK: i64 = DAY;

/// A CA, by the times of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaTimes {
    /// When the CA that signs was made.
    pub issued: i64,
    /// When the next one was made, if it is staged.
    pub next: Option<i64>,
    /// When the one before was replaced, if it is still trusted.
    pub replaced: Option<i64>,
}

/// The gateway's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafTimes {
    /// When it was issued.
    pub issued: i64,
    /// When the CA that signed it was made: this names the CA.
    pub ca: i64,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the first CA.
    CreateCa,
    /// Make the next CA and publish it beside the one that signs.
    StageCa,
    /// Sign with the next CA from now on.
    PromoteCa,
    /// Stop trusting the CA before.
    RetireCa,
    /// Issue the gateway's certificate.
    IssueLeaf,
    /// Nothing; look again after this.
    Wait(Duration),
}

/// The next step.
#[must_use]
pub fn plan(ca: Option<CaTimes>, leaf: Option<LeafTimes>, now: i64) -> Step {
    let Some(ca) = ca else {
        return Step::CreateCa;
    };
    if leaf.is_none_or(|leaf| leaf.ca != ca.issued || now - leaf.issued >= LEAF_RENEW) {
        return Step::IssueLeaf;
    }
    let mut due = leaf.map_or(now, |leaf| leaf.issued + LEAF_RENEW);
    match (ca.next, ca.replaced) {
        (_, Some(replaced)) if now - replaced >= RETIRE => return Step::RetireCa,
        (_, Some(replaced)) => due = due.min(replaced + RETIRE),
        (Some(next), None) if now - next >= OVERLAP => return Step::PromoteCa,
        (Some(next), None) => due = due.min(next + OVERLAP),
        (None, None) if now - ca.issued >= CA_RENEW => return Step::StageCa,
        (None, None) => due = due.min(ca.issued + CA_RENEW),
    }
    let seconds = (due - now).clamp(1, LOOK);
    Step::Wait(Duration::from_secs(seconds.unsigned_abs()))
}
