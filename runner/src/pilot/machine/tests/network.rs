//! The proof of the pod's NetworkPolicy: before what it comes, and what becomes of it.

use super::*;

#[test]
fn a_demanded_policy_is_proven_beside_the_first_model_call_and_before_the_first_program() {
    let ask = calls(&[("Shell", r#"{"command":"ls"}"#)]);
    let before = [
        (demanding(agent(&["Shell"])), vec![probed(true), ask]),
        (demanding(run_task()), vec![probed(true)]),
        (
            demanding(checked(agent(&["Shell"]), 1)),
            vec![probed(true), text("done")],
        ),
    ];
    for (assignment, events) in before {
        let (records, next) = play(assignment.clone(), events.clone());
        assert_eq!(next, Next::Network);
        assert!(
            !records
                .iter()
                .any(|record| matches!(record, Body::Isolation { .. })),
            "half a proof is none: {records:?}"
        );

        let good = Event::Network(network(&[Place::Kubelet], &[Place::ApiServer]));
        let (records, next) = play(assignment.clone(), [events.clone(), vec![good]].concat());
        assert!(matches!(next, Next::Exec(Request::Run(_))), "{next:?}");
        let Some(Body::Isolation { proven, findings }) = records.last() else {
            panic!("{records:?}")
        };
        assert!(proven);
        assert!(findings[0].starts_with("network policy enforced: the pod reached its node's"));
        assert_eq!(findings[1], "socket family 2 was possible");

        for bad in [
            network(&[Place::Internet], &[Place::ApiServer]),
            network(&[], &[]),
        ] {
            let sentence = bad.sentence();
            let (records, next) = play(
                assignment.clone(),
                [events.clone(), vec![Event::Network(bad)]].concat(),
            );
            let Next::Finish(outcome) = next else {
                panic!("{next:?}")
            };
            let failure = outcome.failure.unwrap();
            assert_eq!(failure.class, FailureClass::IsolationUnproven);
            assert!(failure.message.contains(&sentence), "{}", failure.message);
            assert!(matches!(
                records.last(),
                Some(Body::Isolation { proven: false, .. })
            ));
        }
    }
}

#[test]
fn a_demanded_policy_is_proven_once() {
    let ask = || calls(&[("Shell", r#"{"command":"ls"}"#)]);
    let good = Event::Network(network(&[], &[Place::ApiServer]));
    let events = vec![probed(true), ask(), good, ended(0), ask()];
    let (_, next) = play(demanding(agent(&["Shell"])), events);
    assert!(matches!(next, Next::Exec(Request::Run(_))), "{next:?}");
}

#[test]
fn what_is_learned_of_a_policy_that_nobody_demands_is_recorded_and_changes_nothing() {
    for found in [
        network(&[], &[Place::ApiServer]),
        network(&[Place::Internet], &[Place::ApiServer]),
    ] {
        let mut machine = Machine::new(agent(&["Shell"]));
        machine = machine.step(Event::Begin).0;
        machine.learn(found.clone());
        let (mut machine, step) = machine.step(probed(true));
        let known = |records: &[Body]| match records {
            [
                Body::Isolation {
                    proven: true,
                    findings,
                },
            ] => findings.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            known(&step.records),
            2,
            "known before the sandbox's own proof"
        );
        assert!(matches!(step.next, Next::Model(_)));
        machine.learn(found);
        let (_, step) = machine.step(calls(&[("Shell", r#"{"command":"ls"}"#)]));
        assert_eq!(known(&step.records[..1]), 2, "known after it");
        assert!(matches!(step.next, Next::Exec(Request::Run(_))));
    }
}
