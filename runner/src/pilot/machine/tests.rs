mod any;
mod catalogue;
mod characters;
mod edit;
mod end;
mod files;
mod fold;
mod judge;
mod messages;
mod network;
mod repeat;
mod replay;
mod request;
mod sandbox;
mod serve;
mod turns;
mod window;
mod world;

use super::*;
use oarmaster_protocol::assignment::{
    Accept, AgentTarget, ArtifactRule, File, Program, Repository, TaskRef, Workspace,
};
use oarmaster_protocol::exec::{Failed, Output, Ran, Stopped};
use oarmaster_protocol::journal::Checkpoint;
use oarmaster_protocol::probe::Place;
use oarmaster_protocol::request::Waits;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn agent(tools: &[&str]) -> Assignment {
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
            tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
            mcp: vec![],
            delegates: vec![],
            approvals: vec![],
            pages: vec![],
            output_schema: None,
            max_turns: 4,
            max_tool_calls: 3,
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

fn repository() -> Repository {
    Repository {
        path: "app".into(),
        url: "https://git.example.com/app".into(),
        reference: "HEAD".into(),
    }
}

fn placed(path: &str, archive: bool) -> Placed {
    Placed {
        path: path.into(),
        task: TaskRef {
            namespace: "n".into(),
            name: "before".into(),
            uid: "u0".into(),
        },
        name: "patch".into(),
        digest: "sha256:1".into(),
        size: 3,
        archive,
    }
}

fn with_schema(mut assignment: Assignment, schema: Value) -> Assignment {
    if let Target::Agent(agent) = &mut assignment.target {
        agent.output_schema = Some(schema);
    }
    assignment
}

fn checked(mut assignment: Assignment, rounds: u32) -> Assignment {
    assignment.accept = Some(Accept {
        command: vec!["check".into()],
        exit_code: 0,
        judge: None,
        best: false,
        rounds,
    });
    assignment
}

fn run_task() -> Assignment {
    Assignment {
        target: Target::Run(RunTarget {
            program: Program::Command(vec!["true".into()]),
            env: BTreeMap::new(),
        }),
        ..agent(&[])
    }
}

fn text(text: &str) -> Event {
    finish(text, "stop")
}

fn finish(text: &str, reason: &str) -> Event {
    Event::Answered(json!({"choices": [{"message": {"content": text}, "finish_reason": reason}]}))
}

fn calls(calls: &[(&str, &str)]) -> Event {
    let calls: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(i, (name, arguments))| json!({"id": format!("c{i}"), "function": {"name": name, "arguments": arguments}}))
        .collect();
    Event::Answered(
        json!({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}),
    )
}

fn probed(proven: bool) -> Event {
    probed_with(proven, &["python", "shell"])
}

fn probed_with(proven: bool, languages: &[&str]) -> Event {
    Event::Exec(Response::Probed {
        proven,
        findings: vec!["socket family 2 was possible".into()],
        languages: languages.iter().map(|name| (*name).to_owned()).collect(),
    })
}

fn ended(exit_code: i32) -> Event {
    Event::Exec(Response::Ran(Ran {
        exit_code: Some(exit_code),
        ..Ran::default()
    }))
}

fn content(text: &str) -> Event {
    Event::Exec(Response::Content {
        content: Bytes(text.into()),
        next_line: None,
        cut: false,
        size: text.len() as u64,
    })
}

fn exec_failed(code: FailedCode) -> Event {
    Event::Exec(Response::Failed(Failed {
        code,
        message: "no".into(),
    }))
}

/// An agent with a Shell, or a run, in a class that demands the NetworkPolicy.
fn demanding(mut assignment: Assignment) -> Assignment {
    if let Some(sandbox) = &mut assignment.sandbox {
        sandbox.network_policy_within_ms = Some(1000);
    }
    assignment
}

fn network(reached: &[Place], refused: &[Place]) -> NetworkFindings {
    NetworkFindings {
        reached: reached.to_vec(),
        refused: refused.to_vec(),
    }
}

/// Feeds events one by one; returns all records and the last action.
fn play(assignment: Assignment, events: Vec<Event>) -> (Vec<Body>, Next) {
    let mut machine = Machine::new(assignment);
    let mut records = Vec::new();
    let mut last = None;
    for event in std::iter::once(Event::Begin).chain(events) {
        assert!(
            !matches!(last, Some(Next::Finish(_))),
            "the attempt ended before {event:?}"
        );
        let (after, step) = machine.step(event);
        machine = after;
        records.extend(step.records);
        last = Some(step.next);
    }
    (records, last.unwrap())
}

fn outcome(assignment: Assignment, events: Vec<Event>) -> Outcome {
    match play(assignment, events).1 {
        Next::Finish(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn class(assignment: Assignment, events: Vec<Event>) -> FailureClass {
    outcome(assignment, events).failure.unwrap().class
}

fn last_message(next: &Next) -> String {
    match next {
        Next::Model(body) => body["messages"].as_array().unwrap().last().unwrap()["content"]
            .as_str()
            .unwrap()
            .to_owned(),
        other => panic!("{other:?}"),
    }
}
