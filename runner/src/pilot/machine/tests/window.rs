//! A conversation that becomes too long for the model.

use super::*;
use oarmaster_protocol::journal::{Dropped, Part};

/// An answer with one call of Shell, when the conversation had so many tokens.
fn shell(command: &str, tokens: u64) -> Event {
    let arguments = json!({ "command": command }).to_string();
    let Event::Answered(mut answer) = calls(&[("Shell", &arguments)]) else {
        unreachable!()
    };
    answer["usage"] = json!({ "prompt_tokens": tokens });
    Event::Answered(answer)
}

fn printed(text: &str) -> Event {
    Event::Exec(Response::Ran(Ran {
        exit_code: Some(0),
        stdout: Output {
            head: Bytes(text.into()),
            ..Output::default()
        },
        ..Ran::default()
    }))
}

fn play_within(context: u64, events: Vec<Event>) -> (Vec<Body>, Next) {
    let mut assignment = agent(&["Shell"]);
    if let Target::Agent(agent) = &mut assignment.target {
        (agent.max_turns, agent.max_tool_calls) = (20, 20);
    }
    let mut machine = Machine::new(assignment);
    machine.set_context(Some(context));
    let (mut records, mut last) = (Vec::new(), None);
    for event in std::iter::once(Event::Begin).chain(events) {
        let (after, step) = machine.step(event);
        machine = after;
        records.extend(step.records);
        last = Some(step.next);
    }
    (records, last.unwrap())
}

fn dropped(records: &[Body]) -> Vec<Dropped> {
    let texts = records.iter().filter_map(|record| match record {
        Body::Dropped { texts } => Some(texts.clone()),
        _ => None,
    });
    texts.flatten().collect()
}

#[test]
fn the_oldest_results_give_way_with_a_marker() {
    let long = "x".repeat(3000);
    let events = vec![
        probed(true),
        shell("first", 200),
        printed(&long),
        shell("second", 1200),
        printed(&long),
        shell("third", 2200),
        printed(&long),
    ];
    let (records, next) = play_within(3000, events);
    let dropped = dropped(&records);
    assert_eq!(dropped.len(), 2, "the newest result stays: {dropped:?}");
    assert!(dropped.iter().all(|text| text.part == Part::Result));
    let Next::Model(body) = next else {
        panic!("{next:?}")
    };
    let messages = body["messages"].as_array().unwrap();
    let contents: Vec<&str> = messages
        .iter()
        .filter(|message| message["role"] == "tool")
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert!(contents[0].starts_with("[The result of this call, "));
    assert!(contents[1].starts_with("[The result of this call, "));
    assert!(contents[2].contains(&long));
    assert_eq!(messages[1]["content"], "Do it.");
}

#[test]
fn long_arguments_give_way_after_results() {
    let long = format!("echo {}", "y".repeat(4500));
    let events = vec![
        probed(true),
        shell(&long, 100),
        printed("ok"),
        shell("second", 2300),
        printed("ok"),
    ];
    let (records, next) = play_within(2200, events);
    assert_eq!(dropped(&records)[0].part, Part::Arguments);
    let Next::Model(body) = next else {
        panic!("{next:?}")
    };
    let arguments = &body["messages"][2]["tool_calls"][0]["function"]["arguments"];
    let arguments: Value = serde_json::from_str(arguments.as_str().unwrap()).unwrap();
    assert!(
        arguments["arguments"]
            .as_str()
            .unwrap()
            .contains("left out")
    );
}

#[test]
fn what_cannot_be_made_short_enough_ends_the_task() {
    let events = vec![
        probed(true),
        shell("first", 100),
        printed(&"x".repeat(30_000)),
    ];
    let (records, next) = play_within(2000, events);
    assert!(dropped(&records).is_empty(), "the newest result stays");
    let Next::Finish(outcome) = next else {
        panic!("{next:?}")
    };
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.class, FailureClass::LimitReached);
    assert!(failure.message.contains("2000"), "{}", failure.message);
}

#[test]
fn a_model_that_takes_less_than_it_says_is_asked_once_more() {
    let refused = || Event::ModelFailed {
        code: "context_length_exceeded".into(),
        message: "too long".into(),
    };
    let long = "x".repeat(3000);
    let events = vec![
        probed(true),
        shell("first", 100),
        printed(&long),
        shell("second", 1100),
        printed("ok"),
        refused(),
    ];
    let (records, next) = play_within(1_000_000, events.clone());
    assert_eq!(dropped(&records).len(), 1);
    assert!(matches!(next, Next::Model(_)));
    let again = [events, vec![refused()]].concat();
    let (_, next) = play_within(1_000_000, again);
    assert!(matches!(next, Next::Finish(_)), "{next:?}");
}
