//! What decides that an attempt succeeded, and what is kept of it.

use super::*;

#[test]
fn the_check_decides_and_silence_never_accepts() {
    let green = outcome(
        checked(agent(&[]), 2),
        vec![probed(true), text("done"), ended(0)],
    );
    assert_eq!(
        (green.failure, green.output),
        (None, Some(json!({"text": "done"})))
    );
    for verdict in [
        ended(1),
        exec_failed(FailedCode::StartFailed),
        Event::Exec(Response::Done),
        Event::Exec(Response::Ran(Ran::default())),
        Event::Exec(Response::Ran(Ran {
            exit_code: Some(0),
            stopped: Some(Stopped::OutOfMemory),
            ..Ran::default()
        })),
    ] {
        let (records, next) = play(
            checked(agent(&[]), 2),
            vec![probed(true), text("done"), verdict.clone()],
        );
        assert!(matches!(next, Next::Model(_)));
        assert!(records.iter().any(|record| matches!(
            record,
            Body::Check {
                round: 1,
                accepted: false,
                ..
            }
        )));
        let events = vec![
            probed(true),
            text("done"),
            verdict.clone(),
            text("again"),
            verdict.clone(),
        ];
        assert_eq!(
            class(checked(agent(&[]), 2), events),
            FailureClass::NotAccepted,
            "{verdict:?}"
        );
        assert_eq!(
            class(
                checked(run_task(), 2),
                vec![probed(true), ended(0), verdict]
            ),
            FailureClass::NotAccepted
        );
    }
    let lost = vec![
        probed(true),
        text("done"),
        Event::ExecRestarted,
        probed(true),
    ];
    let (records, _) = play(checked(agent(&[]), 2), lost);
    assert!(records.iter().any(|record| matches!(
        record,
        Body::Check {
            accepted: false,
            exit_code: None,
            ..
        }
    )));
}

#[test]
fn refused_calls_have_their_class_and_doubt_one_repetition() {
    let refused = |code: &str| Event::ModelFailed {
        code: code.into(),
        message: "why".into(),
    };
    let (_, next) = play(agent(&[]), vec![probed(true), refused("in_doubt")]);
    assert!(matches!(next, Next::Model(_)));
    for (events, wanted) in [
        (
            vec![refused("in_doubt"), refused("in_doubt")],
            FailureClass::ModelUnavailable,
        ),
        (
            vec![refused("in_doubt"), refused("budget_exceeded")],
            FailureClass::BudgetExceeded,
        ),
        (vec![refused("too_large")], FailureClass::LimitReached),
        (vec![refused("no such code")], FailureClass::Internal),
    ] {
        let events = std::iter::once(probed(true)).chain(events).collect();
        assert_eq!(class(agent(&[]), events), wanted);
    }
}

#[test]
fn a_budget_of_the_cluster_without_room_is_waited_for_and_keeps_nothing() {
    let refused = Event::ModelFailed {
        code: "window_exceeded".into(),
        message: "team/day: $10.00 of $10.00".into(),
    };
    let mut assignment = agent(&[]);
    assignment.artifacts = vec![ArtifactRule {
        name: "a".into(),
        path: "*".into(),
    }];
    let ended = outcome(assignment, vec![probed(true), refused]);
    let failure = ended.failure.unwrap();
    assert_eq!(
        (failure.class, failure.waits),
        (FailureClass::BudgetExceeded, Some(Waits::Budget))
    );
    assert_eq!(failure.message, "team/day: $10.00 of $10.00");
    assert!(ended.artifacts.is_empty());
}

#[test]
fn artifacts_are_kept_after_success_and_failure() {
    let with = |mut assignment: Assignment| {
        assignment.artifacts = vec![ArtifactRule {
            name: "a".into(),
            path: "*".into(),
        }];
        assignment
    };
    let stored = || {
        Event::Kept(Kept::Stored {
            artifact: Artifact {
                name: "a".into(),
                size: 1,
                digest: "d".into(),
                archive: false,
            },
            skipped: vec!["link".into()],
        })
    };
    let failed = outcome(with(run_task()), vec![probed(true), ended(3), stored()]);
    assert_eq!(
        (failed.failure.unwrap().class, failed.artifacts.len()),
        (FailureClass::ToolFailed, 1)
    );
    for (kept, wanted) in [
        (Kept::Nothing { skipped: vec![] }, None),
        (
            Kept::TooLarge("big".into()),
            Some(FailureClass::OutputTooLarge),
        ),
        (Kept::Failed("no".into()), Some(FailureClass::Internal)),
    ] {
        let (records, next) = play(
            with(run_task()),
            vec![probed(true), ended(0), Event::Kept(kept.clone())],
        );
        assert!(matches!(records.last(), Some(Body::Note { .. })));
        let Next::Finish(outcome) = next else {
            panic!()
        };
        assert_eq!(outcome.failure.map(|failure| failure.class), wanted);
        // A failure stays what it is.
        assert_eq!(
            class(
                with(run_task()),
                vec![probed(true), ended(1), Event::Kept(kept)]
            ),
            FailureClass::ToolFailed
        );
    }
    let gone = outcome(
        with(run_task()),
        vec![probed(true), ended(1), Event::ExecGone],
    );
    assert_eq!(gone.failure.unwrap().class, FailureClass::ToolFailed);
    assert_eq!(
        class(
            with(run_task()),
            vec![probed(true), ended(0), Event::ExecGone]
        ),
        FailureClass::Internal
    );
}
