//! How the current attempt of a Task stands, from its Job, its pod and the gateway's report: pure.

use super::draft::Draft;
use super::plan::{begin, start};
use super::pod::{InQueue, JobEnd, JobFacts, Pilot, PodFacts};
use super::refs::Refs;
use super::shared;
use oarmaster_crds::conditions::reason;
use oarmaster_crds::kinds::task::JobRef;
use oarmaster_crds::names;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::RunsIn;
use std::time::Duration;

/// Exit code of a pilot whose session was fenced: another one has the attempt.
const FENCED: i32 = 3;
/// How long an image may fail to be pulled: the kubelet tries about four times within it.
pub(super) const PULL_PATIENCE: Duration = Duration::from_secs(60);

/// Plans one pass over an attempt that is written down.
pub(super) fn plan(draft: &mut Draft<'_>, number: u32) {
    let seen = draft.seen;
    if let Some(over) = draft.was_over() {
        draft.end_as(&over);
        return;
    }
    if let Some(report) = seen.report.as_ref()
        && report.attempt == number
        && report.runs_in == RunsIn::Shared
    {
        return shared::plan(draft, number, report);
    }
    let name = names::job_name(
        draft.task.metadata.name.as_deref().unwrap_or_default(),
        draft.task.metadata.uid.as_deref().unwrap_or_default(),
        number,
    );
    if seen.foreign_job {
        draft.fence("its Job's name belongs to somebody else");
        let text = format!(
            "Job {name} exists and belongs to somebody else; delete it, or give the Task another name"
        );
        draft.fail(FailureClass::Conflict, &text);
        return;
    }
    let job = seen.jobs.iter().find(|job| job.name == name);
    draft.sync();
    match job.filter(|job| !job.deleting) {
        Some(job) => with_job(draft, number, job),
        None => without_job(draft, number, job.is_some()),
    }
}

/// The Job is not there: not yet, or not any more.
fn without_job(draft: &mut Draft<'_>, number: u32, deleting: bool) {
    let report = draft.seen.report.as_ref();
    let was = deleting
        || draft.status.job.is_some()
        || report.is_some_and(|report| report.claimed_at_ms.is_some() || report.fenced);
    if let Some(outcome) = report.and_then(|report| report.outcome.as_ref()) {
        draft.clock_stops(draft.seen.now);
        draft.conclude(outcome);
    } else if was {
        fenced(draft, FailureClass::Disrupted, "its Job was deleted");
    } else if let (Some(_), Refs::Found(resolved)) = (report, &draft.seen.refs) {
        // Opened: only the Job is missing.
        start(draft, number, resolved);
    } else {
        begin(draft, number);
    }
}

fn with_job(draft: &mut Draft<'_>, number: u32, job: &JobFacts) {
    let seen = draft.seen;
    let pod = seen.pod.as_ref();
    let pilot = pod.map_or(&Pilot::NotStarted, |pod| &pod.pilot);
    let runs_in = JobRef {
        name: job.name.clone(),
        uid: job.uid.clone(),
    };
    if let Some(since) = pilot.started() {
        draft.running(number, Some(runs_in.clone()), since);
        draft.image(pod.and_then(|pod| pod.image.as_deref()));
    }
    if in_queue(draft, number, job) {
        return;
    }
    let outcome = seen
        .report
        .as_ref()
        .and_then(|report| report.outcome.as_ref());
    if let Some(outcome) = outcome {
        // The result is durable; the attempt is over once its pilot is.
        let over = job.ended.is_some()
            || pod.is_none_or(|pod| {
                pod.disrupted.is_some() || matches!(pod.pilot, Pilot::Ended { .. })
            });
        if over {
            // Also where nobody saw its pod run.
            draft.status.job = Some(runs_in);
            draft.clock_stops(end_of(pilot, draft));
            draft.conclude(outcome);
            return;
        }
    } else if let Some((class, why)) = broken(draft, job, pod) {
        fenced(draft, class, &why);
        return;
    }
    deadlines(draft, job, pod);
}

/// Whether its Job waits for Kueue. An attempt that was taken up and is suspended again is disrupted; of one that was not nothing is lost.
fn in_queue(draft: &mut Draft<'_>, number: u32, job: &JobFacts) -> bool {
    let claimed = draft.seen.report.as_ref();
    let claimed = claimed.is_some_and(|report| report.claimed_at_ms.is_some());
    if draft.status.attempt_started_at.is_some() || claimed {
        return false;
    }
    match job.queue {
        Some(InQueue::Waits) => {
            let queue = draft.task.spec.queue.as_deref().unwrap_or_default();
            let text = format!(
                "Job {} waits in queue {queue} until Kueue lets it run; see `kubectl describe localqueue {queue}` and `kubectl describe job {}`",
                job.name, job.name
            );
            draft.queued(reason::IN_QUEUE, &text);
            true
        }
        Some(InQueue::Runs { .. }) => {
            draft.let_run(number);
            false
        }
        None => false,
    }
}

