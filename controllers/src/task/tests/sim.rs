//! A small world in which plans are carried out: what the API server, the Job controller, the kubelet and the gateway would hold.

use crate::task::hire::{Busy, Hired};
use crate::task::memo::Memo;
use crate::task::plan::{Observed, Plan, plan};
use crate::task::pod::{InQueue, JobEnd, JobFacts, Pilot, PodFacts};
use crate::task::refs::{self, Looked, Refs};
use crate::task::requests::{Act, Made};
use crate::task::select::Choice;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_crds::{Agent, Approval, ModelPool, SandboxClass, Task, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{AttemptReport, Blocked, Fence, Over, RunsIn, TaskUsage};
use oarmaster_protocol::journal::{Failure, Outcome};
use oarmaster_protocol::request::{Ask, OpenRequest, Reply, Waits};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub struct Sim {
    pub task: Task,
    pub agent: Option<Agent>,
    /// The Task that it continues, or whose files it has, where there is one.
    pub earlier: Option<Task>,
    pub pool: Option<ModelPool>,
    pub class: Option<SandboxClass>,
    pub config_maps: BTreeMap<String, BTreeMap<String, String>>,
    pub uid_range: Option<String>,
    pub now: Timestamp,
    pub jobs: Vec<JobFacts>,
    pub pod: Option<PodFacts>,
    pub gateway: BTreeMap<u32, AttemptReport>,
    pub service_account: bool,
    pub gateway_ip: bool,
    pub deleted: bool,
    /// Writes to the API server, events apart.
    pub writes: usize,
    pub created: Vec<String>,
    /// What a Budget says that has no room.
    pub blocked: Option<Blocked>,
    /// How an agent was chosen.
    pub choice: Option<Result<Choice, String>>,
    /// What has no place.
    pub busy: Option<Busy>,
    /// Who else does the same.
    pub memo: Option<Memo>,
    /// Messages of the events.
    pub told: Vec<String>,
    pub raised: usize,
    /// What was made for requests.
    pub made: Made,
    /// What the gateway was told, by request.
    pub answers: BTreeMap<String, Reply>,
    written: Option<Timestamp>,
    uids: u32,
    ran: BTreeSet<String>,
}

pub fn start() -> Timestamp {
    Timestamp::from_second(1_763_730_000).unwrap()
}

fn object<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub fn ready_condition() -> serde_json::Value {
    json!([{ "type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z" }])
}

impl Sim {
    /// An agent Task with everything that it names in place. `spec` is merged over its spec.
    pub fn new(spec: serde_json::Value) -> Self {
        let mut base = json!({
            "agent": { "name": "coder" },
            "params": { "prompt": "do it" },
        });
        for (key, value) in spec.as_object().unwrap() {
            if value.is_null() {
                base.as_object_mut().unwrap().remove(key);
            } else {
                base[key] = value.clone();
            }
        }
        Self {
            task: object(json!({
                "apiVersion": "oarmaster.dev/v1alpha1",
                "kind": "Task",
                "metadata": {
                    "name": "fix", "namespace": "team", "uid": "uid-1", "generation": 1,
                    "creationTimestamp": start().to_string(), "resourceVersion": "1",
                },
                "spec": base,
            })),
            earlier: None,
            agent: Some(object(json!({
                "apiVersion": "oarmaster.dev/v1alpha1",
                "kind": "Agent",
                "metadata": { "name": "coder", "namespace": "team", "uid": "uid-a", "generation": 1 },
                "spec": { "instructions": "be careful", "tools": [{ "builtin": "Shell" }] },
            }))),
            pool: Some(object(json!({
                "apiVersion": "oarmaster.dev/v1alpha1",
                "kind": "ModelPool",
                "metadata": { "name": "default", "namespace": "oarmaster-system" },
                "spec": { "members": [{ "provider": { "name": "p" }, "model": "m" }] },
                "status": { "conditions": ready_condition() },
            }))),
            class: Some(object(json!({
                "apiVersion": "oarmaster.dev/v1alpha1",
                "kind": "SandboxClass",
                "metadata": { "name": "default" },
                "spec": {},
                "status": { "conditions": ready_condition() },
            }))),
            config_maps: BTreeMap::new(),
            uid_range: None,
            now: start(),
            jobs: Vec::new(),
            pod: None,
            gateway: BTreeMap::new(),
            service_account: false,
            gateway_ip: true,
            deleted: false,
            writes: 0,
            created: Vec::new(),
            blocked: None,
            choice: None,
            busy: None,
            memo: None,
            told: Vec::new(),
            raised: 0,
            made: Made::default(),
            answers: BTreeMap::new(),
            written: None,
            uids: 0,
            ran: BTreeSet::new(),
        }
    }

    /// `earlier`, under the name of each Task that this one begins with.
    fn awaited(&self) -> BTreeMap<String, Arc<Task>> {
        let mut awaited = BTreeMap::new();
        if let Some(found) = &self.earlier {
            for named in self.task.spec.awaited() {
                awaited.insert(named.name.clone(), Arc::new(found.clone()));
            }
        }
        awaited
    }

    pub fn observe(&self) -> Observed {
        let status = self.task.status.clone().unwrap_or_default();
        let finished = self.finished();
        let attempt = status.attempt.map(|number| u32::try_from(number).unwrap());
        let waiting = status.next_attempt_at.is_some();
        let name = attempt
            .filter(|_| !finished && !waiting)
            .map(|number| names::job_name("fix", "uid-1", number));
        let job = self
            .jobs
            .iter()
            .find(|job| Some(&job.name) == name.as_ref());
        let due = status
            .next_attempt_at
            .as_ref()
            .is_none_or(|at| at.0 <= self.now);
        let begins = !finished && self.task.spec.state == DesiredState::Running;
        let looked = Looked {
            hired: Hired {
                agent: self.agent.clone().map(Arc::new),
                choice: self.choice.clone(),
            },
            awaited: self.awaited(),
            pool: self.pool.clone().map(Arc::new),
            class: self.class.clone().map(Arc::new),
            uid_range: self.uid_range.clone(),
            config_maps: self
                .task
                .spec
                .files
                .iter()
                .filter_map(|file| file.config_map.as_ref())
                .map(|named| {
                    (
                        named.name.clone(),
                        self.config_maps.get(&named.name).cloned(),
                    )
                })
                .collect(),
        };
        let report = attempt.and_then(|number| self.gateway.get(&number).cloned());
        let shared = name.is_some()
            && report
                .as_ref()
                .is_some_and(|report| report.runs_in == RunsIn::Shared);
        Observed {
            now: self.now,
            refs: if !begins || !due || job.is_some() || shared {
                Refs::NotLooked
            } else if refs::first(&self.task) && report.is_none() {
                refs::resolve_first(&self.task, &looked)
            } else {
                refs::resolve_again(&self.task, &looked)
            },
            jobs: self.jobs.clone(),
            foreign_job: false,
            pod: job.and_then(|job| PodFacts::pick(&self.pod, &job.uid)),
            report,
            service_account: self.service_account,
            gateway_ip: self.gateway_ip.then(|| "10.96.0.7".to_owned()),
            startup_timeout: self
                .class
                .as_ref()
                .and_then(|class| class.spec.startup_timeout.get().ok()),
            blocked: self.blocked.clone(),
            made: self.made.clone(),
            run: None,
            busy: self.busy.clone(),
            memo: self.memo.clone(),
            written: self.written,
        }
    }

    /// One pass: plans, checks what must hold of every plan, and carries it out.
    pub fn pass(&mut self) -> Plan {
        let was_finished = self.finished();
        let before = self.task.status.clone().unwrap_or_default();
        let plan = plan(&self.task, &self.observe());
        if let Some((attempt, fence)) = &plan.fence {
            self.stopped(*attempt, fence);
        }
        if let Some(status) = plan.status.clone() {
            assert!(
                status.attempt.unwrap_or(0) >= before.attempt.unwrap_or(0),
                "attempts only grow"
            );
            assert!(
                status.attempt.unwrap_or(0) <= before.attempt.unwrap_or(0) + 1,
                "attempts grow by one"
            );
            if was_finished {
                assert_eq!(status.phase, before.phase, "an end is final");
            }
            self.task.status = Some(status);
            self.writes += 1;
            self.written = Some(self.now);
        }
        if plan.budget.is_some() {
            self.raised += 1;
        }
        for act in &plan.requests {
            self.carry_out(act);
        }
        if let Some(start) = &plan.start {
            let status = self.task.status.as_ref().unwrap();
            assert_eq!(
                status.attempt,
                Some(i64::from(start.attempt)),
                "an attempt is written down before it is opened"
            );
            for (number, report) in &mut self.gateway {
                if *number < start.attempt {
                    report.fenced = true;
                }
            }
            let open = self.gateway.last_key_value();
            let open = open.map(|(_, report)| report.requests.clone());
            self.gateway
                .entry(start.attempt)
                .or_insert_with(|| AttemptReport {
                    task: crate::task::assignment::task_ref(&self.task),
                    attempt: start.attempt,
                    assignment: "sha256:0".to_owned(),
                    pinned: None,
                    runs_in: if start.shared {
                        RunsIn::Shared
                    } else {
                        RunsIn::Job(start.job.clone())
                    },
                    opened_at_ms: self.now.as_millisecond(),
                    claimed_at_ms: None,
                    fenced: false,
                    over: None,
                    isolated: None,
                    outcome: None,
                    below: TaskUsage::default(),
                    usage: TaskUsage::default(),
                    score: None,
                    requests: open.unwrap_or_default(),
                    next: 1,
                });
            if start.service_account {
                self.service_account = true;
                self.writes += 1;
            }
            let report = &self.gateway[&start.attempt];
            let known = report.fenced || report.outcome.is_some();
            if !start.shared && !known && !self.jobs.iter().any(|job| job.name == start.job) {
                assert!(
                    !self.ran.contains(&start.job),
                    "an attempt that ran gets no second Job"
                );
                self.uids += 1;
                self.created.push(start.job.clone());
                self.jobs.push(JobFacts {
                    name: start.job.clone(),
                    uid: format!("job-{}", self.uids),
                    owner_uid: "uid-1".to_owned(),
                    created: Some(self.now),
                    deleting: false,
                    ended: None,
                    queue: self.task.spec.queue.as_ref().map(|_| InQueue::Waits),
                });
                self.writes += 1;
            }
        }
        for doomed in &plan.delete_jobs {
            self.jobs.retain(|job| job.uid != doomed.uid);
            self.writes += 1;
            if self
                .pod
                .as_ref()
                .is_some_and(|pod| pod.job_uid == doomed.uid)
            {
                self.pod = None;
            }
        }
        if plan.delete_task {
            self.deleted = true;
        }
        let told = plan.notes.iter().map(|note| note.message.clone());
        self.told.extend(told);
        plan
    }

    /// The gateway is told to stop an attempt.
    pub fn stopped(&mut self, attempt: u32, fence: &Fence) {
        let newest = self.gateway.last_key_value().map(|(newest, _)| *newest);
        let Some(report) = self.gateway.get_mut(&attempt) else {
            return;
        };
        let outcome = report.outcome.as_ref();
        let failed = outcome.is_none_or(|outcome| outcome.failure.is_some());
        report.fenced |= report.outcome.is_none();
        if let Some(class) = fence.ends
            && newest == Some(attempt)
            && failed
        {
            let reason = fence.reason.clone();
            report.over.get_or_insert(Over { class, reason });
        }
    }

    /// Passes until nothing is to be done; more than a few are a hot loop.
    pub fn settle(&mut self) {
        for _ in 0..6 {
            if idle(&self.pass()) {
                return;
            }
        }
        panic!("no rest: {:?}", self.pass());
    }

    pub fn finished(&self) -> bool {
        self.task
            .status
            .as_ref()
            .is_some_and(|status| conditions::is_true(&status.conditions, conditions::FINISHED))
    }

    pub fn phase(&self) -> Phase {
        self.task.status.as_ref().unwrap().phase.unwrap()
    }

    pub fn failure(&self) -> String {
        let status = self.task.status.as_ref().unwrap();
        status.failure.as_ref().unwrap().class.clone()
    }

    pub fn condition(&self, kind: &str) -> (String, String, String) {
        let status = self.task.status.as_ref().unwrap();
        let held =
            conditions::find(&status.conditions, kind).unwrap_or_else(|| panic!("no {kind}"));
        (
            held.status.clone(),
            held.reason.clone(),
            held.message.clone(),
        )
    }

    pub fn attempt(&self) -> u32 {
        let status = self.task.status.as_ref();
        u32::try_from(status.and_then(|status| status.attempt).unwrap_or(0)).unwrap()
    }

    pub fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    // What happens in the cluster.

    fn job(&self) -> Option<&JobFacts> {
        let name = names::job_name("fix", "uid-1", self.attempt());
        self.jobs.iter().find(|job| job.name == name)
    }

    /// The Job controller makes the pod.
    pub fn pod_created(&mut self) {
        let runs = |job: &&JobFacts| job.ended.is_none() && job.queue != Some(InQueue::Waits);
        if let Some(job) = self.job().filter(runs)
            && self.pod.as_ref().is_none_or(|pod| pod.job_uid != job.uid)
        {
            self.pod = Some(PodFacts {
                name: format!("{}-x", job.name),
                job_uid: job.uid.clone(),
                created: Some(self.now),
                image: Some("docker.io/library/python@sha256:1".to_owned()),
                pilot: Pilot::NotStarted,
                stuck: None,
                pull: None,
                unschedulable: None,
                disrupted: None,
            });
        }
    }

    /// Kueue lets the Job run.
    pub fn let_run(&mut self) {
        let name = names::job_name("fix", "uid-1", self.attempt());
        let now = self.now;
        let job = self.jobs.iter_mut().find(|job| job.name == name);
        let job = job.expect("no Job");
        (job.ended, job.queue) = (None, Some(InQueue::Runs { since: now }));
    }

    /// Kueue suspends it again: its pod is deleted.
    pub fn evicted(&mut self) {
        let name = names::job_name("fix", "uid-1", self.attempt());
        let job = self.jobs.iter_mut().find(|job| job.name == name);
        let job = job.expect("no Job");
        (job.ended, job.queue) = (Some(JobEnd::Suspended), Some(InQueue::Waits));
        self.pod = None;
    }

    /// Whether shared pilots run the attempt.
    fn shared(&self) -> bool {
        let report = self.gateway.get(&self.attempt());
        report.is_some_and(|report| report.runs_in == RunsIn::Shared)
    }

    fn claims(&mut self) {
        let (attempt, now) = (self.attempt(), self.now.as_millisecond());
        if let Some(report) = self.gateway.get_mut(&attempt) {
            report.claimed_at_ms.get_or_insert(now);
        }
    }

    /// The pilot starts and claims.
    pub fn pilot_starts(&mut self) {
        if self.shared() {
            self.claims();
            return;
        }
        self.pod_created();
        let attempt = self.attempt();
        let now = self.now;
        if let Some(pod) = self
            .pod
            .as_mut()
            .filter(|pod| pod.pilot == Pilot::NotStarted && pod.disrupted.is_none())
        {
            pod.pilot = Pilot::Running { since: now };
            self.claims();
            let name = names::job_name("fix", "uid-1", attempt);
            self.ran.insert(name);
        }
    }

    /// The pilot hands in its result, if it may.
    pub fn hands_in(&mut self, failure: Option<(FailureClass, &str)>) {
        let running = self
            .pod
            .as_ref()
            .is_some_and(|pod| matches!(pod.pilot, Pilot::Running { .. }));
        let shared = self.shared();
        let attempt = self.attempt();
        if let Some(report) = self.gateway.get_mut(&attempt)
            && (running || (shared && report.claimed_at_ms.is_some()))
            && !report.fenced
            && report.outcome.is_none()
        {
            report.outcome = Some(Outcome {
                failure: failure.map(|(class, message)| Failure {
                    class,
                    message: message.to_owned(),
                    waits: None,
                }),
                output: failure
                    .is_none()
                    .then(|| json!({ "text": "done", "nothing": null })),
                ..Outcome::default()
            });
        }
    }

    /// The pilot ends, and its Job with it.
    pub fn pilot_ends(&mut self, code: i32) {
        let now = self.now;
        if let Some(pod) = self.pod.as_mut()
            && let Pilot::Running { since } = pod.pilot
        {
            pod.pilot = Pilot::Ended {
                started: since,
                finished: now,
                code,
                reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
            };
        }
    }

    pub fn succeeds(&mut self) {
        self.pilot_starts();
        self.hands_in(None);
        self.pilot_ends(0);
    }

    pub fn fails(&mut self, class: FailureClass) {
        self.pilot_starts();
        self.hands_in(Some((class, "it did not work")));
        self.pilot_ends(1);
    }

    /// The pilot gives up its pod, since a Budget has no room.
    pub fn finds_no_room(&mut self, message: &str) {
        self.fails(FailureClass::BudgetExceeded);
        let attempt = self.attempt();
        let outcome = self.gateway.get_mut(&attempt).unwrap().outcome.as_mut();
        outcome.unwrap().failure = Some(Failure {
            class: FailureClass::BudgetExceeded,
            message: message.to_owned(),
            waits: Some(Waits::Budget),
        });
    }

    /// The pilot asks.
    pub fn asks(&mut self, what: Ask) -> String {
        let id = what.id(1);
        let (attempt, at_ms) = (self.attempt(), self.now.as_millisecond());
        let report = self.gateway.get_mut(&attempt).unwrap();
        report.requests.push(OpenRequest {
            id: id.clone(),
            at_ms,
            what,
        });
        id
    }

    /// The pilot gives up its pod, since an answer does not come.
    pub fn parks(&mut self, id: &str) {
        self.fails(FailureClass::StepFailed);
        let attempt = self.attempt();
        let outcome = self.gateway.get_mut(&attempt).unwrap().outcome.as_mut();
        outcome.unwrap().failure = Some(Failure {
            class: FailureClass::StepFailed,
            message: "waits".to_owned(),
            waits: Some(Waits::Request { id: id.to_owned() }),
        });
    }

    /// The API server and the gateway take what a plan makes of requests; objects get a UID, and none is made twice.
    fn carry_out(&mut self, act: &Act) {
        match act {
            Act::MakeTask { task, .. } => {
                let name = task.metadata.name.clone().unwrap();
                self.uids += 1;
                let mut made: Task = task.as_ref().clone();
                made.metadata.uid = Some(format!("child-{}", self.uids));
                assert!(self.made.tasks.insert(name, Arc::new(made)).is_none());
                self.writes += 1;
            }
            Act::MakeApproval { approval, .. } => {
                let name = approval.metadata.name.clone().unwrap();
                self.uids += 1;
                let mut made: Approval = approval.as_ref().clone();
                made.metadata.uid = Some(format!("approval-{}", self.uids));
                assert!(self.made.approvals.insert(name, Arc::new(made)).is_none());
                self.writes += 1;
            }
            Act::Answer { id, answer } => {
                let first = self.answers.insert(id.clone(), answer.clone());
                assert!(first.is_none(), "{id} is answered twice");
                for report in self.gateway.values_mut() {
                    report.requests.retain(|request| request.id != *id);
                }
            }
            Act::Cancel { name } => {
                let child = self.made.tasks.get_mut(name).unwrap();
                Arc::make_mut(child).spec.state = DesiredState::Cancelled;
                self.writes += 1;
            }
        }
    }

    pub fn job_ends(&mut self, reason: &str) {
        let name = names::job_name("fix", "uid-1", self.attempt());
        if let Some(job) = self.jobs.iter_mut().find(|job| job.name == name) {
            job.ended = Some(if reason == "Suspended" {
                JobEnd::Suspended
            } else {
                JobEnd::Failed {
                    reason: reason.to_owned(),
                    message: "said the Job controller".to_owned(),
                }
            });
        }
    }

    pub fn job_deleted(&mut self) {
        let name = names::job_name("fix", "uid-1", self.attempt());
        self.jobs.retain(|job| job.name != name);
        self.pod = None;
    }

    pub fn state(&mut self, state: DesiredState) {
        self.task.spec.state = state;
        let generation = self.task.metadata.generation.unwrap_or(1);
        self.task.metadata.generation = Some(generation + 1);
    }

    pub fn cancel(&mut self) {
        self.task.spec.state = DesiredState::Cancelled;
        self.task.metadata.generation = Some(2);
    }

    /// Time passes until the Task ends, and nothing else happens but that pods come and hang.
    pub fn run_out(&mut self) {
        for _ in 0..200 {
            self.settle();
            if self.finished() {
                return;
            }
            self.pilot_starts();
            self.settle();
            self.later(3600);
        }
        panic!("the Task does not end: {:?}", self.task.status);
    }
}

/// Whether a plan changes nothing.
pub fn idle(plan: &Plan) -> bool {
    let Plan {
        fence,
        status,
        budget,
        requests,
        run,
        release,
        start,
        delete_jobs,
        delete_task,
        notes,
        ended,
        next,
    } = plan;
    fence.is_none()
        && status.is_none()
        && budget.is_none()
        && requests.is_empty()
        && *run == crate::task::run::Todo::default()
        && release.is_none()
        && start.is_none()
        && delete_jobs.is_empty()
        && !delete_task
        && notes.is_empty()
        && ended.is_none()
        && *next != Some(Duration::ZERO)
}

/// An end, by its conditions.
pub fn assert_end(sim: &Sim, phase: Phase, ready_reason: &str) {
    assert_eq!(sim.phase(), phase);
    assert_eq!(sim.condition(conditions::FINISHED).0, "True");
    let (ready, why, _) = sim.condition(conditions::READY);
    assert_eq!(why, ready_reason);
    let complete = phase == Phase::Succeeded;
    assert_eq!(ready, if complete { "True" } else { "False" });
    let status = sim.task.status.as_ref().unwrap();
    let stalled = conditions::is_true(&status.conditions, conditions::STALLED);
    assert_eq!(stalled, !complete);
    if stalled {
        let expected = if phase == Phase::Failed {
            reason::FAILED
        } else {
            reason::CANCELLED
        };
        assert_eq!(sim.condition(conditions::STALLED).1, expected);
    }
    assert!(status.finished_at.is_some());
    assert_eq!(status.observed_generation, sim.task.metadata.generation);
    assert!(sim.jobs.is_empty(), "the Job is deleted");
    let _: Option<Time> = status.started_at.clone();
}
