//! What one pass over a SandboxClass will do: pure.
//!
//! The order in which `act` carries a [`Plan`] out is part of it: the Job, status, deletion of Jobs. So a Job is there until what it found
//! is written down, and its name alone says whether it was made already.

use super::pod::ProbePod;
use crate::kit::events::Note;
use crate::kit::ready;
use crate::task::plan::Doomed;
use crate::task::pod::{JobEnd, JobFacts};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::kinds::class::{Isolation, LandlockStatus, PidsStatus, ProbeStatus};
use oarmaster_crds::validate::{self, summary};
use oarmaster_crds::{GepDuration, SandboxClass, SandboxClassStatus, UserIds, names};
use oarmaster_protocol::probe::NodeFindings;
use std::time::Duration;

/// How long the gateway may take to answer a probe: at the first install it starts at the same time.
pub const GATEWAY_PATIENCE: Duration = Duration::from_secs(300);
/// How long to wait before a Job that was refused is tried again: what is in the way (a quota, a policy) is mended by people.
const AGAIN: Duration = Duration::from_secs(60);

/// The first Landlock that knows TCP; the supervisor demands it for egress.
const EGRESS_LANDLOCK: i64 = 4;

/// Of a probe with nothing in its way.
const UNDER_WAY: &str = "the probe is under way";

/// Everything the planner may look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The clock.
    pub now: Timestamp,
    /// Whether the RuntimeClass that is named exists.
    pub runtime_class: bool,
    /// Image of the runner.
    pub runner: String,
    /// The gateway's cluster IP, once its Service has one.
    pub gateway_ip: Option<String>,
    /// The user ids that the namespace of the installation may have, where it has a range of them.
    pub uid_range: Option<String>,
    /// Every probe Job that the class owns.
    pub jobs: Vec<JobFacts>,
    /// A Job under the name of the probe that is not the class's.
    pub foreign_job: bool,
    /// The pods of these Jobs.
    pub pods: Vec<ProbePod>,
}

/// Everything one pass will do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Start a probe.
    pub start: Option<Start>,
    /// Write this status.
    pub status: Option<SandboxClassStatus>,
    /// Delete these Jobs.
    pub delete_jobs: Vec<Doomed>,
    /// Say this to people.
    pub notes: Vec<Note>,
    /// When to look again, if nothing happens before.
    pub next: Option<Duration>,
}

/// A probe to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Name of its Job.
    pub job: String,
    /// The gateway's cluster IP.
    pub gateway_ip: String,
    /// The user id of its process.
    pub user: i64,
}

/// How far the probe is.
enum Progress {
    /// It is to be started.
    Start(Start),
    /// It waits or runs; this is in its way, and this is when to look again.
    Waits(String, Option<Duration>),
    /// It ended without a result.
    Failed(String),
    /// It ended with one, on this node.
    Found(NodeFindings, Option<String>),
}

/// Plans one pass.
#[must_use]
pub fn plan(class: &SandboxClass, seen: &Observed) -> Plan {
    pass(class, seen, None)
}

/// Plans the rest of a pass whose probe the API server did not take.
#[must_use]
pub fn hindered(class: &SandboxClass, seen: &Observed, why: &str) -> Plan {
    pass(class, seen, Some(why))
}

/// The name of the probe's Job, if it is needed and was not seen.
#[must_use]
pub fn missing_job(class: &SandboxClass, seen: &Observed) -> Option<String> {
    let wanted = wanted(class, &seen.runner);
    let needed = can_be_probed(class, seen) && !probed(class.status.as_ref(), &wanted);
    let held = seen.jobs.iter().any(|job| job.name == wanted);
    (needed && !held).then_some(wanted)
}

