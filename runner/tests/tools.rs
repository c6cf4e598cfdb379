//! Tools that the gateway carries out, over a gateway that fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used
)] // a helper of tests is a test

mod gateway;
mod sandbox;

use gateway::{Fault, Gateway, Mail, assignment, call, final_text};
use oarmaster_protocol::assignment::{Assignment, McpServer, Target};
use oarmaster_protocol::journal::Body;
use oarmaster_protocol::tool::{OUTCOME_UNKNOWN, Offer, Offered};
use serde_json::{Value, json};

/// An agent with a tool of the gateway and an MCP server, without a sandbox.
fn served() -> Assignment {
    let mut assignment = assignment();
    assignment.sandbox = None;
    if let Target::Agent(agent) = &mut assignment.target {
        agent.tools = vec!["Remember".into()];
        agent.mcp = vec![McpServer {
            name: "hub".into(),
            url: "https://mcp.example.com".into(),
            key: None,
            allow: vec!["open".into()],
            timeout_ms: 1000,
        }];
    }
    assignment
}

fn offer() -> Offer {
    Offer {
        tools: vec![Offered {
            name: "hub__open".into(),
            description: "Opens it.".into(),
            parameters: json!({"type": "object"}),
            read_only: false,
            idempotent: false,
        }],
        missing: vec![],
    }
}

fn results(gateway: &Gateway) -> Vec<(bool, String)> {
    let records = gateway.records().into_iter();
    let results = records.filter_map(|body| match body {
        Body::ToolResult { ok, text, .. } => Some((ok, text)),
        _ => None,
    });
    results.collect()
}

fn start() -> Gateway {
    let script = vec![
        call("Remember", json!({"text": "ships"})),
        call("hub__open", json!({"id": 7})),
        final_text("done"),
    ];
    let gateway = Gateway::start(served(), script);
    gateway.offer_tools(offer());
    gateway
}

#[test]
fn each_call_is_made_once_whatever_the_gateway_loses() {
    for fault in [
        None,
        Some(Fault::DropBefore),
        Some(Fault::DropAfter),
        Some(Fault::Unavailable),
        Some(Fault::Unauthenticated),
    ] {
        let gateway = start();
        if let Some(fault) = fault {
            gateway.fail_every_second_request_with(fault);
        }
        assert_eq!(gateway.run_pilot(None), Some(0), "{fault:?}");
        let used: Vec<_> = gateway
            .tools_used()
            .into_iter()
            .map(|(name, call)| (name, call.number, call.arguments))
            .collect();
        let wanted = [
            ("Remember".to_owned(), 1, json!({"text": "ships"})),
            ("hub__open".to_owned(), 2, json!({"id": 7})),
        ];
        // What was lost before it arrived cannot be told from what was lost after.
        let lost = matches!(fault, Some(Fault::DropBefore | Fault::Unavailable));
        let (used, told) = (used.as_slice(), results(&gateway));
        let first = (true, "Remember was call 1".to_owned());
        assert_eq!(told.first(), Some(&first), "{fault:?}");
        match told.get(1) {
            Some((true, text)) if text == "hub__open was call 2" => assert_eq!(used, wanted),
            Some((false, text)) if lost && text == OUTCOME_UNKNOWN => {
                assert_eq!(used, &wanted[..1]);
            }
            other => panic!("{fault:?}: {other:?}"),
        }
        let names = gateway.request(0)["tools"].as_array().unwrap().len();
        assert_eq!(names, 2, "{fault:?}");
    }
}

#[test]
fn a_call_whose_answer_is_gone_is_made_again_only_where_it_may_be() {
    let gateway = start();
    gateway.forget_tool_calls();
    gateway.fail_every_second_request_with(Fault::DropAfter);
    assert_eq!(gateway.run_pilot(None), Some(0));
    let used = gateway.tools_used();
    let made = |wanted: &str| used.iter().filter(|(name, _)| name == wanted).count();
    assert_eq!(made("hub__open"), 1);
    let told = results(&gateway);
    assert_eq!(told[0], (true, "Remember was call 1".to_owned()));
    // Which of the two lost its answer, the number of requests before it says.
    let lost = (false, OUTCOME_UNKNOWN.to_owned());
    assert!(made("Remember") == 2 || told[1] == lost, "{told:?}");
}

/// An agent that talks, and what its model says.
fn talks(script: Vec<Value>) -> Gateway {
    let mut assignment = assignment();
    assignment.sandbox = None;
    if let Target::Agent(agent) = &mut assignment.target {
        agent.tools = vec!["SendMessage".into(), "ReceiveMessages".into()];
    }
    Gateway::start(assignment, script)
}

#[test]
fn two_pilots_talk_whatever_their_gateway_loses_and_hear_each_word_once() {
    for fault in [
        None,
        Some(Fault::DropBefore),
        Some(Fault::DropAfter),
        Some(Fault::Unavailable),
    ] {
        let receive = || call("ReceiveMessages", json!({"wait": 60}));
        let say = |text: &str| call("SendMessage", json!({"text": text}));
        let writer = vec![
            say("Is it good?"),
            receive(),
            say("And now?"),
            receive(),
            final_text("done"),
        ];
        let critic = vec![
            receive(),
            say("No."),
            receive(),
            say("Yes."),
            final_text("done"),
        ];
        let mail = Mail::default();
        let pilots = [writer, critic].map(talks);
        for (who, gateway) in pilots.iter().enumerate() {
            gateway.join(&mail, who);
            if let Some(fault) = fault {
                gateway.fail_every_second_request_with(fault);
            }
        }
        let started = pilots.each_ref().map(|gateway| gateway.start_pilot(None));
        for (gateway, pilot) in pilots.iter().zip(started) {
            assert_eq!(gateway.wait(pilot), Some(0), "{fault:?}");
        }
        let said = ["Is it good?", "No.", "And now?", "Yes."];
        assert_eq!(mail.said(), said, "{fault:?}");
        let told = pilots.each_ref().map(|gateway| {
            let results = results(gateway).into_iter();
            results.map(|(_, text)| text).collect::<Vec<_>>()
        });
        let wanted = [
            ["sent", "No.", "sent", "Yes."],
            ["Is it good?", "sent", "And now?", "sent"],
        ];
        assert_eq!(told, wanted, "{fault:?}");
    }
}
