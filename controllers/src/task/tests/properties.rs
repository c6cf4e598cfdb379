//! What holds for every sequence of events. The checks of every single plan are in the simulation's `pass`.

use super::sim::{Sim, idle};
use crate::task::plan::plan;
use crate::task::pod::Pull;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::FailureClass;
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Debug)]
enum Event {
    PodCreated,
    PilotStarts,
    Stuck,
    PullFails,
    Unschedulable,
    Succeeds,
    HandsIn(FailureClass),
    PilotEnds(i32),
    Disrupted,
    PodDeleted,
    JobEnds(&'static str),
    JobDeleted,
    AgentDeleted,
    ClassDeleted,
    ClassBack,
    Used,
    Cancel,
    Clock(i64),
    /// The operator dies after writing the status, before the open and the Job.
    DiesBeforeJob,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::PodCreated),
        6 => Just(Event::PilotStarts),
        1 => Just(Event::Stuck),
        1 => Just(Event::PullFails),
        1 => Just(Event::Unschedulable),
        2 => Just(Event::Succeeds),
        4 => prop::sample::select(FailureClass::ALL.to_vec()).prop_map(Event::HandsIn),
        4 => prop::sample::select(vec![0, 1, 3, 137]).prop_map(Event::PilotEnds),
        2 => Just(Event::Disrupted),
        2 => Just(Event::PodDeleted),
        2 => prop::sample::select(vec!["PodFailurePolicy", "BackoffLimitExceeded", "DeadlineExceeded", "Suspended"]).prop_map(Event::JobEnds),
        2 => Just(Event::JobDeleted),
        1 => Just(Event::AgentDeleted),
        1 => Just(Event::ClassDeleted),
        1 => Just(Event::ClassBack),
        2 => Just(Event::Used),
        1 => Just(Event::Cancel),
        6 => (0i64..5000).prop_map(Event::Clock),
        1 => Just(Event::DiesBeforeJob),
    ]
}

fn happens(sim: &mut Sim, event: &Event) {
    match event {
        Event::PodCreated => sim.pod_created(),
        Event::PilotStarts => sim.pilot_starts(),
        Event::Stuck => {
            if let Some(pod) = &mut sim.pod {
                pod.stuck = Some("container exec: InvalidImageName".to_owned());
            }
        }
        Event::PullFails => {
            let (since, why) = (sim.now, "container exec: ErrImagePull".to_owned());
            if let Some(pod) = &mut sim.pod {
                pod.pull = Some(Pull { since, why });
            }
        }
        Event::Unschedulable => {
            if let Some(pod) = &mut sim.pod {
                pod.unschedulable = Some("no node".to_owned());
            }
        }
        Event::Succeeds => sim.succeeds(),
        Event::HandsIn(class) => sim.hands_in(Some((*class, "so it goes"))),
        Event::PilotEnds(code) => sim.pilot_ends(*code),
        Event::Disrupted => {
            if let Some(pod) = &mut sim.pod {
                pod.disrupted = Some("evicted".to_owned());
            }
        }
        Event::PodDeleted => sim.pod = None,
        Event::JobEnds(reason) => sim.job_ends(reason),
        Event::JobDeleted => sim.job_deleted(),
        Event::AgentDeleted => sim.agent = None,
        Event::ClassDeleted => sim.class = None,
        Event::ClassBack => sim.class = Sim::new(json!({})).class,
        Event::Used => {
            let attempt = sim.attempt();
            if let Some(report) = sim.gateway.get_mut(&attempt) {
                report.usage.calls += 1;
                report.usage.sum.cost_pico += 1000;
            }
        }
        Event::Cancel => sim.cancel(),
        Event::Clock(seconds) => sim.later(*seconds),
        Event::DiesBeforeJob => {
            let attempt = sim.attempt();
            let unclaimed = sim
                .gateway
                .get(&attempt)
                .is_some_and(|report| report.claimed_at_ms.is_none());
            if unclaimed && sim.pod.is_none() && !sim.finished() {
                sim.jobs.clear();
                sim.gateway.remove(&attempt);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn from_any_reachable_state_a_task_ends_and_then_rests(
        events in prop::collection::vec(event(), 0..40),
        limit in 0i64..4,
        run in any::<bool>(),
        tools in any::<bool>(),
    ) {
        let mut spec = json!({ "retry": { "limit": limit, "on": ["NotAccepted", "StartFailed"] } });
        if run {
            spec["agent"] = json!(null);
            spec["params"] = json!(null);
            spec["run"] = json!({ "command": ["true"] });
        }
        let mut sim = Sim::new(spec);
        if !tools && let Some(agent) = &mut sim.agent {
            agent.spec.tools.clear(); // shared pilots run it
        }
        let mut cancelled = false;
        for event in &events {
            happens(&mut sim, event);
            cancelled |= matches!(event, Event::Cancel);
            sim.settle();
            if sim.finished() {
                let status = sim.task.status.clone().unwrap();
                prop_assert!(status.phase != Some(Phase::Running));
            }
        }
        // What was taken away comes back; a Task may wait for it as long as it likes.
        let whole = Sim::new(json!({}));
        sim.class = whole.class;
        if !run && sim.agent.is_none() {
            sim.agent = whole.agent;
        }
        sim.run_out();
        sim.later(5); // usage that came late
        sim.settle();
        if cancelled && sim.phase() != Phase::Cancelled {
            // Only a Task that had ended before.
            prop_assert!(matches!(sim.phase(), Phase::Succeeded | Phase::Failed));
        }
        prop_assert!(sim.jobs.is_empty());
        let bound = 1 + usize::try_from(limit).unwrap() + 10;
        prop_assert!(usize::try_from(sim.attempt()).unwrap() <= bound, "{} attempts", sim.attempt());
        sim.later(1_000_000);
        let rest = plan(&sim.task, &sim.observe());
        prop_assert!(idle(&rest) && rest.next.is_none(), "{rest:?}");
    }
}
