//! What a pilot asks of the operator, over a gateway that fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used
)] // a helper of tests is a test

mod gateway;
mod sandbox;

use gateway::{Fault, Gateway, assignment, call, final_text};
use oarmaster_protocol::assignment::{Assignment, Target};
use oarmaster_protocol::journal::Body;
use oarmaster_protocol::request::{Answer, Ask};
use serde_json::json;

/// An agent that may give work to the coder, without a sandbox.
fn asking() -> Assignment {
    let mut assignment = assignment();
    assignment.sandbox = None;
    if let Target::Agent(agent) = &mut assignment.target {
        agent.tools = vec!["Delegate".into()];
        agent.delegates = vec!["coder".into()];
    }
    assignment
}

#[test]
fn an_answer_is_awaited_and_shown_whatever_the_gateway_loses() {
    for fault in [
        None,
        Some(Fault::DropBefore),
        Some(Fault::DropAfter),
        Some(Fault::Unavailable),
    ] {
        let arguments = json!({"agent": "coder", "prompt": "fix it"});
        let script = vec![call("Delegate", arguments), final_text("done")];
        let gateway = Gateway::start(asking(), script);
        gateway.answer_requests(Answer::new(true, json!({"text": "fixed"})));
        if let Some(fault) = fault {
            gateway.fail_every_second_request_with(fault);
        }
        assert_eq!(gateway.run_pilot(None), Some(0), "{fault:?}");
        let what = Ask::Delegate {
            agent: "coder".into(),
            prompt: "fix it".into(),
            workspace: None,
        };
        let kinds: Vec<_> = gateway
            .records()
            .into_iter()
            .filter_map(|body| match body {
                Body::ToolIntent { tool, .. } => Some(format!("intent {tool}")),
                Body::Asked { id, .. } => Some(format!("asked {id}")),
                Body::ToolResult { text, .. } => Some(format!("result {text}")),
                Body::Result { outcome } => Some(format!("ended {}", outcome.failure.is_none())),
                _ => None,
            })
            .collect();
        let asked = format!("asked {}", what.id(1));
        let wanted = [
            "intent Delegate",
            asked.as_str(),
            "result fixed",
            "ended true",
        ];
        assert_eq!(kinds, wanted, "{fault:?}");
        let told = gateway.request(1)["messages"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        assert_eq!(told["content"], json!("fixed"), "{fault:?}");
    }
}
