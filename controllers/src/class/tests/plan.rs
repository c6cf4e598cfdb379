//! What is found, what is said of it, and what is probed anew.

use super::sim::{Sim, good, open};
use crate::class::blocked;
use crate::class::plan::{GATEWAY_PATIENCE, hindered};
use crate::task::pod::JobEnd;
use oarmaster_crds::SandboxClassSpec;
use oarmaster_crds::conditions::{
    self, EGRESS_POSSIBLE, NETWORK_POLICY_ENFORCED, READY, RUNTIME_CLASS_FOUND, USER_NAMESPACE,
};
use oarmaster_crds::kinds::class::{Isolation, UsersFrom};
use oarmaster_protocol::probe::NodeFindings;
use proptest::prelude::*;

fn spec(change: impl FnOnce(&mut SandboxClassSpec)) -> SandboxClassSpec {
    let mut spec = SandboxClassSpec::default();
    change(&mut spec);
    spec
}

fn is(held: (String, String), status: &str, reason: &str) {
    assert_eq!((held.0.as_str(), held.1.as_str()), (status, reason));
}

/// A class of this spec once its probe found this.
fn after(spec: SandboxClassSpec, found: &NodeFindings) -> Sim {
    let mut sim = Sim::new(spec);
    sim.settle();
    sim.finds(found);
    sim.settle();
    sim
}

#[test]
fn a_class_is_probed_once_and_what_was_found_stands_in_its_status() {
    let mut sim = Sim::new(SandboxClassSpec::default());
    sim.settle();
    is(sim.says(READY), "True", "Ready");
    is(sim.says(NETWORK_POLICY_ENFORCED), "Unknown", "Probing");
    assert_eq!(sim.jobs.len(), 1);

    sim.finds(&good());
    let todo = sim.pass();
    assert!(
        todo.status.is_some() && todo.delete_jobs.len() == 1,
        "evidence goes once it is written"
    );
    is(sim.says(NETWORK_POLICY_ENFORCED), "True", "Enforced");
    let text = sim.text(NETWORK_POLICY_ENFORCED);
    assert!(
        text.contains("node n1") && text.contains("another pod"),
        "{text}"
    );
    let status = sim.class.status.clone().unwrap();
    assert_eq!(status.landlock.unwrap().abi, 7);
    assert_eq!(status.pids.unwrap().limit, 500);
    assert_eq!(status.probe.unwrap().job, sim.created[0]);

    sim.settle();
    let writes = sim.writes;
    sim.later(1_000_000);
    let todo = sim.pass();
    assert_eq!(sim.writes, writes, "nothing changed");
    assert!(todo.notes.is_empty() && todo.next.is_none());
    // POST, status, status, deletion.
    assert_eq!((sim.created.len(), writes), (1, 4));
}

#[test]
fn what_changes_is_probed_anew_and_what_was_known_stands_until_then() {
    for change in [
        (|sim| sim.changed(|spec| spec.priority_class_name = "low".to_owned())) as fn(&mut Sim),
        |sim| sim.runner = "runner:2".to_owned(),
        |sim| sim.ask("today"),
        |sim| sim.class.metadata.uid = Some("uid-c2".to_owned()),
    ] {
        let mut sim = after(SandboxClassSpec::default(), &good());
        change(&mut sim);
        sim.settle();
        assert_eq!(sim.created.len(), 2);
        is(sim.says(NETWORK_POLICY_ENFORCED), "True", "Enforced");
        sim.finds(&open());
        sim.settle();
        is(sim.says(NETWORK_POLICY_ENFORCED), "False", "NotEnforced");
        assert!(sim.jobs.is_empty());
    }
}

#[test]
fn a_change_during_a_probe_leaves_one_job() {
    let mut sim = Sim::new(SandboxClassSpec::default());
    sim.settle();
    sim.changed(|spec| spec.require_network_policy = true);
    sim.settle();
    assert_eq!((sim.created.len(), sim.jobs.len()), (2, 1));
    assert_eq!(sim.jobs[0].name, sim.created[1]);
}

