//! Files of other Tasks: a workspace that is begun with, artifacts that are placed, a workspace that is kept.

use super::*;
use oarmaster_protocol::journal::Record;
use oarmaster_protocol::task::MAX_BLOB_BYTES;

fn blob(digest: &str) -> Blob {
    sized(digest, 1)
}

fn sized(digest: &str, size: u64) -> Blob {
    Blob {
        digest: digest.into(),
        size,
    }
}

fn begins(mut assignment: Assignment, keep: bool) -> Assignment {
    assignment.workspace = Workspace {
        from: Some(placed("", false).task),
        keep,
    };
    assignment.files = vec![File {
        path: "given".into(),
        content: "b".into(),
    }];
    assignment
}

fn keeps(mut assignment: Assignment) -> Assignment {
    assignment.workspace.keep = true;
    assignment
}

fn taken(base: bool, digest: &str) -> Saved {
    Saved::Taken {
        base,
        blobs: vec![blob(digest)],
        skipped: vec![],
    }
}

fn whole(blobs: &[Blob]) -> Option<Checkpoint> {
    Some(Checkpoint::Layer {
        base: true,
        blobs: blobs.to_vec(),
    })
}

/// An attempt whose journal so far is this, step by step.
struct Attempt(Option<Machine>);

impl Attempt {
    fn begin(assignment: Assignment, blobs: &[Blob], journal: &[Record]) -> Self {
        let before = Some(Before::Workspace(blobs.to_vec()));
        Self(Some(Machine::resume(assignment, before, journal)))
    }

    fn go(&mut self, event: Event) -> Next {
        let (after, step) = self.0.take().unwrap().step(event);
        self.0 = Some(after);
        step.next
    }

    fn machine(&mut self) -> &mut Machine {
        self.0.as_mut().unwrap()
    }
}

#[test]
fn what_another_task_left_comes_first_and_the_tasks_own_files_on_top() {
    let mut assignment = begins(run_task(), false);
    assignment.placed = vec![placed("in", true)];
    assignment.repositories = vec![repository()];
    let theirs = [blob("one"), blob("two")];
    let mut run = Attempt::begin(assignment, &theirs, &[]);
    assert_eq!(run.go(Event::Begin), Next::Exec(Request::Probe));
    assert_eq!(run.go(probed(true)), Next::Restore(theirs.to_vec()));
    let mut next = run.go(Event::Restored(Ok(())));
    while matches!(&next, Next::Exec(Request::Run(_))) {
        next = run.go(ended(0)); // the repository
    }
    assert_eq!(next, Next::Place(placed("in", true)));
    let next = run.go(Event::Exec(Response::Done));
    assert!(matches!(next, Next::Exec(Request::Write { path, .. }) if path == "given"));
    assert!(matches!(
        run.go(Event::Exec(Response::Done)),
        Next::Exec(Request::Run(_))
    ));
    // Nobody is to begin with what it leaves.
    let Next::Finish(outcome) = run.go(ended(0)) else {
        panic!()
    };
    assert_eq!((outcome.failure, outcome.workspace), (None, None));
}

#[test]
fn what_is_kept_stands_on_what_it_began_with() {
    let theirs = [blob("one"), blob("two")];
    for (saved, wanted) in [
        (
            taken(false, "mine"),
            whole(&[blob("one"), blob("two"), blob("mine")]),
        ),
        // exec was restarted, and has sent everything.
        (taken(true, "mine"), whole(&[blob("mine")])),
        (Saved::Same, whole(&theirs)),
    ] {
        for exit_code in [0, 3] {
            let mut run = Attempt::begin(begins(run_task(), true), &theirs, &[]);
            for event in [
                Event::Begin,
                probed(true),
                Event::Restored(Ok(())),
                Event::Exec(Response::Done),
            ] {
                run.go(event);
            }
            assert_eq!(run.go(ended(exit_code)), Next::Save(Save { base: false }));
            let Next::Finish(outcome) = run.go(Event::Saved(saved.clone())) else {
                panic!()
            };
            assert_eq!(outcome.failure.is_some(), exit_code != 0);
            assert_eq!(outcome.workspace, wanted);
        }
    }
}