/// What ended the attempt without an outcome, if something did.
fn broken(
    draft: &Draft<'_>,
    job: &JobFacts,
    pod: Option<&PodFacts>,
) -> Option<(FailureClass, String)> {
    let started = draft.status.attempt_started_at.is_some();
    if let Some(why) = pod.and_then(|pod| pod.disrupted.as_ref()) {
        return Some((FailureClass::Disrupted, why.clone()));
    }
    if let Some(pod) = pod
        && let Pilot::Ended { code, reason, .. } = &pod.pilot
    {
        return Some(match *code {
            FENCED => (
                FailureClass::Disrupted,
                "the agent loop lost its attempt to another session".to_owned(),
            ),
            code => (
                FailureClass::Internal,
                format!("the agent loop ended without a result (exit code {code}, {reason})"),
            ),
        });
    }
    if !started && let Some(why) = pod.and_then(|pod| pod.stuck.as_ref()) {
        return Some((FailureClass::StartFailed, why.clone()));
    }
    if !started
        && let Some(pull) = pod.and_then(|pod| pod.pull.as_ref())
        && draft.since(pull.since) >= PULL_PATIENCE
    {
        let text = format!(
            "{}; name an image in sandbox.image that the nodes can pull",
            pull.why
        );
        return Some((FailureClass::StartFailed, text));
    }
    match &job.ended {
        Some(JobEnd::Suspended) => {
            Some((FailureClass::Disrupted, "its Job was suspended".to_owned()))
        }
        Some(JobEnd::Failed { reason, message }) => match reason.as_str() {
            "DeadlineExceeded" if started => Some((FailureClass::Timeout, timeout_text(draft))),
            "DeadlineExceeded" => Some((
                FailureClass::StartFailed,
                "the pod did not start in time".to_owned(),
            )),
            "PodFailurePolicy" => Some((FailureClass::Disrupted, message.clone())),
            // The pod's own end says why, and is a moment behind or gone for good.
            _ if pod.is_none() => Some((
                FailureClass::Disrupted,
                format!("its pod was deleted ({reason})"),
            )),
            _ => None,
        },
        Some(JobEnd::Complete) if pod.is_none() => Some((
            FailureClass::Internal,
            "the agent loop ended without a result".to_owned(),
        )),
        Some(JobEnd::Complete) => None,
        // It was seen to run, and is gone: deleted, or its node is.
        None if started && pod.is_none() => {
            Some((FailureClass::Disrupted, "its pod was deleted".to_owned()))
        }
        None => None,
    }
}

/// The controller's own clock over an attempt that goes on; the Job's deadline is a backstop behind it.
fn deadlines(draft: &mut Draft<'_>, job: &JobFacts, pod: Option<&PodFacts>) {
    if let Some(started) = draft.status.attempt_started_at.as_ref().map(|time| time.0) {
        let ran = draft.since(started);
        let left = draft.left().saturating_sub(ran);
        if left.is_zero() {
            let report = draft.seen.report.as_ref();
            match report.and_then(|report| report.outcome.as_ref()) {
                Some(outcome) => {
                    draft.clock_stops(draft.seen.now);
                    draft.conclude(outcome);
                }
                None => {
                    let text = timeout_text(draft);
                    fenced(draft, FailureClass::Timeout, &text);
                }
            }
        } else {
            draft.look_in(left);
        }
        return;
    }
    let most = startup_timeout(draft);
    let from = match job.queue {
        Some(InQueue::Runs { since }) => Some(since),
        _ => job.created,
    };
    let waited = from.map_or(Duration::ZERO, |from| draft.since(from));
    let pull = pod.and_then(|pod| pod.pull.as_ref());
    let why = pull
        .map(|pull| pull.why.clone())
        .or_else(|| pod.and_then(|pod| pod.unschedulable.clone()));
    if waited >= most {
        let why = why.unwrap_or_else(|| match pod {
            Some(pod) => format!("see `kubectl describe pod {}`", pod.name),
            None => format!(
                "no pod was created; see `kubectl describe job {}`",
                job.name
            ),
        });
        let text = format!(
            "the pod did not start within {}: {why}",
            oarmaster_crds::GepDuration::from_duration(most)
        );
        fenced(draft, FailureClass::StartFailed, &text);
        return;
    }
    draft.look_in(most - waited);
    if let Some(pull) = pull {
        draft.look_in(PULL_PATIENCE.saturating_sub(draft.since(pull.since)));
    }
    if let Some(why) = why {
        draft.starting(&why);
    }
}

/// The attempt is over without its pilot's word: it is stopped at the gateway first.
fn fenced(draft: &mut Draft<'_>, class: FailureClass, why: &str) {
    let pilot = draft.seen.pod.as_ref().map(|pod| &pod.pilot);
    let at = pilot.map_or(draft.seen.now, |pilot| end_of(pilot, draft));
    draft.fence(why);
    draft.clock_stops(at);
    draft.attempt_failed(class, why);
}

fn end_of(pilot: &Pilot, draft: &Draft<'_>) -> jiff::Timestamp {
    match pilot {
        Pilot::Ended { finished, .. } => *finished,
        _ => draft.seen.now,
    }
}

/// The class says how long a pod may take to start; while it cannot be read, its default counts.
pub(super) fn startup_timeout(draft: &Draft<'_>) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(300);
    draft.seen.startup_timeout.unwrap_or(DEFAULT)
}

pub(super) fn timeout_text(draft: &Draft<'_>) -> String {
    format!(
        "the running time of {} is used up; raise spec.timeout in a new Task",
        draft.task.spec.timeout
    )
}
