//! Tools that the gateway carries out.

use super::*;
use oarmaster_protocol::assignment::McpServer;
use oarmaster_protocol::journal::{About, CallUsage, Record};
use oarmaster_protocol::request::{Answer, Ask};
use oarmaster_protocol::tool::{OUTCOME_UNKNOWN, Offered};

/// An agent without a sandbox.
pub(super) fn served(tools: &[&str]) -> Assignment {
    let mut assignment = agent(tools);
    assignment.sandbox = None;
    assignment
}

/// The same with an MCP server, whose tools need leave where they are in `approvals`.
fn connected(approvals: &[&str]) -> Assignment {
    let mut assignment = served(&[]);
    if let Target::Agent(agent) = &mut assignment.target {
        agent.mcp = vec![McpServer {
            name: "hub".into(),
            url: "https://mcp.example.com".into(),
            key: None,
            allow: vec!["search".into(), "open".into()],
            timeout_ms: 1000,
        }];
        agent.approvals = approvals.iter().map(|name| (*name).to_owned()).collect();
    }
    assignment
}

fn offered(name: &str, read_only: bool) -> Offered {
    Offered {
        name: name.into(),
        description: "Does it.".into(),
        parameters: json!({"type": "object"}),
        read_only,
        idempotent: false,
    }
}

fn offer() -> Offer {
    Offer {
        tools: vec![offered("hub__search", true), offered("hub__open", false)],
        missing: vec![],
    }
}

fn answer(ok: bool, text: &str) -> Event {
    Event::Served(ToolAnswer {
        ok,
        text: text.into(),
        heard: None,
    })
}

fn names(next: &Next) -> Vec<String> {
    let Next::Model(body) = next else {
        panic!("{next:?}")
    };
    let tools = body["tools"].as_array().unwrap().iter();
    let names = tools.map(|tool| tool["function"]["name"].as_str().unwrap().to_owned());
    names.collect()
}