fn pass(class: &SandboxClass, seen: &Observed, hindrance: Option<&str>) -> Plan {
    let mut status = class.status.clone().unwrap_or_default();
    status.observed_generation = class.metadata.generation;
    let wanted = wanted(class, &seen.runner);
    let (mut start, mut next) = (None, None);
    if can_be_probed(class, seen) && !probed(Some(&status), &wanted) {
        match progress(class, seen, &wanted, hindrance) {
            Progress::Start(job) => {
                start = Some(job);
                waits(class, seen, &mut status, UNDER_WAY);
            }
            Progress::Waits(why, again) => {
                next = again;
                waits(class, seen, &mut status, &why);
            }
            Progress::Failed(why) => {
                status.landlock = None;
                status.pids = None;
                status.probe = Some(ProbeStatus {
                    job: wanted.clone(),
                    node: None,
                });
                let text = format!("{why}; {}", again(class));
                policy(class, seen, &mut status, None, reason::PROBE_FAILED, &text);
                users(class, seen, &mut status, None, reason::PROBE_FAILED, &text);
            }
            Progress::Found(found, node) => {
                take(class, seen, &mut status, &found, node.as_deref());
                status.probe = Some(ProbeStatus {
                    job: wanted.clone(),
                    node,
                });
            }
        }
    } else if conditions::find(&status.conditions, conditions::NETWORK_POLICY_ENFORCED).is_none() {
        let text = "no pod of the class can be made";
        policy(class, seen, &mut status, None, reason::NOT_TRIED, text);
    }
    if class.spec.host_users {
        let other = |held: &Condition| held.type_ != conditions::USER_NAMESPACE;
        status.conditions.retain(other);
    }
    runtime_class(class, seen, &mut status);
    ready(class, seen, &mut status);
    egress(class, seen, &mut status);
    let over = probed(Some(&status), &wanted);
    let ready::Plan { status, notes } =
        ready::plan(class.status.as_ref(), status, |status| &status.conditions);
    Plan {
        start,
        status,
        delete_jobs: seen
            .jobs
            .iter()
            .filter(|job| !job.deleting && (over || job.name != wanted))
            .map(|job| Doomed {
                name: job.name.clone(),
                uid: job.uid.clone(),
            })
            .collect(),
        notes,
        next,
    }
}

fn wanted(class: &SandboxClass, runner: &str) -> String {
    let meta = &class.metadata;
    let asked = meta
        .annotations
        .as_ref()
        .and_then(|held| held.get(names::PROBE_ANNOTATION));
    names::probe_job_name(
        meta.name.as_deref().unwrap_or_default(),
        meta.uid.as_deref().unwrap_or_default(),
        meta.generation.unwrap_or_default(),
        asked.map(String::as_str).unwrap_or_default(),
        runner,
    )
}

fn probed(status: Option<&SandboxClassStatus>, wanted: &str) -> bool {
    status
        .and_then(|status| status.probe.as_ref())
        .is_some_and(|probe| probe.job == wanted)
}

/// Whether a pod of the class can be made at all.
fn can_be_probed(class: &SandboxClass, seen: &Observed) -> bool {
    validate::class(&class.spec).is_empty()
        && (class.spec.runtime_class_name.is_empty() || seen.runtime_class)
        && class.metadata.deletion_timestamp.is_none()
}

fn progress(
    class: &SandboxClass,
    seen: &Observed,
    wanted: &str,
    hindrance: Option<&str>,
) -> Progress {
    if let Some(why) = hindrance {
        return Progress::Waits(why.to_owned(), Some(AGAIN));
    }
    let Some(job) = seen.jobs.iter().find(|job| job.name == wanted) else {
        if seen.foreign_job {
            let text = format!("Job {wanted} exists and belongs to somebody else; delete it");
            return Progress::Waits(text, Some(AGAIN));
        }
        // Both are watched: the Service's address, and a range in the namespace, trigger the class.
        let users = UserIds::of(&class.spec.users, seen.uid_range.as_deref());
        return match (&seen.gateway_ip, users) {
            (Some(gateway_ip), Ok(users)) => Progress::Start(Start {
                job: wanted.to_owned(),
                gateway_ip: gateway_ip.clone(),
                user: users.pilot,
            }),
            (None, _) => {
                Progress::Waits("the gateway's Service has no address yet".to_owned(), None)
            }
            (_, Err(none)) => {
                Progress::Waits(format!("the namespace of the installation {none}"), None)
            }
        };
    };
    let pods: Vec<&ProbePod> = seen
        .pods
        .iter()
        .filter(|pod| pod.job_uid == job.uid)
        .collect();
    let reported = pods
        .iter()
        .find_map(|pod| Some((pod, pod.ended.as_ref().filter(|ended| ended.code == 0)?)));
    if let Some((pod, ended)) = reported {
        return match NodeFindings::read(&ended.message) {
            Ok(found) => Progress::Found(found, pod.node.clone()),
            Err(problem) => {
                Progress::Failed(format!("what the probe reported cannot be read: {problem}"))
            }
        };
    }
    let newest = pods.iter().max_by_key(|pod| pod.created);
    match &job.ended {
        Some(JobEnd::Failed { reason, message }) => {
            let ended = newest.and_then(|pod| pod.ended.as_ref());
            return Progress::Failed(match (ended, reason.as_str()) {
                (Some(ended), _) => format!(
                    "the probe ended with exit code {} ({})",
                    ended.code, ended.reason
                ),
                (None, "DeadlineExceeded") => "the probe did not end in time".to_owned(),
                (None, _) => format!("the probe failed: {reason}: {message}"),
            });
        }
        Some(JobEnd::Suspended) => {
            return Progress::Failed("the probe's Job was suspended".to_owned());
        }
        // Its pod is a moment behind in the cache, or gone for good.
        Some(JobEnd::Complete) | None => {}
    }
    if job.ended.is_none() && newest.is_some_and(|pod| pod.started) {
        return Progress::Waits(UNDER_WAY.to_owned(), None); // the Job's deadline ends it
    }
    let hindrance = newest.and_then(|pod| pod.hindrance.as_deref());
    let most = class.spec.startup_timeout.get().unwrap_or_default();
    let waited = job
        .created
        .and_then(|created| Duration::try_from(seen.now.duration_since(created)).ok())
        .unwrap_or_default();
    if job.deleting {
        return Progress::Waits("the probe's Job is being deleted".to_owned(), None); // the watch tells
    }
    if waited < most {
        let why = hindrance.unwrap_or(UNDER_WAY);
        return Progress::Waits(why.to_owned(), Some(most - waited));
    }
    Progress::Failed(format!(
        "the probe's pod did not start within {}: {}",
        GepDuration::from_duration(most),
        hindrance.unwrap_or("the events of its Job and pod may say why")
    ))
}

