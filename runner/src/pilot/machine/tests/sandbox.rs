//! What the sandbox must prove first, and what becomes of one that fails.

use super::*;

#[test]
fn nothing_runs_before_isolation_is_proven() {
    let mut assignment = agent(&["Shell"]);
    assignment.files = vec![File {
        path: "a".into(),
        content: "b".into(),
    }];
    let (records, next) = play(assignment.clone(), vec![]);
    assert_eq!((records, next), (vec![], Next::Exec(Request::Probe)));
    let (records, next) = play(assignment.clone(), vec![probed(false)]);
    assert!(matches!(
        records[..],
        [Body::Isolation { proven: false, .. }]
    ));
    let Next::Finish(outcome) = next else {
        panic!()
    };
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.class, FailureClass::IsolationUnproven);
    assert!(failure.message.contains("socket family 2"));
    for answer in [
        exec_failed(FailedCode::NotConfined),
        Event::Exec(Response::Done),
    ] {
        assert_eq!(
            class(assignment.clone(), vec![answer]),
            FailureClass::IsolationUnproven
        );
    }
    assert_eq!(
        class(assignment.clone(), vec![Event::ExecGone]),
        FailureClass::StartFailed
    );
    let (_, next) = play(assignment, vec![probed(true)]);
    assert!(matches!(next, Next::Exec(Request::Write { .. })));
}

/// Before the first model call is paid.
#[test]
fn an_image_without_what_the_tools_need_is_told_at_once() {
    let cases: [(&[&str], &[&str], Option<&str>); 6] = [
        (&["Shell"], &["shell"], None),
        (
            &["Shell"],
            &["python"],
            Some("no sh, which the Agent's tool Shell needs"),
        ),
        (&["RunCode"], &["python"], None),
        (&["RunCode"], &["shell"], None),
        (
            &["RunCode"],
            &[],
            Some(
                "no interpreter for the Agent's tool RunCode (python3 or python, node, java with javac, sh)",
            ),
        ),
        (&["ReadFile", "EditFile"], &[], None),
    ];
    for (tools, languages, missing) in cases {
        let events = vec![probed_with(true, languages)];
        match (play(agent(tools), events).1, missing) {
            (Next::Model(_), None) => {}
            (Next::Finish(outcome), Some(missing)) => {
                let failure = outcome.failure.unwrap();
                assert_eq!(failure.class, FailureClass::StartFailed);
                assert!(failure.message.contains(missing), "{}", failure.message);
            }
            (next, _) => panic!("{tools:?} {languages:?}: {next:?}"),
        }
    }
}

#[test]
fn files_that_cannot_be_placed_name_themselves() {
    let mut assignment = agent(&["Shell"]);
    assignment.files = vec![File {
        path: "../a".into(),
        content: "b".into(),
    }];
    for (code, wanted) in [
        (FailedCode::Refused, FailureClass::InvalidInput),
        (FailedCode::NoSpace, FailureClass::InvalidInput),
        (FailedCode::Io, FailureClass::StartFailed),
    ] {
        let failure = outcome(assignment.clone(), vec![probed(true), exec_failed(code)])
            .failure
            .unwrap();
        assert_eq!(failure.class, wanted);
        assert!(failure.message.contains("`../a`"));
    }
}