#[test]
fn ready_says_what_the_class_demands_and_does_not_get() {
    let none = NodeFindings {
        network: None,
        ..good()
    };
    let old_kernel = NodeFindings {
        landlock: 0,
        ..good()
    };
    let strict = || {
        spec(|spec| {
            spec.require_network_policy = true;
            spec.minimum_isolation = Isolation::Landlock;
        })
    };
    for (demands, found, ready) in [
        (SandboxClassSpec::default(), &good(), ("True", "Ready")),
        (SandboxClassSpec::default(), &open(), ("True", "Ready")),
        (SandboxClassSpec::default(), &none, ("True", "Ready")),
        (SandboxClassSpec::default(), &old_kernel, ("True", "Ready")),
        (strict(), &good(), ("True", "Ready")),
        (strict(), &open(), ("False", "NotEnforced")),
        (strict(), &none, ("False", "ProbeFailed")),
        (strict(), &old_kernel, ("False", "LandlockMissing")),
    ] {
        let sim = after(demands, found);
        is(sim.says(READY), ready.0, ready.1);
        assert_eq!(
            blocked(sim.class.status.as_ref()),
            None,
            "a pod proves itself; nobody waits for a probe"
        );
    }
    let mut sim = Sim::new(strict());
    sim.settle();
    is(sim.says(READY), "Unknown", "Probing");
    assert_eq!(blocked(sim.class.status.as_ref()), None);
}

#[test]
fn a_class_with_egress_says_whether_its_pods_can_have_it_and_is_ready_all_the_same() {
    let none = NodeFindings {
        network: None,
        ..good()
    };
    let kernel = |landlock| NodeFindings { landlock, ..good() };
    let allows = || spec(|spec| spec.egress.domains = vec!["pypi.org".to_owned()]);
    for (found, expected) in [
        (&good(), ("True", "Possible")),
        (&kernel(4), ("True", "Possible")),
        (&kernel(3), ("False", "LandlockMissing")),
        (&kernel(0), ("False", "LandlockMissing")),
        (&open(), ("False", "NotEnforced")),
        (&none, ("False", "ProbeFailed")),
    ] {
        let sim = after(allows(), found);
        is(sim.says(EGRESS_POSSIBLE), expected.0, expected.1);
        is(sim.says(READY), "True", "Ready");
        assert_eq!(blocked(sim.class.status.as_ref()), None);
    }
    assert!(
        after(allows(), &kernel(3))
            .text(EGRESS_POSSIBLE)
            .contains("ABI 4 or newer, and the kernel of the node that was probed has 3")
    );

    let mut sim = Sim::new(allows());
    sim.settle();
    is(sim.says(EGRESS_POSSIBLE), "Unknown", "Probing");
    sim.finds(&good());
    sim.settle();
    is(sim.says(EGRESS_POSSIBLE), "True", "Possible");
    sim.changed(|spec| spec.egress.domains.clear());
    sim.settle();
    let status = sim.class.status.unwrap();
    assert!(conditions::find(&status.conditions, EGRESS_POSSIBLE).is_none());
}

#[test]
fn the_default_runtime_is_always_there() {
    let sim = after(SandboxClassSpec::default(), &good());
    is(sim.says(RUNTIME_CLASS_FOUND), "True", "DefaultRuntime");
}

#[test]
fn a_runtime_class_that_does_not_exist_is_no_silent_fallback_and_is_not_probed() {
    let mut sim = Sim::new(spec(|spec| spec.runtime_class_name = "gvisor".to_owned()));
    sim.settle();
    is(sim.says(READY), "False", "NotFound");
    is(sim.says(RUNTIME_CLASS_FOUND), "False", "NotFound");
    is(sim.says(NETWORK_POLICY_ENFORCED), "Unknown", "NotTried");
    let why = blocked(sim.class.status.as_ref()).unwrap();
    assert!(why.contains("RuntimeClass gvisor does not exist"));
    assert_eq!(sim.created.len(), 0);

    sim.runtime_class = true;
    sim.settle();
    is(sim.says(READY), "True", "Ready");
    is(sim.says(RUNTIME_CLASS_FOUND), "True", "Found");
    assert_eq!(sim.created.len(), 1);
}

