//! A small world in which plans are carried out: what the API server, the Job controller and the kubelet would hold.

use crate::class::plan::{Observed, Plan, missing_job, plan};
use crate::class::pod::{Ended, ProbePod};
use crate::task::pod::{JobEnd, JobFacts};
use jiff::{SignedDuration, Timestamp};
use oarmaster_crds::{SandboxClass, SandboxClassSpec, conditions, names};
use oarmaster_protocol::probe::{NetworkFindings, NodeFindings, Place};

pub struct Sim {
    pub class: SandboxClass,
    pub now: Timestamp,
    pub runtime_class: bool,
    pub runner: String,
    pub gateway_ip: Option<String>,
    pub uid_range: Option<String>,
    pub jobs: Vec<JobFacts>,
    pub pods: Vec<ProbePod>,
    /// A Job of this name is somebody else's.
    pub foreign: bool,
    pub created: Vec<String>,
    /// Writes to the API server.
    pub writes: usize,
    uids: u32,
}

/// What a probe finds where all is well.
pub fn good() -> NodeFindings {
    NodeFindings {
        landlock: 7,
        processes: Some(500),
        user_namespace: true,
        network: Some(NetworkFindings {
            reached: vec![Place::Kubelet],
            refused: vec![Place::ApiServer, Place::Pod],
        }),
    }
}

pub fn open() -> NodeFindings {
    NodeFindings {
        network: Some(NetworkFindings {
            reached: vec![Place::ApiServer],
            refused: vec![Place::Internet],
        }),
        ..good()
    }
}

impl Sim {
    pub fn new(spec: SandboxClassSpec) -> Self {
        let mut class = SandboxClass::new("default", spec);
        class.metadata.uid = Some("uid-c".to_owned());
        class.metadata.generation = Some(1);
        Self {
            class,
            now: Timestamp::from_second(1_763_730_000).unwrap(),
            runtime_class: false,
            runner: "runner:1".to_owned(),
            gateway_ip: Some("10.96.7.7".to_owned()),
            uid_range: None,
            jobs: Vec::new(),
            pods: Vec::new(),
            foreign: false,
            created: Vec::new(),
            writes: 0,
            uids: 0,
        }
    }

    pub fn observe(&self) -> Observed {
        let mut seen = Observed {
            now: self.now,
            runtime_class: self.runtime_class,
            runner: self.runner.clone(),
            gateway_ip: self.gateway_ip.clone(),
            uid_range: self.uid_range.clone(),
            jobs: self.jobs.clone(),
            foreign_job: false,
            pods: self.pods.clone(),
        };
        seen.foreign_job = self.foreign && missing_job(&self.class, &seen).is_some();
        seen
    }

    /// One pass, carried out.
    pub fn pass(&mut self) -> Plan {
        let todo = plan(&self.class, &self.observe());
        if let Some(start) = &todo.start {
            self.uids += 1;
            self.created.push(start.job.clone());
            self.jobs.push(JobFacts {
                name: start.job.clone(),
                uid: format!("uid-{}", self.uids),
                owner_uid: "uid-c".to_owned(),
                created: Some(self.now),
                deleting: false,
                ended: None,
                queue: None,
            });
            self.writes += 1;
        }
        if let Some(status) = &todo.status {
            self.class.status = Some(status.clone());
            self.writes += 1;
        }
        for doomed in &todo.delete_jobs {
            self.jobs.retain(|job| job.uid != doomed.uid);
            self.pods.retain(|pod| pod.job_uid != doomed.uid);
            self.writes += 1;
        }
        todo
    }

    /// Passes until one does nothing; more than a few would be a loop.
    pub fn settle(&mut self) {
        for _ in 0..5 {
            let before = self.writes;
            self.pass();
            if self.writes == before {
                return;
            }
        }
        panic!("not settled: {:#?}", plan(&self.class, &self.observe()));
    }

    pub fn pod(&mut self) -> &mut ProbePod {
        let job_uid = self.jobs.last().unwrap().uid.clone();
        self.pods.push(ProbePod {
            job_uid,
            created: Some(self.now),
            node: Some("n1".to_owned()),
            started: false,
            hindrance: None,
            ended: None,
        });
        self.pods.last_mut().unwrap()
    }

    /// The newest probe runs to this result.
    pub fn finds(&mut self, found: &NodeFindings) {
        let message = serde_json::to_string(found).unwrap();
        self.ends(0, &message);
    }

    pub fn ends(&mut self, code: i32, message: &str) {
        let pod = self.pod();
        pod.started = true;
        pod.ended = Some(Ended {
            code,
            reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
            message: message.to_owned(),
        });
    }

    pub fn job_ends(&mut self, ended: JobEnd) {
        self.jobs.last_mut().unwrap().ended = Some(ended);
    }

    pub fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub fn changed(&mut self, change: impl FnOnce(&mut SandboxClassSpec)) {
        change(&mut self.class.spec);
        self.class.metadata.generation = self.class.metadata.generation.map(|held| held + 1);
    }

    pub fn ask(&mut self, value: &str) {
        let held = self.class.metadata.annotations.get_or_insert_default();
        held.insert(names::PROBE_ANNOTATION.to_owned(), value.to_owned());
    }

    /// Status and reason of a condition.
    pub fn says(&self, kind: &str) -> (String, String) {
        let status = self.class.status.as_ref().unwrap();
        let held = conditions::find(&status.conditions, kind).unwrap();
        (held.status.clone(), held.reason.clone())
    }

    pub fn text(&self, kind: &str) -> String {
        let status = self.class.status.as_ref().unwrap();
        conditions::find(&status.conditions, kind)
            .unwrap()
            .message
            .clone()
    }
}
