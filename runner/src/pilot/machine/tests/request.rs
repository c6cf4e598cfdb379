//! What is asked of the operator.

use super::*;
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
    Event::Replied(Answer { ok, value })
}

fn asked(records: &[Body]) -> Vec<(&str, &Ask)> {
    let asked = records.iter().filter_map(|body| match body {
        Body::Asked { id, what } => Some((id.as_str(), what)),
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
