//! What a pass over a run is shown, beside what is known of the run.

use crate::task::plan::Observed;
use crate::task::refs::Refs;
use crate::task::requests::Made;
use crate::task::run::Seen;
use jiff::Timestamp;
use oarmaster_protocol::admin::{AttemptReport, RunsIn, TaskUsage};
use oarmaster_protocol::assignment::TaskRef;

/// A pass over a run.
pub(in crate::task) fn of_run(
    now: Timestamp,
    report: Option<AttemptReport>,
    run: Seen,
) -> Observed {
    Observed {
        now,
        refs: Refs::NotLooked,
        jobs: Vec::new(),
        foreign_job: false,
        pod: None,
        report,
        service_account: true,
        gateway_ip: None,
        startup_timeout: None,
        blocked: None,
        made: Made::default(),
        run: Some(Box::new(run)),
        busy: None,
        memo: None,
        written: None,
    }
}

/// What the gateway knows of a run's attempt.
pub(in crate::task) fn opened(task: TaskRef, attempt: u32, below: TaskUsage) -> AttemptReport {
    AttemptReport {
        task,
        attempt,
        assignment: String::new(),
        pinned: None,
        runs_in: RunsIn::Operator,
        opened_at_ms: 0,
        claimed_at_ms: None,
        fenced: false,
        over: None,
        isolated: None,
        outcome: None,
        usage: TaskUsage::default(),
        below,
        score: None,
        requests: Vec::new(),
        next: 1,
    }
}