#[test]
fn a_class_with_users_of_its_own_says_whether_its_pods_have_them() {
    let demands = || spec(|spec| spec.host_users = false);
    let nodes = NodeFindings {
        user_namespace: false,
        ..good()
    };
    for (found, users, ready) in [
        (&good(), ("True", "OwnUsers"), ("True", "Ready")),
        (&nodes, ("False", "NodeUsers"), ("False", "NodeUsers")),
    ] {
        let sim = after(demands(), found);
        is(sim.says(USER_NAMESPACE), users.0, users.1);
        is(sim.says(READY), ready.0, ready.1);
        assert_eq!(
            blocked(sim.class.status.as_ref()),
            None,
            "a pod proves itself; nobody waits for a probe"
        );
    }
    let mut sim = Sim::new(demands());
    sim.settle();
    is(sim.says(USER_NAMESPACE), "Unknown", "Probing");
    is(sim.says(READY), "Unknown", "Probing");
    // The runtime cannot: the pod never starts.
    sim.pod().hindrance = Some("idmapped mounts are not supported".to_owned());
    sim.later(301);
    sim.settle();
    is(sim.says(USER_NAMESPACE), "Unknown", "ProbeFailed");
    is(sim.says(READY), "False", "ProbeFailed");
    assert!(
        sim.text(READY).contains("idmapped mounts"),
        "{}",
        sim.text(READY)
    );
    // Who does not demand it is not told of it, also not of what an older spec had.
    sim.changed(|spec| spec.host_users = true);
    sim.settle();
    let held = &sim.class.status.as_ref().unwrap().conditions;
    assert!(conditions::find(held, USER_NAMESPACE).is_none());
    is(sim.says(READY), "True", "Ready");
    let held = after(SandboxClassSpec::default(), &nodes)
        .class
        .status
        .unwrap();
    assert!(conditions::find(&held.conditions, USER_NAMESPACE).is_none());
}

#[test]
fn a_probe_has_the_user_id_that_the_platform_gives_to_its_namespace() {
    let mut sim = Sim::new(spec(|spec| spec.users.from = UsersFrom::FromNamespace));
    sim.settle();
    assert_eq!(sim.created.len(), 0);
    let text = sim.text(NETWORK_POLICY_ENFORCED);
    assert!(text.contains("openshift.io/sa.scc.uid-range"), "{text}");
    sim.uid_range = Some("1000650000/10000".to_owned());
    assert_eq!(sim.pass().start.unwrap().user, 1_000_650_000);
}

#[test]
fn a_broken_spec_names_its_field_and_is_not_probed() {
    let mut sim = Sim::new(spec(|spec| spec.users.exec = spec.users.pilot));
    sim.settle();
    is(sim.says(READY), "False", "InvalidSpec");
    assert!(
        blocked(sim.class.status.as_ref())
            .unwrap()
            .contains("spec.users")
    );
    assert_eq!(sim.created.len(), 0);
}

#[test]
fn a_class_that_was_not_looked_at_is_waited_for() {
    assert!(blocked(None).is_some());
}

#[test]
fn a_probe_without_a_result_says_why_and_how_to_have_it_made_again() {
    let failed = |reason: &str| JobEnd::Failed {
        reason: reason.to_owned(),
        message: "no good".to_owned(),
    };
    for (what, words) in [
        (
            (|sim, _| sim.ends(0, "gibberish")) as fn(&mut Sim, JobEnd),
            "cannot be read: Syntax error",
        ),
        (
            |sim, end| {
                sim.ends(137, "");
                sim.job_ends(end);
            },
            "exit code 137 (Error)",
        ),
        (|sim, end| sim.job_ends(end), "did not end in time"),
        (|sim, _| sim.job_ends(JobEnd::Suspended), "suspended"),
        (
            |sim, _| {
                sim.pod().hindrance = Some("no node takes the pod: taints".to_owned());
                sim.later(300);
            },
            "did not start within 5m: no node takes the pod: taints",
        ),
        (
            |sim, _| sim.later(300),
            "did not start within 5m: the events",
        ),
        (
            // Its pod was deleted by hand before anybody saw its end.
            |sim, _| {
                sim.job_ends(JobEnd::Complete);
                sim.later(300);
            },
            "did not start within 5m",
        ),
    ] {
        let mut sim = Sim::new(spec(|spec| spec.require_network_policy = true));
        sim.settle();
        what(&mut sim, failed("DeadlineExceeded"));
        sim.settle();
        is(sim.says(NETWORK_POLICY_ENFORCED), "Unknown", "ProbeFailed");
        is(sim.says(READY), "False", "ProbeFailed");
        let text = sim.text(NETWORK_POLICY_ENFORCED);
        assert!(text.contains(words), "{text}");
        assert!(
            text.contains("kubectl annotate --overwrite sandboxclass default oarmaster.dev/probe="),
            "{text}"
        );
        assert!(sim.jobs.is_empty());
        sim.ask("again");
        sim.settle();
        sim.finds(&good());
        sim.settle();
        is(sim.says(READY), "True", "Ready");
    }
}

