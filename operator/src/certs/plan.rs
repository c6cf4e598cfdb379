//! What is to be done about the certificates: pure. Times are seconds since the Unix epoch.
//!
//! A CA is replaced in four steps, so that nobody who trusts only the old one ever meets the new one, and no running sandbox pod has to
//! learn anything: *stage* publishes the new one beside the old one; after longer than any Task can run, *promote* signs with it; *retire*
//! stops trusting the old one. The leaves follow whichever CA signs.

use std::time::Duration;

const DAY: i64 = 86_400;
/// Life of the CA.
pub const CA_LIFE: i64 = 3650 * DAY;
/// Age at which the next CA is staged.
const CA_RENEW: i64 = 3285 * DAY;
/// Life of a leaf.
pub const LEAF_LIFE: i64 = 90 * DAY;
/// Age at which it is renewed.
const LEAF_RENEW: i64 = 60 * DAY;
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

/// A leaf: a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafTimes {
    /// When it was issued.
    pub issued: i64,
    /// When the CA that signed it was made: this names the CA.
    pub ca: i64,
}

impl CaTimes {
    /// When the CA that signs ends.
    #[must_use]
    pub fn ends(self) -> i64 {
        self.issued + CA_LIFE
    }
}

impl LeafTimes {
    /// When the leaf ends.
    #[must_use]
    pub fn ends(self) -> i64 {
        self.issued + LEAF_LIFE
    }
}

/// What the administrator says about renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What was issued before this is due once it is past.
    pub renew_before: Option<i64>,
    /// How long the next CA is trusted before it signs, and the one before after that.
    pub overlap: i64,
}

impl Rules {
    /// When something is due that was issued then and is renewed at this age.
    fn due(&self, issued: i64, renew: i64) -> i64 {
        let asked = self.renew_before.filter(|before| issued < *before);
        asked.map_or(issued + renew, |before| before.min(issued + renew))
    }
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
    /// Issue the leaf with this index.
    IssueLeaf(usize),
    /// Nothing; look again after this.
    Wait(Duration),
}

/// The next step. `leaves` are those that the installation has; `None` was not issued yet.
#[must_use]
pub fn plan(ca: Option<CaTimes>, leaves: &[Option<LeafTimes>], rules: Rules, now: i64) -> Step {
    let Some(ca) = ca else {
        return Step::CreateCa;
    };
    let mut due = now + LOOK;
    for (index, leaf) in leaves.iter().enumerate() {
        match leaf {
            Some(leaf) if leaf.ca == ca.issued => {
                let renewed = rules.due(leaf.issued, LEAF_RENEW);
                if now >= renewed {
                    return Step::IssueLeaf(index);
                }
                due = due.min(renewed);
            }
            _ => return Step::IssueLeaf(index),
        }
    }
    let (at, step) = match (ca.next, ca.replaced) {
        (_, Some(replaced)) => (replaced + rules.overlap, Step::RetireCa),
        (Some(next), None) => (next + rules.overlap, Step::PromoteCa),
        (None, None) => (rules.due(ca.issued, CA_RENEW), Step::StageCa),
    };
    if now >= at {
        return step;
    }
    let seconds = (due.min(at) - now).max(1);
    Step::Wait(Duration::from_secs(seconds.unsigned_abs()))
}