#[test]
fn a_workspace_that_cannot_be_kept_makes_a_success_a_failure() {
    let end = |exit_code| {
        let failed = Event::Saved(Saved::Failed("the quota".into()));
        outcome(
            keeps(run_task()),
            vec![probed(true), ended(exit_code), failed],
        )
    };
    let failure = end(0).failure.unwrap();
    assert_eq!(failure.class, FailureClass::OutputTooLarge);
    assert!(failure.message.contains("could not be kept"), "{failure:?}");
    assert!(failure.message.contains("the quota"), "{failure:?}");
    let failed = end(3);
    assert_eq!(failed.failure.unwrap().class, FailureClass::ToolFailed);
    let lost = failed.workspace;
    assert!(matches!(lost, Some(Checkpoint::Failed { .. })), "{lost:?}");
}

/// Artifacts first, then the workspace; what begins from nothing sends everything.
#[test]
fn an_agent_keeps_its_workspace_when_it_has_ended() {
    let mut assignment = keeps(agent(&["Shell"]));
    assignment.artifacts = vec![ArtifactRule {
        name: "a".into(),
        path: "*".into(),
    }];
    let nothing = || Event::Kept(Kept::Nothing { skipped: vec![] });
    let begin = || vec![probed(true), text("done")];
    let next = play(assignment.clone(), begin()).1;
    assert!(matches!(next, Next::Collect { .. }));
    let events = [begin(), vec![nothing()]].concat();
    let next = play(assignment.clone(), events.clone()).1;
    assert_eq!(next, Next::Save(Save { base: true }));
    let saved = Event::Saved(taken(true, "all"));
    let ended = outcome(assignment.clone(), [events, vec![saved]].concat());
    assert_eq!(
        (ended.failure, ended.workspace),
        (None, whole(&[blob("all")]))
    );
    // Of what was never probed, or waits, nothing is kept.
    assert_eq!(
        outcome(assignment.clone(), vec![probed(false)]).workspace,
        None
    );
    let waits = Event::ModelFailed {
        code: "window_exceeded".into(),
        message: "full".into(),
    };
    assert_eq!(
        outcome(assignment, vec![probed(true), waits]).workspace,
        None
    );
}