#[test]
fn a_probe_that_cannot_begin_says_what_is_in_its_way() {
    let mut sim = Sim::new(SandboxClassSpec::default());
    sim.gateway_ip = None;
    sim.settle();
    assert!(sim.text(NETWORK_POLICY_ENFORCED).contains("no address yet"));
    sim.gateway_ip = Some("10.96.7.7".to_owned());
    sim.foreign = true;
    let todo = sim.pass();
    assert!(todo.start.is_none() && todo.next.is_some());
    assert!(
        sim.text(NETWORK_POLICY_ENFORCED)
            .contains("belongs to somebody else")
    );
    sim.foreign = false;
    let todo = hindered(
        &sim.class,
        &sim.observe(),
        "the API server refuses it: quota",
    );
    assert!(todo.start.is_none() && todo.next.is_some());
    sim.class.status = todo.status;
    assert!(sim.text(NETWORK_POLICY_ENFORCED).contains("quota"));
    is(sim.says(READY), "True", "Ready");
    sim.settle();
    assert_eq!(sim.created.len(), 1);
}

#[test]
fn a_probe_that_runs_is_waited_for_and_one_that_starts_is_looked_at_in_time() {
    let mut sim = Sim::new(SandboxClassSpec::default());
    sim.settle();
    sim.later(100);
    assert_eq!(sim.pass().next.map(|next| next.as_secs()), Some(200));
    sim.pod().started = true;
    sim.later(i64::try_from(GATEWAY_PATIENCE.as_secs()).unwrap() * 2);
    assert_eq!(sim.pass().next, None, "the Job's deadline ends it");
    sim.settle();
    is(sim.says(NETWORK_POLICY_ENFORCED), "Unknown", "Probing");
    // A first pod that failed is followed by another.
    sim.pods.clear();
    sim.ends(1, "");
    sim.settle();
    sim.finds(&good());
    sim.settle();
    is(sim.says(NETWORK_POLICY_ENFORCED), "True", "Enforced");
}

#[test]
fn a_class_that_is_being_deleted_is_not_probed() {
    let mut sim = Sim::new(SandboxClassSpec::default());
    sim.class.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(sim.now),
    );
    sim.settle();
    assert_eq!(sim.created.len(), 0);
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    Pass,
    Later,
    Finds(bool),
    Crashes,
    JobFails,
    JobDeleted,
    ClassChanges,
    RunnerChanges,
    RuntimeClass(bool),
    Gateway(bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        Just(Happens::Pass),
        Just(Happens::Later),
        any::<bool>().prop_map(Happens::Finds),
        Just(Happens::Crashes),
        Just(Happens::JobFails),
        Just(Happens::JobDeleted),
        Just(Happens::ClassChanges),
        Just(Happens::RunnerChanges),
        any::<bool>().prop_map(Happens::RuntimeClass),
        any::<bool>().prop_map(Happens::Gateway),
    ]
}

proptest! {
    /// Whatever happens in whatever order: a world in which nothing changes any more is settled, and says what its last probe found.
    #[test]
    fn every_history_settles(
        named in any::<bool>(),
        history in prop::collection::vec(happens(), 0..40),
    ) {
        let mut sim = Sim::new(spec(|spec| {
            spec.require_network_policy = true;
            if named {
                spec.runtime_class_name = "gvisor".to_owned();
            }
        }));
        for event in history {
            let probing = !sim.jobs.is_empty();
            match event {
                Happens::Pass => { sim.pass(); }
                Happens::Later => sim.later(200),
                Happens::Finds(true) if probing => sim.finds(&good()),
                Happens::Finds(false) if probing => sim.finds(&open()),
                Happens::Crashes if probing => sim.ends(1, "?"),
                Happens::JobFails if probing => sim.job_ends(JobEnd::Failed {
                    reason: "BackoffLimitExceeded".to_owned(),
                    message: String::new(),
                }),
                Happens::JobDeleted => sim.jobs.clear(),
                Happens::ClassChanges => sim.changed(|_| {}),
                Happens::RunnerChanges => sim.runner.push('x'),
                Happens::RuntimeClass(there) => sim.runtime_class = there,
                Happens::Gateway(there) => sim.gateway_ip = there.then(|| "10.96.7.7".to_owned()),
                _ => {}
            }
        }
        sim.runtime_class = true;
        sim.gateway_ip = Some("10.96.7.7".to_owned());
        sim.settle();
        if !sim.jobs.is_empty() {
            sim.pods.clear();
            sim.jobs[0].ended = None;
            sim.finds(&good());
            sim.settle();
            is(sim.says(READY), "True", "Ready");
        }
        prop_assert!(sim.jobs.is_empty());
        let writes = sim.writes;
        sim.later(1_000_000);
        prop_assert!(sim.pass().next.is_none());
        prop_assert_eq!(sim.writes, writes);
    }
}