#[test]
fn a_call_of_the_gateway_needs_no_sandbox_and_is_a_tool_call_like_others() {
    let remember = calls(&[("Remember", r#"{"text":"ships"}"#)]);
    let (records, next) = play(served(&["Remember", "Recall"]), vec![remember.clone()]);
    let call = ToolCall {
        number: 1,
        arguments: json!({"text": "ships"}),
        again: false,
        heard: 0,
    };
    let wanted = Next::Serve {
        name: "Remember".into(),
        call,
        once: false,
    };
    assert_eq!(next, wanted);
    assert!(matches!(records.as_slice(), [Body::ToolIntent { tool, .. }] if tool == "Remember"));

    let events = vec![remember.clone(), answer(true, "Noted.")];
    let (records, next) = play(served(&["Remember", "Recall"]), events);
    assert_eq!(last_message(&next), "Noted.");
    assert_eq!(names(&next), ["Remember", "Recall"]);
    let last = records.last().unwrap();
    assert!(matches!(last, Body::ToolResult { ok: true, text, .. } if text == "Noted."));

    let events = vec![remember, answer(false, "There is no room.")];
    let (records, next) = play(served(&["Remember"]), events);
    assert_eq!(last_message(&next), "There is no room.");
    assert!(matches!(
        records.last().unwrap(),
        Body::ToolResult { ok: false, .. }
    ));
}

#[test]
fn what_does_not_fit_the_schema_or_the_agent_never_leaves() {
    for (tools, name, arguments, told) in [
        (
            &["Remember"][..],
            "Remember",
            r#"{"text":""}"#,
            "JSON Schema",
        ),
        (&["Remember"], "Remember", r#"{"text":"#, "not valid JSON"),
        (
            &["Recall"],
            "Remember",
            r#"{"text":"x"}"#,
            "The tools are: Recall.",
        ),
    ] {
        let next = play(served(tools), vec![calls(&[(name, arguments)])]).1;
        assert!(
            last_message(&next).contains(told),
            "{}",
            last_message(&next)
        );
    }
    let list = calls(&[("hub__search", "[1]")]);
    let next = play(connected(&[]), vec![Event::Tools(offer()), list]).1;
    assert!(last_message(&next).contains("one JSON object"));
}

#[test]
fn tools_of_servers_are_learnt_once_before_the_model_is_asked() {
    let (records, next) = play(connected(&[]), vec![]);
    assert_eq!((records, next), (vec![], Next::Tools));
    let (records, next) = play(connected(&[]), vec![Event::Tools(offer())]);
    assert_eq!(records, [Body::Tools { offer: offer() }]);
    assert_eq!(names(&next), ["hub__search", "hub__open"]);
    let fly = calls(&[("hub__fly", "{}")]);
    let next = play(connected(&[]), vec![Event::Tools(offer()), fly]).1;
    assert!(last_message(&next).ends_with("The tools are: hub__search, hub__open."));
}

#[test]
fn a_server_that_is_not_there_is_an_observation() {
    let missing = Offer {
        tools: vec![],
        missing: vec!["hub: it does not answer".into()],
    };
    let (records, next) = play(connected(&[]), vec![Event::Tools(missing)]);
    assert!(matches!(&next, Next::Model(body) if body.get("tools").is_none()));
    assert!(last_message(&next).ends_with("hub: it does not answer"));
    let about = |body: &Body| {
        matches!(
            body,
            Body::Observation {
                about: About::Tools,
                ..
            }
        )
    };
    assert!(about(records.last().unwrap()));
}

#[test]
fn a_call_with_an_effect_of_a_server_is_made_once() {
    for (name, once) in [("hub__search", false), ("hub__open", true)] {
        let events = vec![Event::Tools(offer()), calls(&[(name, "{}")])];
        let next = play(connected(&[]), events).1;
        assert!(
            matches!(next, Next::Serve { once: found, .. } if found == once),
            "{name}"
        );
    }
    // What people approved is, too.
    let events = vec![
        Event::Tools(offer()),
        calls(&[("hub__search", "{}")]),
        Event::Replied(Answer::new(true, json!({}))),
    ];
    let (records, next) = play(connected(&["hub__search"]), events);
    assert!(matches!(next, Next::Serve { once: true, .. }));
    let asked = |body: &Body| matches!(body, Body::Asked { .. });
    assert_eq!(records.iter().filter(|body| asked(body)).count(), 1);
}

#[test]
fn the_same_call_with_the_same_answer_is_not_made_a_third_time() {
    let search = || calls(&[("hub__search", r#"{"q":"x"}"#)]);
    let events = vec![
        Event::Tools(offer()),
        search(),
        answer(true, "none"),
        search(),
        answer(true, "none"),
        search(),
    ];
    let next = play(connected(&[]), events).1;
    assert!(last_message(&next).starts_with("This call was not run"));
}

/// The journal of an attempt that stopped after these records, whose last answer was these calls.
pub(super) fn stopped(calls: &[(&str, &str)], after: Vec<Body>) -> Vec<Record> {
    let Event::Answered(answer) = super::calls(calls) else {
        unreachable!()
    };
    let mut bodies = vec![
        Body::Tools { offer: offer() },
        Body::Open {
            call: 0,
            hop: 0,
            provider: "n/p".into(),
            model: "m".into(),
            reason: String::new(),
            digest: "d".into(),
            reserved_pico: 0,
        },
        Body::Answer {
            call: 0,
            hop: 0,
            model: "m".into(),
            message: answer["choices"][0]["message"].clone(),
            finish_reason: "tool_calls".into(),
            replaced: 0,
            usage: CallUsage::default(),
        },
    ];
    bodies.extend(after);
    let records = bodies.into_iter().zip(0..).map(|(body, seq)| Record {
        seq,
        at_ms: 0,
        attempt: 1,
        body,
    });
    records.collect()
}

fn intent(tool: &str) -> Body {
    Body::ToolIntent {
        id: "c0".into(),
        tool: tool.into(),
        arguments: json!({}),
    }
}

pub(super) fn resumed(assignment: Assignment, records: &[Record]) -> Step {
    let machine = Machine::resume(assignment, None, records);
    machine.step(Event::Begin).1
}

#[test]
fn what_may_have_had_an_effect_is_not_made_again_by_whoever_goes_on() {
    let told = |step: &Step| {
        step.records.iter().find_map(|body| match body {
            Body::ToolResult { text, ok, .. } => Some((*ok, text.clone())),
            _ => None,
        })
    };
    let open = stopped(&[("hub__open", "{}")], vec![intent("hub__open")]);
    let step = resumed(connected(&[]), &open);
    assert_eq!(told(&step), Some((false, OUTCOME_UNKNOWN.to_owned())));
    // The same tools, which are not asked for again.
    assert_eq!(names(&step.next), ["hub__search", "hub__open"]);

    let search = stopped(&[("hub__search", "{}")], vec![intent("hub__search")]);
    let step = resumed(connected(&[]), &search);
    assert!(matches!(
        step.next,
        Next::Serve {
            once: false,
            call: ToolCall { number: 1, .. },
            ..
        }
    ));

    // Approved and handed on: once, whatever the server says of it.
    let leave = Ask::Approval {
        tool: "hub__search".into(),
        arguments: json!({}),
    };
    let id = leave.id(1);
    let approved = vec![
        intent("hub__search"),
        Body::Asked {
            id: id.clone(),
            what: leave,
            checkpoint: None,
        },
        Body::Answered {
            id,
            ok: true,
            value: json!({}),
            task: None,
            workspace: None,
        },
        intent("hub__search"),
    ];
    let approved = stopped(&[("hub__search", "{}")], approved);
    let step = resumed(connected(&["hub__search"]), &approved);
    assert_eq!(told(&step), Some((false, OUTCOME_UNKNOWN.to_owned())));
}

#[test]
fn a_note_is_kept_again_under_its_own_number() {
    let arguments = r#"{"text":"ships"}"#;
    let records = stopped(&[("Remember", arguments)], vec![intent("Remember")]);
    let step = resumed(served(&["Remember"]), &records);
    assert!(
        matches!(&step.next, Next::Serve { name, call, once: false } if name == "Remember" && call.number == 1)
    );
}
