//! What is around an attempt: a sandbox that does what it is told and changes nothing, another agent and people that agree.

use crate::run::Case;
use oarmaster_protocol::assignment::{
    AgentTarget, Assignment, Sandbox, Target, TaskRef, Workspace,
};
use oarmaster_protocol::exec::{Bytes, Ran, Request, Response};
use oarmaster_protocol::journal::{Body, CallUsage, Record};
use oarmaster_protocol::request::Answer;
use oarmaster_runner::pilot::machine::{Event, Machine, Next};
use proptest::prelude::*;
use serde_json::{Value, json};

const TURNS: u32 = 6;
const CALLS: u32 = 8;

fn assignment(schema: bool) -> Assignment {
    let tools = ["Shell", "RunCode", "WriteFile", "EditFile", "Delegate"];
    Assignment {
        task: TaskRef {
            namespace: "n".into(),
            name: "t".into(),
            uid: "u".into(),
        },
        target: Target::Agent(Box::new(AgentTarget {
            pinned: "a@sha256:1".into(),
            instructions: "Be good.".into(),
            prompt: "Do it.".into(),
            model: "n/p".into(),
            temperature: None,
            max_output_tokens: 100,
            no_cache: false,
            tools: tools.map(str::to_owned).to_vec(),
            delegates: vec!["helper".into()],
            approvals: vec!["RunCode".into()],
            mcp: vec![],
            pages: vec![],
            output_schema: schema.then(|| json!({"type": "object", "required": ["n"]})),
            max_turns: TURNS,
            max_tool_calls: CALLS,
        })),
        continues: None,
        handed: None,
        replay: None,
        workspace: Workspace::default(),
        placed: vec![],
        repositories: vec![],
        files: vec![],
        artifacts: vec![],
        accept: None,
        sandbox: Some(Sandbox {
            memory_bytes: 512 << 20,
            disk_bytes: 256 << 20,
            max_processes: 256,
            call_timeout_ms: 1000,
            ..Sandbox::default()
        }),
    }
}

fn exec(request: &Request) -> Response {
    match request {
        Request::Probe => Response::Probed {
            proven: true,
            findings: vec![],
            languages: vec!["python".into(), "shell".into()],
        },
        Request::Run(_) => Response::Ran(Ran {
            exit_code: Some(0),
            ..Ran::default()
        }),
        Request::Read { .. } => Response::Content {
            content: Bytes(b"y\n".to_vec()),
            next_line: None,
            cut: false,
            size: 2,
        },
        _ => Response::Done,
    }
}

/// Every call of the assistant has its one result, in order, before anything else is said; nobody says nothing.
fn well_formed(messages: &[Value]) -> Case {
    let mut open: Vec<String> = Vec::new();
    for message in messages {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            prop_assert!(!open.is_empty(), "a result of no call: {message}");
            prop_assert_eq!(&open.remove(0), id);
            prop_assert!(message["content"].is_string());
            continue;
        }
        prop_assert!(open.is_empty(), "no result of {open:?} before {message}");
        let text = message["content"].as_str().unwrap_or_default();
        let calls = message["tool_calls"].as_array();
        let calls = calls.map(Vec::as_slice).unwrap_or_default();
        prop_assert!(
            role == "system" || !text.trim().is_empty() || !calls.is_empty(),
            "{message}"
        );
        let ids = calls
            .iter()
            .map(|call| call["id"].as_str().unwrap_or_default());
        open = ids.map(str::to_owned).collect();
        let distinct: std::collections::BTreeSet<_> = open.iter().collect();
        prop_assert!(
            open.iter().all(|id| !id.is_empty()) && distinct.len() == open.len(),
            "{message}"
        );
    }
    prop_assert!(open.is_empty(), "no result of {open:?}");
    Ok(())
}

struct Journal(Vec<Record>);

impl Journal {
    fn write(&mut self, body: Body) {
        self.0.push(Record {
            seq: self.0.len() as u64,
            at_ms: 0,
            attempt: 1,
            body,
        });
    }
}

/// Runs an attempt to its end; and once more from the journal's first `cut` records on.
pub fn attempt(answers: &[Value], schema: bool, cut: u32) -> Case {
    let mut journal = Journal(Vec::new());
    let mut machine = Machine::new(assignment(schema));
    let mut event = Event::Begin;
    let mut asked: Vec<Vec<Value>> = Vec::new();
    let outcome = loop {
        prop_assert!(journal.0.len() < 500, "no end");
        let (after, step) = machine.step(event);
        machine = after;
        for record in step.records {
            journal.write(record);
        }
        event = match step.next {
            Next::Finish(outcome) => break outcome,
            Next::Model(body) => {
                let messages = body["messages"].as_array().unwrap().clone();
                well_formed(&messages)?;
                let call = asked.len() as u64;
                asked.push(messages);
                journal.write(Body::Open {
                    call,
                    hop: 0,
                    provider: "n/p".into(),
                    model: "m".into(),
                    reason: String::new(),
                    digest: "d".into(),
                    reserved_pico: 0,
                });
                let answer = answers
                    .get(asked.len() - 1)
                    .or(answers.last())
                    .unwrap()
                    .clone();
                let choice = &answer["choices"][0];
                journal.write(Body::Answer {
                    call,
                    hop: 0,
                    model: "m".into(),
                    message: choice["message"].clone(),
                    finish_reason: choice["finish_reason"].as_str().unwrap_or_default().into(),
                    replaced: 0,
                    usage: CallUsage::default(),
                });
                Event::Answered(answer)
            }
            Next::Exec(request) => Event::Exec(exec(&request)),
            Next::Await { .. } => Event::Replied(Answer::new(true, json!({"text": "yes"}))),
            other => panic!("{other:?}"),
        };
    };
    prop_assert!(asked.len() <= TURNS as usize);
    let count = |of: fn(&Body) -> bool| journal.0.iter().filter(|record| of(&record.body)).count();
    let results = count(|body| matches!(body, Body::ToolResult { .. }));
    prop_assert!(results <= CALLS as usize, "{results} calls");
    if outcome.failure.is_none() {
        let last = answers.get(asked.len() - 1).or(answers.last()).unwrap();
        let reason = last["choices"][0]["finish_reason"]
            .as_str()
            .unwrap_or_default();
        prop_assert!(!["length", "content_filter"].contains(&reason), "{last}");
        let output = outcome.output.unwrap();
        prop_assert!(
            !schema || output["n"] != Value::Null || output.get("n").is_some(),
            "{output}"
        );
    }
    // The journal has a part of it: whoever goes on asks for nothing that is no conversation.
    let records = cut as usize % (journal.0.len() + 1);
    let resumed = Machine::resume(assignment(schema), None, &journal.0[..records]);
    let (resumed, step) = resumed.step(Event::Begin);
    let begins = match step.next {
        Next::Exec(Request::Probe) => resumed.step(Event::Exec(exec(&Request::Probe))).1.next,
        next => next,
    };
    if let Next::Model(body) | Next::Again { body, .. } = begins {
        well_formed(body["messages"].as_array().unwrap())?;
    }
    Ok(())
}
