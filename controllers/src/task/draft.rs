//! A plan in the making: the status that will be, and the few ways in which a Task may move on. Every status and condition of a Task is
//! set here and nowhere else.

use super::census;
use super::plan::{COALESCE, Doomed, Ended, MAX_DISRUPTIONS, Observed, Plan, Start};
use super::provenance;
use super::refs::{self, Resolved};
use super::requests::{self, Act};
use super::run;
use crate::kit::events::{Note, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::conditions::{self, reason, whole_second};
use oarmaster_crds::kinds::task::{
    ArtifactStatus, FailureStatus, JobRef, Phase, RetryClass, Usage, WorkspaceStatus,
};
use oarmaster_crds::{GepDuration, Task, TaskStatus, Usd, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{Fence, Over, TaskUsage};
use oarmaster_protocol::journal::{Checkpoint, Outcome};
use oarmaster_protocol::request::Waits;
use oarmaster_protocol::text::shorten;
use oarmaster_workflow::run::{Make, What};
use std::time::Duration;

/// How long a Task waits for room in a Budget.
const ROOM_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How often it is looked whether there is room, beside what is told.
const ROOM_LOOK: Duration = Duration::from_secs(30);

/// How often it is looked whether there is a place, beside being called.
const PLACE_LOOK: Duration = Duration::from_secs(30);

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub task: &'a Task,
    pub seen: &'a Observed,
    pub status: TaskStatus,
    pub start: Option<Box<Start>>,
    pub delete_task: bool,
    pub acts: Vec<Act>,
    pub run: run::Todo,
    release: Option<run::Release>,
    /// With whether the attempt still runs.
    fence: Option<(u32, String, bool)>,
    notes: Vec<Note>,
    ended: Option<Ended>,
    next: Option<Duration>,
    leaving: bool,
}

impl<'a> Draft<'a> {
    pub fn new(task: &'a Task, seen: &'a Observed) -> Self {
        let mut status = task.status.clone().unwrap_or_default();
        status.observed_generation = task.metadata.generation;
        status.target = Some(match (&task.spec.agent, &task.spec.run) {
            (Some(call), _) => call.target(census::agent(&status)),
            (None, Some(run)) => format!("run/{}", run.language()),
            (None, None) => match (&task.spec.workflow, &task.spec.goal) {
                (Some(workflow), _) => match &workflow.name {
                    Some(name) => format!("workflow/{name}"),
                    None => "workflow".to_owned(),
                },
                (None, Some(goal)) => format!("goal/{}", goal.planner.name),
                (None, None) => "none".to_owned(),
            },
        });
        Self {
            task,
            seen,
            status,
            start: None,
            delete_task: false,
            acts: Vec::new(),
            run: run::Todo::default(),
            release: None,
            fence: None,
            notes: Vec::new(),
            ended: None,
            next: None,
            leaving: false,
        }
    }

    /// The newest attempt.
    pub fn attempt(&self) -> Option<u32> {
        let number = self.status.attempt?;
        u32::try_from(number).ok().filter(|number| *number > 0)
    }

    /// Name of the current attempt's Job, while there is to be one.
    fn job_name(&self) -> Option<String> {
        let waiting = self.status.next_attempt_at.is_some();
        let over = conditions::is_true(&self.status.conditions, conditions::FINISHED);
        let number = self.attempt().filter(|_| !waiting && !over)?;
        Some(names::job_name(
            self.task.metadata.name.as_deref().unwrap_or_default(),
            self.task.metadata.uid.as_deref().unwrap_or_default(),
            number,
        ))
    }

    /// Time since an instant; zero if it is yet to come (clocks differ between nodes).
    pub fn since(&self, then: Timestamp) -> Duration {
        Duration::try_from(self.seen.now.duration_since(then)).unwrap_or_default()
    }

    /// Time until an instant; zero if it is past.
    pub fn until(&self, then: Timestamp) -> Duration {
        Duration::try_from(then.duration_since(self.seen.now)).unwrap_or_default()
    }

    /// Running time that is left before the newest attempt.
    pub fn left(&self) -> Duration {
        let timeout = self.task.spec.timeout.get().unwrap_or_default();
        timeout.saturating_sub(self.ran())
    }

    fn ran(&self) -> Duration {
        let ran = self.status.ran_for.as_ref();
        ran.and_then(|ran| ran.get().ok()).unwrap_or_default()
    }

    /// Look again after this time at the latest.
    pub fn look_in(&mut self, after: Duration) {
        self.next = Some(self.next.map_or(after, |next| next.min(after)));
    }

    /// Stops the current attempt at the gateway. Where the next one is waited for, there is none to stop, and only an end is told.
    pub fn fence(&mut self, why: &str) {
        if let Some(number) = self.attempt() {
            let runs = self.status.next_attempt_at.is_none();
            self.fence = Some((number, why.to_owned(), runs));
        }
    }

    /// The gateway's word that the Task had ended, where it did not end with an outcome of its pilot. The status is of before that: this process
    /// was stopped in between, or the cluster was restored.
    pub fn was_over(&self) -> Option<Over> {
        let report = self.seen.report.as_ref();
        let report = report.filter(|report| Some(report.attempt) == self.attempt())?;
        let succeeded = |outcome: &Outcome| outcome.failure.is_none();
        if report.outcome.as_ref().is_some_and(succeeded) {
            return None;
        }
        report.over.clone()
    }

    /// Ends the Task as the gateway says that it had ended.
    pub fn end_as(&mut self, over: &Over) {
        self.sync();
        if self.status.next_attempt_at.is_none() {
            self.clock_stops(self.seen.now);
        }
        match over.class {
            FailureClass::StateRegressed => self.regressed(&over.reason),
            class => self.fail(class, &over.reason),
        }
    }

    /// The Task had ended, and what the cluster holds is of before that.
    pub fn regressed(&mut self, why: &str) {
        let text = format!(
            "the gateway knows that the Task had ended ({why}); what the cluster knows of it is older, as after a restore from a backup. Create the Task anew if it is to run again"
        );
        self.fail(FailureClass::StateRegressed, &text);
    }

    /// The Task is being deleted: its status is nobody's business any more.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// Not taken on yet: something is missing.
    pub fn wait_for(&mut self, what: &str) {
        if self.attempt().is_none() {
            self.status.phase = Some(Phase::Pending);
            self.condition(
                conditions::ACCEPTED,
                Some(false),
                reason::REFS_NOT_RESOLVED,
                what,
            );
        }
        self.condition(
            conditions::READY,
            Some(false),
            reason::REFS_NOT_RESOLVED,
            what,
        );
        self.condition(conditions::FINISHED, Some(false), reason::PENDING, "");
    }

    /// Writes an attempt down.
    pub fn begin(&mut self, number: u32, resolved: &Resolved) {
        let again = self.attempt() == Some(number);
        self.status.phase = Some(Phase::Pending);
        self.status.attempt = Some(i64::from(number));
        self.status.next_attempt_at = None;
        self.status.attempt_started_at = None;
        self.status.job = None;
        if let Some(pinned) = &resolved.pinned {
            self.status.pinned = Some(pinned.clone());
        }
        self.status.provenance = Some(provenance::begins(
            resolved,
            self.status.provenance.as_ref(),
        ));
        self.condition(conditions::ACCEPTED, Some(true), reason::ACCEPTED, "");
        self.condition(conditions::FINISHED, Some(false), reason::STARTING, "");
        self.condition(
            conditions::BUDGET_AVAILABLE,
            Some(true),
            reason::WITHIN_BUDGET,
            "",
        );
        if resolved.sandbox.is_none() {
            let text = "the Task runs no code";
            self.condition(conditions::ISOLATED, Some(true), reason::NOT_NEEDED, text);
        }
        self.starting(&format!("attempt {number} is being started"));
        if let Some(call) = &self.task.spec.agent {
            self.status.target = Some(call.target(census::agent(&self.status)));
        }
        if let Some(why) = resolved.chosen.clone().filter(|_| !again) {
            self.note(Reason::AgentChosen, why);
        }
        if !again {
            self.note(Reason::Started, format!("attempt {number}"));
        }
    }

    /// A run is taken on: it has one attempt.
    pub fn take_on(&mut self) {
        self.status.attempt = Some(1);
        self.condition(conditions::ACCEPTED, Some(true), reason::ACCEPTED, "");
        let text = "its steps have sandboxes of their own";
        self.condition(conditions::ISOLATED, Some(true), reason::NOT_NEEDED, text);
        self.note(Reason::Started, "attempt 1".to_owned());
    }

    /// A run that has ended goes on.
    pub fn reopen(&mut self) {
        let number = self.attempt().unwrap_or_default().saturating_add(1);
        self.status.attempt = Some(i64::from(number));
        self.status.finished_at = None;
        self.status.failure = None;
        self.status.output = None;
        let ends = [
            conditions::COMPLETE,
            conditions::FAILED,
            conditions::STALLED,
        ];
        let list = &mut self.status.conditions;
        list.retain(|held| !ends.contains(&held.type_.as_str()));
        self.note(Reason::Started, format!("attempt {number}"));
        self.runs(Phase::Running, reason::RUNNING, "the run goes on");
        self.look_in(Duration::ZERO);
    }

    /// It does not, though somebody asked for it.
    pub fn stays(&mut self, what: &str, why: &str) {
        self.notes.push(Note {
            reason: Reason::RerunRefused,
            action: what.replace(' ', ""),
            message: why.to_owned(),
            warning: true,
        });
    }

    /// How a run stands.
    pub fn runs(&mut self, phase: Phase, reason: &str, message: &str) {
        if phase == Phase::Paused && self.status.phase != Some(Phase::Paused) {
            self.note(Reason::Paused, String::new());
        }
        self.status.phase = Some(phase);
        self.condition(conditions::READY, Some(false), reason, &cut(message));
        let finished = match phase {
            Phase::Paused => reason::PAUSED,
            Phase::Queued => reason::PENDING,
            _ => reason::RUNNING,
        };
        self.condition(conditions::FINISHED, Some(false), finished, "");
    }

    /// The attempt is being started; says what it waits for.
    pub fn starting(&mut self, what: &str) {
        self.condition(conditions::READY, Some(false), reason::STARTING, what);
    }

    /// Its Job, which waited in a queue, may have its pod.
    pub fn let_run(&mut self, number: u32) {
        if self.status.phase == Some(Phase::Queued) {
            self.status.phase = Some(Phase::Pending);
            self.condition(conditions::FINISHED, Some(false), reason::STARTING, "");
            self.starting(&format!("attempt {number} is being started"));
        }
    }

    /// The attempt runs: in the pod of this Job, or in a shared pilot.
    pub fn running(&mut self, number: u32, job: Option<JobRef>, since: Timestamp) {
        self.status.phase = Some(Phase::Running);
        self.status.job = job;
        if self.status.attempt_started_at.is_none() {
            self.status.attempt_started_at = Some(Time(whole_second(since)));
        }
        if self.status.started_at.is_none() {
            self.status.started_at = Some(Time(whole_second(since)));
        }
        let text = format!("attempt {number} runs");
        self.condition(conditions::READY, Some(false), reason::RUNNING, &text);
        self.condition(conditions::FINISHED, Some(false), reason::RUNNING, "");
    }

    /// The image that the sandbox of the attempt has.
    pub fn image(&mut self, image: Option<&str>) {
        if let (Some(image), Some(held)) = (image, &mut self.status.provenance) {
            held.image = Some(image.to_owned());
        }
    }

    /// Everything that the gateway's report adds to the status.
    pub fn sync(&mut self) {
        self.usage();
        let Some(report) = &self.seen.report else {
            return;
        };
        if let Some(score) = report.score {
            self.status.score = Some(score.to_string());
        }
        if let Some(isolated) = report.isolated.clone() {
            let reason = if isolated.proven {
                reason::PROVEN
            } else {
                reason::UNPROVEN
            };
            self.condition(
                conditions::ISOLATED,
                Some(isolated.proven),
                reason,
                &isolated.message,
            );
        }
    }

    /// What was used.
    pub fn usage(&mut self) {
        if let Some(report) = &self.seen.report
            && let Some(usage) = usage(&report.usage)
        {
            self.status.usage = Some(usage);
        }
    }

    /// The attempt's running time is over: adds it up.
    pub fn clock_stops(&mut self, at: Timestamp) {
        if let Some(started) = &self.status.attempt_started_at {
            let ran = Duration::try_from(at.duration_since(started.0)).unwrap_or_default();
            let total = self.ran().saturating_add(ran);
            self.status.ran_for = Some(GepDuration::from_duration(total));
        }
    }

    /// The attempt ended with this outcome of its pilot.
    pub fn conclude(&mut self, outcome: &Outcome) {
        self.status.output.clone_from(&outcome.output);
        self.status.artifacts = outcome
            .artifacts
            .iter()
            .map(|artifact| ArtifactStatus {
                name: artifact.name.clone(),
                size: i64::try_from(artifact.size).unwrap_or(i64::MAX),
                digest: artifact.digest.clone(),
                archive: artifact.archive,
            })
            .collect();
        // Files that were handed to it go back to whoever asked, and are nobody else's.
        let keep = self.task.spec.workspace.as_ref().is_some_and(|it| it.keep);
        self.status.workspace = match &outcome.workspace {
            Some(Checkpoint::Layer { blobs, .. }) if keep => Some(WorkspaceStatus {
                size: blobs.iter().fold(0, |sum: i64, blob| {
                    sum.saturating_add(i64::try_from(blob.size).unwrap_or(i64::MAX))
                }),
            }),
            _ => None,
        };
        match &outcome.failure {
            Some(failure) if failure.waits.is_some() => {
                self.parked(failure.waits.as_ref(), &failure.message);
            }
            Some(failure) => match self.spent_by_program(failure.class) {
                // The end of what a program printed may be long: what it spent stands before it.
                Some(spent) => {
                    let text = format!("{spent}; {}", failure.message);
                    self.attempt_failed(failure.class, &text);
                }
                None => self.attempt_failed(failure.class, &failure.message),
            },
            None => self.complete(),
        }
    }

    /// What the model calls of a program that failed have cost: a budget that is used up is a likely reason, which it may have kept to itself.
    fn spent_by_program(&self, class: FailureClass) -> Option<String> {
        self.task.spec.run.as_ref()?.pool.as_ref()?;
        let report = self.seen.report.as_ref()?;
        if class != FailureClass::ToolFailed {
            return None;
        }
        let spent = Usd::from_pico(report.usage.sum.cost_pico);
        let stated = self.task.spec.budget.as_ref();
        let budget = match stated.and_then(|budget| budget.usd.as_ref()) {
            Some(usd) => format!("spec.budget, ${usd}"),
            None => "the Task's budget".to_owned(),
        };
        Some(format!("its model calls took ${spent} of {budget}"))
    }

    /// The attempt failed: another one, now or later, or the end.
    pub fn attempt_failed(&mut self, class: FailureClass, message: &str) {
        let message = cut(message);
        if class == FailureClass::BudgetExceeded {
            self.condition(
                conditions::BUDGET_AVAILABLE,
                Some(false),
                reason::BUDGET_EXCEEDED,
                &message,
            );
        }
        let retries = self.status.retries.unwrap_or(0);
        let disruptions = self.status.disruptions.unwrap_or(0);
        if self.left().is_zero() && class != FailureClass::Timeout && self.may_retry(class) {
            let text = format!("the running time is used up; the last attempt: {message}");
            self.fail(FailureClass::Timeout, &text);
        } else if class == FailureClass::Disrupted && disruptions < MAX_DISRUPTIONS {
            self.status.disruptions = Some(disruptions + 1);
            self.again(Duration::ZERO, class, &message);
            self.warn_of(Reason::Disrupted, class);
        } else if class != FailureClass::Disrupted
            && self.may_retry(class)
            && retries < self.task.spec.retry.limit.clamp(0, 20)
        {
            self.status.retries = Some(retries + 1);
            let wait = self.back_off(retries);
            self.again(wait, class, &message);
            self.warn_of(Reason::Retrying, class);
        } else {
            self.fail(class, &message);
        }
    }

    /// What the attempt waited for did not come while it ran. It counts as no failure: the next one begins when it is there.
    fn parked(&mut self, waits: Option<&Waits>, message: &str) {
        if self.left().is_zero() {
            let text = format!("the running time is used up; the last attempt: {message}");
            self.fail(FailureClass::Timeout, &cut(&text));
            return;
        }
        self.status.next_attempt_at = Some(Time(whole_second(self.seen.now)));
        match (waits, requests::awaited(self)) {
            (Some(Waits::Request { .. }), Some((reason, text))) => {
                self.wait_for_answer(reason, &text);
            }
            // It came in this moment.
            (Some(Waits::Request { .. }), None) => {
                self.wait_for_answer(reason::STARTING, message);
                self.look_in(Duration::ZERO);
            }
            _ => {
                self.no_room(message);
                self.look_in(Duration::ZERO); // and asks the gateway whether there is room by now
            }
        }
    }

    /// The next attempt begins once there is an answer. Who gives it wakes the Task.
    pub fn wait_for_answer(&mut self, reason: &str, message: &str) {
        self.status.phase = Some(Phase::Waiting);
        self.condition(conditions::READY, Some(false), reason, &cut(message));
        self.condition(conditions::FINISHED, Some(false), reason::PENDING, "");
    }

    /// Something was made for a request.
    pub fn asked(&mut self, reason: Reason, kind: &str, name: &str) {
        self.notes.push(Note {
            reason,
            action: format!("Create{kind}"),
            message: format!("{kind} {name}"),
            warning: false,
        });
    }

    /// A plan is made, or taken.
    pub fn planned(&mut self, number: i64, message: &str) {
        // Each is told: events of a reason are told apart by their action.
        let nth = self.notes.len();
        let tries = self.status.plan.as_ref().map_or(0, |plan| plan.tries);
        self.notes.push(Note {
            reason: Reason::Planned,
            action: format!("Plan{number}Try{tries}Note{nth}"),
            message: message.to_owned(),
            warning: false,
        });
    }

    /// An object is made for a step.
    pub fn stepped(&mut self, made: &Make) {
        let (reason, kind) = match &made.what {
            What::Task(_) => (Reason::StepStarted, "Task"),
            What::Approval { .. } => (Reason::ApprovalAsked, "Approval"),
        };
        self.notes.push(Note {
            reason,
            // Each is told: events of a reason are told apart by their action.
            action: format!("Step{}", made.name),
            message: format!(
                "{}step {}{}: {kind} {}",
                if made.which.undo { "undo of " } else { "" },
                made.step,
                made.which
                    .item
                    .map_or_else(String::new, |item| format!("[{item}]")),
                made.name
            ),
            warning: false,
        });
    }

    /// An attempt would begin, and a Budget of the cluster has no room for its next call.
    pub fn wait_for_room(&mut self) {
        let Some(blocked) = &self.seen.blocked else {
            return;
        };
        let held = conditions::find(&self.status.conditions, conditions::BUDGET_AVAILABLE);
        let since = held
            .filter(|held| held.reason == reason::WINDOW_EXCEEDED)
            .map_or(self.seen.now, |held| held.last_transition_time.0);
        let waited = self.since(since);
        if waited >= ROOM_PATIENCE {
            let text = format!("waited 24 h for room in a Budget: {}", blocked.message);
            self.fail(FailureClass::BudgetExceeded, &cut(&text));
            return;
        }
        self.no_room(&blocked.message);
        let reset = blocked
            .resets_ms
            .and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let reset = reset.map_or(ROOM_LOOK, |reset| self.until(reset));
        // The gateway may see a raise later than we do.
        self.look_in(reset.clamp(Duration::from_secs(1), ROOM_LOOK));
        self.look_in(ROOM_PATIENCE.saturating_sub(waited));
    }

    /// An attempt would begin, and its agent, or its namespace, runs as many Tasks as it may.
    pub fn wait_for_place(&mut self) {
        let Some(busy) = self.seen.busy.clone() else {
            return;
        };
        self.queued(busy.reason, &busy.message);
        self.look_in(PLACE_LOOK); // who has a place wakes us; this is for what was missed
    }

    /// Its turn has not come.
    pub fn queued(&mut self, reason: &str, message: &str) {
        self.status.phase = Some(Phase::Queued);
        self.condition(conditions::ACCEPTED, Some(true), reason::ACCEPTED, "");
        self.condition(conditions::READY, Some(false), reason, &cut(message));
        self.condition(conditions::FINISHED, Some(false), reason::PENDING, "");
    }

    fn no_room(&mut self, message: &str) {
        let message = cut(message);
        self.status.phase = Some(Phase::Waiting);
        self.condition(conditions::ACCEPTED, Some(true), reason::ACCEPTED, "");
        for kind in [conditions::BUDGET_AVAILABLE, conditions::READY] {
            self.condition(kind, Some(false), reason::WINDOW_EXCEEDED, &message);
        }
        self.condition(conditions::FINISHED, Some(false), reason::PENDING, "");
    }

    /// Another attempt after `wait`. Its number is written when it begins, so that nothing of it can exist before.
    fn again(&mut self, wait: Duration, class: FailureClass, message: &str) {
        let at = self.seen.now.saturating_add(wait).unwrap_or(self.seen.now);
        let at = whole_second(at);
        self.status.phase = Some(Phase::Waiting);
        self.status.next_attempt_at = Some(Time(at));
        self.status.failure = Some(FailureStatus {
            class: class.as_str().to_owned(),
            message: message.to_owned(),
        });
        let text = format!("{class}: {message}");
        self.condition(conditions::READY, Some(false), reason::RETRYING, &text);
        self.condition(conditions::FINISHED, Some(false), reason::RETRYING, "");
        self.look_in(self.until(at));
    }

    fn may_retry(&self, class: FailureClass) -> bool {
        let named = |asked: &RetryClass| {
            let asked = match asked {
                RetryClass::ModelRefusal => FailureClass::ModelRefusal,
                RetryClass::ModelOutputInvalid => FailureClass::ModelOutputInvalid,
                RetryClass::ToolFailed => FailureClass::ToolFailed,
                RetryClass::OutOfMemory => FailureClass::OutOfMemory,
                RetryClass::LimitReached => FailureClass::LimitReached,
                RetryClass::StartFailed => FailureClass::StartFailed,
                RetryClass::IsolationUnproven => FailureClass::IsolationUnproven,
                RetryClass::NotAccepted => FailureClass::NotAccepted,
            };
            asked == class
        };
        class.is_transient() || self.task.spec.retry.on.iter().any(named)
    }

    /// The wait before the new attempt after `retries` earlier ones.
    /// With the part of a second that is cut from the time of the next attempt, so that no back-off is shorter than it says.
    fn back_off(&self, retries: i64) -> Duration {
        let spec = &self.task.spec.retry.backoff;
        let most = spec.max.get().unwrap_or(Duration::from_secs(300));
        let factor = u32::try_from(spec.factor.clamp(1, 10)).unwrap_or(2);
        let mut wait = spec.base.get().unwrap_or(Duration::from_secs(10));
        for _ in 0..retries {
            wait = wait.saturating_mul(factor).min(most);
        }
        wait.min(most)
            .saturating_add(Duration::from_nanos(999_999_999))
    }

    /// Another Task does the same now, whose outcome it takes. Who ends wakes it.
    pub fn wait_for_same(&mut self, other: &str) {
        self.status.phase = Some(Phase::Waiting);
        self.condition(conditions::ACCEPTED, Some(true), reason::ACCEPTED, "");
        let text = format!(
            "Task {other} does the same now (spec.memo), and this one takes its outcome; it does it itself if that one fails"
        );
        self.condition(
            conditions::READY,
            Some(false),
            reason::WAITING_FOR_TASK,
            &text,
        );
        self.condition(conditions::FINISHED, Some(false), reason::PENDING, "");
        self.look_in(PLACE_LOOK);
    }

    /// What it was asked for was done by another Task: it is complete with that one's outcome.
    pub fn take_over(&mut self, other: &str) {
        let text = format!("Task {other} did the same (spec.memo), and this one took its outcome");
        self.condition(conditions::ACCEPTED, Some(true), reason::ACCEPTED, "");
        self.condition(
            conditions::ISOLATED,
            Some(true),
            reason::NOT_NEEDED,
            "it ran nothing itself",
        );
        self.completed(&text, format!("the outcome of Task {other}"));
    }

    /// The Task is complete.
    pub fn complete(&mut self) {
        let attempt = self.attempt().unwrap_or_default();
        self.completed("", format!("attempt {attempt}"));
    }

    fn completed(&mut self, message: &str, note: String) {
        self.status.failure = None;
        self.end(Phase::Succeeded, "Complete");
        self.condition(conditions::READY, Some(true), reason::COMPLETE, message);
        self.condition(conditions::COMPLETE, Some(true), reason::COMPLETE, message);
        self.condition(conditions::FINISHED, Some(true), reason::COMPLETE, "");
        self.note(Reason::Completed, note);
    }

    /// The Task failed for good.
    pub fn fail(&mut self, class: FailureClass, message: &str) {
        let message = cut(message);
        self.status.failure = Some(FailureStatus {
            class: class.as_str().to_owned(),
            message: message.clone(),
        });
        self.end(Phase::Failed, class.as_str());
        self.condition(conditions::READY, Some(false), class.as_str(), &message);
        self.condition(conditions::STALLED, Some(true), reason::FAILED, &message);
        self.condition(conditions::FAILED, Some(true), class.as_str(), &message);
        self.condition(conditions::FINISHED, Some(true), reason::FAILED, "");
        self.warn_of(Reason::Failed, class);
    }

    /// What the Task asks for cannot be carried out. Before an attempt, it was never taken on.
    pub fn refuse(&mut self, class: FailureClass, message: &str) {
        if self.attempt().is_none() {
            let reason = match class {
                FailureClass::InvalidParams => reason::INVALID_PARAMS,
                FailureClass::RefusedByPolicy => reason::REFUSED_BY_CLASS,
                _ => reason::INVALID_SPEC,
            };
            self.condition(conditions::ACCEPTED, Some(false), reason, message);
        }
        self.fail(class, message);
    }

    /// Somebody stopped it until further notice: it has no attempt now, and the next one goes on from the journal.
    pub fn pause(&mut self) {
        if self.attempt().is_some() && self.status.next_attempt_at.is_none() {
            self.clock_stops(self.seen.now);
            self.status.attempt_started_at = None;
            self.status.next_attempt_at = Some(Time(whole_second(self.seen.now)));
        }
        if self.status.phase != Some(Phase::Paused) {
            self.note(Reason::Paused, String::new());
        }
        self.status.phase = Some(Phase::Paused);
        let text = "spec.state is Paused; set it to Running, and the Task goes on";
        self.condition(conditions::READY, Some(false), reason::PAUSED, text);
        self.condition(conditions::FINISHED, Some(false), reason::PAUSED, "");
    }

    /// Somebody stopped it.
    pub fn cancel(&mut self) {
        if self.status.next_attempt_at.is_none() {
            self.clock_stops(self.seen.now);
        }
        self.end(Phase::Cancelled, "Cancelled");
        let slot = self.status.steps.as_ref();
        let slot = slot.and_then(|steps| steps.slot.as_ref());
        let text = match slot.and_then(|slot| slot.replaced_by.as_ref()) {
            Some(newer) => {
                format!("the newer run {newer} took its place (concurrency.policy: Replace)")
            }
            None => "spec.state is Cancelled".to_owned(),
        };
        self.condition(conditions::READY, Some(false), reason::CANCELLED, &text);
        self.condition(conditions::STALLED, Some(true), reason::CANCELLED, &text);
        self.condition(conditions::FINISHED, Some(true), reason::CANCELLED, "");
        self.note(Reason::Cancelled, String::new());
    }

    /// What it did is undone.
    pub fn rolled_back(&mut self) {
        self.status.failure = None;
        self.end(Phase::RolledBack, "RolledBack");
        let text = "what was done is undone";
        self.condition(conditions::READY, Some(false), reason::ROLLED_BACK, text);
        self.condition(conditions::STALLED, Some(true), reason::ROLLED_BACK, text);
        self.condition(conditions::FINISHED, Some(true), reason::ROLLED_BACK, "");
        self.note(Reason::RolledBack, String::new());
    }

    fn end(&mut self, phase: Phase, outcome: &'static str) {
        self.status.phase = Some(phase);
        self.status.next_attempt_at = None;
        self.status.finished_at = Some(Time(whole_second(self.seen.now)));
        let created = self.task.metadata.creation_timestamp.as_ref();
        self.ended = Some(Ended {
            outcome,
            after: created.map_or(Duration::ZERO, |created| self.since(created.0)),
        });
        self.start = None;
        self.run.slot = None;
        let slot = self.status.steps.as_mut();
        if let Some(slot) = slot.and_then(|steps| steps.slot.as_mut())
            && let Some(name) = slot.lease.take()
        {
            let uid = slot.uid.take();
            self.release = Some(run::Release { name, uid });
        }
    }

    fn condition(&mut self, kind: &str, status: Option<bool>, reason: &str, message: &str) {
        let generation = self.task.metadata.generation;
        let now = whole_second(self.seen.now);
        let list = &mut self.status.conditions;
        conditions::set(list, kind, status, reason, message, generation, now);
    }

    fn note(&mut self, reason: Reason, message: String) {
        self.say(reason, message, false);
    }

    /// A failure. Its message may hold what a program printed or a model said, so it stays in the status.
    fn warn_of(&mut self, reason: Reason, class: FailureClass) {
        let text = match self.attempt() {
            Some(attempt) => format!("{class}: attempt {attempt}; see status.failure"),
            None => format!("{class}: see status.failure"),
        };
        self.say(reason, text, true);
    }

    fn say(&mut self, reason: Reason, message: String, warning: bool) {
        self.notes.push(Note {
            reason,
            action: format!("Attempt{}", self.attempt().unwrap_or_default()),
            message,
            warning,
        });
    }

    /// Whether the Task ends in this pass, and as what it fails if it is found to go on after it.
    fn ends(&self) -> Option<FailureClass> {
        let over = conditions::is_true(&self.status.conditions, conditions::FINISHED);
        if !over && !self.leaving {
            return None;
        }
        let failed = self.status.failure.as_ref();
        let failed = failed.filter(|_| self.status.phase == Some(Phase::Failed));
        let class = failed.and_then(|failure| FailureClass::named(&failure.class));
        Some(class.unwrap_or(FailureClass::StateRegressed))
    }

    /// The plan: what differs from what is.
    pub fn finish(mut self) -> Plan {
        let keep = self.job_name().filter(|_| !self.leaving);
        let delete_jobs = self
            .seen
            .jobs
            .iter()
            .filter(|job| !job.deleting && Some(&job.name) != keep.as_ref())
            .map(|job| Doomed {
                name: job.name.clone(),
                uid: job.uid.clone(),
            })
            .collect();
        let ends = self.ends();
        let fence = self.fence.take().and_then(|(attempt, reason, runs)| {
            (runs || ends.is_some()).then_some((attempt, Fence { reason, ends }))
        });
        let held = self.task.status.clone().unwrap_or_default();
        let run = self.task.spec.is_run() && self.seen.report.is_some();
        let raised = held.observed_generation.is_some()
            && held.observed_generation != self.task.metadata.generation
            && self.start.is_none()
            && (keep.is_some() || run);
        let budget = self
            .task
            .spec
            .budget
            .as_ref()
            .filter(|_| raised)
            .map(refs::in_pico);
        let status = if self.leaving || held == self.status || self.comes_later(&held) {
            None
        } else {
            Some(self.status)
        };
        Plan {
            fence,
            status,
            budget,
            requests: self.acts,
            run: self.run,
            release: self.release,
            start: self.start,
            delete_jobs,
            delete_task: self.delete_task,
            notes: self.notes,
            ended: self.ended,
            next: self.next,
        }
    }

    /// Whether the status only shows progress and the last write is too recent.
    fn comes_later(&mut self, held: &TaskStatus) -> bool {
        let mut progress = held.clone();
        progress.usage.clone_from(&self.status.usage);
        progress.conditions.clone_from(&self.status.conditions);
        if let (Some(held), Some(now)) = (&mut progress.steps, &self.status.steps)
            && held.active.len() == now.active.len()
        {
            for (held, now) in held.active.iter_mut().zip(&now.active) {
                held.phase = now.phase;
            }
        }
        let same = |kind: &str| {
            let of = |status: &TaskStatus| {
                conditions::find(&status.conditions, kind)
                    .map(|held| (held.status.clone(), held.reason.clone()))
            };
            of(held) == of(&self.status)
        };
        let only_progress = progress == self.status
            && [
                conditions::ACCEPTED,
                conditions::READY,
                conditions::FINISHED,
                conditions::FAILED,
            ]
            .into_iter()
            .all(same);
        let age = self.seen.written.map(|written| self.since(written));
        match age {
            Some(age) if only_progress && age < COALESCE => {
                self.look_in(COALESCE - age);
                true
            }
            _ => false,
        }
    }
}

/// What was used, for a status; nothing where that is nothing.
pub(super) fn usage(used: &TaskUsage) -> Option<Usage> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let sum = &used.sum;
    let nothing = used.calls == 0 && sum.cost_pico == 0 && sum.input_tokens == 0;
    (!nothing).then(|| Usage {
        calls: number(used.calls),
        input_tokens: number(sum.input_tokens),
        output_tokens: number(sum.output_tokens),
        cached_tokens: number(sum.cached_tokens),
        total_tokens: number(sum.input_tokens.saturating_add(sum.output_tokens)),
        usd: Usd::from_pico(sum.cost_pico).0,
        models: used.models.clone(),
    })
}

/// Messages are for people: at most 1,024 characters.
fn cut(message: &str) -> String {
    shorten(message, 1024)
}
