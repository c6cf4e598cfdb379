//! How the current attempt of a Task stands that shared pilots run, from the gateway's report alone: pure. There is no Job and no pod: a pilot
//! that is lost loses its claim, and the gateway gives the attempt to another one.

use super::attempt::{startup_timeout, timeout_text};
use super::draft::Draft;
use jiff::Timestamp;
use oarmaster_crds::GepDuration;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::AttemptReport;

/// Plans one pass over an attempt that is written down and opened.
pub(super) fn plan(draft: &mut Draft<'_>, number: u32, report: &AttemptReport) {
    draft.sync();
    if let Some(since) = report.claimed_at_ms.and_then(time) {
        draft.running(number, None, since);
    }
    if let Some(outcome) = &report.outcome {
        draft.clock_stops(draft.seen.now);
        draft.conclude(outcome);
    } else if !deadlines(draft, report) && report.fenced {
        over(
            draft,
            FailureClass::Disrupted,
            "it was stopped at the gateway",
        );
    }
}

/// The controller's clock over an attempt that goes on. Whether it ended it.
fn deadlines(draft: &mut Draft<'_>, report: &AttemptReport) -> bool {
    let started = draft.status.attempt_started_at.as_ref().map(|time| time.0);
    let (left, class, why) = if let Some(started) = started {
        let left = draft.left().saturating_sub(draft.since(started));
        (left, FailureClass::Timeout, timeout_text(draft))
    } else {
        let most = startup_timeout(draft);
        let opened = time(report.opened_at_ms).unwrap_or(draft.seen.now);
        let why = format!(
            "no shared pilot took the attempt within {}: the Deployment oarmaster-pilots of the installation has no ready pod, or too few of them (values pilots.replicas and pilots.slots); a SandboxClass with sharedPilots: false gives each Task a pod of its own",
            GepDuration::from_duration(most)
        );
        let left = most.saturating_sub(draft.since(opened));
        (left, FailureClass::StartFailed, why)
    };
    if left.is_zero() {
        over(draft, class, &why);
        return true;
    }
    draft.look_in(left);
    false
}

/// The attempt is over without its pilot's word: it is stopped at the gateway first.
fn over(draft: &mut Draft<'_>, class: FailureClass, why: &str) {
    draft.fence(why);
    draft.clock_stops(draft.seen.now);
    draft.attempt_failed(class, why);
}

fn time(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}