/// The next attempt of an agent has what it began with and what was changed since, with the files that were placed then.
#[test]
fn an_attempt_goes_on_on_top_of_what_the_task_began_with() {
    let assignment = begins(agent(&["Shell"]), true);
    let layer = Body::ToolResult {
        id: "c0".into(),
        tool: "Shell".into(),
        ok: true,
        text: "done".into(),
        heard: None,
        checkpoint: Some(Checkpoint::Layer {
            base: false,
            blobs: vec![blob("mine")],
        }),
    };
    let records: Vec<Record> = [layer]
        .into_iter()
        .map(|body| Record {
            seq: 0,
            at_ms: 0,
            attempt: 1,
            body,
        })
        .collect();
    let mut agent = Attempt::begin(assignment, &[blob("theirs")], &records);
    agent.go(Event::Begin);
    let both = [blob("theirs"), blob("mine")];
    assert_eq!(agent.go(probed(true)), Next::Restore(both.to_vec()));
    let next = agent.go(Event::Restored(Ok(())));
    assert!(matches!(next, Next::Model(_)), "no file is placed again");
    agent.go(calls(&[("Shell", r#"{"command":"ls"}"#)]));
    let response = Response::Ran(Ran::default());
    assert_eq!(agent.machine().saves(&response), Some(Save { base: false }));
}

/// Layers stay layers when they go from Task to Task: how many there are, and how large, counts for all of them together.
#[test]
fn layers_are_found_again_and_taken_together_when_they_are_many() {
    let full = |digest: &str| sized(digest, MAX_BLOB_BYTES);
    let saves = |blobs: &[Blob]| {
        let mut run = Attempt::begin(begins(run_task(), true), blobs, &[]);
        for event in [
            Event::Begin,
            probed(true),
            Event::Restored(Ok(())),
            Event::Exec(Response::Done),
        ] {
            run.go(event);
        }
        match run.go(ended(0)) {
            Next::Save(save) => save.base,
            other => panic!("{other:?}"),
        }
    };
    let base = [full("a"), full("b"), sized("c", 5)];
    assert!(!saves(&base));
    let many = |layers: usize| [base.to_vec(), vec![blob("over"); layers]].concat();
    assert!(!saves(&many(63)));
    assert!(saves(&many(64)));
    let large = [base.to_vec(), vec![full("d"), full("e"), sized("f", 6)]].concat();
    assert!(saves(&large), "more than what it stands on");
}

#[test]
fn what_is_not_there_ends_the_task_and_says_which_field() {
    let gone = || Some(Before::Gone("Task before kept no workspace".into()));
    let machine = Machine::resume(begins(run_task(), false), gone(), &[]);
    let Next::Finish(outcome) = machine.step(Event::Begin).1.next else {
        panic!()
    };
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.class, FailureClass::InvalidInput);
    assert_eq!(
        failure.message,
        "workspace.from: Task before kept no workspace"
    );
}

#[test]
fn an_artifact_that_cannot_be_placed_is_named() {
    let mut assignment = run_task();
    assignment.placed = vec![placed("a", false), placed("b/c", true)];
    let placed = Event::Exec(Response::Done);
    let events = |last| vec![probed(true), placed.clone(), last];
    for (code, wanted) in [
        (FailedCode::NotFound, FailureClass::InvalidInput),
        (FailedCode::NoSpace, FailureClass::InvalidInput),
        (FailedCode::Io, FailureClass::StartFailed),
    ] {
        let failure = outcome(assignment.clone(), events(exec_failed(code)));
        let failure = failure.failure.unwrap();
        assert_eq!(failure.class, wanted);
        assert_eq!(
            failure.message,
            "files: artifact patch of Task before at `b/c` could not be placed: no"
        );
    }
    // A sandbox that is lost goes on with the same one, once it is proven again.
    let lost = play(assignment.clone(), events(Event::ExecRestarted)).1;
    assert_eq!(lost, Next::Exec(Request::Probe));
    let again = [events(Event::ExecRestarted), vec![probed(true)]].concat();
    let next = play(assignment, again).1;
    assert!(matches!(next, Next::Place(placed) if placed.path == "b/c"));
}

/// A follow-up of what began with another Task's files has them where they were kept, and else is told that they are not there.
#[test]
fn a_follow_up_has_the_files_that_were_kept() {
    let theirs = begins(agent(&["Shell"]), true);
    let end = |workspace| {
        vec![Record {
            seq: 0,
            at_ms: 0,
            attempt: 1,
            body: Body::Result {
                outcome: Outcome {
                    workspace,
                    ..Outcome::default()
                },
            },
        }]
    };
    let follow = |journal| {
        let before = Some(Before::Task(Box::new(theirs.clone()), journal));
        Attempt(Some(Machine::resume(agent(&["Shell"]), before, &[])))
    };
    let both = [blob("theirs"), blob("mine")];
    let mut kept = follow(end(whole(&both)));
    kept.go(Event::Begin);
    assert_eq!(kept.go(probed(true)), Next::Restore(both.to_vec()));
    let mut lost = follow(end(None));
    lost.go(Event::Begin);
    // The files that were given to it, and a word of the others.
    assert!(matches!(
        lost.go(probed(true)),
        Next::Exec(Request::Write { .. })
    ));
    let next = lost.go(Event::Exec(Response::Done));
    let Next::Model(body) = next else {
        panic!("{next:?}")
    };
    let told = body["messages"].to_string();
    assert!(told.contains("they were another task's"), "{told}");
}
