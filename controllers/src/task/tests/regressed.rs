//! What becomes of a Task whose cluster was restored to a point before its end: what the gateway knows counts, and nothing runs again.

use super::sim::{Sim, assert_end};
use crate::task::pod::JobFacts;
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::Fence;
use serde_json::{Value, json};

/// What etcd held of a Task.
struct Backup {
    name: &'static str,
    task: Task,
    jobs: Vec<JobFacts>,
}

impl Backup {
    fn of(name: &'static str, sim: &Sim) -> Self {
        Self {
            name,
            task: sim.task.clone(),
            jobs: sim.jobs.clone(),
        }
    }

    /// The cluster holds that again; the gateway knows all that it knew. Without its Job where `jobs` says so: what is not wanted is deleted soon.
    fn restore(&self, sim: &mut Sim, jobs: bool) {
        sim.task = self.task.clone();
        sim.jobs = if jobs { self.jobs.clone() } else { Vec::new() };
        sim.pod = None;
        sim.deleted = false;
    }
}

/// Something that happens to a Task, with a backup before each step of it.
type History = fn(&mut Sim, &mut Vec<Backup>);

fn runs(sim: &mut Sim, backups: &mut Vec<Backup>) {
    backups.push(Backup::of("as created", sim));
    sim.settle();
    backups.push(Backup::of("started", sim));
    sim.pilot_starts();
    sim.settle();
    backups.push(Backup::of("running", sim));
}

fn succeeds(sim: &mut Sim, backups: &mut Vec<Backup>) {
    runs(sim, backups);
    sim.succeeds();
    sim.settle();
}

fn fails(sim: &mut Sim, backups: &mut Vec<Backup>) {
    runs(sim, backups);
    sim.fails(FailureClass::NotAccepted);
    sim.settle();
}

fn is_cancelled(sim: &mut Sim, backups: &mut Vec<Backup>) {
    runs(sim, backups);
    sim.cancel();
    sim.settle();
}

fn times_out(sim: &mut Sim, backups: &mut Vec<Backup>) {
    runs(sim, backups);
    sim.later(24 * 3600);
    sim.settle();
}

fn is_deleted(sim: &mut Sim, backups: &mut Vec<Backup>) {
    runs(sim, backups);
    sim.stopped(1, &Fence::deleted());
    sim.jobs.clear();
}

fn is_disrupted(sim: &mut Sim, backups: &mut Vec<Backup>) {
    runs(sim, backups);
    sim.pod.as_mut().unwrap().disrupted = Some("EvictionByEvictionAPI".to_owned());
    sim.settle();
    assert_eq!(sim.attempt(), 2);
    backups.push(Backup::of("started again", sim));
    sim.succeeds();
    sim.settle();
}

fn waits(sim: &mut Sim, backups: &mut Vec<Backup>) {
    runs(sim, backups);
    sim.fails(FailureClass::ModelUnavailable);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Waiting);
    backups.push(Backup::of("waiting for the next attempt", sim));
}

fn is_cancelled_while_it_waits(sim: &mut Sim, backups: &mut Vec<Backup>) {
    waits(sim, backups);
    sim.cancel();
    sim.settle();
}

fn is_deleted_while_it_waits(sim: &mut Sim, backups: &mut Vec<Backup>) {
    waits(sim, backups);
    sim.stopped(1, &Fence::deleted());
}

#[test]
fn a_restored_task_ends_as_it_had_ended_and_nothing_runs_again() {
    let retried = json!({ "retry": { "limit": 3, "backoff": { "base": "10s" } } });
    let table: [(&str, History, Value, &str); 9] = [
        ("succeeded", succeeds, json!({}), "Complete"),
        ("failed", fails, json!({}), "NotAccepted"),
        ("timed out", times_out, json!({}), "Timeout"),
        ("cancelled", is_cancelled, json!({}), "StateRegressed"),
        ("deleted", is_deleted, json!({}), "StateRegressed"),
        ("at the second try", is_disrupted, json!({}), "Complete"),
        (
            "cancelled, waiting",
            is_cancelled_while_it_waits,
            retried.clone(),
            "StateRegressed",
        ),
        (
            "deleted, waiting",
            is_deleted_while_it_waits,
            retried,
            "StateRegressed",
        ),
        (
            "cancelled, as GitOps has it",
            is_cancelled,
            json!({ "retry": { "limit": 5 } }),
            "StateRegressed",
        ),
    ];
    for (history, happens, spec, end) in table {
        let mut backups = Vec::new();
        happens(&mut Sim::new(spec.clone()), &mut backups);
        for at in 0..backups.len() {
            for jobs in [true, false] {
                let (mut sim, mut backups) = (Sim::new(spec.clone()), Vec::new());
                happens(&mut sim, &mut backups);
                let ran = sim.created.len();
                backups[at].restore(&mut sim, jobs);
                for _ in 0..20 {
                    sim.settle();
                    if sim.finished() {
                        break;
                    }
                    // A Job that is there again gets a pod, whose pilot may not have the attempt.
                    sim.pilot_starts();
                    sim.pilot_ends(3);
                    sim.settle();
                    if sim.finished() {
                        break;
                    }
                    sim.later(400);
                }
                let what = format!("{history}, restored to {}", backups[at].name);
                assert!(sim.finished(), "{what}: {:?}", sim.task.status);
                let phase = if end == "Complete" {
                    Phase::Succeeded
                } else {
                    Phase::Failed
                };
                assert_eq!(sim.phase(), phase, "{what}: {:?}", sim.task.status);
                assert_end(&sim, phase, end);
                assert_eq!(sim.created.len(), ran, "{what}: a Job is created again");
            }
        }
    }
}

#[test]
fn what_the_cluster_has_forgotten_is_said() {
    let (mut sim, mut backups) = (Sim::new(json!({})), Vec::new());
    is_cancelled(&mut sim, &mut backups);
    backups[2].restore(&mut sim, true);
    sim.settle();
    let status = sim.task.status.as_ref().unwrap();
    let failure = status.failure.as_ref().unwrap();
    assert!(
        failure.message.starts_with(
            "the gateway knows that the Task had ended (the Task was cancelled); what the cluster knows of it is older"
        ),
        "{}",
        failure.message
    );
}

#[test]
fn a_task_that_was_stopped_for_a_while_goes_on_after_a_restore() {
    let (mut sim, mut backups) = (Sim::new(json!({})), Vec::new());
    runs(&mut sim, &mut backups);
    sim.state(DesiredState::Paused);
    sim.settle();
    assert!(sim.gateway[&1].fenced && sim.gateway[&1].over.is_none());
    backups[2].restore(&mut sim, false);
    sim.settle();
    assert_eq!(sim.attempt(), 2, "it goes on from the journal");
    assert!(!sim.finished());
}

#[test]
fn an_end_that_was_told_and_not_written_down_follows_anew() {
    let ends: [fn(&mut Sim); 2] = [Sim::cancel, |sim| sim.later(24 * 3600)];
    for (end, class) in ends.into_iter().zip([None, Some("Timeout")]) {
        let mut sim = Sim::new(json!({}));
        sim.settle();
        sim.pilot_starts();
        sim.settle();
        end(&mut sim);
        let before = sim.task.clone();
        sim.pass();
        assert!(sim.gateway[&1].over.is_some());
        sim.task = before; // the process was stopped before it wrote
        sim.settle();
        match class {
            None => assert_eq!(sim.phase(), Phase::Cancelled),
            Some(class) => assert_eq!(sim.failure(), class),
        }
    }
}
