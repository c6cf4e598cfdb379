//! What is asked of the operator.

use super::*;
use oarmaster_protocol::assignment::Handed;
use oarmaster_protocol::request::{Answer, Ask, MAX_ASK_BYTES};

fn asking(tools: &[&str]) -> Assignment {
    let mut assignment = agent(tools);
    assignment.sandbox = None;
    if let Target::Agent(agent) = &mut assignment.target {
        agent.delegates = vec!["coder".into()];
    }
    assignment
}

fn approved(tools: &[&str]) -> Assignment {
    let mut assignment = agent(tools);
    if let Target::Agent(agent) = &mut assignment.target {
        agent.approvals = vec!["Shell".into()];
    }
    assignment
}

fn delegate() -> Event {
    calls(&[("Delegate", r#"{"agent":"coder","prompt":"Fix it."}"#)])
}

fn shell() -> Event {
    calls(&[("Shell", r#"{"command":"rm -r ."}"#)])
}

fn replied(ok: bool, value: Value) -> Event {
    Event::Replied(Answer::new(ok, value))
}

fn asked(records: &[Body]) -> Vec<(&str, &Ask)> {
    let asked = records.iter().filter_map(|body| match body {
        Body::Asked { id, what, .. } => Some((id.as_str(), what)),
        _ => None,
    });
    asked.collect()
}

#[test]
fn a_delegation_is_written_down_awaited_and_its_output_shown() {
    let (records, next) = play(asking(&["Delegate"]), vec![delegate()]);
    let what = Ask::Delegate {
        agent: "coder".into(),
        prompt: "Fix it.".into(),
        workspace: None,
    };
    let id = what.id(1);
    assert_eq!(asked(&records), [(id.as_str(), &what)]);
    assert!(matches!(records.first(), Some(Body::ToolIntent { tool, .. }) if tool == "Delegate"));
    assert_eq!(next, Next::Await { id });

    let events = vec![delegate(), replied(true, json!({"text": "fixed"}))];
    let (records, next) = play(asking(&["Delegate"]), events);
    assert_eq!(last_message(&next), "fixed");
    let last = records.last().unwrap();
    assert!(matches!(last, Body::ToolResult { ok: true, text, .. } if text == "fixed"));

    let events = vec![delegate(), replied(false, json!("Timeout: too late"))];
    let next = play(asking(&["Delegate"]), events).1;
    assert_eq!(
        last_message(&next),
        "The agent coder did not succeed: Timeout: too late"
    );
}

#[test]
fn without_an_answer_the_task_waits_for_it_and_is_not_over() {
    let ended = outcome(asking(&["Delegate"]), vec![delegate(), Event::NoReply]);
    let failure = ended.failure.unwrap();
    let id = Ask::Delegate {
        agent: "coder".into(),
        prompt: "Fix it.".into(),
        workspace: None,
    }
    .id(1);
    assert_eq!(failure.waits, Some(Waits::Request { id }));
    assert_eq!(failure.message, "waits for the agent coder");
}

#[test]
fn a_call_that_needs_leave_runs_after_it_and_never_before() {
    let (records, next) = play(approved(&["Shell"]), vec![probed(true), shell()]);
    assert!(matches!(next, Next::Await { .. }));
    let what = Ask::Approval {
        tool: "Shell".into(),
        arguments: json!({"command": "rm -r ."}),
    };
    assert_eq!(asked(&records)[0].1, &what);

    let events = vec![probed(true), shell(), replied(true, json!({}))];
    let next = play(approved(&["Shell"]), events).1;
    assert!(matches!(next, Next::Exec(Request::Run(_))));

    let rejected = json!({"decision": "Rejected", "by": ["alice"], "notes": ["not that"]});
    let events = vec![probed(true), shell(), replied(false, rejected)];
    let next = play(approved(&["Shell"]), events).1;
    let told = last_message(&next);
    assert!(
        told.starts_with("This call was not run: Rejected by alice: not that."),
        "{told}"
    );
}

#[test]
fn other_tools_need_no_leave() {
    let read = calls(&[("ReadFile", r#"{"path":"a"}"#)]);
    let next = play(approved(&["Shell", "ReadFile"]), vec![probed(true), read]).1;
    assert!(matches!(next, Next::Exec(Request::Read { .. })));
}

#[test]
fn a_call_that_cannot_be_run_is_not_asked_for() {
    let broken = calls(&[("Shell", r#"{"cmd":"ls"}"#)]);
    let (records, next) = play(approved(&["Shell"]), vec![probed(true), broken]);
    assert!(asked(&records).is_empty());
    assert!(last_message(&next).contains("JSON Schema"));
}

#[test]
fn what_is_too_large_to_be_shown_is_not_asked_for() {
    let command = "x".repeat(MAX_ASK_BYTES);
    let large = calls(&[("Shell", &json!({"command": command}).to_string())]);
    let (records, next) = play(approved(&["Shell"]), vec![probed(true), large]);
    assert!(asked(&records).is_empty());
    assert!(last_message(&next).contains("Make them smaller"));
}

#[test]
fn people_are_asked_and_their_words_shown() {
    let question = calls(&[("AskHuman", r#"{"question":"Which one?"}"#)]);
    let answer = json!({"decision": "Approved", "by": ["alice"], "notes": ["the second"]});
    let events = vec![question, replied(true, answer)];
    let next = play(asking(&["AskHuman"]), events).1;
    assert_eq!(last_message(&next), "Approved by alice: the second");
}

#[test]
fn a_tool_that_the_agent_does_not_have_is_not_asked_for() {
    let (records, next) = play(asking(&["AskHuman"]), vec![delegate()]);
    assert!(asked(&records).is_empty());
    assert_eq!(
        last_message(&next),
        "There is no tool `Delegate`. The tools are: AskHuman."
    );
}

#[test]
fn requests_of_an_attempt_have_names_of_their_own() {
    let again = || vec![delegate(), replied(true, json!({"text": "a"}))];
    let events = [again(), again()].concat();
    let (records, _) = play(asking(&["Delegate"]), events);
    let ids: Vec<_> = asked(&records).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

/// An agent that has files to hand on.
fn handing() -> Assignment {
    let sandbox = agent(&[]).sandbox;
    Assignment {
        sandbox,
        ..asking(&["Shell", "Delegate"])
    }
}

fn hand_on() -> Event {
    calls(&[(
        "Delegate",
        r#"{"agent":"coder","prompt":"Fix it.","files":true}"#,
    )])
}

fn taken(digest: &str) -> Event {
    Event::Saved(Saved::Taken {
        base: true,
        blobs: vec![blob(digest)],
        skipped: vec![],
    })
}

fn blob(digest: &str) -> Blob {
    Blob {
        digest: digest.into(),
        size: 1,
    }
}

fn left(digest: &str) -> Checkpoint {
    Checkpoint::Layer {
        base: true,
        blobs: vec![blob(digest)],
    }
}

fn given_back(workspace: Option<Checkpoint>) -> Event {
    Event::Replied(Answer {
        workspace,
        ..Answer::new(true, json!({"text": "fixed"}))
    })
}

#[test]
fn files_are_kept_before_they_are_handed_on_and_again_when_they_come_back() {
    let begin = || vec![probed(true), hand_on()];
    let (_, next) = play(handing(), begin());
    assert_eq!(next, Next::Save(Save { base: true }));

    let events = [begin(), vec![taken("mine")]].concat();
    let (records, next) = play(handing(), events.clone());
    let what = Ask::Delegate {
        agent: "coder".into(),
        prompt: "Fix it.".into(),
        workspace: Some(vec![blob("mine")]),
    };
    let id = what.id(1);
    let written = Body::Asked {
        id: id.clone(),
        what,
        checkpoint: Some(left("mine")),
    };
    assert_eq!(records.last(), Some(&written));
    assert_eq!(next, Next::Await { id });

    let events = [events, vec![given_back(Some(left("theirs")))]].concat();
    let next = play(handing(), events.clone()).1;
    assert_eq!(next, Next::Restore(vec![blob("theirs")]));
    let events = [events, vec![Event::Restored(Ok(()))]].concat();
    let next = play(handing(), events.clone()).1;
    assert_eq!(next, Next::Save(Save { base: true }));
    let events = [events, vec![taken("now")]].concat();
    let (records, next) = play(handing(), events.clone());
    assert!(
        matches!(records.last(), Some(Body::ToolResult { ok: true, checkpoint: Some(now), .. }) if *now == left("now"))
    );
    assert_eq!(
        last_message(&next),
        "fixed\n[Your files are as it left them.]"
    );

    // They are this Task's now: handed on again they are not sent again.
    let next = play(handing(), [events, vec![hand_on()]].concat()).1;
    assert!(matches!(next, Next::Await { .. }));
}

/// What it changed before it was cut off is in the workspace, and in no checkpoint.
#[test]
fn after_a_call_that_was_cut_off_the_files_are_kept_again_before_they_are_handed_on() {
    let begin = vec![probed(true), hand_on(), taken("mine"), given_back(None)];
    let next = play(handing(), [begin.clone(), vec![hand_on()]].concat()).1;
    assert!(matches!(next, Next::Await { .. }), "{next:?}");
    let cut_off = vec![shell(), Event::ExecRestarted, probed(true), hand_on()];
    let next = play(handing(), [begin, cut_off].concat()).1;
    assert_eq!(next, Next::Save(Save { base: true }));
}

#[test]
fn files_that_cannot_be_kept_are_not_handed_on() {
    let failed = Event::Saved(Saved::Failed("the quota".into()));
    let (records, next) = play(handing(), vec![probed(true), hand_on(), failed]);
    assert!(last_message(&next).contains("not be handed on: the quota"));
    assert_eq!(asked(&records), []);
}

#[test]
fn files_that_were_not_changed_or_are_lost_leave_ours_as_they_were() {
    let lost = Checkpoint::Failed {
        why: "the quota".into(),
    };
    for (workspace, wanted) in [
        (None, "fixed\n[Your files are as they were.]"),
        (Some(lost), "could not be kept"),
    ] {
        let events = vec![
            probed(true),
            hand_on(),
            taken("mine"),
            given_back(workspace),
        ];
        let next = play(handing(), events).1;
        assert!(last_message(&next).contains(wanted));
    }
}

#[test]
fn a_sandbox_that_is_lost_while_files_come_back_is_proven_and_filled_again() {
    let mut events = vec![
        probed(true),
        hand_on(),
        taken("mine"),
        given_back(Some(left("theirs"))),
        Event::ExecRestarted,
    ];
    assert_eq!(
        play(handing(), events.clone()).1,
        Next::Exec(Request::Probe)
    );
    events.push(probed(true));
    assert_eq!(
        play(handing(), events.clone()).1,
        Next::Restore(vec![blob("theirs")])
    );
    // What cannot be had leaves what there was.
    events.push(Event::Restored(Err("a part is gone".into())));
    assert_eq!(
        play(handing(), events.clone()).1,
        Next::Restore(vec![blob("mine")])
    );
    let put_back = [events.clone(), vec![Event::Restored(Ok(()))]].concat();
    let (records, next) = play(handing(), put_back);
    assert!(matches!(
        records.last(),
        Some(Body::ToolResult { ok: false, .. })
    ));
    assert!(last_message(&next).contains("could not be taken over: a part is gone"));
    events.push(Event::Restored(Err("that, too".into())));
    let failure = outcome(handing(), events).failure.unwrap();
    assert_eq!(failure.class, FailureClass::StateRegressed);
}

#[test]
fn files_that_came_back_and_cannot_be_kept_are_told_as_such() {
    let events = vec![
        probed(true),
        hand_on(),
        taken("mine"),
        given_back(Some(left("theirs"))),
        Event::Restored(Ok(())),
        Event::Saved(Saved::Failed("the quota".into())),
    ];
    let (records, next) = play(handing(), events);
    assert!(last_message(&next).contains("lost if you are interrupted: the quota"));
    let last = records.last();
    assert!(matches!(
        last,
        Some(Body::ToolResult {
            ok: true,
            checkpoint: Some(Checkpoint::Failed { .. }),
            ..
        })
    ));
}

#[test]
fn what_is_left_of_files_that_were_handed_is_in_the_outcome() {
    let handed = || {
        let mut assignment = agent(&["Shell"]);
        assignment.handed = Some(Handed {
            task: "p".into(),
            request: "1-x".into(),
        });
        let before = Some(Before::Workspace(vec![blob("theirs")]));
        Machine::resume(assignment, before, &[])
    };
    let end = |saved: Option<Saved>, again: Option<Saved>, failed: bool| {
        let mut machine = handed();
        let mut go = |event| {
            let (next, step) = std::mem::replace(&mut machine, handed()).step(event);
            machine = next;
            step.next
        };
        assert_eq!(go(Event::Begin), Next::Exec(Request::Probe));
        assert_eq!(go(probed(true)), Next::Restore(vec![blob("theirs")]));
        assert!(matches!(go(Event::Restored(Ok(()))), Next::Model(_)));
        if let Some(saved) = saved {
            assert!(matches!(go(shell()), Next::Exec(_)));
            let response = Response::Ran(Ran::default());
            assert_eq!(machine.saves(&response), Some(Save { base: true }));
            machine.saved(saved);
            let (next, _) = std::mem::replace(&mut machine, handed()).step(Event::Exec(response));
            machine = next;
        }
        let last = if failed {
            finish("x", "content_filter")
        } else {
            text("done")
        };
        let (machine, step) = machine.step(last);
        match (step.next, again) {
            (Next::Finish(outcome), None) => outcome.workspace,
            (Next::Save(Save { base: true }), Some(saved)) => {
                match machine.step(Event::Saved(saved)).1.next {
                    Next::Finish(outcome) => outcome.workspace,
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    };
    let kept = || Saved::Taken {
        base: true,
        blobs: vec![blob("mine")],
        skipped: vec![],
    };
    let full = || Saved::Failed("full".into());
    assert_eq!(end(None, None, false), None);
    assert_eq!(end(Some(kept()), None, false), Some(left("mine")));
    assert_eq!(end(Some(kept()), None, true), None);
    // What could not be kept then is tried once more at the end.
    assert_eq!(end(Some(full()), Some(kept()), false), Some(left("mine")));
    let lost = end(Some(full()), Some(full()), false);
    assert!(matches!(lost, Some(Checkpoint::Failed { .. })), "{lost:?}");
    assert_eq!(end(Some(full()), None, true), None);
}
