//! Whatever the model and the sandbox do, every attempt ends.

use super::*;
use oarmaster_protocol::assignment::McpServer;
use oarmaster_protocol::tool::Offered;

#[test]
fn events_that_nobody_waits_for_end_the_attempt() {
    for event in [
        text("x"),
        Event::ExecRestarted,
        Event::Kept(Kept::Failed("x".into())),
    ] {
        assert!(matches!(
            play(run_task(), vec![event]).1,
            Next::Exec(Request::Probe) | Next::Finish(_)
        ));
    }
}

/// Events that fit an action, as a model and a sandbox of any mind may give them.
fn any_event(next: &Next, choice: u8, word: &str) -> Event {
    let exec = |choice: u8| match choice % 9 {
        0 => ended(0),
        1 => ended(1),
        2 => Event::ExecRestarted,
        3 => exec_failed(FailedCode::Refused),
        4 => Event::Exec(Response::Done),
        5 => Event::Exec(Response::Ran(Ran {
            signal: Some(9),
            stopped: Some(Stopped::OutOfMemory),
            stdout: Output {
                head: Bytes(word.into()),
                ..Output::default()
            },
            ..Ran::default()
        })),
        6 => Event::ExecGone,
        7 => probed(choice > 127),
        _ => text(word),
    };
    match next {
        Next::Exec(Request::Probe) if choice > 63 => probed(true),
        Next::Exec(Request::Read { .. }) if choice > 63 => content("one\ntwo\n"),
        Next::Exec(Request::Write { .. }) if choice > 63 => Event::Exec(Response::Done),
        Next::Place(_) if choice > 63 => Event::Exec(Response::Done),
        Next::Exec(_) | Next::Place(_) => exec(choice),
        Next::Model(_) => match choice % 17 {
            0 => text(word),
            1 => text(""),
            2 => calls(&[("Shell", r#"{"command":"ls"}"#)]),
            3 => calls(&[
                ("Shell", r#"{"command":"ls"}"#),
                (word, word),
                ("Shell", "{"),
            ]),
            4 => calls(&[(word, "{}")]),
            5 => finish(word, "length"),
            6 => Event::Answered(json!({ "choices": word })),
            7 => Event::ModelFailed {
                code: "in_doubt".into(),
                message: word.into(),
            },
            8 => calls(&[("Shell", r#"{"command":"ls"}"#); 40]),
            9 => finish("{\"n\": 1}", word),
            10 => calls(&[(
                "EditFile",
                r#"{"path":"a","diff":"@@ -1 +1 @@\n-one\n+1\n"}"#,
            )]),
            11 => calls(&[("EditFile", &json!({"path": "a", "diff": word}).to_string())]),
            12 => calls(&[(
                "Delegate",
                &json!({"agent": "coder", "prompt": word}).to_string(),
            )]),
            14 => calls(&[("hub__open", &json!({ "id": word }).to_string())]),
            15 => calls(&[("Remember", &json!({ "text": word }).to_string())]),
            13 => calls(&[("AskHuman", &json!({ "question": word }).to_string())]),
            _ => Event::ModelFailed {
                code: word.into(),
                message: word.into(),
            },
        },
        Next::Save(_) => Event::Saved(match choice % 3 {
            0 => Saved::Failed(word.into()),
            _ => Saved::Taken {
                base: true,
                blobs: vec![Blob {
                    digest: word.into(),
                    size: u64::from(choice),
                }],
                skipped: vec![],
            },
        }),
        Next::Await { .. } => match choice % 3 {
            0 => Event::NoReply,
            1 => Event::Replied(Reply::new(choice > 127, json!(word))),
            _ => Event::Replied(Reply::new(
                choice > 127,
                json!({ "decision": word, "by": [word], "score": f64::from(choice) / 200.0 }),
            )),
        },
        Next::Tools => Event::Tools(match choice % 3 {
            0 => Offer {
                missing: vec![word.into()],
                ..Offer::default()
            },
            _ => Offer {
                tools: vec![Offered {
                    name: "hub__open".into(),
                    description: word.into(),
                    parameters: json!({}),
                    read_only: choice > 127,
                    idempotent: false,
                }],
                missing: vec![],
            },
        }),
        Next::Serve { .. } => Event::Served(ToolAnswer {
            ok: choice > 127,
            text: word.into(),
            heard: choice.is_multiple_of(3).then_some(u64::from(choice)),
        }),
        Next::Network => Event::Network(match choice % 4 {
            0 => network(&[Place::Dns], &[Place::ApiServer]),
            _ => network(&[], &[Place::ApiServer]),
        }),
        Next::Collect { .. } | Next::Store { .. } => match choice % 4 {
            0 => Event::Kept(Kept::Nothing {
                skipped: vec![word.into()],
            }),
            1 => Event::Kept(Kept::TooLarge(word.into())),
            2 => Event::Kept(Kept::Failed(word.into())),
            _ => Event::ExecRestarted,
        },
        Next::Again { .. } | Next::Restore(_) => unreachable!("nothing is resumed"),
        Next::Finish(_) => unreachable!(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the model and the sandbox do, an attempt ends within a number of steps that follows from its limits, asks the model
    /// at most as often as it may, and every record and message keeps its bound.
    #[test]
    fn every_attempt_ends(
        choices in prop::collection::vec((any::<u8>(), ".{0,40}"), 1..60),
        kind in 0u8..7,
        rounds in 1u32..4,
        turns in 1u32..6,
        tool_calls in 0u32..6,
        demanded in any::<bool>(),
        fetched in any::<bool>(),
    ) {
        let mut assignment = match kind {
            0 => agent(&["Shell"]),
            1 => checked(agent(&["Shell", "EditFile"]), rounds),
            2 => with_schema(checked(agent(&["Shell"]), rounds), json!({"type": "object"})),
            4 => {
                let mut assignment = checked(agent(&["Shell"]), rounds);
                if let Some(accept) = &mut assignment.accept {
                    accept.best = demanded;
                    accept.judge = Some(oarmaster_protocol::assignment::Judge {
                        agent: "critic".into(),
                        score: oarmaster_protocol::assignment::Score::parse("0.5").unwrap(),
                        inclusive: true,
                    });
                }
                assignment
            }
            3 => {
                let mut assignment = agent(&["Shell", "Delegate", "AskHuman"]);
                if let Target::Agent(agent) = &mut assignment.target {
                    agent.delegates = vec!["coder".into()];
                    agent.approvals = vec!["Shell".into()];
                }
                assignment
            }
            6 => {
                let mut assignment = agent(&["Shell", "Remember"]);
                if let Target::Agent(agent) = &mut assignment.target {
                    agent.mcp = vec![McpServer {
                        name: "hub".into(),
                        url: "https://mcp.example.com".into(),
                        key: None,
                        allow: vec!["open".into()],
                        timeout_ms: 1000,
                    }];
                    agent.approvals = vec!["hub__open".into()];
                }
                assignment
            }
            _ => checked(run_task(), rounds),
        };
        assignment.files = vec![File { path: "a".into(), content: "b".into() }];
        assignment.artifacts = vec![ArtifactRule { name: "a".into(), path: "*".into() }];
        if fetched {
            assignment.repositories = vec![repository()];
            assignment.placed = vec![placed("b", true)];
            assignment.workspace.keep = true;
        }
        if demanded {
            assignment = demanding(assignment);
        }
        if let Target::Agent(agent) = &mut assignment.target {
            agent.max_turns = turns;
            agent.max_tool_calls = tool_calls;
        }
        // Start, tools of servers, the network's proof, probes and restarts, repositories, artifacts of others, files, turns with a repetition each, calls of two requests after leave for them, checks, artifacts, the workspace.
        let steps = 4 * u32::from(fetched);
        let bound = 5 + 2 * u32::from(fetched) + steps * (MAX_RESTARTS + 1) + 2 * (MAX_RESTARTS + 1) + 1 + 2 * turns + 3 * tool_calls + 2 * rounds + 2;
        let mut machine = Machine::new(assignment);
        let mut event = Event::Begin;
        let mut asked = 0;
        let mut intents = 0;
        let mut taken = 0;
        let mut proven = false;
        for (choice, word) in choices.iter().cycle() {
            taken += 1;
            prop_assert!(taken <= bound, "no end after {} steps", taken);
            let (after, step) = machine.step(event);
            machine = after;
            for record in &step.records {
                prop_assert!(serde_json::to_vec(record).unwrap().len() <= oarmaster_protocol::journal::MAX_RECORD_BYTES);
                intents += u32::from(matches!(record, Body::ToolIntent { .. }));
            }
            match &step.next {
                Next::Model(_) => asked += 1,
                Next::Exec(Request::Run(_)) => prop_assert!(!demanded || proven),
                Next::Finish(outcome) => {
                    if let Some(failure) = &outcome.failure {
                        prop_assert!(failure.message.chars().count() <= 1024);
                    }
                    break;
                }
                _ => {}
            }
            event = any_event(&step.next, *choice, word);
            proven |= matches!(&event, Event::Network(found) if found.enforced());
        }
        prop_assert!(asked <= 2 * turns);
        // One that people approved is written down twice.
            prop_assert!(intents <= 2 * tool_calls);
    }
}