/// The word of git that is run.
fn git(next: &Next) -> Option<&str> {
    match next {
        Next::Exec(Request::Run(run)) => match &run.program {
            Program::Command(argv) if argv[0] == "git" => ["init", "config", "fetch", "checkout"]
                .into_iter()
                .find(|word| argv.iter().any(|held| held == word)),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn repositories_come_before_files_and_after_the_proof() {
    let mut assignment = agent(&["Shell"]);
    assignment.repositories = vec![repository()];
    assignment.files = vec![File {
        path: "app/a".into(),
        content: "b".into(),
    }];
    let mut events = vec![probed(true)];
    for word in ["init", "config", "fetch", "checkout"] {
        let (_, next) = play(assignment.clone(), events.clone());
        assert_eq!(git(&next), Some(word), "{next:?}");
        events.push(ended(0));
    }
    let (records, next) = play(assignment.clone(), events.clone());
    assert!(
        matches!(next, Next::Exec(Request::Write { .. })),
        "{next:?}"
    );
    let note = |body: &Body| matches!(body, Body::Note { text } if text.contains("`app` is https://git.example.com/app at HEAD"));
    assert!(records.iter().any(note), "{records:?}");
    events.push(Event::Exec(Response::Done));
    let (_, next) = play(assignment.clone(), events);
    assert!(matches!(next, Next::Model(_)), "{next:?}");

    // A sandbox that was lost meanwhile begins with it anew.
    let lost = vec![probed(true), ended(0), ended(0), Event::ExecRestarted];
    let (_, next) = play(assignment.clone(), lost.clone());
    assert_eq!(next, Next::Exec(Request::Probe));
    let (_, next) = play(assignment.clone(), [lost, vec![probed(true)]].concat());
    assert_eq!(git(&next), Some("init"));

    // What a server sends is read no sooner than the network is proven closed.
    let assignment = demanding(assignment);
    let (_, next) = play(assignment.clone(), vec![probed(true)]);
    assert_eq!(next, Next::Network);
    let found = Event::Network(network(&[], &[Place::ApiServer]));
    let (_, next) = play(assignment, vec![probed(true), found]);
    assert_eq!(git(&next), Some("init"));
}

#[test]
fn a_repository_that_cannot_be_fetched_names_itself() {
    let mut assignment = run_task();
    assignment.repositories = vec![repository()];
    let said = |text: &str| {
        Event::Exec(Response::Ran(Ran {
            exit_code: Some(128),
            stderr: Output {
                head: Bytes(text.into()),
                ..Output::default()
            },
            ..Ran::default()
        }))
    };
    for (event, wanted) in [
        (
            said("fatal: couldn't find remote ref HEAD"),
            FailureClass::InvalidInput,
        ),
        (
            said("fatal: the remote end hung up unexpectedly"),
            FailureClass::Disrupted,
        ),
        (
            exec_failed(FailedCode::StartFailed),
            FailureClass::StartFailed,
        ),
        (Event::ExecGone, FailureClass::OutOfMemory),
        (Event::Exec(Response::Done), FailureClass::Internal),
    ] {
        let events = vec![probed(true), ended(0), ended(0), event.clone()];
        let failure = outcome(assignment.clone(), events).failure.unwrap();
        assert_eq!(failure.class, wanted, "{event:?}");
    }
    let events = vec![probed(true), exec_failed(FailedCode::StartFailed)];
    let message = outcome(assignment, events).failure.unwrap().message;
    assert!(
        message.contains("`app`") && message.contains("image's own git"),
        "{message}"
    );
}

#[test]
fn a_sandbox_that_stops_again_and_again_is_given_up() {
    let call = calls(&[("Shell", r#"{"command":"ls"}"#)]);
    let mut events = vec![probed(true), call.clone()];
    for _ in 0..MAX_RESTARTS {
        events.push(Event::ExecRestarted);
    }
    let (_, next) = play(agent(&["Shell"]), events.clone());
    assert_eq!(next, Next::Exec(Request::Probe));
    events.push(Event::ExecRestarted);
    assert_eq!(class(agent(&["Shell"]), events), FailureClass::OutOfMemory);
    assert_eq!(
        class(
            agent(&["Shell"]),
            vec![probed(true), call.clone(), Event::ExecGone]
        ),
        FailureClass::OutOfMemory
    );
    assert_eq!(
        class(run_task(), vec![probed(true), Event::ExecRestarted]),
        FailureClass::OutOfMemory
    );
    // A sandbox that comes back open is not used.
    let events = vec![probed(true), call, Event::ExecRestarted, probed(false)];
    assert_eq!(
        class(agent(&["Shell"]), events),
        FailureClass::IsolationUnproven
    );
}

#[test]
fn a_sandbox_that_stopped_before_a_request_is_asked_again() {
    let shell = || calls(&[("Shell", r#"{"command":"ls"}"#)]);
    for (assignment, before) in [
        (agent(&["Shell"]), vec![probed(true), shell()]),
        (checked(agent(&[]), 1), vec![probed(true), text("done")]),
        (run_task(), vec![probed(true)]),
    ] {
        let (_, asked) = play(assignment.clone(), before.clone());
        let Next::Exec(request) = asked.clone() else {
            panic!("{asked:?}");
        };
        let mut events = before.clone();
        events.push(Event::ExecReplaced(request.clone()));
        assert_eq!(
            play(assignment.clone(), events.clone()).1,
            Next::Exec(Request::Probe),
            "nothing runs before its isolation is proven"
        );
        events.push(probed(true));
        let (records, again) = play(assignment.clone(), events.clone());
        assert_eq!(again, asked);
        assert!(
            !records
                .iter()
                .any(|record| matches!(record, Body::ToolResult { .. } | Body::Check { .. })),
            "nothing was done yet: {records:?}"
        );
        // A sandbox that comes back open is not used, and one that goes again and again is given up.
        let mut open = before.clone();
        open.extend([Event::ExecReplaced(request.clone()), probed(false)]);
        assert_eq!(
            class(assignment.clone(), open),
            FailureClass::IsolationUnproven
        );
        let mut endless = before;
        for _ in 0..=MAX_RESTARTS {
            endless.extend([Event::ExecReplaced(request.clone()), probed(true)]);
        }
        endless.pop();
        let (_, end) = play(assignment, endless);
        assert_ne!(end, asked);
    }
}

#[test]
fn what_needs_a_sandbox_says_so_without_one() {
    for mut assignment in [agent(&["Shell"]), checked(agent(&[]), 1), run_task()] {
        assignment.sandbox = None;
        assert_eq!(class(assignment, vec![]), FailureClass::Internal);
    }
}