/// The probe is under way. What an earlier one found stands until then.
fn waits(class: &SandboxClass, seen: &Observed, status: &mut SandboxClassStatus, why: &str) {
    let known = conditions::find(&status.conditions, conditions::NETWORK_POLICY_ENFORCED)
        .is_some_and(|held| held.status != "Unknown");
    if !known {
        policy(class, seen, status, None, reason::PROBING, why);
    }
    let known = conditions::find(&status.conditions, conditions::USER_NAMESPACE)
        .is_some_and(|held| held.status != "Unknown");
    if !known {
        users(class, seen, status, None, reason::PROBING, why);
    }
}

/// Takes over what was found.
fn take(
    class: &SandboxClass,
    seen: &Observed,
    status: &mut SandboxClassStatus,
    found: &NodeFindings,
    node: Option<&str>,
) {
    status.landlock = Some(LandlockStatus {
        abi: i64::from(found.landlock),
    });
    status.pids = found.processes.map(|limit| PidsStatus {
        limit: i64::from(limit),
    });
    let node = node.unwrap_or("that is unknown");
    let (why, text) = match found.user_namespace {
        true => (reason::OWN_USERS, String::new()),
        false => (
            reason::NODE_USERS,
            format!(
                "the users of a pod on node {node} were the node's: the cluster left hostUsers: false out; enable user namespaces (Kubernetes' feature UserNamespacesSupport), then {}",
                again(class)
            ),
        ),
    };
    users(class, seen, status, Some(found.user_namespace), why, &text);
    let (value, why, text) = match &found.network {
        None => (
            None,
            reason::PROBE_FAILED,
            format!(
                "a pod on node {node} did not reach the gateway within {}, so that it did not reach others means nothing; see that the gateway is up, then {}",
                GepDuration::from_duration(GATEWAY_PATIENCE),
                again(class)
            ),
        ),
        Some(network) if network.enforced() => (
            Some(true),
            reason::ENFORCED,
            format!("a pod on node {node} {}", network.sentence()),
        ),
        Some(network) => (
            Some(false),
            reason::NOT_ENFORCED,
            format!(
                "a pod on node {node} {}; have the cluster's network plugin enforce NetworkPolicies, then {}",
                network.sentence(),
                again(class)
            ),
        ),
    };
    policy(class, seen, status, value, why, &text);
}

/// How to have the probe made again.
fn again(class: &SandboxClass) -> String {
    format!(
        "probe again with: kubectl annotate --overwrite sandboxclass {} {}=\"$(date)\"",
        class.metadata.name.as_deref().unwrap_or_default(),
        names::PROBE_ANNOTATION
    )
}

fn policy(
    class: &SandboxClass,
    seen: &Observed,
    status: &mut SandboxClassStatus,
    value: Option<bool>,
    why: &str,
    text: &str,
) {
    conditions::set(
        &mut status.conditions,
        conditions::NETWORK_POLICY_ENFORCED,
        value,
        why,
        text,
        class.metadata.generation,
        seen.now,
    );
}

/// UserNamespace: where the class demands one for its pods.
fn users(
    class: &SandboxClass,
    seen: &Observed,
    status: &mut SandboxClassStatus,
    value: Option<bool>,
    why: &str,
    text: &str,
) {
    if class.spec.host_users {
        return;
    }
    conditions::set(
        &mut status.conditions,
        conditions::USER_NAMESPACE,
        value,
        why,
        text,
        class.metadata.generation,
        seen.now,
    );
}

fn runtime_class(class: &SandboxClass, seen: &Observed, status: &mut SandboxClassStatus) {
    let name = &class.spec.runtime_class_name;
    let (found, why, text) = if name.is_empty() {
        (true, reason::DEFAULT_RUNTIME, String::new())
    } else if seen.runtime_class {
        (true, reason::FOUND, String::new())
    } else {
        let text = format!("RuntimeClass {name} does not exist; create it, or name another one");
        (false, reason::NOT_FOUND, text)
    };
    conditions::set(
        &mut status.conditions,
        conditions::RUNTIME_CLASS_FOUND,
        Some(found),
        why,
        &text,
        class.metadata.generation,
        seen.now,
    );
}

/// Ready: pods can be made, and nothing that the class demands was found missing.
fn ready(class: &SandboxClass, seen: &Observed, status: &mut SandboxClassStatus) {
    let problems = validate::class(&class.spec);
    let held = |kind: &str| conditions::find(&status.conditions, kind);
    let runtime = held(conditions::RUNTIME_CLASS_FOUND).filter(|held| held.status != "True");
    let network = held(conditions::NETWORK_POLICY_ENFORCED).filter(|held| held.status != "True");
    let users = held(conditions::USER_NAMESPACE).filter(|held| held.status != "True");
    let no_landlock = status.landlock.as_ref().is_some_and(|held| held.abi == 0);
    let (value, why, text) = if !problems.is_empty() {
        (Some(false), reason::INVALID_SPEC, summary(&problems))
    } else if let Some(held) = runtime {
        (Some(false), reason::NOT_FOUND, held.message.clone())
    } else if class.spec.minimum_isolation == Isolation::Landlock && no_landlock {
        let text = "minimumIsolation is Landlock, which the kernel of the node that was probed does not have; name nodes that have it in nodeSelector";
        (Some(false), reason::LANDLOCK_MISSING, text.to_owned())
    } else if let Some(held) = users {
        let (value, why) = match held.reason.as_str() {
            reason::NODE_USERS => (Some(false), reason::NODE_USERS),
            reason::PROBE_FAILED => (Some(false), reason::PROBE_FAILED),
            _ => (None, reason::PROBING),
        };
        let text = format!("hostUsers is false: {}", held.message);
        (value, why, text)
    } else if class.spec.require_network_policy
        && let Some(held) = network
    {
        let (value, why) = unenforced(held);
        let text = format!("requireNetworkPolicy is true: {}", held.message);
        (value, why, text)
    } else {
        (Some(true), reason::READY, String::new())
    };
    conditions::set(
        &mut status.conditions,
        conditions::READY,
        value,
        why,
        &text,
        class.metadata.generation,
        seen.now,
    );
}

/// EgressPossible: where the class allows domains, whether its pods can have them.
fn egress(class: &SandboxClass, seen: &Observed, status: &mut SandboxClassStatus) {
    if class.spec.egress.domains.is_empty() {
        let other = |held: &Condition| held.type_ != conditions::EGRESS_POSSIBLE;
        status.conditions.retain(other);
        return;
    }
    let network = conditions::find(&status.conditions, conditions::NETWORK_POLICY_ENFORCED);
    let network = network.filter(|held| held.status != "True");
    let (value, why, text) = match (&status.landlock, network) {
        (Some(landlock), _) if landlock.abi < EGRESS_LANDLOCK => {
            let text = format!(
                "egress needs Landlock of ABI {EGRESS_LANDLOCK} or newer, and the kernel of the node that was probed has {} (0: none); name nodes that have it in nodeSelector",
                landlock.abi
            );
            (Some(false), reason::LANDLOCK_MISSING, text)
        }
        (_, Some(held)) => {
            let (value, why) = unenforced(held);
            (
                value,
                why,
                format!("egress needs the NetworkPolicy: {}", held.message),
            )
        }
        (None, None) => (None, reason::PROBING, UNDER_WAY.to_owned()),
        (Some(_), None) => (Some(true), reason::POSSIBLE, String::new()),
    };
    conditions::set(
        &mut status.conditions,
        conditions::EGRESS_POSSIBLE,
        value,
        why,
        &text,
        class.metadata.generation,
        seen.now,
    );
}

/// What a NetworkPolicy that was not found enforced means for what needs it.
fn unenforced(held: &Condition) -> (Option<bool>, &'static str) {
    match held.reason.as_str() {
        reason::NOT_ENFORCED => (Some(false), reason::NOT_ENFORCED),
        reason::PROBE_FAILED => (Some(false), reason::PROBE_FAILED),
        _ => (None, reason::PROBING),
    }
}
